"""Leaves of the graph's kernel: what the Envoy between the services does.

Choosing a host, circuit breakers, retries with their back-off and budget, outlier detection: as Envoy's
documentation and source have them. Connecting takes no time, so ``http1MaxPendingRequests`` bounds only what
waits behind ``maxConnections``.
"""

from __future__ import annotations

import math
from typing import Any, Final

from wavetank.jit import kernel
from wavetank.simulation import kernels as k
from wavetank.simulation.graph import state as c
from wavetank.simulation.graph.pods import (
    CALLED,
    DECIDE,
    EJECT,
    END_TRY,
    FINISH,
    REBUILD,
    RELEASE,
    SEND,
    TRY,
    enqueue,
    push,
)
from wavetank.simulation.graph.policies import BAD, OK, OVERFLOW, REFUSED, RESET, TIMEOUT, UNHEALTHY
from wavetank.simulation.graph.state import State

__all__ = [
    "AT_POD", "BACKED_OFF", "BACKS_OFF", "GONE", "LOAD", "NOBODY", "ROUTE", "TRIED", "WAITS", "begin",
    "decide", "eject", "end_try", "finish", "leave_row", "rebuild", "release", "send", "sweep", "try_host",
]  # fmt: skip

# Kinds of timers.
ROUTE, TRIED, BACKED_OFF = range(3)
# Phases of a request.
GONE, WAITS, AT_POD, BACKS_OFF = range(4)
#: Parents of requests that answer no frame.
LOAD: Final = -1
NOBODY: Final = -2
_HOST_SELECTIONS: Final = 5


@kernel(inline=True, always=True, allocates=False)
def timer(s: State, at: float, kind: int, request: int, stamp: int) -> None:
    """``stamp``: of the request then; it has gone on where it has another."""
    i = s.places[c.TIMERS]
    s.places[c.TIMERS] = i + 1
    while i > 0:
        parent = (i - 1) >> 1
        if s.timers[parent, c.T_AT] <= at:
            break
        for column in range(4):
            s.timers[i, column] = s.timers[parent, column]
        i = parent
    s.timers[i, c.T_AT], s.timers[i, c.T_KIND] = at, kind
    s.timers[i, c.T_REQUEST], s.timers[i, c.T_STAMP] = request, stamp


@kernel(inline=True, always=True, allocates=False)
def begin(s: State, edge: int, parent: int, optional: int, now: float, rng: Any) -> None:
    """A client sends a request."""
    top = s.places[c.FREE_REQUESTS] - 1
    s.places[c.FREE_REQUESTS] = top
    r = s.requests[top, c.FREE]
    choice, end = int(s.edges[edge, c.CHOICE_FIRST]), int(s.edges[edge, c.CHOICE_END])
    if end - choice > 1:
        at = rng.random()
        while choice < end - 1 and at >= s.lists[choice, 1]:
            choice += 1
    cluster = int(s.lists[choice, 0])
    q = s.requests[r]
    q[c.EDGE], q[c.CLUSTER], q[c.PARENT], q[c.OPTIONAL] = edge, cluster, parent, optional
    q[c.LIFE] += 1
    q[c.FRAME], q[c.POD], q[c.TRIED], q[c.IS_RETRY] = -1, -1, 0, 0
    s.begun[r] = now
    w = int(s.policy[cluster, c.FIRST_WORKLOAD])
    second = min(s.places[c.SECOND], s.rows.shape[1] - 1)
    s.rows[w, second, k.ARRIVED] += 1.0
    s.totals[w, c.FLYING] += 1
    if parent == LOAD:
        s.rows[-1, second, k.ARRIVED] += 1.0
        s.totals[-1, c.FLYING] += 1
    if s.edges[edge, c.TIMEOUT] < math.inf:
        timer(s, now + s.edges[edge, c.TIMEOUT], ROUTE, r, q[c.LIFE])
    push(s, TRY, r, 0, 0)


@kernel(inline=True, always=True, allocates=False)
def _pick(s: State, cluster: int, rng: Any) -> int:
    """A host of the cluster, by its balancer; there is at least one."""
    length = s.clusters[cluster, c.CANDIDATES]
    balancer = s.policy[cluster, c.BALANCER]
    if balancer == k.ROUND_ROBIN:
        s.clusters[cluster, c.NEXT] = (s.clusters[cluster, c.NEXT] + 1) % length
        return s.hosts[cluster, s.clusters[cluster, c.NEXT], c.CANDIDATE]  # type: ignore[no-any-return]
    if length == 1:
        return s.hosts[cluster, 0, c.CANDIDATE]  # type: ignore[no-any-return]
    first = int(rng.random() * length)
    pod = s.hosts[cluster, first, c.CANDIDATE]
    if balancer == k.LEAST_REQUEST:
        other = int(rng.random() * (length - 1))
        rival = s.hosts[cluster, other + 1 if other >= first else other, c.CANDIDATE]
        if s.hosts[cluster, rival, c.ACTIVE] < s.hosts[cluster, pod, c.ACTIVE]:
            pod = rival
    return pod  # type: ignore[no-any-return]


@kernel(inline=True, always=True, allocates=False)
def try_host(s: State, r: int, rng: Any) -> None:
    """Choose a host, another than before where there is one, and a connection to it."""
    q = s.requests[r]
    cluster = q[c.CLUSTER]
    q[c.STAMP] += 1
    if s.clusters[cluster, c.CANDIDATES] == 0:
        q[c.POD] = -1
        push(s, FINISH, r, UNHEALTHY, 0)
        return
    selections = _HOST_SELECTIONS if s.edges[q[c.EDGE], c.OTHER_HOST] > 0.0 else 0
    pod = -1
    for _ in range(selections + 1):
        pod = _pick(s, cluster, rng)
        before = False
        for i in range(min(q[c.TRIED], c.TRIED_KEPT)):
            before = before or q[c.TRIED_PODS + i] == pod
        if not before:
            break
    q[c.POD] = pod
    q[c.TRIED_PODS + q[c.TRIED] % c.TRIED_KEPT] = pod
    q[c.TRIED] += 1
    if s.policy[cluster, c.HTTP2] > 0.0 or _connects(s, cluster, pod):
        push(s, SEND, r, 0, 0)
    elif s.clusters[cluster, c.PENDING] >= s.policy[cluster, c.PENDING_MAX]:
        s.clusters[cluster, c.OVERFLOWS] += 1
        push(s, FINISH, r, OVERFLOW, 0)
    else:
        host = s.hosts[cluster, pod]
        s.clusters[cluster, c.PENDING] += 1
        q[c.PHASE], q[c.AFTER], q[c.BEFORE] = WAITS, -1, host[c.WAIT_TAIL]
        if host[c.WAIT_TAIL] >= 0:
            s.requests[host[c.WAIT_TAIL], c.AFTER] = r
        else:
            host[c.WAIT_HEAD] = r
        host[c.WAIT_TAIL] = r


@kernel(inline=True, always=True, allocates=False)
def _connects(s: State, cluster: int, pod: int) -> bool:
    """Take a connection: an idle one, or a new one below the bound; each host may have one in any case."""
    host = s.hosts[cluster, pod]
    if host[c.BUSY] >= host[c.OPEN]:
        if s.clusters[cluster, c.CONNECTIONS] >= s.policy[cluster, c.CONNECTIONS_MAX] and host[c.OPEN] > 0:
            return False
        host[c.OPEN] += 1
        s.clusters[cluster, c.CONNECTIONS] += 1
    host[c.BUSY] += 1
    return True


@kernel(inline=True, always=True, allocates=False)
def leave_row(s: State, r: int) -> None:
    """The request waits for a connection no more."""
    q = s.requests[r]
    host = s.hosts[q[c.CLUSTER], q[c.POD]]
    s.clusters[q[c.CLUSTER], c.PENDING] -= 1
    if q[c.BEFORE] >= 0:
        s.requests[q[c.BEFORE], c.AFTER] = q[c.AFTER]
    else:
        host[c.WAIT_HEAD] = q[c.AFTER]
    if q[c.AFTER] >= 0:
        s.requests[q[c.AFTER], c.BEFORE] = q[c.BEFORE]
    else:
        host[c.WAIT_TAIL] = q[c.BEFORE]


@kernel(inline=True, always=True, allocates=False)
def send(s: State, r: int, now: float, rng: Any) -> None:
    """The request goes to its pod over the connection it has."""
    q = s.requests[r]
    cluster, pod, edge = q[c.CLUSTER], q[c.POD], q[c.EDGE]
    state = s.clusters[cluster]
    if state[c.REQUESTS] >= s.policy[cluster, c.REQUESTS_MAX]:
        state[c.OVERFLOWS] += 1
        push(s, FINISH, r, OVERFLOW, 0)
        push(s, RELEASE, cluster, pod, 0)
        return
    state[c.REQUESTS] += 1
    state[c.TRIES] += 1
    s.hosts[cluster, pod, c.ACTIVE] += 1
    q[c.PHASE] = AT_POD
    if s.edges[edge, c.TRY_TIMEOUT] < math.inf:
        timer(s, now + s.edges[edge, c.TRY_TIMEOUT], TRIED, r, q[c.STAMP])
    q[c.FRAME] = enqueue(s, pod, r, now, rng) if s.counts[pod, c.ALIVE] > 0 else -1
    if q[c.FRAME] < 0:
        push(s, DECIDE, r, REFUSED, 0)
        push(s, END_TRY, r, REFUSED, 0)


@kernel(inline=True, always=True, allocates=False)
def release(s: State, cluster: int, pod: int, closed: int) -> None:
    """Give a connection back, or close it; who has waited longest for this host gets it."""
    if s.policy[cluster, c.HTTP2] > 0.0:
        return
    host = s.hosts[cluster, pod]
    host[c.BUSY] -= 1
    if closed > 0:
        host[c.OPEN] -= 1
        s.clusters[cluster, c.CONNECTIONS] -= 1
    waiting = host[c.WAIT_HEAD]
    if waiting >= 0 and _connects(s, cluster, pod):
        leave_row(s, waiting)
        push(s, SEND, waiting, 0, 0)


@kernel(inline=True, always=True, allocates=False)
def end_try(s: State, r: int, answer: int) -> None:
    """Take the try off the proxy's counts, and let outlier detection see how it ended. What the pod still
    does for it, it does for nobody."""
    q = s.requests[r]
    cluster, pod = q[c.CLUSTER], q[c.POD]
    q[c.STAMP] += 1
    if q[c.FRAME] >= 0:
        s.frames[q[c.FRAME], c.F_REQUEST] = -1
        q[c.FRAME] = -1
    s.clusters[cluster, c.REQUESTS] -= 1
    p, host = s.policy[cluster], s.hosts[cluster, pod]
    host[c.ACTIVE] -= 1
    local = answer in (TIMEOUT, REFUSED, RESET)
    push(s, RELEASE, cluster, pod, 1 if local else 0)
    seen = not (local and p[c.SPLIT] > 0.0)
    error = (int(p[c.ERROR_ANSWERS]) >> answer) & 1 > 0
    host[c.ROW_ERRORS] = host[c.ROW_ERRORS] + 1 if seen and error else 0
    host[c.ROW_GATEWAY] = host[c.ROW_GATEWAY] + 1 if seen and error and (local or answer == BAD) else 0
    host[c.ROW_LOCAL] = host[c.ROW_LOCAL] + 1 if local and not seen else 0
    out = False
    for i in range(3):
        bound = p[c.ERRORS + i]
        if bound > 0.0 and host[c.ROW_ERRORS + i] >= bound:
            host[c.ROW_ERRORS + i] = 0
            out = True
    if out:
        push(s, EJECT, cluster, pod, 0)


@kernel(inline=True, always=True, allocates=False)
def eject(s: State, cluster: int, pod: int, now: float) -> None:
    """Keep the host out for a while, unless too many are out already."""
    state, host = s.clusters[cluster], s.hosts[cluster, pod]
    member = False
    for i in range(state[c.MEMBERS]):
        member = member or s.hosts[cluster, i, c.MEMBER] == pod
    if not member or host[c.OUT] > 0:
        return
    if 100.0 * (state[c.EJECTED] + 1) / state[c.MEMBERS] > s.policy[cluster, c.EJECTED_MAX]:
        state[c.EJECTIONS_REFUSED] += 1
        return
    host[c.OUT] = 1
    host[c.MULTIPLIER] += 1
    s.ejected_at[cluster, pod] = now
    state[c.EJECTIONS] += 1
    push(s, REBUILD, cluster, 0, 0)


@kernel(inline=True, always=True, allocates=False)
def rebuild(s: State, cluster: int) -> None:
    """Who may be chosen: the members that are not ejected, or all in panic."""
    state, count = s.clusters[cluster], 0
    for i in range(state[c.MEMBERS]):
        pod = s.hosts[cluster, i, c.MEMBER]
        if s.hosts[cluster, pod, c.OUT] == 0:
            s.hosts[cluster, count, c.CANDIDATE] = pod
            count += 1
    state[c.EJECTED] = state[c.MEMBERS] - count
    if 100.0 * count < s.policy[cluster, c.PANIC] * state[c.MEMBERS]:
        count = state[c.MEMBERS]
        for i in range(count):
            s.hosts[cluster, i, c.CANDIDATE] = s.hosts[cluster, i, c.MEMBER]
    state[c.CANDIDATES] = count


@kernel(inline=True, always=True, allocates=False)
def sweep(s: State, cluster: int, now: float) -> None:
    """The ejection interval: who has been out for long enough comes back."""
    p = s.policy[cluster]
    for i in range(s.clusters[cluster, c.MEMBERS]):
        pod = s.hosts[cluster, i, c.MEMBER]
        host = s.hosts[cluster, pod]
        if host[c.OUT] > 0:
            longest = min(p[c.EJECTION] * host[c.MULTIPLIER], p[c.EJECTION_MAX])
            if now - s.ejected_at[cluster, pod] >= longest:
                host[c.OUT], host[c.ROW_ERRORS], host[c.ROW_GATEWAY], host[c.ROW_LOCAL] = 0, 0, 0, 0
        elif host[c.MULTIPLIER] > 0:
            host[c.MULTIPLIER] -= 1
    p[c.NEXT_SWEEP] += p[c.INTERVAL]
    push(s, REBUILD, cluster, 0, 0)


@kernel(inline=True, always=True, allocates=False)
def decide(s: State, r: int, answer: int, now: float, rng: Any) -> None:
    """A try has ended: again, or back to the client."""
    q = s.requests[r]
    cluster, edge = q[c.CLUSTER], q[c.EDGE]
    p, state = s.policy[cluster], s.clusters[cluster]
    if q[c.IS_RETRY] > 0:
        q[c.IS_RETRY] = 0
        state[c.RETRYING] -= 1
        if answer == OK:
            state[c.RETRY_SUCCESS] += 1
    most = p[c.RETRIES_MAX]
    if p[c.BUDGET] >= 0.0:
        active = state[c.REQUESTS] + state[c.PENDING]
        most = max(math.floor(p[c.BUDGET] * active / 100.0), p[c.BUDGET_LEAST])
    if s.edges[edge, c.RETRIES] == 0.0 or (int(s.edges[edge, c.RETRY_ON]) >> answer) & 1 == 0:
        push(s, FINISH, r, answer, 0)
    elif q[c.TRIED] > s.edges[edge, c.RETRIES]:
        state[c.RETRY_LIMIT] += 1
        push(s, FINISH, r, answer, 0)
    elif state[c.RETRYING] >= most:
        state[c.RETRY_OVERFLOW] += 1
        push(s, FINISH, r, answer, 0)
    else:
        q[c.IS_RETRY], q[c.PHASE] = 1, BACKS_OFF
        state[c.RETRYING] += 1
        state[c.RETRIED] += 1
        longest = min(s.edges[edge, c.BACKOFF] * 2.0 ** (q[c.TRIED] - 1), s.edges[edge, c.BACKOFF_MAX])
        timer(s, now + longest * rng.random(), BACKED_OFF, r, q[c.STAMP])


@kernel(inline=True, always=True, allocates=False)
def finish(s: State, r: int, answer: int, now: float) -> None:
    """The client has its answer."""
    q = s.requests[r]
    cluster, pod, parent = q[c.CLUSTER], q[c.POD], q[c.PARENT]
    if q[c.IS_RETRY] > 0:
        s.clusters[cluster, c.RETRYING] -= 1
    w = int(s.policy[cluster, c.FIRST_WORKLOAD])
    s.totals[w, c.FLYING] -= 1
    if pod >= 0:
        w = s.counts[pod, c.WORKLOAD]
        s.counts[pod, c.ANSWERED + answer] += 1
    else:
        s.totals[w, c.MISSED + answer] += 1
    _count(s, w, answer, now - s.begun[r])
    if parent == LOAD:
        s.totals[-1, c.FLYING] -= 1
        _count(s, len(s.totals) - 1, answer, now - s.begun[r])
    elif parent >= 0:
        push(s, CALLED, parent, 1 if answer != OK and q[c.OPTIONAL] == 0 else 0, 0)
    q[c.PHASE] = GONE
    q[c.LIFE] += 1
    q[c.STAMP] += 1
    s.requests[s.places[c.FREE_REQUESTS], c.FREE] = r
    s.places[c.FREE_REQUESTS] += 1


@kernel(inline=True, always=True, allocates=False)
def _count(s: State, w: int, answer: int, latency: float) -> None:
    row = s.rows[w, min(s.places[c.SECOND], s.rows.shape[1] - 1)]
    s.totals[w, answer] += 1
    row[k.COMPLETED] += 1.0
    row[k.LATENCY_SUM] += latency
    if answer != OK:
        row[k.FAILED] += 1.0
    s.histogram[0, w, k.bin_of(latency)] += 1
