"""The rarer records, in plain Python: tombstones, exemplars, metadata, native histograms.

Mirrors ``tsdb/record/record.go``; ``records`` has the bulk.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from wavetank.model.histogram import (
    CUSTOM_BUCKETS_SCHEMA,
    SCHEMA_MAX,
    CounterResetHint,
    FloatHistogram,
    Span,
)
from wavetank.model.histogram_math import to_schema
from wavetank.model.labels import Labels
from wavetank.tsdb.chunkenc.histogram import SCHEMAS_RESERVED
from wavetank.tsdb.errors import CorruptionError
from wavetank.tsdb.series_table import key_of
from wavetank.tsdb.wal.records import (
    EXEMPLARS,
    FLOAT_HISTOGRAMS,
    FLOAT_HISTOGRAMS_CUSTOM,
    FLOAT_HISTOGRAMS_V2,
    HISTOGRAMS,
    HISTOGRAMS_CUSTOM,
    HISTOGRAMS_V2,
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
    "decode_tombstones",
    "encode_exemplars",
    "encode_histogram",
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
    """``floats`` says that it is written with float counts; it must be set where they are not whole."""

    ref: int
    timestamp_ms: int
    histogram: FloatHistogram
    start_ms: int = 0  # unknown
    floats: bool = False


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


def encode_histogram(h: FloatHistogram, integer: bool) -> bytes:
    """One histogram as records have it, its counts whole numbers or floats."""
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


def encode_histograms_records(items: Sequence[HistogramRecord], *, with_starts: bool = False) -> list[bytes]:
    """One record per kind: integer or float counts, exponential or custom buckets; V2 ones hold both.

    More where a series changes its kind, so that reading the records in order gives its samples in order.
    """
    encode = _encode_with_starts if with_starts else _encode_group
    records: list[bytes] = []
    groups: dict[int, list[HistogramRecord]] = {}
    kind_of: dict[int, int] = {}
    for item in items:
        kind = _kind(item, with_starts)
        if kind_of.setdefault(item.ref, kind) != kind:
            records += [encode(k, group) for k, group in groups.items()]
            groups, kind_of = {}, {item.ref: kind}
        groups.setdefault(kind, []).append(item)
    return records + [encode(k, group) for k, group in groups.items()]


def _kind(item: HistogramRecord, with_starts: bool) -> int:
    if with_starts:
        return FLOAT_HISTOGRAMS_V2 if item.floats else HISTOGRAMS_V2
    if item.histogram.schema == CUSTOM_BUCKETS_SCHEMA:
        return FLOAT_HISTOGRAMS_CUSTOM if item.floats else HISTOGRAMS_CUSTOM
    return FLOAT_HISTOGRAMS if item.floats else HISTOGRAMS


def _encode_group(kind: int, group: Sequence[HistogramRecord]) -> bytes:
    base = group[0]
    out = [bytes((kind,)), struct.pack(">Qq", base.ref, base.timestamp_ms)]
    integer = kind in (HISTOGRAMS, HISTOGRAMS_CUSTOM)
    for item in group:
        out += (varint(item.ref - base.ref), varint(item.timestamp_ms - base.timestamp_ms))
        out.append(encode_histogram(item.histogram, integer))
    return b"".join(out)


def _encode_with_starts(kind: int, group: Sequence[HistogramRecord]) -> bytes:
    """Numbers as in samples V2 records (``start_records``)."""
    first = before = group[0]
    out = [bytes((kind,)), varint(first.ref), varint(first.timestamp_ms), varint(first.start_ms)]
    for i, item in enumerate(group):
        if i:
            out += (varint(item.ref - before.ref), varint(item.timestamp_ms - first.timestamp_ms))
            if item.start_ms == 0:
                out.append(b"\0")
            elif item.start_ms == before.start_ms:
                out.append(b"\1")
            else:
                out.append(b"\2" + varint(item.start_ms - first.start_ms))
        out.append(encode_histogram(item.histogram, kind == HISTOGRAMS_V2))
        before = item
    return b"".join(out)


def decode_histograms_record(record: bytes) -> Iterator[HistogramRecord]:
    """Of any of the six kinds. Those of unknown schemas are left out, too fine ones made coarser."""
    v2 = record[0] in (HISTOGRAMS_V2, FLOAT_HISTOGRAMS_V2)
    for item in (_decode_with_starts if v2 else _decode_group)(record):
        schema = item.histogram.schema
        if schema > SCHEMA_MAX:
            coarser = to_schema(item.histogram, SCHEMA_MAX)
            yield item._replace(histogram=coarser.with_hint(item.histogram.counter_reset_hint))
        else:
            yield item


def _decode_group(record: bytes) -> Iterator[HistogramRecord]:
    integer = record[0] in (HISTOGRAMS, HISTOGRAMS_CUSTOM)
    reader = Reader(record, 1)
    if not reader:
        return
    ref, time = reader.u64(), reader.i64()
    while reader:
        dref, dtime = reader.varint(), reader.varint()
        histogram = _decode_body(reader, integer)
        if _is_known(histogram.schema):
            yield HistogramRecord(ref + dref, time + dtime, histogram, floats=not integer)


def _decode_with_starts(record: bytes) -> Iterator[HistogramRecord]:
    integer = record[0] == HISTOGRAMS_V2
    reader = Reader(record, 1)
    if not reader:
        return
    ref, time, start = reader.varint(), reader.varint(), reader.varint()
    first_time, first_start = time, start
    while True:
        histogram = _decode_body(reader, integer)
        if _is_known(histogram.schema):
            yield HistogramRecord(ref, time, histogram, start, not integer)
        if not reader:
            return
        ref += reader.varint()
        time = first_time + reader.varint()
        mark = reader.byte()
        if mark == 0:
            start = 0
        elif mark != 1:
            start = first_start + reader.varint()


def _is_known(schema: int) -> bool:
    return schema == CUSTOM_BUCKETS_SCHEMA or SCHEMAS_RESERVED[0] <= schema <= SCHEMAS_RESERVED[1]


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
