"""``wavetank prometheus``: the server, with Prometheus' own flags."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from click.core import ParameterSource

from wavetank import __version__
from wavetank.cli._kingpin import WHOLE
from wavetank.cli._noted_flags import noted_flags, say_noted

if TYPE_CHECKING:
    from wavetank.monitoring.options import OtlpDeltas, ServerOptions, WebOptions
    from wavetank.tsdb.options import Options as StorageOptions

__all__ = ["command"]

F = TypeVar("F", bound=Callable[..., Any])
_PAGE_TITLE: Final = "Wavetank"


def _switch(name: str, dest: str, text: str, *, default: bool = False) -> Callable[[F], F]:
    return click.option(f"--{name}/--no-{name}", dest, default=default, help=text)


class _Server(click.Group):
    """The server itself, and below it what Prometheus leaves to other tools."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return ["import"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name != "import":
            return None
        from wavetank.cli.prometheus_import import import_command

        return import_command


def _version_text() -> str:
    """As upstream prints it: scripts cut the number out."""
    from wavetank.monitoring.api.status import VERSION

    return f"prometheus, version {VERSION} (wavetank {__version__})"


def _print_version(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        click.echo(_version_text())
        context.exit()


@click.group(
    cls=_Server,
    invoke_without_command=True,
    subcommand_metavar="[import ...]",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version, help="Show it."
)
@click.option(
    "--config.file", "config_file", default="prometheus.yml", show_default=True, help="Configuration file."
)
@_switch("config.auto-reload", "auto_reload", "Reload when the files change.")
@click.option("--config.auto-reload-interval", "auto_reload_interval", default="30s", show_default=True)
@click.option(
    "--web.listen-address",
    "listen_addresses",
    multiple=True,
    default=["127.0.0.1:9090"],
    show_default=True,
    help="host:port, port 0 for any, or unix:/path; may be repeated.",
)
@click.option("--web.config.file", "web_config_file", default="", help="TLS, passwords, response headers.")
@click.option("--web.external-url", "external_url", default="", help="The URL others reach this server by.")
@click.option(
    "--web.route-prefix", "route_prefix", help="Path of all routes. [default: --web.external-url's]"
)
@click.option("--web.read-timeout", "read_timeout", default="5m", show_default=True)
@click.option(
    "--web.max-connections", "connections_max", default=512, show_default=True, type=click.IntRange(1)
)
@click.option(
    "--web.max-notifications-subscribers",
    "subscribers_max",
    default=16,
    show_default=True,
    type=click.IntRange(0),
    help="Who may hear of notifications as they come; more are refused.",
)
@click.option("--web.cors.origin", "cors_origin", help="Regex of web pages' origins. [default: none]")
@click.option("--web.page-title", "page_title", default=_PAGE_TITLE, show_default=True)
@click.option("--web.user-assets", "user_assets", default="", help="A directory served at /user.")
@click.option("--web.console.templates", "console_templates", default="consoles", show_default=True)
@click.option("--web.console.libraries", "console_libraries", default="console_libraries", show_default=True)
@_switch("web.enable-lifecycle", "enable_lifecycle", "Shutdown and reload via HTTP.")
@_switch("web.enable-admin-api", "enable_admin_api", "Deleting series and snapshots via HTTP.")
@_switch(
    "web.enable-remote-write-receiver", "enable_remote_write_receiver", "Accept remote write 1.0 and 2.0."
)
@_switch("web.enable-otlp-receiver", "enable_otlp_receiver", "Accept metrics by OTLP over HTTP.")
@click.option(
    "--web.search.max-limit",
    "search_limit",
    default=10_000,
    show_default=True,
    type=click.IntRange(0),
    help="Most results of a search (--enable-feature=search-api); 0 is none.",
)
@click.option("--storage.tsdb.path", "storage_path", default="data/", show_default=True)
@click.option(
    "--storage.tsdb.retention.time", "retention_time", help="How long samples are kept. [default: 15d]"
)
@click.option("--storage.tsdb.retention.size", "retention_size", help="Bytes of blocks kept, e.g. 512MB.")
@click.option("--storage.tsdb.min-block-duration", "min_block", default="2h", hidden=True)
@click.option("--storage.tsdb.max-block-duration", "max_block", hidden=True)
@_switch("storage.tsdb.no-lockfile", "no_lockfile", "No lock file in the data directory.")
@click.option(
    "--storage.tsdb.series-limit",
    "series_max",
    default=0,
    show_default=True,
    help="Soft cap on series in the head: further new ones are dropped and counted; 0 is none. Ours alone.",
)
@click.option(
    "--storage.tsdb.idle-flush",
    "idle_flush",
    default="0s",
    show_default=True,
    help="Write the head as blocks when nothing was stored for this long; 0s never. Ours alone.",
)
@click.option(
    "--storage.tsdb.flush-on-shutdown",
    "flush_on_close",
    is_flag=True,
    help="Write the head as blocks at shutdown instead of leaving it to the log. Ours alone.",
)
@_switch("storage.tsdb.wal-compression", "wal_compression", "Compress the log.", default=True)
@click.option(
    "--storage.tsdb.wal-compression-type",
    "wal_compression_type",
    type=click.Choice(["snappy", "zstd"]),
    default="snappy",
    show_default=True,
)
@click.option("--storage.tsdb.wal-segment-size", "wal_segment", help="10MB to 256MB. [default: 128MB]")
@click.option(
    "--storage.tsdb.delay-compact-file.path",
    "uploads_file",
    default="",
    help="JSON file of uploaded blocks, such as Thanos': others are not merged before they are in it.",
)
@click.option(
    "--web.remote-write-receiver.accepted-protobuf-messages",
    "accepted_messages",
    multiple=True,
    type=click.Choice(["prometheus.WriteRequest", "io.prometheus.write.v2.Request"]),
    default=["prometheus.WriteRequest", "io.prometheus.write.v2.Request"],
    show_default=True,
)
@click.option("--storage.remote.flush-deadline", "flush_deadline", default="1m", show_default=True)
@click.option(
    "--storage.remote.read-sample-limit", "read_samples", default=50_000_000, type=WHOLE, show_default=True
)
@click.option(
    "--storage.remote.read-concurrent-limit", "read_concurrency", default=10, type=WHOLE, show_default=True
)
@click.option(
    "--storage.remote.read-max-bytes-in-frame",
    "read_frame_bytes",
    default=1 << 20,
    type=WHOLE,
    show_default=True,
)
@_switch("agent", "agent", "Scrape and forward only: no queries, rules or alerts.")
@click.option("--storage.agent.path", "agent_path", default="data-agent/", show_default=True)
@click.option("--storage.agent.retention.min-time", "agent_min", default="5m", show_default=True)
@click.option("--storage.agent.retention.max-time", "agent_max", default="4h", show_default=True)
@click.option("--storage.agent.wal-truncate-frequency", "agent_truncate", default="2h", show_default=True)
@click.option("--storage.agent.wal-segment-size", "agent_segment", help="10MB to 256MB. [default: 128MB]")
@_switch("storage.agent.wal-compression", "agent_compression", "Compress the agent's log.", default=True)
@click.option(
    "--storage.agent.wal-compression-type",
    "agent_compression_type",
    type=click.Choice(["snappy", "zstd"]),
    default="snappy",
    show_default=True,
)
@_switch("storage.agent.no-lockfile", "agent_no_lockfile", "No lock file.")
@click.option("--query.lookback-delta", "lookback", default="5m", show_default=True)
@click.option("--query.timeout", "query_timeout", default="2m", show_default=True)
@click.option("--query.max-concurrency", "query_concurrency", default=20, type=WHOLE, show_default=True)
@click.option("--query.max-samples", "query_samples", default=50_000_000, type=WHOLE, show_default=True)
@click.option(
    "--rules.max-concurrent-evals",
    "concurrent_evals",
    default=4,
    show_default=True,
    type=click.IntRange(0),
    help="Rules of all groups that run beside others, with --enable-feature=concurrent-rule-eval.",
)
@click.option("--rules.alert.for-outage-tolerance", "outage_tolerance", default="1h", show_default=True)
@click.option("--rules.alert.for-grace-period", "grace_period", default="10m", show_default=True)
@click.option("--rules.alert.resend-delay", "resend_delay", default="1m", show_default=True)
@click.option(
    "--alertmanager.notification-queue-capacity",
    "queue_capacity",
    default=10_000,
    type=WHOLE,
    show_default=True,
)
@click.option(
    "--alertmanager.notification-batch-size",
    "alert_batch",
    default=256,
    show_default=True,
    type=click.IntRange(1),
    help="Most alerts in one request.",
)
@_switch(
    "alertmanager.drain-notification-queue-on-shutdown",
    "drain_alerts",
    "Send what is queued before the end.",
    default=True,
)
@_switch("scrape.adjust-timestamps", "adjust_timestamps", "Snap to the ideal tick.", default=True)
@click.option("--scrape.timestamp-tolerance", "timestamp_tolerance", default="2ms", show_default=True)
@click.option(
    "--scrape.discovery-reload-interval",
    "discovery_interval",
    default="100ms",
    show_default=True,
    help="How long changes of discovery are gathered.",
)
@click.option("--enable-feature", "features", multiple=True, help="Feature names, separated by commas.")
@click.option(
    "--log.level",
    "log_level",
    type=click.Choice(["debug", "info", "warn", "error"]),
    default="info",
    show_default=True,
)
@click.option(
    "--log.format", "log_format", type=click.Choice(["logfmt", "json"]), default="logfmt", show_default=True
)
@click.option(
    "--web.dashboards",
    "dashboards",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Folder of dashboards.",
)
@click.option("--console.tank", "tank_directory", type=click.Path(path_type=Path), hidden=True)
@click.option("--journal", "journal_path", type=click.Path(path_type=Path), help="Note first scrapes here.")
@noted_flags
@click.pass_context
def command(context: click.Context, /, **flags: Any) -> None:
    """A Prometheus server: discovers, scrapes, stores, evaluates rules, and answers the HTTP API v1."""
    import asyncio

    from wavetank.allocator import one_arena
    from wavetank.monitoring.logs import set_up_logging
    from wavetank.serving import loop_factory

    if context.invoked_subcommand is not None:
        return
    set_up_logging(flags["log_level"], flags["log_format"])
    say_noted(context)
    _say_loopback(context, flags["listen_addresses"])
    _check_mode(context, agent=flags["agent"])
    if flags["agent"]:
        flags["storage_path"] = flags["agent_path"]
    options = _options(context, flags)
    one_arena()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_run(flags, options))


def _check_mode(context: click.Context, *, agent: bool) -> None:
    """Flags of one mode are refused in the other, in upstream's words and with its exit code."""
    wrong = []
    for parameter in context.command.params:
        if not parameter.expose_value or parameter.name is None:
            continue
        name = parameter.opts[0].removeprefix("--")
        theirs = ("storage.tsdb.", "query.", "rules.", "alertmanager.") if agent else ("storage.agent.",)
        given = context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
        if given and name.startswith(theirs):
            wrong.append(name)
    if wrong:
        modes = "can not be used in agent mode" if agent else "can only be used in agent mode"
        listed = " ".join(f'"--{name}"' for name in wrong)
        click.echo(f"The following flag(s) {modes}: [{listed}]", err=True)
        context.exit(3)


def _retention(flags: dict[str, Any]) -> str:
    """Without either flag fifteen days; where only a size is given, the size alone decides."""
    return "0s" if flags["retention_size"] else "15d"


def _say_loopback(context: click.Context, addresses: Sequence[str]) -> None:
    """Who comes from Prometheus expects 0.0.0.0."""
    import logging

    if context.get_parameter_source("listen_addresses") is ParameterSource.COMMANDLINE:
        return
    logging.getLogger("wavetank.monitoring").info(
        "listening on %s: only this machine can reach it; for others give --web.listen-address=0.0.0.0:9090",
        ", ".join(addresses),
    )


def _milliseconds(flags: dict[str, Any], name: str, flag: str) -> int:
    """Raises InputError."""
    from wavetank.errors import InputError
    from wavetank.monitoring.config.values import parse_duration

    try:
        return int(parse_duration(flags[name]))
    except ValueError as error:
        raise InputError(f"--{flag}: {error}", fix="e.g. 90s, 15m, 1h") from None


def _storage(flags: dict[str, Any], features: Set[str]) -> StorageOptions:
    """Raises InputError."""
    from wavetank.errors import InputError
    from wavetank.monitoring.config.values import parse_size
    from wavetank.tsdb.options import Options

    try:
        retention_bytes = int(parse_size(flags["retention_size"])) if flags["retention_size"] else 0
    except ValueError as error:
        raise InputError(f"--storage.tsdb.retention.size: {error}", fix="e.g. 512MB") from None
    min_block = _milliseconds(flags, "min_block", "storage.tsdb.min-block-duration")
    return Options(
        wal_compression=flags["wal_compression_type"] if flags["wal_compression"] else "none",
        wal_segment_bytes=_segment_bytes("storage.tsdb", flags["wal_segment"]),
        min_block_ms=min_block,
        # 0 is worked out from the retention, which the configuration file may give
        max_block_ms=max(min_block, _milliseconds(flags, "max_block", "storage.tsdb.max-block-duration"))
        if flags["max_block"]
        else 0,
        uploads_file=Path(flags["uploads_file"]) if flags["uploads_file"] else None,
        retention_ms=_milliseconds(flags, "retention_time", "storage.tsdb.retention.time"),
        retention_bytes=retention_bytes,
        lock_file=not flags["no_lockfile"],
        series_max=flags["series_max"],
        idle_flush_ms=_milliseconds(flags, "idle_flush", "storage.tsdb.idle-flush"),
        flush_on_close=flags["flush_on_close"],
        created_zeros="created-timestamp-zero-ingestion" in features,
        start_storage="st-storage" in features,
        float_chunks="xor2" if "xor2-encoding" in features else "xor",
        histogram_starts="histograms-st-encoding" in features,
        snapshot_on_close="memory-snapshot-on-shutdown" in features,
    )


def _agent_storage(flags: dict[str, Any]) -> StorageOptions:
    """A log alone. Raises InputError."""
    from wavetank.tsdb.options import Options

    every = max(60_000, _milliseconds(flags, "agent_truncate", "storage.agent.wal-truncate-frequency"))
    return Options(
        wal_compression=flags["agent_compression_type"] if flags["agent_compression"] else "none",
        wal_segment_bytes=_segment_bytes("storage.agent", flags["agent_segment"]),
        min_block_ms=every,
        max_block_ms=every,
        retention_ms=1,  # what leaves the log is kept nowhere
        lock_file=not flags["agent_no_lockfile"],
    )


def _options(context: click.Context, flags: dict[str, Any]) -> ServerOptions:
    """The options of the flags. Raises InputError for values that do not parse."""
    from wavetank.monitoring.options import AgentOptions, RemoteOptions, ServerOptions
    from wavetank.monitoring.rules.load import RuleOptions
    from wavetank.promql.context import EngineOptions

    flags = {**flags, "retention_time": flags["retention_time"] or _retention(flags)}
    features = _features(flags["features"])
    _say_unknown(features)

    def ms(name: str, flag: str) -> int:
        return _milliseconds(flags, name, flag)

    agent = None
    if flags["agent"]:
        agent = AgentOptions(
            ms("agent_min", "storage.agent.retention.min-time"),
            ms("agent_max", "storage.agent.retention.max-time"),
        )
    return ServerOptions(
        agent=agent,
        storage=_agent_storage(flags) if agent else _storage(flags, features),
        listen_address=flags["listen_addresses"][0],
        web=_web(flags, ms("read_timeout", "web.read-timeout") / 1000),
        remote=RemoteOptions(
            flush_seconds=ms("flush_deadline", "storage.remote.flush-deadline") / 1000,
            read_sample_limit=max(0, flags["read_samples"]),
            read_concurrent_limit=max(0, flags["read_concurrency"]),
            read_frame_bytes=max(1, flags["read_frame_bytes"]),
            accepted_messages=flags["accepted_messages"],
        ),
        drain_alerts=flags["drain_alerts"],
        snap_seconds=(
            ms("timestamp_tolerance", "scrape.timestamp-tolerance") / 1000
            if flags["adjust_timestamps"]
            else 0.0
        ),
        gather_seconds=ms("discovery_interval", "scrape.discovery-reload-interval") / 1000,
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
            concurrent_evals=flags["concurrent_evals"] if "concurrent-rule-eval" in features else 0,
            parser=_parser_options(features),
        ),
        external_url=flags["external_url"],
        query_concurrency=flags["query_concurrency"],
        notification_queue_capacity=flags["queue_capacity"],
        notification_batch_size=flags["alert_batch"],
        notification_subscribers_max=flags["subscribers_max"],
        enable_lifecycle=flags["enable_lifecycle"],
        enable_admin_api=flags["enable_admin_api"],
        enable_remote_write_receiver=flags["enable_remote_write_receiver"],
        enable_otlp_receiver=flags["enable_otlp_receiver"],
        otlp_deltas=_otlp_deltas(features),
        enable_search="search-api" in features,
        search_limit_max=flags["search_limit"],
        auto_reload_seconds=(
            max(1.0, ms("auto_reload_interval", "config.auto-reload-interval") / 1000)
            if flags["auto_reload"]
            else 0.0
        ),
        flags=_shown_flags(context, flags),
    )


def _web(flags: dict[str, Any], read_timeout_seconds: float) -> WebOptions:
    """How the server is reached. Raises InputError."""
    import re2

    from wavetank.errors import InputError
    from wavetank.monitoring.options import WebOptions

    origin = None
    if flags["cors_origin"] is not None:
        try:
            origin = re2.compile(flags["cors_origin"])
        except re2.error as error:
            raise InputError(f"--web.cors.origin: {error}") from None
    assets = Path(flags["user_assets"]) if flags["user_assets"] else None
    if assets is not None and not assets.is_dir():
        raise InputError(f"--web.user-assets: {assets} is not a directory")
    if read_timeout_seconds <= 0:
        raise InputError("--web.read-timeout must be more than 0", fix="e.g. 5m")
    return WebOptions(
        config_file=Path(flags["web_config_file"]) if flags["web_config_file"] else None,
        listen_also=tuple(flags["listen_addresses"][1:]),
        read_timeout_seconds=read_timeout_seconds,
        connections_max=flags["connections_max"],
        route_prefix=flags["route_prefix"],
        cors_origin=origin,
        page_title=flags["page_title"],
        user_assets=assets,
        console_templates=Path(flags["console_templates"]),
        console_libraries=Path(flags["console_libraries"]),
    )


def _segment_bytes(flag: str, text: str | None) -> int:
    """Size of the log's segments. Raises InputError."""
    from wavetank.errors import InputError
    from wavetank.monitoring.config.values import parse_size

    if not text:
        return 128 << 20
    try:
        size = int(parse_size(text))
    except ValueError as error:
        raise InputError(f"--{flag}.wal-segment-size: {error}", fix="e.g. 64MB") from None
    if not 10 << 20 <= size <= 256 << 20:
        raise InputError(f"--{flag}.wal-segment-size must be between 10MB and 256MB")
    return size


def _features(values: tuple[str, ...]) -> set[str]:
    return {name.strip() for value in values for name in value.split(",") if name.strip()}


# What is so without a flag, as upstream's newest releases have it or always here.
_ALWAYS_ON: Final = frozenset(
    [
        "exemplar-storage",
        "expand-external-labels",
        "native-histograms",
        "new-service-discovery-manager",
        "no-default-scrape-port",
        "promql-at-modifier",
        "promql-negative-offset",
        "utf8-names",
    ]
)
_SWITCHED: Final = frozenset(
    [
        "concurrent-rule-eval",
        "created-timestamp-zero-ingestion",
        "histograms-st-encoding",
        "memory-snapshot-on-shutdown",
        "otlp-deltatocumulative",
        "otlp-native-delta-ingestion",
        "promql-binop-fill-modifiers",
        "promql-delayed-name-removal",
        "promql-experimental-functions",
        "promql-extended-range-selectors",
        "search-api",
        "st-storage",
        "use-start-timestamps",
        "xor2-encoding",
    ]
)


def _say_unknown(features: set[str]) -> None:
    """Features that change nothing here are named in the log, as upstream names those it does not know."""
    import logging

    for name in sorted(features - _ALWAYS_ON - _SWITCHED):
        logging.getLogger("wavetank.monitoring").warning("--enable-feature=%s: not built in", name)


def _otlp_deltas(features: set[str]) -> OtlpDeltas:
    """Raises UsageError for both at once."""
    totals, keep = "otlp-deltatocumulative" in features, "otlp-native-delta-ingestion" in features
    if totals and keep:
        raise click.UsageError(
            "cannot enable otlp-deltatocumulative and otlp-native-delta-ingestion features at the same time"
        )
    return "totals" if totals else "keep" if keep else "refuse"


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
                ",".join(map(str, value)) if isinstance(value, tuple) else text
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
    from wavetank.rehearsal.console_pages import console_pages

    log = logging.getLogger("wavetank.monitoring")
    clock = RealClock()
    path = flags["journal_path"]
    journal = FileJournal(path, clock) if path is not None else None
    pages, close_console = await console_pages(
        flags["tank_directory"], flags["dashboards"], clock, title=flags["page_title"]
    )
    config, storage = Path(flags["config_file"]), Path(flags["storage_path"])
    server = Server(config, storage, clock, options, journal=journal, pages=pages)
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
        await close_console()
        if journal is not None:
            journal.close()
