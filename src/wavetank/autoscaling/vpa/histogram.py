"""Decaying histograms of resource usage, and their checkpoints.

Mirrors ``pkg/recommender/util``: buckets that grow by a ratio, weights halved every half-life by making new
samples heavier, percentiles that answer with the upper edge of a bucket.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from wavetank.errors import InputError

__all__ = [
    "Buckets",
    "DecayingHistogram",
    "ExponentialBuckets",
    "Histogram",
    "LinearBuckets",
]

CHECKPOINT_WEIGHT_MAX = 10_000
DECAY_EXPONENT_MAX = 100  # half-lives a sample may be ahead of the reference time


class Buckets(Protocol):
    """How values fall into buckets. Weights below ``epsilon`` count as none."""

    @property
    def epsilon(self) -> float: ...

    @property
    def count(self) -> int: ...

    def start(self, bucket: int) -> float: ...

    def find(self, value: float) -> int: ...


@dataclass(frozen=True, slots=True)
class LinearBuckets:
    maximum: float
    size: float
    epsilon: float

    @property
    def count(self) -> int:
        return math.ceil(self.maximum / self.size) + 1

    def start(self, bucket: int) -> float:
        return bucket * self.size

    def find(self, value: float) -> int:
        return max(0, min(int(value / self.size), self.count - 1))


@dataclass(frozen=True, slots=True)
class ExponentialBuckets:
    """Bucket n is ``ratio`` times as wide as bucket n - 1; the first is ``first`` wide."""

    maximum: float
    first: float
    ratio: float
    epsilon: float

    @property
    def count(self) -> int:
        return math.ceil(self._index(self.maximum)) + 1

    def _index(self, value: float) -> float:
        return math.log(value * (self.ratio - 1) / self.first + 1) / math.log(self.ratio)

    def start(self, bucket: int) -> float:
        return self.first * (self.ratio**bucket - 1) / (self.ratio - 1)

    def find(self, value: float) -> int:
        if value < self.first:
            return 0
        return min(int(self._index(value)), self.count - 1)


class Histogram:
    """Weights by bucket. ``lowest`` and ``highest`` bound the buckets that hold any."""

    def __init__(self, buckets: Buckets) -> None:
        self.buckets = buckets
        self.weights = [0.0] * buckets.count
        self.total = 0.0
        self._lowest = buckets.count - 1
        self._highest = 0

    @property
    def empty(self) -> bool:
        return self.weights[self._lowest] < self.buckets.epsilon

    def add(self, value: float, weight: float) -> None:
        bucket = self.buckets.find(value)
        self.weights[bucket] += weight
        self.total += weight
        if self.weights[bucket] >= self.buckets.epsilon:
            self._lowest = min(self._lowest, bucket)
            self._highest = max(self._highest, bucket)

    def subtract(self, value: float, weight: float) -> None:
        bucket = self.buckets.find(value)
        self.weights[bucket] = max(0.0, self.weights[bucket] - weight)
        self.total = max(0.0, self.total - weight)
        self._tighten()

    def merge(self, other: Histogram) -> None:
        self.weights = [a + b for a, b in zip(self.weights, other.weights, strict=True)]
        self.total += other.total
        self._lowest = min(self._lowest, other._lowest)
        self._highest = max(self._highest, other._highest)

    def scale(self, factor: float) -> None:
        self.weights = [weight * factor for weight in self.weights]
        self.total *= factor
        self._tighten()

    def percentile(self, share: float) -> float:
        """The end of the bucket in which the share is reached; 0 while empty."""
        if self.empty:
            return 0.0
        threshold = share * self.total
        partial, bucket = 0.0, self._lowest
        while bucket < self._highest:
            partial += self.weights[bucket]
            if partial >= threshold:
                break
            bucket += 1
        last = self.buckets.count - 1
        return self.buckets.start(bucket + 1 if bucket < last else bucket)

    def _tighten(self) -> None:
        last = len(self.weights) - 1
        while self.weights[self._lowest] < self.buckets.epsilon and self._lowest < last:
            self._lowest += 1
        while self.weights[self._highest] < self.buckets.epsilon and self._highest > 0:
            self._highest -= 1

    def save(self) -> dict[str, Any]:
        """``totalWeight`` and whole-numbered ``bucketWeights``; what rounds to nothing is left out."""
        heaviest = max(self.weights)
        weights = {}
        if heaviest > 0:
            ratio = CHECKPOINT_WEIGHT_MAX / heaviest
            rounded = enumerate(math.floor(weight * ratio + 0.5) for weight in self.weights)
            weights = {str(bucket): weight for bucket, weight in rounded if weight > 0}
        return {"totalWeight": self.total, "bucketWeights": weights}

    def load(self, checkpoint: Mapping[str, Any]) -> None:
        """Add a checkpoint's weights. Raises InputError where it does not fit."""
        total = float(checkpoint.get("totalWeight") or 0.0)
        given: Mapping[str, Any] = checkpoint.get("bucketWeights") or {}
        if total < 0:
            raise InputError(f"invalid checkpoint data with negative weight {total}")
        found: dict[int, float] = {}
        for bucket, weight in given.items():
            number = int(bucket)
            if not 0 <= number < self.buckets.count:
                raise InputError(f"invalid checkpoint bucket {number}: there are {self.buckets.count}")
            found[number] = float(weight)
        summed = sum(found.values())
        if summed <= 0:
            return
        for number, weight in found.items():
            self.weights[number] += weight * total / summed
            self._lowest = min(self._lowest, number)
            self._highest = max(self._highest, number)
        self.total += total


class DecayingHistogram:
    """A histogram whose samples halve in weight every ``half_life`` seconds. Times are Unix seconds."""

    def __init__(self, buckets: Buckets, half_life: float) -> None:
        self.histogram = Histogram(buckets)
        self.half_life = half_life
        self.reference = 0.0

    @property
    def empty(self) -> bool:
        return self.histogram.empty

    def add(self, value: float, weight: float, at: float) -> None:
        self.histogram.add(value, weight * self._factor(at))

    def subtract(self, value: float, weight: float, at: float) -> None:
        self.histogram.subtract(value, weight * self._factor(at))

    def percentile(self, share: float) -> float:
        return self.histogram.percentile(share)

    def merge(self, other: DecayingHistogram) -> None:
        if self.reference < other.reference:
            self._shift(other.reference)
        elif other.reference < self.reference:
            other._shift(self.reference)
        self.histogram.merge(other.histogram)

    def save(self) -> dict[str, Any]:
        return {**self.histogram.save(), "reference": self.reference}

    def load(self, checkpoint: Mapping[str, Any]) -> None:
        self.histogram.load(checkpoint)
        self.reference = float(checkpoint.get("reference") or 0.0)

    def _factor(self, at: float) -> float:
        """How much heavier a sample of that time is than one of the reference time."""
        if at > self.reference + self.half_life * DECAY_EXPONENT_MAX:
            self._shift(at)
        return float(2.0 ** ((at - self.reference) / self.half_life))

    def _shift(self, at: float) -> None:
        reference = math.floor(at / self.half_life + 0.5) * self.half_life
        exponent = round((self.reference - reference) / self.half_life)
        self.histogram.scale(math.ldexp(1.0, exponent) if exponent > -1074 else 0.0)
        self.reference = reference
