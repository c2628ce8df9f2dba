"""A mergeable log-bucket histogram of durations, as exact as two significant digits and cheap to record.

HdrHistogram's idea with the arithmetic of ``math.frexp``: every power of two is cut into 64 equal parts, so
a bucket is at most 1/64 (1.6 %) wide and its middle at most 0.8 % away from any value in it. Count, sum,
least and greatest value are exact. Left out: a fixed range (buckets live in a dict, absent ones cost
nothing) and correction for coordinated omission, which belongs at the source: record from the intended
start.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

__all__ = ["LogHistogram", "bucket_bounds", "bucket_index"]

PARTS = 64
_HALF_PARTS = PARTS * 2
LEAST_SECONDS = 1e-6  # shorter durations are counted as this
GREATEST_SECONDS = 1e6


def bucket_index(seconds: float) -> int:
    """The bucket of a duration; buckets are ordered as durations are."""
    mantissa, exponent = math.frexp(min(max(seconds, LEAST_SECONDS), GREATEST_SECONDS))
    return exponent * PARTS + int((mantissa - 0.5) * _HALF_PARTS)


def bucket_bounds(index: int) -> tuple[float, float]:
    """Least value in the bucket, and the least value above it, in seconds."""
    exponent, part = divmod(index, PARTS)
    return (
        math.ldexp(0.5 + part / _HALF_PARTS, exponent),
        math.ldexp(0.5 + (part + 1) / _HALF_PARTS, exponent),
    )


class LogHistogram:
    """Durations in seconds, counted by bucket."""

    __slots__ = ("buckets", "count", "greatest", "least", "total")

    def __init__(self) -> None:
        self.buckets: dict[int, int] = {}
        self.count = 0
        self.total = 0.0
        self.least = math.inf
        self.greatest = -math.inf

    def record(self, seconds: float, times: int = 1) -> None:
        index = bucket_index(seconds)
        self.buckets[index] = self.buckets.get(index, 0) + times
        self.count += times
        self.total += seconds * times
        if seconds < self.least:
            self.least = seconds
        if seconds > self.greatest:
            self.greatest = seconds

    def merge(self, other: LogHistogram) -> None:
        self.merge_parts(other.buckets, other.total, other.least, other.greatest)

    def merge_parts(self, buckets: Mapping[int, int], total: float, least: float, greatest: float) -> None:
        """Add what another process counted."""
        for index, count in buckets.items():
            self.buckets[index] = self.buckets.get(index, 0) + count
            self.count += count
        self.total += total
        self.least = min(self.least, least)
        self.greatest = max(self.greatest, greatest)

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else math.nan

    def percentile(self, percent: float) -> float:
        """The duration that ``percent`` of the values do not exceed, in seconds; NaN when empty.

        Nearest rank; the middle of the bucket, held within the least and greatest value seen.
        """
        return self.percentiles((percent,))[0]

    def percentiles(self, percents: Iterable[float]) -> list[float]:
        """Several percentiles in one pass; ``percents`` must not fall."""
        found: list[float] = []
        ordered = iter(sorted(self.buckets))
        seen, middle = 0, math.nan
        for percent in percents:
            if not self.count:
                found.append(math.nan)
                continue
            if percent >= 100:
                found.append(self.greatest)
                continue
            rank = max(1, math.ceil(self.count * percent / 100 - 1e-9))
            while seen < rank:
                index = next(ordered)
                seen += self.buckets[index]
                low, high = bucket_bounds(index)
                middle = min(max((low + high) / 2, self.least), self.greatest)
            found.append(middle)
        return found

    def count_up_to(self, seconds: float) -> int:
        """How many values do not exceed ``seconds``, to the width of one bucket."""
        limit = bucket_index(seconds)
        return sum(count for index, count in self.buckets.items() if index <= limit)
