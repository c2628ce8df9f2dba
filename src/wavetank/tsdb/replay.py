"""Bringing the head back from the log. Mirrors ``tsdb/head_wal.go``.

Order: the newest checkpoint, then the later segments, then the out-of-order log. Segments are read in slices
of a few megabytes, decoded by one thread while another appends, so memory stays bounded whatever the log's
size. Damage is reported, never fatal: the rest is read, and the last segment is cut where it was torn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wavetank.tsdb.errors import CorruptionError
from wavetank.tsdb.head import REF_MAX, Head
from wavetank.tsdb.wal import records
from wavetank.tsdb.wal.log import Batch, Damage, checkpoint_of, read_segment, repair, segments

__all__ = ["ReplayReport", "replay"]

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]
RecordHandler = Callable[[int, bytes], None]
SampleSink = Callable[[Int64s, Int64s, Float64s], None]


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
    """One slice of a segment: series, float samples, and the indexes of other records."""

    batch: Batch
    series: tuple[Any, Any, Any] | None
    samples: tuple[Int64s, Int64s, Float64s] | None
    others: list[tuple[int, int]]


def _decoded(batch: Batch) -> _Decoded:
    kinds = batch.types()
    series = samples = None
    where = np.flatnonzero(kinds == records.SERIES)
    if len(where):
        series = records.split_series(batch.data, batch.begins[where], batch.ends[where])
    where = np.flatnonzero(kinds == records.SAMPLES)
    if len(where):
        samples = records.decode_samples(batch.data, batch.begins[where], batch.ends[where])
    rest = np.flatnonzero((kinds != records.SERIES) & (kinds != records.SAMPLES) & (kinds != 0))
    return _Decoded(batch, series, samples, [(int(i), int(kinds[i])) for i in rest])


def _slices(paths: list[Path], damage: list[Damage]) -> Iterator[tuple[int, _Decoded]]:
    for number, path in enumerate(paths):
        for batch in read_segment(path, damage):
            try:
                yield number, _decoded(batch)
            except CorruptionError as error:
                damage.append(Damage(path, 0, str(error), len(batch.data)))


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
    head: Head,
    directory: Path,
    *,
    sink: SampleSink,
    other: RecordHandler,
    progress: Callable[[float], None] | None = None,
) -> ReplayReport:
    """Read a log directory into the head. Float samples go to ``sink``, rare records to ``other``."""
    report = ReplayReport()
    checkpoint = checkpoint_of(directory)
    paths = [p for _, p in segments(checkpoint[1])] if checkpoint else []
    own = [(n, p) for n, p in segments(directory) if checkpoint is None or n > checkpoint[0]]
    paths += [p for _, p in own]
    report.segments = len(paths)
    for number, slice_ in _ahead(_slices(paths, report.damage)):
        _apply(head, slice_, report, sink, other)
        if progress is not None:
            progress(number / max(1, len(paths)))
    if own and report.damage and report.damage[-1].path == own[-1][1]:
        repair(own[-1][1], report.damage[-1])
    if progress is not None:
        progress(1.0)
    return report


def _apply(
    head: Head, decoded: _Decoded, report: ReplayReport, sink: SampleSink, other: RecordHandler
) -> None:
    if decoded.series is not None:
        refs, keys, offsets = decoded.series
        good = (refs > 0) & (refs < REF_MAX)
        if not good.all():
            report.unknown_refs += int((~good).sum())
            refs = np.where(good, refs, 0)
        with head.lock:
            found, fresh = head.add_series(keys, offsets, refs)
            report.series += len(fresh)
            aliased = (found != refs) & (found > 0) & (refs > 0)
            head.alias_refs(refs[aliased], found[aliased])
    if decoded.samples is not None and len(decoded.samples[0]):
        report.samples += len(decoded.samples[0])
        sink(*decoded.samples)
    for index, kind in decoded.others:
        try:
            other(kind, decoded.batch.record(index))
        except CorruptionError as error:
            report.damage.append(Damage(Path("record"), 0, str(error), 0))
