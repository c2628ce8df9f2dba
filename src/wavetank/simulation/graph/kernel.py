"""Requests through a graph of services, one by one: discrete events.

What can happen next is one of: an arrival of the load, a pod that finishes a request's own work (or meets its
CPU quota), a timer (a route's timeout, a try's, the end of a back-off), a cluster's ejection interval, the
end of a second. What follows at the same instant - an answer, a retry, the caller's next call - goes over a
stack of operations, the latest first, as calls may be nested in any depth. ``pods`` and ``proxy`` have the
operations.
"""

from __future__ import annotations

from typing import Any

from wavetank.jit import kernel
from wavetank.simulation import kernels as k
from wavetank.simulation.graph import pods as o
from wavetank.simulation.graph import proxy
from wavetank.simulation.graph import state as c
from wavetank.simulation.graph.policies import ERROR, OK, RESET, TIMEOUT
from wavetank.simulation.graph.state import State

__all__ = ["advance"]

# What happens next.
_SECOND, _ARRIVAL, _POD, _TIMER, _SWEEP = range(5)


@kernel(inline=True, always=True, allocates=False)
def _go_on(s: State, frame: int, rng: Any) -> None:
    """The frame's own work, or a step of its calls, is done: the next step, or the answer."""
    w = s.counts[s.frames[frame, c.F_POD], c.WORKLOAD]
    failing = s.workload[w, c.FAIL_RATIO]
    answer = ERROR if s.frames[frame, c.F_FAILED] > 0 else OK
    if failing > 0.0 and s.frames[frame, c.F_STEP] == 0 and rng.random() < failing:
        answer = int(s.workload[w, c.FAIL_ANSWER])
    while answer == OK:
        step = int(s.workload[w, c.STEP_FIRST]) + s.frames[frame, c.F_STEP]
        if step >= int(s.workload[w, c.STEP_END]):
            break
        s.frames[frame, c.F_STEP] += 1
        for call in range(int(s.lists[step, 0]), int(s.lists[step, 1])):
            if s.lists[call, 1] >= 1.0 or rng.random() < s.lists[call, 1]:
                s.frames[frame, c.F_WAITING] += 1
                o.push(s, o.BEGIN, int(s.lists[call, 0]), frame, int(s.lists[call, 2]))
        if s.frames[frame, c.F_WAITING] > 0:
            return
    request = s.frames[frame, c.F_REQUEST]
    if request >= 0:
        o.push(s, o.DECIDE, request, answer, 0)
        o.push(s, o.END_TRY, request, answer, 0)
    o.leave(s, frame)


@kernel(inline=True, always=True, allocates=False)
def _stop(s: State, pod: int) -> None:
    """The pod is gone: what it was working on has no answer, for what it asked of others nobody waits."""
    s.counts[pod, c.ALIVE] = 0
    for frame in range(len(s.frames)):
        f = s.frames[frame]
        if f[c.F_PHASE] == 0 or f[c.F_POD] != pod:
            continue
        if f[c.F_WAITING] > 0:
            for r in range(len(s.requests)):
                if s.requests[r, c.PHASE] != proxy.GONE and s.requests[r, c.PARENT] == frame:
                    s.requests[r, c.PARENT] = proxy.NOBODY
        if s.places[c.TODO] > len(s.todo) - c.MARGIN:
            f[c.F_REQUEST] = -1  # more than one pod holds: the rest time out
        if f[c.F_REQUEST] >= 0:
            o.push(s, o.DECIDE, f[c.F_REQUEST], RESET, 0)
            o.push(s, o.END_TRY, f[c.F_REQUEST], RESET, 0)
        o.free_frame(s, frame)
    s.counts[pod, c.TAKEN], s.counts[pod, c.RUNNING], s.counts[pod, c.QUEUED] = 0, 0, 0
    s.pods[pod, c.VIRTUAL] = 0.0
    o.push(s, o.TOUCH, pod, -1, 0)


@kernel(inline=True, always=True, allocates=False)
def _work_off(s: State, now: float, rng: Any) -> None:
    """Everything that follows at this instant."""
    while s.places[c.TODO] > 0:
        top = s.places[c.TODO] - 1
        s.places[c.TODO] = top
        what, a, b, d = s.todo[top, 0], s.todo[top, 1], s.todo[top, 2], s.todo[top, 3]
        if what == o.TOUCH:
            o.touch(s, a, b, now)
        elif what == o.NEXT:
            _go_on(s, a, rng)
        elif what == o.BEGIN:
            proxy.begin(s, a, b, d, now, rng)
        elif what == o.TRY:
            proxy.try_host(s, a, rng)
        elif what == o.SEND:
            proxy.send(s, a, now, rng)
        elif what == o.END_TRY:
            proxy.end_try(s, a, b)
        elif what == o.RELEASE:
            proxy.release(s, a, b, d)
        elif what == o.DECIDE:
            proxy.decide(s, a, b, now, rng)
        elif what == o.FINISH:
            proxy.finish(s, a, b, now)
        elif what == o.CALLED:
            s.frames[a, c.F_WAITING] -= 1
            s.frames[a, c.F_FAILED] |= b
            if s.frames[a, c.F_WAITING] == 0:
                o.push(s, o.NEXT, a, 0, 0)
        elif what == o.EJECT:
            proxy.eject(s, a, b, now)
        elif what == o.REBUILD:
            proxy.rebuild(s, a)
        else:
            _stop(s, a)


@kernel(inline=True, always=True, allocates=False)
def _fired(s: State) -> None:
    """A timer; those of requests that have gone on mean nothing."""
    kind, r, stamp = int(s.timers[0, c.T_KIND]), int(s.timers[0, c.T_REQUEST]), int(s.timers[0, c.T_STAMP])
    last = s.places[c.TIMERS] - 1
    s.places[c.TIMERS] = last
    at = s.timers[last, c.T_AT]
    i = 0
    while True:
        child = 2 * i + 1
        if child >= last:
            break
        if child + 1 < last and s.timers[child + 1, c.T_AT] < s.timers[child, c.T_AT]:
            child += 1
        if s.timers[child, c.T_AT] >= at:
            break
        for column in range(4):
            s.timers[i, column] = s.timers[child, column]
        i = child
    for column in range(4):
        s.timers[i, column] = s.timers[last, column]
    q = s.requests[r]
    if kind == proxy.ROUTE and q[c.LIFE] == stamp:
        s.clusters[q[c.CLUSTER], c.TIMEOUTS] += 1
        o.push(s, o.FINISH, r, TIMEOUT, 0)
        if q[c.PHASE] == proxy.WAITS:
            proxy.leave_row(s, r)
        elif q[c.PHASE] == proxy.AT_POD:
            o.push(s, o.END_TRY, r, TIMEOUT, 0)
    elif kind == proxy.BACKED_OFF and q[c.STAMP] == stamp:
        o.push(s, o.TRY, r, 0, 0)
    elif kind == proxy.TRIED and q[c.STAMP] == stamp:
        s.clusters[q[c.CLUSTER], c.TRY_TIMEOUTS] += 1
        o.push(s, o.DECIDE, r, TIMEOUT, 0)
        o.push(s, o.END_TRY, r, TIMEOUT, 0)


@kernel(inline=True, always=True, allocates=False)
def _end_second(s: State) -> None:
    index = s.places[c.SECOND]
    at = min(index, s.rows.shape[1] - 1)
    for w in range(len(s.totals)):
        s.rows[w, at, k.IN_FLIGHT] = s.totals[w, c.FLYING]
        k.settle(s.histogram[0, w], s.histogram[1, w], s.rows[w, at])
    s.places[c.SECOND] = index + 1


@kernel(allocates=False)
def advance(s: State, until: float, arrivals: Any, rng: Any) -> int:
    """Do what is on the stack, then let everything happen up to ``until`` (seconds of load). Returns 1 where
    there was no more room for requests, frames or timers: make room and call again. ``arrivals`` is a stream
    of random numbers of its own, so that other policies meet the same load."""
    numbers = s.numbers
    while True:
        _work_off(s, numbers[c.NOW], rng)
        if (
            s.places[c.FREE_REQUESTS] < c.MARGIN
            or s.places[c.FREE_FRAMES] < c.MARGIN
            or len(s.timers) - s.places[c.TIMERS] < 2 * c.MARGIN
        ):
            return 1
        index = s.places[c.SECOND]
        at, what = index + 1.0, _SECOND
        rate = s.rates[index] if index < len(s.rates) else 0.0
        if rate > 0.0 and numbers[c.COUNTED] + numbers[c.NEED] / rate < at:
            at, what = numbers[c.COUNTED] + numbers[c.NEED] / rate, _ARRIVAL
        first = s.counts[0, c.HEAPED] if s.places[c.PODS] > 0 else 0
        if s.places[c.PODS] > 0 and s.pods[first, c.DUE] < at:
            at, what = s.pods[first, c.DUE], _POD
        if s.places[c.TIMERS] > 0 and s.timers[0, c.T_AT] < at:
            at, what = s.timers[0, c.T_AT], _TIMER
        cluster = 0
        for i in range(len(s.policy)):
            if s.policy[i, c.NEXT_SWEEP] < at:
                at, what, cluster = s.policy[i, c.NEXT_SWEEP], _SWEEP, i
        if at > until:
            numbers[c.NOW] = until
            return 0
        numbers[c.NOW] = at
        if what == _POD:
            o.push(s, o.TOUCH, first, -1, 0)
        elif what == _ARRIVAL:
            numbers[c.COUNTED] = at
            numbers[c.NEED] = arrivals.standard_exponential() if numbers[c.POISSON] > 0.0 else 1.0
            o.push(s, o.BEGIN, 0, proxy.LOAD, 0)
        elif what == _TIMER:
            _fired(s)
        elif what == _SWEEP:
            proxy.sweep(s, cluster, at)
        else:
            numbers[c.NEED] -= rate * (at - numbers[c.COUNTED])
            numbers[c.COUNTED] = at
            _end_second(s)
