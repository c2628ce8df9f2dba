"""Classic histograms turned into native ones with custom buckets, as ``load_with_nhcb`` does.

Mirrors ``util/convertnhcb`` of prometheus/prometheus.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from wavetank.model.histogram import CUSTOM_BUCKETS_SCHEMA, FloatHistogram, spans_of
from wavetank.model.labels import BUCKET_LABEL, METRIC_NAME, Labels
from wavetank.promql.literals import parse_float

__all__ = ["native_from_classic"]


@dataclass(slots=True)
class _Classic:
    """The samples of one classic histogram at one time."""

    buckets: dict[float, float] = field(default_factory=dict)
    sum: float = 0.0
    count: float | None = None

    def native(self) -> FloatHistogram:
        """Raises ValueError if the counts contradict each other."""
        bounds = sorted(self.buckets)
        count = self.count
        if count is None:
            count = self.buckets[bounds[-1]] if bounds else 0.0
        cumulative = [self.buckets[b] for b in bounds]
        if not bounds or bounds[-1] != math.inf:
            bounds.append(math.inf)
            cumulative.append(count)
        if cumulative != sorted(cumulative):
            raise ValueError("count is not cumulative")
        if cumulative[-1] != count:
            raise ValueError(f"count mismatch: {count} != {cumulative[-1]}")
        counts = [c - before for c, before in zip(cumulative, [0.0, *cumulative[:-1]], strict=True)]
        return FloatHistogram(
            CUSTOM_BUCKETS_SCHEMA,
            count,
            self.sum,
            positive_spans=spans_of(range(len(counts))),
            positive_buckets=tuple(counts),
            custom_values=tuple(bounds[:-1]),
        ).compact()


def native_from_classic(
    series: Iterable[tuple[Labels, Iterable[tuple[int, float]]]],
) -> Iterator[tuple[Labels, int, FloatHistogram]]:
    """Native histograms of all series named ``_bucket``, ``_count`` or ``_sum``: labels, ms, value."""
    found: dict[Labels, dict[int, _Classic]] = {}
    for labels, samples in series:
        base, _, suffix = labels.name.rpartition("_")
        if suffix not in ("bucket", "count", "sum") or not base:
            continue
        upper = parse_float(labels.get(BUCKET_LABEL)) if suffix == "bucket" else 0.0
        if upper is None or math.isnan(upper):
            continue
        at = found.setdefault(labels.replace(**{METRIC_NAME: base, BUCKET_LABEL: ""}), {})
        for ts, value in samples:
            classic = at.setdefault(ts, _Classic())
            if suffix == "bucket":
                classic.buckets.setdefault(upper, value)
            elif suffix == "count":
                classic.count = value
            else:
                classic.sum = value
    for labels, times in found.items():
        for ts in sorted(times):
            yield labels, ts, times[ts].native()
