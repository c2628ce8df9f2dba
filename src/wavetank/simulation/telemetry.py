"""What a rehearsal's monitoring would have scraped, written into the same database under the same names.

Every scrape takes the metric families that the parts of the cluster expose anyway (cAdvisor, kube-state) or
makes those of the parts that are modelled (the gateway's ``istio_*``, the load generator's), and appends them
with ``job`` and ``instance``, staleness markers for what has gone, and ``up``. There is no text and no parser
between, since both ends are here. The user's own jobs are in ``user_jobs``.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from wavetank.exposition.render import MetricFamily, Sample
from wavetank.kube.kubelet.cadvisor import cadvisor_families
from wavetank.kube.resources import PODS
from wavetank.load.exporter import BUCKETS_SECONDS
from wavetank.load.histogram import LogHistogram
from wavetank.load.results import Entry, Snapshot
from wavetank.model.labels import METRIC_NAME, Labels
from wavetank.model.value import STALE_NAN
from wavetank.monitoring.config.model import ScrapeConfig
from wavetank.simulation import kernels as k
from wavetank.simulation.cluster import VirtualCluster
from wavetank.simulation.flows import Flow, Served
from wavetank.simulation.graph.stats import cluster_stats
from wavetank.simulation.graph.traffic import GraphTraffic
from wavetank.simulation.state_series import StateSeries
from wavetank.simulation.user_jobs import UserJobs
from wavetank.tsdb.db import DB

__all__ = ["Scraper", "ServiceFacts", "load_snapshot", "log_histogram"]

#: Envoy's bucket bounds for durations, in milliseconds.
_ENVOY_BUCKETS = (
    *(0.5, 1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0),
    *(10000.0, 30000.0, 60000.0, 300000.0, 600000.0, 1800000.0, 3600000.0),
)
_LOAD_HISTOGRAMS = ("locust_request_duration_seconds", "wavetank_response_seconds")
_WINDOW_SECONDS = 5
_GATEWAY = {
    "reporter": "source",
    "source_workload": "istio-ingressgateway",
    "source_workload_namespace": "istio-system",
    "source_app": "istio-ingressgateway",
    "source_canonical_service": "istio-ingressgateway",
    "source_principal": "unknown",
    "source_version": "unknown",
    "source_cluster": "Kubernetes",
    "source_canonical_revision": "latest",
    "destination_principal": "unknown",
    "destination_cluster": "Kubernetes",
    "connection_security_policy": "none",
    "request_protocol": "http",
}
#: The nearest kernel bin below each bound, so that a bucket is a sum over bins.
_EDGES = np.array([k.bin_bounds(i)[0] for i in range(k.BINS)])

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """How the gateway names a service's requests, and whose they are."""

    namespace: str
    name: str
    workload: str
    app: str = "unknown"
    version: str = "unknown"

    def labels(self) -> dict[str, str]:
        return {
            **_GATEWAY,
            "destination_workload": self.workload,
            "destination_workload_namespace": self.namespace,
            "destination_app": self.app,
            "destination_version": self.version,
            "destination_service": f"{self.name}.{self.namespace}.svc.cluster.local",
            "destination_service_name": self.name,
            "destination_service_namespace": self.namespace,
            "destination_canonical_service": self.app,
            "destination_canonical_revision": self.version,
        }


@dataclass(slots=True)
class _Target:
    """One target's series: refs by what was exposed, and which were there at the last scrape."""

    labels: Mapping[str, str]
    refs: dict[Key, int] = field(default_factory=dict)
    last: set[int] = field(default_factory=set)


class Scraper:
    """``scrape`` appends one scrape of everything at the clock's time."""

    def __init__(
        self,
        db: DB,
        cluster: VirtualCluster,
        services: Sequence[tuple[ServiceFacts, Served]],
        *,
        clients: Sequence[Flow] = (),
        graph: GraphTraffic | None = None,
        cadvisor_job: str = "wavetank/cadvisor",
        jobs: Sequence[ScrapeConfig] = (),
    ) -> None:
        """``services`` are the requests at the proxy, ``clients`` those of the load (the same, unless
        services call each other, which ``graph`` then has)."""
        self._db = db
        self._cluster = cluster
        self._services = services
        self._clients = clients or [flow for _, flow in services]
        self._graph = graph
        self._appender = db.appender()
        self._cadvisor_job = cadvisor_job
        self._state = StateSeries(cluster.plane.api)
        self._targets: dict[tuple[str, str], _Target] = {}
        self._jobs = UserJobs(jobs, cluster.plane.api, cluster.find)
        self._user_targets: dict[Labels, _Target] = {}
        self._uids: dict[str, str] = {}
        self._born: set[Key] = set()
        self._before_ms = int(cluster.clock.now() * 1000)

    def scrape(self) -> None:
        clock = self._cluster.clock
        now_ms = round(clock.now() * 1000)
        for _, traffic in self._services:
            traffic.advance()
        nodes = {f"{kubelet.node.ip}:10250": kubelet for kubelet in self._cluster.kubelets}
        self._forget(nodes, now_ms)
        for instance, kubelet in nodes.items():
            self._store(self._cadvisor_job, instance, cadvisor_families(kubelet.cadvisor), now_ms)
        self._store_state(now_ms)
        self._store("wavetank/gateway", "gateway", self._gateway(), now_ms, births=True)
        self._store("wavetank/load", "load", self._load(), now_ms)
        self._store_jobs(now_ms)
        self._appender.commit()
        self._before_ms = now_ms

    def _forget(self, nodes: Collection[str], now_ms: int) -> None:
        """Nodes that are gone leave staleness markers, as targets do that are discovered no more."""
        for job, instance in [key for key in self._targets if key[0] == self._cadvisor_job]:
            if instance not in nodes:
                gone = self._targets.pop((job, instance))
                for ref in sorted({*gone.last, gone.refs["up",]}):
                    self._appender.append(ref, None, now_ms, STALE_NAN)

    def _store_jobs(self, now_ms: int) -> None:
        """The user's own jobs."""
        seen: dict[Labels, _Target] = {}
        for scraped in self._jobs.scrape():
            key = Labels.of(scraped.labels)
            target = seen[key] = self._user_targets.get(key) or _Target(scraped.labels)
            refs: set[int] = set()
            for family in scraped.families:
                for sample in family.samples:
                    labels = scraped.relabeling({METRIC_NAME: sample.name, **sample.labels, **target.labels})
                    if labels:
                        ref = self._db.series_ref(Labels.of(labels))
                        refs.add(ref)
                        self._appender.append(ref, None, now_ms, float(sample.value))
            self._close(target, refs, now_ms, up=scraped.up)
        for key in [key for key in self._user_targets if key not in seen]:
            gone = self._user_targets[key]
            for ref in sorted({*gone.last, gone.refs["up",]}):
                self._appender.append(ref, None, now_ms, STALE_NAN)
        self._user_targets = seen

    def _store_state(self, now_ms: int) -> None:
        target = self._target("wavetank/kube-state", "control-plane")
        refs: list[int] = []
        values: list[float] = []
        for piece in self._state.pieces():
            if not piece.refs:
                piece.refs = [self._known_ref(target, sample) for sample in piece.samples]
            refs += piece.refs
            values += [sample.value for sample in piece.samples]
        times = np.full(len(refs), now_ms, np.int64)
        self._appender.append_batch(np.array(refs, np.int64), times, np.array(values, np.float64))
        self._close(target, set(refs), now_ms)

    def _store(
        self, job: str, instance: str, found: Iterable[MetricFamily], now_ms: int, *, births: bool = False
    ) -> None:
        target = self._target(job, instance)
        seen: set[int] = set()
        append = self._appender.append
        for family in found:
            for sample in family.samples:
                key = (sample.name, *sample.labels.values())
                ref = target.refs.get(key)
                if ref is None:
                    ref = target.refs[key] = self._ref(target, sample.name, sample.labels)
                    if births:
                        append(ref, None, self._before_ms, 0.0)
                seen.add(ref)
                at = now_ms if sample.timestamp_ms is None else sample.timestamp_ms
                append(ref, None, at, float(sample.value))
        self._close(target, seen, now_ms)

    def _close(self, target: _Target, seen: set[int], now_ms: int, *, up: bool = True) -> None:
        """The end of a target's scrape: markers for what is no longer there, and ``up``."""
        append = self._appender.append
        for ref in sorted(target.last - seen):
            append(ref, None, now_ms, STALE_NAN)
        target.last = seen
        if ("up",) not in target.refs:
            target.refs["up",] = self._ref(target, "up", {})
        append(target.refs["up",], None, now_ms, 1.0 if up else 0.0)

    def _target(self, job: str, instance: str) -> _Target:
        target = self._targets.get((job, instance))
        if target is None:
            target = self._targets[job, instance] = _Target({"job": job, "instance": instance})
        return target

    def _known_ref(self, target: _Target, sample: Sample) -> int:
        key = (sample.name, *sample.labels.values())
        ref = target.refs.get(key)
        if ref is None:
            ref = target.refs[key] = self._ref(target, sample.name, sample.labels)
        return ref

    def _ref(self, target: _Target, name: str, labels: object) -> int:
        pairs = {**dict(labels), **target.labels}  # type: ignore[call-overload]
        return self._db.series_ref(Labels.of({METRIC_NAME: name, **pairs}))

    # --- the modelled parts

    def _gateway(self) -> list[MetricFamily]:
        duration = "istio_request_duration_milliseconds"
        total: list[Sample] = []
        buckets: list[Sample] = []
        pods = {p["metadata"]["uid"]: p["metadata"]["name"] for p in self._pods()}
        self._uids.update(pods)
        for facts, traffic in self._services:
            labels = facts.labels()
            found: dict[tuple[str, str, str], int] = {}
            for code, flags, uid, count in traffic.answers():
                key = (code, flags, self._uids.get(uid, "unknown"))
                found[key] = found.get(key, 0) + count
            for (code, flags, pod), count in found.items():
                more = {"response_code": code, "response_flags": flags, "destination_pod": pod}
                total.append(Sample("istio_requests_total", {**labels, **more}, count))
            if found:
                answered = {**labels, "response_code": "200", "response_flags": "-"}
                buckets.extend(_buckets(traffic, duration, answered, _ENVOY_BUCKETS, 0.001))
        return [
            MetricFamily("istio_requests", "counter", samples=total),
            MetricFamily(duration, "histogram", samples=buckets),
            *(cluster_stats(self._graph) if self._graph is not None else ()),
        ]

    def _pods(self) -> Iterable[dict[str, dict[str, str]]]:
        return self._cluster.plane.api.bucket(PODS).objects()

    def _load(self) -> list[MetricFamily]:
        """The load generator's counters and gauges that say how it went, as ``wavetank.load.exporter``."""
        counters: list[Sample] = []
        rates: list[Sample] = []
        histograms: dict[str, list[Sample]] = {name: [] for name in _LOAD_HISTOGRAMS}
        for traffic in self._clients:
            who = {"method": "GET", "name": traffic.name}
            for status, count in traffic.codes():
                counters.append(Sample("locust_requests_total", {**who, "status": status}, count))
            end = int(traffic.seconds)
            recent = traffic.rows[max(0, end - _WINDOW_SECONDS) : max(1, end), k.COMPLETED]
            rates.append(
                Sample("locust_requests_current_rps", who, float(recent.sum()) / max(1, len(recent)))
            )
            for name, rows in histograms.items():
                rows.extend(_buckets(traffic, name, who, BUCKETS_SECONDS, 1.0))
        return [
            MetricFamily("locust_up", "gauge", samples=[Sample("locust_up", {}, 1.0)]),
            MetricFamily("locust_requests", "counter", samples=counters),
            MetricFamily("locust_requests_current_rps", "gauge", samples=rates),
            *(MetricFamily(name, "histogram", samples=rows) for name, rows in histograms.items()),
        ]


def _buckets(
    traffic: Flow, name: str, labels: dict[str, str], bounds: Sequence[float], unit: float
) -> Iterable[Sample]:
    """A classic histogram of latencies; ``bounds`` are in ``unit`` seconds."""
    cumulative = np.cumsum(traffic.cumulative)
    below = np.searchsorted(_EDGES, np.array(bounds) * unit, side="left")
    for bound, count in zip(bounds, cumulative[np.maximum(0, below - 1)].tolist(), strict=True):
        yield Sample(f"{name}_bucket", {**labels, "le": f"{bound:g}"}, count)
    whole = int(cumulative[-1])
    yield Sample(f"{name}_bucket", {**labels, "le": "+Inf"}, whole)
    yield Sample(f"{name}_sum", labels, traffic.latency_total / unit)
    yield Sample(f"{name}_count", labels, whole)


def log_histogram(bins: np.ndarray[tuple[int], np.dtype[np.int64]]) -> LogHistogram:
    """A kernel's histogram as the load generator's."""
    histogram = LogHistogram()
    for i in np.flatnonzero(bins).tolist():
        low, high = k.bin_bounds(i)
        histogram.record((low + high) / 2, int(bins[i]))
    return histogram


def load_snapshot(now: float, services: Sequence[Flow], window: int = 5) -> Snapshot:
    """The load generator's account of requests of all services, as it would give it."""
    entries: dict[tuple[str, str, str], Entry] = {}
    rates: dict[tuple[str, str], float] = {}
    response = LogHistogram()
    requests = failures = 0
    errors: dict[tuple[str, str, str], int] = {}
    rps = failed = flying = 0.0
    percentiles = [math.nan] * 3
    for traffic in services:
        histogram = log_histogram(traffic.cumulative)
        response.merge(histogram)
        end = int(now - traffic.origin)
        rows = traffic.rows[max(0, end - window) : max(0, end)]
        rate = float(rows[:, k.COMPLETED].sum()) / max(1, len(rows))
        rates["GET", traffic.name] = rate
        rps += rate
        failed += float(rows[:, k.FAILED].sum()) / max(1, len(rows))
        flying += float(rows[-1, k.IN_FLIGHT]) if len(rows) else 0.0
        for i, column in enumerate((k.P50, k.P95, k.P99)):
            values = rows[:, column]
            if len(values) and not np.isnan(values).all():
                percentiles[i] = float(np.nanmax([percentiles[i], np.nanmax(values)]))
        for status, count in traffic.codes():
            requests += count
            if status != "200":
                failures += count
            if count and status != "200":
                errors["GET", traffic.name, f"HTTP {status}"] = count
            if count:
                whole = histogram if status == "200" else LogHistogram()
                lost = 0 if status == "200" else count
                entries["GET", traffic.name, status] = Entry(count, lost, 0, whole, whole)
    return Snapshot(
        at=now, window_seconds=float(window), state="running", users=round(flying), busy=round(flying),
        backlog=0, workers=1, rps=rps, failure_ratio=failed / rps if rps else 0.0, p50=percentiles[0],
        p95=percentiles[1], p99=percentiles[2], requests=requests, failures=failures,
        scheduled=int(sum(t.rows[:, k.ARRIVED].sum() for t in services)),
        started=int(sum(t.rows[:, k.ARRIVED].sum() for t in services)), dropped=0,
        finished=requests, task_exceptions=0, interrupted=0, cpu_seconds=0.0, runq_seconds=0.0,
        response=response, service=response, lateness=LogHistogram(), entries=entries, current_rps=rates,
        errors=errors,
        warnings=(),
    )  # fmt: skip
