"""``wavetank dashboard``: check Grafana dashboards, draw them, list them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from wavetank.clock import Clock
    from wavetank.dashboards.check import BoardCheck
    from wavetank.dashboards.model import Dashboard
    from wavetank.dashboards.source import Source

__all__ = ["command"]


@click.group()
def command() -> None:
    """Grafana dashboards, unedited: check them against data, draw them as PNG, PDF, HTML or CSV."""


def _source_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--url", help="A server with Prometheus' HTTP API, e.g. http://127.0.0.1:9090."),
        click.option(
            "--data",
            type=click.Path(path_type=Path),
            help="A TSDB directory, or a rehearsal's kept run directory.",
        ),
        click.option("--from", "raw_from", default="", help="Start, e.g. now-1h. [default: the dashboard's]"),
        click.option("--to", "raw_to", default="", help="End. [default: the dashboard's]"),
    ):
        function = option(function)
    return function


@command.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@_source_options
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def check(
    files: tuple[Path, ...], url: str | None, data: Path | None, raw_from: str, raw_to: str, output: str
) -> int:
    """Whether every panel of FILES would show something, and why not.

    Without --url and --data only the files are checked: types, variables, transformations, PromQL. The exit
    code is 1 if anything would fail. A panel without data is reported but does not fail.
    """
    import msgspec

    from wavetank.dashboards.check import check_dashboard

    with _opened(url, data) as (source, clock):
        found = []
        for path in files:
            raw = (raw_from, raw_to) if raw_from or raw_to else _whole(data, source)
            board = _board(path)
            found.append((path, check_dashboard(board, source, clock, raw_from=raw[0], raw_to=raw[1])))
    if output == "json":
        rows = [{"file": str(path), **result.as_json()} for path, result in found]
        click.echo(msgspec.json.format(msgspec.json.encode(rows), indent=2).decode())
    else:
        for path, result in found:
            _print(path, result, answered=url is not None or data is not None)
    return int(any(result.failed for _, result in found))


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path), help="A .html, .png, .pdf or .csv file."
)
@_source_options
@click.option(
    "--var", "variables", multiple=True, metavar="NAME=VALUE", help="A variable; repeat for several."
)
@click.option("--panel", default="", help="Only this panel, by its id.")
@click.option("--theme", type=click.Choice(["light", "dark"]), help="[default: the reader's; light for PNG]")
@click.option("--width", type=click.IntRange(300, 4000), default=1280, show_default=True)
def render(
    file: Path,
    out: Path,
    url: str | None,
    data: Path | None,
    raw_from: str,
    raw_to: str,
    variables: tuple[str, ...],
    panel: str,
    theme: str | None,
    width: int,
) -> None:
    """Draw the dashboard FILE from a server, a data directory or a rehearsal's kept run directory.

    FILE may also be the uid of a dashboard that ships with Wavetank; `wavetank dashboard list` names them.
    """
    from wavetank.dashboards.render import render as write
    from wavetank.dashboards.render import snapshot
    from wavetank.errors import InputError

    if url is None and data is None:
        raise InputError("neither --url nor --data is given", fix="e.g. --url http://127.0.0.1:9090")
    given: dict[str, list[str]] = {}
    for text in variables:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--var {text!r} is not NAME=VALUE")
        given.setdefault(name, []).append(value)
    board = _board(file)
    with _opened(url, data) as (source, clock):
        raw = (raw_from, raw_to) if raw_from or raw_to else _whole(data, source)
        found = snapshot(
            board,
            source,
            clock,
            raw_from=raw[0],
            raw_to=raw[1],
            given=given,
            width=width,
            panel=panel,
        )
    write([found], out, theme=theme or "", width=width, title=board.title)
    states = [p["state"] for p in found["frames"]["panels"]]
    failed = sum(state == "error" for state in states)
    click.echo(f"{out}: {len(states)} panels, {states.count('empty')} without data, {failed} failed")


@command.command("list")
def list_() -> None:
    """The dashboards that ship with Wavetank."""
    from wavetank.dashboards.store import Store

    for stored in Store().all():
        click.echo(f"{stored.uid:<24} {stored.dashboard.title}: {stored.dashboard.description}")


def _board(file: Path) -> Dashboard:
    """A file, or the uid of one that ships."""
    from wavetank.dashboards.load import load_file
    from wavetank.dashboards.store import Store

    if not file.exists():
        shipped = Store().get(str(file))
        if shipped is not None:
            return shipped.dashboard
    return load_file(file)


def _print(path: Path, result: BoardCheck, *, answered: bool) -> None:
    states = {state: [p for p in result.panels if p.state == state] for state in _STATES}
    parts = [f"{len(found)} {state}" for state, found in states.items() if found]
    if not answered:
        parts = [f"{len(result.panels)} panels", f"{len(states['failed'])} failed"]
    click.echo(f"{path}: {result.title}: {', '.join(parts) or 'no panels'}")
    for problem in result.problems:
        click.echo(f"  FAILED  {problem}")
    for panel in result.panels:
        if panel.state == "ok" or (panel.state == "empty" and not answered):
            continue
        word = panel.state.upper() if panel.state == "failed" else panel.state
        title = panel.title or "(no title)"
        click.echo(f"  {word:<7} {panel.id} {title!r} ({panel.type}): {'; '.join(panel.why)}")


_STATES = ("ok", "empty", "unsupported", "failed")


@contextmanager
def _opened(url: str | None, data: Path | None) -> Iterator[tuple[Source, Clock]]:
    from wavetank.clock import RealClock
    from wavetank.dashboards.check import NoSource
    from wavetank.dashboards.data import open_data
    from wavetank.dashboards.source import HTTPSource
    from wavetank.errors import InputError

    if url is not None and data is not None:
        raise InputError("--url and --data are both given", fix="give one of them")
    if url is not None:
        yield HTTPSource(url), RealClock()
    elif data is not None:
        with open_data(data) as (source, clock):
            yield source, clock
    else:
        yield NoSource(), RealClock()


def _whole(data: Path | None, source: Source) -> tuple[str, str]:
    """For a directory the time that its data spans, since "the last hour" may be long past it."""
    from wavetank.dashboards.data import DataSource

    if data is None or not isinstance(source, DataSource):
        return "", ""
    return str(source.first_ms), str(source.last_ms)
