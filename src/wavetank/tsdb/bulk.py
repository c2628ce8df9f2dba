"""Blocks straight from columns: backfilling without a head or a log. Mirrors ``tsdb/tsdbblockutil.go``.

Samples gather in columns, in any order and of any age; every few million are grouped by series and written as
blocks of one time slot each. Slots that were written more than once are merged at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from wavetank.clock import Clock
from wavetank.jit import kernel
from wavetank.limits import BULK_SAMPLES_MAX
from wavetank.model.labels import Labels
from wavetank.tsdb.block import Block
from wavetank.tsdb.block_writer import write_block
from wavetank.tsdb.chunkenc.bits import Word
from wavetank.tsdb.compaction import compact_blocks
from wavetank.tsdb.decode import Columns
from wavetank.tsdb.meta import BlockMeta, Compaction, new_ulid
from wavetank.tsdb.options import HOUR_MS
from wavetank.tsdb.rechunk import rechunked
from wavetank.tsdb.series_table import SeriesTable, key_of

__all__ = ["BulkWriter"]

Int64s = npt.NDArray[np.int64]
_SLOTS_AT_ONCE: Final = 0x10000
Float64s = npt.NDArray[np.float64]


@kernel("void(int64[::1], int64[::1], float64[::1], int64[::1], int64[::1], int64[::1], float64[::1])")
def _grouped(
    rows: Int64s,
    times: Int64s,
    values: Float64s,
    next_of_row: Int64s,
    out_rows: Int64s,
    out_times: Int64s,
    out_values: Float64s,
) -> None:
    """Samples by row, in the order they came; ``next_of_row`` is where each row's begin, and is used up."""
    for i in range(len(rows)):
        at = next_of_row[rows[i]]
        next_of_row[rows[i]] = at + 1
        out_rows[at] = rows[i]
        out_times[at] = times[i]
        out_values[at] = values[i]


@kernel("int64(int64[::1], int64[::1])")
def _is_rising(rows: Int64s, times: Int64s) -> Word:
    """1 if times rise strictly within each row."""
    for i in range(1, len(rows)):
        if rows[i] == rows[i - 1] and times[i] <= times[i - 1]:
            return 0
    return 1


class BulkWriter:
    """Collects samples and writes them as blocks of ``width_ms`` below a directory."""

    def __init__(self, directory: Path, clock: Clock, *, width_ms: int = 2 * HOUR_MS) -> None:
        self.directory = directory
        self.samples = 0
        self._clock = clock
        self._width_ms = width_ms
        self._table = SeriesTable()
        self._parts: list[tuple[Int64s, Int64s, Float64s]] = []
        self._held = 0
        self._written: dict[int, list[Path]] = {}

    def rows(self, labels: Sequence[Labels]) -> Int64s:
        """What series are called in ``add``; equal label sets have one row."""
        keys = [key_of(each) for each in labels]
        offsets = np.cumsum([0, *map(len, keys)]).astype(np.int64)
        found = self._table.add(np.frombuffer(bytearray(b"".join(keys) or b"\0"), np.uint8), offsets)
        return np.where(found <= -2, -2 - found, found)

    def add(self, rows: Int64s, timestamps_ms: Int64s, values: Float64s) -> None:
        """Samples in columns. Of equal times of a series one stays."""
        self._parts.append((rows, timestamps_ms, values))
        self._held += len(rows)
        self.samples += len(rows)
        if self._held >= BULK_SAMPLES_MAX:
            self._flush()

    def finish(self) -> list[Path]:
        """Write what is left; returns the blocks' directories, by time."""
        self._flush()
        out = []
        for slot in sorted(self._written):
            paths = self._written[slot]
            out.append(paths[0] if len(paths) == 1 else self._merged(paths))
        return out

    def _merged(self, paths: list[Path]) -> Path:
        blocks = [Block(path) for path in paths]
        made = compact_blocks(self.directory, blocks, self._ulid())
        assert made is not None, "blocks with samples merge to one with samples"
        for block in blocks:
            block.close()
            doomed = block.directory.with_name(block.directory.name + ".tmp-for-deletion")
            block.directory.rename(doomed)
            for path in sorted(doomed.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            doomed.rmdir()
        return made

    def _ulid(self) -> str:
        return new_ulid(int(self._clock.now() * 1000), self._clock.random("tsdb/ulid"))

    def _flush(self) -> None:
        if not self._held:
            return
        rows, times, values = (np.concatenate(column) for column in zip(*self._parts, strict=True))
        self._parts, self._held = [], 0
        rows, times, values = self._ordered(rows, times, values)
        slot = times // self._width_ms
        for base in (np.unique(slot // _SLOTS_AT_ONCE) * _SLOTS_AT_ONCE).tolist():
            inside = np.flatnonzero((slot >= base) & (slot < base + _SLOTS_AT_ONCE))
            near = (slot[inside] - base).astype(np.uint16)  # narrow numbers sort in linear time
            order = inside[np.argsort(near, kind="stable")]
            counts = np.bincount(near)
            ends = np.cumsum(counts)
            for i in np.flatnonzero(counts).tolist():
                part = order[ends[i] - counts[i] : ends[i]]
                self._write((base + i) * self._width_ms, rows[part], times[part], values[part])

    def _ordered(self, rows: Int64s, times: Int64s, values: Float64s) -> tuple[Int64s, Int64s, Float64s]:
        """By row and time, without repeated times."""
        begins = np.zeros(len(self._table) + 1, np.int64)
        begins[1:] = np.cumsum(np.bincount(rows, minlength=len(self._table)))
        out = np.empty_like(rows), np.empty_like(times), np.empty_like(values)
        run: Any = _grouped
        run(rows, times, values, begins, *out)
        if _is_rising(out[0], out[1]):
            return out
        order = np.lexsort((out[1], out[0]))
        rows, times, values = out[0][order], out[1][order], out[2][order]
        fresh = np.ones(len(rows), np.bool_)
        fresh[1:] = (rows[1:] != rows[:-1]) | (times[1:] != times[:-1])
        return rows[fresh], times[fresh], values[fresh]

    def _write(self, start: int, rows: Int64s, times: Int64s, values: Float64s) -> None:
        """One block of samples by row and time."""
        first = np.flatnonzero(np.diff(rows, prepend=-1))
        columns = Columns(np.append(first, len(rows)), times, values)
        ulid = self._ulid()
        meta = BlockMeta(
            ulid=ulid,
            min_time=int(times.min()),
            max_time=int(times.max()) + 1,
            compaction=Compaction(sources=[ulid]),
        )
        made = write_block(self.directory, self._table, rechunked(columns, rows[first]), meta)
        if made is not None:
            self._written.setdefault(start, []).append(made)
