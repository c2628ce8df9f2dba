"""Samples of many series in columns: what a storage hands to whoever computes on it.

Mirrors ``storage.SeriesSet`` and ``storage.SelectHints`` of prometheus/prometheus, in columns: one select
returns all samples of all matching series as flat arrays, so that a reader runs one kernel over them, not
one iterator a series. It lives in the model because the storage fills it and PromQL reads it, and neither
may see the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from wavetank.model.labels import Labels

__all__ = ["Float64s", "Int64s", "SelectHints", "SeriesBatch", "empty_batch"]

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SelectHints:
    """What the engine will do with the samples; a storage may use it and may ignore it.

    Times are in milliseconds; ``func`` is the PromQL function around the selector ("" if none); ``range_ms``
    its window; ``samples_max`` the most samples the query may still load and ``bytes_max`` the most memory
    they may take (0 is no limit); ``deadline`` a monotonic instant after which the storage should give up (0
    is none); ``check`` is to be called now and then during long work, and raises once the query is to end.
    """

    start_ms: int = 0
    end_ms: int = 0
    step_ms: int = 0
    range_ms: int = 0
    func: str = ""
    samples_max: int = 0
    deadline: float = 0.0
    bytes_max: int = 0
    check: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class SeriesBatch:
    """All samples of a selection, series after series, in columns.

    Series ``i`` has the labels ``labels[i]`` and the samples ``offsets[i]:offsets[i + 1]`` of the columns,
    in strictly rising order of time; staleness markers are included. ``labels`` is sorted.

    offsets        int64[n + 1]
    timestamps_ms  int64[m]
    values         float64[m]; at native histogram samples the value is undefined
    histograms     None if there are no native histograms, else object[m]: a FloatHistogram, or None at floats
    start_timestamps_ms  None, or int64[m]: the start (created) timestamp of each sample, 0 if unknown
    """

    labels: Sequence[Labels]
    offsets: Int64s
    timestamps_ms: Int64s
    values: Float64s
    histograms: npt.NDArray[Any] | None = None
    start_timestamps_ms: Int64s | None = None
    warnings: Sequence[str] = field(default=())


def empty_batch() -> SeriesBatch:
    """A selection that matched nothing."""
    return SeriesBatch([], np.zeros(1, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float64))
