"""Deltas by OTLP: added up, stored as they are, or refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from wavetank.cli import prometheus
from wavetank.clock import VirtualClock
from wavetank.model.histogram import CounterResetHint
from wavetank.monitoring.config.model import OTLP
from wavetank.monitoring.otlp import totals as totals_module
from wavetank.monitoring.otlp.convert import Converted, convert
from wavetank.monitoring.otlp.totals import Totals
from wavetank.monitoring.server import ServerOptions

SECOND = 1_000_000_000


def request(kind: str, *points: dict[str, Any], monotonic: bool = True, job: str = "shop") -> Any:
    data: dict[str, Any] = {"aggregationTemporality": 1, "dataPoints": list(points)}
    if kind == "sum":
        data["isMonotonic"] = monotonic
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": job}}]}
    metric = {"name": "m", kind: data}
    body = {"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": [metric]}]}]}
    return json_format.ParseDict(body, ExportMetricsServiceRequest())


def point(at: float, *, start: float = 0, **more: Any) -> dict[str, Any]:
    return {"timeUnixNano": str(int(at * SECOND)), "startTimeUnixNano": str(int(start * SECOND)), **more}


def values(found: Converted) -> list[tuple[str, int, float]]:
    return [
        (labels.name, at_ms, value)
        for labels, series in found.series.items()
        if labels.name != "target_info"
        for at_ms, value in series.samples
    ]


def test_a_stream_is_added_up() -> None:
    totals = Totals(VirtualClock(0.0))
    found = convert(request("sum", *(point(t, asInt="5") for t in (1, 2, 3))), OTLP(), totals=totals)
    assert values(found) == [("m_total", 1000, 5.0), ("m_total", 2000, 10.0), ("m_total", 3000, 15.0)]
    found = convert(request("sum", point(4, asDouble=0.5)), OTLP(), totals=totals)
    assert values(found) == [("m_total", 4000, 15.5)]
    other = convert(request("sum", point(4, asInt="1"), job="other"), OTLP(), totals=totals)
    assert values(other) == [("m_total", 4000, 1.0)]
    assert next(iter(found.series.values())).metadata is not None
    assert (len(totals), found.refused) == (2, 0)


def test_what_came_late_is_left_out() -> None:
    totals = Totals(VirtualClock(0.0))
    convert(request("sum", point(10, start=5, asInt="5")), OTLP(), totals=totals)
    late = convert(request("sum", point(10, start=5, asInt="5")), OTLP(), totals=totals)
    older = convert(request("sum", point(11, start=4, asInt="5")), OTLP(), totals=totals)
    assert (late.refused, older.refused) == (1, 1)
    assert "not newer" in next(iter(late.reasons))
    assert "began before" in next(iter(older.reasons))
    good = convert(request("sum", point(12, start=10, asInt="1")), OTLP(), totals=totals)
    assert values(good) == [("m_total", 12_000, 6.0)]
    (series,) = good.series.values()
    assert series.starts == {12_000: 5000}  # since when it counts


async def test_streams_that_ended_are_forgotten() -> None:
    clock = VirtualClock(0.0)
    totals = Totals(clock)
    convert(request("sum", point(1, asInt="5")), OTLP(), totals=totals)
    await clock.advance(301)
    found = convert(request("sum", point(2, asInt="1")), OTLP(), totals=totals)
    assert values(found) == [("m_total", 2000, 1.0)]


def test_streams_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totals_module, "OTLP_DELTA_STREAMS_MAX", 1)
    totals = Totals(VirtualClock(0.0))
    convert(request("sum", point(1, asInt="5")), OTLP(), totals=totals)
    assert convert(request("sum", point(1, asInt="5"), job="b"), OTLP(), totals=totals).refused == 1


def test_histograms_are_added_up() -> None:
    totals = Totals(VirtualClock(0.0))
    first = point(1, count="3", sum=4.0, explicitBounds=[1.0], bucketCounts=["1", "2"])
    again = point(2, count="3", sum=4.0, explicitBounds=[1.0], bucketCounts=["1", "2"])
    other = point(3, count="1", sum=1.0, explicitBounds=[2.0], bucketCounts=["1", "0"])
    found = values(convert(request("histogram", first, again, other), OTLP(), totals=totals))
    assert [value for name, _, value in found if name == "m_sum"] == [4.0, 8.0, 1.0]
    assert [value for name, _, value in found if name == "m_bucket"] == [1, 2, 3, 6, 1, 1]


def exponential(at: float, scale: int, offset: int, *counts: int) -> dict[str, Any]:
    buckets = {"offset": offset, "bucketCounts": [str(count) for count in counts]}
    return point(at, count=str(sum(counts)), sum=1.0, scale=scale, positive=buckets, zeroThreshold=0.001)


def test_exponential_histograms_meet_at_the_coarser_scale() -> None:
    totals = Totals(VirtualClock(0.0))
    made = request("exponentialHistogram", exponential(1, 1, 0, 1, 2), exponential(2, 0, -1, 4, 8))
    (series,) = convert(made, OTLP(), totals=totals).series.values()
    _, merged = series.histograms[1]
    # (0.5, 1]: 4; (1, 2]: 8 and the three of the finer one
    assert (merged.schema, merged.count, merged.sum) == (0, 15.0, 2.0)
    assert [(b.lower, b.upper, b.count) for b in merged.positive()] == [(0.5, 1.0, 4.0), (1.0, 2.0, 11.0)]


def test_deltas_may_be_stored_as_they_are() -> None:
    found = convert(
        request("sum", point(1, start=0.5, asInt="5"), point(2, asInt="5")), OTLP(), keep_deltas=True
    )
    assert values(found) == [("m_total", 1000, 5.0), ("m_total", 2000, 5.0)]
    (series,) = found.series.values()
    assert series.metadata is not None
    assert (series.metadata.type, series.starts) == ("unknown", {})
    kept = convert(request("exponentialHistogram", exponential(1, 0, 0, 1)), OTLP(), keep_deltas=True)
    (series,) = kept.series.values()
    assert series.histograms[0][1].counter_reset_hint is CounterResetHint.GAUGE


def test_target_info_is_found_at_any_time_of_a_request() -> None:
    body = request("sum", point(0.001, asInt="1"), point(600, asInt="1"))
    body.resource_metrics[0].resource.attributes.add(key="os", value={"string_value": "linux"})  # type: ignore[arg-type]
    found = convert(body, OTLP(), keep_deltas=True, lookback_ms=300_000)
    info = next(series for labels, series in found.series.items() if labels.name == "target_info")
    assert [at_ms for at_ms, _ in info.samples] == [1, 150_001, 300_001, 450_001, 600_000]


def test_the_two_features_exclude_each_other() -> None:
    flags = ["--enable-feature=otlp-deltatocumulative,otlp-native-delta-ingestion"]
    with (
        prometheus.command.make_context("prometheus", flags) as context,
        pytest.raises(click.UsageError, match="at the same time"),
    ):
        prometheus._options(context, dict(context.params))


async def test_over_http(start: Callable[..., Any]) -> None:
    options = ServerOptions(enable_otlp_receiver=True, otlp_deltas="totals")
    async with start("{}", options) as server:
        now = server.server._clock.now()
        for ago in (2.0, 1.0):
            body = request("sum", point(now - ago, asInt="2")).SerializeToString()
            headers = {"Content-Type": "application/x-protobuf"}
            await server.post("/api/v1/otlp/v1/metrics", data=body, headers=headers)
        assert await server.query("m_total") == [({"__name__": "m_total", "job": "shop"}, "4")]
        assert (await server.get("/api/v1/features"))["data"]["otlp_receiver"]["delta_conversion"]
