"""Delimited protobuf, written here with the protobuf library and a descriptor made by hand."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given, settings
from hypothesis import strategies as st

from wavetank.exposition import parse
from wavetank.exposition.errors import ExpositionError
from wavetank.model.histogram import CounterResetHint, FloatHistogram
from wavetank.model.labels import Labels

CONTENT_TYPE = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"

# message: {field: (number, type, repeated)}; a capitalised type is another message
MESSAGES: dict[str, dict[str, tuple[int, str, bool]]] = {
    "Time": {"seconds": (1, "int64", False), "nanos": (2, "int32", False)},
    "Pair": {"name": (1, "string", False), "value": (2, "string", False)},
    "Exemplar": {"label": (1, "Pair", True), "value": (2, "double", False), "timestamp": (3, "Time", False)},
    "Gauge": {"value": (1, "double", False)},
    "Counter": {"value": (1, "double", False), "exemplar": (2, "Exemplar", False), "start": (3, "Time", False)},
    "Quantile": {"quantile": (1, "double", False), "value": (2, "double", False)},
    "Summary": {"count": (1, "uint64", False), "sum": (2, "double", False), "quantile": (3, "Quantile", True)},
    "Bucket": {"count": (1, "uint64", False), "bound": (2, "double", False)},
    "Span": {"offset": (1, "sint32", False), "length": (2, "uint32", False)},
    "Histogram": {
        "count": (1, "uint64", False), "sum": (2, "double", False), "bucket": (3, "Bucket", True),
        "schema": (5, "sint32", False), "zero_threshold": (6, "double", False), "zero_count": (7, "uint64", False),
        "negative_span": (9, "Span", True), "negative_delta": (10, "sint64", True),
        "positive_span": (12, "Span", True), "positive_delta": (13, "sint64", True), "start": (15, "Time", False),
    },
    "Metric": {
        "label": (1, "Pair", True), "gauge": (2, "Gauge", False), "counter": (3, "Counter", False),
        "summary": (4, "Summary", False), "histogram": (7, "Histogram", False), "timestamp_ms": (6, "int64", False),
    },
    "Family": {
        "name": (1, "string", False), "help": (2, "string", False), "type": (3, "int32", False),
        "metric": (4, "Metric", True), "unit": (5, "string", False),
    },
}  # fmt: skip


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="t.proto", package="t", syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind, repeated) in fields.items():
            made = message.field.add(name=field, number=number, label=3 if repeated else 1)
            if kind[0].isupper():
                made.type = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
                made.type_name = f".t.{kind}"
            else:
                made.type = descriptor_pb2.FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {n: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"t.{n}")) for n in MESSAGES}


FAMILY = _classes()["Family"]


def delimited(*families: Any) -> bytes:
    out = b""
    for family in families:
        raw = family.SerializeToString()
        size = len(raw)
        while size >= 0x80:
            out += bytes([size & 0x7F | 0x80])
            size >>= 7
        out += bytes([size]) + raw
    return out


def test_counter_summary_and_classic_histogram() -> None:
    counter = FAMILY(name="c_total", help="C.", type=0, unit="x")
    metric = counter.metric.add(timestamp_ms=42)
    metric.label.add(name="a", value="b")
    metric.counter.value = 3
    metric.counter.start.seconds = 2
    metric.counter.exemplar.value = 1.5
    metric.counter.exemplar.label.add(name="id", value="z")
    summary = FAMILY(name="s", type=2)
    summary.metric.add().summary.count = 4
    summary.metric[0].summary.quantile.add(quantile=0.5, value=2)
    histogram = FAMILY(name="h", type=4)
    inner = histogram.metric.add().histogram
    inner.count, inner.sum = 5, 9
    inner.bucket.add(count=2, bound=1)
    found = parse(delimited(counter, summary, histogram), CONTENT_TYPE, default_timestamp_ms=7)
    assert [(str(labels), value) for labels, value in zip(found.labels, found.values, strict=True)] == [
        ('c_total{a="b"}', 3.0),
        ("s_count", 4.0),
        ("s_sum", 0.0),
        ('s{quantile="0.5"}', 2.0),
        ("h_count", 5.0),
        ("h_sum", 9.0),
        ('h_bucket{le="1.0"}', 2.0),
        ('h_bucket{le="+Inf"}', 5.0),
    ]
    assert found.timestamps_ms.tolist() == [42, *[7] * 7]
    assert found.start_timestamps_ms.tolist()[0] == 2000
    assert found.exemplars[0].labels == Labels.of(id="z")
    assert (found.metadata["c_total"].type, found.metadata["c_total"].unit) == ("counter", "x")


def test_native_histogram() -> None:
    family = FAMILY(name="h", type=5)
    inner = family.metric.add().histogram
    inner.count, inner.sum, inner.schema, inner.zero_threshold, inner.zero_count = 9, 20, 2, 0.001, 1
    inner.positive_span.add(offset=-2, length=2)
    inner.positive_span.add(offset=3, length=1)
    inner.positive_delta.extend([1, 2, -1])
    inner.negative_span.add(offset=0, length=1)
    inner.negative_delta.extend([2])
    found = parse(delimited(family), CONTENT_TYPE, default_timestamp_ms=7)
    assert len(found) == 0
    assert found.histograms[0].histogram == FloatHistogram(
        2, 9, 20, 0.001, 1, ((-2, 2), (3, 1)), (1, 3, 2), ((0, 1),), (2,), (), CounterResetHint.GAUGE
    )


@pytest.mark.parametrize("cut", [1, 3, 10])
def test_a_cut_message_is_an_error(cut: int) -> None:
    family = FAMILY(name="g", type=1)
    family.metric.add().gauge.value = 1
    with pytest.raises(ExpositionError, match="metric family 1"):
        parse(delimited(family)[:-cut], CONTENT_TYPE, default_timestamp_ms=0)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=120))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        parse(body, CONTENT_TYPE, default_timestamp_ms=0)
    except ExpositionError as error:
        assert "proto" in error.message
