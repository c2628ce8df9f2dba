"""Between the messages and our values: series, histograms, and the body's compression.

Pure functions; ``Incoming`` is what a write request says whichever version it came in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import cramjam
import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from wavetank.limits import REMOTE_HISTOGRAM_BUCKETS_MAX, REMOTE_WRITE_BYTES_MAX
from wavetank.model.histogram import CUSTOM_BUCKETS_SCHEMA, CounterResetHint, FloatHistogram
from wavetank.model.labels import Labels
from wavetank.monitoring.remote.messages import METADATA_TYPES, Request, WriteRequest

__all__ = [
    "Incoming",
    "IncomingExemplar",
    "MetadataEntry",
    "RemoteError",
    "decode_v1",
    "decode_v2",
    "fill_histogram",
    "histogram_of",
    "pack",
    "unpack",
    "unpack_array",
]

_SCHEMAS: Final = frozenset(range(-4, 9)) | {CUSTOM_BUCKETS_SCHEMA}


class RemoteError(ValueError):
    """A body that is not what the protocol asks for."""


@dataclass(frozen=True, slots=True)
class IncomingExemplar:
    labels: Labels
    value: float
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class MetadataEntry:
    """What a metric is; ``type`` is the OpenMetrics word."""

    type: str
    help: str
    unit: str


@dataclass(slots=True)
class Incoming:
    """One series of a request. ``samples`` are (ms, value), ``histograms`` (ms, histogram).

    ``starts`` says of times since when the samples then count, where that is known.
    """

    labels: Labels
    samples: list[tuple[int, float]] = field(default_factory=list)
    histograms: list[tuple[int, FloatHistogram]] = field(default_factory=list)
    exemplars: list[IncomingExemplar] = field(default_factory=list)
    metadata: MetadataEntry | None = None
    starts: dict[int, int] = field(default_factory=dict)


def unpack_array(body: bytes) -> npt.NDArray[np.uint8]:
    """Snappy's block format, into an array that kernels can read. Raises RemoteError for what is broken or
    would be too large."""
    try:
        size = cramjam.snappy.decompress_raw_len(body)
        if size > REMOTE_WRITE_BYTES_MAX:
            raise RemoteError(f"decoded body is larger than {REMOTE_WRITE_BYTES_MAX} bytes")
        data = np.empty(size, np.uint8)
        return data[: cramjam.snappy.decompress_raw_into(body, data.data)]
    except (cramjam.DecompressionError, OverflowError) as error:
        raise RemoteError(f"snappy: {error}") from None


def unpack(body: bytes) -> bytes:
    """As ``unpack_array``."""
    return unpack_array(body).tobytes()


def pack(body: bytes) -> bytes:
    return bytes(cramjam.snappy.compress_raw(body))


def _labels(pairs: Iterable[tuple[str, str]]) -> Labels:
    """Checked as a receiver must: names given and unique; empty values mean no label."""
    listed = list(pairs)
    names = {name for name, _ in listed}
    if len(names) < len(listed) or "" in names:
        raise RemoteError(f"label names must be given and unique: {[name for name, _ in listed]}")
    return Labels.of([pair for pair in listed if pair[1]])


def decode_v1(data: bytes) -> tuple[list[Incoming], dict[str, MetadataEntry]]:
    """The series of a WriteRequest, and its metadata by metric name. Raises RemoteError."""
    try:
        request = WriteRequest.FromString(data)
    except DecodeError as error:
        raise RemoteError(f"protobuf: {error}") from None
    series = [
        Incoming(
            _labels([(label.name, label.value) for label in entry.labels]),
            [(sample.timestamp, sample.value) for sample in entry.samples],
            [(found.timestamp, histogram_of(found)) for found in entry.histograms],
            [
                IncomingExemplar(_labels((p.name, p.value) for p in e.labels), e.value, e.timestamp)
                for e in entry.exemplars
            ],
        )
        for entry in request.timeseries
    ]
    metadata = {m.metric_family_name: MetadataEntry(_type(m.type), m.help, m.unit) for m in request.metadata}
    return series, metadata


def decode_v2(data: bytes) -> list[Incoming]:
    """The series of an io.prometheus.write.v2.Request. Raises RemoteError."""
    try:
        request = Request.FromString(data)
    except DecodeError as error:
        raise RemoteError(f"protobuf: {error}") from None
    symbols = list(request.symbols)
    if request.timeseries and (not symbols or symbols[0] != ""):
        raise RemoteError("the first symbol must be the empty text")
    try:
        return [_series_v2(entry, symbols) for entry in request.timeseries]
    except IndexError:
        raise RemoteError(f"a reference beyond the {len(symbols)} symbols") from None


def _series_v2(entry: Any, symbols: Sequence[str]) -> Incoming:
    metadata = None
    if entry.HasField("metadata"):
        found = entry.metadata
        metadata = MetadataEntry(_type(found.type), symbols[found.help_ref], symbols[found.unit_ref])
        if metadata == MetadataEntry("unknown", "", ""):
            metadata = None
    return Incoming(
        _labels(_resolved(entry.labels_refs, symbols)),
        [(sample.timestamp, sample.value) for sample in entry.samples],
        [(found.timestamp, histogram_of(found)) for found in entry.histograms],
        [
            IncomingExemplar(_labels(_resolved(e.labels_refs, symbols)), e.value, e.timestamp)
            for e in entry.exemplars
        ],
        metadata,
        {s.timestamp: s.start_timestamp for s in (*entry.samples, *entry.histograms) if s.start_timestamp},
    )


def _resolved(refs: Sequence[int], symbols: Sequence[str]) -> list[tuple[str, str]]:
    if len(refs) % 2:
        raise RemoteError("an odd number of label references")
    texts = [symbols[ref] for ref in refs]
    return list(zip(texts[::2], texts[1::2], strict=True))


def _type(number: int) -> str:
    return METADATA_TYPES[number] if 0 <= number < len(METADATA_TYPES) else "unknown"


def histogram_of(message: Any) -> FloatHistogram:
    """A native histogram; integer counts become floats. Raises RemoteError."""
    if message.schema not in _SCHEMAS:
        raise RemoteError(f"histogram schema {message.schema} is not known")
    positive = _counts(message.positive_deltas, message.positive_counts)
    negative = _counts(message.negative_deltas, message.negative_counts)
    spans = [
        tuple((span.offset, span.length) for span in group)
        for group in (message.positive_spans, message.negative_spans)
    ]
    for group, counts in zip(spans, (positive, negative), strict=True):
        if sum(length for _, length in group) != len(counts):
            raise RemoteError(f"histogram spans need {sum(n for _, n in group)} buckets, got {len(counts)}")
    if len(positive) + len(negative) > REMOTE_HISTOGRAM_BUCKETS_MAX:
        raise RemoteError("a histogram with too many buckets")
    integer = message.WhichOneof("count") == "count_int"
    hint = message.reset_hint
    return FloatHistogram(
        message.schema,
        float(message.count_int if integer else message.count_float),
        message.sum,
        message.zero_threshold,
        float(message.zero_count_int) if integer else message.zero_count_float,
        spans[0],
        positive,
        spans[1],
        negative,
        tuple(message.custom_values),
        CounterResetHint(hint) if 0 <= hint <= 3 else CounterResetHint.UNKNOWN,
    )


def _counts(deltas: Sequence[int], counts: Sequence[float]) -> tuple[float, ...]:
    if counts:
        return tuple(counts)
    total, out = 0, []
    for delta in deltas:
        total += delta
        out.append(float(total))
    return tuple(out)


def fill_histogram(message: Any, timestamp_ms: int, histogram: FloatHistogram) -> None:
    """Write a histogram into a message; counts that are whole are sent as integers."""
    message.timestamp = timestamp_ms
    message.schema = histogram.schema
    message.sum = histogram.sum
    message.zero_threshold = histogram.zero_threshold
    message.reset_hint = int(histogram.counter_reset_hint)
    message.custom_values.extend(histogram.custom_values)
    for spans, target in (
        (histogram.positive_spans, message.positive_spans),
        (histogram.negative_spans, message.negative_spans),
    ):
        for offset, length in spans:
            target.add(offset=offset, length=length)
    values = (
        histogram.count,
        histogram.zero_count,
        *histogram.positive_buckets,
        *histogram.negative_buckets,
    )
    if all(value.is_integer() and value >= 0 for value in values):
        message.count_int = int(histogram.count)
        message.zero_count_int = int(histogram.zero_count)
        message.positive_deltas.extend(_deltas(histogram.positive_buckets))
        message.negative_deltas.extend(_deltas(histogram.negative_buckets))
    else:
        message.count_float = histogram.count
        message.zero_count_float = histogram.zero_count
        message.positive_counts.extend(histogram.positive_buckets)
        message.negative_counts.extend(histogram.negative_buckets)


def _deltas(counts: Sequence[float]) -> list[int]:
    whole = [int(count) for count in counts]
    return [count - before for count, before in zip(whole, [0, *whole], strict=False)]
