"""Native histograms with floating point counts: exponential buckets and custom buckets (NHCB).

Mirrors ``model/histogram`` of prometheus/prometheus. A histogram is an immutable value; its buckets are kept
as the storage and wire formats have them, as spans of consecutive bucket indexes with one count each. Bucket
``i`` of schema ``n`` ends at ``2 ** (i / 2 ** n)``; with custom buckets it ends at ``custom_values[i]`` and
the last at +Inf. Integer histograms of the formats are converted to these on reading.
"""

from __future__ import annotations

import enum
import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, TypeAlias

from wavetank.model.quoting import format_float_g
from wavetank.model.value import STALE_NAN, is_stale_nan

__all__ = [
    "CUSTOM_BUCKETS_SCHEMA",
    "STALE_HISTOGRAM",
    "Bucket",
    "CounterResetHint",
    "FloatHistogram",
    "IncompatibleSchemaError",
    "Span",
    "bound",
    "indexes",
    "spans_of",
]

CUSTOM_BUCKETS_SCHEMA: Final = -53
SCHEMA_MIN: Final = -4
SCHEMA_MAX: Final = 8

Span: TypeAlias = tuple[int, int]  # offset from the end of the span before (or from 0), and length


class CounterResetHint(enum.IntEnum):
    """What is known about a counter reset before this sample; gauges have none."""

    UNKNOWN = 0
    RESET = 1
    NOT_RESET = 2
    GAUGE = 3


class IncompatibleSchemaError(ValueError):
    """An operation between exponential and custom buckets."""

    def __init__(self) -> None:
        super().__init__(
            "cannot apply this operation on histograms with a mix of exponential and custom bucket schemas"
        )


@dataclass(frozen=True, slots=True)
class Bucket:
    """One bucket with its bounds; ``index`` is its place in the schema."""

    lower: float
    upper: float
    lower_inclusive: bool
    upper_inclusive: bool
    count: float
    index: int

    def __str__(self) -> str:
        opened, closed = "[" if self.lower_inclusive else "(", "]" if self.upper_inclusive else ")"
        bounds = f"{format_float_g(self.lower)},{format_float_g(self.upper)}"
        return f"{opened}{bounds}{closed}:{format_float_g(self.count)}"

    def fraction_below(self, value: float, *, linear: bool) -> float:
        """How much of the bucket lies below ``value``, which is inside it: 0 to 1."""
        if linear:
            return (value - self.lower) / (self.upper - self.lower)
        low, high, at = math.log2(abs(self.lower)), math.log2(abs(self.upper)), math.log2(abs(value))
        if value > 0:
            return (at - low) / (high - low)
        return 1 - (at - high) / (low - high)


@lru_cache(maxsize=65536)
def bound(index: int, schema: int) -> float:
    """The upper bound of an exponential bucket above zero; the last finite one is the largest float."""
    if schema < 0:
        exponent = index << -schema
        return math.inf if exponent > 1024 else math.ldexp(1.0, exponent) if exponent < 1024 else _FLOAT_MAX
    exponent, part = index >> schema, index & ((1 << schema) - 1)
    if exponent >= 1024:
        return _FLOAT_MAX if part == 0 and exponent == 1024 else math.inf
    return math.ldexp(2.0 ** (part / (1 << schema)), exponent)


_FLOAT_MAX: Final = 1.7976931348623157e308


def indexes(spans: Sequence[Span]) -> list[int]:
    """The bucket indexes that the spans cover, ascending."""
    out: list[int] = []
    at = 0
    for offset, length in spans:
        at += offset
        out.extend(range(at, at + length))
        at += length
    return out


def spans_of(ascending: Sequence[int]) -> tuple[Span, ...]:
    """The fewest spans that cover exactly these indexes."""
    out: list[Span] = []
    start, end = 0, 0  # of the current run; `end` is one past it
    last_end = 0
    for i, index in enumerate(ascending):
        if i and index == end:
            end += 1
            continue
        if i:
            out.append((start - last_end, end - start))
            last_end = end
        start, end = index, index + 1
    if ascending:
        out.append((start - last_end, end - start))
    return tuple(out)


@dataclass(frozen=True, slots=True)
class FloatHistogram:
    """A native histogram sample.

    ``positive_buckets`` has one count for each index of ``positive_spans``, likewise the negative ones;
    ``custom_values`` are the finite upper bounds if ``schema`` is ``CUSTOM_BUCKETS_SCHEMA``, else empty.
    """

    schema: int = 0
    count: float = 0.0
    sum: float = 0.0
    zero_threshold: float = 0.0
    zero_count: float = 0.0
    positive_spans: tuple[Span, ...] = ()
    positive_buckets: tuple[float, ...] = ()
    negative_spans: tuple[Span, ...] = ()
    negative_buckets: tuple[float, ...] = ()
    custom_values: tuple[float, ...] = ()
    counter_reset_hint: CounterResetHint = CounterResetHint.UNKNOWN

    @property
    def has_custom_buckets(self) -> bool:
        return self.schema == CUSTOM_BUCKETS_SCHEMA

    @property
    def is_stale(self) -> bool:
        """Whether this is the staleness marker of a histogram series."""
        return self.sum != self.sum and is_stale_nan(self.sum)

    @property
    def size_samples(self) -> int:
        """How many float samples it weighs in a query's sample limit: 16 bytes each."""
        spans = len(self.positive_spans) + len(self.negative_spans)
        counts = len(self.positive_buckets) + len(self.negative_buckets) + len(self.custom_values)
        return (168 + 8 * (spans + counts) + 8) // 16

    def with_hint(self, hint: CounterResetHint) -> FloatHistogram:
        return self if self.counter_reset_hint is hint else replace(self, counter_reset_hint=hint)

    # --- buckets

    def upper_bound(self, index: int) -> float:
        """Where bucket ``index`` of the positive side ends; -1 of custom buckets is -Inf."""
        if not self.has_custom_buckets:
            return bound(index, self.schema)
        if index < 0:
            return -math.inf
        return self.custom_values[index] if index < len(self.custom_values) else math.inf

    def positive(self) -> Iterator[Bucket]:
        """Buckets above zero in rising order, empty ones included."""
        custom = self.has_custom_buckets
        for index, count in zip(indexes(self.positive_spans), self.positive_buckets, strict=True):
            lower, upper = self.upper_bound(index - 1), self.upper_bound(index)
            first = custom and index == 0
            yield Bucket(lower, upper, first or (not custom and lower < 0), custom or upper > 0, count, index)

    def negative(self) -> Iterator[Bucket]:
        """Buckets below zero in falling order (away from zero), empty ones included."""
        for index, count in zip(indexes(self.negative_spans), self.negative_buckets, strict=True):
            lower, upper = -self.upper_bound(index), -self.upper_bound(index - 1)
            yield Bucket(lower, upper, True, False, count, index)

    def zero_bucket(self) -> Bucket:
        return Bucket(-self.zero_threshold, self.zero_threshold, True, True, self.zero_count, 0)

    def buckets(self) -> list[Bucket]:
        """All buckets from the lowest to the highest; those that overlap the zero bucket are cut at it."""
        out = [_cut(b, self.zero_threshold) for b in self.negative()]
        out.reverse()
        if self.zero_count > 0:
            out.append(self.zero_bucket())
        out.extend(_cut(b, self.zero_threshold) for b in self.positive())
        return out

    # --- arithmetic; the hard parts are in histogram_math

    def mul(self, factor: float) -> FloatHistogram:
        hint = CounterResetHint.GAUGE if factor < 0 else self.counter_reset_hint
        return replace(
            self,
            zero_count=self.zero_count * factor,
            count=self.count * factor,
            sum=self.sum * factor,
            positive_buckets=tuple([b * factor for b in self.positive_buckets]),
            negative_buckets=tuple([b * factor for b in self.negative_buckets]),
            counter_reset_hint=hint,
        )

    def div(self, divisor: float) -> FloatHistogram:
        """Every count and the sum divided; by zero, the buckets vanish and the rest is infinite or NaN."""
        hint = CounterResetHint.GAUGE if divisor < 0 else self.counter_reset_hint
        if divisor == 0:
            return FloatHistogram(
                self.schema,
                _over_zero(self.count, divisor),
                _over_zero(self.sum, divisor),
                self.zero_threshold,
                _over_zero(self.zero_count, divisor),
                custom_values=self.custom_values,
                counter_reset_hint=hint,
            )
        return replace(
            self,
            zero_count=self.zero_count / divisor,
            count=self.count / divisor,
            sum=self.sum / divisor,
            positive_buckets=tuple([b / divisor for b in self.positive_buckets]),
            negative_buckets=tuple([b / divisor for b in self.negative_buckets]),
            counter_reset_hint=hint,
        )

    def compact(self) -> FloatHistogram:
        """Without empty buckets, in the fewest spans."""
        positive = _compacted(self.positive_spans, self.positive_buckets)
        negative = _compacted(self.negative_spans, self.negative_buckets)
        if positive is None and negative is None:
            return self
        p = positive or (self.positive_spans, self.positive_buckets)
        n = negative or (self.negative_spans, self.negative_buckets)
        return replace(
            self, positive_spans=p[0], positive_buckets=p[1], negative_spans=n[0], negative_buckets=n[1]
        )

    def equals(self, other: FloatHistogram) -> bool:
        """Equal bit for bit, the counter reset hint left aside."""
        return (
            self.schema == other.schema
            and self.custom_values == other.custom_values
            and self.zero_threshold == other.zero_threshold
            and _bits((self.count, self.sum, self.zero_count))
            == _bits((other.count, other.sum, other.zero_count))
            and indexes(self.negative_spans) == indexes(other.negative_spans)
            and indexes(self.positive_spans) == indexes(other.positive_spans)
            and _bits(self.negative_buckets) == _bits(other.negative_buckets)
            and _bits(self.positive_buckets) == _bits(other.positive_buckets)
        )

    # --- texts

    def __str__(self) -> str:
        """As ``count_values`` labels it: ``{count:4, sum:5, (1,2]:4}``."""
        parts = [f"count:{format_float_g(self.count)}", f"sum:{format_float_g(self.sum)}"]
        parts += [str(b) for b in reversed(list(self.negative())) if b.count != 0]
        if self.zero_count != 0:
            parts.append(str(self.zero_bucket()))
        parts += [str(b) for b in self.positive() if b.count != 0]
        return "{" + ", ".join(parts) + "}"

    def test_expression(self) -> str:
        """In the notation of the ``.test`` files."""
        g = format_float_g
        out = [f"schema:{self.schema}"] if self.schema else []
        numbers = (
            ("count", self.count),
            ("sum", self.sum),
            ("z_bucket", self.zero_count),
            ("z_bucket_w", self.zero_threshold),
        )
        out += [f"{name}:{g(value)}" for name, value in numbers if value != 0]
        if self.has_custom_buckets:
            out.append(f"custom_values:[{' '.join(map(g, self.custom_values))}]")
        if self.counter_reset_hint is not CounterResetHint.UNKNOWN:
            out.append(f"counter_reset_hint:{self.counter_reset_hint.name.lower()}")
        sides = (
            ("", self.positive_spans, self.positive_buckets),
            ("n_", self.negative_spans, self.negative_buckets),
        )
        for prefix, spans, counts in sides:
            filled = {i: c for i, c in zip(indexes(spans), counts, strict=True) if c != 0}
            if not filled:
                continue
            first, last = min(filled), max(filled)
            if first:
                out.append(f"{prefix}offset:{first}")
            dense = " ".join(g(filled.get(i, 0.0)) for i in range(first, last + 1))
            out.append(f"{prefix}buckets:[{dense}]")
        return "{{" + " ".join(out) + "}}"


STALE_HISTOGRAM: Final = FloatHistogram(sum=STALE_NAN)


def _cut(bucket: Bucket, threshold: float) -> Bucket:
    if bucket.upper < 0 and bucket.upper > -threshold:
        return replace(bucket, upper=-threshold)
    if bucket.lower > 0 and bucket.lower < threshold:
        return replace(bucket, lower=threshold)
    return bucket


def _over_zero(value: float, zero: float) -> float:
    if value == 0 or value != value:
        return math.nan
    return math.copysign(math.inf, value) * math.copysign(1.0, zero)


def _compacted(
    spans: tuple[Span, ...], counts: tuple[float, ...]
) -> tuple[tuple[Span, ...], tuple[float, ...]] | None:
    """None if there is nothing to do."""
    if 0.0 not in counts and all(length and (i == 0 or offset) for i, (offset, length) in enumerate(spans)):
        return None
    kept = [(i, c) for i, c in zip(indexes(spans), counts, strict=True) if c != 0]
    return spans_of([i for i, _ in kept]), tuple([c for _, c in kept])


def _bits(values: Sequence[float]) -> bytes:
    return struct.pack(f"<{len(values)}d", *values)
