"""``wavetank promtool query``: questions to a server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from wavetank.cli._servers import header_option, headers_of, http_of, http_option

__all__ = ["query"]

F = TypeVar("F", bound=Callable[..., Any])


@click.group()
@http_option
@click.option("-o", "--format", "output", type=click.Choice(["promql", "json"]), default="promql")
@click.pass_context
def query(context: click.Context, output: str) -> None:
    """Run query against a Prometheus server."""
    context.obj = {"output": output}


def _also_output(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.obj["output"] = value


def _output(function: F) -> F:
    """``-o`` after the command too: promtool takes flags anywhere."""
    return click.option(
        "-o",
        "--format",
        "output",
        type=click.Choice(["promql", "json"]),
        expose_value=False,
        callback=_also_output,
        help="Output format.",
    )(function)


def _print(context: click.Context, data: Any, lines: Callable[[Any], list[str]]) -> None:
    import msgspec

    if context.obj["output"] == "json":
        click.echo(msgspec.json.encode(data).decode())
        return
    for line in lines(data):
        click.echo(line)


@query.command("instant")
@_output
@http_option
@click.argument("server")
@click.argument("expr")
@click.option("--time", help="Query evaluation time (RFC3339 or Unix timestamp).")
@header_option
@click.pass_context
def query_instant(
    context: click.Context, server: str, expr: str, time: str | None, header: tuple[str, ...]
) -> None:
    """Run instant query."""
    from wavetank.monitoring.promtool.remote import ask, show

    params = [("query", expr), *([("time", time)] if time else [])]
    _print(context, ask(server, "query", params, headers_of(header), http_of(context)), show)


@query.command("range")
@_output
@http_option
@click.argument("server")
@click.argument("expr")
@click.option("--start", help="Query range start time. [default: 5 minutes ago]")
@click.option("--end", help="Query range end time. [default: now]")
@click.option("--step", help="Query step size (duration).")
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
    from wavetank.clock import RealClock
    from wavetank.monitoring.promtool.remote import ask, show
    from wavetank.monitoring.rfc3339 import parse_time_ms

    end_ms = parse_time_ms(end) if end else round(RealClock().now() * 1000)
    start_ms = parse_time_ms(start) if start else end_ms - 300_000
    # Upstream's default resolution: 250 points over the range
    width = step or str(max((end_ms - start_ms) // 250_000, 1))
    params = [("query", expr), ("start", str(start_ms / 1000)), ("end", str(end_ms / 1000)), ("step", width)]
    _print(context, ask(server, "query_range", params, headers_of(header), http_of(context)), show)


@query.command("series")
@_output
@http_option
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
    params += [(name, value) for name, value in (("start", start), ("end", end)) if value]
    found = ask(server, "series", params, {}, http_of(context))
    _print(context, found, lambda data: [braced(Labels.of(entry)) for entry in data])


@query.command("labels")
@_output
@http_option
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
    params += [(key, value) for key, value in (("start", start), ("end", end)) if value]
    _print(context, ask(server, f"label/{name}/values", params, {}, http_of(context)), list)


@query.command("analyze")
@http_option
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
