"""Following the write-ahead log while it is being written.

Mirrors tsdb/wlog/watcher.go. A reader stands at a position, a segment and an offset in it, and takes what
whole records there are from there on. It also learns the series: from the newest checkpoint and from every
segment before its position, since samples name series by number only.
"""

from __future__ import annotations

import logging
import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from wavetank.model.labels import Labels
from wavetank.tsdb.errors import CorruptionError
from wavetank.tsdb.series_table import labels_of_key
from wavetank.tsdb.wal import records
from wavetank.tsdb.wal.framing import scan
from wavetank.tsdb.wal.log import Batch, checkpoint_of, expanded, segments
from wavetank.tsdb.wal.rare_records import (
    ExemplarRecord,
    HistogramRecord,
    decode_exemplars,
    decode_histograms_record,
)
from wavetank.tsdb.wal.series_records import series_batches
from wavetank.tsdb.wal.start_records import decode_samples_v2

__all__ = ["Position", "Slice", "WalTail"]

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]
_LOG = logging.getLogger(__name__)
_SLICE_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Everything before it has been read."""

    segment: int
    offset: int


@dataclass(slots=True)
class Slice:
    """What a stretch of the log holds, and the position after it."""

    after: Position
    series: list[tuple[int, Labels]] = field(default_factory=list)
    refs: Int64s = field(default_factory=lambda: np.zeros(0, np.int64))
    times_ms: Int64s = field(default_factory=lambda: np.zeros(0, np.int64))
    values: Float64s = field(default_factory=lambda: np.zeros(0, np.float64))
    histograms: list[HistogramRecord] = field(default_factory=list)
    exemplars: list[ExemplarRecord] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.refs) + len(self.histograms) + len(self.exemplars)


class WalTail:
    """Reads a log directory from a position on. Used by one thread at a time; never writes."""

    def __init__(self, directory: Path, start: Position | None) -> None:
        """``start`` None is the end of the log as it is now."""
        self._directory = directory
        self.position = self._end() if start is None else start
        self.skipped: list[str] = []

    def _end(self) -> Position:
        found = segments(self._directory)
        return Position(found[-1][0], found[-1][1].stat().st_size) if found else Position(0, 0)

    def at_end(self) -> bool:
        """Whether the position is in the newest segment."""
        found = segments(self._directory)
        return not found or self.position.segment >= found[-1][0]

    def known_series(self) -> Iterator[tuple[int, Labels]]:
        """All series that samples after the position may name."""
        checkpoint = checkpoint_of(self._directory)
        paths = [path for _, path in segments(checkpoint[1])] if checkpoint else []
        paths += [path for number, path in segments(self._directory) if number <= self.position.segment]
        for path in paths:
            for batch in series_batches(path, [], check=False):
                yield from _series(batch)

    def checkpoint(self) -> int:
        """The newest checkpoint's number, -1 if there is none. It changes when old series may go."""
        found = checkpoint_of(self._directory)
        return -1 if found is None else found[0]

    def read(self) -> Slice | None:
        """The next records; None if there are no more for now."""
        while True:
            number = self.position.segment
            later = [n for n, _ in segments(self._directory) if n > number]
            path = self._directory / f"{number:08d}"
            if path.exists():
                found = self._read_segment(path)
                if found is not None:
                    return found
            elif later:
                self.skipped.append(f"segment {number} is gone")
            if not later:
                return None
            self.position = Position(later[0], 0)

    def _read_segment(self, path: Path) -> Slice | None:
        size = path.stat().st_size
        at = self.position.offset
        if at >= size:
            return None
        with path.open("rb") as file:
            data = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY), np.uint8)
        size = len(data)
        window = _SLICE_BYTES
        while True:
            until = min(size, at + window)
            out, ends, flags, following, fault, where = scan(data, at, until)
            if len(ends):
                return self._decoded(expanded(out, ends, flags, following), following)
            if fault == 1 and until < size:
                window *= 2  # one record larger than the window
                continue
            if fault > 1:
                self.skipped.append(f"{path}: damaged at {where}")
                self.position = Position(self.position.segment, size)
            return None

    def _decoded(self, batch: Batch, following: int) -> Slice:
        self.position = Position(self.position.segment, following)
        found = Slice(self.position)
        kinds = batch.types()
        where = np.flatnonzero(kinds == records.SERIES)
        if len(where):
            found.series = list(_series(Batch(batch.data, batch.begins[where], batch.ends[where], following)))
        try:
            found.refs, found.times_ms, found.values = _samples(batch)
        except CorruptionError as error:
            self.skipped.append(str(error))
        for i, kind in enumerate(kinds.tolist()):
            try:
                if kind in records.HISTOGRAM_KINDS:
                    found.histograms += decode_histograms_record(batch.record(i))
                elif kind == records.EXEMPLARS:
                    found.exemplars += decode_exemplars(batch.record(i))
            except CorruptionError as error:
                self.skipped.append(str(error))
        return found


def _samples(batch: Batch) -> tuple[Int64s, Int64s, Float64s]:
    """Refs, times and values of the float samples; a log has those without or those with start timestamps."""
    kinds = batch.types()
    where = np.flatnonzero(kinds == records.SAMPLES)
    plain = records.decode_samples(batch.data, batch.begins[where], batch.ends[where])
    where = np.flatnonzero(kinds == records.SAMPLES_V2)
    if not len(where):
        return plain
    more = decode_samples_v2(batch.data, batch.begins[where], batch.ends[where])
    return (
        np.concatenate([plain[0], more[0]]),
        np.concatenate([plain[1], more[1]]),
        np.concatenate([plain[2], more[2]]),
    )


def _series(batch: Batch) -> Iterator[tuple[int, Labels]]:
    if not len(batch.begins):
        return
    try:
        refs, keys, offsets = records.split_series(batch.data, batch.begins, batch.ends)
    except CorruptionError as error:
        _LOG.warning("series of the log cannot be read: %s", error)
        return
    raw = keys.tobytes()
    bounds = offsets.tolist()
    for i, ref in enumerate(refs.tolist()):
        yield ref, labels_of_key(raw[bounds[i] : bounds[i + 1]])
