"""Remote read: queries over the local storage and over others as if they were one.

Mirrors storage/remote/read.go and storage/fanout.go: sections that read recent data or not, required
matchers, external labels as matchers. A remote that fails costs a warning, not the query.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from google.protobuf.message import DecodeError

from wavetank.clock import Clock
from wavetank.limits import REMOTE_READ_BYTES_MAX
from wavetank.model.labels import Labels, Matcher, MatchType
from wavetank.model.series import SelectHints, SeriesBatch
from wavetank.monitoring.config import Config
from wavetank.monitoring.config.model import RemoteRead
from wavetank.monitoring.http_client import FETCH_ERRORS, HTTPClient
from wavetank.monitoring.remote.codec import RemoteError, histogram_of, pack, unpack
from wavetank.monitoring.remote.merge import Columns, batch_of, merged
from wavetank.monitoring.remote.messages import ChunkedReadResponse, ReadRequest, ReadResponse
from wavetank.monitoring.tracing import Tracer
from wavetank.monitoring.tracing.span import CLIENT
from wavetank.tsdb.chunkenc import FLOAT_HISTOGRAM, HISTOGRAM, XOR, XOR2
from wavetank.tsdb.chunkenc.histogram import decode_histograms
from wavetank.tsdb.chunkenc.xor import decode_xor
from wavetank.tsdb.chunkenc.xor2 import decode_xor2
from wavetank.tsdb.crc32c import checksum
from wavetank.tsdb.db import DB
from wavetank.tsdb.errors import CorruptionError
from wavetank.tsdb.head import ChunkSet
from wavetank.tsdb.querier import Found

__all__ = [
    "READ_HEADERS",
    "FanOut",
    "decode_frames",
    "decode_samples_answer",
    "found_in_frames",
    "read_request",
]

_TYPES: Final = {
    MatchType.EQUAL: 0,
    MatchType.NOT_EQUAL: 1,
    MatchType.REGEXP: 2,
    MatchType.NOT_REGEXP: 3,
}
_STREAMED, _SAMPLES = 1, 0
_FOREVER_MS: Final = 1 << 62
_NONE: Final = np.empty(0, np.int64)
READ_HEADERS: Final = {
    "Content-Encoding": "snappy",
    "Accept-Encoding": "snappy",
    "Content-Type": "application/x-protobuf",
    "User-Agent": "Prometheus/3.14.0",
    "X-Prometheus-Remote-Read-Version": "0.1.0",
}


class FanOut:
    """The local storage, and every ``remote_read`` section. Queries call it from threads."""

    def __init__(self, db: DB, clock: Clock, tracer: Tracer | None = None) -> None:
        self._tracer = tracer
        self._db = db
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._sections: list[tuple[RemoteRead, HTTPClient]] = []
        self._external: Mapping[str, str] = {}

    async def apply(self, config: Config) -> None:
        """Take another configuration."""
        before, self._sections = self._sections, []
        for _, client in before:
            await client.close()
        self._external = config.globals.external_labels
        self._sections = [
            (section, HTTPClient(section, self._clock, tracer=self._tracer)) for section in config.remote_read
        ]

    def is_idle(self) -> bool:
        """Whether a read would begin at once: no remote to ask, nobody at work on the head."""
        lock = self._db.store.head.lock
        if self._sections or not lock.acquire(blocking=False):
            return False
        lock.release()
        return True

    async def close(self) -> None:
        for _, client in self._sections:
            await client.close()
        self._sections = []

    def select(
        self, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int, hints: SelectHints | None = None
    ) -> SeriesBatch:
        """As the local storage, with what the remotes have. Raises what it raises."""
        wanted = []
        for section, client in self._sections:
            until = self._until(section, matchers, mint_ms, maxt_ms)
            if until is not None:
                wanted.append(
                    asyncio.run_coroutine_threadsafe(
                        self._ask(section, client, matchers, mint_ms, until, hints), self._loop
                    )
                )
        local = self._db.select(matchers, mint_ms, maxt_ms, hints)
        if not wanted:
            return local
        answers = [future.result() for future in wanted]
        return merged([local, *answers])

    def series(self, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int) -> Sequence[Labels]:
        return self._db.series(matchers, mint_ms, maxt_ms)

    def label_names(self, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int) -> Sequence[str]:
        return self._db.label_names(matchers, mint_ms, maxt_ms)

    def label_values(
        self, name: str, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int
    ) -> Sequence[str]:
        return self._db.label_values(name, matchers, mint_ms, maxt_ms)

    def _until(
        self, section: RemoteRead, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int
    ) -> int | None:
        """The last instant to ask the section for; None if it is not asked."""
        equal = {m.name: m.value for m in matchers if m.type is MatchType.EQUAL}
        if any(equal.get(name) != value for name, value in section.required_matchers.items()):
            return None
        if section.read_recent:
            return maxt_ms
        begins = self._local_begin_ms()
        return None if mint_ms >= begins else min(maxt_ms, begins)

    def _local_begin_ms(self) -> int:
        """When the local storage's samples begin; what is before is the remotes' alone."""
        head = self._db.store.head
        begins = [block.meta.min_time for block in self._db.blocks]
        if head.samples_appended:
            begins.append(head.mint_ms)
        return min(begins, default=_FOREVER_MS)

    async def _ask(
        self,
        section: RemoteRead,
        client: HTTPClient,
        matchers: Sequence[Matcher],
        mint_ms: int,
        maxt_ms: int,
        hints: SelectHints | None,
    ) -> SeriesBatch:
        """What a remote has; nothing and a warning if it fails."""
        named = {matcher.name for matcher in matchers}
        added = {}
        if section.filter_external_labels:
            added = {n: v for n, v in self._external.items() if n not in named}
        request = read_request(matchers, mint_ms, maxt_ms)
        (query,) = request.queries
        for name, value in added.items():
            query.matchers.add(type=0, name=name, value=value)
        if hints is not None:
            query.hints.start_ms, query.hints.end_ms = hints.start_ms, hints.end_ms
            query.hints.step_ms, query.hints.func = hints.step_ms, hints.func
            query.hints.range_ms = hints.range_ms
        try:
            with client.tracer.span("Remote Read", {"remote_url": section.url}, kind=CLIENT):
                kind, body = await self._post(section, client, pack(request.SerializeToString()))
            return await asyncio.to_thread(
                _decoded, kind, body, section.chunked_read_limit, added, mint_ms, maxt_ms
            )
        except (*FETCH_ERRORS, RemoteError, CorruptionError) as error:
            text = f"remote_read: remote server {section.url} {str(error) or type(error).__name__}"
            return batch_of({}, warnings=[text])

    async def _post(self, section: RemoteRead, client: HTTPClient, body: bytes) -> tuple[str, bytes]:
        headers = {**READ_HEADERS, **section.headers}
        async with client.request(
            "POST",
            section.url,
            headers=headers,
            data=body,
            timeout_seconds=section.remote_timeout.seconds,
        ) as response:
            parts = bytearray()
            async for part in response.content.iter_any():
                parts += part
                if len(parts) > REMOTE_READ_BYTES_MAX:
                    raise RemoteError(f"answered with more than {REMOTE_READ_BYTES_MAX} bytes")
            if response.status // 100 != 2:
                text = bytes(parts[:200]).decode("utf-8", "replace").strip()
                raise RemoteError(f"returned HTTP status {response.status}: {text}")
            return response.headers.get("Content-Type", ""), bytes(parts)


def read_request(matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int) -> Any:
    """A ReadRequest with one query, that takes streamed chunks and samples."""
    request = ReadRequest(accepted_response_types=[_STREAMED, _SAMPLES])
    query = request.queries.add(start_timestamp_ms=mint_ms, end_timestamp_ms=maxt_ms)
    for matcher in matchers:
        query.matchers.add(type=_TYPES[matcher.type], name=matcher.name, value=matcher.value)
    return request


def _decoded(
    kind: str, body: bytes, limit: int, added: Mapping[str, str], mint_ms: int, maxt_ms: int
) -> SeriesBatch:
    streamed = "x-streamed-protobuf" in kind
    found = decode_frames(body, limit) if streamed else decode_samples_answer(unpack(body))
    columns: dict[Labels, list[Columns]] = {}
    for labels, part in found:
        shown = labels.without(*[n for n, v in added.items() if labels.get(n) == v]) if added else labels
        columns.setdefault(shown, []).append(part.between(mint_ms, maxt_ms))
    return batch_of(columns)


def decode_samples_answer(data: bytes) -> Iterator[tuple[Labels, Columns]]:
    """The series of a ReadResponse. Raises RemoteError."""
    try:
        response = ReadResponse.FromString(data)
    except DecodeError as error:
        raise RemoteError(f"protobuf: {error}") from None
    for result in response.results:
        for series in result.timeseries:
            samples: list[tuple[int, float, Any]] = [(s.timestamp, s.value, None) for s in series.samples]
            samples += [(h.timestamp, 0.0, histogram_of(h)) for h in series.histograms]
            samples.sort(key=lambda sample: sample[0])
            yield _labels(series.labels), Columns.of(samples)


def decode_frames(body: bytes, limit: int = 0) -> Iterator[tuple[Labels, Columns]]:
    """The series of a streamed answer, chunk by chunk. Raises RemoteError, also for messages of more than
    ``limit`` bytes, and CorruptionError."""
    for response in _frames(body, limit):
        for series in response.chunked_series:
            labels = _labels(series.labels)
            for chunk in series.chunks:
                yield labels, _chunk(chunk.type, chunk.data)


def found_in_frames(body: bytes) -> Found:
    """The chunks of a streamed answer as they are, to be decoded together. Raises RemoteError."""
    place: dict[Labels, int] = {}
    rows: list[tuple[int, int, int, int, int]] = []
    parts: list[bytes] = []
    for response in _frames(body, 0):
        for series in response.chunked_series:
            at = place.setdefault(_labels(series.labels), len(place))
            for chunk in series.chunks:
                _check_chunk(chunk.type, chunk.data)
                parts.append(chunk.data)
                rows.append((at, len(chunk.data), chunk.type, chunk.min_time_ms, chunk.max_time_ms))
    if not rows:
        return Found([], ChunkSet(_NONE, _NONE, _NONE, _NONE, _NONE, _NONE, _NONE, []))
    series_of, lengths, encodings, mint, maxt = (
        np.array(column, np.int64) for column in zip(*rows, strict=True)
    )
    buffer = np.frombuffer(bytearray(b"".join(parts)), np.uint8)
    starts = np.cumsum(lengths) - lengths
    chunks = ChunkSet(
        series_of, np.zeros(len(rows), np.int64), starts, lengths, encodings, mint, maxt, [buffer]
    )
    return Found(list(place), chunks)


def _check_chunk(encoding: int, data: bytes) -> None:
    """Raises RemoteError for a chunk that cannot be what it claims."""
    if encoding not in (XOR, XOR2, HISTOGRAM, FLOAT_HISTOGRAM) or len(data) < 2:
        raise RemoteError(f"chunk encoding {encoding} is not known")
    count = int.from_bytes(data[:2], "big")
    if count > 2 + 8 * len(data):
        raise RemoteError(f"a chunk of {len(data)} bytes claims {count} samples")


def _frames(body: bytes, limit: int) -> Iterator[Any]:
    at = 0
    while at < len(body):
        size, at = _uvarint(body, at)
        if limit and size > limit:
            raise RemoteError(f"a message of {size} bytes is larger than chunked_read_limit, {limit}")
        data = body[at + 4 : at + 4 + size]
        if len(data) < size or checksum(data) != int.from_bytes(body[at : at + 4], "big"):
            raise RemoteError("a frame is cut off or damaged")
        at += 4 + size
        try:
            yield ChunkedReadResponse.FromString(data)
        except DecodeError as error:
            raise RemoteError(f"protobuf: {error}") from None


def _uvarint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 35:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise RemoteError("a frame's size is cut off")


def _labels(pairs: Any) -> Labels:
    return Labels.of([(pair.name, pair.value) for pair in pairs])


def _chunk(encoding: int, data: bytes) -> Columns:
    if encoding in (HISTOGRAM, FLOAT_HISTOGRAM):
        return Columns.of([(at_ms, 0.0, found) for at_ms, found in decode_histograms(encoding, data)])
    _check_chunk(encoding, data)
    count = int.from_bytes(data[:2], "big")
    times, values = np.zeros(count, np.int64), np.zeros(count, np.float64)
    run: Any = decode_xor if encoding == XOR else decode_xor2
    one = np.zeros(1, np.int64)
    bad = run(
        np.frombuffer(bytearray(data), np.uint8),
        one,
        np.array([len(data)], np.int64),
        np.array([count], np.int64),
        one,
        times,
        values,
        0,
        1,
    )
    if bad >= 0:
        raise RemoteError("a chunk ends before its samples do")
    return Columns(times, values, None)
