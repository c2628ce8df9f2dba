"""Every flag of upstream is at work or refused with the reason; none is swallowed."""

from __future__ import annotations

import inspect
from typing import Any

import click
import pytest
from click.testing import CliRunner

from wavetank.cli import prometheus
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
    options("--enable-feature=st-storage,promql-experimental-functions,native-histograms")
    assert [record.getMessage() for record in caplog.records] == ["--enable-feature=st-storage: not built in"]
