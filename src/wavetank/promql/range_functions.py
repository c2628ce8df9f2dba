"""Functions over range vectors: which kernel does what, and which series take the slow way.

A call is computed for all series and steps by one kernel over floats; series that hold native histograms, or
start timestamps where the function minds them, are then done again by ``window_functions``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np

from wavetank.limits import PROMQL_WALKED_SAMPLES
from wavetank.model.histogram import FloatHistogram
from wavetank.promql import range_kernels as kernels
from wavetank.promql.annotations import Annotations
from wavetank.promql.ast import Call, Expr
from wavetank.promql.failures import QueryError
from wavetank.promql.range_vector import RangeVector
from wavetank.promql.vector import Bools, Floats, Ints, Vector, is_present
from wavetank.promql.window_functions import FLOAT_FUNCTIONS, WINDOW_FUNCTIONS, Value, Window

__all__ = ["ANCHORED_SAFE", "SMOOTHED_SAFE", "USES_START_TIMES", "RangeCall", "call_range_function"]

ANCHORED_SAFE: Final = frozenset(("resets", "changes", "rate", "increase", "delta"))
SMOOTHED_SAFE: Final = frozenset(("rate", "increase", "delta"))
# These look at every sample of every window, so that one call may take minutes.
_WALKS: Final = frozenset(
    ("deriv", "mad_over_time", "predict_linear", "quantile_over_time", "stddev_over_time", "stdvar_over_time")
)
USES_START_TIMES: Final = frozenset(("rate", "irate", "increase", "resets"))


@dataclass(frozen=True, slots=True)
class RangeCall:
    """One call over a range vector. ``scalars`` are the other arguments, float64[k] each."""

    node: Call
    arg: Expr
    window: RangeVector
    scalars: Sequence[Floats]
    now: Ints
    anchored: bool
    smoothed: bool
    annotations: Annotations


def call_range_function(call: RangeCall, check: Callable[[], None] = lambda: None) -> Vector:
    """The instant vector of the call's results; labels still with their names.

    ``check`` is called now and then during long work; what it raises ends it.
    """
    w = call.window
    shape = w.shape
    values, mask = np.zeros(shape), np.zeros(shape, np.bool_)
    name = call.node.func.name
    for first, last in _portions(call) if name in _WALKS else [(0, shape[0])] if shape[0] else []:
        check()
        part = call if last - first == shape[0] else replace(call, window=w.part(first, last))
        _KERNELS[name](part, values[first:last], mask[first:last])
    vector = Vector.of_floats(w.labels, values, mask, w.drop)
    for row in _slow_rows(call):
        _redo_row(call, vector, row)
    return vector


def _portions(call: RangeCall) -> list[tuple[int, int]]:
    """Series in groups, each of whose windows hold about ``PROMQL_WALKED_SAMPLES`` samples together."""
    work = np.cumsum(call.window.counts.sum(axis=1)) // PROMQL_WALKED_SAMPLES
    cuts = [0, *(np.flatnonzero(np.diff(work)) + 1).tolist(), len(work)]
    return [(a, b) for a, b in pairwise(cuts) if b > a]


def _slow_rows(call: RangeCall) -> list[int]:
    w = call.window
    rows = set(w.histogram_rows)
    if w.start_times is not None and call.node.func.name in USES_START_TIMES:
        known = np.concatenate([[0], np.cumsum(w.start_times != 0)])
        rows.update(int(i) for i in np.flatnonzero(known[w.offsets[1:]] - known[w.offsets[:-1]]))
    return sorted(rows)


def _redo_row(call: RangeCall, vector: Vector, row: int) -> None:
    """One series again, window by window."""
    name = call.node.func.name
    w = call.window
    function = WINDOW_FUNCTIONS.get(name)
    begin, end = int(w.offsets[row]), int(w.offsets[row + 1])
    has = np.zeros(end - begin, np.bool_)
    if w.histograms is not None:
        has = is_present(w.histograms[begin:end])
    if function is None:
        _redo_floats(call, vector, row, has)
        return
    vector.mask[row] = False
    for j in range(w.shape[1]):
        low, high = int(w.low[row, j]), int(w.high[row, j])
        if low < high:
            _put(vector, row, j, function(_window(call, row, j, low, high, has[low - begin : high - begin])))


def _redo_floats(call: RangeCall, vector: Vector, row: int, has: Bools) -> None:
    """A function that only looks at floats: the kernel again over this series without its histograms."""
    name = call.node.func.name
    w = call.window
    begin, end = int(w.offsets[row]), int(w.offsets[row + 1])
    before = np.concatenate([[0], np.cumsum(~has)]).astype(np.int64)
    low = before[w.low[row : row + 1] - begin]
    high = before[w.high[row : row + 1] - begin]
    alone = RangeVector(
        w.labels[row : row + 1],
        np.array([0, before[-1]], np.int64),
        w.times[begin:end][~has],
        w.values[begin:end][~has],
        None,
        None,
        w.drop[row : row + 1],
        w.starts,
        w.ends,
        _bounds=(np.ascontiguousarray(low), np.ascontiguousarray(high)),
    )
    only = RangeCall(
        call.node, call.arg, alone, call.scalars, call.now, call.anchored, call.smoothed, call.annotations
    )
    values, mask = np.zeros((1, len(w.ends))), np.zeros((1, len(w.ends)), np.bool_)
    _KERNELS[name](only, values, mask)
    vector.values[row], vector.mask[row] = values[0], mask[0]
    for j in range(w.shape[1]):
        a, b = int(w.low[row, j]), int(w.high[row, j])
        if a < b:
            FLOAT_FUNCTIONS[name](_window(call, row, j, a, b, has[a - begin : b - begin]))


def _window(call: RangeCall, row: int, j: int, low: int, high: int, has: Bools) -> Window:
    w = call.window
    times = w.times[low:high]
    floats = ~has
    histograms: list[FloatHistogram] = []
    if w.histograms is not None:
        histograms = w.histograms[low:high][has].tolist()
    starts = None if w.start_times is None else w.start_times[low:high]
    return Window(
        w.labels[row].name,
        times[floats].tolist(),
        w.values[low:high][floats].tolist(),
        [] if starts is None else starts[floats].tolist(),
        times[has].tolist(),
        histograms,
        [] if starts is None else starts[has].tolist(),
        int(w.starts[j]),
        int(w.ends[j]),
        int(call.now[j]),
        [float(s[j]) for s in call.scalars],
        call.anchored,
        call.smoothed,
        call.arg,
        call.node.args[0],
        call.annotations,
    )


def _put(vector: Vector, row: int, j: int, value: Value) -> None:
    if value is None:
        return
    vector.mask[row, j] = True
    if not isinstance(value, FloatHistogram):
        vector.values[row, j] = value
        return
    if vector.histograms is None or vector.is_histogram is None:
        vector.histograms = np.full(vector.values.shape, None, object)
        vector.is_histogram = np.zeros(vector.values.shape, np.bool_)
    vector.histograms[row, j] = value
    vector.is_histogram[row, j] = True


# --- floats: each fills `values` and `mask`


def _rate(*, counter: bool, per_second: bool) -> Callable[[RangeCall, Floats, Bools], None]:
    def run(call: RangeCall, values: Floats, mask: Bools) -> None:
        w = call.window
        if call.anchored or call.smoothed:
            kernels.extended_rate(
                w.times, w.values, w.low, w.high, w.starts, w.ends, call.smoothed, counter, per_second,
                values, mask,
            )  # fmt: skip
            return
        kernels.extrapolated_rate(
            w.offsets, w.times, w.values, w.starts, w.ends, counter, per_second, values, mask
        )

    return run


def _last_two(*, rate: bool) -> Callable[[RangeCall, Floats, Bools], None]:
    def run(call: RangeCall, values: Floats, mask: Bools) -> None:
        w = call.window
        np.greater_equal(w.counts, 2, out=mask)
        if not mask.any():
            return
        at = w.high[mask] - 1
        change = w.values[at] - w.values[at - 1]
        if rate:
            change = np.where(change < 0, w.values[at], change)
            change = change / ((w.times[at] - w.times[at - 1]) / 1000)
        values[mask] = change

    return run


def _steps_between(differs: Callable[[Floats, Floats], Bools]) -> Callable[[RangeCall, Floats, Bools], None]:
    """changes and resets: how many pairs of neighbours differ in a way, by prefix counts."""

    def run(call: RangeCall, values: Floats, mask: Bools) -> None:
        w = call.window
        low = w.low
        counts = w.counts
        np.greater(counts, 0, out=mask)
        if call.anchored:
            # The window reaches back by the lookback; begin at the last sample at or before its start.
            low, inside = _anchored_low(w)
            mask &= inside
        if not len(w.values):
            return
        found = np.zeros(len(w.values) + 1, np.int64)
        np.cumsum(differs(w.values[:-1], w.values[1:]), out=found[2:])
        last = np.maximum(w.high, 1)
        first = np.minimum(low + 1, last)
        np.subtract(found[last], found[first], out=values, where=mask, casting="unsafe")

    return run


def _anchored_low(w: RangeVector) -> tuple[Ints, Bools]:
    low = w.low.copy()
    inside = np.zeros(low.shape, np.bool_)
    for i in range(low.shape[0]):
        times = w.times[w.offsets[i] : w.offsets[i + 1]]
        after = np.searchsorted(times, w.starts, side="right") + w.offsets[i]
        low[i] = np.maximum(low[i], after - 1)
        inside[i] = after < w.high[i]
    return low, inside


def _sums(*, average: bool) -> Callable[[RangeCall, Floats, Bools], None]:
    def run(call: RangeCall, values: Floats, mask: Bools) -> None:
        w = call.window
        kernels.sums(w.offsets, w.values, w.low, w.high, average, values, mask)

    return run


def _extremes(sign: int, *, stamp: bool) -> Callable[[RangeCall, Floats, Bools], None]:
    def run(call: RangeCall, values: Floats, mask: Bools) -> None:
        w = call.window
        kernels.extremes(w.offsets, w.times, w.values, w.low, w.high, sign, stamp, values, mask)

    return run


def _variances(*, root: bool) -> Callable[[RangeCall, Floats, Bools], None]:
    def run(call: RangeCall, values: Floats, mask: Bools) -> None:
        w = call.window
        kernels.variances(w.values, w.low, w.high, root, values, mask)

    return run


def _quantiles(*, deviation: bool) -> Callable[[RangeCall, Floats, Bools], None]:
    def run(call: RangeCall, values: Floats, mask: Bools) -> None:
        w = call.window
        q = np.full(len(w.ends), 0.5) if deviation else np.ascontiguousarray(call.scalars[0])
        kernels.quantiles(w.values, w.low, w.high, q, deviation, values, mask)

    return run


def _regression(*, predict: bool) -> Callable[[RangeCall, Floats, Bools], None]:
    def run(call: RangeCall, values: Floats, mask: Bools) -> None:
        w = call.window
        ahead = np.ascontiguousarray(call.scalars[0]) if predict else np.zeros(len(w.ends))
        kernels.regression(w.times, w.values, w.low, w.high, call.now, ahead, predict, values, mask)

    return run


def _smoothing(call: RangeCall, values: Floats, mask: Bools) -> None:
    w = call.window
    used = w.used
    for what, factor in zip(("smoothing factor", "trend factor"), call.scalars, strict=True):
        bad = used & ~((factor > 0) & (factor < 1))
        if bad.any():
            letter = "sf" if what.startswith("s") else "tf"
            raise QueryError(f"invalid {what}. Expected: 0 < {letter} < 1, got: {factor[bad][0]:f}")
    sf, tf = (np.ascontiguousarray(s) for s in call.scalars)
    kernels.smoothing(w.offsets, w.values, w.low, w.high, sf, tf, values, mask)


def _at(which: str, *, stamp: bool) -> Callable[[RangeCall, Floats, Bools], None]:
    """The first or last sample's value, or its time in seconds."""

    def run(call: RangeCall, values: Floats, mask: Bools) -> None:
        w = call.window
        np.greater(w.counts, 0, out=mask)
        position = (w.low if which == "first" else w.high - 1)[mask]
        values[mask] = w.times[position] / 1000 if stamp else w.values[position]

    return run


def _count(call: RangeCall, values: Floats, mask: Bools) -> None:
    np.greater(call.window.counts, 0, out=mask)
    values[:] = call.window.counts


def _present(call: RangeCall, values: Floats, mask: Bools) -> None:
    np.greater(call.window.counts, 0, out=mask)
    values[:] = 1.0


_KERNELS: Final[dict[str, Callable[[RangeCall, Floats, Bools], None]]] = {
    "rate": _rate(counter=True, per_second=True),
    "increase": _rate(counter=True, per_second=False),
    "delta": _rate(counter=False, per_second=False),
    "irate": _last_two(rate=True),
    "idelta": _last_two(rate=False),
    "changes": _steps_between(lambda a, b: (a != b) & ~(np.isnan(a) & np.isnan(b))),
    "resets": _steps_between(lambda a, b: b < a),
    "sum_over_time": _sums(average=False),
    "avg_over_time": _sums(average=True),
    "max_over_time": _extremes(1, stamp=False),
    "min_over_time": _extremes(-1, stamp=False),
    "ts_of_max_over_time": _extremes(1, stamp=True),
    "ts_of_min_over_time": _extremes(-1, stamp=True),
    "stddev_over_time": _variances(root=True),
    "stdvar_over_time": _variances(root=False),
    "quantile_over_time": _quantiles(deviation=False),
    "mad_over_time": _quantiles(deviation=True),
    "deriv": _regression(predict=False),
    "predict_linear": _regression(predict=True),
    "double_exponential_smoothing": _smoothing,
    "first_over_time": _at("first", stamp=False),
    "last_over_time": _at("last", stamp=False),
    "ts_of_first_over_time": _at("first", stamp=True),
    "ts_of_last_over_time": _at("last", stamp=True),
    "count_over_time": _count,
    "present_over_time": _present,
    "absent_over_time": _present,
}
