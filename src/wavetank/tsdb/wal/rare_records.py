"""The rarer records, in plain Python: tombstones, exemplars, metadata, native histograms, samples V2.

Mirrors ``tsdb/record/record.go``; ``records`` has the bulk.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from wavetank.model.histogram import CUSTOM_BUCKETS_SCHEMA, CounterResetHint, FloatHistogram, Span
from wavetank.model.labels import Labels
from wavetank.tsdb.chunkenc.histogram import is_integer
from wavetank.tsdb.errors import CorruptionError
from wavetank.tsdb.series_table import key_of
from wavetank.tsdb.wal.records import (
    EXEMPLARS,
    FLOAT_HISTOGRAMS,
    FLOAT_HISTOGRAMS_CUSTOM,
    HISTOGRAMS,
    HISTOGRAMS_CUSTOM,
    METADATA,
    TOMBSTONES,
    Reader,
    uvarint,
    varint,
)

__all__ = [
    "METRIC_TYPES",
    "ExemplarRecord",
    "HistogramRecord",
    "MetadataRecord",
    "TombstoneRecord",
    "decode_exemplars",
    "decode_histograms_record",
    "decode_metadata",
    "decode_samples_v2",
    "decode_tombstones",
    "encode_exemplars",
    "encode_histograms_records",
    "encode_metadata",
    "encode_tombstones",
]

METRIC_TYPES: Final = (
    "unknown",
    "counter",
    "gauge",
    "histogram",
    "gaugehistogram",
    "summary",
    "info",
    "stateset",
)
_ITEMS_MAX: Final = 1 << 20  # spans or buckets of one histogram; more is corruption


class TombstoneRecord(NamedTuple):
    ref: int
    mint_ms: int
    maxt_ms: int


class ExemplarRecord(NamedTuple):
    ref: int
    timestamp_ms: int
    value: float
    labels: Labels


class MetadataRecord(NamedTuple):
    ref: int
    type: str
    unit: str
    help: str


class HistogramRecord(NamedTuple):
    ref: int
    timestamp_ms: int
    histogram: FloatHistogram


def encode_tombstones(items: Sequence[TombstoneRecord]) -> bytes:
    return bytes((TOMBSTONES,)) + b"".join(
        ref.to_bytes(8, "big") + varint(low) + varint(high) for ref, low, high in items
    )


def decode_tombstones(record: bytes) -> Iterator[TombstoneRecord]:
    reader = Reader(record, 1)
    while reader:
        yield TombstoneRecord(reader.u64(), reader.varint(), reader.varint())


def encode_exemplars(items: Sequence[ExemplarRecord]) -> bytes:
    base = items[0]
    out = [bytes((EXEMPLARS,)), struct.pack(">Qq", base.ref, base.timestamp_ms)]
    for ref, t, value, labels in items:
        out += (
            varint(ref - base.ref),
            varint(t - base.timestamp_ms),
            struct.pack(">d", value),
            key_of(labels),
        )
    return b"".join(out)


def decode_exemplars(record: bytes) -> Iterator[ExemplarRecord]:
    reader = Reader(record, 1)
    if not reader:
        return
    ref, time = reader.u64(), reader.i64()
    while reader:
        dref, dtime, value = reader.varint(), reader.varint(), reader.float()
        yield ExemplarRecord(ref + dref, time + dtime, value, Labels(tuple(reader.pairs())))


def encode_metadata(items: Sequence[MetadataRecord]) -> bytes:
    out = [bytes((METADATA,))]
    for ref, kind, unit, help_text in items:
        number = METRIC_TYPES.index(kind) if kind in METRIC_TYPES else 0
        out += (uvarint(ref), bytes((number,)), b"\x02")
        for text in ("UNIT", unit, "HELP", help_text):
            raw = text.encode("utf-8", "surrogateescape")
            out += (uvarint(len(raw)), raw)
    return b"".join(out)


def decode_metadata(record: bytes) -> Iterator[MetadataRecord]:
    reader = Reader(record, 1)
    while reader:
        ref, kind = reader.uvarint(), reader.byte()
        fields = {}
        for _ in range(reader.uvarint()):
            name = reader.text()
            fields[name] = reader.text()
        name = METRIC_TYPES[kind] if kind < len(METRIC_TYPES) else "unknown"
        yield MetadataRecord(ref, name, fields.get("UNIT", ""), fields.get("HELP", ""))


# --- native histograms ------------------------------------------------------------------------------------


def _spans(spans: Sequence[Span]) -> bytes:
    return uvarint(len(spans)) + b"".join(varint(offset) + uvarint(length) for offset, length in spans)


def _integer_buckets(counts: Sequence[float]) -> bytes:
    out = [uvarint(len(counts))]
    last = 0
    for count in counts:
        out.append(varint(int(count) - last))
        last = int(count)
    return b"".join(out)


def _float_buckets(counts: Sequence[float]) -> bytes:
    return uvarint(len(counts)) + struct.pack(f">{len(counts)}d", *counts)


def _encode_body(h: FloatHistogram, integer: bool) -> bytes:
    counts = (0, 0) if h.is_stale and integer else (h.zero_count, h.count)
    out = [bytes((int(h.counter_reset_hint),)), varint(h.schema), struct.pack(">d", h.zero_threshold)]
    if integer:
        out += (uvarint(int(counts[0])), uvarint(int(counts[1])), struct.pack(">d", h.sum))
    else:
        out.append(struct.pack(">ddd", *counts, h.sum))
    out += (_spans(h.positive_spans), _spans(h.negative_spans))
    buckets = _integer_buckets if integer else _float_buckets
    out += (buckets(h.positive_buckets), buckets(h.negative_buckets))
    if h.schema == CUSTOM_BUCKETS_SCHEMA:
        out.append(_float_buckets(h.custom_values))
    return b"".join(out)


def encode_histograms_records(items: Sequence[HistogramRecord]) -> list[bytes]:
    """One record per kind: integer or float counts, exponential or custom buckets."""
    groups: dict[int, list[HistogramRecord]] = {}
    for item in items:
        custom = item.histogram.schema == CUSTOM_BUCKETS_SCHEMA
        if is_integer(item.histogram):
            kind = HISTOGRAMS_CUSTOM if custom else HISTOGRAMS
        else:
            kind = FLOAT_HISTOGRAMS_CUSTOM if custom else FLOAT_HISTOGRAMS
        groups.setdefault(kind, []).append(item)
    records = []
    for kind, group in groups.items():
        base = group[0]
        out = [bytes((kind,)), struct.pack(">Qq", base.ref, base.timestamp_ms)]
        integer = kind in (HISTOGRAMS, HISTOGRAMS_CUSTOM)
        for ref, t, histogram in group:
            out += (varint(ref - base.ref), varint(t - base.timestamp_ms), _encode_body(histogram, integer))
        records.append(b"".join(out))
    return records


def decode_histograms_record(record: bytes) -> Iterator[HistogramRecord]:
    """Of any of the four kinds."""
    integer = record[0] in (HISTOGRAMS, HISTOGRAMS_CUSTOM)
    reader = Reader(record, 1)
    if not reader:
        return
    ref, time = reader.u64(), reader.i64()
    while reader:
        dref, dtime = reader.varint(), reader.varint()
        yield HistogramRecord(ref + dref, time + dtime, _decode_body(reader, integer))


def _many(reader: Reader) -> range:
    count = reader.uvarint()
    if count > _ITEMS_MAX:
        raise CorruptionError(f"a histogram record claims {count} items")
    return range(count)


def _decode_body(reader: Reader, integer: bool) -> FloatHistogram:
    hint = reader.byte()
    schema, threshold = reader.varint(), reader.float()
    if integer:
        zero, count = float(reader.uvarint()), float(reader.uvarint())
    else:
        zero, count = reader.float(), reader.float()
    total = reader.float()
    positive_spans = tuple((reader.varint(), reader.uvarint()) for _ in _many(reader))
    negative_spans = tuple((reader.varint(), reader.uvarint()) for _ in _many(reader))
    positive, negative = _read_buckets(reader, integer), _read_buckets(reader, integer)
    custom = tuple(reader.float() for _ in _many(reader)) if schema == CUSTOM_BUCKETS_SCHEMA else ()
    return FloatHistogram(
        schema,
        count,
        total,
        threshold,
        zero,
        positive_spans,
        positive,
        negative_spans,
        negative,
        custom,
        CounterResetHint(hint) if hint < 4 else CounterResetHint.UNKNOWN,
    )


def _read_buckets(reader: Reader, integer: bool) -> tuple[float, ...]:
    if not integer:
        return tuple(reader.float() for _ in _many(reader))
    total = 0
    out = []
    for _ in _many(reader):
        total += reader.varint()
        out.append(float(total))
    return tuple(out)


# --- samples V2 (read only) -------------------------------------------------------------------------------


def decode_samples_v2(record: bytes) -> tuple[list[int], list[int], list[float]]:
    """Refs, times and values of a record with start timestamps, which are passed over."""
    reader = Reader(record, 1)
    refs: list[int] = []
    times: list[int] = []
    values: list[float] = []
    first = 0
    while reader:
        if not refs:
            refs.append(reader.varint())
            first = reader.varint()
            times.append(first)
            reader.varint()
        else:
            refs.append(refs[-1] + reader.varint())
            times.append(first + reader.varint())
            if reader.byte() == 2:  # an explicit start timestamp follows
                reader.varint()
        values.append(reader.float())
    return refs, times, values
