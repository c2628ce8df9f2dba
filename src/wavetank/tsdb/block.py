"""A block: an immutable directory of chunks, index, tombstones and meta. Mirrors ``tsdb/block.go``."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from wavetank.jit import kernel
from wavetank.limits import BLOCK_MATCHED_SERIES_KEPT, BLOCK_MATCHED_SERIES_MAX
from wavetank.model.interned import InternedLabels, interned
from wavetank.model.labels import Labels, Matcher
from wavetank.tsdb.chunkenc import XOR
from wavetank.tsdb.chunkenc.bits import Word, u32_at, uvarint_at
from wavetank.tsdb.crc32c import crc32c
from wavetank.tsdb.errors import CorruptionError
from wavetank.tsdb.head import ChunkSet
from wavetank.tsdb.index.reader import IndexReader, SeriesEntries
from wavetank.tsdb.meta import BlockMeta, read_meta
from wavetank.tsdb.plain_read import COUNT, LENGTH, SAMPLES_MAX, SERIES, WHERE, WORD, Chosen
from wavetank.tsdb.postings import matching_rows
from wavetank.tsdb.tombstones import read_tombstones

__all__ = ["CHUNKS_HEADER", "Block", "Matched"]

Bytes = npt.NDArray[np.uint8]
Int64s = npt.NDArray[np.int64]

CHUNKS_HEADER: Final = bytes.fromhex("85bd40dd01000000")


@kernel(inline=True)
def _place(data: Bytes, at: Word, size: Word) -> tuple[Word, Word]:
    """Where the data of a chunk begins and how long it is, its checksum tested; -1 if it is bad."""
    if at < 8 or at >= size:
        return -1, 0
    raw, at = uvarint_at(data, at, size)
    length = np.int64(raw)
    if at < 0 or length < 2 or length > size - at - 5:
        return -1, 0
    if u32_at(data, at + 1 + length) != np.int64(crc32c(data, at, at + 1 + length)):
        return -1, 0
    return at + 1, length


@kernel("int64(uint8[::1], int64[::1], int64[::1], int64[::1], int64[::1])")
def _locate(data: Bytes, offsets: Int64s, starts: Int64s, lengths: Int64s, encodings: Int64s) -> Word:
    """Where the data of chunks is, their checksums tested; returns -1 or the index of a bad one."""
    size = len(data)
    for i in range(len(offsets)):
        start, length = _place(data, offsets[i], size)
        if start < 0:
            return i
        encodings[i] = data[start - 1]
        starts[i] = start
        lengths[i] = length
    return -1


@kernel("int64(int64[::1], int64[::1], int64, int64)", allocates=False)
def _count_inside(mint: Int64s, maxt: Int64s, low: Word, high: Word) -> Word:
    count = 0
    for i in range(len(mint)):
        count += mint[i] <= high and maxt[i] >= low
    return count


@kernel("int64(uint8[::1], int64[::1], int64[::1], int64[::1], int64[::1], int64, int64, int64[:, ::1])")
def _choose(
    data: Bytes,
    refs: Int64s,
    series: Int64s,
    mint: Int64s,
    maxt: Int64s,
    low: Word,
    high: Word,
    out: npt.NDArray[np.int64],
) -> Word:
    """The chunks in the range, where they are in the only segment; returns -1 or the index of a bad one.

    Rows of ``out``: series, source, start, length, encoding, mint, maxt.
    """
    size = len(data)
    n = 0
    for i in range(len(mint)):
        if mint[i] > high or maxt[i] < low:
            continue
        start, length = _place(data, refs[i], size)  # a ref into another segment is beyond this one's end
        if start < 0:
            return i
        out[0, n] = series[i]
        out[1, n] = 0
        out[2, n] = start
        out[3, n] = length
        out[4, n] = data[start - 1]
        out[5, n] = mint[i]
        out[6, n] = maxt[i]
        n += 1
    return -1


@kernel(
    "int64(uint8[::1], int64[::1], int64[::1], int64[::1], int64[::1], int64, int64, int64[:, ::1],"
    " int64[::1])"
)
def _choose_plain(
    data: Bytes,
    refs: Int64s,
    series: Int64s,
    mint: Int64s,
    maxt: Int64s,
    low: Word,
    high: Word,
    out: npt.NDArray[np.int64],
    totals: Int64s,
) -> Word:
    """The same for ``plain_read``, with its columns. ``totals`` get: chunks, samples, words, chunks that are
    not XOR. Chunks that do not fit into ``out`` are counted only."""
    size = len(data)
    n = 0
    samples = np.int64(0)
    words = np.int64(0)
    others = 0
    totals[:] = 0
    for i in range(len(mint)):
        if mint[i] > high or maxt[i] < low:
            continue
        start, length = _place(data, refs[i], size)
        if start < 0:
            return i
        count = (np.int64(data[start]) << 8) | np.int64(data[start + 1])
        if data[start - 1] != XOR:
            others += 1
        if n < len(out):
            out[n, SERIES] = series[i]
            out[n, WHERE] = -1 - start
            out[n, LENGTH] = length
            out[n, COUNT] = count
            out[n, WORD] = words
        samples += count
        words += (length + 7) >> 3
        n += 1
    totals[0] = n
    totals[1] = samples
    totals[2] = words
    totals[3] = others
    return -1


@dataclass(frozen=True, slots=True)
class Matched:
    """Series that matchers choose: ids, entries, each chunk's series, and labels unless there are many."""

    ids: Int64s
    entries: SeriesEntries
    series: Int64s
    labels: InternedLabels | None


class Block:
    """An open block. Safe for any number of readers; ``tombstones`` change under the database's lock."""

    def __init__(self, directory: Path) -> None:
        """Raises CorruptionError naming the file."""
        self.directory = directory
        self.meta: BlockMeta = read_meta(directory)
        self.index = IndexReader(directory / "index")
        self.tombstones = read_tombstones(directory / "tombstones")
        self._matched: dict[tuple[Matcher, ...], Matched] = {}
        self._matched_series = 0
        self._segments: list[Bytes] = []
        for path in sorted((directory / "chunks").glob("[0-9]*")):
            self._segments.append(self._mapped(path))

    @staticmethod
    def _mapped(path: Path) -> Bytes:
        if path.stat().st_size < len(CHUNKS_HEADER):
            raise CorruptionError("chunk file is too short", at=path)
        with path.open("rb") as file:
            data = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY), np.uint8)
        if data[:5].tobytes() != CHUNKS_HEADER[:5]:
            raise CorruptionError(f"invalid chunk file header {data[:8].tobytes().hex()}", at=path)
        return data

    def __repr__(self) -> str:
        return f"Block({self.meta.ulid}, {self.meta.min_time}..{self.meta.max_time})"

    def overlaps(self, mint_ms: int, maxt_ms: int) -> bool:
        """Whether it may have samples in the inclusive range."""
        return self.meta.min_time <= maxt_ms and mint_ms < self.meta.max_time

    @property
    def bytes_on_disk(self) -> int:
        return sum(p.stat().st_size for p in self.directory.rglob("*") if p.is_file())

    def find(self, matchers: Sequence[Matcher]) -> tuple[Int64s, SeriesEntries]:
        """Ids and entries of the matching series, in order of their labels."""
        ids = matching_rows(self.index, matchers)
        return ids, self.index.entries(ids)

    def matched(self, matchers: Sequence[Matcher]) -> Matched:
        """The matching series with their labels. Remembered while few: dashboards and rules ask again."""
        key = tuple(matchers)
        found = self._matched.get(key)
        if found is None:
            ids, entries = self.find(matchers)
            series = np.repeat(np.arange(len(ids)), np.diff(entries.chunk_offsets))
            found = Matched(ids, entries, series, None)
            if len(ids) <= BLOCK_MATCHED_SERIES_MAX:
                found = replace(found, labels=interned(self.index.labels(entries)))
                if self._matched_series > BLOCK_MATCHED_SERIES_KEPT:
                    self._matched.clear()
                    self._matched_series = 0
                self._matched[key] = found
                self._matched_series += 1 + len(ids)
        return found

    def plain_chunks(self, found: Matched, mint_ms: int, maxt_ms: int) -> tuple[Bytes, Chosen] | None:
        """The chunks of the range, if nothing of them was deleted, and they are plain and in one segment."""
        if len(self._segments) != 1 or self.deleted(found.ids):
            return None
        entries, data = found.entries, self._segments[0]
        given = entries.refs, found.series, entries.mint, entries.maxt, mint_ms, maxt_ms
        out, totals = np.empty((2 * len(found.ids) + 8, 5), np.int64), np.empty(4, np.int64)
        bad = _choose_plain(data, *given, out, totals)
        count, samples, words, others = totals.tolist()
        if bad >= 0 or others or samples > SAMPLES_MAX:
            return None
        if count > len(out):
            out = np.empty((count, 5), np.int64)
            _choose_plain(data, *given, out, totals)
        return data, Chosen(out, count, samples, words)

    def labels(self, entries: SeriesEntries) -> list[Labels]:
        return self.index.labels(entries)

    def chunks(
        self, entries: SeriesEntries, mint_ms: int, maxt_ms: int, series: Int64s | None = None
    ) -> ChunkSet:
        """Chunks of decoded series in the inclusive range. Raises CorruptionError.

        ``series`` is which series each chunk belongs to, where that is known already.
        """
        if series is None:
            series = np.repeat(np.arange(len(entries.chunk_offsets) - 1), np.diff(entries.chunk_offsets))
        if len(self._segments) == 1:
            return self._chunks_of_one(entries, mint_ms, maxt_ms, series)
        inside = (entries.mint <= maxt_ms) & (entries.maxt >= mint_ms)
        series, refs = series[inside], entries.refs[inside]
        source = refs >> 32
        offsets = refs & 0xFFFF_FFFF
        starts, lengths, encodings = (np.empty(len(refs), np.int64) for _ in range(3))
        run: Any = _locate
        for segment in np.unique(source).tolist():
            if not 0 <= segment < len(self._segments):
                raise CorruptionError(f"chunk segment {segment + 1} does not exist", at=self.directory)
            which = np.flatnonzero(source == segment)
            parts = tuple(np.empty(len(which), np.int64) for _ in range(3))
            bad = run(self._segments[segment], offsets[which], *parts)
            if bad >= 0:
                raise self._damaged(segment, int(offsets[which][bad]))
            starts[which], lengths[which], encodings[which] = parts
        return ChunkSet(
            series,
            source,
            starts,
            lengths,
            encodings,
            entries.mint[inside],
            entries.maxt[inside],
            list(self._segments),
        )

    def _chunks_of_one(self, entries: SeriesEntries, mint_ms: int, maxt_ms: int, series: Int64s) -> ChunkSet:
        """The same where there is one segment, as nearly always: two passes over the chunks' entries."""
        count = _count_inside(entries.mint, entries.maxt, mint_ms, maxt_ms)
        out = np.empty((7, count), np.int64)
        data = self._segments[0]
        bad = _choose(data, entries.refs, series, entries.mint, entries.maxt, mint_ms, maxt_ms, out)
        if bad >= 0:
            ref = int(entries.refs[bad])
            if ref >> 32:
                raise CorruptionError(f"chunk segment {(ref >> 32) + 1} does not exist", at=self.directory)
            raise self._damaged(0, ref)
        series, source, start, length, encoding, mint, maxt = out
        return ChunkSet(series, source, start, length, encoding, mint, maxt, [data])

    def _damaged(self, segment: int, offset: int) -> CorruptionError:
        return CorruptionError(
            f"chunk at offset {offset} is damaged", at=self.directory / "chunks" / f"{segment + 1:06d}"
        )

    def deleted(self, ids: Int64s) -> list[tuple[int, list[tuple[int, int]]]]:
        """Of these series, those with tombstones: index and ranges."""
        if not len(self.tombstones):
            return []
        return [(i, self.tombstones.of(ref)) for i, ref in enumerate(ids.tolist()) if ref in self.tombstones]

    def close(self) -> None:
        self.index.close()
        self._matched.clear()
        self._segments = []
