"""Classic histograms and what they are as native ones with custom buckets (NHCB).

Mirrors ``util/convertnhcb`` of prometheus/prometheus.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from wavetank.model.histogram import CUSTOM_BUCKETS_SCHEMA, FloatHistogram, spans_of

__all__ = ["ClassicHistogram"]


@dataclass(slots=True)
class ClassicHistogram:
    """The samples of one classic histogram at one time; ``buckets`` by upper bound, cumulative."""

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
