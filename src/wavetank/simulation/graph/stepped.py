"""The graph a second a step: requests are a flow, for horizons that are too long for each by itself.

Same plan, same pods, same rows as the events of ``kernel``, but no percentiles, and each second's waiting,
timeouts and retries are means: a pod's queue is what came in beyond its capacity, plus what M/M/c waits on
average below it (Sakasegawa's approximation of Erlang's formula); a try's time is taken as exponential around
its mean; retries are the geometric series, cut by what budget and breakers let through by Little's law. What
fails is tried again in the same second. Left out: ejections (all hosts stay) and bounds of connections.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from wavetank.jit import kernel
from wavetank.simulation import kernels as k
from wavetank.simulation.graph import state as c
from wavetank.simulation.graph.plan import Graph
from wavetank.simulation.graph.policies import ERROR, OK, OVERFLOW, REFUSED, TIMEOUT, UNHEALTHY
from wavetank.simulation.graph.state import State

__all__ = ["Memory", "advance", "callers_first"]

# Columns of a workload's flow: tries that come, are worked on and wait; seconds until its own work is done,
# of its calls; shares that its calls fail and that are refused.
COME, WORKED, WAITING, OWN, CALLS, CALLS_FAIL, REFUSED_SHARE, PODS, WAIT = range(9)
# Of an edge: requests a second, share that fails in the end, mean seconds, its last answer.
ASKED, FAILS, TAKES, ENDS = range(4)
_PARTS: Final = 8  # answers


class Memory:
    """``flow`` float64[w, 9], ``edges`` float64[e, 4], ``sums`` float64[w + 1, answers], ``order`` int64[w],
    ``means`` float64[w]: seconds of a request's own work."""

    def __init__(self, graph: Graph) -> None:
        self.flow = np.zeros((len(graph.workloads), 9))
        self.edges = np.zeros((len(graph.edges), 4))
        self.sums = np.zeros((len(graph.workloads) + 1, _PARTS))
        self.order = np.array(callers_first(graph), np.int64)
        self.means = np.array([w.model.service.mean for w in graph.workloads])


def callers_first(graph: Graph) -> list[int]:
    """The workloads, each behind all that call it."""
    behind: list[int] = []

    def visit(workload: int) -> None:
        if workload in behind:
            return
        for step in graph.workloads[workload].steps:
            for edge, _, _ in step:
                for cluster, _ in graph.edges[edge].clusters:
                    for called in graph.clusters[cluster].workloads:
                        visit(called)
        behind.append(workload)

    for workload in range(len(graph.workloads)):
        visit(workload)
    return behind[::-1]


@kernel(inline=True)
def _wait(rate: float, capacity: float, servers: float) -> float:
    """Mean wait of M/M/c below its capacity, in seconds (Sakasegawa 1977)."""
    if rate <= 0.0:
        return 0.0
    load = min(rate / capacity, 0.999)
    return load ** (math.sqrt(2.0 * (servers + 1.0)) - 1.0) / (1.0 - load) / capacity  # type: ignore[no-any-return]


@kernel(inline=True)
def _serve(s: State, w: int, flow: Any, means: Any, pods: int) -> None:
    """One second of a workload: what its pods work on, and how long its own work takes with waiting."""
    p, f = s.workload[w], flow[w]
    cores = min(p[c.CORES], p[c.QUOTA]) if p[c.QUOTA] > 0.0 else p[c.CORES]
    held = means[w] + f[CALLS]
    servers = p[c.CONCURRENCY]
    if p[c.CPU_SHARE] > 0.0:
        by_cpu = cores / p[c.CPU_SHARE]
        capacity = min(servers / held, by_cpu / means[w])
        servers = min(servers, max(1.0, by_cpu))
    else:
        capacity = servers / held
    f[PODS] = pods
    if pods == 0:
        f[WORKED], f[WAITING], f[REFUSED_SHARE], f[OWN] = 0.0, 0.0, 1.0, 0.0
        return
    whole = capacity * pods
    before = f[WAITING]
    f[WORKED] = min(before + f[COME], whole)
    room = p[c.BACKLOG] * pods
    after = before + f[COME] - f[WORKED]
    f[REFUSED_SHARE] = min(1.0, (after - room) / f[COME]) if after > room and f[COME] > 0.0 else 0.0
    f[WAITING] = min(after, room)
    f[WAIT] = (before + f[WAITING]) / 2.0 / whole
    f[OWN] = means[w] + f[WAIT] + _wait(f[WORKED] / pods, capacity, servers)


@kernel(inline=True)
def _ask(s: State, edge: int, rate: float, flow: Any, edges: Any) -> None:
    """Send ``rate`` requests over an edge: the tries they take come to the workloads behind it."""
    e, result = s.edges[edge], edges[edge]
    result[ASKED] += rate
    first, end = int(e[c.CHOICE_FIRST]), int(e[c.CHOICE_END])
    so_far = 0.0
    for choice in range(first, end):
        share = s.lists[choice, 1] - so_far
        so_far = s.lists[choice, 1]
        cluster = int(s.lists[choice, 0])
        if s.clusters[cluster, c.CANDIDATES] == 0:
            continue
        _, tries, _, _ = _outcome(s, edge, cluster, rate * share, flow)
        members = s.clusters[cluster, c.MEMBERS]
        for i in range(members):
            w = s.counts[s.hosts[cluster, i, c.MEMBER], c.WORKLOAD]
            flow[w, COME] += tries / members


@kernel(inline=True)
def _outcome(s: State, edge: int, cluster: int, rate: float, flow: Any) -> tuple[float, float, float, int]:
    """(share that fails, tries a second, mean seconds, the answer of most failures) of requests at ``rate``
    to a cluster, as its pods were a moment ago."""
    e, p = s.edges[edge], s.policy[cluster]
    if s.clusters[cluster, c.CANDIDATES] == 0:
        return 1.0, 0.0, 0.0, UNHEALTHY
    f = flow[int(p[c.FIRST_WORKLOAD])]
    refused = f[REFUSED_SHARE]
    own_failing = s.workload[int(p[c.FIRST_WORKLOAD]), c.FAIL_RATIO]
    code = int(s.workload[int(p[c.FIRST_WORKLOAD]), c.FAIL_ANSWER]) if own_failing > 0.0 else ERROR
    late, took = _in_time(min(e[c.TRY_TIMEOUT], e[c.TIMEOUT]), f[OWN] + f[CALLS], f[WAIT])
    took *= 1.0 - refused
    late *= 1.0 - refused
    wrong = (1.0 - refused - late) * (1.0 - (1.0 - own_failing) * (1.0 - f[CALLS_FAIL]))
    fails, retried = refused + late + wrong, int(e[c.RETRY_ON])
    again = refused * ((retried >> REFUSED) & 1) + wrong * ((retried >> code) & 1)
    if e[c.TRY_TIMEOUT] < e[c.TIMEOUT]:
        again += late * ((retried >> TIMEOUT) & 1)
    wanted = 0.0
    for _ in range(int(e[c.RETRIES])):
        wanted = again * (1.0 + wanted)
    made = min(wanted, _retries_at_once(p, rate * took) / max(1e-12, rate * took))
    let = made / wanted if wanted > 0.0 else 1.0
    failing = fails
    for _ in range(int(e[c.RETRIES])):
        failing = fails - again + again * (1.0 - let + let * failing)
    shed = max(0.0, 1.0 - p[c.REQUESTS_MAX] / max(1e-12, rate * (1.0 + made) * took))
    answer = code if wrong >= max(late, refused) else TIMEOUT if late >= refused else REFUSED
    if shed > 0.5:
        answer = OVERFLOW
    waits, chance, longest = 0.0, 1.0, e[c.BACKOFF]
    for _ in range(int(e[c.RETRIES])):
        chance *= again * let
        waits += chance * longest / 2.0
        longest = min(2.0 * longest, e[c.BACKOFF_MAX])
    takes = min((1.0 + made) * took + waits, e[c.TIMEOUT]) * (1.0 - shed)
    return shed + (1.0 - shed) * failing, rate * (1.0 + made) * (1.0 - shed), takes, answer


@kernel(inline=True)
def _in_time(patience: float, takes: float, waits: float) -> tuple[float, float]:
    """(share of tries that take longer than ``patience``, mean seconds until an answer or that)."""
    if patience == math.inf or takes <= 0.0:
        return 0.0, takes
    if waits >= patience:
        return 1.0, patience
    late = math.exp(-(patience - waits) / max(1e-9, takes - waits))
    return late, waits + (takes - waits) * (1.0 - late)


@kernel(inline=True)
def _retries_at_once(p: Any, flying: float) -> float:
    """How many retries a cluster lets be under way beside ``flying`` first tries."""
    if p[c.BUDGET] < 0.0:
        return p[c.RETRIES_MAX]  # type: ignore[no-any-return]
    share = min(0.99, p[c.BUDGET] / 100.0)  # of all that is under way, retries too
    return max(share / (1.0 - share) * flying, p[c.BUDGET_LEAST])  # type: ignore[no-any-return]


@kernel(inline=True)
def _calls_of(s: State, w: int, flow: Any, edges: Any) -> None:
    """How long a workload's calls take and how often they fail, from what is known of their edges."""
    held, good = 0.0, 1.0
    for step in range(int(s.workload[w, c.STEP_FIRST]), int(s.workload[w, c.STEP_END])):
        longest = 0.0
        for call in range(int(s.lists[step, 0]), int(s.lists[step, 1])):
            edge, chance = int(s.lists[call, 0]), s.lists[call, 1]
            longest = max(longest, chance * edges[edge, TAKES])
            if s.lists[call, 2] == 0.0:
                good *= 1.0 - chance * edges[edge, FAILS]
        held += longest
    flow[w, CALLS], flow[w, CALLS_FAIL] = held, 1.0 - good


@kernel(inline=True)
def _use(s: State, w: int, flow: Any, means: Any) -> None:
    """CPU of the second, in equal parts."""
    p, pods = s.workload[w], flow[w, PODS]
    for pod in range(len(s.counts)):
        if s.counts[pod, c.ALIVE] == 0 or s.counts[pod, c.WORKLOAD] != w or pods == 0.0:
            continue
        share = flow[w, WORKED] / pods
        s.pods[pod, c.CPU] += share * means[w] * p[c.CPU_SHARE]
        s.pods[pod, c.AT] += 1.0
        if share > 0.0 and s.pods[pod, c.FIRST] < 0.0:
            s.pods[pod, c.FIRST] = s.places[c.SECOND]
        s.counts[pod, c.TAKEN] = int(min(p[c.CONCURRENCY], share * (means[w] + flow[w, CALLS])))
        s.counts[pod, c.QUEUED] = int(flow[w, WAITING] / pods)
        if p[c.QUOTA] > 0.0:
            s.counts[pod, c.PERIODS] += 10
            if share * means[w] * p[c.CPU_SHARE] >= 0.98 * p[c.QUOTA]:
                s.counts[pod, c.THROTTLED_PERIODS] += 10


@kernel(inline=True)
def _write(s: State, place: int, rate: float, fails: float, takes: float, answer: int, sums: Any) -> None:
    at = min(s.places[c.SECOND], s.rows.shape[1] - 1)
    row = s.rows[place, at]
    row[k.ARRIVED] += rate
    row[k.COMPLETED] += rate
    row[k.FAILED] += rate * fails
    row[k.LATENCY_SUM] += rate * takes
    row[k.IN_FLIGHT] += rate * takes
    row[k.P50], row[k.P95], row[k.P99] = np.nan, np.nan, np.nan
    sums[place, OK] += rate * (1.0 - fails)
    sums[place, answer] += rate * fails
    for i in range(_PARTS):
        s.totals[place, i] = int(sums[place, i])
        if place < len(s.totals) - 1:
            s.totals[place, c.MISSED + i] = int(sums[place, i])


@kernel(allocates=False)
def advance(s: State, until: float, order: Any, flow: Any, edges: Any, sums: Any, means: Any) -> None:
    """All whole seconds up to ``until``."""
    while s.places[c.SECOND] + 1.0 <= until:
        index = s.places[c.SECOND]
        rate = s.rates[index] if index < len(s.rates) else 0.0
        for w in range(len(flow)):
            flow[w, COME] = 0.0
        for edge in range(len(edges)):
            edges[edge, ASKED] = 0.0
        _ask(s, 0, rate, flow, edges)
        for w in order:
            pods = 0
            for pod in range(len(s.counts)):
                pods += 1 if s.counts[pod, c.ALIVE] > 0 and s.counts[pod, c.WORKLOAD] == w else 0
            _serve(s, w, flow, means, pods)
            _use(s, w, flow, means)
            going = flow[w, WORKED] * (1.0 - s.workload[w, c.FAIL_RATIO])
            for step in range(int(s.workload[w, c.STEP_FIRST]), int(s.workload[w, c.STEP_END])):
                kept = 1.0
                for call in range(int(s.lists[step, 0]), int(s.lists[step, 1])):
                    edge, chance = int(s.lists[call, 0]), s.lists[call, 1]
                    _ask(s, edge, going * chance, flow, edges)
                    if s.lists[call, 2] == 0.0:
                        kept *= 1.0 - chance * edges[edge, FAILS]
                going *= kept
        for edge in range(len(edges) - 1, -1, -1):
            _settle(s, edge, flow, edges, sums)
        for i in range(len(order) - 1, -1, -1):
            _calls_of(s, order[i], flow, edges)
        _write(s, len(s.totals) - 1, rate, edges[0, FAILS], edges[0, TAKES], int(edges[0, ENDS]), sums)
        s.places[c.SECOND] = index + 1
    s.numbers[c.NOW] = until


@kernel(inline=True)
def _settle(s: State, edge: int, flow: Any, edges: Any, sums: Any) -> None:
    """What became of an edge's requests, over its clusters."""
    fails, takes, ends, so_far = 0.0, 0.0, OK, 0.0
    rate = edges[edge, ASKED]
    for choice in range(int(s.edges[edge, c.CHOICE_FIRST]), int(s.edges[edge, c.CHOICE_END])):
        share = s.lists[choice, 1] - so_far
        so_far = s.lists[choice, 1]
        cluster = int(s.lists[choice, 0])
        failed, tries, took, answer = _outcome(s, edge, cluster, rate * share, flow)
        fails += share * failed
        takes += share * took
        ends = answer
        s.clusters[cluster, c.TRIES] += int(tries + 0.5)
        s.clusters[cluster, c.RETRIED] += int(max(0.0, tries - rate * share) + 0.5)
        _write(s, int(s.policy[cluster, c.FIRST_WORKLOAD]), rate * share, failed, took, answer, sums)
    edges[edge, FAILS], edges[edge, TAKES], edges[edge, ENDS] = fails, takes, ends
