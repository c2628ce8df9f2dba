"""Bringing the head back from the log. Mirrors ``tsdb/head_wal.go``.

Order: the newest checkpoint, then the later segments. Two passes: the first reads the series
(``read_series``), after which every ref is known; the second reads the rest (``replay``). Segments are read
in slices of a few megabytes, decoded by one thread while another appends, so memory stays bounded whatever
the log's size. Damage is reported, never fatal: the rest is read, and the last segment is cut where it was
torn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wavetank.tsdb.errors import CorruptionError
from wavetank.tsdb.head import REF_MAX, Head
from wavetank.tsdb.wal import records
from wavetank.tsdb.wal.log import Batch, Damage, checkpoint_of, read_segment, repair, segments
from wavetank.tsdb.wal.rare_records import HistogramRecord, decode_histograms_record
from wavetank.tsdb.wal.series_records import series_batches
from wavetank.tsdb.wal.start_records import decode_samples_v2

__all__ = ["LogFiles", "ReplayReport", "Samples", "add_series", "read_series", "replay"]

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]
RecordHandler = Callable[[int, bytes], None]
Samples = tuple[Int64s, Int64s, Float64s, Int64s | None]  # refs, times, values, start timestamps
HistogramSink = Callable[[list[HistogramRecord]], None]
SampleSink = Callable[[Int64s, Int64s, Float64s, Int64s | None], None]


@dataclass(frozen=True, slots=True)
class LogFiles:
    """What a log consisted of before anything was written to it: its files in order, and the last segment."""

    paths: tuple[Path, ...]
    last: Path | None
    numbers: tuple[int, ...]  # of the segments, without the checkpoint's

    @classmethod
    def of(cls, directory: Path, after: tuple[int, int] | None = None) -> LogFiles:
        """All of a log, or what a snapshot that reaches to a segment's offset does not stand for.

        A segment that goes on after the offset is read whole: samples that are known do no harm.
        """
        checkpoint = checkpoint_of(directory)
        before = [p for _, p in segments(checkpoint[1])] if checkpoint else []
        own = [(n, p) for n, p in segments(directory) if checkpoint is None or n > checkpoint[0]]
        if after is not None:
            before = before if checkpoint and checkpoint[0] >= after[0] else []
            own = [(n, p) for n, p in own if (n, p.stat().st_size) > after]
        numbers = tuple(n for n, _ in own)
        return cls((*before, *(p for _, p in own)), own[-1][1] if own else None, numbers)

    @property
    def size_bytes(self) -> int:
        return sum(p.stat().st_size for p in self.paths)


@dataclass(slots=True)
class ReplayReport:
    """What replay found."""

    segments: int = 0
    series: int = 0
    samples: int = 0
    unknown_refs: int = 0
    damage: list[Damage] = field(default_factory=list)


@dataclass(slots=True)
class _Decoded:
    """One slice of a segment: samples in the order they are to be placed, and the other records."""

    batch: Batch
    samples: list[Samples | list[HistogramRecord]]
    others: list[tuple[int, int]]


def read_series(head: Head, files: LogFiles, report: ReplayReport) -> None:
    """The first pass: make every series of the log. Cuts the last segment where it is torn."""
    report.segments = len(files.paths)
    for path in files.paths:
        found: list[Damage] = []
        for batch in series_batches(path, found, check=path == files.last):
            try:
                refs, keys, offsets = records.split_series(batch.data, batch.begins, batch.ends)
            except CorruptionError:
                _one_by_one(head, batch, report)
                continue
            add_series(head, refs, keys, offsets, report)
        if found and path == files.last and _is_tail(found[-1]):
            report.damage.append(found[-1])
            repair(path, found[-1])


def _is_tail(damage: Damage) -> bool:
    """Whether nothing after the damage can be read; what can is left for the second pass."""
    return damage.offset + damage.lost_bytes >= damage.path.stat().st_size


def _one_by_one(head: Head, batch: Batch, report: ReplayReport) -> None:
    """A record that does not parse costs itself only."""
    for i in range(len(batch.begins)):
        part = slice(i, i + 1)
        try:
            found = records.split_series(batch.data, batch.begins[part], batch.ends[part])
        except CorruptionError as error:
            report.damage.append(Damage(Path("record"), 0, str(error), 0))
            continue
        add_series(head, *found, report)


def add_series(
    head: Head, refs: Int64s, keys: npt.NDArray[np.uint8], offsets: Int64s, report: ReplayReport
) -> None:
    """Make series with the refs they have in a log; those that exist get these refs as well."""
    good = (refs > 0) & (refs < REF_MAX)
    if not good.all():
        report.unknown_refs += int((~good).sum())
        refs = np.where(good, refs, 0)
    with head.lock:
        found, fresh = head.add_series(keys, offsets, refs)
        report.series += len(fresh)
        aliased = (found != refs) & (found > 0) & (refs > 0)
        head.alias_refs(refs[aliased], found[aliased])


def _decoded(batch: Batch, damage: list[Damage]) -> _Decoded:
    kinds = batch.types()
    floats: list[Samples] = []
    where = np.flatnonzero(kinds == records.SAMPLES)
    if len(where):
        floats.append((*records.decode_samples(batch.data, batch.begins[where], batch.ends[where]), None))
    where = np.flatnonzero(kinds == records.SAMPLES_V2)
    if len(where):
        floats.append(decode_samples_v2(batch.data, batch.begins[where], batch.ends[where]))
    histograms: dict[int, list[HistogramRecord]] = {}
    for i in np.flatnonzero(np.isin(kinds, list(records.HISTOGRAM_KINDS))).tolist():
        try:
            histograms[i] = list(decode_histograms_record(batch.record(i)))
        except CorruptionError as error:
            damage.append(Damage(Path("record"), 0, str(error), 0))
    bulk = (records.SERIES, records.SAMPLES, records.SAMPLES_V2, 0, *records.HISTOGRAM_KINDS)
    rest = np.flatnonzero(~np.isin(kinds, bulk))
    others = [(int(i), int(kinds[i])) for i in rest]
    return _Decoded(batch, _in_order(batch, floats, histograms), others)


def _in_order(
    batch: Batch, floats: list[Samples], histograms: dict[int, list[HistogramRecord]]
) -> list[Samples | list[HistogramRecord]]:
    """Floats of many records at once, but for series that have histograms too: these go by record."""
    if not histograms:
        return list(floats)
    both = np.unique(np.array([h.ref for own in histograms.values() for h in own], np.int64))
    ordered: list[Samples | list[HistogramRecord]] = []
    mixed = False
    for samples in floats:
        inside = np.isin(samples[0], both)
        ordered.append(_subset(samples, ~inside) if inside.any() else samples)
        mixed = mixed or bool(inside.any())
    if not mixed:
        return [*ordered, *histograms.values()]
    for i, kind in enumerate(batch.types().tolist()):
        part = slice(i, i + 1)
        if i in histograms:
            ordered.append(histograms[i])
        elif kind == records.SAMPLES:
            plain = records.decode_samples(batch.data, batch.begins[part], batch.ends[part])
            ordered.append(_subset((*plain, None), np.isin(plain[0], both)))
        elif kind == records.SAMPLES_V2:
            own = decode_samples_v2(batch.data, batch.begins[part], batch.ends[part])
            ordered.append(_subset(own, np.isin(own[0], both)))
    return ordered


def _subset(samples: Samples, which: npt.NDArray[np.bool_]) -> Samples:
    refs, times, values, starts = samples
    return refs[which], times[which], values[which], None if starts is None else starts[which]


def _slices(files: LogFiles, damage: list[Damage]) -> Iterator[tuple[int, _Decoded]]:
    """Slices, and how many bytes of the log they reach to."""
    before = 0
    for path in files.paths:
        for batch in read_segment(path, damage):
            try:
                yield before + batch.reached, _decoded(batch, damage)
            except CorruptionError as error:
                damage.append(Damage(path, 0, str(error), len(batch.data)))
        before += path.stat().st_size


def _ahead(source: Iterator[tuple[int, _Decoded]]) -> Iterator[tuple[int, _Decoded]]:
    """The same items, the next one being made by a thread while the last one is used."""
    with ThreadPoolExecutor(1, "replay") as pool:
        waiting = pool.submit(next, source, None)
        while True:
            item = waiting.result()
            if item is None:
                return
            waiting = pool.submit(next, source, None)
            yield item


def replay(
    files: LogFiles,
    report: ReplayReport,
    *,
    sink: SampleSink,
    histograms: HistogramSink,
    other: RecordHandler,
    progress: Callable[[float], None],
    stopped: Callable[[], bool],
) -> None:
    """The second pass: samples go to ``sink`` and ``histograms``, in order for each series, rare records to
    ``other``; ends early if ``stopped``."""
    total = max(1, files.size_bytes)
    for reached, decoded in _ahead(_slices(files, report.damage)):
        if stopped():
            return
        for samples in decoded.samples:
            if isinstance(samples, list):
                histograms(samples)
            elif len(samples[0]):
                report.samples += len(samples[0])
                sink(*samples)
        for index, kind in decoded.others:
            try:
                other(kind, decoded.batch.record(index))
            except CorruptionError as error:
                report.damage.append(Damage(Path("record"), 0, str(error), 0))
        progress(min(1.0, reached / total))
    progress(1.0)
