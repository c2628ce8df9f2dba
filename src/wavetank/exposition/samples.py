"""What a scrape brought, in columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from wavetank.model.labels import Labels

__all__ = ["Metadata", "ScrapedExemplar", "ScrapedHistogram", "ScrapedSamples"]


@dataclass(slots=True)
class Metadata:
    """What the target says of one metric family. ``type`` is the OpenMetrics word; "unknown" if not said."""

    type: str = "unknown"
    help: str = ""
    unit: str = ""


@dataclass(frozen=True, slots=True)
class ScrapedExemplar:
    """``index`` is the sample it belongs to (or the histogram, for those of native histograms)."""

    index: int
    labels: Labels
    value: float
    timestamp_ms: int | None


@dataclass(frozen=True, slots=True)
class ScrapedHistogram:
    """A native histogram of the protobuf format; ``histogram`` is a ``model.histogram.FloatHistogram``."""

    labels: Labels
    timestamp_ms: int
    explicit_timestamp: bool
    histogram: Any
    start_timestamp_ms: int = 0
    exemplars: tuple[ScrapedExemplar, ...] = ()


@dataclass(slots=True)
class ScrapedSamples:
    """Samples in the order of the body.

    labels         n label sets, with the metric name
    timestamps_ms  int64[n]; where the body gives none, the default
    explicit       bool[n]: the body gave a timestamp
    values         float64[n]
    start_timestamps_ms  int64[n]: created timestamps, 0 if unknown
    """

    labels: list[Labels]
    timestamps_ms: npt.NDArray[np.int64]
    explicit: npt.NDArray[np.bool_]
    values: npt.NDArray[np.float64]
    start_timestamps_ms: npt.NDArray[np.int64]
    metadata: dict[str, Metadata] = field(default_factory=dict)
    exemplars: list[ScrapedExemplar] = field(default_factory=list)
    histograms: list[ScrapedHistogram] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.labels)
