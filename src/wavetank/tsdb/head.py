"""The head: the newest samples of every active series, in memory, as a structure of arrays.

Mirrors ``tsdb/head.go``. One row per series; what differs per row stands in flat arrays, so that appends,
selection and flushing are kernels. Full chunks leave their blocks for a file of ``chunks_head`` and stay
known by 35 bytes. Not thread-safe by itself: ``lock`` is held for every change and while a query copies the
open chunks it needs; decoding happens outside.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from wavetank.jit import kernel
from wavetank.limits import HEAD_CHUNKS_RESERVED, HEAD_ROWS_RESERVED
from wavetank.tsdb.chunkenc.bits import Word
from wavetank.tsdb.chunks_head import HeadChunkFiles, StoredChunks
from wavetank.tsdb.head_append import (
    BIT,
    BLOCKS,
    CHUNK_MIN_T,
    HAS_SAMPLE,
    LAST_IS_HISTOGRAM,
    LAST_T,
    PACKED,
    STATE_WIDTH,
    append_samples,
    close_open_chunks,
)
from wavetank.tsdb.head_blocks import Arena, copy_chains, free_chains
from wavetank.tsdb.head_index import HeadIndex
from wavetank.tsdb.reserve import Reserve
from wavetank.tsdb.series_table import SeriesTable

__all__ = ["REF_MAX", "ChunkSet", "Head"]

Bytes = npt.NDArray[np.uint8]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]

NO_TIME: Final = 1 << 62
_CHUNKS_PER_WRITE: Final = 96  # their bytes stay in the core's own cache from the blocks to the file
REF_MAX: Final = 1 << 32  # refs index a column; larger ones in a log are taken as corruption
_REFS_PER_PAGE: Final = 1024  # of that column


@dataclass(slots=True)
class ChunkSet:
    """Chunks of a selection, in no particular order, and where their bytes are.

    series     int64[k]: index into the selection
    source     int64[k]: index into ``buffers``
    start, length   int64[k]: the chunk's data (without encoding byte) inside its buffer
    encoding   int64[k]
    mint, maxt int64[k]
    """

    series: Int64s
    source: Int64s
    start: Int64s
    length: Int64s
    encoding: Int64s
    mint: Int64s
    maxt: Int64s
    buffers: list[Bytes] = field(default_factory=list)


@kernel(
    "int64(int64[::1], int64, int64, int64[:, ::1], int32[::1], int32[::1], int64[:, ::1], int64[::1],"
    " int64[::1])"
)
def _collect(
    rows: Int64s,
    mint: Word,
    maxt: Word,
    state: npt.NDArray[np.int64],
    last_closed: Int32s,
    closed_prev: Int32s,
    closed_times: npt.NDArray[np.int64],
    out_series: Int64s,
    out_chunk: Int64s,
) -> Word:
    """Chunks of the rows that overlap the range; chunk -1 is the open one. Counts only if out is empty."""
    n = 0
    fill = len(out_series) > 0
    for i in range(len(rows)):
        row = rows[i]
        if (
            state[row, BLOCKS] >= 0
            and state[row, PACKED] & 0xFFFF
            and state[row, CHUNK_MIN_T] <= maxt
            and state[row, LAST_T] >= mint
        ):
            if fill:
                out_series[n] = i
                out_chunk[n] = -1
            n += 1
        chunk = last_closed[row]
        while chunk >= 0:
            if closed_times[chunk, 1] < mint:
                break
            if closed_times[chunk, 0] <= maxt:
                if fill:
                    out_series[n] = i
                    out_chunk[n] = chunk
                n += 1
            chunk = closed_prev[chunk]
    return n


@kernel("boolean(int64[::1], int32[::1])")
def _all_known(refs: Int64s, row_numbers: Int32s) -> bool:
    known = True
    for ref in refs:
        known &= 0 <= ref < len(row_numbers) and row_numbers[ref] > 0
    return known


class Head:
    """Rows of active series and their chunks.

    ``counters`` are: closed chunks, samples appended, smallest time, largest time.
    """

    def __init__(self, chunk_range_ms: int, files: HeadChunkFiles | None = None) -> None:
        self.files = files
        self._in_memory_from = 0  # closed chunks before this one are in files
        self.lock = threading.RLock()
        self.chunk_range_ms = chunk_range_ms
        self.table = SeriesTable()
        self.index = HeadIndex(self.table)
        self.min_valid_ms = -NO_TIME
        self.next_ref = 1
        rows = 1024
        self._columns = {
            "state": Reserve((HEAD_ROWS_RESERVED, STATE_WIDTH), np.int64, rows),
            "last_closed": Reserve((HEAD_ROWS_RESERVED,), np.int32, rows),
            "ref_of_row": Reserve((HEAD_ROWS_RESERVED,), np.int64, rows),
        }
        self._closed_columns = {
            "closed_rows": Reserve((HEAD_CHUNKS_RESERVED,), np.int32, 256),
            "closed_prev": Reserve((HEAD_CHUNKS_RESERVED,), np.int32, 256),
            "closed_times": Reserve((HEAD_CHUNKS_RESERVED, 2), np.int64, 256),
            "closed_where": Reserve((HEAD_CHUNKS_RESERVED,), np.int64, 256),
            "closed_sizes": Reserve((HEAD_CHUNKS_RESERVED, 2), np.int32, 256),
        }
        self._take_views()
        # 1 + the row of each ref, 0 where there is none: refs are never used again, and pages of those that
        # are gone take no memory
        self._row_numbers = Reserve((REF_MAX,), np.int32, rows)
        self.row_numbers: Int32s = self._row_numbers.view
        self._aliases = np.empty(0, np.int64)  # refs that stand for a series with another ref of its own
        self.arena = Arena()
        self.counters = np.array([0, 0, NO_TIME, -NO_TIME], np.int64)

    def _take_views(self) -> None:
        """The columns as long as they are now. Rows without a series yet are not written: pages that nobody
        wrote take no memory."""
        self.state: npt.NDArray[np.int64] = self._columns["state"].view
        self.last_closed: Int32s = self._columns["last_closed"].view
        self.ref_of_row: Int64s = self._columns["ref_of_row"].view
        self.closed_rows: Int32s = self._closed_columns["closed_rows"].view
        self.closed_prev: Int32s = self._closed_columns["closed_prev"].view
        self.closed_times: npt.NDArray[np.int64] = self._closed_columns["closed_times"].view
        self.closed_where: Int64s = self._closed_columns["closed_where"].view
        self.closed_sizes: Int32s = self._closed_columns["closed_sizes"].view

    def __len__(self) -> int:
        return len(self.table)

    @property
    def mint_ms(self) -> int:
        return int(self.counters[2])

    @property
    def maxt_ms(self) -> int:
        return int(self.counters[3])

    @property
    def samples_appended(self) -> int:
        return int(self.counters[1])

    @property
    def open_count(self) -> int:
        """Series with an open float chunk."""
        return int(np.count_nonzero(self.state[: len(self), BLOCKS] >= 0))

    @property
    def closed_count(self) -> int:
        return int(self.counters[0])

    # --- series -------------------------------------------------------------------------------------

    def add_series(self, keys: Bytes, offsets: Int64s, refs: Int64s | None = None) -> tuple[Int64s, Int64s]:
        """Get or create the rows of series keys: ``(refs, indexes of new keys)``; ref 0 is a bad key.

        ``refs`` gives the refs new rows shall have (replay); else they are numbered on.
        """
        before = len(self.table)
        rows = self.table.add(keys, offsets)
        fresh = np.flatnonzero(rows <= -2)
        if len(fresh):
            new_rows = -2 - rows[fresh]
            rows[fresh] = new_rows
            # a key that stands twice in one batch is new only the first time
            self._make_room(len(self.table))
            self.state[before : len(self.table), BLOCKS] = -1
            self.last_closed[before : len(self.table)] = -1
            new_refs = np.arange(self.next_ref, self.next_ref + len(fresh), dtype=np.int64)
            if refs is not None:
                new_refs = np.where(refs[fresh] > 0, refs[fresh], new_refs)
            self.ref_of_row[new_rows] = new_refs
            self.next_ref = max(self.next_ref, int(new_refs.max()) + 1)
            self._make_refs(self.next_ref)
            self.row_numbers[new_refs] = new_rows + 1
        found = np.where(rows >= 0, self.ref_of_row[np.maximum(rows, 0)], 0)
        return found, fresh

    def alias_refs(self, refs: Int64s, to: Int64s) -> None:
        """Let other refs, as found in a log, stand for the series ``to`` already has."""
        if len(refs):
            self._make_refs(int(refs.max()) + 1)
            self.row_numbers[refs] = self.row_numbers[to]
            self._aliases = np.union1d(self._aliases, refs)
            self.next_ref = max(self.next_ref, int(refs.max()) + 1)

    def _make_room(self, rows: int) -> None:
        have = len(self.ref_of_row)
        if rows <= have:
            return
        for column in self._columns.values():
            column.grow(max(rows, have * 3 // 2))
        self._take_views()

    def forget_rows(self, left: int, rows: int) -> None:
        """Rows from ``left`` on have no series any more: their memory goes back."""
        for column in self._columns.values():
            column.clear(left, rows)

    def forget_closed(self, left: int, chunks: int) -> None:
        """The same of full chunks."""
        for column in self._closed_columns.values():
            column.clear(left, chunks)

    def _make_refs(self, refs: int) -> None:
        have = len(self.row_numbers)
        if refs > have:
            self.row_numbers = self._row_numbers.grow(max(refs, have * 3 // 2))

    def renumber(self, gone: Int64s, renumbered: Int32s) -> None:
        """Rows have new numbers, -1 for those that are gone, whose own refs are given."""
        self.row_numbers[gone] = 0
        own = self.ref_of_row[: len(self)]
        self.row_numbers[own] = np.arange(1, len(own) + 1, dtype=np.int32)
        rows = self.row_numbers[self._aliases] - 1
        live = rows >= 0
        rows[live] = renumbered[rows[live]]
        self.row_numbers[self._aliases] = rows + 1
        self._aliases = self._aliases[rows >= 0]
        used = np.zeros(self.next_ref // _REFS_PER_PAGE + 2, np.bool_)
        used[own // _REFS_PER_PAGE] = True
        used[self._aliases // _REFS_PER_PAGE] = True
        edges = np.flatnonzero(np.diff(used, prepend=True, append=True)).tolist()
        for first, end in zip(edges[::2], edges[1::2], strict=True):  # runs of pages without a ref
            self._row_numbers.clear(first * _REFS_PER_PAGE, min(end * _REFS_PER_PAGE, len(self.row_numbers)))

    # --- chunks in files ----------------------------------------------------------------------------

    def load_files(self) -> None:
        """Give each series its chunks in files, before any sample of the log is appended."""
        if self.files is None:
            return
        stored = self.files.load()
        if not len(stored.refs):
            return
        with self.lock:
            self._attach(stored)

    def _attach(self, stored: StoredChunks) -> None:
        known = self.known(stored.refs)
        rows = self.rows_of(np.where(known, stored.refs, 0))
        # another ref of a series (an alias) brings its samples by the log
        keep = known & (stored.maxt >= self.min_valid_ms) & (self.ref_of_row[rows] == stored.refs)
        # sorted by ref and time: a chunk that begins before the one before it ends comes by the log as well
        same = np.zeros(len(rows), np.bool_)
        same[1:] = stored.refs[1:] == stored.refs[:-1]
        rising = np.ones(len(rows), np.bool_)
        rising[1:] = ~same[1:] | (stored.mint[1:] > stored.maxt[:-1])
        which = np.flatnonzero(keep & rising)
        count = len(which)
        if not count:
            return
        first = self.closed_count
        if len(self.closed_rows) < first + count + 1:
            self._grow_tables(force=True, at_least=first + count + 1)
        mine = slice(first, first + count)
        rows = rows[which]
        follows = np.zeros(count, np.bool_)
        follows[1:] = rows[1:] == rows[:-1]
        index = np.arange(first, first + count)
        self.closed_rows[mine] = rows
        self.closed_prev[mine] = np.where(follows, index - 1, -1)
        self.closed_times[mine, 0] = stored.mint[which]
        self.closed_times[mine, 1] = stored.maxt[which]
        self.closed_where[mine] = -1 - stored.where[which]
        self.closed_sizes[mine, 0] = stored.lengths[which]
        self.closed_sizes[mine, 1] = stored.counts[which] | (stored.encodings[which] << 16)
        self.last_closed[rows] = index  # of several, the last assignment stands
        self.state[rows, LAST_T] = stored.maxt[which]
        self.state[rows, PACKED] |= HAS_SAMPLE
        self.counters[0] = first + count
        self.counters[1] += int(stored.counts[which].sum())
        self.counters[2] = min(self.mint_ms, int(stored.mint[which].min()))
        self.counters[3] = max(self.maxt_ms, int(stored.maxt[which].max()))
        self._in_memory_from = self.closed_count

    def spill(self, at_least: int) -> None:
        """Move full chunks to a file if that many wait in memory. The lock must be held."""
        first, count = self._in_memory_from, self.closed_count
        if self.files is None or count - first < at_least:
            return
        waiting = first + np.flatnonzero(self.closed_where[first:count] >= 0)
        for begin in range(0, len(waiting), _CHUNKS_PER_WRITE):
            self._spill_some(self.files, waiting[begin : begin + _CHUNKS_PER_WRITE])
        self._in_memory_from = count

    def _spill_some(self, files: HeadChunkFiles, which: Int64s) -> None:
        packed = self.closed_sizes[which, 1].astype(np.int64)
        firsts = self.closed_where[which]
        sizes = self.closed_sizes[which, 0].astype(np.int64)
        starts = np.cumsum(sizes) - sizes
        chunks = np.empty(int(sizes.sum()), np.uint8)
        copy_chains(firsts, sizes, packed & 0xFFFF, starts, self.arena.words, self.arena.links, chunks)
        places = files.write(
            chunks,
            self.ref_of_row[self.closed_rows[which]],
            starts,
            sizes,
            self.closed_times[which],
            (packed >> 16) & 0xFF,
        )
        self.closed_where[which] = -1 - places
        free_chains(firsts, sizes, self.arena.links, self.arena.state)

    def closed_were_dropped(self) -> None:
        """The table of closed chunks was compressed: look at all of it at the next spill."""
        self._in_memory_from = 0

    def all_known(self, refs: Int64s) -> bool:
        """Whether every ref stands for a series."""
        run: Any = _all_known
        return bool(run(refs, self.row_numbers))

    def known(self, refs: Int64s) -> npt.NDArray[np.bool_]:
        """Which refs stand for a series."""
        inside = (refs >= 0) & (refs < len(self.row_numbers))
        return inside & (self.row_numbers[np.where(inside, refs, 0)] > 0)

    def rows_of(self, refs: Int64s) -> Int64s:
        """The rows of refs that the head has given out, -1 for those that are gone."""
        return self.row_numbers[refs].astype(np.int64) - 1

    def row(self, ref: int) -> int:
        """The row of a ref, -1 if there is none."""
        return int(self.row_numbers[ref]) - 1 if 0 <= ref < len(self.row_numbers) else -1

    # --- samples ------------------------------------------------------------------------------------

    def append(self, refs: Int64s, timestamps_ms: Int64s, values: Float64s) -> Bytes:
        """Append float samples in order; returns each one's outcome (``head_append``)."""
        outcomes = np.empty(len(refs), np.uint8)
        done = 0
        run: Any = append_samples
        while True:
            done = run(
                refs,
                timestamps_ms,
                values,
                done,
                outcomes,
                self.row_numbers,
                *self._tables(),
                self.min_valid_ms,
                self.chunk_range_ms,
            )
            if done == len(refs):
                return outcomes
            self._grow_tables()

    def note_histogram(self, row: int, timestamp_ms: int) -> None:
        """Close the float chunk of a row that takes a native histogram, and remember the sample's time."""
        if self.closed_count + 1 >= len(self.closed_rows):
            self._grow_tables(force=True)
        run: Any = close_open_chunks
        run(np.array([row], np.int64), *self._tables())
        state = self.state[row]
        state[LAST_T] = timestamp_ms
        state[PACKED] = HAS_SAMPLE | LAST_IS_HISTOGRAM
        self.counters[1] += 1
        self.counters[2] = min(self.counters[2], timestamp_ms)
        self.counters[3] = max(self.counters[3], timestamp_ms)

    def _tables(self) -> tuple[Any, ...]:
        return (
            self.state.reshape(-1),
            self.last_closed,
            self.arena.words,
            self.arena.links,
            self.arena.state,
            self.closed_rows,
            self.closed_prev,
            self.closed_times,
            self.closed_where,
            self.closed_sizes,
            self.counters,
        )

    def _grow_tables(self, *, force: bool = False, at_least: int = 0) -> None:
        used = self.closed_count
        if force or used >= len(self.closed_rows):
            for column in self._closed_columns.values():
                column.grow(max(used * 3 // 2 + 256, at_least))
            self._take_views()
        self.arena.grow()

    # --- reading ------------------------------------------------------------------------------------

    def collect(self, rows: Int64s, mint_ms: int, maxt_ms: int) -> ChunkSet:
        """The float chunks of the rows in the range, open ones copied. The lock must be held."""
        arguments = (
            rows,
            mint_ms,
            maxt_ms,
            self.state,
            self.last_closed,
            self.closed_prev,
            self.closed_times,
        )
        none = np.empty(0, np.int64)
        count = _collect(*arguments, none, none)
        series = np.empty(count, np.int64)
        chunk = np.empty(count, np.int64)
        if count:
            _collect(*arguments, series, chunk)
        return self._described(rows, series, chunk)

    def _described(self, rows: Int64s, series: Int64s, chunk: Int64s) -> ChunkSet:
        is_open = chunk < 0
        open_rows = rows[series[is_open]]
        closed = chunk[~is_open]
        where = np.empty(len(chunk), np.int64)
        length = np.empty(len(chunk), np.int64)
        counts = np.empty(len(chunk), np.int64)
        encoding = np.ones(len(chunk), np.int64)
        mint = np.empty(len(chunk), np.int64)
        maxt = np.empty(len(chunk), np.int64)
        state = self.state[open_rows]
        where[is_open] = state[:, BLOCKS] >> 32
        length[is_open] = (state[:, BIT] + 7) >> 3
        counts[is_open] = state[:, PACKED] & 0xFFFF
        mint[is_open] = state[:, CHUNK_MIN_T]
        maxt[is_open] = state[:, LAST_T]
        packed = self.closed_sizes[closed, 1].astype(np.int64)
        where[~is_open] = self.closed_where[closed]
        length[~is_open] = self.closed_sizes[closed, 0]
        counts[~is_open] = packed & 0xFFFF
        encoding[~is_open] = (packed >> 16) & 0xFF
        mint[~is_open] = self.closed_times[closed, 0]
        maxt[~is_open] = self.closed_times[closed, 1]
        source = np.zeros(len(chunk), np.int64)
        in_memory = where >= 0
        sizes = length * in_memory
        start = np.cumsum(sizes) - sizes
        scratch = np.empty(int(sizes.sum()), np.uint8)
        if len(scratch):
            mine = np.flatnonzero(in_memory)
            copy_chains(
                where[mine],
                length[mine],
                counts[mine],
                start[mine],
                self.arena.words,
                self.arena.links,
                scratch,
            )
        buffers = [scratch]
        if self.files is not None and not in_memory.all():
            place = -1 - where
            number = np.where(in_memory, 0, place >> 32)
            start = np.where(in_memory, start, place & 0xFFFF_FFFF)
            for each in np.unique(number[~in_memory]).tolist():
                mine = number == each
                source[mine] = len(buffers)
                buffers.append(self.files.buffer(each, int((start[mine] + length[mine]).max())))
        return ChunkSet(series, source, start, length, encoding, mint, maxt, buffers)

    def open_chunks(self) -> ChunkSet:
        """Copies of the chunks being filled, ``series`` being rows. The lock must be held."""
        state = self.state[: len(self)]
        rows = np.flatnonzero((state[:, BLOCKS] >= 0) & ((state[:, PACKED] & 0xFFFF) > 0))
        return self._described(np.arange(len(self)), rows, np.full(len(rows), -1, np.int64))

    def active(self) -> npt.NDArray[np.bool_]:
        """Rows that have had a sample."""
        return np.asarray((self.state[: len(self), PACKED] & HAS_SAMPLE) != 0)

    def refs_of(self, rows: Sequence[int] | Int64s) -> Int64s:
        return self.ref_of_row[np.asarray(rows, np.int64)]
