"""Everything the kernel works on: one tuple of flat arrays, and what their columns are.

Sizes: ``w`` workloads, ``e`` edges, ``k`` clusters, ``p`` places for pods, ``n`` requests and ``m`` frames
in flight, ``t`` timers. A *request* is seen from the client (it may take several tries), a *frame* is one try
being worked on by a pod.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from wavetank.limits import SIMULATION_BACKLOG_MAX
from wavetank.simulation import kernels as k
from wavetank.simulation.graph.plan import Graph
from wavetank.simulation.graph.policies import ANSWERS, BAD, ERROR

__all__ = ["MARGIN", "State", "empty", "grown", "more_pods"]

# Columns of a workload (float64).
CONCURRENCY, CORES, CPU_SHARE, QUOTA, BACKLOG, KIND, A, B, TABLE_AT, TABLE_LEN = range(10)
FAIL_RATIO, FAIL_ANSWER, STEP_FIRST, STEP_END = range(10, 14)
# Of an edge (float64).
TIMEOUT, RETRIES, RETRY_ON, TRY_TIMEOUT, BACKOFF, BACKOFF_MAX, OTHER_HOST, CHOICE_FIRST, CHOICE_END = range(9)
# Of a cluster's policy (float64).
BALANCER, HTTP2, CONNECTIONS_MAX, PENDING_MAX, REQUESTS_MAX, RETRIES_MAX, BUDGET, BUDGET_LEAST = range(8)
ERRORS, GATEWAY_ERRORS, LOCAL_ERRORS, SPLIT, ERROR_ANSWERS, INTERVAL, EJECTION, EJECTION_MAX = range(8, 16)
EJECTED_MAX, PANIC, FIRST_WORKLOAD, NEXT_SWEEP = range(16, 20)
# Of a cluster's state (int64): gauges, then counters.
MEMBERS, CANDIDATES, NEXT, REQUESTS, PENDING, CONNECTIONS, RETRYING, EJECTED = range(8)
TRIES, RETRIED, RETRY_OVERFLOW, RETRY_LIMIT, RETRY_SUCCESS, OVERFLOWS, TIMEOUTS, TRY_TIMEOUTS = range(8, 16)
EJECTIONS, EJECTIONS_REFUSED = range(16, 18)
# Of a host in a cluster (int64).
OPEN, BUSY, WAIT_HEAD, WAIT_TAIL, ROW_ERRORS, ROW_GATEWAY, ROW_LOCAL, OUT, MULTIPLIER, ACTIVE = range(10)
MEMBER, CANDIDATE = 10, 11  # lists of pods, of all rows of the cluster
# Of a pod (float64, int64).
AT, VIRTUAL, BUDGET_LEFT, CPU, THROTTLED, BORN, WARM_FACTOR, WARM_SECONDS, FIRST, DUE = range(10)
WORKLOAD, TAKEN, RUNNING, QUEUE_HEAD, QUEUE_TAIL, QUEUED, PERIOD, PERIODS, THROTTLED_PERIODS, ALIVE = range(
    10
)
POSITION, HEAPED = 10, 11  # its place in the heap of pods; the heap itself
ANSWERED: Final = 12  # and on: requests by answer
# Of a request (int64).
EDGE, CLUSTER, PARENT, LIFE, STAMP, FRAME, POD, PHASE, TRIED, IS_RETRY, AFTER, BEFORE, OPTIONAL = range(13)
TRIED_PODS, TRIED_KEPT = 13, 4
FREE: Final = 17  # a stack of free ones, of all rows
# Of a frame (int64).
F_POD, F_REQUEST, F_STEP, F_WAITING, F_FAILED, F_NEXT, F_PHASE, F_FREE = range(8)
# Of a timer (float64).
T_AT, T_KIND, T_REQUEST, T_STAMP = range(4)
# Of a workload's requests (int64): by answer, those of them without a pod, in flight.
MISSED, FLYING = len(ANSWERS), 2 * len(ANSWERS)
# Single numbers: float64, int64.
NOW, NEED, COUNTED, POISSON = range(4)
FREE_REQUESTS, FREE_FRAMES, TIMERS, TODO, SECOND, PODS = range(6)

#: Room that must be free before an event: no single event takes more.
MARGIN: Final = 2048


class State(NamedTuple):
    """See the columns above. ``rows``, ``histogram`` and ``totals`` have a place for each workload, as its
    clients see it, and one more for the load's own requests. ``lists`` holds steps (first call, end), calls
    (edge, probability, optional) and an edge's choices (cluster, weights so far as a share)."""

    workload: Any  # float64[w, 14]
    edges: Any  # float64[e, 9]
    policy: Any  # float64[k, 20]
    lists: Any  # float64[.., 3]
    table: Any  # float64: quantiles of empirical distributions, one after another
    clusters: Any  # int64[k, 18]
    hosts: Any  # int64[k, p, 12]
    ejected_at: Any  # float64[k, p]
    pods: Any  # float64[p, 10]
    counts: Any  # int64[p, 20]
    heaps: Any  # float64[p, 2 * concurrency]: heaps of virtual finish times, then their frames
    requests: Any  # int64[n, 18]
    begun: Any  # float64[n]
    frames: Any  # int64[m, 8]
    needs: Any  # float64[m]
    timers: Any  # float64[t, 4]: a heap
    todo: Any  # int64[.., 4]: operation, subject and two more
    numbers: Any  # float64[4]
    places: Any  # int64[6]
    rates: Any  # float64[seconds]
    rows: Any  # float64[w + 1, seconds, ROW]
    histogram: Any  # int64[2, w + 1, BINS]: of this second, of the whole run
    totals: Any  # int64[w + 1, 17]


def empty(graph: Graph, *, poisson: bool, phases: Sequence[float]) -> State:
    """No pods, no requests, no load. ``phases``: of each cluster's ejection interval, 0 to 1."""
    lists: list[list[float]] = []
    workloads, table = _workloads(graph, lists)
    edges = _edges(graph, lists)
    clusters, flows = len(graph.clusters), len(graph.workloads) + 1
    concurrency = max(w.model.concurrency for w in graph.workloads)

    def whole(*shape: int) -> Any:
        return np.zeros(shape, np.int64)

    state = State(
        workload=workloads, edges=edges, policy=_policies(graph, phases), lists=np.array(lists, np.float64),
        table=table, clusters=whole(clusters, 18), hosts=whole(clusters, 0, 12),
        ejected_at=np.zeros((clusters, 0)), pods=np.zeros((0, 10)),
        counts=whole(0, ANSWERED + len(ANSWERS)), heaps=np.zeros((0, 2 * concurrency)),
        requests=whole(0, 18), begun=np.zeros(0), frames=whole(0, 8), needs=np.zeros(0),
        timers=np.zeros((0, 4)), todo=whole(8 * MARGIN, 4), numbers=np.array([0, 0, 0, poisson], np.float64),
        places=whole(6), rates=np.zeros(0), rows=np.zeros((flows, 1, k.ROW)),
        histogram=whole(2, flows, k.BINS), totals=whole(flows, FLYING + 1),
    )  # fmt: skip
    return grown(state)


def _workloads(graph: Graph, lists: list[list[float]]) -> tuple[Any, Any]:
    columns: list[list[float]] = []
    table: list[float] = []
    for workload in graph.workloads:
        model, quantiles = workload.model, workload.model.service.table or (0.0,)
        steps = []
        for step in workload.steps:
            steps.append([len(lists), len(lists) + len(step), 0.0])
            lists.extend([edge, probability, optional] for edge, probability, optional in step)
        columns.append(
            [
                model.concurrency, model.cores, model.cpu_share, workload.limit_cores,
                min(model.backlog, SIMULATION_BACKLOG_MAX), model.service.kind, model.service.a,
                model.service.b, len(table), len(quantiles), model.failure_ratio,
                ERROR if model.failure_status == 500 else BAD, len(lists), len(lists) + len(steps),
            ]
        )  # fmt: skip
        lists.extend(steps)
        table.extend(quantiles)
    return np.array(columns, np.float64), np.array(table)


def _edges(graph: Graph, lists: list[list[float]]) -> Any:
    columns: list[list[float]] = []
    for edge in graph.edges:
        policy, first = edge.policy, len(lists)
        whole, so_far = sum(weight for _, weight in edge.clusters), 0.0
        for cluster, weight in edge.clusters:
            so_far += weight / whole
            lists.append([cluster, so_far, 0.0])
        columns.append(
            [
                policy.timeout, policy.retries, policy.retry_on, policy.try_timeout, policy.backoff,
                policy.backoff_max, policy.other_host, first, len(lists),
            ]
        )  # fmt: skip
    return np.array(columns, np.float64)


def _policies(graph: Graph, phases: Sequence[float]) -> Any:
    columns = []
    for cluster, phase in zip(graph.clusters, phases, strict=True):
        p = cluster.policy
        sweep = p.interval * (1 + phase) if p.ejects else np.inf
        columns.append(
            [
                p.balancer, p.http2, p.connections_max, p.pending_max, p.requests_max, p.retries_max,
                p.budget_percent, p.budget_least, p.errors, p.gateway_errors, p.local_errors, p.split,
                p.error_answers, p.interval, p.ejection, p.ejection_max, p.ejected_percent_max,
                p.panic_percent, cluster.workloads[0], sweep,
            ]
        )  # fmt: skip
    return np.array(columns, np.float64)


def _longer(array: Any, more: int, axis: int = 0) -> Any:
    shape = list(array.shape)
    shape[axis] = more
    return np.concatenate([array, np.zeros(shape, array.dtype)], axis)


def more_pods(state: State, more: int) -> State:
    """Room for ``more`` pods, none of which is due for anything."""
    before = len(state.counts)
    state = state._replace(
        pods=_longer(state.pods, more), counts=_longer(state.counts, more), heaps=_longer(state.heaps, more),
        hosts=_longer(state.hosts, more, 1), ejected_at=_longer(state.ejected_at, more, 1),
    )  # fmt: skip
    new = np.arange(before, before + more)
    state.counts[new, POSITION] = state.counts[new, HEAPED] = new
    state.pods[new, DUE] = np.inf
    state.hosts[:, new, WAIT_HEAD] = state.hosts[:, new, WAIT_TAIL] = -1
    state.places[PODS] = before + more
    return state


def grown(state: State) -> State:
    """Twice the room for whatever is short of it: requests, frames, timers."""
    places = state.places
    if places[FREE_REQUESTS] < MARGIN:
        before, more = len(state.begun), max(2 * MARGIN, len(state.begun))
        state = state._replace(requests=_longer(state.requests, more), begun=_longer(state.begun, more))
        _free(state.requests[:, FREE], places, FREE_REQUESTS, before, more)
    if places[FREE_FRAMES] < MARGIN:
        before, more = len(state.needs), max(2 * MARGIN, len(state.needs))
        state = state._replace(frames=_longer(state.frames, more), needs=_longer(state.needs, more))
        _free(state.frames[:, F_FREE], places, FREE_FRAMES, before, more)
    if len(state.timers) - places[TIMERS] < 2 * MARGIN:
        state = state._replace(timers=_longer(state.timers, max(4 * MARGIN, len(state.timers))))
    return state


def _free(stack: Any, places: Any, column: int, first: int, more: int) -> None:
    """Put the new places on the stack of free ones, the lowest on top."""
    count = int(places[column])
    stack[count : count + more] = np.arange(first + more - 1, first - 1, -1)
    places[column] = count + more
