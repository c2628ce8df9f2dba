"""``/api/v1/read``: answering remote read, with samples or with streamed chunks.

Follows https://prometheus.io/docs/prometheus/latest/querying/remote_read_api/ and
storage/remote/codec.go: external labels are added, and matchers on them are taken out.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from google.protobuf.message import DecodeError

from wavetank.errors import CheckFailed
from wavetank.model.labels import Labels, Matcher, MatchType
from wavetank.model.series import SeriesBatch
from wavetank.monitoring.remote.codec import RemoteError, fill_histogram, unpack
from wavetank.monitoring.remote.messages import ChunkedReadResponse, ReadRequest, ReadResponse
from wavetank.tsdb.chunkenc.histogram import encode_histograms
from wavetank.tsdb.chunkenc.xor import xor_chunk
from wavetank.tsdb.crc32c import checksum
from wavetank.tsdb.db import DB
from wavetank.tsdb.wal.records import uvarint

__all__ = ["STREAMED_TYPE", "chunk_frames", "decode_read", "samples_response", "wants_chunks"]

STREAMED_TYPE: Final = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse"
_SAMPLES, _STREAMED = 0, 1
_CHUNK_SAMPLES: Final = 120
_XOR: Final = 1
_LABELS_ALONE: Final = "series"  # what hints name to ask for no samples
_TYPES: Final = (MatchType.EQUAL, MatchType.NOT_EQUAL, MatchType.REGEXP, MatchType.NOT_REGEXP)


def decode_read(body: bytes) -> Any:
    """The ReadRequest of a body. Raises RemoteError."""
    try:
        return ReadRequest.FromString(unpack(body))
    except DecodeError as error:
        raise RemoteError(f"protobuf: {error}") from None


def wants_chunks(request: Any) -> bool:
    """Whether the first response type we know is streamed chunks. Raises RemoteError if none is known."""
    accepted = list(request.accepted_response_types) or [_SAMPLES]
    for kind in accepted:
        if kind in (_SAMPLES, _STREAMED):
            return bool(kind == _STREAMED)
    raise RemoteError(f"server does not support any of the requested response types: {accepted}")


def _matchers(query: Any, external: Mapping[str, str]) -> list[Matcher]:
    found = []
    for entry in query.matchers:
        if not 0 <= entry.type < len(_TYPES):
            raise RemoteError(f"matcher type {entry.type} is not known")
        kind = _TYPES[entry.type]
        if kind is MatchType.EQUAL and external.get(entry.name) == entry.value:
            continue
        found.append(Matcher(kind, entry.name, entry.value))
    if not found:
        raise RemoteError("a query needs a matcher")
    return found


def _span(query: Any) -> tuple[int, int]:
    """The times asked for; hints narrow them to what the client will look at."""
    start, end = query.start_timestamp_ms, query.end_timestamp_ms
    hints = query.hints
    if hints.start_ms or hints.end_ms:
        start, end = max(start, hints.start_ms), min(end, hints.end_ms)
    return start, end


def _selected(db: DB, query: Any, external: Mapping[str, str]) -> SeriesBatch:
    return db.select(_matchers(query, external), *_span(query))


def _with_external(labels: Labels, external: Mapping[str, str]) -> Labels:
    missing = {name: value for name, value in external.items() if name not in labels}
    return Labels.of(labels.pairs, **missing) if missing else labels


def samples_response(db: DB, request: Any, external: Mapping[str, str], samples_max: int) -> bytes:
    """A ReadResponse. Raises CheckFailed for more samples than allowed, RemoteError for a bad query."""
    response = ReadResponse()
    total = 0
    for query in request.queries:
        result = response.results.add()
        if query.hints.func == _LABELS_ALONE:
            for found in db.series(_matchers(query, external), *_span(query)):
                _fill_labels(result.timeseries.add(), _with_external(found, external))
            continue
        batch = _selected(db, query, external)
        total += len(batch.timestamps_ms)
        if samples_max and total > samples_max:
            raise CheckFailed(f"exceeded sample limit ({samples_max})")
        for i, labels in enumerate(batch.labels):
            _fill_series(result.timeseries.add(), _with_external(labels, external), batch, i)
    data: bytes = response.SerializeToString()
    return data


def _fill_labels(series: Any, labels: Labels) -> None:
    for name, value in labels:
        series.labels.add(name=name, value=value)


def _fill_series(series: Any, labels: Labels, batch: SeriesBatch, index: int) -> None:
    _fill_labels(series, labels)
    first, end = int(batch.offsets[index]), int(batch.offsets[index + 1])
    times, values = batch.timestamps_ms[first:end].tolist(), batch.values[first:end].tolist()
    histograms = None if batch.histograms is None else batch.histograms[first:end]
    for k, (at_ms, value) in enumerate(zip(times, values, strict=True)):
        if histograms is not None and histograms[k] is not None:
            fill_histogram(series.histograms.add(), at_ms, histograms[k])
        else:
            series.samples.add(value=value, timestamp=at_ms)


def chunk_frames(db: DB, request: Any, external: Mapping[str, str], frame_bytes: int) -> Iterator[bytes]:
    """Frames of the streamed answer: size, CRC-32C, ChunkedReadResponse. Raises RemoteError."""
    for number, query in enumerate(request.queries):
        if query.hints.func == _LABELS_ALONE:
            continue  # without chunks there are no frames
        batch = _selected(db, query, external)
        for i, labels in enumerate(batch.labels):
            shown = _with_external(labels, external)
            waiting: list[tuple[int, int, int, bytes]] = []
            size = 0
            for chunk in _chunks(batch, i):
                waiting.append(chunk)
                size += len(chunk[3])
                if size >= frame_bytes:
                    yield _frame(shown, waiting, number)
                    waiting, size = [], 0
            if waiting:
                yield _frame(shown, waiting, number)


def _chunks(batch: SeriesBatch, index: int) -> Iterator[tuple[int, int, int, bytes]]:
    """(first ms, last ms, encoding, bytes) of a series; runs of floats and of histograms alternate."""
    first, end = int(batch.offsets[index]), int(batch.offsets[index + 1])
    native = np.zeros(end - first, np.bool_)
    if batch.histograms is not None:
        native = np.array([h is not None for h in batch.histograms[first:end]], np.bool_)
    cuts = [0, *(np.flatnonzero(np.diff(native)) + 1).tolist(), end - first]
    for low, high in itertools.pairwise(cuts):
        if low == high:
            continue
        if native[low]:
            assert batch.histograms is not None
            run = [
                (int(batch.timestamps_ms[first + k]), batch.histograms[first + k]) for k in range(low, high)
            ]
            yield from encode_histograms(run)
            continue
        for at in range(first + low, first + high, _CHUNK_SAMPLES):
            stop = min(at + _CHUNK_SAMPLES, first + high)
            times = batch.timestamps_ms[at:stop]
            yield int(times[0]), int(times[-1]), _XOR, xor_chunk(times, batch.values[at:stop])


def _frame(labels: Labels, chunks: Sequence[tuple[int, int, int, bytes]], number: int) -> bytes:
    response = ChunkedReadResponse(query_index=number)
    series = response.chunked_series.add()
    _fill_labels(series, labels)
    for first, last, encoding, data in chunks:
        series.chunks.add(min_time_ms=first, max_time_ms=last, type=encoding, data=data)
    body = response.SerializeToString()
    return uvarint(len(body)) + checksum(body).to_bytes(4, "big") + bytes(body)
