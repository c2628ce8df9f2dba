"""``wavetank promtool query``: questions to a server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import click

from wavetank.cli._servers import header_option, headers_of, http_of, http_option

__all__ = ["query"]

_OUTPUT: Final = "wavetank.output"


@click.group()
@http_option
@click.option(
    "-o",
    "--format",
    "output",
    type=click.Choice(["promql", "json"]),
    default="promql",
    show_default=True,
    help="Output format.",
)
@click.pass_context
def query(context: click.Context, output: str) -> None:
    """Run query against a Prometheus server."""
    context.meta[_OUTPUT] = output


def _print(context: click.Context, data: Any, lines: Callable[[Any], list[str]]) -> None:
    """As promtool prints it, or as Go's JSON encoder writes it, in one line."""
    import msgspec

    if context.meta[_OUTPUT] == "json":
        text = msgspec.json.encode(data).decode()
        for sign in "&<>":
            text = text.replace(sign, f"\\u{ord(sign):04x}")
        click.echo(text)
        return
    for line in lines(data):
        click.echo(line)


def _print_value(context: click.Context, data: Any) -> None:
    from wavetank.monitoring.promtool.remote import plain, show

    if context.meta[_OUTPUT] == "json":
        _print(context, plain(data), list)
    else:
        _print(context, data, show)


def _time_ms(name: str, text: str | None, default_ms: int) -> int:
    """Raises CheckFailed, in upstream's words."""
    from wavetank.errors import CheckFailed
    from wavetank.monitoring.rfc3339 import parse_time_ms

    if not text:
        return default_ms
    try:
        return parse_time_ms(text)
    except ValueError:
        raise CheckFailed(f'error parsing {name} time: cannot parse "{text}" to a valid timestamp') from None


def _shown(time_ms: int) -> str:
    return f"{time_ms / 1000:.3f}"


def _now_ms() -> int:
    from wavetank.clock import RealClock

    return round(RealClock().now() * 1000)


@query.command("instant")
@click.argument("server")
@click.argument("expr")
@click.option("--time", help="Query evaluation time (RFC3339 or Unix timestamp).")
@header_option
@click.pass_context
def query_instant(
    context: click.Context, server: str, expr: str, time: str | None, header: tuple[str, ...]
) -> None:
    """Run instant query."""
    from wavetank.monitoring.promtool.remote import ask

    params = [("query", expr), ("time", _shown(_time_ms("evaluation", time, _now_ms())))]
    _print_value(context, ask(server, "query", params, headers_of(header), http_of(context), post=True))


@query.command("range")
@click.argument("server")
@click.argument("expr")
@click.option("--start", help="Query range start time. [default: 5 minutes before the end]")
@click.option("--end", help="Query range end time. [default: now]")
@click.option("--step", help="Query step size (duration). [default: 250 steps]")
@header_option
@click.pass_context
def query_range(
    context: click.Context,
    server: str,
    expr: str,
    start: str | None,
    end: str | None,
    step: str | None,
    header: tuple[str, ...],
) -> None:
    """Run range query."""
    from wavetank.errors import CheckFailed
    from wavetank.monitoring.config.values import parse_duration
    from wavetank.monitoring.promtool.remote import ask

    end_ms = _time_ms("end", end, _now_ms())
    start_ms = _time_ms("start", start, end_ms - 300_000)
    if start_ms >= end_ms:
        raise CheckFailed("start time is not before end time")
    try:
        # Upstream's default resolution: 250 points over the range
        width = parse_duration(step).seconds if step else max((end_ms - start_ms) // 250_000, 1)
    except ValueError as error:
        raise click.UsageError(f"--step: {error}") from None
    params = [("query", expr), ("start", _shown(start_ms)), ("end", _shown(end_ms)), ("step", f"{width:g}")]
    data = ask(server, "query_range", params, headers_of(header), http_of(context), post=True)
    _print_value(context, data)


def _range(start: str | None, end: str | None) -> list[tuple[str, str]]:
    given = (("start", start), ("end", end))
    return [(name, _shown(_time_ms(name, text, 0))) for name, text in given if text]


@query.command("series")
@click.argument("server")
@click.option("--match", "matches", multiple=True, required=True, help="Series selector.")
@click.option("--start", help="Start time.")
@click.option("--end", help="End time.")
@click.pass_context
def query_series(
    context: click.Context, server: str, matches: tuple[str, ...], start: str | None, end: str | None
) -> None:
    """Run series query."""
    from wavetank.model.labels import Labels, braced
    from wavetank.monitoring.promtool.remote import ask

    params = [("match[]", match) for match in matches]
    params += _range(start, end)
    found = ask(server, "series", params, {}, http_of(context), post=True)
    ordered = [dict(sorted(entry.items())) for entry in found]
    _print(context, ordered, lambda data: [braced(Labels.of(entry)) for entry in data])


@query.command("labels")
@click.argument("server")
@click.argument("name")
@click.option("--match", "matches", multiple=True, help="Series selector.")
@click.option("--start", help="Start time.")
@click.option("--end", help="End time.")
@click.pass_context
def query_labels(
    context: click.Context,
    server: str,
    name: str,
    matches: tuple[str, ...],
    start: str | None,
    end: str | None,
) -> None:
    """Run labels query."""
    from wavetank.monitoring.promtool.remote import ask

    params = [("match[]", match) for match in matches]
    params += _range(start, end)
    _print(context, ask(server, f"label/{name}/values", params, {}, http_of(context)), list)


@query.command("analyze")
@click.option("--server", required=True, help="Prometheus server to query.")
@click.option("--type", "kind", required=True, help="Type of metric: classichistograms or nativehistograms.")
@click.option("--duration", default="1h", show_default=True, help="Time frame to analyze.")
@click.option("--time", help="Query time (RFC3339 or Unix timestamp). [default: now]")
@click.option("--match", "matches", multiple=True, required=True, help="Series selector.")
@click.pass_context
def query_analyze(
    context: click.Context, server: str, kind: str, duration: str, time: str | None, matches: tuple[str, ...]
) -> None:
    """Analyze how the buckets of histograms are used."""
    from wavetank.clock import RealClock
    from wavetank.monitoring.config.values import parse_duration
    from wavetank.monitoring.promtool.bucket_usage import bucket_usage
    from wavetank.monitoring.promtool.remote import ask

    # All questions are asked of one moment
    moment = time or f"{RealClock().now():.3f}"
    http = http_of(context)
    try:
        seconds = parse_duration(duration).seconds
    except ValueError as error:
        raise click.UsageError(f"--duration: {error}") from None

    def at_once(text: str) -> Any:
        return ask(server, "query", [("query", text), ("time", moment)], {}, http)

    for line in bucket_usage(at_once, kind, matches, seconds):
        click.echo(line)
