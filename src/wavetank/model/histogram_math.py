"""Adding, subtracting and comparing native histograms of different resolutions.

Mirrors the arithmetic of ``model/histogram/float_histogram.go``: the coarser schema and the wider zero bucket
win; custom buckets with different bounds are brought to the bounds they share. Sums can be compensated
(Kahan-Babuska-Neumaier), because an aggregation adds thousands of samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from wavetank.model.histogram import (
    CounterResetHint,
    FloatHistogram,
    IncompatibleSchemaError,
    bound,
    indexes,
    spans_of,
)

__all__ = ["Accumulator", "Notes", "add", "detect_reset", "subtract", "to_schema"]

_FLOAT_MAX: Final = 1.7976931348623157e308


class Notes(NamedTuple):
    """What an operation had to do: hints that contradict each other, custom bounds that differ."""

    counter_reset_collision: bool = False
    bounds_reconciled: bool = False


def kahan_add(value: float, total: float, compensation: float) -> tuple[float, float]:
    """One step of compensated summation (Neumaier's variant)."""
    t = total + value
    if t > _FLOAT_MAX or t < -_FLOAT_MAX:
        return t, 0.0
    if abs(total) >= abs(value):
        return t, compensation + ((total - t) + value)
    return t, compensation + ((value - t) + total)


class _Side:
    """Counts of one side by bucket index, each with its compensation."""

    __slots__ = ("compensation", "counts")

    def __init__(self, spans: Sequence[tuple[int, int]], counts: Sequence[float]) -> None:
        self.counts = dict(zip(indexes(spans), counts, strict=True))
        self.compensation: dict[int, float] = {}

    def add(self, index: int, value: float, compensated: bool) -> None:
        if index not in self.counts:
            self.counts[index] = value
        elif compensated:
            c = self.compensation.get(index, 0.0)
            self.counts[index], self.compensation[index] = kahan_add(value, self.counts[index], c)
        else:
            self.counts[index] += value

    def total(self, index: int) -> float:
        return self.counts[index] + self.compensation.get(index, 0.0)

    def remap(self, target: dict[int, int], compensated: bool) -> None:
        """Move every bucket to ``target[index]``, adding up what meets."""
        old, old_c = self.counts, self.compensation
        self.counts, self.compensation = {}, {}
        for index in sorted(old):
            self.add(target[index], old[index], compensated)
            if index in old_c:
                self.add(target[index], old_c[index], compensated)


def _coarser(index: int, by: int) -> int:
    """The bucket that holds ``index`` after halving the resolution ``by`` times."""
    return ((index - 1) >> by) + 1


class Accumulator:
    """A histogram under construction: a mutable sum that ends in ``result()``."""

    def __init__(self, first: FloatHistogram, *, compensated: bool) -> None:
        self._compensated = compensated
        self._schema = first.schema
        self._custom = first.custom_values
        self._hint = first.counter_reset_hint
        self._zero_threshold = first.zero_threshold
        self._numbers = [first.zero_count, first.count, first.sum]
        self._corrections = [0.0, 0.0, 0.0]
        self._positive = _Side(first.positive_spans, first.positive_buckets)
        self._negative = _Side(first.negative_spans, first.negative_buckets)

    def add(self, other: FloatHistogram, sign: float = 1.0) -> Notes:
        """Add ``sign * other``. Raises IncompatibleSchemaError, leaving the sum as it was."""
        if (self._schema == -53) != other.has_custom_buckets:
            raise IncompatibleSchemaError
        collision = self._merge_hint(other.counter_reset_hint)
        if other.has_custom_buckets:
            self._add_numbers(0.0, other, sign)
            return Notes(collision, self._add_custom(other, sign))
        zero_count = self._widen_zero(other)
        self._add_numbers(zero_count, other, sign)
        if other.schema < self._schema:
            self._reduce(self._schema - other.schema)
            self._schema = other.schema
        by = other.schema - self._schema
        self._add_side(self._positive, other.positive_spans, other.positive_buckets, by, sign)
        self._add_side(self._negative, other.negative_spans, other.negative_buckets, by, sign)
        return Notes(collision, False)

    def scale(self, factor: float) -> None:
        """Multiply everything so far."""
        self._numbers = [n * factor for n in self._numbers]
        self._corrections = [c * factor for c in self._corrections]
        for side in (self._positive, self._negative):
            side.counts = {i: c * factor for i, c in side.counts.items()}
            side.compensation = {i: c * factor for i, c in side.compensation.items()}

    def overflowed(self) -> bool:
        counts = (*self._numbers, *self._positive.counts.values(), *self._negative.counts.values())
        return any(map(math.isinf, counts))

    def copy(self) -> Accumulator:
        twin = Accumulator.__new__(Accumulator)
        twin._compensated, twin._schema, twin._custom = self._compensated, self._schema, self._custom
        twin._hint, twin._zero_threshold = self._hint, self._zero_threshold
        twin._numbers, twin._corrections = list(self._numbers), list(self._corrections)
        for name in ("_positive", "_negative"):
            side: _Side = getattr(self, name)
            new = _Side((), ())
            new.counts, new.compensation = dict(side.counts), dict(side.compensation)
            setattr(twin, name, new)
        return twin

    def result(self) -> FloatHistogram:
        """The sum, with the compensations added in."""
        zero_count, count, total = (n + c for n, c in zip(self._numbers, self._corrections, strict=True))
        sides = []
        for side in (self._positive, self._negative):
            ascending = sorted(side.counts)
            sides.append((spans_of(ascending), tuple([side.total(i) for i in ascending])))
        return FloatHistogram(
            self._schema,
            count,
            total,
            self._zero_threshold,
            zero_count,
            *sides[0],
            *sides[1],
            self._custom,
            self._hint,
        )

    def _merge_hint(self, other: CounterResetHint) -> bool:
        """The hint of a sum; True if the two contradict each other."""
        mine = self._hint
        if other is mine or mine is CounterResetHint.GAUGE:
            return False
        if other is CounterResetHint.GAUGE:
            self._hint = other
            return False
        self._hint = CounterResetHint.UNKNOWN
        return mine is not CounterResetHint.UNKNOWN and other is not CounterResetHint.UNKNOWN

    def _add_numbers(self, zero_count: float, other: FloatHistogram, sign: float) -> None:
        for i, value in enumerate((zero_count, other.count, other.sum)):
            if self._compensated:
                self._numbers[i], self._corrections[i] = kahan_add(
                    sign * value, self._numbers[i], self._corrections[i]
                )
            else:
                self._numbers[i] += sign * value

    def _widen_zero(self, other: FloatHistogram) -> float:
        """Bring both zero buckets to one width; returns what then is in the other's."""
        zero_count, threshold = other.zero_count, other.zero_threshold
        other_sides: tuple[_Side, _Side] | None = None
        while threshold != self._zero_threshold:
            if threshold < self._zero_threshold:
                if other_sides is None:
                    other_sides = (
                        _Side(other.positive_spans, other.positive_buckets),
                        _Side(other.negative_spans, other.negative_buckets),
                    )
                zero_count, threshold = _absorbed(
                    other_sides, other.schema, other.zero_count, other.zero_threshold, self._zero_threshold
                )
            if threshold > self._zero_threshold:
                sides = (self._positive, self._negative)
                total, self._zero_threshold = _absorbed(
                    sides,
                    self._schema,
                    self._numbers[0] + self._corrections[0],
                    self._zero_threshold,
                    threshold,
                )
                self._numbers[0], self._corrections[0] = total, 0.0
                for side in sides:
                    for index in [
                        i for i in side.counts if bound(i - 1, self._schema) < self._zero_threshold
                    ]:
                        del side.counts[index]
                        side.compensation.pop(index, None)
        return zero_count

    def _reduce(self, by: int) -> None:
        for side in (self._positive, self._negative):
            side.remap({i: _coarser(i, by) for i in side.counts}, self._compensated)

    def _add_side(
        self, side: _Side, spans: Sequence[tuple[int, int]], counts: Sequence[float], by: int, sign: float
    ) -> None:
        for fine, count in zip(indexes(spans), counts, strict=True):
            index = _coarser(fine, by) if by else fine
            if bound(index, self._schema) > self._zero_threshold:  # else it is in the zero bucket already
                side.add(index, sign * count, self._compensated)

    def _add_custom(self, other: FloatHistogram, sign: float) -> bool:
        """True if the bounds differed and only the shared ones are left."""
        if self._custom == other.custom_values:
            for index, count in zip(indexes(other.positive_spans), other.positive_buckets, strict=True):
                self._positive.add(index, sign * count, self._compensated)
            return False
        shared = tuple(sorted(set(self._custom) & set(other.custom_values)))
        self._positive.remap(_onto(self._positive.counts, self._custom, shared), self._compensated)
        theirs = dict(zip(indexes(other.positive_spans), other.positive_buckets, strict=True))
        target = _onto(theirs, other.custom_values, shared)
        for index, count in theirs.items():
            self._positive.add(target[index], sign * count, self._compensated)
        self._custom = shared
        return True


def _onto(counts: dict[int, float], bounds: Sequence[float], shared: Sequence[float]) -> dict[int, int]:
    """For each bucket, the first shared bound that is not below its own; the last is +Inf."""
    out = {}
    for index in counts:
        upper = bounds[index] if index < len(bounds) else math.inf
        out[index] = next((i for i, s in enumerate(shared) if s >= upper), len(shared))
    return out


def _absorbed(
    sides: tuple[_Side, _Side], schema: int, zero_count: float, old: float, threshold: float
) -> tuple[float, float]:
    """The count of a zero bucket widened to ``threshold``, or further if that would cut a filled bucket."""
    if threshold == old:
        return zero_count, threshold
    while True:
        total = zero_count
        grown = threshold
        for side in sides:
            for index in sorted(side.counts):
                if bound(index - 1, schema) >= threshold:
                    break
                count = side.total(index)
                total += count
                upper = bound(index, schema)
                if upper > threshold:
                    if count != 0:
                        grown = max(grown, upper)
                    break
        if grown == threshold:
            return total, threshold
        threshold = grown


def add(left: FloatHistogram, right: FloatHistogram) -> tuple[FloatHistogram, Notes]:
    """Raises IncompatibleSchemaError."""
    total = Accumulator(left, compensated=False)
    notes = total.add(right)
    return total.result(), notes


def subtract(left: FloatHistogram, right: FloatHistogram) -> tuple[FloatHistogram, Notes]:
    """Raises IncompatibleSchemaError."""
    total = Accumulator(left, compensated=False)
    notes = total.add(right, -1.0)
    return total.result(), notes


def to_schema(histogram: FloatHistogram, schema: int) -> FloatHistogram:
    """At a coarser resolution; exponential buckets only. The hint is forgotten, as upstream does."""
    if schema == histogram.schema:
        return histogram
    assert schema < histogram.schema and not histogram.has_custom_buckets
    total = Accumulator(histogram.with_hint(CounterResetHint.UNKNOWN), compensated=False)
    total._reduce(histogram.schema - schema)
    total._schema = schema
    return total.result()


def detect_reset(current: FloatHistogram, previous: FloatHistogram) -> bool:
    """Whether the counter behind ``current`` was reset since ``previous``."""
    if current.counter_reset_hint is CounterResetHint.RESET:
        return True
    if current.counter_reset_hint is CounterResetHint.NOT_RESET:
        return False
    if current.count < previous.count:
        return True
    if current.has_custom_buckets:
        if not previous.has_custom_buckets:
            return True
        if current.custom_values != previous.custom_values:
            return _custom_reset(current, previous)
    elif previous.has_custom_buckets:
        return True
    if current.schema > previous.schema or current.zero_threshold < previous.zero_threshold:
        return True
    old = (
        _Side(previous.positive_spans, previous.positive_buckets),
        _Side(previous.negative_spans, previous.negative_buckets),
    )
    if not current.has_custom_buckets:
        zero_count, threshold = _absorbed(
            old, previous.schema, previous.zero_count, previous.zero_threshold, current.zero_threshold
        )
        if threshold != current.zero_threshold or current.zero_count < zero_count:
            return True
    new = (
        _Side(current.positive_spans, current.positive_buckets),
        _Side(current.negative_spans, current.negative_buckets),
    )
    by = previous.schema - current.schema
    return any(_shrunk(n.counts, o, current, by) for n, o in zip(new, old, strict=True))


def _shrunk(new: dict[int, float], old: _Side, current: FloatHistogram, by: int) -> bool:
    """Whether any bucket outside the zero bucket holds less than it did."""
    if by:
        old.remap({i: _coarser(i, by) for i in old.counts}, compensated=False)
    custom = current.has_custom_buckets
    for index, count in old.counts.items():
        if not custom and bound(index, current.schema) <= current.zero_threshold:
            continue
        if new.get(index, 0.0) < count:
            return True
    return False


def _custom_reset(current: FloatHistogram, previous: FloatHistogram) -> bool:
    shared = tuple(sorted(set(current.custom_values) & set(previous.custom_values)))
    totals = []
    for h in (current, previous):
        side = _Side(h.positive_spans, h.positive_buckets)
        side.remap(_onto(side.counts, h.custom_values, shared), compensated=False)
        totals.append(side.counts)
    new, old = totals
    return any(new.get(i, 0.0) < old.get(i, 0.0) for i in range(len(shared) + 1))
