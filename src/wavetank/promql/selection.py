"""Selectors: from matchers to instant vectors and range vectors.

Mirrors ``evalSeries``, ``smoothSeries`` and ``matrixSelector`` of ``promql/engine.go``. An instant vector
takes the latest sample of each series in ``(t - lookback, t]``; a staleness marker there means no sample.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from wavetank.errors import CheckFailed
from wavetank.model.histogram import CounterResetHint, FloatHistogram, IncompatibleSchemaError
from wavetank.model.histogram_math import detect_reset
from wavetank.model.labels import Matcher
from wavetank.promql import annotations as notes
from wavetank.promql.annotations import Annotations
from wavetank.promql.ast import MatrixSelector, VectorSelector
from wavetank.promql.context import EngineOptions, QueryContext
from wavetank.promql.failures import QueryError, QueryTooBig
from wavetank.promql.histogram_rate import interpolate_histograms
from wavetank.promql.range_vector import (
    RangeVector,
    bounded,
    drop_stale,
    instant_positions,
    instant_values,
)
from wavetank.promql.storage import Queryable, SelectHints, SeriesBatch
from wavetank.promql.vector import Ints, Steps, Vector, is_present
from wavetank.promql.window_functions import extend_floats, interpolate

__all__ = ["Selection"]


class Selection:
    """Reads from one storage under one query's limits."""

    def __init__(
        self,
        queryable: Queryable,
        options: EngineOptions,
        context: QueryContext,
        annotations: Annotations,
    ) -> None:
        self._queryable = queryable
        self._lookback = options.lookback_ms
        self._context = context
        self._annotations = annotations

    def _select(
        self, matchers: Sequence[Matcher], mint: int, maxt: int, steps: Steps, func: str, range_ms: int
    ) -> SeriesBatch:
        context = self._context
        context.check("query preparation")
        hints = SelectHints(
            mint,
            maxt,
            steps.interval,
            range_ms,
            func,
            context.samples_max,
            context.deadline,
            max(1, context.memory_bytes_max - context.bytes) if context.memory_bytes_max else 0,
            context.check,
        )
        try:
            batch = self._queryable.select(matchers, mint, maxt, hints)
        except QueryError:
            raise
        except CheckFailed as error:
            context.check("query preparation")
            raise QueryTooBig(error.message, fix=error.fix) from error
        self._annotations.storage_warnings.extend(batch.warnings)
        count = len(batch.timestamps_ms)
        context.samples_read += count
        size = 16 * count + (0 if batch.histograms is None else 400 * count)
        context.charge(0, size)
        return _writable(batch)

    def _samples(
        self, node: VectorSelector, mint: int, maxt: int, steps: Steps, func: str = "", range_ms: int = 0
    ) -> SeriesBatch:
        """What the selector needs of the storage between two times."""
        batch = self._select(node.matchers, mint, maxt, steps, func, range_ms)
        return _with_reset_hints(batch) if node.stats_only and batch.histograms is not None else batch

    def _reference(self, node: VectorSelector, steps: Steps) -> Ints:
        """The time each step looks at."""
        if node.at_ms is not None:
            return np.full(len(steps), node.at_ms - node.offset_ms, np.int64)
        return steps.times - node.offset_ms if node.offset_ms else steps.times

    def instant(self, node: VectorSelector, steps: Steps) -> Vector:
        """The selector at each step."""
        if node.smoothed:
            return self._smoothed(node, steps)
        refs = self._reference(node, steps)
        batch = self._samples(node, int(refs[0]) - self._lookback + 1, int(refs[-1]), steps)
        shape = (len(batch.labels), len(refs))
        self._context.charge(0, shape[0] * shape[1] * 9)
        values, mask = np.zeros(shape), np.zeros(shape, np.bool_)
        instant_values(batch.offsets, batch.timestamps_ms, batch.values, refs, self._lookback, values, mask)
        vector = Vector.of_floats(batch.labels, values, mask)
        if batch.histograms is not None:
            self._place_histograms(batch, refs, vector)
        vector = vector.without_empty()
        self._context.charge(vector.size_samples, 0)
        return vector

    def positions(self, node: VectorSelector, steps: Steps) -> tuple[SeriesBatch, Ints]:
        """The batch, and the position of each step's sample or -1: for functions of the sample's own time."""
        refs = self._reference(node, steps)
        batch = self._samples(node, int(refs[0]) - self._lookback + 1, int(refs[-1]), steps)
        return batch, self._live_positions(batch, refs)

    def _live_positions(self, batch: SeriesBatch, refs: Ints) -> Ints:
        where = np.empty((len(batch.labels), len(refs)), np.int64)
        instant_positions(batch.offsets, batch.timestamps_ms, refs, self._lookback, where)
        if not len(batch.values):
            return where
        stale = batch.values.view(np.int64) == 0x7FF0000000000002
        if batch.histograms is not None:
            stale = np.array(
                [s if h is None else h.is_stale for s, h in zip(stale, batch.histograms, strict=True)]
            )
        where[(where >= 0) & stale[where]] = -1
        return where

    def info_times(
        self, matchers: Sequence[Matcher], at_ms: int | None, offset_ms: int, steps: Steps
    ) -> tuple[SeriesBatch, Ints]:
        """Info series at each step: the batch, and each sample's own time or -1."""
        node = VectorSelector("", tuple(matchers), (0, 0), offset_ms=offset_ms, at_ms=at_ms)
        batch, where = self.positions(node, steps)
        if batch.histograms is not None and is_present(batch.histograms).any():
            raise QueryError("info sample should be float")
        times = np.where(where >= 0, batch.timestamps_ms[where] if len(batch.timestamps_ms) else -1, -1)
        return batch, times

    def _place_histograms(self, batch: SeriesBatch, refs: Ints, vector: Vector) -> None:
        assert batch.histograms is not None
        where = self._live_positions(batch, refs)
        vector.mask = where >= 0
        vector.histograms = np.full(where.shape, None, object)
        vector.histograms[vector.mask] = batch.histograms[where[vector.mask]]
        vector.is_histogram = is_present(vector.histograms)
        if not vector.is_histogram.any():
            vector.histograms = vector.is_histogram = None

    def windows(self, node: MatrixSelector, steps: Steps, func: str) -> RangeVector:
        """The range vector at each step."""
        inner = node.selector
        ends = self._reference(inner, steps)
        starts = ends - node.range_ms
        before = self._lookback if inner.anchored or inner.smoothed else 0
        after = self._lookback if inner.smoothed else 0
        batch = self._samples(
            inner, int(starts[0]) - before + 1, int(ends[-1]) + after, steps, func, node.range_ms
        )
        batch = drop_stale(batch)
        self._context.charge(0, 25 * len(batch.labels) * len(steps))
        drop = np.zeros(len(batch.labels), np.bool_)
        if len(batch.labels):
            self._context.charge(_longest_window(batch, node.range_ms + before + after), 0)
        return bounded(batch, drop, starts, ends, before=before, after=after)

    def raw(self, node: MatrixSelector, steps: Steps) -> SeriesBatch:
        """The samples of a range selector that is itself the query."""
        window = self.windows(node, steps, "")
        inner = node.selector
        if inner.anchored or inner.smoothed:
            return _extended(window, inner)
        low, high = window.low[:, 0], window.high[:, 0]
        rows = np.flatnonzero(high > low)
        keep = np.zeros(len(window.times), np.bool_)
        for a, b in zip(low[rows].tolist(), high[rows].tolist(), strict=True):
            keep[a:b] = True
        offsets = np.concatenate([[0], np.cumsum(high[rows] - low[rows])]).astype(np.int64)
        self._context.charge(int(keep.sum()), 0)
        return SeriesBatch(
            [window.labels[r] for r in rows.tolist()],
            offsets,
            window.times[keep],
            window.values[keep],
            None if window.histograms is None else window.histograms[keep],
        )

    def _smoothed(self, node: VectorSelector, steps: Steps) -> Vector:
        """An instant vector of values interpolated between the samples around each step."""
        refs = self._reference(node, steps)
        lookback = self._lookback
        batch = self._samples(node, int(refs[0]) - lookback + 1, int(refs[-1]) + lookback, steps)
        batch = drop_stale(batch)
        drop = np.zeros(len(batch.labels), np.bool_)
        window = bounded(batch, drop, refs - lookback, refs + lookback)
        shape = window.shape
        vector = Vector(
            batch.labels,
            np.zeros(shape),
            np.zeros(shape, np.bool_),
            drop,
            None if batch.histograms is None else np.full(shape, None, object),
            None if batch.histograms is None else np.zeros(shape, np.bool_),
        )
        for i in range(shape[0]):
            for j in range(shape[1]):
                low, high = int(window.low[i, j]), int(window.high[i, j])
                if low < high:
                    self._smooth(node, window, vector, i, j, low, high, int(refs[j]))
        return vector.without_empty()

    def _smooth(
        self,
        node: VectorSelector,
        window: RangeVector,
        vector: Vector,
        i: int,
        j: int,
        low: int,
        high: int,
        at: int,
    ) -> None:
        times = window.times[low:high].tolist()
        histograms: list[FloatHistogram | None] = (
            [] if window.histograms is None else [h for h in window.histograms[low:high] if h is not None]
        )
        name = window.labels[i].name
        if histograms and len(histograms) < len(times):
            self._annotations.add(notes.mixed_floats_histograms(name, node))
            return
        index = bisect_left(times, at)
        exact = index < len(times) and times[index] == at
        if index == 0 and not exact:
            return  # nothing yet before the step
        if not histograms:
            values = window.values[low:high].tolist()
            if exact:
                vector.values[i, j] = values[index]
            elif index < len(times):
                vector.values[i, j] = interpolate(times, values, index - 1, at, False)
            else:
                vector.values[i, j] = values[index - 1]
            vector.mask[i, j] = True
            return
        assert vector.histograms is not None and vector.is_histogram is not None
        found = self._smooth_histogram(node, name, times, histograms, index, at)
        if found is not None:
            vector.histograms[i, j] = found
            vector.mask[i, j] = vector.is_histogram[i, j] = True

    def _smooth_histogram(
        self,
        node: VectorSelector,
        name: str,
        times: list[int],
        histograms: Sequence[FloatHistogram | None],
        index: int,
        at: int,
    ) -> FloatHistogram | None:
        after = histograms[index] if index < len(times) else None
        if after is not None and times[index] == at:
            return after
        before = histograms[index - 1]
        assert before is not None
        if after is None:
            return before.with_hint(CounterResetHint.UNKNOWN)
        if before.has_custom_buckets is not after.has_custom_buckets:
            self._annotations.add(notes.mixed_exponential_custom(name, node))
            return None
        gauge = CounterResetHint.GAUGE
        counter = before.counter_reset_hint is not gauge or after.counter_reset_hint is not gauge
        try:
            return interpolate_histograms(
                (times[index - 1], before),
                (times[index], after),
                at,
                counter=counter,
                annotations=self._annotations,
                place=node,
            )
        except IncompatibleSchemaError:
            self._annotations.add(notes.mixed_exponential_custom(name, node))
            return None


def _longest_window(batch: SeriesBatch, width_ms: int) -> int:
    """About how many samples a window holds: upstream, too, counts one series' window at a time."""
    counts = np.diff(batch.offsets)
    most = int(counts.argmax())
    first, last = int(batch.offsets[most]), int(batch.offsets[most + 1])
    if last - first < 2:
        return last - first
    span = int(batch.timestamps_ms[last - 1] - batch.timestamps_ms[first])
    return min(last - first, (last - first) * width_ms // max(1, span) + 1)


def _with_reset_hints(batch: SeriesBatch) -> SeriesBatch:
    """Every counter histogram told whether it was reset since the one before, where that is known."""
    assert batch.histograms is not None
    hinted = batch.histograms.copy()
    for i in range(len(batch.labels)):
        previous: FloatHistogram | None = None
        for s in range(int(batch.offsets[i]), int(batch.offsets[i + 1])):
            current: FloatHistogram | None = batch.histograms[s]
            if current is None:
                continue
            if previous is not None and current.counter_reset_hint is CounterResetHint.UNKNOWN:
                reset = detect_reset(current, previous)
                hinted[s] = current.with_hint(CounterResetHint.RESET if reset else CounterResetHint.NOT_RESET)
            previous = current
    return replace(batch, histograms=hinted)


def _extended(window: RangeVector, node: VectorSelector) -> SeriesBatch:
    """An ``anchored`` or ``smoothed`` range: the samples inside, and one at each end."""
    kind = "smoothed" if node.smoothed else "anchored"
    start, end = int(window.starts[0]), int(window.ends[0])
    labels, offsets = [], [0]
    times: list[int] = []
    values: list[float] = []
    for i in range(len(window.labels)):
        low, high = int(window.low[i, 0]), int(window.high[i, 0])
        if low >= high:
            continue
        if window.histograms is not None and is_present(window.histograms[low:high]).any():
            raise QueryError(f"{kind} modifier is not supported with histograms")
        t, v = window.times[low:high].tolist(), window.values[low:high].tolist()
        last = len(t) - 1
        first = max(0, next((s for s in range(last) if t[s] > start), last) - 1)
        if node.smoothed:
            last = next((s for s in range(last) if t[s] >= end), last)
        if t[last] <= start:
            continue
        left, right = extend_floats(t, v, first, last, start, end, node.smoothed, False)
        inner = range(first + (t[first] <= start), last + 1 - (t[last] >= end))
        times += [start, *(t[s] for s in inner), end]
        values += [left, *(v[s] for s in inner), right]
        labels.append(window.labels[i])
        offsets.append(len(times))
    return SeriesBatch(
        labels, np.array(offsets, np.int64), np.array(times, np.int64), np.array(values, np.float64)
    )


def _writable(batch: SeriesBatch) -> SeriesBatch:
    """Columns as the kernels' signatures want them: contiguous, of the right type, not read-only."""
    whole = _is_plain(batch.offsets, _INT64) and _is_plain(batch.timestamps_ms, _INT64)
    if whole and _is_plain(batch.values, _FLOAT64):
        return batch
    offsets = np.require(batch.offsets, np.int64, ("C_CONTIGUOUS", "WRITEABLE"))
    times = np.require(batch.timestamps_ms, np.int64, ("C_CONTIGUOUS", "WRITEABLE"))
    values = np.require(batch.values, np.float64, ("C_CONTIGUOUS", "WRITEABLE"))
    return replace(batch, offsets=offsets, timestamps_ms=times, values=values)


_INT64, _FLOAT64 = np.dtype(np.int64), np.dtype(np.float64)


def _is_plain(column: npt.NDArray[Any], dtype: np.dtype[Any]) -> bool:
    flags = column.flags
    return column.dtype == dtype and flags.c_contiguous and flags.writeable
