"""Copying history into a data directory: slot by slot, nothing twice, to be taken up again.

Slots are as long as a block may be; within one, samples go through memory a few million at a time. What the
directory holds already is left out, sample by sample, so running twice adds nothing. How far a run came is
noted in the directory: one that was interrupted goes on there.
"""

from __future__ import annotations

import hashlib
import itertools
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from wavetank.clock import Clock
from wavetank.errors import InputError
from wavetank.limits import IMPORT_DISK_RESERVE_BYTES, IMPORT_SAMPLES_AT_ONCE, MIB
from wavetank.model.labels import Labels
from wavetank.monitoring.history.slot import Present
from wavetank.monitoring.history.source import Estimate, HistorySource, TooMuch
from wavetank.monitoring.history.target import OwnDirectory, Slot, Target
from wavetank.tsdb.compaction import block_ranges
from wavetank.tsdb.db import DB
from wavetank.tsdb.decode import Columns, count_samples, decode, subset
from wavetank.tsdb.errors import LockedError
from wavetank.tsdb.options import HOUR_MS, Options
from wavetank.tsdb.querier import Found

__all__ = ["Imported", "Wanted", "import_history", "own_directory", "pieces"]

_WIDTH_MAX_MS: Final = 18 * HOUR_MS  # the longest block a server with the default retention makes
_PART_MS_MIN: Final = 60_000  # a range that is too much at once is halved down to this
Progress = Callable[[int, int, int], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which history. ``labels`` are put on every series; None is an open end.

    ``name`` says where it comes from and with which choices: runs with equal names go on where one stopped.
    """

    name: str
    start_ms: int | None = None
    end_ms: int | None = None
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Imported:
    """What a run did."""

    start_ms: int = 0
    end_ms: int = 0
    expected: Estimate = field(default_factory=lambda: Estimate(0, 0))
    read: int = 0
    added: int = 0
    exemplars: int = 0
    notes: list[str] = field(default_factory=list)
    resumed_at_ms: int | None = None


class _Mark(msgspec.Struct):
    """How far the run of this name came."""

    name: str
    done_until_ms: int


def import_history(
    source: HistorySource,
    wanted: Wanted,
    into: Callable[[], Target],
    *,
    progress: Progress = lambda done_ms, total_ms, samples: None,
    dry_run: bool = False,
) -> Imported:
    """Copy what is wanted to where it goes, which is opened once there is something to copy.

    ``progress`` hears milliseconds done and to do, and samples read. Raises InputError where the disk is
    too small, the directory in use or the source out of reach.
    """
    extent = source.extent()
    if extent is None:
        return Imported()
    start = extent[0] if wanted.start_ms is None else max(extent[0], wanted.start_ms)
    end = extent[1] if wanted.end_ms is None else min(extent[1], wanted.end_ms)
    done = Imported(start, end)
    if end < start:
        return done
    done.expected = source.estimate(start, end)
    if dry_run:
        return done
    target = into()
    try:
        target.check(start)
        _refuse_small_disk(target, done)
        _Run(source, wanted, target, done, progress).whole()
        extras = source.extras(start, end).with_labels(dict(wanted.labels))
        try:
            target.add_extras(extras)
            done.exemplars = len(extras.exemplars)
        except InputError as error:  # the samples are there
            done.notes.append(f"exemplars and metadata were not copied: {error}")
    finally:
        target.close()
    return done


def own_directory(path: Path, clock: Clock) -> Target:
    """A data directory which no server has open; it is made if need be. Raises InputError."""
    try:
        return OwnDirectory(DB.open(path, Options(retention_ms=0), clock))
    except LockedError as error:
        raise InputError(
            error.message, at=path, fix="give --to with the URL of the server that uses it, or stop it"
        ) from None


def _refuse_small_disk(target: Target, done: Imported) -> None:
    free = shutil.disk_usage(target.path).free
    there = target.stored(done.start_ms, done.end_ms)
    missing = max(0.0, 1 - there / max(done.expected.samples, 1))
    need = int(done.expected.bytes * missing)
    if need + IMPORT_DISK_RESERVE_BYTES > free:
        raise InputError(
            f"the disk of {target.path} is too small: about {done.expected.samples:,} samples need "
            f"{need / MIB:,.0f} MiB, and {free / MIB:,.0f} MiB are free",
            fix="narrow --start, --end or --match, or give another --storage.tsdb.path",
        )


class _Run:
    """One run over all slots."""

    def __init__(
        self, source: HistorySource, wanted: Wanted, target: Target, done: Imported, progress: Progress
    ) -> None:
        self._source = source
        self._wanted = wanted
        self._target = target
        self._done = done
        self._progress = progress
        digest = hashlib.sha256(wanted.name.encode()).hexdigest()[:12]
        self._mark = target.path / f"import-{digest}.json"

    def whole(self) -> None:
        done = self._done
        after = self._marked()
        if after is not None and after > done.start_ms:
            done.resumed_at_ms = after
        for low, high in self._slots():
            if after is not None and high < after:
                continue
            self._slot(low, high)
            self._note(high + 1)
            self._progress(high + 1 - done.start_ms, done.end_ms + 1 - done.start_ms, done.read)
        self._mark.unlink(missing_ok=True)

    def _marked(self) -> int | None:
        try:
            return msgspec.json.decode(self._mark.read_bytes(), type=_Mark).done_until_ms
        except (OSError, msgspec.MsgspecError):
            return None

    def _note(self, until_ms: int) -> None:
        temporary = self._mark.with_suffix(".new")
        temporary.write_bytes(msgspec.json.encode(_Mark(self._wanted.name, until_ms)))
        temporary.replace(self._mark)

    def _slots(self) -> Iterator[tuple[int, int]]:
        """Inclusive ranges, none of which reaches over the begin of what the head holds."""
        done = self._done
        span = done.end_ms - done.start_ms + 1
        ranges = block_ranges(2 * HOUR_MS, _WIDTH_MAX_MS)
        rate = done.expected.samples / span
        width = next((r for r in reversed(ranges) if rate * r <= IMPORT_SAMPLES_AT_ONCE), ranges[0])
        low = done.start_ms
        while low <= done.end_ms:
            high = min(done.end_ms, low // width * width + width - 1)
            begin = self._target.head_begin()
            if begin is not None and low < begin <= high:
                high = begin - 1
            yield low, high
            low = high + 1

    def _slot(self, low: int, high: int) -> None:
        slot = self._target.slot(low)
        present = Present(self._target.find(low, high), low, high)
        self._part(slot, present, low, high)
        slot.finish()
        self._done.added += slot.samples

    def _part(self, slot: Slot, present: Present, low: int, high: int) -> None:
        try:
            every = list(self._source.read(low, high))
        except TooMuch:
            middle = (low + high) // 2
            if high - low < _PART_MS_MIN:
                raise
            self._part(slot, present, low, middle)
            self._part(slot, present, middle + 1, high)
            return
        seen: set[Labels] = set()
        for found in every:
            for labels, columns in pieces(_renamed(found, self._wanted.labels), low, high):
                columns = self._unseen(seen, labels, columns)
                self._done.read += len(columns.timestamps_ms)
                fresh = present.without(labels, columns)
                if len(fresh.timestamps_ms):
                    slot.add(labels, fresh)

    @staticmethod
    def _unseen(seen: set[Labels], labels: Sequence[Labels], columns: Columns) -> Columns:
        """Without the series that came already: selectors may overlap."""
        again = np.array([each in seen for each in labels], np.bool_)
        seen.update(labels)
        if not again.any():
            return columns
        keep = np.repeat(~again, np.diff(columns.offsets))
        sizes = np.where(again, 0, np.diff(columns.offsets))
        offsets = np.zeros(len(labels) + 1, np.int64)
        np.cumsum(sizes, out=offsets[1:])
        histograms = None if columns.histograms is None else columns.histograms[keep]
        return Columns(offsets, columns.timestamps_ms[keep], columns.values[keep], histograms)


def _renamed(found: Found, labels: Sequence[tuple[str, str]]) -> Found:
    if not labels:
        return found
    more = dict(labels)
    return Found([Labels.of(each, **more) for each in found.labels], found.chunks, found.loose)


def pieces(found: Found, low: int, high: int) -> Iterator[tuple[Sequence[Labels], Columns]]:
    """Some series at a time, so that no more than so many samples are decoded at once."""
    count = len(found.labels)
    samples = np.bincount(found.chunks.series, count_samples(found.chunks), count)
    samples += np.bincount(found.loose.series, minlength=count)
    group = (np.cumsum(samples) // IMPORT_SAMPLES_AT_ONCE).astype(np.int64)
    bounds = [0, *(np.flatnonzero(np.diff(group)) + 1).tolist(), count]
    for first, last in itertools.pairwise(bounds):
        if len(bounds) == 2:
            yield found.labels, decode(found.chunks, count, low, high, found.loose)
            return
        mine = (found.chunks.series >= first) & (found.chunks.series < last)
        chunks = subset(found.chunks, mine)
        chunks = replace(chunks, series=chunks.series - first)
        loose = found.loose
        inside = (loose.series >= first) & (loose.series < last)
        loose = replace(
            loose,
            series=loose.series[inside] - first,
            timestamps_ms=loose.timestamps_ms[inside],
            values=loose.values[inside],
            histograms=None if loose.histograms is None else loose.histograms[inside],
        )
        yield found.labels[first:last], decode(chunks, last - first, low, high, loose)
