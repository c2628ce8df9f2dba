"""``/api/v1/write``: receiving remote write 1.0 and 2.0.

Follows https://prometheus.io/docs/specs/prw/ (1.0 and 2.0): snappy over protobuf; what cannot be stored is
answered with 400, so that the sender drops it, and the rest of the request is stored; 2.0 says in response
headers how much was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from wavetank.model.labels import Labels
from wavetank.monitoring.remote.codec import (
    Incoming,
    MetadataEntry,
    decode_v1,
    decode_v2,
    unpack_array,
)
from wavetank.monitoring.remote.fast_write import Bytes, Scanned, scan_v1, scan_v2
from wavetank.monitoring.remote.known_series import KnownSeries
from wavetank.tsdb.db import DB
from wavetank.tsdb.series_table import key_of
from wavetank.tsdb.wal.records import uvarint

__all__ = ["V1", "V2", "Written", "message_of", "store", "store_body", "warm"]

Int64s = npt.NDArray[np.int64]
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

    def add(self, other: Written) -> None:
        """Together with what another part of the request came to."""
        self.samples += other.samples
        self.histograms += other.histograms
        self.exemplars += other.exemplars
        self.problem = self.problem or other.problem


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

    ``known`` remembers the series of earlier requests, which makes most of the work unnecessary.
    """
    data = unpack_array(body)
    if message == V2 and (db.options.created_zeros or db.options.start_storage):
        known = None  # only the full decoder looks at start timestamps
    if known is not None:
        found = scan_v1(data) if message == V1 else scan_v2(data)
        written = None if found is None else _store_plain(db, data, message, found, known)
        if written is not None:
            return written
    if message == V2:
        return store(db, decode_v2(data.tobytes()), {})
    series, metadata = decode_v1(data.tobytes())
    return store(db, series, metadata)


def warm() -> None:
    """Load the kernels of receiving, so that the first request does not wait for them."""
    known = KnownSeries()
    for scan in (scan_v1, scan_v2):
        found = scan(np.zeros(0, np.uint8))
        assert found is not None
        known.learn(found.highs, found.lows, found.metadata, np.zeros(0, np.int64))
        known.find(found.highs, found.lows)


def _store_plain(db: DB, data: Bytes, message: str, found: Scanned, known: KnownSeries) -> Written | None:
    """Store a request of plain floats, most of them known; None for one that needs the full decoder."""
    refs, said = known.find(found.highs, found.lows)
    missing = found.plain & (refs == 0)
    told = found.plain & (found.metadata != 0) & (found.metadata != said)
    news = np.flatnonzero(missing | told)
    appender = db.appender()
    if len(news):
        # The full decoder checks labels and texts; a series without a name, or one too many, is its to tell.
        series = _decoded(data, message, found, news)
        if not all(entry.labels.name for entry in series):
            return None
        made = _refs_of(db, [entry.labels for entry in series])
        if not all(made):
            return None
        refs[news] = made
        for ref, entry in zip(made, series, strict=True):
            if entry.metadata is not None:
                appender.update_metadata(ref, *astuple(entry.metadata))
    others = np.flatnonzero(~found.plain)
    rest = _decoded(data, message, found, others) if len(others) else []
    if len(found.owners):
        appender.append_batch(refs[found.owners], found.timestamps_ms, found.values)
    counts = appender.commit()
    if counts.unknown_series:
        known.forget()
        return None  # what was stored is "repeated" the second time
    if len(news):
        known.learn(found.highs[news], found.lows[news], found.metadata[news], refs[news])
    refused = counts.out_of_order + counts.duplicate
    written = Written(counts.appended + counts.backfilled + counts.repeated)
    if refused:
        written.problem = f"{refused} samples were refused: out of order or duplicate"
    if rest:
        written.add(store(db, rest, {}))
    return written


def _decoded(data: Bytes, message: str, found: Scanned, which: Int64s) -> list[Incoming]:
    """Some series of a request, by the full decoder. Raises RemoteError."""
    tag, parts = (b"\x0a", []) if message == V1 else (b"\x2a", [data[: found.symbols_end].tobytes()])
    for begin, end in found.spans[which].tolist():
        parts += (tag, uvarint(end - begin), data[begin:end].tobytes())
    request = b"".join(parts)
    return decode_v1(request)[0] if message == V1 else decode_v2(request)


def _refs_of(db: DB, series: Sequence[Labels]) -> list[int]:
    """References of series, asked for together; 0 beyond the limit of series."""
    keys = [key_of(labels) for labels in series]
    offsets = np.zeros(len(keys) + 1, np.int64)
    np.cumsum([len(key) for key in keys], out=offsets[1:])
    found: list[int] = db.series_refs(np.frombuffer(bytearray(b"".join(keys)), np.uint8), offsets).tolist()
    return found


def store(db: DB, series: Sequence[Incoming], metadata: Mapping[str, MetadataEntry]) -> Written:
    """Append all; samples are acknowledged when this returns."""
    written = Written()
    appender = db.appender()
    refs: list[int] = []
    times: list[int] = []
    values: list[float] = []
    starts: list[int] = []
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
            starts.append(entry.starts.get(at_ms, 0))
        for at_ms, histogram in entry.histograms:
            appender.append_histogram(ref, None, at_ms, histogram, entry.starts.get(at_ms, 0))
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
            np.array(refs, np.int64),
            np.array(times, np.int64),
            np.array(values, np.float64),
            np.array(starts, np.int64),
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
