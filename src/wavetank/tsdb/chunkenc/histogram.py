"""Native histogram chunks, integer and float. Mirrors ``chunkenc/histogram.go`` and ``float_histogram.go``.

Sample count (u16), flags (what is known of counter resets), the layout all samples of the chunk share, then
the samples. Where the layout changes, a counter was reset, or a series went stale, the writer starts a new
chunk; upstream recodes the old one instead when only buckets were added, which packs a little tighter.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from wavetank.model.histogram import (
    CUSTOM_BUCKETS_SCHEMA,
    CounterResetHint,
    FloatHistogram,
    Span,
)
from wavetank.model.value import STALE_NAN
from wavetank.tsdb.chunkenc import FLOAT_HISTOGRAM, HISTOGRAM
from wavetank.tsdb.chunkenc.varbit import BitReader, BitWriter
from wavetank.tsdb.errors import CorruptionError

__all__ = ["decode_histograms", "encode_histograms", "is_integer", "starts_new_chunk"]

_Sample = tuple[int, FloatHistogram]
_FLAGS: Final = {
    CounterResetHint.UNKNOWN: 0x00,
    CounterResetHint.RESET: 0x80,
    CounterResetHint.NOT_RESET: 0x40,
    CounterResetHint.GAUGE: 0xC0,
}
_GAUGE_FLAGS: Final = 0xC0
_COUNT_MAX: Final = 1 << 62
_BUCKETS_MAX: Final = 1 << 20  # a chunk that claims more is corrupt
SAMPLES_PER_CHUNK: Final = 120


def is_integer(h: FloatHistogram) -> bool:
    """Whether all counts are whole, so that the integer encoding holds them. Stale markers are."""
    if h.is_stale:
        return True
    return all(
        math.isfinite(c) and 0 <= c < _COUNT_MAX and c == int(c)
        for c in (h.count, h.zero_count, *h.positive_buckets, *h.negative_buckets)
    )


def _layout(h: FloatHistogram) -> tuple[object, ...]:
    return (h.schema, h.zero_threshold, h.positive_spans, h.negative_spans, h.custom_values)


def _was_reset(before: FloatHistogram, now: FloatHistogram) -> bool:
    if now.counter_reset_hint is CounterResetHint.RESET:
        return True
    return (
        now.count < before.count
        or now.zero_count < before.zero_count
        or any(n < b for n, b in zip(now.positive_buckets, before.positive_buckets, strict=True))
        or any(n < b for n, b in zip(now.negative_buckets, before.negative_buckets, strict=True))
    )


def starts_new_chunk(before: FloatHistogram, now: FloatHistogram) -> bool:
    """Whether ``now`` cannot stand in the chunk that ends with ``before``."""
    if before.is_stale:
        return True
    if now.is_stale:
        return False
    gauge = now.counter_reset_hint is CounterResetHint.GAUGE
    if gauge != (before.counter_reset_hint is CounterResetHint.GAUGE):
        return True
    if _layout(before) != _layout(now):
        return True
    return not gauge and _was_reset(before, now)


def encode_histograms(samples: Sequence[_Sample]) -> list[tuple[int, int, int, bytes]]:
    """Chunks of the samples: ``(mint, maxt, encoding, data)``."""
    groups: list[list[_Sample]] = []
    for sample in samples:
        group = groups[-1] if groups else None
        if (
            group is None
            or len(group) >= SAMPLES_PER_CHUNK
            or is_integer(group[0][1]) != is_integer(sample[1])
            or starts_new_chunk(group[-1][1], sample[1])
        ):
            groups.append([sample])
        else:
            group.append(sample)
    out = []
    previous: FloatHistogram | None = None
    for group in groups:
        encoding = HISTOGRAM if is_integer(group[0][1]) else FLOAT_HISTOGRAM
        out.append((group[0][0], group[-1][0], encoding, _encode(group, encoding, previous)))
        previous = group[-1][1]
    return out


def _chunk_flags(first: FloatHistogram, previous: FloatHistogram | None) -> int:
    hint = first.counter_reset_hint
    if hint is CounterResetHint.UNKNOWN and previous is not None and not previous.is_stale:
        same = _layout(previous) == _layout(first)
        if same and previous.counter_reset_hint is not CounterResetHint.GAUGE:
            hint = CounterResetHint.RESET if _was_reset(previous, first) else CounterResetHint.NOT_RESET
    return _FLAGS[hint]


def _encode(group: Sequence[_Sample], encoding: int, previous: FloatHistogram | None) -> bytes:
    first = group[0][1]
    if first.is_stale:
        first = FloatHistogram(sum=first.sum)
    writer = BitWriter()
    _put_layout(writer, first)
    (_encode_integers if encoding == HISTOGRAM else _encode_floats)(writer, group)
    return struct.pack(">HB", len(group), _chunk_flags(first, previous)) + writer.to_bytes()


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
    if schema != CUSTOM_BUCKETS_SCHEMA and not -4 <= schema <= 8:
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


def _encode_integers(writer: BitWriter, group: Sequence[_Sample]) -> None:
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
        time, last_sum, buckets = t, h.sum, now
        if not h.is_stale:
            count, zero = int(h.count), int(h.zero_count)


def _encode_floats(writer: BitWriter, group: Sequence[_Sample]) -> None:
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
        time = t
        values = list(body)


def decode_histograms(encoding: int, data: bytes) -> list[_Sample]:
    """Samples of a chunk's data. Raises CorruptionError."""
    if len(data) < 3:
        raise CorruptionError("histogram chunk is too short")
    count, flags = struct.unpack(">HB", data[:3])
    if count == 0:
        return []
    reader = BitReader(data[3:])
    layout = _read_layout(reader)
    gauge = flags & _GAUGE_FLAGS == _GAUGE_FLAGS
    read = _read_integers if encoding == HISTOGRAM else _read_floats
    return [(t, h.with_hint(_hint(gauge, i))) for i, (t, h) in enumerate(read(reader, count, layout))]


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


def _read_integers(reader: BitReader, number: int, layout: FloatHistogram) -> list[_Sample]:
    positive, negative = _counts_of(layout)
    t = reader.varint()
    count, zero, total = reader.uvarint(), reader.uvarint(), reader.double()
    stale = FloatHistogram(sum=STALE_NAN)
    out: list[_Sample] = []

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
    time_delta = count_delta = zero_delta = 0
    window: tuple[int, int] | None = None
    for _ in range(1, number):
        time_delta += reader.varint()
        t += time_delta
        count_delta += reader.varint()
        zero_delta += reader.varint()
        count += count_delta
        zero += zero_delta
        total, window = reader.xor(total, window)
        if FloatHistogram(sum=total).is_stale:
            out.append((t, stale))
            continue
        for j in range(len(buckets)):
            deltas[j] += reader.varint()
            buckets[j] += deltas[j]
        out.append((t, sample()))
    return out


def _read_floats(reader: BitReader, number: int, layout: FloatHistogram) -> list[_Sample]:
    positive, negative = _counts_of(layout)
    stale = FloatHistogram(sum=STALE_NAN)
    t = reader.varint()
    values = [reader.double() for _ in range(3 + positive + negative)]
    windows: list[tuple[int, int] | None] = [None] * len(values)
    out: list[_Sample] = []
    time_delta = 0
    for i in range(number):
        if i:
            time_delta += reader.varint()
            t += time_delta
            for j in range(3):
                values[j], windows[j] = reader.xor(values[j], windows[j])
        if FloatHistogram(sum=values[2]).is_stale:
            out.append((t, stale))
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
    return out
