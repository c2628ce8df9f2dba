"""``wavetank alertmanager``: the server, with Alertmanager's own flags, and ``check-config``."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

if TYPE_CHECKING:
    from wavetank.alerting.service import AlertmanagerOptions

__all__ = ["command"]

F = TypeVar("F", bound=Callable[..., Any])

# The tuning of a cluster that there is not: accepted, so that a unit file need not be edited.
_ACCEPTED: Final = (
    "--cluster.advertise-address",
    "--cluster.peer-name",
    "--cluster.peer-timeout",
    "--cluster.peers-resolve-timeout",
    "--cluster.gossip-interval",
    "--cluster.pushpull-interval",
    "--cluster.tcp-timeout",
    "--cluster.probe-timeout",
    "--cluster.probe-interval",
    "--cluster.settle-timeout",
    "--cluster.reconnect-interval",
    "--cluster.reconnect-timeout",
    "--cluster.label",
    "--auto-gomemlimit.ratio",
)


_ACCEPTED_SWITCHES: Final = (
    "--cluster.allow-insecure-public-advertise-address-discovery",
    "--auto-gomemlimit",
    "--log.silences",
)
_FEATURES: Final = {
    "classic-mode": "classic",
    "utf8-strict-mode": "utf8",
    # what is so without a flag
    "receiver-name-in-metrics": None,
    "auto-gomemlimit": None,
}


def _features(context: click.Context, parameter: click.Parameter, value: str) -> tuple[str, ...]:
    """How matchers are read: one syntax, or none named for both."""
    found = set()
    for name in filter(None, value.split(",")):
        if name not in _FEATURES:
            known = ", ".join(_FEATURES)
            raise click.UsageError(f"--enable-feature={name}: not built in; there are {known}")
        found.add(_FEATURES[name])
    syntaxes = tuple(name for name in found if name)
    if len(syntaxes) > 1:
        raise click.UsageError("--enable-feature: classic-mode and utf8-strict-mode exclude each other")
    return syntaxes


_DURATION_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h|d|w)")
_SECONDS: Final = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0,
    "w": 604_800.0,
}  # fmt: skip


def _note(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    """Remember a flag that has no effect, for the log."""
    if value is not None and parameter.opts[0].startswith("--cluster."):
        context.ensure_object(list).append(parameter.opts[0])


def _name(flag: str) -> str:
    """A name of its own: flags with dots would share one, and each other's values."""
    return flag.strip("-").replace(".", "_").replace("-", "_")


def _accepted(function: F) -> F:
    for name in _ACCEPTED:
        function = click.option(name, _name(name), hidden=True, expose_value=False, callback=_note)(function)
    for name in _ACCEPTED_SWITCHES:
        option = click.option(name, _name(name), is_flag=True, hidden=True, expose_value=False)
        function = option(function)
    return function


@click.group(invoke_without_command=True)
@click.option("--config.file", "config_file", default="alertmanager.yml", show_default=True)
@click.option("--storage.path", "storage_path", default="data/", show_default=True)
@click.option(
    "--data.retention", "retention", default="120h", show_default=True, help="How long to keep data."
)
@click.option("--data.maintenance-interval", "maintenance", default="15m", show_default=True)
@click.option("--silences.max-silences", "silences_max", default=0, help="0 for no limit.")
@click.option("--silences.max-silence-size-bytes", "silence_bytes_max", default=0, help="0 for no limit.")
@click.option("--alerts.gc-interval", "gc_interval", default="30m", show_default=True)
@click.option("--alerts.per-alertname-limit", "per_name_max", default=0, help="0 for no limit.")
@click.option("--dispatch.maintenance-interval", "dispatch_maintenance", default="30s", show_default=True)
@click.option("--dispatch.start-delay", "start_delay", default="0s", show_default=True)
@click.option("--web.listen-address", "listen", multiple=True, default=["127.0.0.1:9093"], show_default=True)
@click.option("--web.config.file", "web_config", help="TLS and passwords.")
@click.option("--web.external-url", "external_url", default="", help="The URL others reach this server by.")
@click.option("--web.route-prefix", "route_prefix", help="[default: the path of --web.external-url]")
@click.option(
    "--web.get-concurrency", "concurrency", default=0, help="GET requests at a time; 0 for no limit."
)
@click.option("--web.timeout", "timeout", default="0", help="How long a request may last; 0 for no limit.")
@click.option(
    "--enable-feature", "syntaxes", default="", callback=_features, help="classic-mode or utf8-strict-mode."
)
@click.option(
    "--cluster.listen-address", "cluster_listen", default="", help="Only empty: there is no cluster."
)
@click.option("--cluster.peer", "peers", multiple=True, help="Refused: there is no cluster.")
@click.option("--cluster.tls-config", "cluster_tls", default="", hidden=True)
@click.option(
    "--log.level", "log_level", type=click.Choice(["debug", "info", "warn", "error"]), default="info"
)
@click.option(
    "--log.format", "log_format", type=click.Choice(["logfmt", "json"]), default="logfmt", hidden=True
)
@_accepted
@click.pass_context
def command(context: click.Context, /, **flags: Any) -> None:
    """Alertmanager: groups, mutes and delivers alerts; Alertmanager's own flags."""
    if context.invoked_subcommand is not None:
        return
    import asyncio

    from wavetank.monitoring.logs import set_up_logging

    set_up_logging(flags["log_level"], flags["log_format"])
    asyncio.run(_run(flags, context.obj or []))


@command.command("check-config")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def check_config(files: tuple[Path, ...]) -> None:
    """Check configuration files and the templates they name."""
    from wavetank.alerting.config import load_config
    from wavetank.alerting.templates import Templates
    from wavetank.clock import RealClock
    from wavetank.errors import CheckFailed, InputError

    failed = 0
    for path in files:
        try:
            config = load_config(path)
            Templates(RealClock(), config.templates)
        except InputError as error:
            failed += 1
            click.echo(f"Checking '{path}'  FAILED: {error}")
            continue
        click.echo(f"Checking '{path}'  SUCCESS")
        click.echo("Found:\n - global config\n - route")
        click.echo(f" - {len(config.inhibit_rules)} inhibit rules")
        click.echo(f" - {len(config.receivers)} receivers")
        click.echo(f" - {len(config.templates)} templates")
    if failed:
        raise CheckFailed(f"failed to validate {failed} file(s)")


def _seconds(flags: dict[str, Any], name: str, flag: str) -> float:
    """A duration as Go writes it. Raises InputError."""
    from wavetank.errors import InputError

    text = str(flags[name])
    parts = _DURATION_PART.findall(text)
    if text != "0" and (not parts or "".join(number + unit for number, unit in parts) != text):
        raise InputError(f"--{flag}: {text!r} is not a duration", fix="e.g. 90s, 15m, 120h")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def _options(flags: dict[str, Any], external_url: str) -> AlertmanagerOptions:
    from wavetank.alerting.service import AlertmanagerOptions
    from wavetank.errors import InputError

    if flags["peers"] or flags["cluster_tls"]:
        raise InputError(
            "--cluster.peer: there is no cluster here, one instance notifies",
            fix="remove the flag; Prometheus may send to several instances, but each of them notifies",
        )
    return AlertmanagerOptions(
        retention_seconds=_seconds(flags, "retention", "data.retention"),
        maintenance_seconds=_seconds(flags, "maintenance", "data.maintenance-interval"),
        gc_seconds=_seconds(flags, "gc_interval", "alerts.gc-interval"),
        dispatch_maintenance_seconds=_seconds(flags, "dispatch_maintenance", "dispatch.maintenance-interval"),
        start_delay_seconds=_seconds(flags, "start_delay", "dispatch.start-delay"),
        silences_max=flags["silences_max"],
        silence_bytes_max=flags["silence_bytes_max"],
        per_name_max=flags["per_name_max"],
        external_url=external_url,
    )


async def _run(flags: dict[str, Any], without_effect: list[str]) -> None:
    """Serve until SIGTERM or SIGINT; SIGHUP reloads."""
    import asyncio
    import logging
    import signal
    import socket
    from urllib.parse import urlsplit

    from wavetank.alerting.api.app import create_app
    from wavetank.alerting.matchers import read_as
    from wavetank.alerting.service import Alertmanager
    from wavetank.clock import RealClock
    from wavetank.errors import InputError
    from wavetank.monitoring.web.shell import serve_application

    log = logging.getLogger("wavetank.alerting")
    if flags["cluster_listen"]:
        without_effect = ["--cluster.listen-address", *without_effect]
    if without_effect:
        log.warning(
            "%s: no effect. There is no cluster here: silences are not shared, and every instance that "
            "alerts are sent to notifies by itself",
            ", ".join(without_effect),
        )
    read_as(*flags["syntaxes"])
    port = flags["listen"][0].rpartition(":")[2]
    external_url = flags["external_url"].rstrip("/") or f"http://{socket.gethostname()}:{port}"
    clock = RealClock()
    config = Path(flags["config_file"])
    am = Alertmanager(config, Path(flags["storage_path"]), clock, _options(flags, external_url))
    stop = asyncio.Event()
    tasks: set[asyncio.Task[None]] = set()

    async def reload() -> None:
        try:
            await am.reload()
        except InputError as error:
            log.error("the configuration is not used: %s", error)

    def on_hangup() -> None:
        task = asyncio.get_running_loop().create_task(reload())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, on_hangup)
    prefix = flags["route_prefix"]
    am.start()
    try:
        await serve_application(
            create_app(
                am,
                concurrency=flags["concurrency"],
                timeout_seconds=_seconds(flags, "timeout", "web.timeout"),
            ),
            clock,
            stop,
            lambda url: log.info("Listening on %s", url),
            addresses=flags["listen"],
            config_file=Path(flags["web_config"]) if flags["web_config"] else None,
            external_url=external_url,
            route_prefix=urlsplit(external_url).path if prefix is None else prefix,
        )
    finally:
        await am.close()
