"""Classic histograms turned into native ones with custom buckets, as ``load_with_nhcb`` does."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from wavetank.model.classic_histogram import ClassicHistogram
from wavetank.model.histogram import FloatHistogram
from wavetank.model.labels import BUCKET_LABEL, METRIC_NAME, Labels
from wavetank.promql.literals import parse_float

__all__ = ["native_from_classic"]


def native_from_classic(
    series: Iterable[tuple[Labels, Iterable[tuple[int, float]]]],
) -> Iterator[tuple[Labels, int, FloatHistogram]]:
    """Native histograms of all series named ``_bucket``, ``_count`` or ``_sum``: labels, ms, value."""
    found: dict[Labels, dict[int, ClassicHistogram]] = {}
    for labels, samples in series:
        base, _, suffix = labels.name.rpartition("_")
        if suffix not in ("bucket", "count", "sum") or not base:
            continue
        upper = parse_float(labels.get(BUCKET_LABEL)) if suffix == "bucket" else 0.0
        if upper is None or math.isnan(upper):
            continue
        at = found.setdefault(labels.replace(**{METRIC_NAME: base, BUCKET_LABEL: ""}), {})
        for ts, value in samples:
            classic = at.setdefault(ts, ClassicHistogram())
            if suffix == "bucket":
                classic.buckets.setdefault(upper, value)
            elif suffix == "count":
                classic.count = value
            else:
                classic.sum = value
    for labels, times in found.items():
        for ts in sorted(times):
            yield labels, ts, times[ts].native()
