"""The stepped resolution: a service as a fluid, a second a step, with its metrics pipeline and its HPA.

For long horizons and sweeps. Requests flow into one queue that all ready pods serve together (what a balancer
that looks at pods' load comes to); there are no single requests, so there are no percentiles here: what is
said of latency is an estimate from utilisation, named so wherever it is shown. Decisions are those of the
HPA (``hpa_kernel``), fed by modelled housekeeping samples and metrics server scrapes with their phases; pods
take their image pull, start-up and probes as in the other resolution.

``run_day`` is the whole loop in one kernel. Its parts are kernels of their own, so that tests can put the
real ``decide`` in the place of the one that is compiled in.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from wavetank.jit import kernel
from wavetank.simulation import hpa_kernel as h

__all__ = ["CASE", "PODS_MAX", "RESULT", "apply_scale", "new_world", "observe", "run_day", "serve"]

# Parameters of a case.
(
    CAPACITY, CPU, SERVICE, WARM_FACTOR, WARM_SECONDS, TIMEOUT, BOOT, PULL, START_CPU, STARTUP, IDLE, LIMIT,
    SYNC, SYNC_PHASE, RESOLUTION, RESOLUTION_PHASE, HOUSEKEEPING, SLOTS, NODES, REPLICAS, LATENCY_BOUND,
    PROPAGATION, SLOWEST,
) = range(23)  # fmt: skip
CASE: Final = 23
# Columns of a pod.
CREATED, STARTED, READY_AT, BASE, IN_SERVICE, HELD = range(6)
POD: Final = 6
PODS_MAX: Final = 1024
# The state: how many pods, ready ones, requests waiting, when the next sync is, when the last pod was ready.
COUNT, READY, QUEUE, NEXT_SYNC, YOUNGEST, PULLED, PULLING_UNTIL = range(7)
STATE: Final = 7
# What comes of a day.
(
    POD_SECONDS, REQUESTS, FAILED, SLOW, CHANGES, WORST_MINUTE, PEAK_PODS, PENDING_SECONDS, BAD_SECONDS,
    MINUTE, MINUTE_BAD,
) = range(11)  # fmt: skip
RESULT: Final = 11
_NEVER: Final = 1e18


def new_world(case: Any, seconds: int) -> tuple[Any, Any, Any, Any, Any]:
    """(pods, state, CPU of a ready pod so far by second, HPA's memory, result), all replicas ready."""
    pods = np.zeros((PODS_MAX, POD))
    state = np.zeros(STATE)
    count = int(min(case[REPLICAS], case[SLOTS]))
    for i in range(int(case[REPLICAS])):
        pods[i] = [-600.0, -600.0, -590.0, 0.0, 1.0, 1.0] if i < count else [-600.0, _NEVER, _NEVER, 0, 0, 0]
    state[COUNT], state[READY], state[NEXT_SYNC] = case[REPLICAS], count, case[SYNC_PHASE]
    state[YOUNGEST] = -590.0
    state[PULLED] = min(case[NODES], count)
    memory, result = np.full((h.MEMORY, 3), -1.0), np.zeros(RESULT)
    result[PEAK_PODS] = case[REPLICAS]
    return pods, state, np.zeros(seconds + 1), memory, result


@kernel(inline=True, always=True, allocates=False)
def _is_slow(rate: float, capacity: float, ready: float, cost: float, case: Any, state: Any) -> bool:
    """Whether the estimated latency is above the bound: what waits, and a pooled server's delay."""
    busy = min(rate / capacity, 0.999)
    wait, alone = state[QUEUE] / capacity, case[SERVICE] * cost
    if wait + alone / (1.0 - busy) <= case[LATENCY_BOUND]:
        return False  # not even as a single server: spares the power below, which most seconds need not
    return wait + alone / (1.0 - busy ** max(1.0, ready)) > case[LATENCY_BOUND]  # type: ignore[no-any-return]


@kernel(inline=True, always=True, allocates=False)
def _end_minute(result: Any) -> None:
    if result[MINUTE_BAD] > 0:
        ratio = min(1.0, result[MINUTE_BAD] / max(1e-9, result[MINUTE]))
        result[WORST_MINUTE] = max(result[WORST_MINUTE], ratio)
    result[MINUTE] = result[MINUTE_BAD] = 0.0


@kernel(inline=True, always=True, allocates=False)
def _serve(second: int, rate: float, case: Any, pods: Any, state: Any, used: Any, result: Any) -> None:
    """One second of traffic at ``rate`` requests."""
    count = int(state[COUNT])
    now = float(second)
    if state[READY] < count:
        for i in range(count):
            if pods[i, IN_SERVICE] == 0 and pods[i, READY_AT] + case[PROPAGATION] <= now + 0.5:
                pods[i, IN_SERVICE] = 1.0
                pods[i, BASE] = used[second]
                state[READY] += 1
                state[YOUNGEST] = pods[i, READY_AT]
    ready = state[READY]
    capacity = ready * case[CAPACITY]
    cost = 1.0
    result[REQUESTS] += rate
    result[MINUTE] += rate
    result[POD_SECONDS] += count
    result[PENDING_SECONDS] += count - ready
    warm = case[WARM_FACTOR] <= 1.0 or now - state[YOUNGEST] >= 8.0 * case[WARM_SECONDS]
    if not warm and ready > 0:
        capacity = 0.0
        for i in range(count):
            if pods[i, IN_SERVICE] > 0:
                age = max(0.0, now - pods[i, READY_AT])
                factor = 1.0 + (case[WARM_FACTOR] - 1.0) * math.exp(-age / case[WARM_SECONDS])
                capacity += case[CAPACITY] / factor
        cost = ready * case[CAPACITY] / capacity
    failed = slow = done = 0.0
    if ready > 0:
        state[QUEUE] += rate
        done = min(state[QUEUE], capacity)
        state[QUEUE] -= done
        longest = capacity * case[TIMEOUT]
        if state[QUEUE] > longest:
            failed = state[QUEUE] - longest
            state[QUEUE] = longest
        used[second + 1] = used[second] + min(done * case[CPU] * cost / ready, case[LIMIT])
        if _is_slow(rate, capacity, ready, cost, case, state):
            slow = done
    else:
        failed = rate + state[QUEUE]
        state[QUEUE] = 0.0
        used[second + 1] = used[second]
    result[FAILED] += failed
    result[SLOW] += slow
    if failed + slow > 0:
        result[BAD_SECONDS] += 1
        result[MINUTE_BAD] += failed + slow
    if second % 60 == 59:
        _end_minute(result)


@kernel(inline=True, always=True, allocates=False)
def _serve_calm(
    second: int, end: int, bound: float, rates: Any, case: Any, state: Any, used: Any, result: Any
) -> int:
    """Seconds up to ``end`` or the first with a rate of ``bound`` or more, which is returned."""
    begin, ready, cpu, limit = second, state[READY], case[CPU], case[LIMIT]
    total, requests = used[second], 0.0
    while second < end and rates[second] < bound:
        rate = rates[second]
        total += min(rate * cpu / ready, limit)
        used[second + 1] = total
        requests += rate
        second += 1
    if second > begin:
        result[REQUESTS] += requests
        result[MINUTE] += requests
        result[POD_SECONDS] += ready * (second - begin)
        if second % 60 == 0:
            _end_minute(result)
    return second


@kernel()
def serve(second: int, rate: float, case: Any, pods: Any, state: Any, used: Any, result: Any) -> None:
    """One second of traffic at ``rate`` requests."""
    _serve(second, rate, case, pods, state, used, result)


@kernel(inline=True, always=True, allocates=False)
def _cpu(at: float, pods: Any, i: int, case: Any, used: Any) -> float:
    """CPU seconds that the pod has used at a time, start-up and idling included."""
    age = at - pods[i, STARTED]
    total = min(age, case[STARTUP]) * case[START_CPU] + age * case[IDLE]
    if pods[i, IN_SERVICE] > 0 and at > pods[i, READY_AT]:
        second = int(max(0.0, at))
        inside = used[second]
        if second + 1 < len(used) and used[second + 1] > inside:
            inside += (used[second + 1] - inside) * (at - second)
        total += max(0.0, inside - pods[i, BASE])
    return total  # type: ignore[no-any-return]


@kernel(inline=True, always=True, allocates=False)
def _sampled(at: float, started: float, interval: float) -> float:
    """When the last housekeeping sample before ``at`` was taken."""
    return started + math.floor((at - started) / interval) * interval


@kernel(inline=True, always=True, allocates=False)
def _observe(now: float, origin: float, case: Any, pods: Any, state: Any, used: Any, view: Any) -> int:
    """What the metrics API and the pods' status say at ``now``, into ``view`` float64[PODS_MAX, h.VIEW].
    API times have whole seconds; ``origin`` is the Unix time of second 0."""
    resolution, interval = case[RESOLUTION], case[HOUSEKEEPING]
    tick = case[RESOLUTION_PHASE] + math.floor((now - case[RESOLUTION_PHASE]) / resolution) * resolution
    count = int(state[COUNT])
    for i in range(count):
        started = pods[i, STARTED]
        if (
            i > 0
            and started == pods[i - 1, STARTED]
            and pods[i, CREATED] == pods[i - 1, CREATED]
            and pods[i, BASE] == pods[i - 1, BASE]
        ):
            for column in range(h.VIEW):  # twins: created together, they have used the same
                view[i, column] = view[i - 1, column]
            continue
        view[i, h.SAMPLED] = 0.0
        view[i, h.PENDING] = 1.0 if started > now else 0.0
        view[i, h.READY] = 1.0 if pods[i, READY_AT] <= now else 0.0
        view[i, h.START] = math.floor(origin + pods[i, CREATED])
        moved = pods[i, READY_AT] if pods[i, READY_AT] <= now else pods[i, CREATED]
        view[i, h.TRANSITION] = math.floor(origin + moved)
        if started > tick:
            continue
        last = _sampled(tick, started, interval)
        before = last
        back = tick - resolution
        while before >= last and back > started:
            before = _sampled(back, started, interval)
            back -= resolution
        if 10.0 <= last - started < resolution:
            before = started
        elif before >= last or before <= started:
            continue
        cores = (_cpu(last, pods, i, case, used) - _cpu(before, pods, i, case, used)) / (last - before)
        view[i, h.SAMPLED] = 1.0
        view[i, h.VALUE] = math.ceil(max(0.0, cores) * 1000.0 - 1e-6)
        view[i, h.STAMP] = math.floor(origin + last)
        view[i, h.WINDOW] = last - before
    return count


@kernel()
def observe(now: float, origin: float, case: Any, pods: Any, state: Any, used: Any, view: Any) -> int:
    """See ``_observe``."""
    return _observe(now, origin, case, pods, state, used, view)


@kernel()
def apply_scale(now: float, desired: int, case: Any, pods: Any, state: Any, result: Any) -> None:
    """Create pods, or remove the youngest of the not ready ones, then of the ready ones."""
    count = int(state[COUNT])
    if desired == count:
        return
    result[CHANGES] += 1
    while count < desired:
        placed = 0
        for i in range(count):
            placed += 1 if pods[i, HELD] > 0 else 0
        pods[count, :] = 0.0
        pods[count, CREATED] = now
        if placed < case[SLOTS]:
            _place(count, now, case, pods, state)
        else:
            pods[count, STARTED] = pods[count, READY_AT] = _NEVER
        count += 1
    while count > desired:
        victim = count - 1
        for i in range(count):
            if pods[i, IN_SERVICE] == 0:
                victim = i  # the last one that is not in service
        if pods[victim, IN_SERVICE] > 0:
            state[READY] -= 1
        freed = pods[victim, HELD] > 0
        for i in range(victim, count - 1):
            pods[i] = pods[i + 1]
        count -= 1
        if freed:
            for i in range(count):
                if pods[i, HELD] == 0:
                    _place(i, now, case, pods, state)
                    break
    state[COUNT] = count
    result[PEAK_PODS] = max(result[PEAK_PODS], float(count))


@kernel()
def _place(pod: int, now: float, case: Any, pods: Any, state: Any) -> None:
    """Bind a pod to a node: the first on each node waits for the image, others there wait with it."""
    pulled = now
    if case[PULL] > 0:
        if state[PULLED] < case[NODES]:
            state[PULLED] += 1
            state[PULLING_UNTIL] = max(state[PULLING_UNTIL], now + case[PULL])
            pulled = now + case[PULL]
        else:
            pulled = max(now, state[PULLING_UNTIL])
    pods[pod, HELD] = 1.0
    pods[pod, STARTED] = pulled
    pods[pod, READY_AT] = pulled + case[BOOT]


@kernel()
def run_day(
    rates: Any, origin: float, case: Any, p: Any, ups: Any, downs: Any, pods: Any, state: Any, used: Any,
    memory: Any, result: Any, replicas: Any,
) -> None:  # fmt: skip
    """All of ``rates`` float64[seconds]. ``replicas`` int64[seconds] (or of length 0) gets the pods of each
    second."""
    view = np.zeros((PODS_MAX, h.VIEW))
    scaled = p[h.HIGH] > 0
    calm = 0.9 * case[CAPACITY] if 10.0 * case[SERVICE] < case[LATENCY_BOUND] else 0.0
    warming = 8.0 * case[WARM_SECONDS] if case[WARM_FACTOR] > 1.0 else -_NEVER
    second = 0
    while second < len(rates):
        begin, ready = second, state[READY]
        if state[QUEUE] == 0.0 and ready == state[COUNT] and second - state[YOUNGEST] >= warming:
            # Most seconds of most days: nothing waits, nothing can be slow, and nothing changes before the
            # next sync. What ``_serve`` would do, all of them in one go.
            end = min(len(rates), (second // 60 + 1) * 60)
            if scaled:
                end = min(end, int(state[NEXT_SYNC]) + 1)
            second = _serve_calm(second, end, calm * ready, rates, case, state, used, result)
        if second == begin:
            _serve(second, rates[second], case, pods, state, used, result)
            second += 1
        if len(replicas):
            replicas[begin:second] = int(state[COUNT])
        while scaled and state[NEXT_SYNC] < second:
            now = state[NEXT_SYNC]
            count = _observe(now, origin, case, pods, state, used, view)
            desired = h.decide(origin + now, count, view, count, p, ups, downs, memory)
            if desired != count:
                apply_scale(now, min(desired, PODS_MAX), case, pods, state, result)
            state[NEXT_SYNC] += case[SYNC]
            if len(replicas):
                replicas[second - 1] = int(state[COUNT])
