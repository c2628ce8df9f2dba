"""Cutting a native histogram at a value: the operators ``</`` (keep below) and ``>/`` (keep above).

Mirrors ``FloatHistogram.TrimBuckets``. Inside the bucket that is cut, observations are taken to be spread as
interpolation does everywhere: evenly in custom and zero buckets, on a logarithmic scale in exponential ones.
The sum is estimated from the middle of what is left of each bucket.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from wavetank.model.histogram import Bucket, FloatHistogram

__all__ = ["trim"]


def trim(histogram: FloatHistogram, at: float, *, upper: bool) -> FloatHistogram:
    """What lies below ``at`` if ``upper``, else above; the histogram itself if nothing was cut."""
    custom = histogram.has_custom_buckets
    positive, count, total, cut_positive = _side(histogram.positive(), at, upper, True, custom)
    negative, more, more_sum, cut_negative = _side(histogram.negative(), at, upper, False, custom)
    count, total = count + more, total + more_sum
    zero_count, cut_zero = histogram.zero_count, False
    if zero_count > 0:
        filled = (any(histogram.negative_buckets), any(histogram.positive_buckets))
        kept, middle = _zero(histogram.zero_bucket(), at, filled, upper)
        cut_zero = kept != zero_count
        zero_count = kept
        count += kept
        total += middle * kept
    if not (cut_positive or cut_negative or cut_zero):
        return histogram
    return replace(
        histogram,
        positive_buckets=positive,
        negative_buckets=negative,
        zero_count=zero_count,
        count=count,
        sum=total,
    ).compact()


def _side(
    buckets: Iterable[Bucket], at: float, upper: bool, positive: bool, custom: bool
) -> tuple[tuple[float, ...], float, float, bool]:
    """The counts that stay, their total, their estimated sum, and whether anything went."""
    kept: list[float] = []
    count = total = 0.0
    cut = False
    for bucket in buckets:
        inside = bucket.upper <= at if upper else bucket.lower >= at
        straddles = bucket.lower < at if upper else bucket.upper > at
        if bucket.count == 0:
            kept.append(0.0)
            continue
        if inside:
            keep, middle = bucket.count, _middle(bucket.lower, bucket.upper, positive, custom)
        elif straddles:
            keep, middle = _split(bucket, at, upper, positive, custom)
        else:
            keep, middle = 0.0, 0.0
        cut = cut or keep != bucket.count or not (inside or straddles)
        kept.append(keep)
        count += keep
        total += middle * keep
    return tuple(kept), count, total, cut


def _split(bucket: Bucket, at: float, upper: bool, positive: bool, custom: bool) -> tuple[float, float]:
    if math.isinf(bucket.lower) or math.isinf(bucket.upper):
        return _split_infinite(bucket, at, upper)
    below = bucket.count * bucket.fraction_below(at, linear=custom)
    if upper:
        return below, _middle(bucket.lower, at, positive, custom)
    return bucket.count - below, _middle(at, bucket.upper, positive, custom)


def _split_infinite(bucket: Bucket, at: float, upper: bool) -> tuple[float, float]:
    """A bucket that reaches to infinity cannot be interpolated: all or nothing, or from zero."""
    if math.isinf(bucket.lower):
        edge = 0.0 if math.isinf(bucket.upper) else bucket.upper
        interpolates = bucket.upper > 0 and not math.isinf(bucket.upper)
        if upper:
            if at > 0 and interpolates:
                return bucket.count * at / bucket.upper, at / 2
            return (bucket.count, at) if bucket.upper <= 0 else (0.0, edge)
        if at >= 0 and interpolates:
            return bucket.count * (1 - at / bucket.upper), (at + bucket.upper) / 2
        return 0.0, edge
    if upper:
        return 0.0, bucket.lower
    return (bucket.count, at) if at >= bucket.lower else (0.0, bucket.lower)


def _middle(lower: float, upper: float, positive: bool, linear: bool) -> float:
    if math.isinf(lower):
        if math.isinf(upper):
            return 0.0
        return upper / 2 if upper > 0 else upper
    if math.isinf(upper):
        return lower
    if linear:
        return (lower + upper) / 2
    geometric = math.sqrt(abs(lower * upper))
    return geometric if positive else -geometric


def _zero(bucket: Bucket, at: float, filled: tuple[bool, bool], upper: bool) -> tuple[float, float]:
    """The zero bucket reaches only to the side where there are observations."""
    negative, positive = filled
    low = 0.0 if positive and not negative else bucket.lower
    high = 0.0 if negative and not positive else bucket.upper
    if (at >= high) if upper else (at <= low):
        return bucket.count, (low + high) / 2
    if (at <= low) if upper else (at >= high):
        return 0.0, 0.0
    if upper:
        return bucket.count * (at - low) / (high - low), (low + at) / 2
    return bucket.count * (high - at) / (high - low), (at + high) / 2
