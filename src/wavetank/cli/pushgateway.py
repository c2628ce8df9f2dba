"""``wavetank pushgateway``: the server, with Pushgateway's own flags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

__all__ = ["command"]


@click.command()
@click.option("--web.listen-address", "listen", multiple=True, default=["127.0.0.1:9091"], show_default=True)
@click.option("--web.config.file", "web_config", help="TLS and passwords.")
@click.option("--web.telemetry-path", "telemetry_path", default="/metrics", show_default=True)
@click.option("--web.external-url", "external_url", default="", help="The URL others reach this server by.")
@click.option("--web.route-prefix", "route_prefix", help="[default: the path of --web.external-url]")
@click.option("--web.enable-lifecycle", "lifecycle", is_flag=True, help="Shutdown via HTTP.")
@click.option("--web.enable-admin-api", "admin_api", is_flag=True, help="Wiping all metrics via HTTP.")
@click.option("--persistence.file", "file", default="", help="Metrics are only kept in memory if empty.")
@click.option("--persistence.interval", "interval", default="5m", show_default=True)
@click.option("--push.disable-consistency-check", "unchecked", is_flag=True, help="DANGEROUS.")
@click.option("--push.enable-utf8-names", "utf8_names", is_flag=True)
@click.option(
    "--log.level", "log_level", type=click.Choice(["debug", "info", "warn", "error"]), default="info"
)
@click.option(
    "--log.format", "log_format", type=click.Choice(["logfmt", "json"]), default="logfmt", hidden=True
)
@click.pass_context
def command(context: click.Context, /, **flags: Any) -> None:
    """Pushgateway: keeps the metrics that short-lived jobs push; Pushgateway's own flags."""
    import asyncio

    from wavetank.monitoring.logs import set_up_logging

    set_up_logging(flags["log_level"], flags["log_format"])
    shown = {
        option.opts[0].removeprefix("--"): _shown(flags[option.name])
        for option in context.command.params
        if option.name in flags
    }
    asyncio.run(_run(flags, shown))


def _shown(value: Any) -> str:
    """As Go prints it."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, tuple) else str("" if value is None else value)


async def _run(flags: dict[str, Any], shown: dict[str, str]) -> None:
    """Serve until SIGTERM or SIGINT."""
    import asyncio
    import logging
    import signal
    from urllib.parse import urlsplit

    from wavetank.clock import RealClock
    from wavetank.errors import InputError
    from wavetank.monitoring.config.values import parse_duration
    from wavetank.monitoring.pushgateway.app import Pushgateway, PushgatewayOptions
    from wavetank.monitoring.pushgateway.store import Groups
    from wavetank.monitoring.web.shell import serve_application

    log = logging.getLogger("wavetank.monitoring.pushgateway")
    try:
        interval = parse_duration(flags["interval"]).seconds
    except ValueError as error:
        raise InputError(f"--persistence.interval: {error}", fix="e.g. 90s, 5m") from None
    options = PushgatewayOptions(
        telemetry_path=flags["telemetry_path"],
        persistence_seconds=interval,
        lifecycle=flags["lifecycle"],
        admin_api=flags["admin_api"],
        unchecked=flags["unchecked"],
        utf8_names=flags["utf8_names"],
        flags=shown,
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    clock = RealClock()
    prefix = flags["route_prefix"]
    groups = Groups(Path(flags["file"]) if flags["file"] else None)
    async with Pushgateway(groups, clock, options, stop.set) as gateway:
        await serve_application(
            gateway.app,
            clock,
            stop,
            lambda url: log.info("Listening on %s", url),
            addresses=flags["listen"],
            config_file=Path(flags["web_config"]) if flags["web_config"] else None,
            external_url=flags["external_url"],
            route_prefix=urlsplit(flags["external_url"]).path if prefix is None else prefix,
        )
