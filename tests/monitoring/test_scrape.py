"""Targets from groups, and what a scrape stores."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from wavetank.clock import RealClock, VirtualClock
from wavetank.model.labels import Labels, Matcher, MatchType
from wavetank.model.value import is_stale_nan
from wavetank.monitoring.config import Config, parse_config
from wavetank.monitoring.config.model import ScrapeConfig
from wavetank.monitoring.discovery.group import TargetGroup
from wavetank.monitoring.http_client import HTTPClient
from wavetank.monitoring.scrape.fetch import accept_header
from wavetank.monitoring.scrape.loop import TargetLoop
from wavetank.monitoring.scrape.series import mutator
from wavetank.monitoring.scrape.store import TargetStore
from wavetank.monitoring.scrape.target import first_scrape, make_targets
from wavetank.tsdb.db import DB
from wavetank.tsdb.options import Options


def job(extra: str = "") -> ScrapeConfig:
    config: Config = parse_config(
        "scrape_configs:\n- job_name: j\n  scrape_interval: 5s\n"
        + "".join(f"  {e}\n" for e in extra.split("\n"))
    )
    return config.scrape_configs[0]


def test_target_labels_and_url() -> None:
    config = job("params: {a: [x, y], b: ['1 2']}\nmetrics_path: m")
    group = TargetGroup("s", [{"__address__": "h:1", "__param_a": "z", "__meta_x": "q"}], {"team": "t"})
    (target,) = make_targets(config, [group]).active
    assert target.url == "http://h:1/m?a=z&a=y&b=1+2"
    assert target.labels == Labels.of(instance="h:1", job="j", team="t")
    assert (target.interval, target.timeout) == (5000, 5000)
    assert target.discovered["__meta_x"] == "q"


def test_relabelling_sets_interval_and_drops() -> None:
    rules = (
        "relabel_configs:\n  - {source_labels: [__address__], regex: 'drop.*', action: drop}\n"
        "  - {target_label: __scrape_interval__, replacement: 2s}\n"
        "  - {target_label: __scrape_timeout__, replacement: 1s}"
    )
    found = make_targets(job(rules), [TargetGroup("s", [{"__address__": "h:1"}, {"__address__": "drop:1"}])])
    assert [t.interval for t in found.active] == [2000]
    assert [d.discovered["__address__"] for d in found.dropped] == ["drop:1"]


@pytest.mark.parametrize(
    ("labels", "error"),
    [
        ({"__address__": "a/b"}, '"a/b" is not a valid hostname'),
        ({"x": "y"}, "no address"),
        ({"__address__": "a", "__scrape_interval__": "x"}, "error parsing scrape interval"),
        ({"__address__": "a", "__scrape_timeout__": "1h"}, "scrape timeout cannot be greater"),
    ],
)
def test_targets_that_cannot_be(labels: dict[str, str], error: str) -> None:
    found = make_targets(job(), [TargetGroup("s", [labels])])
    assert not found.active
    assert error in found.errors[0]


@given(st.floats(0, 2e9), st.integers(0, 2**64 - 1))
def test_first_scrape_is_within_one_interval(now: float, seed: int) -> None:
    (target,) = make_targets(job(), [TargetGroup("s", [{"__address__": "h:1"}])]).active
    due = first_scrape(target, now, seed)
    assert -0.001 <= due - now <= 5.001


def test_accept_header() -> None:
    assert accept_header(job().scrape_protocols, "allow-utf-8") == (
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
        "application/openmetrics-text;version=0.0.1;q=0.5,"
        "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
    )


TARGET = Labels.of(job="j", instance="i")


@pytest.mark.parametrize(
    ("extra", "exposed", "stored"),
    [
        ("", {"a": "b"}, {"a": "b", "job": "j", "instance": "i"}),
        ("", {"job": "x"}, {"job": "j", "exported_job": "x", "instance": "i"}),
        ("honor_labels: true", {"job": "x"}, {"job": "x", "instance": "i"}),
        (
            "",
            {"job": "x", "exported_job": "y"},
            {"job": "j", "exported_job": "y", "exported_exported_job": "x", "instance": "i"},
        ),
        (
            "metric_relabel_configs: [{regex: a, action: labeldrop}]",
            {"a": "b"},
            {"job": "j", "instance": "i"},
        ),
        ("metric_relabel_configs: [{source_labels: [a], regex: b, action: drop}]", {"a": "b"}, None),
    ],
)
def test_stored_labels(extra: str, exposed: dict[str, str], stored: dict[str, str] | None) -> None:
    result = mutator(job(extra), TARGET)(Labels.of(exposed, __name__="m"))
    assert result == (None if stored is None else Labels.of(stored, __name__="m"))


Answer = Callable[[web.Request], web.Response]


class Exporter:
    """A real HTTP server whose answer a test sets."""

    def __init__(self) -> None:
        self.requests: list[web.Request] = []
        self.answer: Answer = lambda request: text("up_time 1\n")
        self.port = 0

    async def handle(self, request: web.Request) -> web.Response:
        self.requests.append(request)
        return self.answer(request)


def text(body: str, kind: str = "text/plain; version=0.0.4", **headers: str) -> web.Response:
    return web.Response(body=body.encode(), headers={"Content-Type": kind, **headers})


@pytest.fixture
async def exporter() -> AsyncIterator[Exporter]:
    exporter = Exporter()
    app = web.Application()
    app.router.add_get("/metrics", exporter.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    exporter.port = runner.addresses[0][1]
    yield exporter
    await runner.cleanup()


class Scraped:
    """A loop over a real storage, driven scrape by scrape."""

    def __init__(self, path: Path, exporter: Exporter, extra: str = "") -> None:
        clock = RealClock()
        config = job(extra)
        self.db = DB.open(path, Options(), VirtualClock(1000.0))
        self.client = HTTPClient(config, clock)
        self.config = config
        self.loop = self.another(exporter)

    def another(self, exporter: Exporter) -> TargetLoop:
        (target,) = make_targets(
            self.config, [TargetGroup("s", [{"__address__": f"127.0.0.1:{exporter.port}", "instance": "i"}])]
        ).active
        store = TargetStore(self.db, self.config, target.labels, mutator(self.config, target.labels))
        return TargetLoop(target, self.config, self.client, store, RealClock())

    def series(self, name: str) -> dict[str, list[tuple[int, float]]]:
        found = self.db.select([Matcher(MatchType.EQUAL, "__name__", name)], 0, 1 << 50)
        result = {}
        for i, labels in enumerate(found.labels):
            span = slice(found.offsets[i], found.offsets[i + 1])
            shown = ",".join(f"{n}={v}" for n, v in labels if n not in ("__name__", "job", "instance"))
            result[shown] = list(
                zip(found.timestamps_ms[span].tolist(), found.values[span].tolist(), strict=True)
            )
        return result

    async def close(self) -> None:
        await self.loop.stop()
        await self.client.close()
        self.db.close()


@pytest.fixture
async def scraped(
    tmp_path: Path, exporter: Exporter, request: pytest.FixtureRequest
) -> AsyncIterator[Scraped]:
    made = Scraped(tmp_path, exporter, getattr(request, "param", ""))
    yield made
    await made.close()


async def test_scrape_stores_samples_and_reports(scraped: Scraped, exporter: Exporter) -> None:
    exporter.answer = lambda _: text('m{a="1"} 5\nm{a="2"} 6\n')
    await scraped.loop.scrape(1000.0)
    assert scraped.series("m") == {"a=1": [(1_000_000, 5.0)], "a=2": [(1_000_000, 6.0)]}
    assert scraped.series("up") == {"": [(1_000_000, 1.0)]}
    assert scraped.series("scrape_samples_scraped")[""][0][1] == 2
    assert scraped.series("scrape_series_added")[""][0][1] == 2
    sent = exporter.requests[0].headers
    assert sent["X-Prometheus-Scrape-Timeout-Seconds"] == "5"
    assert sent["Accept-Encoding"] == "gzip, zstd;q=0.9"
    assert sent["User-Agent"].startswith("Prometheus/")


async def test_vanished_series_gets_a_marker(scraped: Scraped, exporter: Exporter) -> None:
    exporter.answer = lambda _: text('m{a="1"} 5\nm{a="2"} 6\n')
    await scraped.loop.scrape(1000.0)
    exporter.answer = lambda _: text('m{a="2"} 7\n')
    await scraped.loop.scrape(1005.0)
    first, marker = scraped.series("m")["a=1"]
    assert first == (1_000_000, 5.0)
    assert marker[0] == 1_005_000
    assert is_stale_nan(marker[1])
    assert scraped.series("m")["a=2"][-1] == (1_005_000, 7.0)


FAILURES = [
    ("", lambda _: web.Response(status=503, text="x"), "server returned HTTP status 503 Service Unavailable"),
    ("", lambda _: text("m 1\n", kind="application/x"), "unsupported Content-Type"),
    ("", lambda _: text("m{ 1\n"), "line 1"),
    ("sample_limit: 1", lambda _: text("m 1\nn 2\n"), "sample limit exceeded"),
    ("body_size_limit: 8B", lambda _: text("m 1\nn 2\no 3\n"), "body size limit exceeded"),
    (
        "label_limit: 3",
        lambda _: text('m{a="b"} 1\n'),
        "label_limit exceeded (metric: m, number of labels: 4",
    ),
    (
        "metric_name_validation_scheme: legacy",
        lambda _: text('{"m.x","a"="b"} 1\n'),
        "invalid metric name or label names: {",
    ),
    (
        "metric_name_validation_scheme: legacy",
        lambda _: text('m{"a.b"="c"} 1\n'),
        "invalid metric name or label names: m{",
    ),
    (
        "body_size_limit: 1KB",
        lambda _: web.Response(
            body=gzip.compress(b"# " + b"x" * (1 << 20)),
            headers={"Content-Type": "text/plain", "Content-Encoding": "gzip"},
        ),
        "body size limit exceeded",
    ),
    (
        "",
        lambda _: web.Response(
            body=b"not gzip", headers={"Content-Type": "text/plain", "Content-Encoding": "gzip"}
        ),
        "gzip",
    ),
]


@pytest.mark.parametrize(("extra", "answer", "error"), FAILURES)
async def test_failed_scrape_marks_the_target_down(
    tmp_path: Path, exporter: Exporter, extra: str, answer: Answer, error: str
) -> None:
    scraped = Scraped(tmp_path, exporter, extra)
    exporter.answer = lambda _: text("m 1\n")
    await scraped.loop.scrape(1000.0)
    exporter.answer = answer
    await scraped.loop.scrape(1005.0)
    assert error in scraped.loop.health.error
    assert scraped.series("up")[""][-1] == (1_005_000, 0.0)
    if "label_limit" not in extra:
        assert is_stale_nan(scraped.series("m")[""][-1][1])
    await scraped.close()


async def test_gzip_answer_is_read(scraped: Scraped, exporter: Exporter) -> None:
    exporter.answer = lambda _: web.Response(
        body=gzip.compress(b"m 3\n"), headers={"Content-Type": "text/plain", "Content-Encoding": "gzip"}
    )
    await scraped.loop.scrape(1000.0)
    assert scraped.series("m") == {"": [(1_000_000, 3.0)]}


async def test_timestamps_of_the_target_are_honoured(scraped: Scraped, exporter: Exporter) -> None:
    exporter.answer = lambda _: text("m 3 999000\nfar 1 99999999\n")
    await scraped.loop.scrape(1000.0)
    assert scraped.series("m") == {"": [(999_000, 3.0)]}
    assert scraped.series("far") == {}
    exporter.answer = lambda _: text("n 1\n")
    await scraped.loop.scrape(1005.0)
    assert len(scraped.series("m")[""]) == 1  # no marker after explicit timestamps


@pytest.mark.parametrize("scraped", ["honor_timestamps: false"], indirect=True)
async def test_timestamps_can_be_overridden(scraped: Scraped, exporter: Exporter) -> None:
    exporter.answer = lambda _: text("m 3 5000\n")
    await scraped.loop.scrape(1000.0)
    assert scraped.series("m") == {"": [(1_000_000, 3.0)]}


async def test_target_that_went_away_ends(scraped: Scraped, exporter: Exporter) -> None:
    await scraped.loop.scrape(1000.0)
    scraped.loop.store.end(1_010_000)
    assert is_stale_nan(scraped.series("up")[""][-1][1])
    assert is_stale_nan(scraped.series("up_time")[""][-1][1])


async def test_nobody_listens(scraped: Scraped, exporter: Exporter) -> None:
    exporter.port = 1
    nobody = scraped.another(exporter)
    await nobody.scrape(1000.0)
    await nobody.stop()
    assert nobody.health.state == "down"
    assert 'Get "http://127.0.0.1:1/metrics"' in nobody.health.error


async def test_exemplars_are_kept(scraped: Scraped, exporter: Exporter) -> None:
    body = '# TYPE c counter\nc_total 5 # {trace_id="x"} 1.5\n# EOF\n'
    exporter.answer = lambda _: text(body, kind="application/openmetrics-text; version=1.0.0")
    await scraped.loop.scrape(1000.0)
    await scraped.loop.scrape(1005.0)
    matcher = Matcher(MatchType.EQUAL, "__name__", "c_total")
    ((series, (exemplar, *_)),) = scraped.db.exemplars([[matcher]], 0, 1 << 50)
    assert series.get("job") == "j"
    assert (exemplar.labels, exemplar.value) == (Labels.of(trace_id="x"), 1.5)


@pytest.mark.parametrize("scraped", ["sample_limit: 2"], indirect=True)
async def test_too_many_samples_fail_each_time_and_make_no_series(
    scraped: Scraped, exporter: Exporter
) -> None:
    exporter.answer = lambda request: text("a 1\nb 2\n")
    await scraped.loop.scrape(1000.0)
    exporter.answer = lambda request: text("a 1\nb 2\nc 3\nd 4\n")
    for at in (1005.0, 1010.0):
        await scraped.loop.scrape(at)
        assert scraped.loop.health.error == "sample limit exceeded"
    assert [is_stale_nan(value) for _, value in scraped.series("a")[""]] == [False, True]
    assert scraped.series("c") == {}
    series = len(scraped.db.store.head)
    exporter.answer = lambda request: text("a 3\nc 4\n")
    await scraped.loop.scrape(1015.0)
    assert scraped.series("c")[""] == [(1_015_000, 4.0)]
    assert scraped.series("a")[""][-1] == (1_015_000, 3.0)
    assert len(scraped.db.store.head) == series + 1


@pytest.mark.parametrize("scraped", ["label_value_length_limit: 5"], indirect=True)
async def test_a_limit_is_broken_as_long_as_the_label_is_there(scraped: Scraped, exporter: Exporter) -> None:
    exporter.answer = lambda request: text('a 1\nb{x="123456789"} 2\n')
    for at in (1000.0, 1005.0):
        await scraped.loop.scrape(at)
        assert "label_value_length_limit exceeded" in scraped.loop.health.error
    assert scraped.series("a") == {}
