"""Kernels of the aggregation operators, for float samples.

Rows are folded into groups step by step: ``groups[i]`` is the group of row i. Sums are compensated
(Neumaier), as upstream's.
"""

from __future__ import annotations

import math

import numpy as np

from wavetank.jit import kernel
from wavetank.promql.range_kernels import _quantile
from wavetank.promql.vector import Bools, Floats, Ints

__all__ = ["AVG", "COUNT", "GROUP", "MAX", "MIN", "STDDEV", "STDVAR", "SUM", "fold", "group_quantiles", "top"]

SUM, AVG, MIN, MAX, COUNT, GROUP, STDDEV, STDVAR = range(8)
_IN = "float64[:, ::1], boolean[:, ::1], int64[::1]"


@kernel(f"void(int64, {_IN}, float64[:, ::1], int64[:, ::1])")
def fold(op: int, values: Floats, mask: Bools, groups: Ints, out: Floats, seen: Ints) -> None:
    """One result for each group and step; ``seen`` counts the samples that went into it."""
    extra = np.zeros(out.shape, np.float64)  # compensation of sums, or running mean of variances
    for i in range(values.shape[0]):
        g = groups[i]
        for j in range(values.shape[1]):
            if not mask[i, j]:
                continue
            x = values[i, j]
            n = seen[g, j]
            seen[g, j] = n + 1
            if n == 0:
                if op == 6 or op == 7:
                    out[g, j] = 0.0 if math.isfinite(x) else np.nan
                    extra[g, j] = x
                else:
                    out[g, j] = x
            elif op == 0 or op == 1:
                a = out[g, j]
                t = a + x
                if abs(t) > 1.7976931348623157e308:
                    extra[g, j] = 0.0
                elif abs(a) >= abs(x):
                    extra[g, j] += (a - t) + x
                else:
                    extra[g, j] += (x - t) + a
                out[g, j] = t
            elif op == 2:
                if x < out[g, j] or out[g, j] != out[g, j]:
                    out[g, j] = x
            elif op == 3:
                if x > out[g, j] or out[g, j] != out[g, j]:
                    out[g, j] = x
            elif op >= 6:
                delta = x - extra[g, j]
                extra[g, j] += delta / (n + 1)
                out[g, j] += delta * (x - extra[g, j])
    for g in range(out.shape[0]):
        for j in range(out.shape[1]):
            n = seen[g, j]
            if n == 0:
                continue
            if op == 0:
                out[g, j] += extra[g, j]
            elif op == 1:
                out[g, j] = out[g, j] / n + extra[g, j] / n
            elif op == 4:
                out[g, j] = n
            elif op == 5:
                out[g, j] = 1.0
            elif op == 6:
                out[g, j] = math.sqrt(out[g, j] / n)
            elif op == 7:
                out[g, j] /= n


@kernel(f"void({_IN}, int64[::1], float64[:, ::1])")
def running_means(values: Floats, mask: Bools, groups: Ints, columns: Ints, out: Floats) -> None:
    """avg at the given steps, for those whose plain sum overflowed: from there on a running mean."""
    for c in range(columns.shape[0]):
        j = columns[c]
        for g in range(out.shape[0]):
            n = 0.0
            total = mean = comp = 0.0
            running = False
            for i in range(values.shape[0]):
                if groups[i] != g or not mask[i, j]:
                    continue
                x = values[i, j]
                n += 1.0
                if n == 1.0:
                    total = x
                    continue
                if not running:
                    t = total + x
                    if not math.isinf(t):
                        comp += (total - t) + x if abs(total) >= abs(x) else (x - t) + total
                        total = t
                        continue
                    running = True
                    mean = total / (n - 1.0)
                    comp /= n - 1.0
                q = (n - 1.0) / n
                x = x / n
                mean *= q
                comp *= q
                t = mean + x
                if math.isinf(t):
                    comp = 0.0
                else:
                    comp += (mean - t) + x if abs(mean) >= abs(x) else (x - t) + mean
                mean = t
            if n > 0.0:
                out[g, j] = mean + comp if running else total / n + comp / n


@kernel(f"void({_IN}, float64[::1], float64[:, ::1], int64[:, ::1])")
def group_quantiles(values: Floats, mask: Bools, groups: Ints, q: Floats, out: Floats, seen: Ints) -> None:
    """quantile(q[j]) of each group at each step."""
    buffer = np.empty(values.shape[0], np.float64)
    for g in range(out.shape[0]):
        members = np.flatnonzero(groups == g)
        for j in range(values.shape[1]):
            n = 0
            for i in members:
                if mask[i, j]:
                    buffer[n] = values[i, j]
                    n += 1
            seen[g, j] = n
            if n:
                out[g, j] = _quantile(q[j], buffer[:n].copy())


@kernel(f"void({_IN}, int64[::1], int64, float64, boolean[:, ::1], int64[::1])")
def top(
    values: Floats,
    mask: Bools,
    groups: Ints,
    k: Ints,
    group_count: int,
    sign: float,
    keep: Bools,
    order: Ints,
) -> None:
    """topk (sign 1) and bottomk (sign -1): marks in ``keep`` the k[j] best of each group at step j.

    A heap as Go's container/heap keeps it, so that ties fall as upstream's. NaN is worst. ``order`` gets the
    rows of the last step, best first within each group, filled up with -1.
    """
    rows = values.shape[0]
    widest = 1
    for j in range(k.shape[0]):
        widest = max(widest, min(k[j], rows))
    heap = np.empty((group_count, widest), np.int64)
    size = np.zeros(group_count, np.int64)
    for j in range(values.shape[1]):
        limit = min(k[j], rows)
        size[:] = 0
        if limit < 1:
            continue
        for i in range(rows):
            if not mask[i, j]:
                continue
            g = groups[i]
            h = heap[g]
            n = size[g]
            x = sign * values[i, j]
            if n < limit:
                h[n] = i
                size[g] = n + 1
                # Up.
                at = n
                while at > 0:
                    parent = (at - 1) // 2
                    y = sign * values[h[parent], j]
                    z = sign * values[h[at], j]
                    if not (z != z or z < y):
                        break
                    h[parent], h[at] = h[at], h[parent]
                    at = parent
                continue
            worst = sign * values[h[0], j]
            if worst < x or (worst != worst and x == x):
                h[0] = i
                # Down.
                at = 0
                while True:
                    child = 2 * at + 1
                    if child >= n:
                        break
                    if child + 1 < n:
                        y = sign * values[h[child + 1], j]
                        if y != y or y < sign * values[h[child], j]:
                            child += 1
                    y = sign * values[h[child], j]
                    if not (y != y or y < sign * values[h[at], j]):
                        break
                    h[at], h[child] = h[child], h[at]
                    at = child
        for g in range(group_count):
            for n in range(size[g]):
                keep[heap[g, n], j] = True
    filled = 0
    last = values.shape[1] - 1
    for g in range(group_count):
        # Insertion sort, best first; NaN last.
        h = heap[g]
        for n in range(1, size[g]):
            at = n
            while at > 0:
                y = sign * values[h[at - 1], last]
                z = sign * values[h[at], last]
                if not (y != y or y < z):
                    break
                h[at - 1], h[at] = h[at], h[at - 1]
                at -= 1
        for n in range(size[g]):
            order[filled] = h[n]
            filled += 1
    order[filled:] = -1
