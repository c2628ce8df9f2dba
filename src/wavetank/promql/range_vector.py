"""Range vectors: all samples of the series, and which of them each step's window holds.

A window is left-open and right-closed: ``(end - range, end]``. Samples stay in flat columns as the storage
gave them; a window is a pair of positions, found for all steps in one pass because windows only move right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wavetank.jit import kernel
from wavetank.model.labels import Labels
from wavetank.model.value import STALE_NAN_BITS
from wavetank.promql.storage import SeriesBatch
from wavetank.promql.vector import Bools, Floats, Ints, Objects, Vector, is_present

__all__ = ["RangeVector", "drop_stale", "instant_positions", "instant_values", "window_bounds"]


@kernel("void(int64[::1], int64[::1], int64[::1], int64[::1], int64[:, ::1], int64[:, ::1])")
def window_bounds(offsets: Ints, times: Ints, starts: Ints, ends: Ints, low: Ints, high: Ints) -> None:
    """Positions ``low[i, j]:high[i, j]`` of the samples of series i with starts[j] < t <= ends[j].

    Both bounds must not fall from one step to the next. O(samples + steps) for each series.
    """
    for i in range(offsets.shape[0] - 1):
        last = offsets[i + 1]
        a = offsets[i]
        b = a
        for j in range(starts.shape[0]):
            while a < last and times[a] <= starts[j]:
                a += 1
            if b < a:
                b = a
            while b < last and times[b] <= ends[j]:
                b += 1
            low[i, j] = a
            high[i, j] = b


@kernel("void(int64[::1], int64[::1], float64[::1], int64[::1], int64, float64[:, ::1], boolean[:, ::1])")
def instant_values(
    offsets: Ints, times: Ints, values: Floats, refs: Ints, lookback: int, out: Floats, mask: Bools
) -> None:
    """The latest sample of each series in (refs[j] - lookback, refs[j]], unless it is a staleness marker."""
    bits = values.view(np.int64)
    for i in range(offsets.shape[0] - 1):
        last = offsets[i + 1]
        b = offsets[i]
        for j in range(refs.shape[0]):
            while b < last and times[b] <= refs[j]:
                b += 1
            if b > offsets[i] and times[b - 1] > refs[j] - lookback and bits[b - 1] != 0x7FF0000000000002:
                out[i, j] = values[b - 1]
                mask[i, j] = True


@kernel("void(int64[::1], int64[::1], int64[::1], int64, int64[:, ::1])")
def instant_positions(offsets: Ints, times: Ints, refs: Ints, lookback: int, out: Ints) -> None:
    """As ``instant_values``, but the sample's position, or -1; staleness is not looked at."""
    for i in range(offsets.shape[0] - 1):
        last = offsets[i + 1]
        b = offsets[i]
        for j in range(refs.shape[0]):
            while b < last and times[b] <= refs[j]:
                b += 1
            out[i, j] = b - 1 if b > offsets[i] and times[b - 1] > refs[j] - lookback else -1


@dataclass(slots=True)
class RangeVector:
    """Samples in columns as in ``SeriesBatch``, without staleness markers, and the windows over them.

    starts, ends   int64[k]: each step's window is ``(starts[j], ends[j]]``
    before, after  ms by which ``low`` and ``high`` reach beyond it, with ``anchored`` or ``smoothed``
    drop           bool[n]: whether the name is to go already
    """

    labels: Sequence[Labels]
    offsets: Ints
    times: Ints
    values: Floats
    histograms: Objects | None
    start_times: Ints | None
    drop: Bools
    starts: Ints
    ends: Ints
    before: int = 0
    after: int = 0
    _bounds: tuple[Ints, Ints] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.labels), len(self.ends)

    def _positions(self) -> tuple[Ints, Ints]:
        if self._bounds is None:
            low, high = np.empty(self.shape, np.int64), np.empty(self.shape, np.int64)
            starts, ends = self.starts - self.before, self.ends + self.after
            window_bounds(self.offsets, self.times, starts, ends, low, high)
            self._bounds = low, high
        return self._bounds

    def part(self, first: int, last: int) -> RangeVector:
        """The series ``first:last``, over the same columns."""
        low, high = self._positions()
        rows = slice(first, last)
        return replace(
            self,
            labels=self.labels[rows],
            offsets=self.offsets[first : last + 1],
            drop=self.drop[rows],
            _bounds=(low[rows], high[rows]),
        )

    @property
    def low(self) -> Ints:
        """int64[n, k]: the first sample of each window; found for all when first asked."""
        return self._positions()[0]

    @property
    def high(self) -> Ints:
        """int64[n, k]: one past the last sample of each window."""
        return self._positions()[1]

    @property
    def counts(self) -> Ints:
        """int64[n, k]: how many samples each window holds."""
        return self.high - self.low

    @property
    def used(self) -> Bools:
        """bool[k]: whether any series has a sample in the step's window."""
        return np.asarray((self.counts > 0).any(axis=0))

    @property
    def histogram_rows(self) -> list[int]:
        """The series that have histograms among their samples."""
        if self.histograms is None:
            return []
        has = is_present(self.histograms).astype(np.int64)
        total = np.concatenate([[0], np.cumsum(has)])
        return [int(i) for i in np.flatnonzero(total[self.offsets[1:]] - total[self.offsets[:-1]])]


def bounded(
    batch: SeriesBatch,
    drop: Bools,
    starts: Ints,
    ends: Ints,
    *,
    before: int = 0,
    after: int = 0,
) -> RangeVector:
    """The windows over a batch without staleness markers; ``before`` and ``after`` widen what is in reach."""
    return RangeVector(
        batch.labels,
        batch.offsets,
        batch.timestamps_ms,
        batch.values,
        batch.histograms,
        batch.start_timestamps_ms,
        drop,
        starts,
        ends,
        before,
        after,
    )


def drop_stale(batch: SeriesBatch) -> SeriesBatch:
    """Without staleness markers."""
    stale = batch.values.view(np.int64) == STALE_NAN_BITS
    if batch.histograms is not None:
        has = is_present(batch.histograms)
        stale &= ~has
        for i in np.flatnonzero(has):
            stale[i] = batch.histograms[i].is_stale
    if not np.count_nonzero(stale):
        return batch
    keep = ~stale
    kept_before = np.concatenate([[0], np.cumsum(keep)])
    return SeriesBatch(
        batch.labels,
        kept_before[batch.offsets],
        batch.timestamps_ms[keep],
        batch.values[keep],
        None if batch.histograms is None else batch.histograms[keep],
        None if batch.start_timestamps_ms is None else batch.start_timestamps_ms[keep],
        batch.warnings,
    )


def to_batch(vector: Vector, times: Ints) -> SeriesBatch:
    """A subquery's result as samples at the steps of its grid."""
    mask = vector.mask
    counts = mask.sum(axis=1)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    stamps = np.broadcast_to(times, mask.shape)[mask]
    histograms: Any = None if vector.histograms is None else vector.histograms[mask]
    return SeriesBatch(vector.labels, offsets, stamps, np.ascontiguousarray(vector.values[mask]), histograms)
