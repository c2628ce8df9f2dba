"""rate(), increase() and delta() of native histograms, and counter resets told by start timestamps.

Mirrors ``histogramRate`` and ``extendedHistogramRate`` of ``promql/functions.go``.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING

from wavetank.model.histogram import CounterResetHint, FloatHistogram
from wavetank.model.histogram_math import Accumulator, add, detect_reset, subtract, to_schema
from wavetank.promql import annotations as notes
from wavetank.promql.annotations import Annotations
from wavetank.promql.ast import Expr

if TYPE_CHECKING:
    from wavetank.promql.window_functions import Window

__all__ = [
    "extended_histogram_rate",
    "histogram_rate",
    "interpolate_histograms",
    "start_overlaps",
    "start_resets",
]


def start_resets(starts: Sequence[int], times: Sequence[int], i: int) -> bool:
    """Whether sample i's start timestamp says that the counter began anew after sample i - 1."""
    if not starts:
        return False
    before, t_before, now, t = starts[i - 1], times[i - 1], starts[i], times[i]
    if now == 0 or now >= t or now < t_before:
        return False
    if now > t_before:
        return True
    # It begins exactly at the sample before: new only if that one belonged to something older.
    return before <= t_before and before not in (0, t_before)


def start_overlaps(before: int, t_before: int, now: int) -> bool:
    """Whether a counter claims to have begun before the last sample of another life."""
    return now not in (0, before) and now < t_before


def histogram_rate(w: Window, starts: Sequence[int], *, counter: bool) -> FloatHistogram | None:
    """The change from the first to the last of two or more, resets made good; None with an annotation."""
    points, times = w.histograms, w.histogram_times
    first, last = points[0], points[-1]
    previous = first
    custom = first.has_custom_buckets
    gauge = CounterResetHint.GAUGE
    ends_are_gauges = (first.counter_reset_hint is gauge, last.counter_reset_hint is gauge)
    if counter and any(ends_are_gauges):
        w.annotations.add(notes.histogram_not_counter(w.name, w.first_arg))
    if counter and (start_resets(starts, times, 1) or detect_reset(points[1], previous)):
        # The first sample's value does not matter then: count from nothing in the second's layout.
        second = points[1]
        previous = FloatHistogram(schema=second.schema, custom_values=second.custom_values)
        custom = second.has_custom_buckets
    middle = points[1:-1] if counter else []
    if any(h.has_custom_buckets is not custom for h in (last, *middle)):
        w.annotations.add(notes.mixed_exponential_custom(w.name, w.first_arg))
        return None
    if any(h.counter_reset_hint is gauge for h in middle):
        w.annotations.add(notes.histogram_not_counter(w.name, w.first_arg))
    schema = min(h.schema for h in (last, previous, *middle))
    total = Accumulator(last if custom else to_schema(last, schema), compensated=False)
    reconciled = {"subtraction": total.add(previous, -1.0).bounds_reconciled, "addition": False}
    if counter:
        _note_overlaps(w, starts)
        for i in range(1, len(points)):
            if start_resets(starts, times, i) or detect_reset(points[i], previous):
                reconciled["addition"] |= total.add(previous).bounds_reconciled
            previous = points[i]
    elif not all(ends_are_gauges):
        w.annotations.add(notes.histogram_not_gauge(w.name, w.first_arg))
    if reconciled["subtraction"]:
        w.annotations.add(notes.mismatched_custom_buckets("subtraction", w.first_arg))
    if reconciled["addition"]:
        w.annotations.add(notes.mismatched_custom_buckets("addition", w.first_arg))
    return total.result().with_hint(gauge).compact()


def _note_overlaps(w: Window, starts: Sequence[int]) -> None:
    for i in range(1, len(starts)):
        if start_overlaps(starts[i - 1], w.histogram_times[i - 1], starts[i]):
            w.annotations.add(notes.start_time_overlap(w.name, w.first_arg))
            return


def interpolate_histograms(
    before: tuple[int, FloatHistogram],
    after: tuple[int, FloatHistogram],
    at: int,
    *,
    counter: bool,
    annotations: Annotations,
    place: Expr,
) -> FloatHistogram:
    """The histogram at ``at`` between two samples. Raises IncompatibleSchemaError."""
    (t1, h1), (t2, h2) = before, after
    if at == t1:
        return h1
    if at == t2:
        return h2
    fraction = (at - t1) / (t2 - t1)
    if counter and detect_reset(h2, h1):
        return h2.mul(fraction)
    difference, found = subtract(h2, h1)
    if found.bounds_reconciled:
        annotations.add(notes.mismatched_custom_buckets("subtraction", place))
    result, found = add(difference.mul(fraction), h1)
    if found.bounds_reconciled:
        annotations.add(notes.mismatched_custom_buckets("addition", place))
    return result


def extended_histogram_rate(w: Window, *, counter: bool, per_second: bool) -> FloatHistogram | None:
    """With ``anchored`` or ``smoothed``: the change between the histograms at the window's ends."""
    last = len(w.histogram_times) - 1
    first = max(0, bisect_right(w.histogram_times, w.start, 0, last) - 1)
    if w.smoothed:
        last = bisect_left(w.histogram_times, w.end, 0, last)
    if w.histogram_times[last] <= w.start or (w.smoothed and w.histogram_times[first] > w.end):
        return None
    points = w.histograms[first : last + 1]
    if any(h.has_custom_buckets is not points[0].has_custom_buckets for h in points):
        w.annotations.add(notes.mixed_exponential_custom(w.name, w.first_arg))
        return None
    gauge = CounterResetHint.GAUGE
    if counter and any(h.counter_reset_hint is gauge for h in points):
        w.annotations.add(notes.histogram_not_counter(w.name, w.first_arg))
    left, right = _ends(w, first, last, counter)
    if not counter and not (left.counter_reset_hint is gauge and right.counter_reset_hint is gauge):
        w.annotations.add(notes.histogram_not_gauge(w.name, w.first_arg))
    change, found = subtract(right, left)
    if found.bounds_reconciled:
        w.annotations.add(notes.mismatched_custom_buckets("subtraction", w.first_arg))
    if counter:
        change = _with_resets(w, change, left, right, first, last)
    if per_second:
        change = change.div(w.seconds)
    return change.with_hint(gauge).compact()


def _ends(w: Window, first: int, last: int, counter: bool) -> tuple[FloatHistogram, FloatHistogram]:
    times, points = w.histogram_times, w.histograms

    def between(i: int, at: int) -> FloatHistogram:
        return interpolate_histograms(
            (times[i], points[i]),
            (times[i + 1], points[i + 1]),
            at,
            counter=counter,
            annotations=w.annotations,
            place=w.first_arg,
        )

    left, right = points[first], points[last]
    if w.smoothed and times[first] < w.start:
        left = between(first, w.start)
    if w.smoothed and last > 0 and times[last] > w.end:
        right = between(last - 1, w.end)
    return left, right


def _with_resets(
    w: Window, change: FloatHistogram, left: FloatHistogram, right: FloatHistogram, first: int, last: int
) -> FloatHistogram:
    """Adds back what was lost at counter resets between the window's ends."""
    times, points = w.histogram_times, w.histograms
    begin, previous = first + 1, left
    if w.smoothed and times[first] < w.start and detect_reset(points[first + 1], points[first]):
        # The value at the left end is already part of the new life.
        previous = points[first + 1]
        begin += 1
    if begin > last:
        return change
    lost: FloatHistogram | None = None
    reconciled = False
    for point in (*points[begin:last], right):
        if detect_reset(point, previous):
            if lost is None:
                lost = previous
            else:
                lost, found = add(lost, previous)
                reconciled |= found.bounds_reconciled
        previous = point
    if lost is not None:
        change, found = add(change, lost)
        reconciled |= found.bounds_reconciled
    if reconciled:
        w.annotations.add(notes.mismatched_custom_buckets("addition", w.first_arg))
    return change
