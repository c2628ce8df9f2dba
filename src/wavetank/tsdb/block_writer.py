"""Writing a block from chunks that are already encoded. Mirrors ``tsdb/chunks`` and ``tsdb/compact.go``.

The directory is made beside its final place and renamed when everything in it is synced, so a block is there
whole or not at all.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from wavetank.jit import kernel
from wavetank.tsdb.block import CHUNKS_HEADER
from wavetank.tsdb.chunkenc import FLOAT_HISTOGRAM, FLOAT_HISTOGRAM_ST, HISTOGRAM, HISTOGRAM_ST
from wavetank.tsdb.chunkenc.bits import put_u32, put_uvarint
from wavetank.tsdb.crc32c import crc32c
from wavetank.tsdb.decode import count_samples
from wavetank.tsdb.head import ChunkSet
from wavetank.tsdb.index.writer import ChunkMetas, sorted_rows, write_index
from wavetank.tsdb.meta import BlockMeta, Stats, write_meta
from wavetank.tsdb.series_table import SeriesTable
from wavetank.tsdb.tombstones import Tombstones, write_tombstones

__all__ = ["write_block"]

Bytes = npt.NDArray[np.uint8]
Int64s = npt.NDArray[np.int64]

_SEGMENT_BYTES_MAX: Final = 512 * 1024 * 1024
_SLICE_BYTES: Final = 32 * 1024 * 1024  # chunk data in memory at a time
_HISTOGRAMS: Final = (HISTOGRAM, FLOAT_HISTOGRAM, HISTOGRAM_ST, FLOAT_HISTOGRAM_ST)


@kernel("void(uint8[::1], int64[::1], int64[::1], int64[::1], int64[::1], uint8[::1], int64[::1])")
def _put_chunks(
    source: Bytes,
    starts: Int64s,
    lengths: Int64s,
    encodings: Int64s,
    which: Int64s,
    out: Bytes,
    places: Int64s,
) -> None:
    """Chunks with length, encoding and checksum to ``out[places[k]:]``."""
    for k in which:
        length = lengths[k]
        at = put_uvarint(out, places[k], length)
        begin = at
        out[at] = encodings[k]
        out[at + 1 : at + 1 + length] = source[starts[k] : starts[k] + length]
        put_u32(out, at + 1 + length, crc32c(out, begin, begin + 1 + length))


class _Segments:
    """The chunk files of a block, being written."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._number = 0
        self._size = 0
        self._file: Any = None
        directory.mkdir(parents=True)
        self._next()

    def _next(self) -> None:
        self.close()
        self._number += 1
        self._file = (self._directory / f"{self._number:06d}").open("wb")
        self._file.write(CHUNKS_HEADER)
        self._size = len(CHUNKS_HEADER)

    def write(self, body: Bytes) -> int:
        """Returns the reference of the first byte: segment and offset."""
        if self._size + len(body) > _SEGMENT_BYTES_MAX and self._size > len(CHUNKS_HEADER):
            self._next()
        ref = ((self._number - 1) << 32) | self._size
        self._file.write(body.data)
        self._size += len(body)
        return ref

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with file:  # which closes it also where the disk is full
                file.flush()
                os.fsync(file.fileno())


def _write_chunks(chunks: ChunkSet, directory: Path) -> Int64s:
    """Write chunks in their order; returns their references."""
    refs = np.empty(len(chunks.series), np.int64)
    sizes = chunks.length + 5 + _uvarint_sizes(chunks.length)
    segments = _Segments(directory)
    try:
        _put_all(chunks, sizes, np.cumsum(sizes), segments, refs)
    finally:
        segments.close()
    return refs


def _put_all(chunks: ChunkSet, sizes: Int64s, ends: Int64s, segments: _Segments, refs: Int64s) -> None:
    run: Any = _put_chunks
    first = 0
    while first < len(sizes):
        done = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, done + _SLICE_BYTES, "right")))
        places = np.zeros(len(sizes), np.int64)
        places[first:last] = ends[first:last] - sizes[first:last] - done
        out = np.empty(int(ends[last - 1]) - done, np.uint8)
        for source in np.unique(chunks.source[first:last]).tolist():
            which = first + np.flatnonzero(chunks.source[first:last] == source)
            run(
                chunks.buffers[source],
                chunks.start,
                chunks.length,
                chunks.encoding,
                which,
                out,
                places,
            )
        refs[first:last] = segments.write(out) + places[first:last]
        first = last


def _uvarint_sizes(values: Int64s) -> Int64s:
    sizes = np.ones(len(values), np.int64)
    for bits in (7, 14, 21, 28, 35):
        sizes += values >= (1 << bits)
    return sizes


def write_block(parent: Path, table: SeriesTable, chunks: ChunkSet, meta: BlockMeta) -> Path | None:
    """Write ``chunks`` (whose ``series`` are rows of ``table``) as the block ``meta`` describes.

    Its stats are filled in. Returns the directory, or None where there is nothing to write. Raises OSError,
    and leaves nothing behind then: parts of blocks would take what a full disk has left, at each new try.
    """
    if not len(chunks.series):
        return None
    rows = np.unique(chunks.series)
    _, ranks = table.symbols_sorted()
    rows = sorted_rows(table, rows, ranks)
    place = np.empty(len(table), np.int64)
    place[rows] = np.arange(len(rows))
    series = place[chunks.series]
    order = np.lexsort((chunks.mint, series))
    ordered = ChunkSet(
        series[order],
        chunks.source[order],
        chunks.start[order],
        chunks.length[order],
        chunks.encoding[order],
        chunks.mint[order],
        chunks.maxt[order],
        chunks.buffers,
    )
    final = parent / meta.ulid
    temporary = parent / f"{meta.ulid}.tmp-for-creation"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        _write_files(temporary, table, rows, ordered, meta)
        temporary.rename(final)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_directory(parent)
    return final


def _write_files(
    temporary: Path, table: SeriesTable, rows: Int64s, ordered: ChunkSet, meta: BlockMeta
) -> None:
    refs = _write_chunks(ordered, temporary / "chunks")
    offsets = np.searchsorted(ordered.series, np.arange(len(rows) + 1))
    write_index(temporary / "index", table, rows, ChunkMetas(offsets, ordered.mint, ordered.maxt, refs))
    counts = count_samples(ordered)
    histograms = int(counts[np.isin(ordered.encoding, _HISTOGRAMS)].sum())
    total = int(counts.sum())
    meta.stats = Stats(
        num_samples=total,
        num_float_samples=total - histograms,
        num_histogram_samples=histograms,
        num_series=len(rows),
        num_chunks=len(refs),
    )
    write_tombstones(temporary / "tombstones", Tombstones())
    write_meta(temporary, meta)
    sync_directory(temporary)


def sync_directory(directory: Path) -> None:
    """Make renames and new names in it durable."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
