"""``wavetank promtool push`` and ``debug``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from wavetank.cli._kingpin import text_map
from wavetank.cli._servers import header_option, headers_of, http_of, http_option

__all__ = ["debug", "push_group"]


@click.group("push")
@http_option
def push_group() -> None:
    """Push to a Prometheus server."""


@push_group.command("metrics")
@click.argument("url", metavar="REMOTE-WRITE-URL")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--label",
    "labels",
    multiple=True,
    default=["job=promtool"],
    show_default=True,
    help="Label to attach, name=value; may be repeated.",
)
@header_option
@click.option("--timeout", default="30s", show_default=True, help="How long to try.")
@click.option(
    "--protobuf_message",
    "message",
    default="prometheus.WriteRequest",
    show_default=True,
    help="prometheus.WriteRequest or io.prometheus.write.v2.Request.",
)
@click.option(
    "--remote-write.path", "path", default="/api/v1/write", show_default=True, help="The remote write path."
)
@click.pass_context
def push_metrics(context: click.Context, /, files: tuple[Path, ...], **flags: Any) -> None:
    """Push metrics to a prometheus remote write (for testing purpose only); without files, standard input."""
    from wavetank.clock import RealClock
    from wavetank.errors import WavetankError
    from wavetank.monitoring.config.values import parse_duration
    from wavetank.monitoring.promtool.push import MESSAGES, Receiver, write_request

    message: str = flags["message"]
    if message not in MESSAGES:
        text = f'invalid protobuf message "{message}", must be {MESSAGES[0]} or {MESSAGES[1]}'
        click.echo(f"  FAILED: {text}", err=True)
        sys.exit(1)
    try:
        seconds = parse_duration(flags["timeout"]).seconds
    except ValueError as error:
        raise click.UsageError(f"--timeout: {error}") from None
    labels, headers, clock = text_map("label", flags["labels"]), headers_of(flags["header"]), RealClock()
    receiver = Receiver(flags["url"], flags["path"], message, headers, seconds, http_of(context))
    failed = False
    sources: list[Path | None] = [*files] or [None]
    for path in sources:
        click.echo("Parsing standard input" if path is None else f"Parsing metrics file {path}")
        try:
            body = sys.stdin.buffer.read() if path is None else path.read_bytes()
            receiver.push(write_request(body, labels, round(clock.now() * 1000), message), clock)
        except (WavetankError, OSError) as error:
            click.echo(f"  FAILED: {error}", err=True)
            failed = True
        else:
            what = "metrics" if path is None else f"metrics file {path}"
            click.echo(f"  SUCCESS: {what} pushed to remote write.")
    if failed:
        sys.exit(1)


@click.group()
@http_option
def debug() -> None:
    """Fetch debug information."""


@debug.command("metrics")
@click.argument("server")
@click.pass_context
def debug_metrics(context: click.Context, server: str) -> None:
    """Fetch metrics debug information."""
    from wavetank.monitoring.promtool.debug import METRICS, collect

    collect(server, METRICS, click.echo, http_of(context))


@debug.command("all")
@click.argument("server")
@click.pass_context
def debug_all(context: click.Context, server: str) -> None:
    """Fetch all debug information: metrics, status, and the profiles of a server written in Go."""
    from wavetank.monitoring.promtool.debug import METRICS, PROFILES, STATUS, collect

    collect(server, [*METRICS, *STATUS], click.echo, http_of(context), optional=PROFILES)


@debug.command("pprof")
@click.argument("server")
@click.pass_context
def debug_pprof(context: click.Context, server: str) -> None:
    """Fetch the profiles of a server written in Go; a Wavetank server has none."""
    from wavetank.monitoring.promtool.debug import PROFILES, collect

    collect(server, PROFILES, click.echo, http_of(context))
