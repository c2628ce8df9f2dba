"""Native histograms within a job's limits: fewer, wider buckets.

Mirrors bucketLimitAppender, maxSchemaAppender and pickSchema of scrape/target.go.
"""

from __future__ import annotations

import math

from wavetank.model.histogram import SCHEMA_MAX, SCHEMA_MIN, FloatHistogram
from wavetank.model.histogram_math import to_schema
from wavetank.monitoring.scrape.fetch import ScrapeFailed

__all__ = ["limited", "schema_of_factor"]


def schema_of_factor(factor: float) -> int:
    """The finest schema whose buckets grow by at least ``factor``; the finest of all for factors up to 1."""
    if factor <= 1:
        return SCHEMA_MAX
    return min(max(math.floor(-math.log2(math.log2(factor))), SCHEMA_MIN), SCHEMA_MAX)


def limited(histogram: FloatHistogram, bucket_limit: int, min_factor: float) -> FloatHistogram:
    """The histogram with buckets at least that wide and at most that many, 0 is no limit.

    Raises ScrapeFailed where even the coarsest has too many; custom buckets cannot be made coarser.
    """
    if not histogram.has_custom_buckets:
        schema = schema_of_factor(min_factor)
        if histogram.schema > schema:
            histogram = to_schema(histogram, schema)
        while bucket_limit and _buckets(histogram) > bucket_limit and histogram.schema > SCHEMA_MIN:
            histogram = to_schema(histogram, histogram.schema - 1)
    if bucket_limit and _buckets(histogram) > bucket_limit:
        raise ScrapeFailed("histogram bucket limit exceeded")
    return histogram


def _buckets(histogram: FloatHistogram) -> int:
    return len(histogram.positive_buckets) + len(histogram.negative_buckets)
