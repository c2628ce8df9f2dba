"""``wavetank promtool tsdb``: data directories."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from wavetank.cli._kingpin import switch, text_map
from wavetank.cli._servers import header_option, headers_of, http_of, http_option

__all__ = ["tsdb"]

F = TypeVar("F", bound=Callable[..., Any])
_PATH: Final = click.Path(path_type=Path)
_CHOICES: Final = "wavetank.create-blocks"
_SAMPLES: Final = "../../tsdb/testdata/20kseries.json"


@click.group()
def tsdb() -> None:
    """Run tsdb commands."""


@tsdb.group("bench")
def bench() -> None:
    """Run benchmarks."""


@bench.command("write")
@click.option("--out", default="benchout", show_default=True, type=_PATH, help="The output path.")
@click.option("--metrics", default=10_000, show_default=True, help="Number of metrics to read.")
@click.option("--scrapes", default=3000, show_default=True, help="Number of scrapes to simulate.")
@click.argument("file", default=_SAMPLES, type=_PATH)
def bench_write(out: Path, metrics: int, scrapes: int, file: Path) -> None:
    """Run a write performance benchmark; FILE has one JSON object of labels a line."""
    from wavetank.clock import RealClock
    from wavetank.monitoring.promtool.bench_write import Bench

    Bench(out, file, metrics, scrapes, RealClock(), click.echo).run()


@tsdb.command("list")
@click.argument("path", default="data/", type=_PATH)
@click.option("-r", "--human-readable", is_flag=True, help="Print human readable values.")
def tsdb_list(path: Path, human_readable: bool) -> None:
    """List tsdb blocks."""
    from wavetank.monitoring.promtool.data_dir import list_blocks

    for line in list_blocks(path, human=human_readable):
        click.echo(line)


@tsdb.command("analyze")
@click.argument("path", default="data/", type=_PATH)
@click.argument("block", default="")
@click.option("--limit", default=20, show_default=True, help="How many items to show in each list.")
@switch("extended", "extended", "Analyze the chunks too.")
@click.option("--match", default="", help="Series selector.")
def tsdb_analyze(path: Path, block: str, limit: int, extended: bool, match: str) -> None:
    """Analyze churn, label pair cardinality and chunks of a block, the newest unless one is named."""
    from wavetank.monitoring.promtool.analyze import analyze

    for line in analyze(path, block=block, limit=limit, match=match, extended=extended):
        click.echo(line)


def _part_options(function: F) -> F:
    for option in (
        click.option("--match", "matches", multiple=True, help="Series selector. [default: every series]"),
        click.option("--max-time", default=(1 << 63) - 1, help="Maximum timestamp, in milliseconds."),
        click.option("--min-time", default=-(1 << 63), help="Minimum timestamp, in milliseconds."),
        click.option(
            "--sandbox-dir-root",
            "sandbox",
            type=_PATH,
            help="Where a copy of the log is put meanwhile. [default: beside the directory]",
        ),
        click.argument("path", default="data/", type=_PATH),
    ):
        function = option(function)
    return function


def _part(path: Path, sandbox: Path | None, min_time: int, max_time: int, matches: tuple[str, ...]) -> Any:
    from wavetank.monitoring.promtool.data_dir import Part

    ever = 1 << 62  # sums of times must not overflow
    return Part(path, max(min_time, -ever), min(max_time, ever), matches, sandbox)


@tsdb.command("dump")
@_part_options
@click.option(
    "--format",
    "output",
    type=click.Choice(["prom", "seriesjson"]),
    default="prom",
    show_default=True,
    help="Samples, or only the series as JSON.",
)
def tsdb_dump(*, output: str, **part: Any) -> None:
    """Dump data (series and samples, or just series) from a TSDB."""
    from wavetank.monitoring.promtool.data_dir import dump, dump_series

    for line in (dump if output == "prom" else dump_series)(_part(**part)):
        click.echo(line)


@tsdb.command("dump-openmetrics")
@_part_options
def tsdb_dump_openmetrics(**part: Any) -> None:
    """Dump float samples from a TSDB as OpenMetrics text, without native histograms and metadata."""
    from wavetank.monitoring.promtool.data_dir import dump_openmetrics

    for line in dump_openmetrics(_part(**part)):
        click.echo(line)


@tsdb.group("create-blocks-from")
@click.option("-r", "--human-readable", is_flag=True, help="Print human readable values.")
@click.option("-q", "--quiet", is_flag=True, help="Do not print created blocks.")
@click.option("--max-block-duration", default="2h", hidden=True, help="How much time a block spans.")
@click.pass_context
def create_blocks(context: click.Context, human_readable: bool, quiet: bool, max_block_duration: str) -> None:
    """Import samples as blocks, to be moved into a data directory."""
    context.meta[_CHOICES] = (human_readable, quiet, max_block_duration)


def _width_ms(duration: str) -> int:
    from wavetank.errors import InputError
    from wavetank.monitoring.config.values import parse_duration

    try:
        return max(2 * 3_600_000, int(parse_duration(duration)))
    except ValueError as error:
        raise InputError(f"--max-block-duration: {error}", fix="e.g. 2h, 1d") from None


def _show_blocks(output: Path, made: list[Path], human_readable: bool) -> None:
    from wavetank.monitoring.promtool.data_dir import list_blocks

    names = {path.name for path in made}
    for i, line in enumerate(list_blocks(output, human=human_readable)):
        if i == 0 or line.split(" ", 1)[0] in names:
            click.echo(line)


@create_blocks.command("openmetrics")
@click.argument("source", type=_PATH)
@click.argument("output", default="data/", type=_PATH)
@click.option("--label", "labels", multiple=True, help="A label for every series, name=value.")
@click.pass_context
def create_blocks_from_openmetrics(
    context: click.Context, source: Path, output: Path, labels: tuple[str, ...]
) -> None:
    """Import samples from OpenMetrics text, of any age."""
    from wavetank.clock import RealClock
    from wavetank.monitoring.promtool.backfill import blocks_from_openmetrics

    human_readable, quiet, duration = context.meta[_CHOICES]
    more = text_map("label", labels)
    made = blocks_from_openmetrics(source, output, RealClock(), width_ms=_width_ms(duration), labels=more)
    if not quiet:
        _show_blocks(output, made, human_readable)


@create_blocks.command("rules")
@http_option
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@click.option("--url", default="http://localhost:9090", show_default=True, help="The server to evaluate on.")
@click.option("--start", required=True, help="From when on, RFC3339 or Unix seconds.")
@click.option("--end", default="", help="Until when. [default: three hours ago]")
@click.option("--output-dir", "output", default="data/", show_default=True, type=_PATH)
@click.option("--eval-interval", default="60s", show_default=True, help="Where a group gives no interval.")
@header_option
@click.pass_context
def create_blocks_from_rules(
    context: click.Context,
    files: tuple[Path, ...],
    url: str,
    start: str,
    end: str,
    output: Path,
    eval_interval: str,
    header: tuple[str, ...],
) -> None:
    """Evaluate recording rules over the past of a server and keep the results."""
    from wavetank.clock import RealClock
    from wavetank.errors import InputError
    from wavetank.monitoring.config.values import parse_duration
    from wavetank.monitoring.promtool.backfill import blocks_from_rules
    from wavetank.monitoring.rfc3339 import parse_time_ms

    clock = RealClock()
    human_readable, quiet, duration = context.meta[_CHOICES]
    try:
        start_ms = parse_time_ms(start)
        end_ms = parse_time_ms(end) if end else int((clock.now() - 3 * 3600) * 1000)
        step_ms = int(parse_duration(eval_interval))
    except ValueError as error:
        raise InputError(str(error), fix="times as 2026-01-31T12:00:00Z or Unix seconds") from None
    made = blocks_from_rules(
        files,
        output,
        clock,
        url=url,
        start_ms=start_ms,
        end_ms=end_ms,
        step_ms=step_ms,
        headers=headers_of(header),
        http=http_of(context),
        width_ms=_width_ms(duration),
    )
    if not quiet:
        _show_blocks(output, made, human_readable)
