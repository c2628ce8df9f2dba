"""One slot of time: what is there already, and writing what is not."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wavetank.clock import Clock
from wavetank.errors import InputError
from wavetank.limits import IMPORT_CHUNK_BYTES_MAX, IMPORT_DISK_RESERVE_BYTES
from wavetank.model.labels import Labels
from wavetank.tsdb.block_writer import write_block
from wavetank.tsdb.db import DB
from wavetank.tsdb.decode import Columns, decode, joined, subset
from wavetank.tsdb.head import ChunkSet
from wavetank.tsdb.meta import BlockMeta, Compaction, new_ulid
from wavetank.tsdb.querier import Found, merged
from wavetank.tsdb.rechunk import rechunked
from wavetank.tsdb.series_table import SeriesTable, key_of

__all__ = ["BlockSlot", "HeadSlot", "Present"]

Int64s = npt.NDArray[np.int64]


class Present:
    """What is there of a slot already."""

    def __init__(self, present: Sequence[Found], mint_ms: int, maxt_ms: int) -> None:
        self._range = (mint_ms, maxt_ms)
        self._found = merged(present) if present else None
        labels = self._found.labels if self._found is not None else ()
        self._place = {each: i for i, each in enumerate(labels)}

    def without(self, labels: Sequence[Labels], columns: Columns) -> Columns:
        """The samples whose series has none at their time."""
        if self._found is None:
            return columns
        both = [(i, self._place[each]) for i, each in enumerate(labels) if each in self._place]
        if not both:
            return columns
        there = self._times(np.array([place for _, place in both], np.int64))
        keep = np.ones(len(columns.timestamps_ms), np.bool_)
        for k, (i, _) in enumerate(both):
            own = slice(int(columns.offsets[i]), int(columns.offsets[i + 1]))
            times = there.timestamps_ms[there.offsets[k] : there.offsets[k + 1]]
            if len(times):
                asked = columns.timestamps_ms[own]
                at = np.minimum(np.searchsorted(times, asked), len(times) - 1)
                keep[own] = times[at] != asked
        return _only(columns, keep)

    def _times(self, places: Int64s) -> Columns:
        """The samples of some of the series, in that order."""
        assert self._found is not None
        number = np.full(len(self._found.labels), -1, np.int64)
        number[places] = np.arange(len(places))
        chunks = subset(self._found.chunks, number[self._found.chunks.series] >= 0)
        loose = self._found.loose
        inside = number[loose.series] >= 0
        loose = replace(
            loose,
            series=number[loose.series[inside]],
            timestamps_ms=loose.timestamps_ms[inside],
            values=loose.values[inside],
            histograms=None if loose.histograms is None else loose.histograms[inside],
        )
        chunks = replace(chunks, series=number[chunks.series])
        return decode(chunks, len(places), *self._range, loose)


def _only(columns: Columns, keep: npt.NDArray[np.bool_]) -> Columns:
    if keep.all():
        return columns
    before = np.zeros(len(keep) + 1, np.int64)
    np.cumsum(keep, out=before[1:])
    histograms = None if columns.histograms is None else columns.histograms[keep]
    return Columns(before[columns.offsets], columns.timestamps_ms[keep], columns.values[keep], histograms)


def _keys(labels: Sequence[Labels]) -> tuple[npt.NDArray[np.uint8], Int64s]:
    keys = [key_of(each) for each in labels]
    offsets = np.cumsum([0, *map(len, keys)]).astype(np.int64)
    return np.frombuffer(bytearray(b"".join(keys) or b"\0"), np.uint8), offsets


class BlockSlot:
    """Gathers samples older than the head and writes them as a block, or several where they are many."""

    def __init__(self, path: Path, clock: Clock, made: Callable[[Path], object]) -> None:
        """``made`` hears of every block written into ``path``."""
        self.samples = 0
        self._path = path
        self._clock = clock
        self._made = made
        self._clear()

    def _clear(self) -> None:
        self._table = SeriesTable()
        self._sets: list[ChunkSet] = []
        self._bytes = 0

    def add(self, labels: Sequence[Labels], columns: Columns) -> None:
        """Samples in columns; ``labels`` are distinct."""
        rows = self._table.add(*_keys(labels))
        rows = np.where(rows <= -2, -2 - rows, rows)
        if (rows < 0).any():
            raise InputError(f"series {labels[int(np.argmin(rows))]} has labels that cannot be stored")
        chunks = rechunked(columns, rows)
        self._sets.append(chunks)
        self._bytes += int(chunks.length.sum())
        self.samples += len(columns.timestamps_ms)
        if self._bytes > IMPORT_CHUNK_BYTES_MAX:
            self.finish()

    def finish(self) -> None:
        """Write what was gathered. Raises InputError where the disk has no room for it."""
        if not self._sets:
            return
        need = self._bytes * 2  # the index of short series is about as large as their chunks
        free = shutil.disk_usage(self._path).free
        if need + IMPORT_DISK_RESERVE_BYTES > free:
            raise InputError(
                f"the disk of {self._path} has {free >> 20} MiB left: too little for the next block of "
                f"about {need >> 20} MiB",
                fix="make room and run the same command again: it goes on from here",
            )
        chunks = joined(self._sets)
        if len(chunks.series):
            ulid = new_ulid(int(self._clock.now() * 1000), self._clock.random("tsdb/ulid"))
            meta = BlockMeta(
                ulid=ulid,
                min_time=int(chunks.mint.min()),
                max_time=int(chunks.maxt.max()) + 1,
                compaction=Compaction(sources=[ulid]),
            )
            made = write_block(self._path, self._table, chunks, meta)
            if made is not None:
                self._made(made)
        self._clear()


class HeadSlot:
    """Samples as new as those of the head go where late samples go: a block would hide the log's."""

    def __init__(self, db: DB) -> None:
        self.samples = 0
        self._db = db

    def add(self, labels: Sequence[Labels], columns: Columns) -> None:
        """Samples in columns; ``labels`` are distinct."""
        refs = self._db.series_refs(*_keys(labels))
        every = np.repeat(refs, np.diff(columns.offsets))
        appender = self._db.appender()
        floats: Any = slice(None)
        if columns.histograms is not None:
            floats = np.array([h is None for h in columns.histograms], np.bool_)
            for i in np.flatnonzero(~floats).tolist():
                at_ms = int(columns.timestamps_ms[i])
                appender.append_histogram(int(every[i]), None, at_ms, columns.histograms[i])
        appender.append_batch(every[floats], columns.timestamps_ms[floats], columns.values[floats])
        counts = appender.commit()
        self.samples += counts.appended + counts.backfilled

    def finish(self) -> None:
        """Everything is committed already."""
