"""Quantiles, fractions and moments of native histograms.

Mirrors ``HistogramQuantile``, ``HistogramFraction`` and ``histogramVariance`` of ``promql/quantile.go`` and
``functions.go``. Inside a bucket observations are spread evenly for custom and zero buckets, and evenly on a
logarithmic scale for exponential ones.
"""

from __future__ import annotations

import math
from dataclasses import replace

from wavetank.model.histogram import Bucket, FloatHistogram
from wavetank.model.histogram_math import kahan_add
from wavetank.promql import annotations as notes
from wavetank.promql.annotations import Annotations
from wavetank.promql.ast import Expr

__all__ = ["histogram_fraction", "histogram_quantile", "histogram_variance"]


def histogram_quantile(
    q: float, h: FloatHistogram, name: str, place: Expr, annotations: Annotations
) -> float:
    """The q-quantile; NaN for no observations, and infinities for q out of range."""
    if q < 0:
        return -math.inf
    if q > 1:
        return math.inf
    if h.count == 0 or math.isnan(q):
        return math.nan
    # NaN observations are in no bucket but in the count, as if above all: count from below then.
    has_nan = math.isnan(h.sum)
    forward = has_nan or q < 0.5
    buckets = h.buckets()
    if not forward:
        buckets.reverse()
    rank = (q if forward else 1 - q) * h.count
    bucket, count, rest = _reach(buckets, rank)
    bucket = _one_sided(h, bucket)
    if h.has_custom_buckets:
        if math.isinf(bucket.lower):
            if bucket.upper <= 0:
                return bucket.upper
            bucket = replace(bucket, lower=0.0)
        elif math.isinf(bucket.upper):
            return bucket.lower
    count = min(count, h.count)
    if count < rank:
        if has_nan:
            annotations.add(notes.quantile_nan_result(name, place))
            return math.nan
        return bucket.upper
    rank = rank - (count - bucket.count) if forward else count - rank
    if has_nan and count + sum(b.count for b in rest) < h.count:
        annotations.add(notes.quantile_nan_skew(name, place))
    return _interpolate(h, bucket, rank / bucket.count if bucket.count else math.nan)


def _reach(buckets: list[Bucket], rank: float) -> tuple[Bucket, float, list[Bucket]]:
    """The bucket at which the count reaches the rank, the count, and the buckets after it."""
    bucket = Bucket(0.0, 0.0, False, False, 0.0, 0)
    count = 0.0
    for i, candidate in enumerate(buckets):
        bucket = candidate
        if candidate.count == 0:
            continue
        count += candidate.count
        if count >= rank:
            return bucket, count, buckets[i + 1 :]
    return bucket, count, []


def _one_sided(h: FloatHistogram, bucket: Bucket) -> Bucket:
    """A zero bucket reaches only to the side on which there are other buckets."""
    if h.has_custom_buckets or not (bucket.lower < 0 < bucket.upper):
        return bucket
    if h.positive_buckets and not h.negative_buckets:
        return replace(bucket, lower=0.0)
    if h.negative_buckets and not h.positive_buckets:
        return replace(bucket, upper=0.0)
    return bucket


def _interpolate(h: FloatHistogram, bucket: Bucket, fraction: float) -> float:
    if h.has_custom_buckets or bucket.lower <= 0 <= bucket.upper:
        return bucket.lower + (bucket.upper - bucket.lower) * fraction
    low, high = math.log2(abs(bucket.lower)), math.log2(abs(bucket.upper))
    if bucket.lower > 0:
        return float(2.0 ** (low + (high - low) * fraction))
    return -float(2.0 ** (high + (low - high) * (1 - fraction)))


def histogram_fraction(
    lower: float, upper: float, h: FloatHistogram, name: str, place: Expr, annotations: Annotations
) -> float:
    """The part of the observations between two values."""
    if h.count == 0 or math.isnan(lower) or math.isnan(upper):
        return math.nan
    if lower >= upper:
        return 0.0
    buckets = [_zero_sided(h, b) for b in h.buckets()]
    total = h.count
    if math.isnan(h.sum):
        total = sum(b.count for b in buckets)
        if total < h.count:
            annotations.add(notes.fraction_nans(name, place))
    low, high = (_rank(h, buckets, value, total) for value in (lower, upper))
    return (high - low) / h.count


def _zero_sided(h: FloatHistogram, bucket: Bucket) -> Bucket:
    if not bucket.lower <= 0 <= bucket.upper:
        return bucket
    if h.positive_buckets and not h.negative_buckets:
        return replace(bucket, lower=0.0)
    if h.negative_buckets and not h.positive_buckets:
        return replace(bucket, upper=0.0)
    return bucket


def _rank(h: FloatHistogram, buckets: list[Bucket], value: float, total: float) -> float:
    """How many observations lie below ``value``, at most ``total``."""
    below = 0.0
    for bucket in buckets:
        if bucket.lower >= value:
            return min(below, total)
        if bucket.upper > value:
            linear = h.has_custom_buckets or bucket.lower <= 0 <= bucket.upper
            if linear and math.isinf(bucket.lower):
                return min(bucket.count, total)  # cannot be interpolated: all of it
            return min(below + bucket.count * bucket.fraction_below(value, linear=linear), total)
        below += bucket.count
    return total


def histogram_variance(h: FloatHistogram) -> float:
    """The estimated variance, every observation taken to be in the middle of its bucket."""
    if h.count == 0:
        return math.nan
    mean = h.sum / h.count
    total = c = 0.0
    for bucket in h.buckets():
        if bucket.count == 0:
            continue
        if h.has_custom_buckets:
            middle = (bucket.upper + bucket.lower) / 2
        elif bucket.lower <= 0 <= bucket.upper:
            middle = 0.0
        else:
            middle = math.copysign(math.sqrt(bucket.upper * bucket.lower), bucket.upper)
        delta = middle - mean
        total, c = kahan_add(bucket.count * delta * delta, total, c)
    return (total + c) / h.count
