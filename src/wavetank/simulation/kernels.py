"""Requests through pods, one by one: the kernels of the per-request resolution.

A pod serves at most ``concurrency`` requests at once, in order of arrival; those in service share its CPU
equally. That one model is a FIFO server (concurrency 1), M/M/c (as many cores as workers), processor sharing
(no bound) and everything between. A CPU limit is kept as CFS keeps it: a quota per 100 ms, then nothing until
the next period.

No global event heap: pods are independent between two arrivals, so a pod is brought up to date only when the
balancer looks at it, and at the end of every second. Progress of the requests in service is one number per
pod, its virtual time, since all progress equally; the next to finish is the head of the pod's binary heap.
Times are seconds from the start of the load: float64 has nanoseconds there.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from wavetank.jit import kernel

__all__ = [
    "BACKLOG", "BINS", "COUNTS", "advance", "bin_bounds", "draw", "settle",
]  # fmt: skip

#: Histogram of latencies: 64 parts an octave as ``wavetank.load.histogram``, from 2^-20 s on.
LOWEST_OCTAVE: Final = -19
BINS: Final = 64 * 40

# Columns of a pod's numbers.
AT, VIRTUAL, BUDGET, CPU, THROTTLED, BORN, WARM_FACTOR, WARM_SECONDS, FIRST = range(9)
POD_FLOATS: Final = 9
# Columns of a pod's counts.
ACTIVE, HEAD, QUEUED, PERIOD, PERIODS, THROTTLED_PERIODS, DONE, TIMED_OUT, REFUSED = range(9)
POD_INTS: Final = 9
# Parameters of the service.
CONCURRENCY, CORES, CPU_SHARE, QUOTA, BACKLOG, TIMEOUT, ARRIVALS, BALANCER, KIND, A, B, RETRIES = range(12)
PARAMETERS: Final = 12
# Columns of a second's row.
ARRIVED, COMPLETED, FAILED, P50, P95, P99, LATENCY_SUM, IN_FLIGHT = range(8)
ROW: Final = 8
#: Rows after the last arrival, for what is still being answered then; later seconds add to the last.
AFTERMATH: Final = 64
# Totals by outcome.
OK, GATEWAY_TIMEOUT, UNAVAILABLE = range(3)
COUNTS: Final = 3
# Stream state: time, need (arrivals still to be expected before the next one).
NOW, NEED = range(2)
# Integers of the balancer.
NEXT_POD, SECOND = range(2)

ROUND_ROBIN, LEAST_REQUEST, RANDOM = range(3)
EVEN, POISSON = range(2)
_CFS_PERIOD: Final = 0.1
_NOTHING: Final = 1e-12


@kernel(inline=True)
def draw(kind: int, a: float, b: float, table: Any, rng: Any) -> float:
    """One service time; see ``distributions`` for kinds."""
    if kind == 0:
        return a
    if kind == 1:
        return a * rng.standard_exponential()  # type: ignore[no-any-return]
    if kind == 2:
        return math.exp(a + b * rng.standard_normal())
    if kind == 3:
        return b * rng.standard_gamma(a)  # type: ignore[no-any-return]
    return table[int(rng.random() * len(table))]  # type: ignore[no-any-return]


@kernel(inline=True)
def _bin(seconds: float) -> int:
    """The latency's bin; what is shorter or longer than the histogram counts in its first or last."""
    if seconds <= 1e-6:
        return 0
    mantissa, exponent = math.frexp(seconds)
    index = (exponent - LOWEST_OCTAVE) * 64 + int((mantissa - 0.5) * 128.0)
    return min(max(index, 0), BINS - 1)


def bin_bounds(index: int) -> tuple[float, float]:
    """Least latency of a bin and the least above it, in seconds."""
    octave, part = divmod(index, 64)
    scale = 2.0 ** (octave + LOWEST_OCTAVE)
    return scale * (0.5 + part / 128), scale * (0.5 + (part + 1) / 128)


@kernel(inline=True)
def _push(finish: Any, arrived: Any, pod: int, count: int, value: float, at: float) -> None:
    """Add to the pod's heap of virtual finish times."""
    i = count
    while i > 0:
        parent = (i - 1) >> 1
        if finish[pod, parent] <= value:
            break
        finish[pod, i] = finish[pod, parent]
        arrived[pod, i] = arrived[pod, parent]
        i = parent
    finish[pod, i] = value
    arrived[pod, i] = at


@kernel(inline=True)
def _pop(finish: Any, arrived: Any, pod: int, count: int) -> None:
    """Remove the head; ``count`` includes it."""
    last = count - 1
    value = finish[pod, last]
    at = arrived[pod, last]
    i = 0
    while True:
        child = 2 * i + 1
        if child >= last:
            break
        if child + 1 < last and finish[pod, child + 1] < finish[pod, child]:
            child += 1
        if finish[pod, child] >= value:
            break
        finish[pod, i] = finish[pod, child]
        arrived[pod, i] = arrived[pod, child]
        i = child
    finish[pod, i] = value
    arrived[pod, i] = at


@kernel(inline=True)
def _completed(
    pod: int, latency: float, timeout: float, counts: Any, histogram: Any, second: Any, totals: Any
) -> None:
    """Note how a request ended for its client."""
    if latency > timeout:
        counts[pod, TIMED_OUT] += 1
        totals[GATEWAY_TIMEOUT] += 1
        latency = timeout
        second[FAILED] += 1.0
    else:
        counts[pod, DONE] += 1
        totals[OK] += 1
    second[COMPLETED] += 1.0
    second[LATENCY_SUM] += latency
    histogram[_bin(latency)] += 1


@kernel(inline=True)
def _catch_up(
    pod: int,
    until: float,
    p: Any,
    pods: Any,
    counts: Any,
    finish: Any,
    arrived: Any,
    queue_at: Any,
    queue_need: Any,
    histogram: Any,
    second: Any,
    totals: Any,
) -> None:
    """Bring one pod to ``until``."""
    now = pods[pod, AT]
    active = counts[pod, ACTIVE]
    share, cores, quota = p[CPU_SHARE], p[CORES], p[QUOTA]
    while active > 0 and now < until:
        wanted = active * share
        used = min(wanted, cores)
        pace = used / wanted if wanted > _NOTHING else 1.0
        step = until - now
        boundary = step
        exhausted = False
        if quota > 0.0:
            period = int(now * 10.0 + 1e-7)
            if period != counts[pod, PERIOD]:
                counts[pod, PERIOD] = period
                counts[pod, PERIODS] += 1
                pods[pod, BUDGET] = quota * _CFS_PERIOD
            boundary = (period + 1) * _CFS_PERIOD - now
            if pods[pod, BUDGET] <= _NOTHING and used > _NOTHING:
                pace = used = 0.0
                pods[pod, THROTTLED] += min(step, boundary)
            elif used > _NOTHING and pods[pod, BUDGET] / used < min(step, boundary):
                step = pods[pod, BUDGET] / used
                exhausted = True
        left = (finish[pod, 0] - pods[pod, VIRTUAL]) / pace if pace > 0.0 else np.inf
        ends = False
        if left <= step and left <= boundary:
            step, ends, exhausted = max(left, 0.0), True, False
        elif boundary < step:
            step = boundary
        pods[pod, VIRTUAL] += step * pace
        pods[pod, CPU] += step * used
        pods[pod, BUDGET] -= step * used
        now += step
        if exhausted:
            pods[pod, BUDGET] = 0.0
            counts[pod, THROTTLED_PERIODS] += 1
        elif quota > 0.0 and step == boundary:
            now = (period + 1) * _CFS_PERIOD
        if ends:
            latency = now - arrived[pod, 0]
            pods[pod, VIRTUAL] = finish[pod, 0]
            _pop(finish, arrived, pod, active)
            active -= 1
            _completed(pod, latency, p[TIMEOUT], counts, histogram, second, totals)
            if counts[pod, QUEUED] > 0:
                head = counts[pod, HEAD]
                _push(
                    finish, arrived, pod, active,
                    pods[pod, VIRTUAL] + queue_need[pod, head], queue_at[pod, head],
                )  # fmt: skip
                active += 1
                counts[pod, HEAD] = (head + 1) % queue_at.shape[1]
                counts[pod, QUEUED] -= 1
            elif active == 0:
                pods[pod, VIRTUAL] = 0.0  # a busy period has ended: keep the numbers small
    counts[pod, ACTIVE] = active
    pods[pod, AT] = until


@kernel(inline=True)
def _middle(index: int) -> float:
    """Of a bin, in seconds."""
    return math.ldexp(0.5 + (index % 64 + 0.5) / 128, index // 64 + LOWEST_OCTAVE)


@kernel()
def settle(histogram: Any, cumulative: Any, second: Any) -> None:
    """The end of a second: its percentiles (nearest rank) into its row, its histogram into the run's."""
    count = int(second[COMPLETED])
    if count <= 0:
        second[P50] = second[P95] = second[P99] = np.nan
        return
    low, middle, high = math.ceil(count * 0.50), math.ceil(count * 0.95), math.ceil(count * 0.99)
    seen = 0
    for i in range(BINS):
        here = histogram[i]
        if here == 0:
            continue
        before = seen
        seen += here
        if before < low <= seen:
            second[P50] = _middle(i)
        if before < middle <= seen:
            second[P95] = _middle(i)
        if before < high <= seen:
            second[P99] = _middle(i)
        cumulative[i] += here
        histogram[i] = 0
        if seen >= count:
            return


@kernel()
def advance(
    until: float,
    rates: Any,
    ready: Any,
    p: Any,
    stream: Any,
    place: Any,
    table: Any,
    pods: Any,
    counts: Any,
    finish: Any,
    arrived: Any,
    queue_at: Any,
    queue_need: Any,
    histogram: Any,
    cumulative: Any,
    rows: Any,
    totals: Any,
    rng: Any,
) -> None:
    """Let requests arrive and be served until ``until`` (seconds), with ``ready`` pods (int64[n] slots).

    ``rates`` float64[seconds]: arrivals per second, constant within each; none after its end. ``pods``
    float64[slots, POD_FLOATS], ``counts`` int64[slots, POD_INTS], ``finish`` and ``arrived``
    float64[slots, concurrency] heaps, ``queue_*`` float64[slots, backlog] rings; ``histogram`` and
    ``cumulative`` int64[BINS]; ``rows`` float64[seconds + 1, ROW]; ``totals`` int64[COUNTS].
    """
    concurrency = finish.shape[1]
    slots = pods.shape[0]
    length = len(ready)
    while stream[NOW] < until:
        index = place[SECOND]
        end = min(index + 1.0, until)
        rate = rates[index] if index < len(rates) else 0.0
        second = rows[min(index, len(rows) - 1)]
        if p[RETRIES] > 0 and 0 < index < len(rows) and rows[index - 1, COMPLETED] > 0:
            # Each failed try is tried again: what failed a second ago is on its way once more.
            failing = rows[index - 1, FAILED] / rows[index - 1, COMPLETED]
            again = 1.0
            for _ in range(int(p[RETRIES])):
                again *= failing
                rate += rates[index] * again if index < len(rates) else 0.0
        now = stream[NOW]
        while True:
            if rate <= 0.0 or now + stream[NEED] / rate >= end:
                stream[NEED] -= rate * (end - now)
                now = end
                break
            now += stream[NEED] / rate
            stream[NEED] = 1.0 if p[ARRIVALS] == EVEN else rng.standard_exponential()
            second[ARRIVED] += 1.0
            if length == 0:
                totals[UNAVAILABLE] += 1
                second[FAILED] += 1.0
                second[COMPLETED] += 1.0
                histogram[0] += 1
                continue
            if p[BALANCER] == ROUND_ROBIN:
                place[NEXT_POD] = (place[NEXT_POD] + 1) % length
                pod = ready[place[NEXT_POD]]
            elif length == 1:
                pod = ready[0]
            elif p[BALANCER] == RANDOM:
                pod = ready[int(rng.random() * length)]
            else:
                first = int(rng.random() * length)
                other = int(rng.random() * (length - 1))
                other += 1 if other >= first else 0
                pod, rival = ready[first], ready[other]
                _catch_up(
                    rival,
                    now,
                    p,
                    pods,
                    counts,
                    finish,
                    arrived,
                    queue_at,
                    queue_need,
                    histogram,
                    second,
                    totals,
                )
                _catch_up(
                    pod,
                    now,
                    p,
                    pods,
                    counts,
                    finish,
                    arrived,
                    queue_at,
                    queue_need,
                    histogram,
                    second,
                    totals,
                )
                if counts[rival, ACTIVE] + counts[rival, QUEUED] < counts[pod, ACTIVE] + counts[pod, QUEUED]:
                    pod = rival
            _catch_up(
                pod, now, p, pods, counts, finish, arrived, queue_at, queue_need, histogram, second, totals
            )
            need = draw(int(p[KIND]), p[A], p[B], table, rng)
            age = now - pods[pod, BORN]
            if pods[pod, WARM_FACTOR] > 1.0 and age < 8.0 * pods[pod, WARM_SECONDS]:
                need *= 1.0 + (pods[pod, WARM_FACTOR] - 1.0) * math.exp(-age / pods[pod, WARM_SECONDS])
            if pods[pod, FIRST] < 0.0:
                pods[pod, FIRST] = now
            active = counts[pod, ACTIVE]
            if active < concurrency:
                _push(finish, arrived, pod, active, pods[pod, VIRTUAL] + need, now)
                counts[pod, ACTIVE] = active + 1
            elif counts[pod, QUEUED] < queue_at.shape[1]:
                tail = (counts[pod, HEAD] + counts[pod, QUEUED]) % queue_at.shape[1]
                queue_at[pod, tail] = now
                queue_need[pod, tail] = need
                counts[pod, QUEUED] += 1
            else:
                counts[pod, REFUSED] += 1
                totals[UNAVAILABLE] += 1
                second[FAILED] += 1.0
                second[COMPLETED] += 1.0
                histogram[0] += 1
        stream[NOW] = now
        for pod in range(slots):
            if counts[pod, ACTIVE] > 0:
                _catch_up(
                    pod,
                    now,
                    p,
                    pods,
                    counts,
                    finish,
                    arrived,
                    queue_at,
                    queue_need,
                    histogram,
                    second,
                    totals,
                )
            else:
                pods[pod, AT] = now
        if now >= index + 1.0:
            flying = 0
            for pod in range(slots):
                flying += counts[pod, ACTIVE] + counts[pod, QUEUED]
            second[IN_FLIGHT] = flying
            settle(histogram, cumulative, second)
            place[SECOND] = index + 1
