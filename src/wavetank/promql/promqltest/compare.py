"""Comparing what a query gave with what a script expects.

Mirrors ``compareResult``, ``compareNativeHistogram`` and ``almost.Equal`` of prometheus/prometheus: floats
are equal within a relative 1e-6, NaN equals NaN, and a staleness marker only itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from wavetank.model.histogram import FloatHistogram, indexes
from wavetank.model.labels import Labels
from wavetank.model.quoting import format_float_g
from wavetank.model.value import is_stale_nan
from wavetank.promql.promqltest.script import Eval, Expectation
from wavetank.promql.result import Result
from wavetank.promql.series_description import SequenceValue

__all__ = ["Mismatch", "almost_equal", "check_annotations", "check_matrix", "check_result", "check_vector"]

EPSILON: Final = 1e-6
_MIN_NORMAL: Final = 2.2250738585072014e-308
_MAX: Final = 1.7976931348623157e308
Value = float | FloatHistogram
Rows = Sequence[tuple[Labels, int, Value]]


class Mismatch(Exception):
    """Expected and got differ; the text says where."""


def almost_equal(a: float, b: float, epsilon: float = EPSILON) -> bool:
    if is_stale_nan(a) or is_stale_nan(b):
        return is_stale_nan(a) and is_stale_nan(b)
    if (math.isnan(a) and math.isnan(b)) or a == b:
        return True
    total, difference = abs(a) + abs(b), abs(a - b)
    if a == 0 or b == 0 or total < _MIN_NORMAL:
        return difference < epsilon * _MIN_NORMAL
    return difference / min(total, _MAX) < epsilon


def _same_histogram(expected: FloatHistogram, got: FloatHistogram, *, hint: bool) -> bool:
    a, b = expected.compact(), got.compact()
    numbers = zip(
        (a.count, a.sum, a.zero_count, *a.positive_buckets, *a.negative_buckets),
        (b.count, b.sum, b.zero_count, *b.positive_buckets, *b.negative_buckets),
        strict=False,
    )
    return (
        a.schema == b.schema
        and a.custom_values == b.custom_values
        and a.zero_threshold == b.zero_threshold
        and indexes(a.positive_spans) == indexes(b.positive_spans)
        and indexes(a.negative_spans) == indexes(b.negative_spans)
        and all(almost_equal(x, y) for x, y in numbers)
        and (not hint or a.counter_reset_hint is b.counter_reset_hint)
    )


def show(value: Value | SequenceValue) -> str:
    if isinstance(value, SequenceValue):
        value = value.value if value.histogram is None else value.histogram
    return value.test_expression() if isinstance(value, FloatHistogram) else format_float_g(value)


def _compare(expected: SequenceValue, got: Value, what: str) -> None:
    if expected.histogram is not None:
        same = isinstance(got, FloatHistogram) and _same_histogram(
            expected.histogram, got, hint=expected.hint_given
        )
    else:
        same = not isinstance(got, FloatHistogram) and almost_equal(expected.value, got)
    if not same:
        raise Mismatch(f"expected {show(expected)} for {what} but got {show(got)}")


def check_result(command: Eval, result: Result) -> None:
    """Raises Mismatch."""
    if result.type == "string":
        if command.text != result.text:
            raise Mismatch(f"expected string {command.text!r} but got {result.text!r}")
    elif result.type == "scalar":
        check_scalar(command, result.scalar)
    elif result.type == "vector":
        check_vector(command, result.vector())
    else:
        check_matrix(command, result)


def check_scalar(command: Eval, value: float) -> None:
    if command.scalar is None:
        raise Mismatch(f"expected vector or matrix result, but got scalar {format_float_g(value)}")
    if not almost_equal(command.scalar, value):
        raise Mismatch(f"expected scalar {format_float_g(command.scalar)} but got {format_float_g(value)}")


def check_vector(command: Eval, rows: Rows) -> None:
    if command.scalar is not None:
        raise Mismatch("expected scalar result, but got a vector")
    seen = set()
    for position, (labels, _, got) in enumerate(rows):
        if labels not in command.series:
            raise Mismatch(f"unexpected metric {labels} in result, has value {show(got)}")
        place, values = command.series[labels]
        if command.ordered and place != position:
            raise Mismatch(f"expected metric {labels} at position {place + 1} but was at {position + 1}")
        _compare(values[0], got, str(labels))
        seen.add(labels)
    _refuse_missing(command, seen)


def check_matrix(command: Eval, result: Result) -> None:
    if command.ordered:
        raise Mismatch("expected ordered result, but query returned a matrix")
    if command.scalar is not None:
        raise Mismatch("expected scalar result, but got a matrix")
    seen = set()
    before: Labels | None = None
    for labels, times, floats, histograms in result.series():
        if before is not None and labels < before:
            raise Mismatch(f"matrix results should be sorted by labels: {before} stands before {labels}")
        before = labels
        got: dict[int, Value] = dict(zip(times.tolist(), floats.tolist(), strict=True))
        if histograms is not None:
            found = {t: h for t, h in zip(times.tolist(), histograms, strict=True) if h is not None}
            got.update(found)
        shown = ", ".join(f"{show(v)} @[{t}]" for t, v in got.items())
        if labels not in command.series:
            raise Mismatch(f"unexpected metric {labels} in result, has {shown}")
        seen.add(labels)
        expected = {
            command.start_ms + i * command.step_ms: value
            for i, value in enumerate(command.series[labels][1])
            if not value.omitted
        }
        if expected and max(expected) > command.end_ms:
            raise Mismatch(f"expected points for {labels} beyond the end of the query")
        if set(expected) != set(got):
            wanted = ", ".join(f"{show(v)} @[{t}]" for t, v in expected.items())
            raise Mismatch(f"expected {wanted} for {labels}, but got {shown}")
        for ts, value in expected.items():
            _compare(value, got[ts], f"{labels} at {ts} ms (result has {shown})")
    _refuse_missing(command, seen)


def _refuse_missing(command: Eval, seen: set[Labels]) -> None:
    for labels, (_, values) in command.series.items():
        if labels not in seen:
            raise Mismatch(f"expected metric {labels} with {' '.join(map(show, values))} not found")


def check_annotations(command: Eval, warnings: Sequence[str], infos: Sequence[str]) -> None:
    """Raises Mismatch unless every expected annotation is there, and none beside them."""
    for kind, got in (("warn", warnings), ("info", infos)):
        expected: list[Expectation] = command.expects.get(kind, [])
        if expected and not got:
            raise Mismatch(f"expected {kind} annotations but none were found")
        for e in expected:
            if not any(e.matches(text) for text in got):
                raise Mismatch(f"expected {kind} annotation matching {e}, found: {list(got)}")
        for text in got if expected else ():
            if not any(e.matches(text) for e in expected):
                raise Mismatch(f"unexpected {kind} annotation {text!r}")
        if f"no_{kind}" in command.expects and got:
            raise Mismatch(f"unexpected {kind} annotations: {list(got)}")
