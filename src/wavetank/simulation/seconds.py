"""The seconds of a run in the load generator's terms, for the report's timeline."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from wavetank.simulation import kernels as k
from wavetank.simulation.flows import Flow

__all__ = ["load_seconds"]


def load_seconds(services: Sequence[Flow]) -> Iterator[dict[str, Any]]:
    """A row a second, from the first with an arrival on, all services together; a percentile is the worst
    service's. Durations in seconds."""
    if not services:
        return
    length = max(len(t.rows) for t in services)
    total = np.zeros((length, k.ROW))
    worst = np.full((length, 3), -np.inf)
    for traffic in services:
        rows = traffic.rows
        total[: len(rows)] += np.nan_to_num(rows)
        some = rows[:, k.COMPLETED] > 0
        percentiles = np.where(some[:, None], rows[:, k.P50 : k.P99 + 1], -np.inf)
        worst[: len(rows)] = np.fmax(worst[: len(rows)], percentiles)
    busy = np.flatnonzero(total[:, k.ARRIVED] + total[:, k.COMPLETED])
    if not len(busy):
        return
    first, last = int(busy[0]), int(busy[-1]) + 1
    columns = (k.ARRIVED, k.COMPLETED, k.FAILED, k.IN_FLIGHT)
    counts = np.rint(total[first:last, columns]).astype(np.int64).tolist()
    second = int(services[0].origin) + first
    for (arrived, completed, failed, flying), tail in zip(counts, worst[first:last].tolist(), strict=True):
        p50, p95, p99 = (v if v != -math.inf else None for v in tail)
        yield {
            "second": second,
            "scheduled": arrived,
            "started": arrived,
            "requests": completed,
            "failures": failed,
            "busy": flying,
            "p50": p50,
            "p95": p95,
            "p99": p99,
        }
        second += 1
