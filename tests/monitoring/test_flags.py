"""Every flag of upstream is taken; one that changes nothing is named in the log, none is swallowed."""

from __future__ import annotations

import inspect
from typing import Any

import click
import pytest
from click.testing import CliRunner

from wavetank.cli import prometheus
from wavetank.cli._noted_flags import NOTED, say_noted
from wavetank.errors import InputError
from wavetank.monitoring.config import Config, parse_config
from wavetank.monitoring.config.check import check_float_chunks
from wavetank.monitoring.options import ServerOptions
from wavetank.monitoring.storage_options import storage_options


@pytest.mark.parametrize("name", NOTED)
def test_a_flag_without_effect_is_named_in_the_log(name: str, caplog: pytest.LogCaptureFixture) -> None:
    kind, reason = NOTED[name]
    given = [name] if kind is None else [f"{name}=1"]
    with prometheus.command.make_context("prometheus", given) as context:
        say_noted(context)
    (record,) = caplog.records
    assert (
        record.getMessage().replace("=1.0", "=1")
        == f"{name}={'true' if kind is None else 1} has no effect here: {reason}"
    )


# The flags of upstream's cmd/prometheus/main.go, with values a unit file may have; a switch has none.
UPSTREAM = {
    "config.file": "prometheus.yml",
    "config.auto-reload": None,
    "config.auto-reload-interval": "30s",
    "web.listen-address": "0.0.0.0:9090",
    "auto-gomaxprocs": None,
    "auto-gomemlimit": None,
    "auto-gomemlimit.ratio": "0.9",
    "auto-gomemlimit.refresh-interval": "0s",
    "web.config.file": "",
    "web.read-timeout": "5m",
    "web.max-connections": "512",
    "web.max-notifications-subscribers": "16",
    "web.external-url": "http://a/",
    "web.route-prefix": "/",
    "web.user-assets": "",
    "web.enable-lifecycle": None,
    "web.enable-admin-api": None,
    "web.enable-remote-write-receiver": None,
    "web.remote-write-receiver.accepted-protobuf-messages": "prometheus.WriteRequest",
    "web.enable-otlp-receiver": None,
    "web.console.templates": "consoles",
    "web.console.libraries": "console_libraries",
    "web.page-title": "a",
    "web.cors.origin": ".*",
    "web.search.max-limit": "10000",
    "storage.tsdb.path": "data/",
    "storage.tsdb.min-block-duration": "2h",
    "storage.tsdb.max-block-duration": "2h",
    "storage.tsdb.max-block-chunk-segment-size": "512MB",
    "storage.tsdb.wal-segment-size": "100MB",
    "storage.tsdb.retention.time": "15d",
    "storage.tsdb.retention.size": "512MB",
    "storage.tsdb.no-lockfile": None,
    "storage.tsdb.allow-overlapping-compaction": None,
    "storage.tsdb.wal-compression": None,
    "storage.tsdb.wal-compression-type": "snappy",
    "storage.tsdb.head-chunks-write-queue-size": "0",
    "storage.tsdb.samples-per-chunk": "120",
    "storage.tsdb.delayed-compaction.max-percent": "10",
    "storage.tsdb.delay-compact-file.path": "data/thanos.shipper.json",
    "storage.tsdb.block-reload-interval": "1m",
    "storage.agent.path": "data-agent/",
    "storage.agent.wal-segment-size": "100MB",
    "storage.agent.wal-compression": None,
    "storage.agent.wal-compression-type": "snappy",
    "storage.agent.wal-truncate-frequency": "2h",
    "storage.agent.retention.min-time": "5m",
    "storage.agent.retention.max-time": "4h",
    "storage.agent.checkpoint-from-in-memory-series": None,
    "storage.agent.checkpoint-batch-size": "1000",
    "storage.agent.no-lockfile": None,
    "storage.remote.flush-deadline": "1m",
    "storage.remote.read-sample-limit": "50000000",
    "storage.remote.read-concurrent-limit": "10",
    "storage.remote.read-max-bytes-in-frame": "1048576",
    "rules.alert.for-outage-tolerance": "1h",
    "rules.alert.for-grace-period": "10m",
    "rules.alert.resend-delay": "1m",
    "rules.max-concurrent-evals": "4",
    "scrape.adjust-timestamps": None,
    "scrape.timestamp-tolerance": "2ms",
    "scrape.discovery-reload-interval": "5s",
    "alertmanager.notification-queue-capacity": "10000",
    "alertmanager.notification-batch-size": "256",
    "alertmanager.drain-notification-queue-on-shutdown": None,
    "query.lookback-delta": "5m",
    "query.timeout": "2m",
    "query.max-concurrency": "20",
    "query.max-samples": "50000000",
    "enable-feature": "exemplar-storage",
    "agent": None,
    "log.level": "info",
    "log.format": "logfmt",
}


@pytest.mark.parametrize("name", UPSTREAM)
def test_every_flag_of_upstream_is_taken(name: str) -> None:
    """Switches also have their negation, as kingpin gives it to each."""
    value = UPSTREAM[name]
    given = (
        [[f"--{name}"], [f"--no-{name}"]] if value is None else [[f"--{name}={value}"], [f"--{name}", value]]
    )
    for arguments in given:
        with prometheus.command.make_context("prometheus", arguments) as context:
            assert context.params


def test_where_nobody_said_who_may_reach_the_server_the_log_says_how(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    for arguments in ([], ["--web.listen-address=127.0.0.1:9090"]):
        with prometheus.command.make_context("prometheus", list(arguments)) as context:
            prometheus._say_loopback(context, context.params["listen_addresses"])
    assert [record.getMessage() for record in caplog.records] == [
        "listening on 127.0.0.1:9090: only this machine can reach it; for others give "
        "--web.listen-address=0.0.0.0:9090"
    ]


def test_the_version_is_printed_as_scripts_expect_it() -> None:
    result = CliRunner().invoke(prometheus.command, ["--version"])
    assert result.output.startswith("prometheus, version 3.")


def test_every_other_flag_is_read() -> None:
    """What a flag sets is used where options are made; a flag that nobody reads would be swallowed."""
    source = inspect.getsource(prometheus)
    for parameter in prometheus.command.params:
        assert isinstance(parameter, click.Option)
        if parameter.expose_value and parameter.name is not None:
            uses = source.count(f'"{parameter.name}"')
            assert uses >= 2, f"{parameter.opts[0]} is declared and never read"


def options(*arguments: str) -> ServerOptions:
    made: dict[str, Any] = {}

    def keep(context: click.Context) -> None:
        made["options"] = prometheus._options(context, dict(context.params))

    with prometheus.command.make_context("prometheus", list(arguments)) as context:
        keep(context)
    return made["options"]


def test_flags_reach_the_options() -> None:
    found = options(
        "--web.listen-address=127.0.0.1:1",
        "--web.listen-address=127.0.0.1:2",
        "--web.max-connections=7",
        "--web.read-timeout=9s",
        "--web.route-prefix=/x",
        "--web.cors.origin=https?://a",
        "--no-scrape.adjust-timestamps",
        "--scrape.discovery-reload-interval=5s",
        "--no-alertmanager.drain-notification-queue-on-shutdown",
        "--storage.tsdb.wal-segment-size=16MB",
        "--no-storage.tsdb.wal-compression",
    )
    assert (found.listen_address, tuple(found.web.listen_also)) == ("127.0.0.1:1", ("127.0.0.1:2",))
    assert (found.web.connections_max, found.web.read_timeout_seconds, found.web.route_prefix) == (
        7,
        9.0,
        "/x",
    )
    assert found.web.cors_origin is not None
    assert found.web.cors_origin.fullmatch("https://a")
    assert (found.snap_seconds, found.gather_seconds, found.drain_alerts) == (0.0, 5.0, False)
    assert (found.storage.wal_segment_bytes, found.storage.wal_compression) == (16 << 20, "none")
    assert found.flags["web.listen-address"] == "127.0.0.1:1,127.0.0.1:2"


def test_features_that_are_not_built_in_are_named(caplog: pytest.LogCaptureFixture) -> None:
    options("--enable-feature=old-ui,promql-experimental-functions,native-histograms")
    assert [record.getMessage() for record in caplog.records] == ["--enable-feature=old-ui: not built in"]


def test_features_and_flags_of_the_storage() -> None:
    names = "created-timestamp-zero-ingestion,st-storage,histograms-st-encoding,memory-snapshot-on-shutdown"
    plain = options().storage
    assert not (plain.created_zeros or plain.start_storage or plain.histogram_starts)
    assert (plain.snapshot_on_close, plain.float_chunks, plain.idle_flush_ms) == (False, "xor", 0)
    found = options(f"--enable-feature={names}", "--enable-feature=xor2-encoding").storage
    assert found.created_zeros
    assert found.start_storage
    assert found.histogram_starts
    assert (found.snapshot_on_close, found.float_chunks) == (True, "xor2")
    found = options("--storage.tsdb.idle-flush=5m", "--storage.tsdb.flush-on-shutdown").storage
    assert (found.idle_flush_ms, found.flush_on_close) == (300_000, True)


def test_start_timestamps_need_the_chunks_that_hold_them() -> None:
    config = Config()
    with pytest.raises(InputError, match='float chunk encoding "xor" is incompatible'):
        check_float_chunks(config, "xor", with_starts=True)
    check_float_chunks(config, "xor2", with_starts=True)
    check_float_chunks(config, "xor", with_starts=False)


def test_the_longest_block_is_a_tenth_of_the_retention() -> None:
    day = 24 * 3_600_000
    for arguments, file, longest in (
        ([], "{}", 36 * 3_600_000),
        (["--storage.tsdb.retention.time=10y"], "{}", 31 * day),
        (["--storage.tsdb.retention.size=1GB"], "{}", 31 * day),
        (["--storage.tsdb.retention.time=1h"], "{}", day // 12),
        ([], "{storage: {tsdb: {retention: {time: 100d}}}}", 10 * day),
        (["--storage.tsdb.max-block-duration=4h"], "{}", day // 6),
    ):
        found = storage_options(options(*arguments).storage, parse_config(file))
        assert found.max_block_ms == longest, arguments


def test_a_retention_section_takes_the_place_of_the_flags_as_a_whole() -> None:
    flags = options("--storage.tsdb.retention.time=5d", "--storage.tsdb.retention.size=1GB").storage
    for section, expected in (
        ("", (5 * 86_400_000, 1 << 30, 0.0)),
        ("{time: 1d}", (86_400_000, 0, 0.0)),
        ("{size: 2GB}", (0, 2 << 30, 0.0)),
        ("{percentage: 50}", (0, 0, 50.0)),
    ):
        text = "{storage: {tsdb: {retention: " + section + "}}}" if section else "{}"
        found = storage_options(flags, parse_config(text))
        assert (found.retention_ms, found.retention_bytes, found.retention_percent) == expected
