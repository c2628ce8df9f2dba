"""Native histogram chunks, integer and float. Mirrors ``chunkenc/histogram.go``, ``float_histogram.go``, and
their forms with start timestamps (``…_st.go``).

Sample count (u16), flags (what is known of counter resets), the layout all samples of the chunk share
(``histogram_run`` finds it), then the samples. In the form with start timestamps the flags stand above a
count of 14 bits, the third byte says what there is of starts, and each sample's start follows it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from wavetank.model.histogram import (
    CUSTOM_BUCKETS_SCHEMA,
    SCHEMA_MAX,
    CounterResetHint,
    FloatHistogram,
    Span,
)
from wavetank.model.histogram_math import to_schema
from wavetank.model.value import STALE_NAN
from wavetank.tsdb.chunkenc import FLOAT_HISTOGRAM, FLOAT_HISTOGRAM_ST, HISTOGRAM, HISTOGRAM_ST
from wavetank.tsdb.chunkenc.histogram_run import HistogramRun, Sample, is_integer, runs_of
from wavetank.tsdb.chunkenc.start_codes import StartReader, StartWriter
from wavetank.tsdb.chunkenc.varbit import BitReader, BitWriter
from wavetank.tsdb.errors import CorruptionError

__all__ = [
    "SCHEMAS_RESERVED",
    "decode_histograms",
    "decode_histograms_with_starts",
    "encode_histograms",
    "encode_run",
    "is_integer",
]

_FLAGS: Final = {
    CounterResetHint.UNKNOWN: 0x00,
    CounterResetHint.RESET: 0x80,
    CounterResetHint.NOT_RESET: 0x40,
    CounterResetHint.GAUGE: 0xC0,
}
_GAUGE_FLAGS: Final = 0xC0
_BUCKETS_MAX: Final = 1 << 20  # a chunk that claims more is corrupt
SCHEMAS_RESERVED: Final = (-9, 52)  # what other versions may write; finer ones than ours are made coarser
_ST_COUNT: Final = 0x3FFF


def encode_histograms(
    samples: Sequence[Sample], starts: Sequence[int] | None = None
) -> list[tuple[int, int, int, bytes]]:
    """Chunks of the samples: ``(mint, maxt, encoding, data)``; with start timestamps if they are given."""
    out = []
    at = 0
    for run in runs_of(samples):
        own = None if starts is None else starts[at : at + len(run.samples)]
        out.append(encode_run(run, own))
        at += len(run.samples)
    return out


def encode_run(run: HistogramRun, starts: Sequence[int] | None = None) -> tuple[int, int, int, bytes]:
    """One chunk: ``(mint, maxt, encoding, data)``."""
    samples = run.aligned()
    writer = BitWriter()
    _put_layout(writer, FloatHistogram() if samples[0][1].is_stale else samples[0][1])
    begins = StartWriter(writer) if starts is not None else None

    def note(index: int) -> None:
        if begins is not None and starts is not None:
            begins.put(index, samples[index][0], samples[index - 1][0], starts[index])

    (_encode_integers if run.integer else _encode_floats)(writer, samples, note)
    flags = _FLAGS[run.header]
    if begins is None:
        encoding = HISTOGRAM if run.integer else FLOAT_HISTOGRAM
        head = struct.pack(">HB", len(samples), flags)
    else:
        encoding = HISTOGRAM_ST if run.integer else FLOAT_HISTOGRAM_ST
        head = struct.pack(">HB", len(samples) | flags << 8, begins.header)
    return samples[0][0], samples[-1][0], encoding, head + writer.to_bytes()


def _put_layout(writer: BitWriter, h: FloatHistogram) -> None:
    fraction, exponent = math.frexp(h.zero_threshold)
    if h.zero_threshold == 0:
        writer.bits(0, 8)
    elif fraction == 0.5 and -242 <= exponent <= 11:
        writer.bits(exponent + 243, 8)
    else:
        writer.bits(255, 8)
        writer.double(h.zero_threshold)
    writer.varint(h.schema)
    for spans in (h.positive_spans, h.negative_spans):
        writer.uvarint(len(spans))
        for offset, length in spans:
            writer.uvarint(length)
            writer.varint(offset)
    if h.schema == CUSTOM_BUCKETS_SCHEMA:
        writer.uvarint(len(h.custom_values))
        for bound in h.custom_values:
            scaled = bound * 1000
            if 0 <= scaled <= 33554430 and round(scaled) / 1000 == bound:
                writer.uvarint(round(scaled) + 1)
            else:
                writer.bits(0, 1)
                writer.double(bound)


def _read_layout(reader: BitReader) -> FloatHistogram:
    code = reader.bits(8)
    threshold = 0.0 if code == 0 else reader.double() if code == 255 else math.ldexp(0.5, code - 243)
    schema = reader.varint()
    if schema != CUSTOM_BUCKETS_SCHEMA and not SCHEMAS_RESERVED[0] <= schema <= SCHEMAS_RESERVED[1]:
        raise CorruptionError(f"histogram chunk of unknown schema {schema}")
    sides: list[tuple[Span, ...]] = []
    for _ in range(2):
        spans = []
        for _ in range(_limited(reader.uvarint())):
            length = _limited(reader.uvarint())
            spans.append((reader.varint(), length))
        sides.append(tuple(spans))
    bounds: list[float] = []
    if schema == CUSTOM_BUCKETS_SCHEMA:
        for _ in range(_limited(reader.uvarint())):
            scaled = reader.uvarint()
            bounds.append((scaled - 1) / 1000 if scaled else reader.double())
    for spans_of_side in sides:
        _limited(sum(length for _, length in spans_of_side))
    return FloatHistogram(
        schema=schema,
        zero_threshold=threshold,
        positive_spans=sides[0],
        negative_spans=sides[1],
        custom_values=tuple(bounds),
    )


def _limited(count: int) -> int:
    if count > _BUCKETS_MAX:
        raise CorruptionError(f"histogram chunk claims {count} buckets")
    return count


def _bucket_deltas(h: FloatHistogram) -> list[int]:
    out = []
    for counts in (h.positive_buckets, h.negative_buckets):
        last = 0
        for count in counts:
            out.append(int(count) - last)
            last = int(count)
    return out


def _encode_integers(writer: BitWriter, group: Sequence[Sample], note: Callable[[int], None]) -> None:
    time = time_delta = count = count_delta = zero = zero_delta = 0
    buckets: list[int] = []
    deltas: list[int] = []
    last_sum = 0.0
    window: tuple[int, int] | None = None
    for i, (t, h) in enumerate(group):
        now = [] if h.is_stale else _bucket_deltas(h)
        if i == 0:
            writer.varint(t)
            writer.uvarint(0 if h.is_stale else int(h.count))
            writer.uvarint(0 if h.is_stale else int(h.zero_count))
            writer.double(h.sum)
            for b in now:
                writer.varint(b)
            deltas = [0] * len(now)
        else:
            new_delta = t - time
            writer.varint(new_delta - time_delta)
            time_delta = new_delta
            if h.is_stale:
                writer.varint(0)
                writer.varint(0)
            else:
                new_count, new_zero = int(h.count) - count, int(h.zero_count) - zero
                writer.varint(new_count - count_delta)
                writer.varint(new_zero - zero_delta)
                count_delta, zero_delta = new_count, new_zero
            window = writer.xor(h.sum, last_sum, window)
            for j, b in enumerate(now):
                delta = b - buckets[j]
                writer.varint(delta - deltas[j])
                deltas[j] = delta
        note(i)
        time, last_sum, buckets = t, h.sum, now
        if not h.is_stale:
            count, zero = int(h.count), int(h.zero_count)


def _encode_floats(writer: BitWriter, group: Sequence[Sample], note: Callable[[int], None]) -> None:
    time = time_delta = 0
    values: list[float] = []
    windows: list[tuple[int, int] | None] = []
    for i, (t, h) in enumerate(group):
        body = (0.0, 0.0, h.sum) if h.is_stale else (
            h.count, h.zero_count, h.sum, *h.positive_buckets, *h.negative_buckets
        )  # fmt: skip
        if i == 0:
            writer.varint(t)
            for value in body:
                writer.double(value)
            windows = [None] * len(body)
        else:
            writer.varint(t - time - time_delta)
            time_delta = t - time
            for j, value in enumerate(body):
                windows[j] = writer.xor(value, values[j], windows[j])
        note(i)
        time = t
        values = list(body)


def decode_histograms(encoding: int, data: bytes) -> list[Sample]:
    """Samples of a chunk's data. Raises CorruptionError."""
    return decode_histograms_with_starts(encoding, data)[0]


def decode_histograms_with_starts(encoding: int, data: bytes) -> tuple[list[Sample], list[int]]:
    """Samples of a chunk's data, and their start timestamps, 0 if unknown. Raises CorruptionError."""
    if len(data) < 3:
        raise CorruptionError("histogram chunk is too short")
    count, third = struct.unpack(">HB", data[:3])
    flags, header = third, 0
    if encoding in (HISTOGRAM_ST, FLOAT_HISTOGRAM_ST):
        flags, header = data[0], third
        count &= _ST_COUNT
    if count == 0:
        return [], []
    reader = BitReader(data[3:])
    layout = _read_layout(reader)
    gauge = flags & _GAUGE_FLAGS == _GAUGE_FLAGS
    begins = StartReader(reader, header)
    read = _read_integers if encoding in (HISTOGRAM, HISTOGRAM_ST) else _read_floats
    samples = []
    for i, (t, h) in enumerate(read(reader, count, layout, begins.take if header else _no_start)):
        known = to_schema(h, SCHEMA_MAX) if h.schema > SCHEMA_MAX else h
        samples.append((t, known if known.is_stale else known.with_hint(_hint(gauge, i))))
    return samples, begins.starts or [0] * count


def _no_start(index: int, t: int, before: int) -> None:
    """Of chunks without start timestamps."""


def _hint(gauge: bool, index: int) -> CounterResetHint:
    """The first sample's hint is unknown even if the chunk says more: the chunk before may be gone."""
    if gauge:
        return CounterResetHint.GAUGE
    return CounterResetHint.NOT_RESET if index else CounterResetHint.UNKNOWN


def _counts_of(layout: FloatHistogram) -> tuple[int, int]:
    return sum(n for _, n in layout.positive_spans), sum(n for _, n in layout.negative_spans)


def _summed(deltas: Sequence[int]) -> tuple[float, ...]:
    total = 0
    out = []
    for delta in deltas:
        total += delta
        out.append(float(total))
    return tuple(out)


def _read_integers(
    reader: BitReader, number: int, layout: FloatHistogram, note: Callable[[int, int, int], None]
) -> list[Sample]:
    positive, negative = _counts_of(layout)
    t = reader.varint()
    count, zero, total = reader.uvarint(), reader.uvarint(), reader.double()
    stale = FloatHistogram(sum=STALE_NAN)
    out: list[Sample] = []

    def sample() -> FloatHistogram:
        made = replace(
            layout,
            count=float(count),
            sum=total,
            zero_count=float(zero),
            positive_buckets=_summed(buckets[:positive]),
            negative_buckets=_summed(buckets[positive:]),
        )
        return stale if made.is_stale else made

    buckets = [reader.varint() for _ in range(positive + negative)]
    deltas = [0] * len(buckets)
    out.append((t, sample()))
    note(0, t, t)
    time_delta = count_delta = zero_delta = 0
    window: tuple[int, int] | None = None
    for i in range(1, number):
        before = t
        time_delta += reader.varint()
        t += time_delta
        count_delta += reader.varint()
        zero_delta += reader.varint()
        count += count_delta
        zero += zero_delta
        total, window = reader.xor(total, window)
        if FloatHistogram(sum=total).is_stale:
            out.append((t, stale))
            note(i, t, before)
            continue
        for j in range(len(buckets)):
            deltas[j] += reader.varint()
            buckets[j] += deltas[j]
        out.append((t, sample()))
        note(i, t, before)
    return out


def _read_floats(
    reader: BitReader, number: int, layout: FloatHistogram, note: Callable[[int, int, int], None]
) -> list[Sample]:
    positive, negative = _counts_of(layout)
    stale = FloatHistogram(sum=STALE_NAN)
    t = reader.varint()
    values = [reader.double() for _ in range(3 + positive + negative)]
    windows: list[tuple[int, int] | None] = [None] * len(values)
    out: list[Sample] = []
    time_delta = 0
    for i in range(number):
        before = t
        if i:
            time_delta += reader.varint()
            t += time_delta
            for j in range(3):
                values[j], windows[j] = reader.xor(values[j], windows[j])
        if FloatHistogram(sum=values[2]).is_stale:
            out.append((t, stale))
            note(i, t, before)
            continue
        if i:
            for j in range(3, len(values)):
                values[j], windows[j] = reader.xor(values[j], windows[j])
        out.append(
            (
                t,
                replace(
                    layout,
                    count=values[0],
                    zero_count=values[1],
                    sum=values[2],
                    positive_buckets=tuple(values[3 : 3 + positive]),
                    negative_buckets=tuple(values[3 + positive :]),
                ),
            )
        )
        note(i, t, before)
    return out
