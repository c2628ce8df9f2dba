"""Selecting over the head and the blocks as if they were one. Mirrors ``tsdb/querier.go``, in columns.

Every source finds its matching series and names their chunks; series with equal labels become one; all
chunks are decoded together. What a query will touch is known before anything is decoded, so one that asks
for too much fails with the number, and nothing else suffers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from wavetank.limits import MIB
from wavetank.model.interned import InternedLabels, taken
from wavetank.model.labels import Labels, Matcher
from wavetank.model.series import SelectHints, SeriesBatch, empty_batch
from wavetank.tsdb.block import Block
from wavetank.tsdb.chunkenc import XOR, XOR2
from wavetank.tsdb.decode import LooseSamples, count_samples, decode, joined, subset
from wavetank.tsdb.errors import QueryLimitExceeded
from wavetank.tsdb.head import ChunkSet
from wavetank.tsdb.plain_read import batch_of, copied_from
from wavetank.tsdb.start_times import Starts, together

__all__ = ["Budget", "Found", "Source", "find_in_block", "read_of_block", "select", "without_deleted"]

Int64s = npt.NDArray[np.int64]
Ranges = list[tuple[int, int]]

# What the estimate of a query's memory takes for each
_SERIES_BYTES: Final = 600  # labels as Python objects
_SAMPLE_BYTES: Final = 16
_HISTOGRAM_BYTES: Final = 400


@dataclass(slots=True)
class Found:
    """Matching series of one source that have samples in the range; chunk ``series`` index ``labels``."""

    labels: Sequence[Labels]  # not to be changed: a block may keep them
    chunks: ChunkSet
    loose: LooseSamples = field(default_factory=LooseSamples)
    starts: Starts | None = None  # of samples whose chunks have none


class Source(Protocol):
    """Something that holds series: the head, a block."""

    def read(
        self, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int, budget: Budget
    ) -> SeriesBatch | None:
        """What ``select`` gives over this source alone, where there is a shorter way to it than ``find``."""
        ...

    def find(
        self, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int, budget: Budget
    ) -> Found | None: ...


class Budget:
    """What one query may still load. Sources ask it before they decode anything or make any label set.

    The estimate counts the samples of whole chunks, because whole chunks are decoded.
    """

    def __init__(
        self, samples_max: int = 0, bytes_max: int = 0, check: Callable[[], None] | None = None
    ) -> None:
        self.check = check or (lambda: None)
        self._samples_max = samples_max
        self._bytes_max = bytes_max
        self._series = self._samples = self._bytes = 0

    def admit(self, series: int, chunks: ChunkSet, loose: LooseSamples) -> None:
        """Take these into account. Raises QueryLimitExceeded with the estimate, or what ``check`` raises."""
        if not (self._samples_max or self._bytes_max):
            self.check()
            return
        counts = count_samples(chunks)
        rare = _holds_histograms(chunks.encoding)
        if np.count_nonzero(rare):
            self._bytes += _HISTOGRAM_BYTES * int(counts[rare].sum())
        self.admit_floats(series, int(counts.sum()) + len(loose))

    def admit_floats(self, series: int, samples: int) -> None:
        """The same for so many samples without histograms."""
        self.check()
        self._series += series
        self._samples += samples
        self._bytes += series * _SERIES_BYTES + _SAMPLE_BYTES * samples
        if self._samples_max and self._samples > self._samples_max:
            raise QueryLimitExceeded(
                f"query would load {self._samples} samples of {self._series} series into memory, "
                f"more than its limit of {self._samples_max}",
                fix="narrow the selector or the time range, or raise the limit",
            )
        if self._bytes_max and self._bytes > self._bytes_max:
            raise QueryLimitExceeded(
                f"query would use about {self._bytes / MIB:.0f} MiB of memory for {self._samples} samples of "
                f"{self._series} series, more than the {self._bytes_max / MIB:.0f} MiB left of its budget",
                fix="narrow the selector or the time range, or raise the budget",
            )


def find_in_block(
    block: Block, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int, budget: Budget
) -> Found | None:
    """Series of a block, with what tombstones delete taken out. Raises CorruptionError."""
    found = block.matched(matchers)
    count = len(found.ids)
    if not count:
        return None
    chunks = block.chunks(found.entries, mint_ms, maxt_ms, found.series)
    if not len(chunks.series):
        return None
    budget.admit(_distinct(chunks.series, count), chunks, LooseSamples())
    labels = block.labels(found.entries) if found.labels is None else found.labels
    chunks, loose = without_deleted(chunks, LooseSamples(), block.deleted(found.ids), mint_ms, maxt_ms)
    return compacted(labels, chunks, loose)


def read_of_block(
    block: Block, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int, budget: Budget
) -> SeriesBatch | None:
    """The same as columns, where there is nothing unusual; else None. Raises CorruptionError."""
    found = block.matched(matchers)
    if not len(found.ids):
        return empty_batch()
    plain = None if found.labels is None else block.plain_chunks(found, mint_ms, maxt_ms)
    if plain is None or found.labels is None:
        return None
    data, chosen = plain
    budget.admit_floats(min(len(found.ids), chosen.count), chosen.samples)
    return batch_of(copied_from(data, chosen), found.labels, mint_ms, maxt_ms)


def _distinct(series: Int64s, count: int) -> int:
    if count == 1:
        return 1
    has = np.zeros(count, np.bool_)
    has[series] = True
    return int(np.count_nonzero(has))


def compacted(
    labels: Sequence[Labels], chunks: ChunkSet, loose: LooseSamples, starts: Starts | None = None
) -> Found | None:
    """Without the series that have nothing in the range."""
    if len(labels) == 1 and len(chunks.series):
        return Found(labels, chunks, loose, starts)
    has = np.zeros(len(labels), np.bool_)
    has[chunks.series] = True
    if len(loose):
        has[loose.series] = True
    if has.all():
        return Found(labels, chunks, loose, starts)
    if not has.any():
        return None
    place = np.cumsum(has) - 1
    if starts is not None:
        starts = starts.placed(np.where(has, place, -1))
    kept = taken(labels, np.flatnonzero(has))
    return Found(
        kept,
        replace(chunks, series=place[chunks.series]),
        replace(loose, series=place[loose.series]),
        starts,
    )


def without_deleted(
    chunks: ChunkSet,
    loose: LooseSamples,
    deleted: Sequence[tuple[int, Ranges]],
    mint_ms: int,
    maxt_ms: int,
) -> tuple[ChunkSet, LooseSamples]:
    """Decode the series that have tombstones and keep what is left of them as loose samples."""
    if not deleted:
        return chunks, loose
    touched = np.array([i for i, _ in deleted], np.int64)
    inside = np.isin(chunks.series, touched)
    inside_loose = np.isin(loose.series, touched)
    mine = loose.subset(inside_loose)
    mine = replace(mine, series=np.searchsorted(touched, mine.series))
    part = subset(chunks, inside)
    part = replace(part, series=np.searchsorted(touched, part.series))
    columns = decode(part, len(touched), mint_ms, maxt_ms, mine)
    keep = np.ones(len(columns.timestamps_ms), np.bool_)
    for i, (_, ranges) in enumerate(deleted):
        own = slice(columns.offsets[i], columns.offsets[i + 1])
        times = columns.timestamps_ms[own]
        for low, high in ranges:
            keep[own] &= (times < low) | (times > high)
    series = np.repeat(touched, np.diff(columns.offsets))
    left = LooseSamples(
        series, columns.timestamps_ms, columns.values, columns.histograms, columns.start_timestamps_ms
    ).subset(keep)
    return subset(chunks, ~inside), loose.subset(~inside_loose).extended(left)


def merged(found: Sequence[Found]) -> Found:
    """Series with equal labels become one; sorted by labels."""
    if len(found) == 1:
        only = found[0]
        if isinstance(only.labels, InternedLabels):
            return only  # the head gives them in order
        pairs = [labels.pairs for labels in only.labels]
        if len(pairs) == 1 or all(a <= b for a, b in itertools.pairwise(pairs)):
            return only
        every = sorted(only.labels, key=lambda labels: labels.pairs)
    else:
        first = found[0].labels  # blocks list their series in order
        if all(len(each.labels) == len(first) and each.labels == first for each in found[1:]):
            loose = LooseSamples()
            for each in found:
                loose = loose.extended(each.loose)
            starts = together([each.starts for each in found if each.starts is not None])
            return Found(first, joined([each.chunks for each in found]), loose, starts)
        every = sorted({labels for each in found for labels in each.labels}, key=lambda lb: lb.pairs)
    place = {labels: i for i, labels in enumerate(every)}
    sets = []
    begins = []
    loose = LooseSamples()
    for each in found:
        where = np.array([place[labels] for labels in each.labels], np.int64)
        sets.append(replace(each.chunks, series=where[each.chunks.series]))
        loose = loose.extended(replace(each.loose, series=where[each.loose.series]))
        if each.starts is not None:
            begins.append(each.starts.placed(where))
    return Found(every, joined(sets), loose, together(begins))


def _holds_histograms(encoding: Int64s) -> npt.NDArray[np.bool_]:
    other: npt.NDArray[np.bool_] = (encoding != XOR) & (encoding != XOR2)
    return other


def _limit(hints: SelectHints | None, samples_max: int) -> int:
    given = hints.samples_max if hints is not None else 0
    limits = [n for n in (given, samples_max) if n > 0]
    return min(limits, default=0)


def select(
    sources: Sequence[Source],
    matchers: Sequence[Matcher],
    mint_ms: int,
    maxt_ms: int,
    *,
    hints: SelectHints | None = None,
    samples_max: int = 0,
    check: Callable[[], None] | None = None,
) -> SeriesBatch:
    """All samples of matching series of all sources. Raises QueryLimitExceeded, CorruptionError.

    ``check`` is called during long work; it raises when the query's deadline has passed or it was cancelled.
    """
    limits = _limit(hints, samples_max), hints.bytes_max if hints is not None else 0, check
    if len(sources) == 1:
        batch = sources[0].read(matchers, mint_ms, maxt_ms, Budget(*limits))
        if batch is not None:
            return batch
    budget = Budget(*limits)
    found = []
    for source in sources:
        each = source.find(matchers, mint_ms, maxt_ms, budget)
        if each is not None:
            found.append(each)
        budget.check()
    if not found:
        return empty_batch()
    whole = merged(found)
    columns = decode(
        whole.chunks,
        len(whole.labels),
        mint_ms,
        maxt_ms,
        whole.loose,
        starts=whole.starts,
        check=budget.check,
    )
    return _without_empty(whole.labels, columns)


def _without_empty(labels: Sequence[Labels], columns: Any) -> SeriesBatch:
    offsets = columns.offsets
    sizes = offsets[1:] - offsets[:-1]
    if not sizes.all():
        keep = np.flatnonzero(sizes)
        labels = taken(labels, keep)
        offsets = np.append(columns.offsets[:-1][keep], columns.offsets[-1])
    return SeriesBatch(
        labels,
        offsets,
        columns.timestamps_ms,
        columns.values,
        columns.histograms,
        columns.start_timestamps_ms,
    )
