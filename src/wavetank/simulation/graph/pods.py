"""Leaves of the graph's kernel: what happens inside of a pod.

A pod works as in ``wavetank.simulation.sharing``: requests in service share its CPU equally, in virtual time,
under CFS' quota for each 100 ms. A request that waits for its own calls keeps its worker and uses no CPU. A
try that nobody waits for any more is worked on to its end: servers rarely notice that a client has gone, and
retry storms live on it.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from wavetank.jit import kernel
from wavetank.simulation.distributions import CONSTANT, EXPONENTIAL, GAMMA, LOGNORMAL
from wavetank.simulation.graph import state as c
from wavetank.simulation.graph.state import State

__all__ = [
    "BEGIN", "CALLED", "CALLS", "DECIDE", "EJECT", "END_TRY", "FINISH", "NEXT", "QUEUED", "REBUILD",
    "RELEASE", "SEND", "STOP", "TOUCH", "TRY", "WORKS", "enqueue", "free_frame", "leave", "push", "touch",
]  # fmt: skip

# Operations that are due at once: (operation, subject, more, still more).
BEGIN, TRY, SEND, DECIDE, END_TRY, RELEASE, FINISH, CALLED, NEXT, TOUCH, EJECT, REBUILD, STOP = range(13)
# Phases of a frame; 0 is free.
QUEUED, WORKS, CALLS = range(1, 4)
_CFS_PERIOD: Final = 0.1
_NOTHING: Final = 1e-12
#: Of service or quota left, in seconds: more than the rounding of a year's last second.
_DONE: Final = 1e-7


@kernel(inline=True, always=True, allocates=False)
def push(s: State, operation: int, subject: int, more: int, still: int) -> None:
    """Have it done at this instant, before what was asked for earlier."""
    i = s.places[c.TODO]
    s.todo[i, 0], s.todo[i, 1], s.todo[i, 2], s.todo[i, 3] = operation, subject, more, still
    s.places[c.TODO] = i + 1


@kernel(inline=True, always=True, allocates=False)
def touch(s: State, pod: int, frame: int, now: float) -> None:
    """Bring the pod to ``now``, let a worker take ``frame`` (-1: none), and see whose own work is done."""
    _progress(s, pod, now)
    if frame >= 0:
        s.counts[pod, c.TAKEN] += 1
        s.frames[frame, c.F_PHASE] = WORKS
        _enter(s, pod, frame)
    while s.counts[pod, c.RUNNING] > 0 and s.heaps[pod, 0] - s.pods[pod, c.VIRTUAL] <= _DONE:
        done = _first(s, pod)
        s.frames[done, c.F_PHASE] = CALLS
        push(s, NEXT, done, 0, 0)
    _reschedule(s, pod)


@kernel(inline=True, always=True, allocates=False)
def _progress(s: State, pod: int, until: float) -> None:
    """Let the pod's requests in service go on; none of them ends before ``until``."""
    w = s.counts[pod, c.WORKLOAD]
    quota, now = s.workload[w, c.QUOTA], s.pods[pod, c.AT]
    wanted = s.counts[pod, c.RUNNING] * s.workload[w, c.CPU_SHARE]
    at_most = min(wanted, s.workload[w, c.CORES])
    period = 0
    while s.counts[pod, c.RUNNING] > 0 and now < until:
        used = at_most
        pace = used / wanted if wanted > _NOTHING else 1.0
        step = until - now
        ends = False
        if quota > 0.0:
            period = int(now * 10.0 + 1e-7)
            if period != s.counts[pod, c.PERIOD]:
                s.counts[pod, c.PERIOD] = period
                s.counts[pod, c.PERIODS] += 1
                s.pods[pod, c.BUDGET_LEFT] = quota * _CFS_PERIOD
            boundary = (period + 1) * _CFS_PERIOD - now
            ends = boundary <= step
            step = min(step, boundary)
            if used > _NOTHING and s.pods[pod, c.BUDGET_LEFT] <= _DONE:
                if s.pods[pod, c.BUDGET_LEFT] >= 0.0:
                    s.pods[pod, c.BUDGET_LEFT] = -1.0
                    s.counts[pod, c.THROTTLED_PERIODS] += 1
                used = pace = 0.0
                s.pods[pod, c.THROTTLED] += step
            elif used > _NOTHING and s.pods[pod, c.BUDGET_LEFT] / used < step:
                step = s.pods[pod, c.BUDGET_LEFT] / used
                ends = False
        s.pods[pod, c.VIRTUAL] += step * pace
        s.pods[pod, c.CPU] += step * used
        if s.pods[pod, c.BUDGET_LEFT] > 0.0:
            s.pods[pod, c.BUDGET_LEFT] = max(0.0, s.pods[pod, c.BUDGET_LEFT] - step * used)
        now = (period + 1) * _CFS_PERIOD if ends else now + step
    s.pods[pod, c.AT] = until


@kernel(inline=True, always=True, allocates=False)
def _enter(s: State, pod: int, frame: int) -> None:
    """Into the heap of those in service, by virtual finish time."""
    width = s.heaps.shape[1] // 2
    i = s.counts[pod, c.RUNNING]
    s.counts[pod, c.RUNNING] = i + 1
    value = s.pods[pod, c.VIRTUAL] + s.needs[frame]
    while i > 0:
        parent = (i - 1) >> 1
        if s.heaps[pod, parent] <= value:
            break
        s.heaps[pod, i] = s.heaps[pod, parent]
        s.heaps[pod, width + i] = s.heaps[pod, width + parent]
        i = parent
    s.heaps[pod, i] = value
    s.heaps[pod, width + i] = frame


@kernel(inline=True, always=True, allocates=False)
def _first(s: State, pod: int) -> int:
    """Take the first to finish off the heap. Returns its frame."""
    width = s.heaps.shape[1] // 2
    frame = int(s.heaps[pod, width])
    s.pods[pod, c.VIRTUAL] = s.heaps[pod, 0]
    last = s.counts[pod, c.RUNNING] - 1
    s.counts[pod, c.RUNNING] = last
    value, moved = s.heaps[pod, last], s.heaps[pod, width + last]
    i = 0
    while True:
        child = 2 * i + 1
        if child >= last:
            break
        if child + 1 < last and s.heaps[pod, child + 1] < s.heaps[pod, child]:
            child += 1
        if s.heaps[pod, child] >= value:
            break
        s.heaps[pod, i] = s.heaps[pod, child]
        s.heaps[pod, width + i] = s.heaps[pod, width + child]
        i = child
    s.heaps[pod, i] = value
    s.heaps[pod, width + i] = moved
    if last == 0:
        s.pods[pod, c.VIRTUAL] = 0.0  # a busy period has ended: keep the numbers small
    return frame


@kernel(inline=True, always=True, allocates=False)
def _reschedule(s: State, pod: int) -> None:
    """When to look at the pod again: its next request done, its quota used up or given anew."""
    due = np.inf
    running = s.counts[pod, c.RUNNING]
    if running > 0:
        w = s.counts[pod, c.WORKLOAD]
        now, quota = s.pods[pod, c.AT], s.workload[w, c.QUOTA]
        wanted = running * s.workload[w, c.CPU_SHARE]
        used = min(wanted, s.workload[w, c.CORES])
        pace = used / wanted if wanted > _NOTHING else 1.0
        due = now + max(0.0, s.heaps[pod, 0] - s.pods[pod, c.VIRTUAL]) / pace
        if quota > 0.0 and used > _NOTHING:
            period = int(now * 10.0 + 1e-7)
            budget = quota * _CFS_PERIOD
            if period == s.counts[pod, c.PERIOD]:
                budget = s.pods[pod, c.BUDGET_LEFT]
            boundary = (period + 1) * _CFS_PERIOD
            due = boundary if budget <= _DONE else min(due, now + budget / used, boundary)
    s.pods[pod, c.DUE] = due
    _place(s, s.counts[pod, c.POSITION], pod, due)


@kernel(inline=True, always=True, allocates=False)
def _place(s: State, i: int, pod: int, due: float) -> None:
    """Put the pod at or around index ``i`` of the heap of all pods."""
    while i > 0:
        other = s.counts[(i - 1) >> 1, c.HEAPED]
        if s.pods[other, c.DUE] <= due:
            break
        s.counts[i, c.HEAPED] = other
        s.counts[other, c.POSITION] = i
        i = (i - 1) >> 1
    size = s.places[c.PODS]
    while True:
        child = 2 * i + 1
        if child >= size:
            break
        other = s.counts[child, c.HEAPED]
        if child + 1 < size and s.pods[s.counts[child + 1, c.HEAPED], c.DUE] < s.pods[other, c.DUE]:
            child += 1
            other = s.counts[child, c.HEAPED]
        if s.pods[other, c.DUE] >= due:
            break
        s.counts[i, c.HEAPED] = other
        s.counts[other, c.POSITION] = i
        i = child
    s.counts[i, c.HEAPED] = pod
    s.counts[pod, c.POSITION] = i


@kernel(inline=True, always=True, allocates=False)
def enqueue(s: State, pod: int, request: int, now: float, rng: Any) -> int:
    """The pod takes a try: at once, or when a worker is free. Returns its frame, -1 where it is refused."""
    w = s.counts[pod, c.WORKLOAD]
    free = s.counts[pod, c.TAKEN] < s.workload[w, c.CONCURRENCY]
    if not free and s.counts[pod, c.QUEUED] >= s.workload[w, c.BACKLOG]:
        return -1
    top = s.places[c.FREE_FRAMES] - 1
    s.places[c.FREE_FRAMES] = top
    frame = s.frames[top, c.F_FREE]
    f = s.frames[frame]
    f[c.F_POD], f[c.F_REQUEST] = pod, request
    f[c.F_STEP], f[c.F_WAITING], f[c.F_FAILED] = 0, 0, 0
    s.needs[frame] = _need(s, w, pod, now, rng)
    if s.pods[pod, c.FIRST] < 0.0:
        s.pods[pod, c.FIRST] = now
    if free:
        push(s, TOUCH, pod, frame, 0)
        return frame  # type: ignore[no-any-return]
    f[c.F_PHASE], f[c.F_NEXT] = QUEUED, -1
    if s.counts[pod, c.QUEUED] > 0:
        s.frames[s.counts[pod, c.QUEUE_TAIL], c.F_NEXT] = frame
    else:
        s.counts[pod, c.QUEUE_HEAD] = frame
    s.counts[pod, c.QUEUE_TAIL] = frame
    s.counts[pod, c.QUEUED] += 1
    return frame  # type: ignore[no-any-return]


@kernel(inline=True, always=True, allocates=False)
def _need(s: State, w: int, pod: int, now: float, rng: Any) -> float:
    """Service time of a request's own work, longer while the pod is new."""
    p = s.workload[w]
    need = _draw(int(p[c.KIND]), p[c.A], p[c.B], s.table, int(p[c.TABLE_AT]), int(p[c.TABLE_LEN]), rng)
    age, warm = now - s.pods[pod, c.BORN], s.pods[pod, c.WARM_SECONDS]
    if s.pods[pod, c.WARM_FACTOR] > 1.0 and age < 8.0 * warm:
        need *= 1.0 + (s.pods[pod, c.WARM_FACTOR] - 1.0) * math.exp(-age / warm)
    return need


@kernel(inline=True, always=True, allocates=False)
def _draw(kind: int, a: float, b: float, table: Any, first: int, length: int, rng: Any) -> float:
    """One service time; see ``distributions`` for kinds."""
    if kind == CONSTANT:
        return a
    if kind == EXPONENTIAL:
        return a * rng.standard_exponential()  # type: ignore[no-any-return]
    if kind == LOGNORMAL:
        return math.exp(a + b * rng.standard_normal())
    if kind == GAMMA:
        return b * rng.standard_gamma(a)  # type: ignore[no-any-return]
    return table[first + int(rng.random() * length)]  # type: ignore[no-any-return]


@kernel(inline=True, always=True, allocates=False)
def leave(s: State, frame: int) -> None:
    """The pod has answered; its worker takes what has waited longest."""
    pod = s.frames[frame, c.F_POD]
    s.counts[pod, c.TAKEN] -= 1
    free_frame(s, frame)
    if s.counts[pod, c.QUEUED] > 0:
        head = s.counts[pod, c.QUEUE_HEAD]
        s.counts[pod, c.QUEUE_HEAD] = s.frames[head, c.F_NEXT]
        s.counts[pod, c.QUEUED] -= 1
        push(s, TOUCH, pod, head, 0)


@kernel(inline=True, always=True, allocates=False)
def free_frame(s: State, frame: int) -> None:
    s.frames[frame, c.F_PHASE] = 0
    s.frames[s.places[c.FREE_FRAMES], c.F_FREE] = frame
    s.places[c.FREE_FRAMES] += 1
