"""One service's requests: arrivals, the balancer, pods in slots, and what came of them.

The shell around the kernels ``fifo`` and ``sharing``: it owns the arrays, gives slots to pods, and is brought
up to the clock whenever somebody looks. Who looks and how often does not change what happens, since the
random numbers are drawn one request after another in order of arrival.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from wavetank.clock import Clock
from wavetank.kube.kubelet.enforcer import Usage
from wavetank.limits import SIMULATION_BACKLOG_MAX
from wavetank.simulation import fifo, sharing
from wavetank.simulation import kernels as k
from wavetank.simulation.draws import Draws
from wavetank.simulation.model import PodModel

__all__ = ["BALANCERS", "Route", "Traffic"]

BALANCERS = {
    "ROUND_ROBIN": k.ROUND_ROBIN,
    "LEAST_REQUEST": k.LEAST_REQUEST,
    "LEAST_CONN": k.LEAST_REQUEST,
    "RANDOM": k.RANDOM,
}

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Route:
    """How requests reach the pods: the VirtualService's timeout (seconds; of a try where one is given), the
    DestinationRule's balancer. Retries are for ``graph``."""

    timeout: float = 15.0
    balancer: int = k.LEAST_REQUEST
    poisson: bool = False


class Traffic:
    """All pods have the CPU limit ``limit_cores`` (0: none). ``begin`` says what arrives, from then on."""

    def __init__(self, clock: Clock, name: str, model: PodModel, route: Route, limit_cores: float) -> None:
        self.name = name
        self.model = model
        self.origin = clock.now()
        self.rates = np.zeros(0)
        self._clock = clock
        self._route = route
        self._parameters = self._pack(limit_cores)
        self._draws = Draws(
            clock.seed, name, model.service, poisson=route.poisson, picking=route.balancer != k.ROUND_ROBIN
        )
        self._stream = np.array([0.0, self._draws.first_gap])
        self._place = np.zeros(k.PLACES, np.int64)
        self._ready = np.zeros(0, np.int64)
        self._slots: dict[str, int] = {}
        self._born: dict[str, None] = {}
        self._free: list[int] = []
        self._pods = np.zeros((0, k.POD_FLOATS))
        self._counts = np.zeros((0, k.POD_INTS), np.int64)
        in_order = model.concurrency == 1 and limit_cores <= 0
        backlog = int(self._parameters[k.BACKLOG])
        widths = (backlog + 1,) if in_order else (model.concurrency, backlog)
        self._waiting = [np.zeros((0, 2 * width + k.ROW_PADDING)) for width in widths]
        self._advance: Callable[..., None] = fifo.advance if in_order else sharing.advance
        self._histogram = np.zeros(k.BINS, np.int64)
        self.cumulative = np.zeros(k.BINS, np.int64)
        self.rows = np.zeros((1, k.ROW))
        self.totals = np.zeros(k.COUNTS, np.int64)
        self._summed = (0, 0.0)
        self.gone: dict[str, tuple[int, int]] = {}

    def _pack(self, limit_cores: float) -> Floats:
        p = np.zeros(k.PARAMETERS)
        model, route = self.model, self._route
        p[k.CONCURRENCY], p[k.CORES], p[k.CPU_SHARE] = model.concurrency, model.cores, model.cpu_share
        p[k.QUOTA] = limit_cores
        p[k.TIMEOUT], p[k.BALANCER] = route.timeout, route.balancer
        p[k.BACKLOG] = min(model.backlog, SIMULATION_BACKLOG_MAX)
        return p

    # --- time

    def begin(self, rates: Floats) -> None:
        """``rates`` float64[seconds]: arrivals a second from now, a whole second after ``origin``, on."""
        self.advance()
        lead = round(self.seconds)
        self.rates = np.concatenate([np.zeros(lead), rates])
        rows = np.zeros((len(self.rates) + k.AFTERMATH, k.ROW))
        rows[: len(self.rows)] = self.rows[: len(rows)]
        self.rows = rows

    @property
    def seconds(self) -> float:
        """Since the load's begin."""
        return self._clock.now() - self.origin

    def advance(self) -> None:
        """Serve everything up to now."""
        self.advance_to(self.seconds)

    def advance_to(self, until: float) -> None:
        draws = self._draws
        while self._stream[k.NOW] < until:
            if self._place[k.CURSOR] == len(draws.gaps):
                draws.refill()
                self._place[k.CURSOR] = 0
            self._advance(
                until, self.rates, self._ready, self._parameters, self._stream, self._place, draws.gaps,
                draws.needs, draws.picks, self._pods, self._counts, *self._waiting, self._histogram,
                self.cumulative, self.rows, self.totals,
            )  # fmt: skip

    # --- pods

    def start(self, pod: str) -> None:
        """The pod's program answers from now on (it gets requests once it is among the ready ones)."""
        self.advance()
        if not self._free:
            self._grow()
        slot = self._slots[pod] = self._free.pop(0)
        self._born[pod] = None
        self._pods[slot] = 0.0
        self._pods[slot, k.AT] = self._pods[slot, k.BORN] = self.seconds
        self._pods[slot, k.WARM_FACTOR] = self.model.warm_factor
        self._pods[slot, k.WARM_SECONDS] = self.model.warm_seconds
        self._pods[slot, k.FIRST] = -1.0
        self._pods[slot, k.FRESH] = np.inf
        self._counts[slot] = 0
        self._counts[slot, k.PERIOD] = -1

    def stop(self, pod: str) -> None:
        """The pod's program is gone; what it was working on fails."""
        self.advance()
        slot = self._slots.pop(pod, None)
        if slot is None:
            return
        lost = int(self._counts[slot, k.ACTIVE] + self._counts[slot, k.QUEUED])
        if lost:
            self.totals[k.UNAVAILABLE] += lost
            row = self.rows[min(int(self._place[k.SECOND]), len(self.rows) - 1)]
            row[k.FAILED] += lost
            row[k.COMPLETED] += lost
            self._histogram[0] += lost
        self.gone[pod] = (int(self._counts[slot, k.DONE]), int(self._counts[slot, k.TIMED_OUT]))
        self._counts[slot] = 0
        self._free.append(slot)
        self._free.sort()
        self._ready = self._ready[self._ready != slot]

    def set_ready(self, pods: Sequence[str]) -> None:
        """The endpoints that the proxy sends requests to, in their order."""
        self.advance()
        self._ready = np.array([self._slots[p] for p in pods if p in self._slots], np.int64)

    def _grow(self) -> None:
        before = len(self._pods)
        more = max(4, before)
        self._free = list(range(before, before + more))

        def grown(array: Any) -> Any:
            return np.concatenate([array, np.zeros((more, array.shape[1]), array.dtype)])

        self._pods, self._counts = grown(self._pods), grown(self._counts)
        self._waiting = [grown(a) for a in self._waiting]

    # --- what can be seen

    def in_flight(self, pod: str) -> int:
        slot = self._slots.get(pod)
        return 0 if slot is None else int(self._counts[slot, k.ACTIVE] + self._counts[slot, k.QUEUED])

    def first_request(self, pod: str) -> float | None:
        """When the pod got its first request (Unix seconds)."""
        slot = self._slots.get(pod)
        if slot is None or self._pods[slot, k.FIRST] < 0:
            return None
        return self.origin + float(self._pods[slot, k.FIRST])

    def outcomes(self, pod: str) -> tuple[int, int]:
        """(answered, timed out) so far."""
        slot = self._slots.get(pod)
        if slot is None:
            return self.gone.get(pod, (0, 0))
        return int(self._counts[slot, k.DONE]), int(self._counts[slot, k.TIMED_OUT])

    @property
    def latency_total(self) -> float:
        """Seconds of latency of all requests so far, added up second by second."""
        done = int(self._place[k.SECOND])
        if done > self._summed[0]:
            before, total = self._summed
            self._summed = (done, total + float(self.rows[before:done, k.LATENCY_SUM].sum()))
        return self._summed[1] + float(self.rows[self._summed[0] :][:1, k.LATENCY_SUM].sum())

    def codes(self) -> Iterable[tuple[str, int]]:
        """(response code, requests) so far."""
        return zip(("200", "504", "503"), self.totals.tolist(), strict=True)

    def answers(self) -> Iterable[tuple[str, str, str, int]]:
        """(response code, Envoy's response flag, pod or "", requests) so far, pods in the order they came."""
        for pod in self._born:
            done, timed_out = self.outcomes(pod)
            if done:
                yield "200", "-", pod, done
            if timed_out:
                yield "504", "UT", pod, timed_out
        refused = int(self.totals[k.UNAVAILABLE])
        if refused:
            yield "503", "UH", "", refused

    def usage(self, pod: str) -> Usage:
        """CPU of the pod's requests, and CFS throttling."""
        slot = self._slots.get(pod)
        if slot is None:
            return Usage()
        pods, counts = self._pods[slot], self._counts[slot]
        return Usage(
            cpu_ns=int(pods[k.CPU] * 1e9),
            periods=int(counts[k.PERIODS]),
            throttled_periods=int(counts[k.THROTTLED_PERIODS]),
            throttled_ns=int(pods[k.THROTTLED] * 1e9),
        )
