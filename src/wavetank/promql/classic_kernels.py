"""Kernels for classic histograms: quantiles and fractions from series with an ``le`` label.

Mirrors ``BucketQuantile`` and ``BucketFraction`` of ``promql/quantile.go``. Rows come by histogram and then
by bound; ``edges`` are the histograms' first rows, so histogram g has the rows edges[g]:edges[g + 1].
"""

from __future__ import annotations

import math

import numpy as np

from wavetank.jit import kernel
from wavetank.promql.vector import Bools, Floats, Ints

__all__ = ["bucket_fractions", "bucket_quantiles"]

_IN = "float64[:, ::1], boolean[:, ::1], int64[::1], float64[::1], int64[::1]"


@kernel(inline=True)
def _gather(
    values: Floats,
    mask: Bools,
    rows: Ints,
    bounds: Floats,
    first: int,
    last: int,
    j: int,
    upper: Floats,
    counts: Floats,
) -> int:
    """The buckets present at a step, those with equal bounds added up; how many."""
    n = 0
    for r in range(first, last):
        i = rows[r]
        if not mask[i, j]:
            continue
        if n and upper[n - 1] == bounds[r]:
            counts[n - 1] += values[i, j]
        else:
            upper[n] = bounds[r]
            counts[n] = values[i, j]
            n += 1
    return n


@kernel(f"void({_IN}, float64[::1], float64[:, ::1], boolean[:, ::1], float64[:, ::1])")
def bucket_quantiles(
    values: Floats,
    mask: Bools,
    rows: Ints,
    bounds: Floats,
    edges: Ints,
    q: Floats,
    out: Floats,
    present: Bools,
    forced: Floats,
) -> None:
    """The q[j]-quantile of each histogram at each step.

    ``forced[g]`` tells where counts that fall had to be mended: how many steps, the first and the last of
    them, the lowest and the highest bound, and the largest fall.
    """
    width = 1
    for g in range(edges.shape[0] - 1):
        width = max(width, edges[g + 1] - edges[g])
    upper = np.empty(width, np.float64)
    counts = np.empty(width, np.float64)
    for g in range(edges.shape[0] - 1):
        for j in range(values.shape[1]):
            n = _gather(values, mask, rows, bounds, edges[g], edges[g + 1], j, upper, counts)
            if n == 0:
                continue
            present[g, j] = True
            if q[j] != q[j]:
                out[g, j] = np.nan
                continue
            if q[j] < 0 or q[j] > 1:
                out[g, j] = -np.inf if q[j] < 0 else np.inf
                continue
            out[g, j] = np.nan
            if upper[n - 1] != np.inf:
                continue
            low = np.inf
            high = -np.inf
            fall = 0.0
            before = counts[0]
            for b in range(1, n):
                now = counts[b]
                if now == before:
                    continue
                # Differences this small come from adding floats, not from the data.
                close = abs(before - now) < 1e-12 * min(abs(before) + abs(now), 1.7976931348623157e308)
                if close or now < before:
                    counts[b] = before
                    if not close:
                        low = min(low, upper[b])
                        high = max(high, upper[b])
                        fall = max(fall, before - now)
                    continue
                before = now
            if high > -np.inf:
                if forced[g, 0] == 0:
                    forced[g, 1] = j
                    forced[g, 3] = low
                    forced[g, 4] = high
                forced[g, 0] += 1
                forced[g, 2] = j
                forced[g, 3] = min(forced[g, 3], low)
                forced[g, 4] = max(forced[g, 4], high)
                forced[g, 5] = max(forced[g, 5], fall)
            if n < 2 or counts[n - 1] == 0 or counts[n - 1] != counts[n - 1]:
                continue
            rank = q[j] * counts[n - 1]
            b = 0
            while b < n - 1 and not counts[b] >= rank:
                b += 1
            if b == n - 1:
                out[g, j] = upper[n - 2]
            elif b == 0 and upper[0] <= 0:
                out[g, j] = upper[0]
            else:
                start = upper[b - 1] if b else 0.0
                below = counts[b - 1] if b else 0.0
                out[g, j] = start + (upper[b] - start) * ((rank - below) / (counts[b] - below))


@kernel(f"void({_IN}, float64[::1], float64[::1], float64[:, ::1], boolean[:, ::1])")
def bucket_fractions(
    values: Floats,
    mask: Bools,
    rows: Ints,
    bounds: Floats,
    edges: Ints,
    lower: Floats,
    higher: Floats,
    out: Floats,
    present: Bools,
) -> None:
    """The part of each histogram's observations between lower[j] and higher[j]."""
    width = 1
    for g in range(edges.shape[0] - 1):
        width = max(width, edges[g + 1] - edges[g])
    upper = np.empty(width, np.float64)
    counts = np.empty(width, np.float64)
    for g in range(edges.shape[0] - 1):
        for j in range(values.shape[1]):
            n = _gather(values, mask, rows, bounds, edges[g], edges[g + 1], j, upper, counts)
            if n == 0:
                continue
            present[g, j] = True
            total = counts[n - 1]
            crooked = lower[j] != lower[j] or higher[j] != higher[j]
            if upper[n - 1] != np.inf or total == 0 or total != total or crooked:
                out[g, j] = np.nan
            elif lower[j] >= higher[j]:
                out[g, j] = 0.0
            else:
                a = _bucket_rank(upper, counts, n, lower[j])
                b = _bucket_rank(upper, counts, n, higher[j])
                out[g, j] = (min(b, total) - min(a, total)) / total


@kernel(inline=True)
def _bucket_rank(upper: Floats, counts: Floats, n: int, value: float) -> float:
    """How many observations lie below ``value``; buckets are taken to start at 0 unless they end below."""
    start = 0.0 if upper[0] > 0 else -np.inf
    below = 0.0
    for b in range(n):
        if b:
            start = upper[b - 1]
        if start >= value:
            return below
        if upper[b] > value:
            if math.isinf(start):
                return float(counts[b])
            return float(below + (counts[b] - below) * (value - start) / (upper[b] - start))
        below = counts[b]
    return float(counts[n - 1])
