"""Functions over range vectors, one window at a time: for series with native histograms or start timestamps.

Mirrors the range functions of ``promql/functions.go``. The kernels of ``range_kernels`` do the same for plain
floats, many windows at once; here the samples are Python objects and every rule about mixing floats and
histograms is spelled out. A function returns a float, a histogram, or None for no result.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from wavetank.model.histogram import CounterResetHint, FloatHistogram, IncompatibleSchemaError
from wavetank.model.histogram_math import Accumulator, detect_reset, kahan_add, subtract
from wavetank.promql import annotations as notes
from wavetank.promql.annotations import Annotations
from wavetank.promql.ast import Expr
from wavetank.promql.histogram_rate import (
    extended_histogram_rate,
    histogram_rate,
    start_overlaps,
    start_resets,
)

__all__ = ["WINDOW_FUNCTIONS", "Value", "Window"]

Value: TypeAlias = float | FloatHistogram | None
GAUGE: Final = CounterResetHint.GAUGE


@dataclass(slots=True)
class Window:
    """The samples of one series in one step's window, floats and histograms apart, each in order of time.

    ``start`` and ``end`` bound the window in ms; with ``anchored`` or ``smoothed`` there are samples beyond.
    ``now`` is the step, ``scalars`` the function's other arguments at it; ``*_starts`` are start timestamps,
    empty if unknown. ``arg`` is the range expression and ``call`` the call, for the places of annotations.
    """

    name: str
    times: Sequence[int]
    floats: Sequence[float]
    float_starts: Sequence[int]
    histogram_times: Sequence[int]
    histograms: Sequence[FloatHistogram]
    histogram_starts: Sequence[int]
    start: int
    end: int
    now: int
    scalars: Sequence[float]
    anchored: bool
    smoothed: bool
    arg: Expr
    first_arg: Expr
    annotations: Annotations

    @property
    def seconds(self) -> float:
        return (self.end - self.start) / 1000


def _mixed(w: Window) -> bool:
    """Whether floats and histograms meet; warns if so."""
    if w.floats and w.histograms:
        w.annotations.add(notes.mixed_floats_histograms(w.name, w.first_arg))
        return True
    return False


def _ignore_histograms(w: Window) -> None:
    if w.histograms:
        w.annotations.add(notes.histogram_ignored_in_mixed_range(w.name, w.first_arg))


# --- rate and its kin


def _rate(w: Window, *, counter: bool, per_second: bool) -> Value:
    if _mixed(w):
        return None
    if w.anchored or w.smoothed:
        if w.histograms:
            return extended_histogram_rate(w, counter=counter, per_second=per_second)
        return _extended_rate(w, counter=counter, per_second=per_second) if w.floats else None
    if w.histograms:
        return _extrapolated_histogram(w, counter=counter, per_second=per_second)
    return _extrapolated_float(w, counter=counter, per_second=per_second) if w.floats else None


def _extrapolated_float(w: Window, *, counter: bool, per_second: bool) -> Value:
    starts = w.float_starts if counter else ()
    change = w.floats[-1] - w.floats[0]
    if counter:
        overlapped = False
        for i in range(1, len(w.floats)):
            if starts and not overlapped and start_overlaps(starts[i - 1], w.times[i - 1], starts[i]):
                w.annotations.add(notes.start_time_overlap(w.name, w.first_arg))
                overlapped = True
            reset = w.floats[i] < w.floats[i - 1]
            if reset or (starts and start_resets(starts, w.times, i)):
                change += w.floats[i - 1]
    created = _created_inside(w, starts, w.times)
    if created is None and len(w.floats) < 2:
        return None
    if created is not None:
        change += w.floats[0]
    zero = w.floats[0] / change if counter and change > 0 and w.floats[0] >= 0 else None
    return change * _extrapolation(w, w.times, created, zero, counter, per_second)


def _extrapolated_histogram(w: Window, *, counter: bool, per_second: bool) -> Value:
    starts = w.histogram_starts if counter else ()
    change: FloatHistogram | None = None
    if len(w.histograms) > 1:
        change = histogram_rate(w, starts, counter=counter)
        if change is None:
            return None
    created = _created_inside(w, starts, w.histogram_times)
    if created is not None:
        first = w.histograms[0]
        if change is None:
            change = first
        else:
            total = Accumulator(change, compensated=False)
            try:
                if total.add(first).bounds_reconciled:
                    w.annotations.add(notes.mismatched_custom_buckets("addition", w.first_arg))
            except IncompatibleSchemaError:
                w.annotations.add(notes.mixed_exponential_custom(w.name, w.first_arg))
                return None
            change = total.result()
    if change is None:
        return None
    zero = None
    if counter and change.count > 0 and w.histograms[0].count >= 0:
        zero = w.histograms[0].count / change.count
    return change.mul(_extrapolation(w, w.histogram_times, created, zero, counter, per_second))


def _created_inside(w: Window, starts: Sequence[int], times: Sequence[int]) -> int | None:
    """The start timestamp of the first sample, if the counter began inside the window."""
    if starts and starts[0] != 0 and w.start < starts[0] < times[0]:
        return starts[0]
    return None


def _extrapolation(
    w: Window,
    times: Sequence[int],
    created: int | None,
    zero: float | None,
    counter: bool,
    per_second: bool,
) -> float:
    """What the change over the samples is multiplied with to stand for the whole window.

    ``zero`` is the first value as a part of the change: a counter cannot have been below zero.
    """
    gaps = len(times) - 1
    sampled = (times[-1] - times[0]) / 1000
    average = sampled / gaps if gaps else 0.0
    threshold = average * 1.1
    to_start = (times[0] - w.start) / 1000
    to_end = (w.end - times[-1]) / 1000
    if created is not None:
        to_start = 0.0
        sampled = (times[-1] - created) / 1000
    else:
        if to_start >= threshold:
            to_start = average / 2
        if counter and zero is not None:
            to_start = min(to_start, sampled * zero)
    if to_end >= threshold:
        to_end = average / 2
    factor = (sampled + to_start + to_end) / sampled if sampled != 0 else 1.0
    return factor / w.seconds if per_second else factor


def _extended_rate(w: Window, *, counter: bool, per_second: bool) -> Value:
    last = len(w.times) - 1
    first = max(0, bisect_right(w.times, w.start, 0, last) - 1)
    if w.smoothed:
        last = bisect_left(w.times, w.end, 0, last)
    if w.times[last] <= w.start or (w.smoothed and w.times[first] > w.end):
        return None
    left, right = extend_floats(w.times, w.floats, first, last, w.start, w.end, w.smoothed, counter)
    change = right - left
    if counter:
        inner = w.floats[first + (w.times[first] <= w.start) : last + 1 - (w.times[last] >= w.end)]
        previous = left
        for value in (*inner, right):
            if value < previous:
                change += previous
            previous = value
    return change / w.seconds if per_second else change


def extend_floats(
    times: Sequence[int],
    values: Sequence[float],
    first: int,
    last: int,
    start: int,
    end: int,
    smoothed: bool,
    counter: bool,
) -> tuple[float, float]:
    """The values at a window's ends: of the nearest samples, or with ``smoothed`` between two."""
    left, right = values[first], values[last]
    if smoothed and times[first] < start:
        left = interpolate(times, values, first, start, counter)
    if smoothed and last > 0 and times[last] > end:
        right = interpolate(times, values, last - 1, end, counter)
    return left, right


def interpolate(times: Sequence[int], values: Sequence[float], i: int, at: int, counter: bool) -> float:
    """The value at ``at`` on the line from sample i to the next; a reset counter starts from zero."""
    a, b = values[i], values[i + 1]
    if counter and b < a:
        a = 0.0
    return a + (b - a) * (at - times[i]) / (times[i + 1] - times[i])


def _instant(w: Window, *, rate: bool) -> Value:
    """irate and idelta: the last two samples of either kind."""
    samples: list[tuple[int, float | FloatHistogram, int]] = sorted(
        (
            *zip(w.times, w.floats, w.float_starts or [0] * len(w.floats), strict=True),
            *zip(
                w.histogram_times,
                w.histograms,
                w.histogram_starts or [0] * len(w.histograms),
                strict=True,
            ),
        ),
        key=lambda s: s[0],
    )
    if len(samples) < 2:
        return None
    (t0, before, st0), (t1, after, st1) = samples[-2:]
    if t1 == t0:
        return None
    seconds = (t1 - t0) / 1000
    reset = start_resets((st0, st1), (t0, t1), 1)
    if isinstance(before, float) and isinstance(after, float):
        change = after if rate and (after < before or reset) else after - before
        return change / seconds if rate else change
    if not isinstance(before, FloatHistogram) or not isinstance(after, FloatHistogram):
        w.annotations.add(notes.mixed_floats_histograms(w.name, w.first_arg))
        return None
    gauges = (before.counter_reset_hint is GAUGE, after.counter_reset_hint is GAUGE)
    if rate and any(gauges):
        w.annotations.add(notes.histogram_not_counter(w.name, w.first_arg))
    if not rate and not all(gauges):
        w.annotations.add(notes.histogram_not_gauge(w.name, w.first_arg))
    result = after
    if not rate or not (reset or detect_reset(after, before)):
        try:
            result, found = subtract(after, before)
        except IncompatibleSchemaError:
            w.annotations.add(notes.mixed_exponential_custom(w.name, w.first_arg))
            return None
        if found.bounds_reconciled:
            w.annotations.add(notes.mismatched_custom_buckets("subtraction", w.first_arg))
    result = result.with_hint(GAUGE).compact()
    return result.div(seconds) if rate else result


# --- changes and resets


def _sequence(w: Window) -> list[tuple[int, float | FloatHistogram, int]] | None:
    """Both kinds merged by time, from the last before the window on if anchored; None for no result."""
    floats = zip(w.times, w.floats, w.float_starts or [0] * len(w.floats), strict=True)
    histograms = zip(
        w.histogram_times, w.histograms, w.histogram_starts or [0] * len(w.histograms), strict=True
    )
    samples: list[tuple[int, float | FloatHistogram, int]] = sorted(
        (*floats, *histograms), key=lambda s: s[0]
    )
    if not samples:
        return None
    if w.anchored:
        inside = bisect_right([s[0] for s in samples], w.start)
        if inside == len(samples):
            return None
        samples = samples[max(0, inside - 1) :]
    return samples


def _resets(w: Window) -> Value:
    samples = _sequence(w)
    if samples is None:
        return None
    count = 0
    for (t0, a, st0), (t1, b, st1) in itertools.pairwise(samples):
        if isinstance(a, FloatHistogram) != isinstance(b, FloatHistogram) or start_resets(
            (st0, st1), (t0, t1), 1
        ):
            count += 1
        elif isinstance(a, FloatHistogram) and isinstance(b, FloatHistogram):
            count += detect_reset(b, a)
        elif isinstance(a, float) and isinstance(b, float):
            count += b < a
    return float(count)


def _changes(w: Window) -> Value:
    samples = _sequence(w)
    if samples is None:
        return None
    count = 0
    for (_, a, _), (_, b, _) in itertools.pairwise(samples):
        if isinstance(a, FloatHistogram) and isinstance(b, FloatHistogram):
            count += not b.equals(a)
        elif isinstance(a, float) and isinstance(b, float):
            count += a != b and not (a != a and b != b)
        else:
            count += 1
    return float(count)


# --- over time


def _sum(w: Window) -> Value:
    if _mixed(w):
        return None
    if w.histograms:
        return sum_histograms(w, average=False)
    total, c = 0.0, 0.0
    for value in w.floats:
        total, c = kahan_add(value, total, c)
    return total if math.isinf(total) else total + c


def _average(w: Window) -> Value:
    if _mixed(w):
        return None
    if w.histograms:
        return sum_histograms(w, average=True)
    total, c = 0.0, 0.0
    for value in w.floats:
        total, c = kahan_add(value, total, c)
    return total / len(w.floats) + c / len(w.floats)


def sum_histograms(w: Window, *, average: bool) -> Value:
    """Sum or mean of the window's histograms, warning about hints that contradict each other."""
    hints = {h.counter_reset_hint for h in w.histograms}
    if CounterResetHint.RESET in hints and CounterResetHint.NOT_RESET in hints:
        w.annotations.add(notes.counter_reset_collision("aggregation", w.first_arg))
    try:
        result, reconciled = add_up(w.histograms, average=average)
    except IncompatibleSchemaError:
        w.annotations.add(notes.mixed_exponential_custom(w.name, w.first_arg))
        return None
    if reconciled:
        w.annotations.add(notes.mismatched_custom_buckets("aggregation", w.first_arg))
    return result


def add_up(histograms: Sequence[FloatHistogram], *, average: bool) -> tuple[FloatHistogram, bool]:
    """Sum or mean, and whether custom bounds had to be reconciled; a mean that would overflow runs along."""
    total = Accumulator(histograms[0], compensated=True)
    reconciled = running = False
    for i, histogram in enumerate(histograms[1:], 2):
        if not running:
            before = total.copy() if average else total
            reconciled |= total.add(histogram).bounds_reconciled
            if not average or not total.overflowed():
                continue
            running = True
            total = before
            total.scale(1 / (i - 1))
        total.scale((i - 1) / i)
        reconciled |= total.add(histogram.div(i)).bounds_reconciled
    if average and not running:
        total.scale(1 / len(histograms))
    return total.result(), reconciled


def _first(w: Window) -> Value:
    if w.histograms and not (w.floats and w.times[0] < w.histogram_times[0]):
        return w.histograms[0]
    return w.floats[0] if w.floats else None


def _last(w: Window) -> Value:
    if w.histograms and not (w.floats and w.histogram_times[-1] < w.times[-1]):
        return w.histograms[-1]
    return w.floats[-1] if w.floats else None


def _count(w: Window) -> Value:
    return float(len(w.floats) + len(w.histograms)) or None


def _present(w: Window) -> Value:
    return 1.0 if w.floats or w.histograms else None


def _first_time(w: Window) -> Value:
    times = [*w.times[:1], *w.histogram_times[:1]]
    return min(times) / 1000 if times else None


def _last_time(w: Window) -> Value:
    times = [*w.times[-1:], *w.histogram_times[-1:]]
    return max(times) / 1000 if times else None


def _floats_only(minimum: int) -> Callable[[Window], None]:
    """For functions that skip histograms: the kernel has the result, here only the notice is given."""

    def notice(w: Window) -> None:
        if len(w.floats) >= minimum:
            _ignore_histograms(w)

    return notice


WINDOW_FUNCTIONS: Final[dict[str, Callable[[Window], Value]]] = {
    "rate": lambda w: _rate(w, counter=True, per_second=True),
    "increase": lambda w: _rate(w, counter=True, per_second=False),
    "delta": lambda w: _rate(w, counter=False, per_second=False),
    "irate": lambda w: _instant(w, rate=True),
    "idelta": lambda w: _instant(w, rate=False),
    "changes": _changes,
    "resets": _resets,
    "sum_over_time": _sum,
    "avg_over_time": _average,
    "first_over_time": _first,
    "last_over_time": _last,
    "count_over_time": _count,
    "present_over_time": _present,
    "absent_over_time": _present,
    "ts_of_first_over_time": _first_time,
    "ts_of_last_over_time": _last_time,
}

# Functions that only look at floats, with the fewest floats at which they mention ignored histograms.
FLOAT_FUNCTIONS: Final[dict[str, Callable[[Window], None]]] = {
    "deriv": _floats_only(1),
    "predict_linear": _floats_only(1),
    "double_exponential_smoothing": _floats_only(1),
    "mad_over_time": _floats_only(1),
    "max_over_time": _floats_only(1),
    "min_over_time": _floats_only(1),
    "quantile_over_time": _floats_only(1),
    "stddev_over_time": _floats_only(1),
    "stdvar_over_time": _floats_only(1),
    "ts_of_max_over_time": _floats_only(1),
    "ts_of_min_over_time": _floats_only(1),
}
