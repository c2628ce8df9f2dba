"""Every flag of upstream is at work or refused with the reason; none is swallowed."""

from __future__ import annotations

import inspect
from typing import Any

import click
import pytest
from click.testing import CliRunner

from wavetank.cli import prometheus
from wavetank.errors import InputError
from wavetank.monitoring.config import Config
from wavetank.monitoring.config.check import check_float_chunks
from wavetank.monitoring.options import ServerOptions

REFUSED = [(name, "1") for name in prometheus._REFUSED] + [
    ("--no-storage.tsdb.allow-overlapping-blocks", ""),
    ("--auto-gomemlimit", ""),
    ("--auto-gomaxprocs", ""),
    ("--storage.tsdb.head-chunks-write-queue-size", "5"),
]


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_a_flag_without_effect_is_refused(name: str, value: str) -> None:
    result = CliRunner().invoke(prometheus.command, [f"{name}={value}" if value else name])
    assert result.exit_code == 2
    assert "here" in result.output


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
