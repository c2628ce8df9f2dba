"""Pods that work on several requests at once, or under a CPU limit.

A pod works on at most ``concurrency`` requests, in order of arrival; those in service share its CPU equally.
That one model is a FIFO server (concurrency 1), M/M/c (as many cores as workers), processor sharing (no
bound) and everything between. A CPU limit is kept as CFS keeps it: a quota per 100 ms, then nothing until the
next period.

Progress of the requests in service is one number per pod, its virtual time, since all progress equally; the
next to end is the head of the pod's binary heap of virtual end times.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from wavetank.jit import kernel
from wavetank.simulation.kernels import (
    ACTIVE,
    ARRIVED,
    AT,
    BACKLOG,
    BALANCER,
    BUDGET,
    CONCURRENCY,
    CORES,
    CPU,
    CPU_SHARE,
    CURSOR,
    FRESH,
    HEAD,
    IN_FLIGHT,
    LEAST_REQUEST,
    NEED,
    NEXT_POD,
    NOW,
    PERIOD,
    PERIODS,
    QUEUED,
    QUOTA,
    REFUSED,
    ROUND_ROBIN,
    SECOND,
    THROTTLED,
    THROTTLED_PERIODS,
    TIMEOUT,
    VIRTUAL,
    complete,
    first_of,
    other_of,
    refuse,
    settle,
    warmed,
)  # fmt: skip

__all__ = ["advance"]

_CFS_PERIOD: Final = 0.1
_NOTHING: Final = 1e-12


@kernel(inline=True, always=True, allocates=False)
def _push(heap: Any, pod: int, count: int, value: float, at: float) -> None:
    """Add to the pod's heap of virtual end times."""
    i = count
    while i > 0:
        parent = (i - 1) >> 1
        if heap[pod, 2 * parent] <= value:
            break
        heap[pod, 2 * i] = heap[pod, 2 * parent]
        heap[pod, 2 * i + 1] = heap[pod, 2 * parent + 1]
        i = parent
    heap[pod, 2 * i] = value
    heap[pod, 2 * i + 1] = at


@kernel(inline=True, always=True, allocates=False)
def _pop(heap: Any, pod: int, count: int) -> None:
    """Remove the head; ``count`` includes it."""
    last = count - 1
    value = heap[pod, 2 * last]
    at = heap[pod, 2 * last + 1]
    i = 0
    while True:
        child = 2 * i + 1
        if child >= last:
            break
        if child + 1 < last and heap[pod, 2 * child + 2] < heap[pod, 2 * child]:
            child += 1
        if heap[pod, 2 * child] >= value:
            break
        heap[pod, 2 * i] = heap[pod, 2 * child]
        heap[pod, 2 * i + 1] = heap[pod, 2 * child + 1]
        i = child
    heap[pod, 2 * i] = value
    heap[pod, 2 * i + 1] = at


@kernel(inline=True, always=True, allocates=False)
def _next(pod: int, active: int, backlog: int, virtual: float, counts: Any, heap: Any, queue: Any) -> int:
    """After an end: the first in the queue goes into service. Returns how many are in service."""
    if counts[pod, QUEUED] == 0:
        return active
    head = counts[pod, HEAD]
    _push(heap, pod, active, virtual + queue[pod, 2 * head + 1], queue[pod, 2 * head])
    counts[pod, HEAD] = head + 1 if head + 1 < backlog else 0
    counts[pod, QUEUED] -= 1
    return active + 1


@kernel(inline=True, always=True, allocates=False)
def _share(
    pod: int, until: float, p: Any, pods: Any, counts: Any, heap: Any, queue: Any, histogram: Any,
    second: Any, totals: Any,
) -> None:  # fmt: skip
    """Bring one pod without a CPU limit to ``until``."""
    active = counts[pod, ACTIVE]
    if active == 0:
        pods[pod, AT] = until
        return
    share, relative, timeout = p[CPU_SHARE], p[CPU_SHARE] / p[CORES], p[TIMEOUT]
    now, virtual, cpu = pods[pod, AT], pods[pod, VIRTUAL], pods[pod, CPU]
    while active > 0:
        stretch = max(1.0, active * relative)
        left = heap[pod, 0] - virtual
        end = now + left * stretch
        if end > until:
            progress = (until - now) / stretch
            virtual += progress
            cpu += progress * active * share
            break
        now = max(now, end)
        cpu += left * active * share
        virtual = heap[pod, 0]
        latency = now - heap[pod, 1]
        _pop(heap, pod, active)
        complete(pod, latency, timeout, counts, histogram, second, totals)
        active = _next(pod, active - 1, int(p[BACKLOG]), virtual, counts, heap, queue)
    counts[pod, ACTIVE] = active
    pods[pod, AT] = until
    pods[pod, CPU] = cpu
    pods[pod, VIRTUAL] = virtual if active > 0 else 0.0  # a busy period has ended: keep the numbers small


@kernel(inline=True, always=True, allocates=False)
def _limited(
    pod: int, until: float, p: Any, pods: Any, counts: Any, heap: Any, queue: Any, histogram: Any,
    second: Any, totals: Any,
) -> None:  # fmt: skip
    """Bring one pod with a CPU limit to ``until``."""
    now = pods[pod, AT]
    active = counts[pod, ACTIVE]
    share, cores, quota = p[CPU_SHARE], p[CORES], p[QUOTA]
    while active > 0 and now < until:
        wanted = active * share
        used = min(wanted, cores)
        pace = used / wanted if wanted > _NOTHING else 1.0
        step = until - now
        exhausted = False
        period = int(now * 10.0 + 1e-7)
        if period != counts[pod, PERIOD]:
            counts[pod, PERIOD] = period
            counts[pod, PERIODS] += 1
            pods[pod, BUDGET] = quota * _CFS_PERIOD
        boundary = (period + 1) * _CFS_PERIOD - now
        if pods[pod, BUDGET] <= _NOTHING and used > _NOTHING:
            pace = used = 0.0
            pods[pod, THROTTLED] += min(step, boundary)
        elif used > _NOTHING and pods[pod, BUDGET] < used * min(step, boundary):
            step = pods[pod, BUDGET] / used
            exhausted = True
        left = (heap[pod, 0] - pods[pod, VIRTUAL]) / pace if pace > 0.0 else np.inf
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
        elif step == boundary:
            now = (period + 1) * _CFS_PERIOD
        if ends:
            latency = now - heap[pod, 1]
            pods[pod, VIRTUAL] = heap[pod, 0]
            _pop(heap, pod, active)
            complete(pod, latency, p[TIMEOUT], counts, histogram, second, totals)
            active = _next(pod, active - 1, int(p[BACKLOG]), pods[pod, VIRTUAL], counts, heap, queue)
            if active == 0:
                pods[pod, VIRTUAL] = 0.0
    counts[pod, ACTIVE] = active
    pods[pod, AT] = until


@kernel(inline=True, always=True, allocates=False)
def _catch_up(
    pod: int, until: float, p: Any, pods: Any, counts: Any, heap: Any, queue: Any, histogram: Any,
    second: Any, totals: Any,
) -> None:  # fmt: skip
    if p[QUOTA] > 0.0:
        _limited(pod, until, p, pods, counts, heap, queue, histogram, second, totals)
    else:
        _share(pod, until, p, pods, counts, heap, queue, histogram, second, totals)


@kernel(allocates=False)
def advance(
    until: float,
    rates: Any,
    ready: Any,
    p: Any,
    stream: Any,
    place: Any,
    gaps: Any,
    needs: Any,
    picks: Any,
    pods: Any,
    counts: Any,
    heap: Any,
    queue: Any,
    histogram: Any,
    cumulative: Any,
    rows: Any,
    totals: Any,
) -> None:
    """Let requests arrive and be served until ``until`` (seconds) or the end of the block of random numbers,
    with ``ready`` pods (int64[n] slots).

    ``rates`` float64[seconds]: arrivals per second, constant within each; none after its end. ``gaps`` and
    ``needs`` float64[n], ``picks`` int64[n]: see ``draws``. ``pods`` float64[slots, POD_FLOATS], ``counts``
    int64[slots, POD_INTS]; ``heap`` float64[slots, 2 * concurrency + padding]: pairs (virtual end, arrival);
    ``queue`` float64[slots, 2 * backlog + padding]: a ring of pairs (arrival, need); ``histogram`` and
    ``cumulative`` int64[BINS]; ``rows`` float64[seconds + 1, ROW]; ``totals`` int64[COUNTS].
    """
    length, slots, block = len(ready), pods.shape[0], len(gaps)
    concurrency, backlog, balancer = int(p[CONCURRENCY]), int(p[BACKLOG]), int(p[BALANCER])
    turn, cursor = place[NEXT_POD], place[CURSOR]
    while stream[NOW] < until:
        index = place[SECOND]
        end = min(index + 1.0, until)
        rate = rates[index] if index < len(rates) else 0.0
        second = rows[min(index, len(rows) - 1)]
        now, need = stream[NOW], stream[NEED]
        gap = 1.0 / rate if rate > 0.0 else 0.0
        began = cursor
        exhausted = False
        while True:
            at = now + need * gap
            if rate <= 0.0 or at >= end:
                need -= rate * (end - now)
                now = end
                break
            if cursor == block:
                exhausted = True
                break
            now = at
            need = gaps[cursor]
            work, pick = needs[cursor], picks[cursor]
            cursor += 1
            if length == 0:
                refuse(histogram, second, totals)
                continue
            if balancer == ROUND_ROBIN:
                turn = turn + 1 if turn + 1 < length else 0
                pod = ready[turn]
            else:
                first = first_of(pick, length)
                pod = ready[first]
                if balancer == LEAST_REQUEST and length > 1:
                    rival = ready[other_of(pick, length, first)]
                    _catch_up(rival, now, p, pods, counts, heap, queue, histogram, second, totals)
                    _catch_up(pod, now, p, pods, counts, heap, queue, histogram, second, totals)
                    busy = counts[pod, ACTIVE] + counts[pod, QUEUED]
                    if counts[rival, ACTIVE] + counts[rival, QUEUED] < busy:
                        pod = rival
            _catch_up(pod, now, p, pods, counts, heap, queue, histogram, second, totals)
            if now < pods[pod, FRESH]:
                work = warmed(pod, now, work, pods)
            active = counts[pod, ACTIVE]
            if active < concurrency:
                _push(heap, pod, active, pods[pod, VIRTUAL] + work, now)
                counts[pod, ACTIVE] = active + 1
            elif counts[pod, QUEUED] < backlog:
                tail = counts[pod, HEAD] + counts[pod, QUEUED]
                if tail >= backlog:
                    tail -= backlog
                queue[pod, 2 * tail] = now
                queue[pod, 2 * tail + 1] = work
                counts[pod, QUEUED] += 1
            else:
                counts[pod, REFUSED] += 1
                refuse(histogram, second, totals)
        second[ARRIVED] += cursor - began
        stream[NOW], stream[NEED] = now, need
        place[CURSOR], place[NEXT_POD] = cursor, turn
        if exhausted:
            return
        flying = 0
        for slot in range(slots):
            _catch_up(slot, now, p, pods, counts, heap, queue, histogram, second, totals)
            flying += counts[slot, ACTIVE] + counts[slot, QUEUED]
        if now >= index + 1.0:
            second[IN_FLIGHT] = flying
            settle(histogram, cumulative, second)
            place[SECOND] = index + 1
