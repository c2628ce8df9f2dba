"""When requests are due: rates over time, and seeded schedules drawn from them.

An arrival schedule is an iterator of due times, seconds from the start of its stage, that no response can
slow down (the open model of Schroeder, Wierman and Harchol-Balter, NSDI 2006). Both kinds come from one
construction: a rate curve's integral counts the arrivals expected so far, and its inverse maps evenly
spaced counts (``constant``) or the sums of exponential draws (``poisson``, by the time-rescaling theorem
exact for any curve) back to times. Left out: bursty processes beyond Poisson; a trace carries those.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, islice, pairwise
from random import Random

__all__ = ["RateCurve", "constant_arrivals", "poisson_arrivals", "thin"]


@dataclass(frozen=True, slots=True)
class RateCurve:
    """A rate in arrivals per second, linear between points, from the first time (0) to the last."""

    times: tuple[float, ...]
    rates: tuple[float, ...]
    counts: tuple[float, ...]  # arrivals expected up to each time

    @classmethod
    def through(cls, points: Iterable[tuple[float, float]]) -> RateCurve:
        """Through ``(seconds, rate)`` points: times must start at 0 and rise, rates must not be negative."""
        times, rates = zip(*points, strict=True)
        if len(times) < 2 or times[0] != 0 or any(b <= a for a, b in pairwise(times)):
            raise ValueError("a rate curve needs at least two points, from time 0 on, in order of time")
        if any(not (math.isfinite(rate) and rate >= 0) for rate in rates):
            raise ValueError("rates must be finite and not negative")
        areas = ((rates[i] + rates[i + 1]) / 2 * (times[i + 1] - times[i]) for i in range(len(times) - 1))
        return cls(tuple(times), tuple(rates), tuple(accumulate(areas, initial=0.0)))

    @classmethod
    def flat(cls, rate: float, duration_seconds: float) -> RateCurve:
        return cls.through([(0.0, rate), (duration_seconds, rate)])

    @classmethod
    def ramp(cls, start: float, end: float, duration_seconds: float) -> RateCurve:
        return cls.through([(0.0, start), (duration_seconds, end)])

    @property
    def duration_seconds(self) -> float:
        return self.times[-1]

    @property
    def peak(self) -> float:
        return max(self.rates)

    def rate_at(self, seconds: float) -> float:
        """Arrivals per second at a time; 0 outside the curve."""
        if not 0 <= seconds <= self.times[-1]:
            return 0.0
        i = min(bisect_right(self.times, seconds), len(self.times) - 1) - 1
        span = self.times[i + 1] - self.times[i]
        share = (seconds - self.times[i]) / span
        return self.rates[i] + (self.rates[i + 1] - self.rates[i]) * share

    def time_of(self, count: float) -> float:
        """When that many arrivals are expected to have come; infinity if never."""
        if count >= self.counts[-1]:
            return math.inf
        i = bisect_right(self.counts, count) - 1
        return self._within(i, count)

    def times_of(self, counts: Iterable[float]) -> Iterator[float]:
        """``time_of`` for rising counts, until one lies beyond the curve."""
        i, last = 0, len(self.counts) - 2
        for count in counts:
            while count >= self.counts[i + 1]:
                if i == last:
                    return
                i += 1
            yield self._within(i, count)

    def _within(self, i: int, count: float) -> float:
        """Solve rate*t + slope*t*t/2 = needed on segment i, in the form that is stable for small slopes."""
        needed = count - self.counts[i]
        start, rate, span = self.times[i], self.rates[i], self.times[i + 1] - self.times[i]
        slope = (self.rates[i + 1] - rate) / span
        if needed <= 0:
            return start
        root = math.sqrt(max(0.0, rate * rate + 2 * slope * needed))
        return start + min(2 * needed / (rate + root), span)


def constant_arrivals(curve: RateCurve) -> Iterator[float]:
    """Due times as even as the curve allows: the k-th (from 0) when k + 1/2 arrivals are expected."""
    return curve.times_of(_halves())


def poisson_arrivals(curve: RateCurve, random: Random) -> Iterator[float]:
    """Due times of a Poisson process with the curve as its intensity."""
    return curve.times_of(_exponential_sums(random))


def _halves() -> Iterator[float]:
    k = 0
    while True:
        yield k + 0.5
        k += 1


def _exponential_sums(random: Random) -> Iterator[float]:
    total = 0.0
    while True:
        total += random.expovariate(1.0)
        yield total


def thin(arrivals: Iterator[float], index: int, count: int) -> Iterator[float]:
    """One of ``count`` workers' share: every ``count``-th arrival.

    All workers draw the same schedule from the same seed, so together they play exactly the schedule that
    one would play alone, however many they are.
    """
    return islice(arrivals, index, None, count)
