"""``wavetank prometheus import``: history from elsewhere. Not in upstream."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from wavetank.clock import Clock
    from wavetank.monitoring.history.source import HistorySource
    from wavetank.monitoring.history.target import Target

__all__ = ["import_command"]

_DIRECTORY: Final = "data/"


@click.command("import")
@click.option(
    "--from",
    "origin",
    required=True,
    metavar="URL|DIR|FILE",
    help="A server's URL, a data directory, a Thanos bucket's directory, a block, an OpenMetrics file, or a "
    "Grafana CSV file.",
)
@click.option(
    "--to",
    "server",
    metavar="URL",
    help="A running server on this machine that takes it, in place of a directory nobody uses.",
)
@click.option(
    "--to.http.config.file",
    "to_http_config",
    type=click.Path(path_type=Path),
    help="HTTP client file for --to.",
)
@click.option(
    "--storage.tsdb.path",
    "storage_path",
    help="The data directory. [default: data/, or what the server says]",
)
@click.option("--match", "matches", multiple=True, help="Series selector; may be repeated. [default: all]")
@click.option("--start", help="From when on, RFC3339 or Unix seconds. [default: all there is]")
@click.option("--end", help="Until when. [default: all there is]")
@click.option("--label", "labels", multiple=True, help="A label for every series, name=value.")
@click.option(
    "--external-labels/--no-external-labels",
    default=None,
    help="Keep external labels. [default: a bucket's are kept, a server's are not]",
)
@click.option(
    "--via",
    type=click.Choice(["auto", "read", "query", "range"]),
    default="auto",
    show_default=True,
    help="How a server is asked: remote read, raw samples by queries, or query_range.",
)
@click.option("--step", default="1m", show_default=True, help="The resolution of --via=range.")
@click.option("--http.config.file", "http_config", type=click.Path(path_type=Path), help="HTTP client file.")
@click.option("--header", "headers", multiple=True, help="Extra headers for a server, name=value.")
@click.option("--metric", default="", help="Metric name of CSV columns that have none.")
@click.option("--timezone", default="UTC", show_default=True, help="Zone of a CSV file's times.")
@click.option("--dry-run", is_flag=True, help="Print the estimate and copy nothing.")
@click.option("--quiet", is_flag=True, help="No progress.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def import_command(**flags: Any) -> int:
    """Copy history into a data directory, or with --to into a running server.

    Samples of any age are written as blocks. Run twice, it adds nothing; interrupted, it goes on where it
    stopped. A server deletes what is older than its --storage.tsdb.retention.time, imported or not.
    """
    from wavetank.clock import RealClock
    from wavetank.errors import InputError
    from wavetank.monitoring.history.copy import Wanted, import_history
    from wavetank.monitoring.rfc3339 import parse_time_ms

    clock = RealClock()
    if any("=" not in label for label in flags["labels"]):
        raise click.UsageError("--label is name=value")
    try:
        start = parse_time_ms(flags["start"]) if flags["start"] else None
        end = parse_time_ms(flags["end"]) if flags["end"] else None
    except ValueError as error:
        raise InputError(str(error), fix="times as 2026-01-31T12:00:00Z or Unix seconds") from None
    wanted = Wanted(_name(flags), start, end, tuple(label.partition("=")[::2] for label in flags["labels"]))
    source = _source(flags, clock, start)
    try:
        with _Bar(flags["quiet"]) as bar:
            into = partial(_target, flags, clock)
            done = import_history(source, wanted, into, progress=bar, dry_run=flags["dry_run"])
    except KeyboardInterrupt:
        click.echo("interrupted; run the same command again to go on", err=True)
        return 130
    finally:
        source.close()
    for note in (*source.notes, *done.notes):
        click.echo(f"warning: {note}", err=True)
    _show(flags, done)
    return 1 if any("passed over" in note and "cannot" in note for note in source.notes) else 0


def _target(flags: dict[str, Any], clock: Clock) -> Target:
    """Where it goes. Raises InputError."""
    from wavetank.model.labels import METRIC_NAME, Matcher, MatchType
    from wavetank.monitoring.config.http_file import load_http_config
    from wavetank.monitoring.history.copy import own_directory
    from wavetank.monitoring.history.remote import RemoteServer
    from wavetank.monitoring.history.target import ServedDirectory

    given = flags["storage_path"]
    if not flags["server"]:
        return own_directory(Path(given or _DIRECTORY), clock)
    config = flags["to_http_config"]
    server = RemoteServer(
        flags["server"],
        [[Matcher(MatchType.REGEXP, METRIC_NAME, ".+")]],
        clock,
        http=load_http_config(config) if config else None,
        via="read",
    )
    try:
        return ServedDirectory(server, Path(given) if given else None, clock)
    except BaseException:
        server.close()
        raise


def _name(flags: dict[str, Any]) -> str:
    """What makes two runs the same run."""
    names = ("origin", "matches", "start", "end", "labels", "external_labels", "via", "step", "metric")
    return " ".join(f"{name}={flags[name]}" for name in names)


def _source(flags: dict[str, Any], clock: Clock, start_ms: int | None) -> HistorySource:
    """What ``--from`` names. Raises InputError."""
    from wavetank.errors import InputError
    from wavetank.model.labels import METRIC_NAME, Matcher, MatchType
    from wavetank.monitoring.config.values import parse_duration
    from wavetank.promql.parser import ParseError, parse_metric_selector

    try:
        selectors = [parse_metric_selector(text) for text in flags["matches"]]
    except ParseError as error:
        raise InputError(f"--match: {error}") from None
    selectors = selectors or [[Matcher(MatchType.REGEXP, METRIC_NAME, ".+")]]
    origin: str = flags["origin"]
    external = flags["external_labels"]
    if origin.startswith(("http://", "https://")):
        from wavetank.monitoring.config.http_file import load_http_config
        from wavetank.monitoring.history.remote import RemoteServer

        try:
            step_ms = int(parse_duration(flags["step"]))
        except ValueError as error:
            raise InputError(f"--step: {error}", fix="e.g. 15s, 1m") from None
        return RemoteServer(
            origin,
            selectors,
            clock,
            http=load_http_config(flags["http_config"]) if flags["http_config"] else None,
            headers=dict(header.partition("=")[::2] for header in flags["headers"]),
            via=flags["via"],
            step_ms=max(1, step_ms),
            external_labels=bool(external),
            start_ms=start_ms,
        )
    place = Path(origin)
    path = Path(flags["storage_path"] or (Path.cwd() / "data" if flags["server"] else _DIRECTORY))
    if place.is_dir():
        from wavetank.monitoring.history.directory import Directory

        if path.exists() and place.resolve() == path.resolve():
            raise InputError("--from and --storage.tsdb.path are the same directory")
        path.parent.mkdir(parents=True, exist_ok=True)
        return Directory(place, selectors, clock, external_labels=external is not False, scratch=path.parent)
    if place.is_file():
        from wavetank.monitoring.history.openmetrics import OpenMetricsFile, is_openmetrics

        if is_openmetrics(place):
            path.parent.mkdir(parents=True, exist_ok=True)
            return OpenMetricsFile(place, selectors, clock, scratch=path.parent)
        from wavetank.monitoring.history.grafana_csv import GrafanaCSV

        return GrafanaCSV(place, selectors, metric=flags["metric"], zone=flags["timezone"])
    raise InputError(
        f"--from: there is no {origin}", fix="give a URL, a directory, or a file of OpenMetrics or CSV"
    )


class _Bar:
    """A progress bar where there is a terminal, nothing elsewhere."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._progress: Any = None

    def __enter__(self) -> _Bar:
        if not self._quiet:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            console = Console(stderr=True)
            if console.is_terminal:
                columns = (
                    TextColumn("importing"),
                    BarColumn(),
                    TextColumn("{task.percentage:>3.0f}% {task.fields[samples]:,} samples"),
                    TimeRemainingColumn(),
                )
                self._progress = Progress(*columns, console=console)
                self._progress.start()
                self._task = self._progress.add_task("", total=None, samples=0)
        return self

    def __call__(self, done_ms: int, total_ms: int, samples: int) -> None:
        if self._progress is not None:
            self._progress.update(self._task, completed=done_ms, total=total_ms, samples=samples)

    def __exit__(self, *error: object) -> None:
        if self._progress is not None:
            self._progress.stop()


def _show(flags: dict[str, Any], done: Any) -> None:
    from wavetank.limits import MIB
    from wavetank.monitoring.rfc3339 import format_time

    if flags["output"] == "json":
        import msgspec

        click.echo(msgspec.json.encode(done).decode())
        return
    expected = f"about {done.expected.samples:,} samples, {done.expected.bytes / MIB:,.1f} MiB"
    between = f"between {format_time(done.start_ms / 1000)} and {format_time(done.end_ms / 1000)}"
    if flags["dry_run"]:
        click.echo(f"would copy {expected}, {between}")
        return
    if done.resumed_at_ms is not None:
        click.echo(f"went on at {format_time(done.resumed_at_ms / 1000)}, where the last run stopped")
    click.echo(f"read {done.read:,} samples {between}; {done.added:,} were new")
    if done.exemplars:
        click.echo(f"and {done.exemplars:,} exemplars")
    if flags["server"]:
        click.echo("the server takes finished blocks in within a minute")
