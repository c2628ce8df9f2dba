"""Pods that work on one request at a time, in order of arrival: Lindley's recursion.

A request begins when the pod is free and has ended its need later, so its end is known as it arrives:
``end = max(now, free) + need``. It is noted in the pod's ring and counted once it is over, as somebody looks.
Source: D. V. Lindley, The theory of queues with a single server (1952).

Left out: CPU limits, which stretch a request while it runs; such pods are served by ``sharing``.
"""

from __future__ import annotations

from typing import Any

from wavetank.jit import kernel
from wavetank.simulation.kernels import (
    ACTIVE,
    ARRIVED,
    AT,
    BACKLOG,
    BALANCER,
    BUSY,
    COMPLETED,
    CORES,
    CPU,
    CPU_SHARE,
    CURSOR,
    DONE,
    FAILED,
    FREE,
    FRESH,
    GATEWAY_TIMEOUT,
    HEAD,
    IN_FLIGHT,
    LATENCY_SUM,
    LEAST_REQUEST,
    NEED,
    NEXT_POD,
    NOW,
    OK,
    REFUSED,
    ROUND_ROBIN,
    SECOND,
    TIMED_OUT,
    TIMEOUT,
    bin_of,
    first_of,
    other_of,
    refuse,
    settle,
    warmed,
)  # fmt: skip

__all__ = ["advance"]


@kernel(inline=True, always=True, allocates=False)
def _drain(
    pod: int, until: float, timeout: float, capacity: int, counts: Any, ring: Any, histogram: Any,
    second: Any, totals: Any,
) -> None:  # fmt: skip
    """Count what the pod has ended by ``until``."""
    count = counts[pod, ACTIVE]
    if count == 0:
        return
    head = counts[pod, HEAD]
    ended, late, sum_ = 0, 0, 0.0
    while ended < count:
        end = ring[pod, 2 * head]
        if end > until:
            break
        latency = end - ring[pod, 2 * head + 1]
        if latency > timeout:
            late += 1
            latency = timeout
        sum_ += latency
        histogram[bin_of(latency)] += 1
        ended += 1
        head += 1
        if head == capacity:
            head = 0
    # From the ring's begin again where nothing is left: the rings' first entries stay in the cache.
    counts[pod, HEAD] = head if ended < count else 0
    counts[pod, ACTIVE] = count - ended
    counts[pod, DONE] += ended - late
    counts[pod, TIMED_OUT] += late
    totals[OK] += ended - late
    totals[GATEWAY_TIMEOUT] += late
    second[COMPLETED] += ended
    second[FAILED] += late
    second[LATENCY_SUM] += sum_


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
    ring: Any,
    histogram: Any,
    cumulative: Any,
    rows: Any,
    totals: Any,
) -> None:
    """As ``sharing.advance``; ``ring`` float64[slots, 2 * (backlog + 1) + padding]: pairs (end, arrival) of
    the requests at a pod."""
    length, slots, block = len(ready), pods.shape[0], len(gaps)
    capacity = int(p[BACKLOG]) + 1
    timeout, balancer = p[TIMEOUT], int(p[BALANCER])
    stretch = max(1.0, p[CPU_SHARE] / p[CORES])
    used = p[CPU_SHARE] / stretch
    turn = place[NEXT_POD]
    cursor = place[CURSOR]
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
            work = needs[cursor] * stretch
            if length == 0:
                refuse(histogram, second, totals)
                cursor += 1
                continue
            if balancer == ROUND_ROBIN:
                turn = turn + 1 if turn + 1 < length else 0
                pod = ready[turn]
            else:
                first = first_of(picks[cursor], length)
                pod = ready[first]
                if balancer == LEAST_REQUEST and length > 1:
                    rival = ready[other_of(picks[cursor], length, first)]
                    _drain(pod, now, timeout, capacity, counts, ring, histogram, second, totals)
                    _drain(rival, now, timeout, capacity, counts, ring, histogram, second, totals)
                    if counts[rival, ACTIVE] < counts[pod, ACTIVE]:
                        pod = rival
            cursor += 1
            if now < pods[pod, FRESH]:
                work = warmed(pod, now, work, pods)
            count = counts[pod, ACTIVE]
            if count >= capacity:
                _drain(pod, now, timeout, capacity, counts, ring, histogram, second, totals)
                count = counts[pod, ACTIVE]
                if count >= capacity:
                    counts[pod, REFUSED] += 1
                    refuse(histogram, second, totals)
                    continue
            free = max(pods[pod, FREE], now) + work
            pods[pod, FREE] = free
            pods[pod, BUSY] += work
            tail = counts[pod, HEAD] + count
            if tail >= capacity:
                tail -= capacity
            ring[pod, 2 * tail] = free
            ring[pod, 2 * tail + 1] = now
            counts[pod, ACTIVE] = count + 1
        second[ARRIVED] += cursor - began
        stream[NOW], stream[NEED] = now, need
        place[CURSOR], place[NEXT_POD] = cursor, turn
        if exhausted:
            return
        flying = 0
        for slot in range(slots):
            _drain(slot, now, timeout, capacity, counts, ring, histogram, second, totals)
            flying += counts[slot, ACTIVE]
            pods[slot, AT] = now
            pods[slot, CPU] = used * (pods[slot, BUSY] - max(0.0, pods[slot, FREE] - now))
        if now >= index + 1.0:
            second[IN_FLIGHT] = flying
            settle(histogram, cumulative, second)
            place[SECOND] = index + 1
