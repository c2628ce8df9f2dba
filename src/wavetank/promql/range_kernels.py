"""Kernels of the functions over range vectors, for float samples.

Each takes flat columns and the windows' positions (``range_vector``) and fills one result for each series and
step. State slides or is looked up in prefix sums where that gives the same number as summing each window
anew; where it would not (quantiles, variance, regression), each window is walked. NaN and infinities take
the walk, so that one bad sample spoils only the windows that hold it.
"""

from __future__ import annotations

import math

import numpy as np

from wavetank.jit import kernel
from wavetank.promql.vector import Bools, Floats, Ints

__all__ = [
    "extended_rate",
    "extrapolated_rate",
    "extremes",
    "quantiles",
    "regression",
    "smoothing",
    "sums",
    "variances",
]

_WINDOWS = "int64[:, ::1], int64[:, ::1]"
_OUT = "float64[:, ::1], boolean[:, ::1]"


@kernel(f"void(int64[::1], int64[::1], float64[::1], int64[::1], int64[::1], boolean, boolean, {_OUT})")
def extrapolated_rate(
    offsets: Ints,
    times: Ints,
    values: Floats,
    starts: Ints,
    ends: Ints,
    is_counter: bool,
    is_rate: bool,
    out: Floats,
    mask: Bools,
) -> None:
    """rate, increase and delta: the change over the samples, stretched to the window's ends.

    Finds the windows on its way, being the most used of all. Counter resets are found once per series; a
    window only adds up those that lie in it.
    """
    following = np.empty(values.shape[0] + 1, np.int64)  # the first reset at or after each sample
    for i in range(offsets.shape[0] - 1):
        first, last = offsets[i], offsets[i + 1]
        resets = False
        if is_counter:
            for s in range(first + 1, last):
                if values[s] < values[s - 1]:
                    resets = True
                    break
        if resets:
            following[last] = last
            for s in range(last - 1, first - 1, -1):
                reset = s > first and values[s] < values[s - 1]
                following[s] = s if reset else following[s + 1]
        a = first
        b = first
        for j in range(starts.shape[0]):
            start, end = starts[j], ends[j]
            while a < last and times[a] <= start:
                a += 1
            if b < a:
                b = a
            while b < last and times[b] <= end:
                b += 1
            z = b - 1
            if z - a < 1:
                continue
            change = values[z] - values[a]
            if resets:
                s = following[a + 1]
                while s <= z:
                    change += values[s - 1]
                    s = following[s + 1]
            to_start = (times[a] - start) / 1000.0
            to_end = (end - times[z]) / 1000.0
            sampled = (times[z] - times[a]) / 1000.0
            average = sampled / (z - a)
            threshold = average * 1.1
            if to_start >= threshold:
                to_start = average / 2
            if is_counter and change > 0 and values[a] >= 0:
                to_zero = sampled * (values[a] / change)
                if to_zero < to_start:
                    to_start = to_zero
            if to_end >= threshold:
                to_end = average / 2
            factor = (sampled + to_start + to_end) / sampled if sampled != 0 else 1.0
            if is_rate:
                factor /= (end - start) / 1000.0
            out[i, j] = change * factor
            mask[i, j] = True


@kernel(
    f"void(int64[::1], float64[::1], {_WINDOWS}, int64[::1], int64[::1], boolean, boolean, boolean, {_OUT})"
)
def extended_rate(
    times: Ints,
    values: Floats,
    low: Ints,
    high: Ints,
    starts: Ints,
    ends: Ints,
    smoothed: bool,
    is_counter: bool,
    is_rate: bool,
    out: Floats,
    mask: Bools,
) -> None:
    """rate, increase and delta with ``anchored`` or ``smoothed``: between the values at the window's ends."""
    for i in range(low.shape[0]):
        for j in range(low.shape[1]):
            a, b = low[i, j], high[i, j] - 1
            if b < a:
                continue
            start, end = starts[j], ends[j]
            while a + 1 <= b and times[a + 1] <= start:
                a += 1
            if smoothed:
                while b - 1 >= a and times[b - 1] >= end:
                    b -= 1
            if times[b] <= start or (smoothed and times[a] > end):
                continue
            left = values[a]
            if smoothed and times[a] < start:
                base = 0.0 if is_counter and values[a + 1] < values[a] else values[a]
                left = base + (values[a + 1] - base) * (start - times[a]) / (times[a + 1] - times[a])
            right = values[b]
            if smoothed and b > low[i, j] and times[b] > end:
                base = 0.0 if is_counter and values[b] < values[b - 1] else values[b - 1]
                right = base + (values[b] - base) * (end - times[b - 1]) / (times[b] - times[b - 1])
            change = right - left
            if is_counter:
                if times[a] <= start:
                    a += 1
                if times[b] >= end:
                    b -= 1
                previous = left
                for s in range(a, b + 1):
                    if values[s] < previous:
                        change += previous
                    previous = values[s]
                if right < previous:
                    change += previous
            out[i, j] = change / ((end - start) / 1000.0) if is_rate else change
            mask[i, j] = True


@kernel(f"void(int64[::1], float64[::1], {_WINDOWS}, boolean, {_OUT})")
def sums(
    offsets: Ints, values: Floats, low: Ints, high: Ints, average: bool, out: Floats, mask: Bools
) -> None:
    """sum_over_time and avg_over_time.

    A running sum is kept exactly enough (two floats, error-free additions) that the difference of two of its
    states is the window's sum. A series with NaN or values near overflow is summed window by window.
    """
    head = np.empty(values.shape[0] + 1, np.float64)
    tail = np.empty(values.shape[0] + 1, np.float64)
    for i in range(offsets.shape[0] - 1):
        first, last = offsets[i], offsets[i + 1]
        head[first] = 0.0
        tail[first] = 0.0
        tame = True
        peak = 0.0
        hi = 0.0
        lo = 0.0
        for s in range(first, last):
            x = values[s]
            if not abs(x) < 1e290:
                tame = False
                break
            t = hi + x
            z = t - hi
            e = (hi - (t - z)) + (x - z) + lo
            hi = t + e
            lo = e - (hi - t)
            peak = max(peak, abs(hi))
            head[s + 1] = hi
            tail[s + 1] = lo
        for j in range(low.shape[1]):
            a, b = low[i, j], high[i, j]
            if b <= a:
                continue
            mask[i, j] = True
            if tame and b - a > 4:
                # The difference of two double-doubles, rounded once.
                t = head[b] - head[a]
                z = t - head[b]
                e = (head[b] - (t - z)) - (head[a] + z) + (tail[b] - tail[a])
                if peak <= 1e15 * abs(t + e):  # else what cancelled may have taken the digits with it
                    out[i, j] = (t + e) / (b - a) if average else t + e
                    continue
            out[i, j] = _walk_sum(values, a, b, average)


@kernel(inline=True)
def _walk_sum(values: Floats, a: int, b: int, average: bool) -> float:
    """Compensated summation; an average that would overflow turns to a running mean."""
    total = values[a]
    c = 0.0
    count = 1.0
    mean = 0.0
    incremental = False
    for s in range(a + 1, b):
        count += 1.0
        x = values[s]
        if not incremental:
            t = total + x
            overflow = abs(t) > 1.7976931348623157e308
            if not (average and overflow):
                if overflow:
                    c = 0.0
                elif abs(total) >= abs(x):
                    c += (total - t) + x
                else:
                    c += (x - t) + total
                total = t
                continue
            incremental = True
            mean = total / (count - 1.0)
            c /= count - 1.0
        q = (count - 1.0) / count
        x = x / count
        mean = q * mean
        c = q * c
        t = mean + x
        if abs(t) > 1.7976931348623157e308:
            c = 0.0
        elif abs(mean) >= abs(x):
            c += (mean - t) + x
        else:
            c += (x - t) + mean
        mean = t
    if average:
        return float(mean + c if incremental else total / count + c / count)
    return float(total if math.isinf(total) else total + c)


@kernel(f"void(int64[::1], int64[::1], float64[::1], {_WINDOWS}, int64, boolean, {_OUT})")
def extremes(
    offsets: Ints,
    times: Ints,
    values: Floats,
    low: Ints,
    high: Ints,
    sign: int,
    stamp: bool,
    out: Floats,
    mask: Bools,
) -> None:
    """max_over_time (sign 1) and min_over_time (sign -1), or with ``stamp`` the seconds of the last extreme.

    A queue holds the candidates of the window, best first; NaN only wins where there is nothing else.
    """
    queue = np.empty(values.shape[0] + 1, np.int64)
    for i in range(offsets.shape[0] - 1):
        front = 0
        back = 0
        seen = offsets[i]
        for j in range(low.shape[1]):
            a, b = low[i, j], high[i, j]
            while seen < b:
                x = sign * values[seen]
                if x == x:
                    while back > front:
                        y = sign * values[queue[back - 1]]
                        # The later of equal values is the one whose timestamp counts.
                        if y < x or y == x:
                            back -= 1
                        else:
                            break
                    queue[back] = seen
                    back += 1
                seen += 1
            while front < back and queue[front] < a:
                front += 1
            if b <= a:
                continue
            mask[i, j] = True
            if front < back:
                best = queue[front]
                out[i, j] = times[best] / 1000.0 if stamp else values[best]
            else:
                out[i, j] = times[b - 1] / 1000.0 if stamp else np.nan


@kernel(f"void(float64[::1], {_WINDOWS}, boolean, {_OUT})")
def variances(values: Floats, low: Ints, high: Ints, root: bool, out: Floats, mask: Bools) -> None:
    """stdvar_over_time and stddev_over_time: Welford's update with compensated sums."""
    for i in range(low.shape[0]):
        for j in range(low.shape[1]):
            a, b = low[i, j], high[i, j]
            if b <= a:
                continue
            mean = 0.0
            mean_c = 0.0
            aux = 0.0
            aux_c = 0.0
            for s in range(a, b):
                delta = values[s] - (mean + mean_c)
                x = delta / (s - a + 1)
                t = mean + x
                mean_c += (mean - t) + x if abs(mean) >= abs(x) else (x - t) + mean
                mean = t
                x = delta * (values[s] - (mean + mean_c))
                t = aux + x
                aux_c += (aux - t) + x if abs(aux) >= abs(x) else (x - t) + aux
                aux = t
            variance = (aux + aux_c) / (b - a)
            out[i, j] = math.sqrt(variance) if root else variance
            mask[i, j] = True


@kernel(inline=True)
def _quantile(q: float, values: Floats) -> float:
    """The quantile of values that may be reordered; NaN counts as the smallest."""
    n = values.shape[0]
    if n == 0 or q != q:
        return np.nan
    if q < 0:
        return -np.inf
    if q > 1:
        return np.inf
    values.sort()  # NaN last
    nans = 0
    while nans < n and values[n - 1 - nans] != values[n - 1 - nans]:
        nans += 1
    rank = q * (n - 1)
    lower = math.floor(rank)
    upper = min(n - 1, lower + 1)
    weight = rank - math.floor(rank)
    a = np.nan if lower < nans else values[lower - nans]
    b = np.nan if upper < nans else values[upper - nans]
    return float(a * (1 - weight) + b * weight)


@kernel(f"void(float64[::1], {_WINDOWS}, float64[::1], boolean, {_OUT})")
def quantiles(
    values: Floats, low: Ints, high: Ints, q: Floats, deviation: bool, out: Floats, mask: Bools
) -> None:
    """quantile_over_time with q[j] at step j, or with ``deviation`` mad_over_time."""
    for i in range(low.shape[0]):
        for j in range(low.shape[1]):
            a, b = low[i, j], high[i, j]
            if b <= a:
                continue
            mask[i, j] = True
            window = values[a:b].copy()
            if not deviation:
                out[i, j] = _quantile(q[j], window)
                continue
            if np.isnan(window).any():
                out[i, j] = np.nan
                continue
            median = _quantile(0.5, window)
            for s in range(window.shape[0]):
                window[s] = abs(window[s] - median)
            out[i, j] = _quantile(0.5, window)


@kernel(f"void(int64[::1], float64[::1], {_WINDOWS}, int64[::1], float64[::1], boolean, {_OUT})")
def regression(
    times: Ints,
    values: Floats,
    low: Ints,
    high: Ints,
    now: Ints,
    ahead: Floats,
    predict: bool,
    out: Floats,
    mask: Bools,
) -> None:
    """deriv (the slope) and predict_linear (the value ``ahead[j]`` seconds after ``now[j]``)."""
    for i in range(low.shape[0]):
        for j in range(low.shape[1]):
            a, b = low[i, j], high[i, j]
            if b - a < 2:
                continue
            origin = now[j] if predict else times[a]
            slope, intercept = _least_squares(times, values, a, b, origin)
            out[i, j] = slope * ahead[j] + intercept if predict else slope
            mask[i, j] = True


@kernel(inline=True)
def _least_squares(times: Ints, values: Floats, a: int, b: int, origin: int) -> tuple[float, float]:
    n = float(b - a)
    constant = True
    sx = sy = sxy = sxx = 0.0
    cx = cy = cxy = cxx = 0.0
    for s in range(a, b):
        y = values[s]
        if y != values[a]:
            constant = False
        x = (times[s] - origin) / 1000.0
        t = sx + x
        cx += (sx - t) + x if abs(sx) >= abs(x) else (x - t) + sx
        sx = t
        t = sy + y
        cy += (sy - t) + y if abs(sy) >= abs(y) else (y - t) + sy
        sy = t
        p = x * y
        t = sxy + p
        cxy += (sxy - t) + p if abs(sxy) >= abs(p) else (p - t) + sxy
        sxy = t
        p = x * x
        t = sxx + p
        cxx += (sxx - t) + p if abs(sxx) >= abs(p) else (p - t) + sxx
        sxx = t
    if constant:
        if math.isinf(values[a]):
            return np.nan, np.nan
        return 0.0, values[a]
    sx += cx
    sy += cy
    sxy += cxy
    sxx += cxx
    slope = (sxy - sx * sy / n) / (sxx - sx * sx / n)
    return slope, sy / n - slope * sx / n


@kernel(f"void(int64[::1], float64[::1], {_WINDOWS}, float64[::1], float64[::1], {_OUT})")
def smoothing(
    offsets: Ints,
    values: Floats,
    low: Ints,
    high: Ints,
    factor: Floats,
    trend: Floats,
    out: Floats,
    mask: Bools,
) -> None:
    """double_exponential_smoothing with the factors of each step.

    A step of the smoothing is linear in its state (level, slope, with a matrix M) and adds the sample, so two
    runs that differ in where they began differ by M**n times the difference there. One run over the whole
    series therefore gives every window its result. Windows are walked where the factors change, where M does
    not shrink, and in series with NaN, infinities or huge values.
    """
    width = 0
    for i in range(low.shape[0]):
        for j in range(low.shape[1]):
            width = max(width, high[i, j] - low[i, j])
    constant = factor.shape[0] > 0
    for j in range(1, factor.shape[0]):
        constant = constant and factor[j] == factor[0] and trend[j] == trend[0]
    powers = np.zeros((width + 1, 2), np.float64)  # the level's row of M**n
    if constant and width > 64:
        constant = _level_powers(factor[0], trend[0], powers)
    levels = np.empty(values.shape[0] + 1, np.float64)
    slopes = np.empty(values.shape[0] + 1, np.float64)
    for i in range(offsets.shape[0] - 1):
        first, last = offsets[i], offsets[i + 1]
        tame = constant and width > 64 and last - first >= 2
        if tame:
            sf, tf = factor[0], trend[0]
            level = values[first]
            slope = values[first + 1] - level
            for s in range(first, last):
                x = values[s]
                if not abs(x) < 1e150:
                    tame = False
                    break
                if s > first:
                    before = level
                    level = sf * x + (1 - sf) * (level + slope)
                    # The trend as the next sample will see it.
                    slope = tf * (level - before) + (1 - tf) * slope
                levels[s] = level
                slopes[s] = slope
        for j in range(low.shape[1]):
            a, b = low[i, j], high[i, j]
            if b - a < 2:
                continue
            mask[i, j] = True
            if not tame or b - a < 64:
                out[i, j] = _walk_smoothing(values, a, b, factor[j], trend[j])
                continue
            n = b - 1 - a
            begin = powers[n, 0] * (values[a] - levels[a])
            begin += powers[n, 1] * (values[a + 1] - values[a] - slopes[a])
            out[i, j] = levels[b - 1] + begin


@kernel(inline=True)
def _level_powers(sf: float, tf: float, powers: Floats) -> bool:
    """Fills in what n steps make of a difference in level and slope; False if it does not die away."""
    u, v = 1.0, 0.0  # a row vector times M, again and again
    powers[0, 0], powers[0, 1] = u, v
    # (level, slope) -> ((1 - sf)(level + slope), tf (level' - level) + (1 - tf) slope)
    p = 1 - sf
    for n in range(1, powers.shape[0]):
        u, v = u * p + v * tf * (p - 1), u * p + v * (tf * p + 1 - tf)
        powers[n, 0], powers[n, 1] = u, v
        if abs(u) + abs(v) > 4:
            return False
    return abs(u) + abs(v) < 1e-3


@kernel(inline=True)
def _walk_smoothing(values: Floats, a: int, b: int, sf: float, tf: float) -> float:
    before = 0.0
    level = values[a]
    slope = values[a + 1] - values[a]
    for s in range(a + 1, b):
        if s > a + 1:
            slope = tf * (level - before) + (1 - tf) * slope
        before, level = level, sf * values[s] + (1 - sf) * (level + slope)
    return float(level)
