"""``/api/v1/write``: receiving remote write 1.0 and 2.0.

Follows https://prometheus.io/docs/specs/prw/ (1.0 and 2.0): snappy over protobuf; what cannot be stored is
answered with 400, so that the sender drops it, and the rest of the request is stored; 2.0 says in response
headers how much was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from wavetank.model.labels import Labels
from wavetank.monitoring.remote.codec import (
    Incoming,
    MetadataEntry,
    decode_v1,
    decode_v2,
    unpack,
)
from wavetank.monitoring.remote.fast_write import KnownSeries, scan_request
from wavetank.tsdb.db import DB
from wavetank.tsdb.series_table import key_of
from wavetank.tsdb.wal.records import uvarint

__all__ = ["V1", "V2", "Written", "message_of", "store", "store_body"]

V1: Final = "prometheus.WriteRequest"
V2: Final = "io.prometheus.write.v2.Request"
_FAMILY_SUFFIXES: Final = ("_bucket", "_count", "_sum", "_total", "_info", "_created")


@dataclass(slots=True)
class Written:
    """How much of a request was stored, and why not all of it."""

    samples: int = 0
    histograms: int = 0
    exemplars: int = 0
    problem: str = ""


def message_of(content_type: str) -> str | None:
    """Which message a Content-Type announces; None for one that is not known."""
    media, *parameters = [part.strip() for part in content_type.split(";")]
    if media.lower() != "application/x-protobuf":
        return None
    named = dict(p.partition("=")[::2] for p in parameters)
    found = named.get("proto", V1).strip('"')
    return found if found in (V1, V2) else None


def store_body(db: DB, body: bytes, message: str, known: KnownSeries | None = None) -> Written:
    """Decode and store. Raises RemoteError for a body that is not what was announced; nothing is stored.

    ``known`` remembers the series of earlier requests of 1.0, which makes most of the work unnecessary.
    """
    data = unpack(body)
    if message == V1 and known is not None:
        written = _store_plain(db, data, known)
        if written is not None:
            return written
    if message == V2:
        return store(db, decode_v2(data), {})
    series, metadata = decode_v1(data)
    return store(db, series, metadata)


def _store_plain(db: DB, data: bytes, known: KnownSeries) -> Written | None:
    """Store a request of plain floats; None for one that needs the full decoder."""
    found = scan_request(data)
    if found is None:
        return None
    spans, owners, times, values = found
    refs = known.find(spans)
    missing = np.flatnonzero(refs == 0).tolist()
    if missing:
        # The full decoder checks labels and texts; a series without a name, or one too many, is its to tell.
        series, _ = decode_v1(b"".join(_as_message(spans[i]) for i in missing))
        if not all(entry.labels.name for entry in series):
            return None
        made = _refs_of(db, [entry.labels for entry in series])
        if not all(made):
            return None
        refs[missing] = made
        known.learn([spans[i] for i in missing], made)
    appender = db.appender()
    if len(owners):
        appender.append_batch(refs[owners], times, values)
    counts = appender.commit()
    if counts.unknown_series:
        known.forget()
        return None  # what was stored is "repeated" the second time
    refused = counts.out_of_order + counts.duplicate
    written = Written(counts.appended + counts.backfilled + counts.repeated)
    if refused:
        written.problem = f"{refused} samples were refused: out of order or duplicate"
    return written


def _refs_of(db: DB, series: Sequence[Labels]) -> list[int]:
    """References of series, asked for together; 0 beyond the limit of series."""
    keys = [key_of(labels) for labels in series]
    offsets = np.zeros(len(keys) + 1, np.int64)
    np.cumsum([len(key) for key in keys], out=offsets[1:])
    found: list[int] = db.series_refs(np.frombuffer(bytearray(b"".join(keys)), np.uint8), offsets).tolist()
    return found


def _as_message(labels: bytes) -> bytes:
    """A WriteRequest with one series of these labels and no samples."""
    return b"\x0a" + uvarint(len(labels)) + labels


def store(db: DB, series: Sequence[Incoming], metadata: Mapping[str, MetadataEntry]) -> Written:
    """Append all; samples are acknowledged when this returns."""
    written = Written()
    appender = db.appender()
    refs: list[int] = []
    times: list[int] = []
    values: list[float] = []
    histograms = 0
    named = [entry for entry in series if entry.labels.name]
    nameless = len(series) - len(named)
    for entry, ref in zip(named, _refs_of(db, [entry.labels for entry in named]), strict=True):
        if not ref:
            written.problem = "the limit of series is reached"
            continue
        for at_ms, value in entry.samples:
            refs.append(ref)
            times.append(at_ms)
            values.append(value)
        for at_ms, histogram in entry.histograms:
            appender.append_histogram(ref, None, at_ms, histogram)
            histograms += 1
        for exemplar in entry.exemplars:
            appender.append_exemplar(
                ref, entry.labels, exemplar.labels, exemplar.timestamp_ms, exemplar.value
            )
            written.exemplars += 1
        known = entry.metadata or _known(metadata, entry.labels.name)
        if known is not None:
            appender.update_metadata(ref, known.type, known.help, known.unit)
    if refs:
        appender.append_batch(
            np.array(refs, np.int64), np.array(times, np.int64), np.array(values, np.float64)
        )
    counts = appender.commit()
    refused = counts.out_of_order + counts.duplicate + counts.unknown_series
    stored = counts.appended + counts.backfilled + counts.repeated
    written.histograms = min(histograms, stored)
    written.samples = max(0, stored - written.histograms)
    if refused:
        written.problem = f"{refused} samples were refused: out of order or duplicate"
    elif nameless:
        written.problem = f"{nameless} series have no name"
    return written


def _known(metadata: Mapping[str, MetadataEntry], name: str) -> MetadataEntry | None:
    """What is said of a series' metric, which may be named without the suffix."""
    if not metadata:
        return None
    found = metadata.get(name)
    for suffix in _FAMILY_SUFFIXES:
        if found is None and name.endswith(suffix):
            found = metadata.get(name.removesuffix(suffix))
    return found
