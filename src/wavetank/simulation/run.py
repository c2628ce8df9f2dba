"""One simulation: the cluster comes up, the load runs, everything is written down. All in virtual time.

``simulate`` leaves in its directory what a rehearsal leaves in its own: journal and TSDB. What it returns
has the load's seconds. It is a function of its input, the seed and the version alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wavetank.clock import VirtualClock
from wavetank.errors import InputError
from wavetank.journal import FileJournal
from wavetank.kube.client import ApiError, Object
from wavetank.kube.resources import PODS
from wavetank.monitoring.config.model import ScrapeConfig
from wavetank.monitoring.rules.alert import ActiveAlert
from wavetank.monitoring.rules.engine import RuleEngine
from wavetank.monitoring.rules.group import Group
from wavetank.monitoring.rules.load import RuleOptions
from wavetank.simulation import EPOCH
from wavetank.simulation import kernels as k
from wavetank.simulation.cluster import ClusterOptions, Proxy, VirtualCluster
from wavetank.simulation.flows import Endpoints, Flow, Served
from wavetank.simulation.graph.plan import Graph
from wavetank.simulation.graph.traffic import GraphService, GraphTraffic, LoadFlow, WorkloadFlow
from wavetank.simulation.input import Applied, Destination
from wavetank.simulation.model import Models
from wavetank.simulation.query import EngineQuery
from wavetank.simulation.telemetry import Scraper, ServiceFacts
from wavetank.simulation.traffic import Traffic
from wavetank.tsdb.db import DB
from wavetank.tsdb.options import Options

__all__ = ["Simulated", "Simulation", "simulate"]

Floats = npt.NDArray[np.float64]

#: How long the first pods may take; after it the load begins all the same.
_READY_SECONDS = 900.0
_SETTLE_SECONDS = 5.5


@dataclass(frozen=True, slots=True)
class Simulation:
    """What to simulate. ``rates`` float64[seconds]: arrivals a second; ``marks``: journal records of the
    stages as (seconds from the load's begin, fields). ``groups``: rule groups by key. The load goes to
    ``destinations``, or through ``graph`` where there is one; ``stepped``: as a flow, a second a step.
    ``jobs`` are the user's own scrape jobs."""

    cluster: ClusterOptions
    objects: Sequence[Applied]
    destinations: Sequence[Destination]
    models: Models
    rates: Floats
    poisson: bool
    scrape_seconds: float
    cadvisor_job: str = "wavetank/cadvisor"
    jobs: Sequence[ScrapeConfig] = ()
    marks: Sequence[tuple[float, dict[str, object]]] = ()
    groups: dict[str, Group] = field(default_factory=dict)
    start: float = EPOCH
    seed: int = 0
    graph: Graph | None = None
    stepped: bool = False


@dataclass(frozen=True, slots=True)
class Simulated:
    """What came of it. Times in Unix seconds; ``clients`` are the load's requests."""

    started_at: float
    load_started_at: float
    load_ended_at: float
    ended_at: float
    first_request_at: float | None
    clients: Sequence[Flow]
    samples: int
    series: int
    events: int
    notes: tuple[str, ...] = ()


def open_database(directory: Path, clock: VirtualClock) -> DB:
    """The TSDB of a run directory; flushed to blocks when it closes."""
    return DB.open(directory / "data", Options(flush_on_close=True, retention_ms=0), clock)


class _Recorder:
    """The journal while the run lasts: how its cluster is taken down is no part of it."""

    def __init__(self, file: FileJournal) -> None:
        self._file: FileJournal | None = file

    def record(self, kind: str, /, **fields: object) -> None:
        if self._file is not None:
            self._file.record(kind, **fields)

    def stop(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


async def simulate(
    given: Simulation, directory: Path, clock: VirtualClock, progress: Callable[[float], None] | None = None
) -> Simulated:
    """Run to the end. Call it on a loop of ``run_virtual`` with the same clock. Raises InputError."""
    journal = _Recorder(FileJournal(directory / "journal-simulation.jsonl", clock))
    db = open_database(directory, clock)
    try:
        return await _Run(given, directory, clock, journal, db, progress).execute()
    finally:
        journal.stop()
        db.close()


class _Run:
    def __init__(
        self,
        given: Simulation,
        directory: Path,
        clock: VirtualClock,
        journal: _Recorder,
        db: DB,
        progress: Callable[[float], None] | None,
    ) -> None:
        self._given = given
        self._clock = clock
        self._journal = journal
        self._db = db
        self._progress = progress
        self._cluster = VirtualCluster(
            clock, journal, given.cluster, given.models, directory, EngineQuery(db)
        )
        self._notes: list[str] = []
        self._graph: GraphTraffic | None = None
        self._services: list[tuple[ServiceFacts, Served]] = []
        self._endpoints: dict[str, Endpoints] = {}
        self._clients: list[Flow] = []
        self._plain: list[tuple[Destination, Traffic]] = []
        if given.graph is not None:
            self._connect(given.graph)
        else:
            for destination in given.destinations:
                traffic, facts = self._traffic(destination), destination.facts
                self._plain.append((destination, traffic))
                self._services.append((facts, traffic))
                self._endpoints[f"{facts.namespace}/{facts.name}"] = traffic
                self._clients.append(traffic)

    def _connect(self, graph: Graph) -> None:
        """Services that call each other, retries and the like: all requests in one graph."""
        traffic = self._graph = GraphTraffic(
            self._clock, graph, poisson=self._given.poisson, flow=self._given.stepped
        )
        for index, workload in enumerate(graph.workloads):
            flow = WorkloadFlow(traffic, index)
            self._cluster.traffic[workload.name] = flow
            cluster = next(c for c in graph.clusters if index in c.workloads)
            self._services.append(
                (
                    ServiceFacts(
                        cluster.namespace, cluster.service, workload.name,
                        str(workload.labels.get("app") or "unknown"),
                        str(workload.labels.get("version") or "unknown"),
                    ),
                    flow,
                )
            )  # fmt: skip
        self._endpoints.update({c.key: GraphService(traffic, c.key) for c in graph.clusters})
        entry = graph.workloads[graph.clusters[graph.edges[0].clusters[0][0]].workloads[0]]
        self._clients.append(LoadFlow(traffic, entry.name))

    def _traffic(self, destination: Destination) -> Traffic:
        facts = destination.facts
        route = replace(destination.route, poisson=self._given.poisson)
        model = self._given.models.of(facts.workload)
        traffic = Traffic(self._clock, facts.workload, model, route, destination.limit_cores)
        self._cluster.traffic[facts.workload] = traffic
        return traffic

    async def execute(self) -> Simulated:
        clock, cluster, given = self._clock, self._cluster, self._given
        started = clock.now()
        tasks: list[asyncio.Task[None]] = []
        proxy = Proxy(cluster, self._endpoints, given.models.propagation_seconds)
        scraper = Scraper(
            self._db, cluster, self._services, clients=self._clients, graph=self._graph,
            cadvisor_job=given.cadvisor_job, jobs=given.jobs,
        )  # fmt: skip
        rules = self._rules()
        try:
            await cluster.start()
            await cluster.follow(proxy)
            await self._apply()
            tasks.append(asyncio.create_task(self._scrape(scraper), name="scrape"))
            await rules.apply(given.groups)
            await self._until_ready()
            begun = await self._begin()
            await self._drive(begun)
            ended = clock.now()
            self._journal.record("load.stop", reason="all stages done")
            await clock.sleep(_SETTLE_SECONDS)
            proxy.note()
            scraper.scrape()
        finally:
            self._journal.stop()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await rules.close()
            await cluster.stop()
        stats = self._db.head_stats()
        return Simulated(
            started, begun, ended, clock.now(), self._first_request(), self._clients,
            self._db.counts.appended, stats.series, cluster.plane.api.storage.revision,
            tuple(self._notes),
        )  # fmt: skip

    def _rules(self) -> RuleEngine:
        engine = EngineQuery(self._db)

        def notify(alerts: Sequence[ActiveAlert], expr: str) -> None:
            """There is no Alertmanager here; alerts are in the series ``ALERTS``."""

        inline: object = None  # the virtual loop runs everything in its own thread
        return RuleEngine(self._db, self._clock, engine.vector, inline, notify, RuleOptions())  # type: ignore[arg-type]

    async def _apply(self) -> None:
        for item in self._given.objects:
            namespace = item.namespace if item.resource.namespaced else None
            try:
                await self._cluster.apply(item.resource, item.object, namespace)
            except ApiError as error:
                raise InputError(f"{item.resource.kind} {item.name}: {error.message}") from None

    async def _scrape(self, scraper: Scraper) -> None:
        interval = self._given.scrape_seconds
        await self._clock.sleep(interval * self._clock.random("scrape-phase").random())
        due = self._clock.now()
        while True:
            scraper.scrape()
            if self._db.store.head.maxt_ms - self._db.store.head.mint_ms > 3 * 3_600_000:
                self._db.compact()
            due += interval
            await self._clock.sleep(due - self._clock.now())

    async def _until_ready(self) -> None:
        """Until all pods are ready, or none can become so any more in reasonable time."""
        end = self._clock.now() + _READY_SECONDS
        await self._clock.sleep(1.0)
        while True:
            pods = list(self._cluster.plane.api.bucket(PODS).objects())
            waiting = [p["metadata"]["name"] for p in pods if not _is_ready(p)]
            if (pods and not waiting) or self._clock.now() > end:
                self._notes.extend(f"{name} was not ready when the load began" for name in waiting)
                return
            await self._clock.sleep(1.0)

    async def _begin(self) -> float:
        """The load begins at the next whole second."""
        now = self._clock.now()
        await self._clock.sleep(np.ceil(now) - now if now % 1 else 0.0)
        begun = self._clock.now()
        for destination, traffic in self._plain:
            traffic.begin(self._given.rates * destination.share)
        if self._graph is not None:
            self._graph.begin(self._given.rates)
        return begun

    async def _drive(self, begun: float) -> None:
        """Let the load's time pass, saying at each stage's begin that it began."""
        marks = sorted(self._given.marks, key=lambda mark: mark[0])
        length = float(len(self._given.rates))
        times = sorted({*(at for at, _ in marks), *np.linspace(0, length, 51).tolist(), length})
        for at in times:
            if at > length:
                break
            await self._clock.sleep(begun + at - self._clock.now())
            for when, fields in marks:
                if when == at:
                    self._journal.record("load.stage", **fields)
            if self._progress is not None:
                self._progress(at / length)

    def _first_request(self) -> float | None:
        found = [
            t.origin + float(seconds[0])
            for t in self._clients
            if len(seconds := np.flatnonzero(t.rows[:, k.COMPLETED]))
        ]
        return min(found, default=None)


def _is_ready(pod: Object) -> bool:
    with suppress(KeyError):
        return any(
            c["type"] == "Ready" and c["status"] == "True"
            for c in (pod.get("status") or {}).get("conditions") or ()
        )
    return False
