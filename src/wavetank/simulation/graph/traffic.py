"""The shell around the graph's kernel: whose pods are where, and what each part of the cluster sees of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from wavetank.clock import Clock
from wavetank.errors import InputError
from wavetank.kube.kubelet.enforcer import Usage
from wavetank.limits import SIMULATION_REQUESTS_MAX
from wavetank.simulation import kernels as k
from wavetank.simulation.graph import kernel, stepped
from wavetank.simulation.graph import pods as o
from wavetank.simulation.graph import state as c
from wavetank.simulation.graph.plan import Graph
from wavetank.simulation.graph.policies import ANSWERS
from wavetank.simulation.graph.stepped import Memory

__all__ = ["GraphService", "GraphTraffic", "LoadFlow", "WorkloadFlow"]

Floats = npt.NDArray[np.float64]


class GraphTraffic:
    """All requests of a graph. ``begin`` says what arrives, from then on. With ``flow``
    they are one, a second a step, in place of each by itself."""

    def __init__(self, clock: Clock, graph: Graph, *, poisson: bool, flow: bool = False) -> None:
        self.graph = graph
        self._flow = Memory(graph) if flow else None
        self.origin = clock.now()
        self._clock = clock
        self._arrivals, self._rng = (
            np.random.Generator(np.random.SFC64(clock.random(f"graph/{what}").getrandbits(128)))
            for what in ("arrivals", "all else")
        )
        phases = [clock.random("ejection-phase").random() for _ in graph.clusters]
        self.state = c.empty(graph, poisson=poisson, phases=phases)
        self.state.numbers[c.NEED] = float(self._arrivals.standard_exponential()) if poisson else 0.5
        self._slots: dict[str, int] = {}
        self._owner: dict[str, int] = {}
        self._gone: dict[str, Any] = {}
        self._ready: dict[str, tuple[str, ...]] = {}
        self._free: list[int] = []

    # --- time

    def begin(self, rates: Floats) -> None:
        """``rates`` float64[seconds]: arrivals a second from now, a whole second after ``origin``, on."""
        self.advance()
        state, lead = self.state, round(self.seconds)
        rates = np.concatenate([np.zeros(lead), rates])
        rows = np.zeros((len(self.graph.workloads) + 1, len(rates) + k.AFTERMATH, k.ROW))
        kept = min(state.rows.shape[1], rows.shape[1])
        rows[:, :kept] = state.rows[:, :kept]
        self.state = state._replace(rates=rates, rows=rows)

    @property
    def seconds(self) -> float:
        return self._clock.now() - self.origin

    def advance(self) -> None:
        """Let everything happen up to now. Raises InputError where more requests pile up than fit."""
        until = self.seconds
        if self._flow is not None:
            self._advance_flow(self._flow, until)
            return
        while kernel.advance(self.state, until, self._arrivals, self._rng):
            if len(self.state.begun) >= SIMULATION_REQUESTS_MAX:
                raise InputError(
                    f"{SIMULATION_REQUESTS_MAX:,} requests in flight after {self.state.numbers[c.NOW]:.0f} s",
                    fix="give the routes timeouts, or the models a smaller backlog",
                )
            self.state = c.grown(self.state)

    def _advance_flow(self, flow: Memory, until: float) -> None:
        state = self.state
        if state.places[c.TODO] and state.todo[0, 0] == o.REBUILD:
            cluster = int(state.todo[0, 1])
            count = state.clusters[cluster, c.MEMBERS]
            state.clusters[cluster, c.CANDIDATES] = count
            state.hosts[cluster, :count, c.CANDIDATE] = state.hosts[cluster, :count, c.MEMBER]
        elif state.places[c.TODO] and state.todo[0, 0] == o.STOP:
            state.counts[state.todo[0, 1], c.ALIVE] = 0
        state.places[c.TODO] = 0
        stepped.advance(state, until, flow.order, flow.flow, flow.edges, flow.sums, flow.means)

    def _do(self, operation: int, subject: int, more: int = 0) -> None:
        """At this instant."""
        self.state.todo[0] = operation, subject, more, 0
        self.state.places[c.TODO] = 1
        self.advance()

    # --- pods

    def start(self, pod: str, workload: int) -> None:
        """The pod's program answers from now on (it gets requests once it is among the ready ones)."""
        self.advance()
        slot = self._slots.get(pod)
        if slot is None:
            if not self._free:
                before = len(self.state.counts)
                self.state = c.more_pods(self.state, max(4, before))
                self._free = list(range(before, len(self.state.counts)))
            slot = self._slots[pod] = self._free.pop(0)
            self.state.counts[slot, c.ANSWERED :] = 0
        self._owner[pod] = workload
        model, pods, counts = self.graph.workloads[workload].model, self.state.pods, self.state.counts
        pods[slot, : c.DUE] = 0.0
        pods[slot, c.AT] = pods[slot, c.BORN] = self.seconds
        pods[slot, c.WARM_FACTOR], pods[slot, c.WARM_SECONDS] = model.warm_factor, model.warm_seconds
        pods[slot, c.FIRST] = -1.0
        counts[slot, : c.POSITION] = 0
        counts[slot, c.WORKLOAD], counts[slot, c.PERIOD], counts[slot, c.ALIVE] = workload, -1, 1

    def stop(self, pod: str) -> None:
        """The pod's program is gone; what it was working on has no answer."""
        self.advance()
        slot = self._slots.get(pod)
        if slot is None or not self.state.counts[slot, c.ALIVE]:
            return
        self._do(o.STOP, slot)
        self._forget()

    def set_ready(self, service: str, ready: Sequence[str]) -> None:
        """The endpoints of a Service ("namespace/name"), in their order."""
        self.advance()
        self._ready[service] = tuple(ready)
        for index, cluster in enumerate(self.graph.clusters):
            if cluster.key == service:
                self._set_members(index, [p for p in ready if self._owner.get(p) in cluster.workloads])
        self._forget()

    def _set_members(self, cluster: int, pods: Sequence[str]) -> None:
        """Who is new, or comes back, starts without a past."""
        state = self.state
        count = int(state.clusters[cluster, c.MEMBERS])
        before = set(state.hosts[cluster, :count, c.MEMBER].tolist())
        slots = [self._slots[pod] for pod in pods if pod in self._slots]
        for slot in set(slots) - before:
            host = state.hosts[cluster, slot]
            host[[c.OUT, c.MULTIPLIER, c.ROW_ERRORS, c.ROW_GATEWAY, c.ROW_LOCAL]] = 0
        state.hosts[cluster, : len(slots), c.MEMBER] = slots
        state.clusters[cluster, c.MEMBERS] = len(slots)
        self._do(o.REBUILD, cluster)

    def _forget(self) -> None:
        """Give the places of pods away that are gone and that no proxy sends requests to any more."""
        known = {pod for ready in self._ready.values() for pod in ready}
        for pod, slot in list(self._slots.items()):
            hosts = self.state.hosts[:, slot]
            asked = hosts[:, c.ACTIVE].any() or (hosts[:, c.WAIT_HEAD] >= 0).any()
            if pod in known or asked or self.state.counts[slot, c.ALIVE]:
                continue
            self._gone[pod] = self.state.counts[slot, c.ANSWERED :].copy()
            self._close_connections(slot)
            del self._slots[pod]
            self._free.append(slot)
            self._free.sort()

    def _close_connections(self, slot: int) -> None:
        hosts = self.state.hosts[:, slot]
        self.state.clusters[:, c.CONNECTIONS] -= hosts[:, c.OPEN]
        hosts[:, : c.MEMBER] = 0
        hosts[:, c.WAIT_HEAD] = hosts[:, c.WAIT_TAIL] = -1

    # --- what can be seen

    def slot(self, pod: str) -> int | None:
        return self._slots.get(pod)

    def in_flight(self, pod: str) -> int:
        slot = self._slots.get(pod)
        counts = self.state.counts
        return 0 if slot is None else int(counts[slot, c.TAKEN] + counts[slot, c.QUEUED])

    def first_request(self, pod: str) -> float | None:
        """When the pod got its first request (Unix seconds)."""
        slot = self._slots.get(pod)
        if slot is None or self.state.pods[slot, c.FIRST] < 0 or not self.state.counts[slot, c.ALIVE]:
            return None
        return self.origin + float(self.state.pods[slot, c.FIRST])

    def usage(self, pod: str) -> Usage:
        """CPU of the pod's requests, and CFS throttling."""
        slot = self._slots.get(pod)
        if slot is None or not self.state.counts[slot, c.ALIVE]:
            return Usage()
        self._do(o.TOUCH, slot, -1)
        pods, counts = self.state.pods[slot], self.state.counts[slot]
        return Usage(
            cpu_ns=int(pods[c.CPU] * 1e9),
            periods=int(counts[c.PERIODS]),
            throttled_periods=int(counts[c.THROTTLED_PERIODS]),
            throttled_ns=int(pods[c.THROTTLED] * 1e9),
        )

    def answers(self, workload: int) -> Iterable[tuple[str, str, str, int]]:
        """(response code, flag, pod's uid or "", requests) of a workload."""
        for pod, owner in self._owner.items():
            if owner == workload:
                slot = self._slots.get(pod)
                counts = self._gone[pod] if slot is None else self.state.counts[slot, c.ANSWERED :]
                yield from ((*ANSWERS[i], pod, int(counts[i])) for i in np.flatnonzero(counts).tolist())
        missed = self.state.totals[workload, c.MISSED : c.FLYING]
        yield from ((*ANSWERS[i], "", int(missed[i])) for i in np.flatnonzero(missed).tolist())


class LoadFlow:
    """The load's own requests."""

    def __init__(self, traffic: GraphTraffic, name: str, index: int = -1) -> None:
        self.name = name
        self.origin = traffic.origin
        self._traffic = traffic
        self._index = index
        self._summed = (0, 0.0)

    @property
    def rows(self) -> Any:
        return self._traffic.state.rows[self._index]

    @property
    def cumulative(self) -> Any:
        return self._traffic.state.histogram[1, self._index]

    @property
    def seconds(self) -> float:
        return self._traffic.seconds

    @property
    def latency_total(self) -> float:
        done = min(int(self._traffic.state.places[c.SECOND]), len(self.rows) - 1)
        if done > self._summed[0]:
            before, total = self._summed
            self._summed = (done, total + float(self.rows[before:done, k.LATENCY_SUM].sum()))
        return self._summed[1] + float(self.rows[done, k.LATENCY_SUM])

    def codes(self) -> Iterable[tuple[str, int]]:
        found: dict[str, int] = dict.fromkeys((code for code, _ in ANSWERS), 0)
        totals = self._traffic.state.totals[self._index, : c.MISSED]
        for (code, _), count in zip(ANSWERS, totals.tolist(), strict=True):
            found[code] += count
        return found.items()

    def advance(self) -> None:
        self._traffic.advance()


class WorkloadFlow(LoadFlow):
    """The requests to one workload, by whomever, and its pods."""

    def __init__(self, traffic: GraphTraffic, index: int) -> None:
        super().__init__(traffic, traffic.graph.workloads[index].name, index)

    def answers(self) -> Iterable[tuple[str, str, str, int]]:
        return self._traffic.answers(self._index)

    def start(self, pod: str) -> None:
        self._traffic.start(pod, self._index)

    def stop(self, pod: str) -> None:
        self._traffic.stop(pod)

    def in_flight(self, pod: str) -> int:
        return self._traffic.in_flight(pod)

    def usage(self, pod: str) -> Usage:
        return self._traffic.usage(pod)


class GraphService:
    """One Service's endpoints."""

    def __init__(self, traffic: GraphTraffic, key: str) -> None:
        self._traffic = traffic
        self._key = key

    def set_ready(self, pods: Sequence[str]) -> None:
        self._traffic.set_ready(self._key, pods)

    def advance(self) -> None:
        self._traffic.advance()

    def first_request(self, pod: str) -> float | None:
        return self._traffic.first_request(pod)
