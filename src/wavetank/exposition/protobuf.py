"""The protobuf format: ``io.prometheus.client.MetricFamily`` messages, each after its length.

Mirrors ``protobufparse.go``. The messages are read straight from their wire form with a reader of a few
dozen lines; a generated module would be ten times that, and register global types. Counts of native
histograms become floats.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from wavetank.exposition.errors import ExpositionError
from wavetank.exposition.numbers import format_openmetrics_float
from wavetank.exposition.samples import Metadata, ScrapedExemplar, ScrapedHistogram, ScrapedSamples
from wavetank.model.histogram import CounterResetHint, FloatHistogram, Span
from wavetank.model.labels import METRIC_NAME, Labels
from wavetank.model.value import NORMAL_NAN

__all__ = ["parse_protobuf"]

_TYPES = ("counter", "gauge", "summary", "unknown", "histogram", "gaugehistogram")
_COUNTER, _GAUGE, _SUMMARY, _UNTYPED, _HISTOGRAM, _GAUGE_HISTOGRAM = range(6)
_Fields = Iterator[tuple[int, int | bytes]]


class _Malformed(ValueError):
    """Bytes that are not a protobuf message."""


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7
    raise _Malformed("a varint is cut off")


def _fields(data: bytes) -> _Fields:
    """``(field number, value)``; fixed64 and fixed32 come as their bytes."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 0:
            number, at = _varint(data, at)
            yield tag >> 3, number
            continue
        if kind == 2:
            size, at = _varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise _Malformed(f"wire type {kind} is not known")
        if size > len(data) - at:
            raise _Malformed(f"a field of {size} bytes in {len(data) - at}")
        yield tag >> 3, data[at : at + size]
        at += size


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise _Malformed("a number stands where a message should")
    return value


def _text(value: int | bytes) -> str:
    return _bytes(value).decode()


def _double(value: int | bytes) -> float:
    raw = _bytes(value)
    if len(raw) != 8:
        raise _Malformed("a double of other than 8 bytes")
    number = float(struct.unpack("<d", raw)[0])
    return NORMAL_NAN if number != number else number


def _int(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise _Malformed("bytes stand where a number should")
    return value - (1 << 64) if value >> 63 else value


def _zigzag(value: int) -> int:
    return (value >> 1) ^ -(value & 1)


def _packed_doubles(value: int | bytes) -> list[float]:
    raw = _bytes(value)
    if len(raw) % 8:
        raise _Malformed("packed doubles of an odd length")
    return list(struct.unpack(f"<{len(raw) // 8}d", raw))


def _packed_deltas(value: int | bytes) -> list[int]:
    if isinstance(value, int):
        return [_zigzag(value)]
    at = 0
    out = []
    while at < len(value):
        number, at = _varint(value, at)
        out.append(_zigzag(number))
    return out


def _timestamp_ms(data: bytes) -> int:
    seconds = nanos = 0
    for field, value in _fields(data):
        if field == 1:
            seconds = _int(value)
        elif field == 2:
            nanos = _int(value)
    return seconds * 1000 + nanos // 1_000_000


def _pair(data: bytes) -> tuple[str, str]:
    name = value = ""
    for field, raw in _fields(data):
        if field == 1:
            name = _text(raw)
        elif field == 2:
            value = _text(raw)
    return name, value


def _exemplar(data: bytes, index: int) -> ScrapedExemplar:
    pairs: dict[str, str] = {}
    number = 0.0
    stamp: int | None = None
    for field, raw in _fields(data):
        if field == 1:
            pairs.update([_pair(_bytes(raw))])
        elif field == 2:
            number = _double(raw)
        elif field == 3:
            stamp = _timestamp_ms(_bytes(raw))
    return ScrapedExemplar(index, Labels.of(pairs), number, stamp)


class _Body:
    """Columns of the body read so far."""

    def __init__(self, default_ms: int) -> None:
        self.default_ms = default_ms
        self.labels: list[Labels] = []
        self.times: list[int] = []
        self.explicit: list[bool] = []
        self.values: list[float] = []
        self.starts: list[int] = []
        self.metadata: dict[str, Metadata] = {}
        self.exemplars: list[ScrapedExemplar] = []
        self.histograms: list[ScrapedHistogram] = []

    def add(self, labels: dict[str, str], stamp: int, value: float, start: int) -> None:
        self.labels.append(Labels.of(labels))
        self.times.append(stamp or self.default_ms)
        self.explicit.append(stamp != 0)
        self.values.append(value)
        self.starts.append(start)

    def family(self, data: bytes) -> None:
        name, kind, entry = "", _COUNTER, Metadata()
        metrics = []
        for field, raw in _fields(data):
            if field == 1:
                name = _text(raw)
            elif field == 2:
                entry.help = _text(raw)
            elif field == 3:
                kind = _int(raw)
            elif field == 4:
                metrics.append(_bytes(raw))
            elif field == 5:
                entry.unit = _text(raw)
        if not name:
            raise _Malformed("a metric family has no name")
        if not 0 <= kind < len(_TYPES):
            raise _Malformed(f"unknown metric type {kind}")
        entry.type = _TYPES[kind]
        self.metadata[name] = entry
        for metric in metrics:
            self.metric(name, kind, metric)

    def metric(self, name: str, kind: int, data: bytes) -> None:
        labels = {}
        stamp = 0
        body: dict[int, bytes] = {}
        for field, raw in _fields(data):
            if field == 1:
                key, value = _pair(_bytes(raw))
                labels[key] = value
            elif field == 6:
                stamp = _int(raw)
            else:
                body[field] = _bytes(raw)
        labels[METRIC_NAME] = name
        if kind == _COUNTER:
            self.simple(labels, stamp, body.get(3, b""), created=True)
        elif kind == _GAUGE:
            self.simple(labels, stamp, body.get(2, b""), created=False)
        elif kind == _UNTYPED:
            self.simple(labels, stamp, body.get(5, b""), created=False)
        elif kind == _SUMMARY:
            self.summary(labels, stamp, body.get(4, b""))
        else:
            self.histogram(labels, stamp, body.get(7, b""), gauge=kind == _GAUGE_HISTOGRAM)

    def simple(self, labels: dict[str, str], stamp: int, data: bytes, *, created: bool) -> None:
        value, start = 0.0, 0
        for field, raw in _fields(data):
            if field == 1:
                value = _double(raw)
            elif created and field == 2:
                self.exemplars.append(_exemplar(_bytes(raw), len(self.labels)))
            elif created and field == 3:
                start = _timestamp_ms(_bytes(raw))
        self.add(labels, stamp, value, start)

    def summary(self, labels: dict[str, str], stamp: int, data: bytes) -> None:
        count, total, start = 0, 0.0, 0
        quantiles = []
        for field, raw in _fields(data):
            if field == 1:
                count = _int(raw)
            elif field == 2:
                total = _double(raw)
            elif field == 3:
                inner = dict(_fields(_bytes(raw)))
                quantiles.append((_double(inner.get(1, bytes(8))), _double(inner.get(2, bytes(8)))))
            elif field == 4:
                start = _timestamp_ms(_bytes(raw))
        name = labels[METRIC_NAME]
        self.add({**labels, METRIC_NAME: name + "_count"}, stamp, float(count), start)
        self.add({**labels, METRIC_NAME: name + "_sum"}, stamp, total, start)
        for quantile, value in quantiles:
            self.add({**labels, "quantile": format_openmetrics_float(quantile)}, stamp, value, start)

    def histogram(self, labels: dict[str, str], stamp: int, data: bytes, *, gauge: bool) -> None:
        message = _Histogram(data, len(self.histograms))
        if message.native:
            self.histograms.append(
                ScrapedHistogram(
                    Labels.of(labels),
                    stamp or self.default_ms,
                    stamp != 0,
                    message.to_histogram(gauge=gauge),
                    message.start_ms,
                    tuple(message.exemplars),
                )
            )
        if not message.buckets and message.native:
            return
        name = labels[METRIC_NAME]
        self.add({**labels, METRIC_NAME: name + "_count"}, stamp, message.count, message.start_ms)
        self.add({**labels, METRIC_NAME: name + "_sum"}, stamp, message.sum, message.start_ms)
        bounds = [b for b, _, _ in message.buckets]
        for bound, count, exemplar in message.buckets:
            if exemplar is not None:
                self.exemplars.append(_exemplar(exemplar, len(self.labels)))
            shown = format_openmetrics_float(bound)
            self.add({**labels, METRIC_NAME: name + "_bucket", "le": shown}, stamp, count, message.start_ms)
        if float("inf") not in bounds:
            infinite = {**labels, METRIC_NAME: name + "_bucket", "le": "+Inf"}
            self.add(infinite, stamp, message.count, message.start_ms)

    def finish(self) -> ScrapedSamples:
        return ScrapedSamples(
            self.labels,
            np.array(self.times, np.int64),
            np.array(self.explicit, np.bool_),
            np.array(self.values, np.float64),
            np.array(self.starts, np.int64),
            self.metadata,
            self.exemplars,
            self.histograms,
        )


class _Histogram:
    """A Histogram message, classic and native parts."""

    def __init__(self, data: bytes, index: int) -> None:
        self.count = self.sum = 0.0
        self.schema = 0
        self.zero_threshold = self.zero_count = 0.0
        self.start_ms = 0
        self.spans: dict[int, list[Span]] = {9: [], 12: []}
        self.deltas: dict[int, list[int]] = {10: [], 13: []}
        self.counts: dict[int, list[float]] = {11: [], 14: []}
        self.buckets: list[tuple[float, float, bytes | None]] = []
        self.exemplars: list[ScrapedExemplar] = []
        for field, raw in _fields(data):
            self._take(field, raw, index)

    def _take(self, field: int, raw: int | bytes, index: int) -> None:
        match field:
            case 1:
                self.count = self.count or float(_int(raw))
            case 2:
                self.sum = _double(raw)
            case 3:
                self._bucket(_bytes(raw))
            case 4:
                self.count = _double(raw) or self.count
            case 5:
                self.schema = _zigzag(_int(raw) & 0xFFFF_FFFF)
            case 6:
                self.zero_threshold = _double(raw)
            case 7:
                self.zero_count = self.zero_count or float(_int(raw))
            case 8:
                self.zero_count = _double(raw) or self.zero_count
            case 9 | 12:
                span = dict(_fields(_bytes(raw)))
                self.spans[field].append((_zigzag(_int(span.get(1, 0))), _int(span.get(2, 0))))
            case 10 | 13:
                self.deltas[field] += _packed_deltas(raw)
            case 11 | 14:
                self.counts[field] += _packed_doubles(raw)
            case 15:
                self.start_ms = _timestamp_ms(_bytes(raw))
            case 16:
                self.exemplars.append(_exemplar(_bytes(raw), index))

    def _bucket(self, data: bytes) -> None:
        bound = count = 0.0
        exemplar: bytes | None = None
        for field, raw in _fields(data):
            if field == 1:
                count = count or float(_int(raw))
            elif field == 2:
                bound = _double(raw)
            elif field == 3:
                exemplar = _bytes(raw)
            elif field == 4:
                count = _double(raw) or count
        self.buckets.append((bound, count, exemplar))

    @property
    def native(self) -> bool:
        """Upstream's test: a span, a zero threshold or a zero count makes it native."""
        return bool(self.spans[9] or self.spans[12] or self.zero_threshold > 0 or self.zero_count > 0)

    def to_histogram(self, *, gauge: bool) -> FloatHistogram:
        positive = self.counts[14] or _summed(self.deltas[13])
        negative = self.counts[11] or _summed(self.deltas[10])
        for spans, counts in ((self.spans[12], positive), (self.spans[9], negative)):
            if sum(length for _, length in spans) != len(counts):
                raise _Malformed("the spans of a native histogram do not fit its buckets")
        return FloatHistogram(
            self.schema,
            self.count,
            self.sum,
            self.zero_threshold,
            self.zero_count,
            tuple(s for s in self.spans[12] if s != (0, 0)),
            tuple(positive),
            tuple(s for s in self.spans[9] if s != (0, 0)),
            tuple(negative),
            (),
            CounterResetHint.GAUGE if gauge else CounterResetHint.UNKNOWN,
        )


def _summed(deltas: list[int]) -> list[float]:
    total = 0
    out = []
    for delta in deltas:
        total += delta
        out.append(float(total))
    return out


def parse_protobuf(body: bytes, default_timestamp_ms: int) -> ScrapedSamples:
    """Delimited MetricFamily messages. Raises ExpositionError; its ``line`` counts the messages."""
    out = _Body(default_timestamp_ms)
    at = 0
    message = 0
    try:
        while at < len(body):
            message += 1
            size, at = _varint(body, at)
            if size > len(body) - at:
                raise _Malformed(f"a message of {size} bytes in {len(body) - at}")
            out.family(body[at : at + size])
            at += size
    except (_Malformed, UnicodeDecodeError) as error:
        raise ExpositionError(
            f"proto: cannot parse metric family {message}: {error}",
            line=message,
            text=body[at : at + 40].hex(),
        ) from None
    return out.finish()
