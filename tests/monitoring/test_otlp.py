"""OTLP metrics: names, data points, refusals, and the OpenTelemetry SDK as a client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from wavetank.model.value import is_stale_nan
from wavetank.monitoring.config.model import OTLP
from wavetank.monitoring.otlp.convert import Converted, convert
from wavetank.monitoring.otlp.names import Namer
from wavetank.monitoring.server import ServerOptions

ESCAPING, PLAIN = "UnderscoreEscapingWithSuffixes", "NoTranslation"

NAMES = [
    # strategy, name, unit, counter, gauge, expected
    (ESCAPING, "http.server.duration", "s", False, False, "http_server_duration_seconds"),
    (ESCAPING, "system.io", "By", True, False, "system_io_bytes_total"),
    (ESCAPING, "system.io.total", "By/s", True, False, "system_io_bytes_per_second_total"),
    (ESCAPING, "process_seconds", "s", False, True, "process_seconds"),
    (ESCAPING, "cpu.utilization", "1", False, True, "cpu_utilization_ratio"),
    (ESCAPING, "requests", "{request}", True, False, "requests_total"),
    (ESCAPING, "2xx", "", False, False, "_2xx"),
    (ESCAPING, "a..b__c", "", False, False, "a_b_c"),
    (ESCAPING, "temp", "Cel", False, True, "temp_celsius"),
    ("NoUTF8EscapingWithSuffixes", "http.duration", "ms", False, False, "http.duration_milliseconds"),
    ("NoUTF8EscapingWithSuffixes", "io.total", "By", True, False, "io.total_bytes_total"),
    ("UnderscoreEscapingWithoutSuffixes", "http.duration", "ms", True, False, "http_duration"),
    (PLAIN, "http.duration", "ms", True, False, "http.duration"),
]


@pytest.mark.parametrize(("strategy", "name", "unit", "counter", "gauge", "expected"), NAMES)
def test_metric_names(strategy: str, name: str, unit: str, counter: bool, gauge: bool, expected: str) -> None:
    assert Namer(strategy).metric(name, unit, counter=counter, gauge=gauge) == expected


LABELS = [
    (Namer(), "http.method", "http_method"),
    (Namer(), "a..b", "a__b"),
    (Namer(keep_multiple_underscores=False), "a..b", "a_b"),
    (Namer(), "0zone", "key_0zone"),
    (Namer(), "_private", "key_private"),
    (Namer(sanitize_label_underscores=False), "_private", "_private"),
    (Namer(PLAIN), "http.method", "http.method"),
]


@pytest.mark.parametrize(("namer", "name", "expected"), LABELS)
def test_label_names(namer: Namer, name: str, expected: str) -> None:
    assert namer.label(name) == expected


def request(*metrics: dict[str, Any], attributes: dict[str, str] | None = None) -> Any:
    given = attributes if attributes is not None else {"service.name": "shop", "service.instance.id": "i1"}
    listed = [{"key": k, "value": {"stringValue": v}} for k, v in given.items()]
    body = {
        "resourceMetrics": [
            {
                "resource": {"attributes": listed},
                "scopeMetrics": [{"scope": {"name": "lib"}, "metrics": metrics}],
            }
        ]
    }
    return json_format.ParseDict(body, ExportMetricsServiceRequest())


def shown(converted: Converted) -> dict[str, Any]:
    """Values by series; histograms as text."""
    return {
        str(labels): [v for _, v in series.samples] or [str(h) for _, h in series.histograms]
        for labels, series in converted.series.items()
    }


T = "1700000000123000000"


def gauge(**more: Any) -> dict[str, Any]:
    return {"name": "g", "gauge": {"dataPoints": [{"timeUnixNano": T, "asInt": "7", **more}]}}


def test_resources_become_job_instance_and_target_info() -> None:
    attributes = {
        "service.name": "shop",
        "service.namespace": "ns",
        "service.instance.id": "i1",
        "k8s.pod": "p",
    }
    found = convert(request(gauge(), attributes=attributes), OTLP())
    assert shown(found) == {
        'g{instance="i1", job="ns/shop"}': [7.0],
        'target_info{instance="i1", job="ns/shop", k8s_pod="p"}': [1.0],
    }
    assert [s.samples[0][0] for s in found.series.values()] == [1700000000123] * 2
    promoted = OTLP(promote_resource_attributes=["k8s.pod"], promote_scope_metadata=True)
    first = next(iter(convert(request(gauge(), attributes=attributes), promoted).series))
    assert (first.get("k8s_pod"), first.get("otel_scope_name")) == ("p", "lib")


def test_classic_histograms() -> None:
    point = {
        "timeUnixNano": T,
        "count": "4",
        "sum": 6.5,
        "bucketCounts": ["1", "2", "1"],
        "explicitBounds": [1, 2.5],
        "exemplars": [{"asDouble": 2.0, "timeUnixNano": T, "traceId": "AQI="}],
    }
    metric = {"name": "h", "unit": "s", "histogram": {"aggregationTemporality": 2, "dataPoints": [point]}}
    found = convert(request(metric, attributes={}), OTLP())
    assert shown(found) == {
        "h_seconds_sum": [6.5],
        "h_seconds_count": [4.0],
        'h_seconds_bucket{le="1.0"}': [1.0],
        'h_seconds_bucket{le="2.5"}': [3.0],
        'h_seconds_bucket{le="+Inf"}': [4.0],
    }
    (with_exemplar,) = [s for s in found.series.values() if s.exemplars]
    assert with_exemplar.labels.get("le") == "2.5"
    assert str(with_exemplar.exemplars[0].labels) == '{trace_id="0102"}'
    (custom,) = convert(request(metric, attributes={}), OTLP(convert_histograms_to_nhcb=True)).series.values()
    ((_, histogram),) = custom.histograms
    assert (histogram.schema, histogram.custom_values, histogram.positive_buckets) == (
        -53,
        (1.0, 2.5),
        (1, 2, 1),
    )


@pytest.mark.parametrize(
    ("scale", "schema", "bounds"),
    [(0, 0, [(2.0, 4.0, 1.0), (4.0, 8.0, 2.0)]), (9, 8, None), (-5, None, None)],
)
def test_exponential_histograms(scale: int, schema: int | None, bounds: Any) -> None:
    point = {
        "timeUnixNano": T,
        "count": "4",
        "sum": 9.0,
        "scale": scale,
        "zeroCount": "1",
        "positive": {"offset": 1, "bucketCounts": ["1", "2"]},
    }
    metric = {"name": "e", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [point]}}
    found = convert(request(metric, attributes={}), OTLP())
    if schema is None:
        assert (found.refused, found.series.values().__len__()) == (1, 1)
        assert "Scale must be >= -4" in next(iter(found.reasons))
        return
    ((_, histogram),) = next(iter(found.series.values())).histograms
    assert histogram.schema == schema
    assert sum(histogram.positive_buckets) == 3
    if bounds is not None:
        buckets = [b for b in histogram.buckets() if b.lower > 0.001]
        assert [(b.lower, b.upper, b.count) for b in buckets] == bounds


def test_delta_is_refused_and_the_rest_taken() -> None:
    delta = {
        "name": "d",
        "sum": {
            "aggregationTemporality": 1,
            "isMonotonic": True,
            "dataPoints": [{"timeUnixNano": T, "asInt": "1"}] * 3,
        },
    }
    found = convert(request(delta, gauge(), attributes={}), OTLP())
    assert (found.refused, list(shown(found))) == (3, ["g"])
    assert list(found.reasons) == ['invalid temporality and type combination for metric "d"']


def test_no_recorded_value_ends_a_series() -> None:
    found = convert(request(gauge(flags=1), attributes={}), OTLP())
    ((_, value),) = next(iter(found.series.values())).samples
    assert is_stale_nan(value)


def test_colliding_attributes_are_joined() -> None:
    attributes = [{"key": k, "value": {"stringValue": v}} for k, v in (("a.b", "1"), ("a_b", "2"))]
    (labels,) = convert(request(gauge(attributes=attributes), attributes={}), OTLP()).series
    assert labels.get("a_b") == "1;2"


@settings(max_examples=30)
@given(st.binary(max_size=300))
def test_any_request_converts(data: bytes) -> None:
    made = ExportMetricsServiceRequest()
    try:
        made.ParseFromString(data)
    except Exception:
        return
    convert(made, OTLP())


async def test_the_sdk_exports_to_the_server(start: Callable[..., Any]) -> None:
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource

    async with start("global: {}\n", ServerOptions(enable_otlp_receiver=True)) as server:

        def export() -> None:
            exporter = OTLPMetricExporter(
                server.url + "/api/v1/otlp/v1/metrics", compression=Compression.Gzip
            )
            reader = PeriodicExportingMetricReader(exporter, export_interval_millis=1 << 30)
            resource = Resource({"service.name": "shop", "service.instance.id": "1"})
            provider = MeterProvider([reader], resource)
            meter = provider.get_meter("test")
            meter.create_counter("orders", unit="{order}").add(3, {"kind": "book"})
            meter.create_histogram("latency", unit="s").record(0.3)
            provider.shutdown()

        await asyncio.to_thread(export)
        assert await server.query("orders_total") == [
            ({"__name__": "orders_total", "instance": "1", "job": "shop", "kind": "book"}, "3")
        ]
        assert await server.query('latency_seconds_bucket{le="5.0"}  > 0') != []
        url = server.url + "/api/v1/otlp/v1/metrics"
        for headers, body, status in (
            ({"Content-Type": "text/plain"}, b"", 415),
            ({"Content-Type": "application/x-protobuf"}, b"\xff", 400),
            ({"Content-Type": "application/json"}, b"[", 400),
            ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, b"x", 400),
            ({"Content-Type": "application/json"}, b"{}", 200),
        ):
            async with server.session.post(url, data=body, headers=headers) as response:
                assert response.status == status
