"""``wavetank prometheus``: the server, with Prometheus' own flags."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

if TYPE_CHECKING:
    from wavetank.monitoring.options import ServerOptions

__all__ = ["command"]

F = TypeVar("F", bound=Callable[..., Any])

# Flags of Prometheus that change nothing here: accepted, so that a unit file need not be edited.
_ACCEPTED: Final = (
    "--web.config.file",
    "--web.read-timeout",
    "--web.max-connections",
    "--web.route-prefix",
    "--web.user-assets",
    "--web.page-title",
    "--web.cors.origin",
    "--web.console.templates",
    "--web.console.libraries",
    "--web.search.max-limit",
    "--storage.remote.flush-deadline",
    "--storage.remote.read-sample-limit",
    "--storage.remote.read-concurrent-limit",
    "--storage.remote.read-max-bytes-in-frame",
    "--storage.tsdb.wal-segment-size",
    "--storage.tsdb.head-chunks-write-queue-size",
    "--storage.tsdb.samples-per-chunk",
    "--rules.max-concurrent-evals",
    "--scrape.discovery-reload-interval",
    "--auto-gomemlimit.ratio",
    "--log.format",
)
_ACCEPTED_SWITCHES: Final = (
    "--storage.tsdb.wal-compression",
    "--storage.tsdb.allow-overlapping-blocks",
    "--scrape.adjust-timestamps",
    "--auto-gomemlimit",
    "--auto-gomaxprocs",
    "--alertmanager.drain-notification-queue-on-shutdown",
    "--web.enable-otlp-receiver",
)


def _accepted(function: F) -> F:
    for name in _ACCEPTED:
        function = click.option(name, hidden=True, expose_value=False)(function)
    for name in _ACCEPTED_SWITCHES:
        pair = f"{name}/--no-{name.removeprefix('--')}"
        function = click.option(pair, hidden=True, expose_value=False, default=None)(function)
    return function


def _switch(name: str, dest: str, text: str) -> Callable[[F], F]:
    return click.option(f"--{name}/--no-{name}", dest, default=False, help=text)


@click.command()
@click.option(
    "--config.file", "config_file", default="prometheus.yml", show_default=True, help="Configuration file."
)
@click.option("--config.auto-reload", "auto_reload", is_flag=True, help="Reload when the files change.")
@click.option("--config.auto-reload-interval", "auto_reload_interval", default="30s", show_default=True)
@click.option(
    "--web.listen-address",
    "listen_address",
    default="127.0.0.1:9090",
    show_default=True,
    help="host:port, port 0 for any, or unix:/path.",
)
@click.option("--web.external-url", "external_url", default="", help="The URL others reach this server by.")
@_switch("web.enable-lifecycle", "enable_lifecycle", "Shutdown and reload via HTTP.")
@_switch("web.enable-admin-api", "enable_admin_api", "Deleting series and snapshots via HTTP.")
@_switch("web.enable-remote-write-receiver", "enable_remote_write_receiver", "Accept remote write 1.0.")
@click.option("--storage.tsdb.path", "storage_path", default="data/", show_default=True)
@click.option(
    "--storage.tsdb.retention.time", "retention_time", help="How long samples are kept. [default: 15d]"
)
@click.option("--storage.tsdb.retention.size", "retention_size", help="Bytes of blocks kept, e.g. 512MB.")
@click.option("--storage.tsdb.min-block-duration", "min_block", default="2h", hidden=True)
@click.option("--storage.tsdb.max-block-duration", "max_block", hidden=True)
@click.option(
    "--storage.tsdb.no-lockfile", "no_lockfile", is_flag=True, help="No lock file in the data directory."
)
@click.option("--query.lookback-delta", "lookback", default="5m", show_default=True)
@click.option("--query.timeout", "query_timeout", default="2m", show_default=True)
@click.option("--query.max-concurrency", "query_concurrency", default=20, show_default=True)
@click.option("--query.max-samples", "query_samples", default=50_000_000, show_default=True)
@click.option("--rules.alert.for-outage-tolerance", "outage_tolerance", default="1h", show_default=True)
@click.option("--rules.alert.for-grace-period", "grace_period", default="10m", show_default=True)
@click.option("--rules.alert.resend-delay", "resend_delay", default="1m", show_default=True)
@click.option(
    "--alertmanager.notification-queue-capacity", "queue_capacity", default=10_000, show_default=True
)
@click.option("--enable-feature", "features", multiple=True, help="Feature names, separated by commas.")
@click.option(
    "--log.level",
    "log_level",
    type=click.Choice(["debug", "info", "warn", "error"]),
    default="info",
    show_default=True,
)
@click.option("--journal", "journal_path", type=click.Path(path_type=Path), help="Note first scrapes here.")
@_accepted
@click.pass_context
def command(context: click.Context, /, **flags: Any) -> None:
    """A Prometheus server: discovers, scrapes, stores, evaluates rules, and answers the HTTP API v1."""
    import asyncio

    from wavetank.monitoring.logs import set_up_logging

    set_up_logging(flags["log_level"])
    options = _options(context, flags)
    asyncio.run(_run(flags, options))


def _options(context: click.Context, flags: dict[str, Any]) -> ServerOptions:
    """The options of the flags. Raises InputError for values that do not parse."""
    from wavetank.errors import InputError
    from wavetank.monitoring.config.values import parse_duration, parse_size
    from wavetank.monitoring.options import ServerOptions
    from wavetank.monitoring.rules.load import RuleOptions
    from wavetank.promql.context import EngineOptions
    from wavetank.tsdb.options import Options as StorageOptions

    def ms(name: str, flag: str) -> int:
        try:
            return int(parse_duration(flags[name]))
        except ValueError as error:
            raise InputError(f"--{flag}: {error}", fix="e.g. 90s, 15m, 1h") from None

    try:
        retention_bytes = int(parse_size(flags["retention_size"])) if flags["retention_size"] else 0
    except ValueError as error:
        raise InputError(f"--storage.tsdb.retention.size: {error}", fix="e.g. 512MB") from None
    flags = {**flags, "retention_time": flags["retention_time"] or "15d"}
    min_block = ms("min_block", "storage.tsdb.min-block-duration")
    flags["max_block"] = flags["max_block"] or "31d"
    features = _features(flags["features"])
    return ServerOptions(
        listen_address=flags["listen_address"],
        storage=StorageOptions(
            min_block_ms=min_block,
            max_block_ms=max(min_block, ms("max_block", "storage.tsdb.max-block-duration")),
            retention_ms=ms("retention_time", "storage.tsdb.retention.time"),
            retention_bytes=retention_bytes,
            lock_file=not flags["no_lockfile"],
        ),
        engine=EngineOptions(
            lookback_ms=ms("lookback", "query.lookback-delta"),
            timeout_seconds=ms("query_timeout", "query.timeout") / 1000,
            samples_max=flags["query_samples"],
            parser=_parser_options(features),
            delayed_name_removal="promql-delayed-name-removal" in features,
            use_start_timestamps="use-start-timestamps" in features,
        ),
        rules=RuleOptions(
            for_outage_tolerance_ms=ms("outage_tolerance", "rules.alert.for-outage-tolerance"),
            for_grace_period_ms=ms("grace_period", "rules.alert.for-grace-period"),
            resend_delay_ms=ms("resend_delay", "rules.alert.resend-delay"),
            parser=_parser_options(features),
        ),
        external_url=flags["external_url"],
        query_concurrency=flags["query_concurrency"],
        notification_queue_capacity=flags["queue_capacity"],
        enable_lifecycle=flags["enable_lifecycle"],
        enable_admin_api=flags["enable_admin_api"],
        enable_remote_write_receiver=flags["enable_remote_write_receiver"],
        auto_reload_seconds=(
            ms("auto_reload_interval", "config.auto-reload-interval") / 1000 if flags["auto_reload"] else 0.0
        ),
        flags=_shown_flags(context, flags),
    )


def _features(values: tuple[str, ...]) -> set[str]:
    return {name.strip() for value in values for name in value.split(",") if name.strip()}


def _parser_options(features: set[str]) -> Any:
    from wavetank.promql.options import ParserOptions

    return ParserOptions(
        functions="promql-experimental-functions" in features,
        extended_ranges="promql-extended-range-selectors" in features,
        fill="promql-binop-fill-modifiers" in features,
    )


def _shown_flags(context: click.Context, flags: dict[str, Any]) -> dict[str, str]:
    """All flags by upstream's names, for ``/api/v1/status/flags``."""
    shown: dict[str, str] = {}
    for parameter in context.command.params:
        if isinstance(parameter, click.Option) and parameter.name in flags:
            value = flags[parameter.name]
            text = str(value).lower() if isinstance(value, bool) else str(value or "")
            shown[parameter.opts[0].removeprefix("--")] = (
                ",".join(value) if isinstance(value, tuple) else text
            )
    return dict(sorted(shown.items()))


async def _run(flags: dict[str, Any], options: ServerOptions) -> None:
    """Serve until SIGTERM or SIGINT; SIGHUP reloads."""
    import asyncio
    import logging
    import signal

    from wavetank.clock import RealClock
    from wavetank.errors import InputError
    from wavetank.journal import FileJournal
    from wavetank.monitoring.server import Server
    from wavetank.web.console import routes

    log = logging.getLogger("wavetank.monitoring")
    clock = RealClock()
    path = flags["journal_path"]
    journal = FileJournal(path, clock) if path is not None else None
    server = Server(
        Path(flags["config_file"]), Path(flags["storage_path"]), clock, options, journal=journal, pages=routes
    )
    stop = asyncio.Event()
    reloads: set[asyncio.Task[None]] = set()

    async def reload() -> None:
        try:
            await server.reload()
        except InputError as error:
            log.error("error reloading config: %s", error)

    def on_hangup() -> None:
        task = asyncio.get_running_loop().create_task(reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, on_hangup)
    try:
        await server.run(lambda url: log.info("Server is ready to receive web requests at %s", url), stop)
    finally:
        if journal is not None:
            journal.close()
