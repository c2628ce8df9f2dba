"""Housekeeping: what each container has used, sampled at its own pace, and the series made from it.

Mirrors cAdvisor as the kubelet runs it: a pod is sampled when a container of it starts and then every
``housekeeping_interval`` seconds plus a jitter drawn anew each time. Readers get the last sample with the
time it was taken: what upstream's metrics server and HPA see is never fresher than that, which is a part of
the lag that a rehearsal is to show.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from wavetank.clock import Clock
from wavetank.exposition.render import MetricFamily, Sample
from wavetank.journal import Journal
from wavetank.kube.kubelet.enforcer import CFS_PERIOD_US, Limits, Usage
from wavetank.kube.kubelet.options import KubeletOptions, NodeConfig
from wavetank.kube.quantity import milli, whole
from wavetank.kube.times import format_time

if TYPE_CHECKING:
    from wavetank.kube.kubelet.pod_worker import PodWorker

__all__ = [
    "Cadvisor",
    "ContainerSample",
    "PodSample",
    "cadvisor_families",
    "resource_families",
    "stats_summary",
]

_COALESCE_SECONDS = 0.05  # pods due this close together are sampled, and journalled, together


@dataclass(frozen=True, slots=True)
class ContainerSample:
    name: str
    container_id: str
    image: str
    started_at: float
    limits: Limits
    usage: Usage


@dataclass(frozen=True, slots=True)
class PodSample:
    """One look at a pod. ``ended_cpu_ns`` is what its former containers had used: pod counters never fall."""

    namespace: str
    name: str
    uid: str
    at: float
    containers: tuple[ContainerSample, ...]
    ended_cpu_ns: int = 0
    cores: float | None = None
    """Mean CPU since the sample before; None for the first one."""

    @property
    def timestamp_ms(self) -> int:
        return int(self.at * 1000)

    @property
    def cpu_seconds(self) -> float:
        return (self.ended_cpu_ns + sum(c.usage.cpu_ns for c in self.containers)) / 1e9

    @property
    def working_set(self) -> int:
        return sum(c.usage.memory_working_set for c in self.containers)


@dataclass(slots=True)
class _Pod:
    worker: PodWorker
    due: float
    ended_cpu_ns: int = 0
    sample: PodSample | None = None


@dataclass(slots=True)
class _Node:
    """The node's counters; CPU of pods that have gone stays in."""

    cpu_seconds: float = 0.0
    at: float = 0.0
    gone_cpu_ns: int = 0


@dataclass(slots=True)
class Cadvisor:
    clock: Clock
    journal: Journal
    node: NodeConfig
    options: KubeletOptions
    _pods: dict[str, _Pod] = field(default_factory=dict)
    _due: list[tuple[float, str]] = field(default_factory=list)
    _node: _Node = field(default_factory=_Node)
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    def samples(self) -> list[PodSample]:
        """The last sample of each pod that has one."""
        return [pod.sample for pod in self._pods.values() if pod.sample is not None and pod.sample.containers]

    @property
    def node_usage(self) -> tuple[float, float, int]:
        """(time, CPU seconds, working set): all pods that are or were on this node."""
        return self._node.at, self._node.cpu_seconds, sum(s.working_set for s in self.samples())

    def container_started(self, worker: PodWorker) -> None:
        pod = self._pods.get(worker.uid)
        if pod is None:
            pod = self._pods[worker.uid] = _Pod(worker, 0.0)
        self._sample([pod])
        self._woken.set()

    def container_ended(self, worker: PodWorker, name: str, usage: Usage) -> None:
        pod = self._pods.get(worker.uid)
        if pod is None:
            return
        pod.ended_cpu_ns += usage.cpu_ns
        if pod.sample is not None:
            left = tuple(c for c in pod.sample.containers if c.name != name)
            pod.sample = replace(pod.sample, containers=left, ended_cpu_ns=pod.ended_cpu_ns)

    def forget(self, worker: PodWorker) -> None:
        pod = self._pods.pop(worker.uid, None)
        if pod is not None:
            self._node.gone_cpu_ns += pod.ended_cpu_ns

    async def run(self) -> None:
        """Sample whatever is due, for ever."""
        while True:
            now = self.clock.now()
            batch: list[_Pod] = []
            while self._due and self._due[0][0] <= now + _COALESCE_SECONDS:
                due, uid = heapq.heappop(self._due)
                pod = self._pods.get(uid)
                if pod is not None and pod.due == due:
                    batch.append(pod)
            if batch:
                self._sample(batch)
            self._woken.clear()
            if not self._due:
                await self._woken.wait()
                continue
            timer = asyncio.ensure_future(self.clock.sleep(self._due[0][0] - self.clock.now()))
            woken = asyncio.ensure_future(self._woken.wait())
            try:
                await asyncio.wait({timer, woken}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                timer.cancel()
                woken.cancel()

    def _sample(self, pods: Iterable[_Pod]) -> None:
        used: dict[str, float] = {}
        random = self.clock.random("housekeeping")
        for pod in pods:
            now = self.clock.now()
            pod.sample = _with_cores(_look(pod, now), pod.sample)
            used[pod.worker.key] = pod.sample.cpu_seconds
            interval = self.options.housekeeping_interval
            pod.due = now + interval * (1.0 + random.random() * self.options.housekeeping_jitter)
            heapq.heappush(self._due, (pod.due, pod.worker.uid))
        self._node.at = self.clock.now()
        live = sum(pod.ended_cpu_ns for pod in self._pods.values())
        running = sum(c.usage.cpu_ns for s in self.samples() for c in s.containers)
        self._node.cpu_seconds = max(self._node.cpu_seconds, (self._node.gone_cpu_ns + live + running) / 1e9)
        self.journal.record("kubelet.sample", node=self.node.name, pods=used)


def _with_cores(sample: PodSample, before: PodSample | None) -> PodSample:
    if before is None or sample.at <= before.at:
        return sample
    used = max(0.0, sample.cpu_seconds - before.cpu_seconds)
    return replace(sample, cores=used / (sample.at - before.at))


def _look(pod: _Pod, now: float) -> PodSample:
    worker = pod.worker
    containers: list[ContainerSample] = []
    for name, running in worker.running.items():
        record = worker.records[name]
        spec = worker.container_spec(name)
        containers.append(
            ContainerSample(
                name,
                record.container_id,
                str(spec.get("image") or ""),
                record.started_at,
                worker.limits(name),
                running.usage(),
            )
        )
    return PodSample(worker.namespace, worker.name, worker.uid, now, tuple(containers), pod.ended_cpu_ns)


def resource_families(cadvisor: Cadvisor) -> list[MetricFamily]:
    """/metrics/resource: what the metrics server reads. Every sample has its own time."""
    samples = cadvisor.samples()
    families = [
        _family(
            "container_cpu_usage_seconds_total",
            "counter",
            "[STABLE] Cumulative cpu time consumed by the container in core-seconds",
            (_of(s, c, c.usage.cpu_ns / 1e9) for s in samples for c in s.containers),
        ),
        _family(
            "container_memory_working_set_bytes",
            "gauge",
            "[STABLE] Current working set of the container in bytes",
            (_of(s, c, c.usage.memory_working_set) for s in samples for c in s.containers),
        ),
        _family(
            "container_start_time_seconds",
            "gauge",
            "[STABLE] Start time of the container since unix epoch in seconds",
            (_of(s, c, c.started_at) for s in samples for c in s.containers),
        ),
        _family(
            "container_swap_usage_bytes",
            "gauge",
            "Current amount of the container swap usage in bytes",
            (_of(s, c, 0.0) for s in samples for c in s.containers),
        ),
        _family(
            "pod_cpu_usage_seconds_total",
            "counter",
            "[STABLE] Cumulative cpu time consumed by the pod in core-seconds",
            (_of(s, None, s.cpu_seconds) for s in samples),
        ),
        _family(
            "pod_memory_working_set_bytes",
            "gauge",
            "[STABLE] Current working set of the pod in bytes",
            (_of(s, None, s.working_set) for s in samples),
        ),
        _family(
            "pod_swap_usage_bytes",
            "gauge",
            "Current amount of the pod swap usage in bytes",
            (_of(s, None, 0.0) for s in samples),
        ),
    ]
    at, cpu, memory = cadvisor.node_usage
    if at:
        for name, kind, text, value in (
            ("node_cpu_usage_seconds_total", "counter", "consumed by the node in core-seconds", cpu),
            ("node_memory_working_set_bytes", "gauge", "of the node in bytes", float(memory)),
        ):
            shown = f"[STABLE] {'Cumulative cpu time' if kind == 'counter' else 'Current working set'} {text}"
            families.append(_family(name, kind, shown, ((name, {}, value, int(at * 1000)),)))
    error: tuple[Row, ...] = (("", {}, 0.0, None),)
    text = "[STABLE] 1 if there was an error while getting container metrics, 0 otherwise"
    return [*families, _family("resource_scrape_error", "gauge", text, error)]


Row = tuple[str, Mapping[str, str], float, int | None]


def _of(sample: PodSample, container: ContainerSample | None, value: float) -> Row:
    labels = {"container": container.name} if container is not None else {}
    labels |= {"namespace": sample.namespace, "pod": sample.name}
    return "", labels, float(value), sample.timestamp_ms


def _family(name: str, kind: str, text: str, rows: Iterable[Row]) -> MetricFamily:
    return MetricFamily(
        name,
        kind,
        text,
        samples=[Sample(name, labels, value, stamp) for _, labels, value, stamp in rows],
    )


def cadvisor_families(cadvisor: Cadvisor) -> list[MetricFamily]:
    """/metrics/cadvisor. A pod's own group has ``container=""``, as upstream's; there is no pause
    container."""
    rows: dict[str, list[Row]] = {}
    for sample in cadvisor.samples():
        for container in sample.containers:
            for name, more, value in _container_rows(container, sample.at):
                rows.setdefault(name, []).append(
                    (name, _labels(sample, container, more), value, sample.timestamp_ms)
                )
        for name, more, value in _pod_rows(sample):
            rows.setdefault(name, []).append((name, _labels(sample, None, more), value, sample.timestamp_ms))
    at, cpu, memory = cadvisor.node_usage
    if at:
        root = {"container": "", "id": "/", "image": "", "name": "", "namespace": "", "pod": ""}
        stamp = int(at * 1000)
        for name, more, value in (
            ("container_cpu_usage_seconds_total", {"cpu": "total"}, cpu),
            ("container_memory_usage_bytes", {}, float(memory)),
            ("container_memory_working_set_bytes", {}, float(memory)),
        ):
            rows.setdefault(name, []).append((name, {**root, **more}, value, stamp))
    capacity = cadvisor.node.capacity
    rows["machine_cpu_cores"] = [("", {}, milli(capacity.get("cpu", 0)) / 1000, None)]
    rows["machine_memory_bytes"] = [("", {}, float(whole(capacity.get("memory", 0))), None)]
    return [_family(name, *_DESCRIPTIONS[name], rows[name]) for name in _DESCRIPTIONS if name in rows]


def _labels(sample: PodSample, container: ContainerSample | None, more: Mapping[str, str]) -> dict[str, str]:
    group = f"/kubepods/pod{sample.uid}"
    return {
        "container": container.name if container else "",
        **more,
        "id": f"{group}/{container.container_id}" if container else group,
        "image": container.image if container else "",
        "name": container.container_id if container else "",
        "namespace": sample.namespace,
        "pod": sample.name,
    }


def _container_rows(
    container: ContainerSample, seen_at: float
) -> Iterator[tuple[str, dict[str, str], float]]:
    usage, limits = container.usage, container.limits
    total = {"cpu": "total"}
    yield "container_cpu_usage_seconds_total", total, usage.cpu_ns / 1e9
    yield "container_cpu_user_seconds_total", {}, usage.cpu_user_ns / 1e9
    yield "container_cpu_system_seconds_total", {}, usage.cpu_system_ns / 1e9
    if limits.quota_us:
        yield "container_cpu_cfs_periods_total", {}, float(usage.periods)
        yield "container_cpu_cfs_throttled_periods_total", {}, float(usage.throttled_periods)
        yield "container_cpu_cfs_throttled_seconds_total", {}, usage.throttled_ns / 1e9
        yield "container_spec_cpu_quota", {}, float(limits.quota_us)
    yield "container_spec_cpu_period", {}, float(CFS_PERIOD_US)
    yield "container_spec_cpu_shares", {}, float(limits.shares)
    yield "container_spec_memory_limit_bytes", {}, float(limits.memory_bytes)
    yield "container_memory_usage_bytes", {}, float(usage.memory_usage)
    yield "container_memory_working_set_bytes", {}, float(usage.memory_working_set)
    yield "container_memory_rss", {}, float(usage.memory_rss)
    yield "container_memory_cache", {}, float(usage.memory_cache)
    yield "container_memory_swap", {}, 0.0
    yield "container_processes", {}, float(usage.processes)
    yield "container_oom_events_total", {}, float(usage.oom_kills)
    yield "container_start_time_seconds", {}, container.started_at
    yield "container_last_seen", {}, seen_at


def _pod_rows(sample: PodSample) -> Iterator[tuple[str, dict[str, str], float]]:
    yield "container_cpu_usage_seconds_total", {"cpu": "total"}, sample.cpu_seconds
    for name, values in (
        ("container_memory_usage_bytes", [c.usage.memory_usage for c in sample.containers]),
        ("container_memory_working_set_bytes", [c.usage.memory_working_set for c in sample.containers]),
        ("container_memory_rss", [c.usage.memory_rss for c in sample.containers]),
        ("container_memory_cache", [c.usage.memory_cache for c in sample.containers]),
    ):
        yield name, {}, float(sum(values))
    if sample.containers:
        yield "container_start_time_seconds", {}, min(c.started_at for c in sample.containers)


_DESCRIPTIONS: Mapping[str, tuple[str, str]] = {
    "container_cpu_usage_seconds_total": ("counter", "Cumulative cpu time consumed in seconds."),
    "container_cpu_user_seconds_total": ("counter", "Cumulative user cpu time consumed in seconds."),
    "container_cpu_system_seconds_total": ("counter", "Cumulative system cpu time consumed in seconds."),
    "container_cpu_cfs_periods_total": ("counter", "Number of elapsed enforcement period intervals."),
    "container_cpu_cfs_throttled_periods_total": ("counter", "Number of throttled period intervals."),
    "container_cpu_cfs_throttled_seconds_total": (
        "counter",
        "Total time duration the container has been throttled.",
    ),
    "container_spec_cpu_quota": ("gauge", "CPU quota of the container."),
    "container_spec_cpu_period": ("gauge", "CPU period of the container."),
    "container_spec_cpu_shares": ("gauge", "CPU share of the container."),
    "container_spec_memory_limit_bytes": ("gauge", "Memory limit for the container."),
    "container_memory_usage_bytes": ("gauge", "Current memory usage in bytes."),
    "container_memory_working_set_bytes": ("gauge", "Current working set in bytes."),
    "container_memory_rss": ("gauge", "Size of RSS in bytes."),
    "container_memory_cache": ("gauge", "Number of bytes of page cache memory."),
    "container_memory_swap": ("gauge", "Container swap usage in bytes."),
    "container_processes": ("gauge", "Number of processes running inside the container."),
    "container_oom_events_total": ("counter", "Count of out of memory events observed for the container."),
    "container_start_time_seconds": ("gauge", "Start time of the container since unix epoch in seconds."),
    "container_last_seen": ("gauge", "Last time a container was seen by the exporter"),
    "machine_cpu_cores": ("gauge", "Number of logical CPU cores."),
    "machine_memory_bytes": ("gauge", "Amount of memory installed on the machine."),
}


def stats_summary(cadvisor: Cadvisor, started_at: float) -> dict[str, Any]:
    """/stats/summary, in upstream's shape; network, file-system and run-time figures are not measured."""
    at, cpu, memory = cadvisor.node_usage
    stamp = format_time(at or cadvisor.clock.now())
    capacity = whole(cadvisor.node.capacity.get("memory", 0))
    return {
        "node": {
            "nodeName": cadvisor.node.name,
            "startTime": format_time(started_at),
            "cpu": {"time": stamp, "usageCoreNanoSeconds": int(cpu * 1e9)},
            "memory": {
                "time": stamp,
                "availableBytes": max(0, capacity - memory),
                "usageBytes": memory,
                "workingSetBytes": memory,
            },
        },
        "pods": [_pod_summary(sample) for sample in cadvisor.samples()],
    }


def _pod_summary(sample: PodSample) -> dict[str, Any]:
    stamp = format_time(sample.at)
    return {
        "podRef": {"name": sample.name, "namespace": sample.namespace, "uid": sample.uid},
        "startTime": format_time(min(c.started_at for c in sample.containers)),
        "containers": [
            {
                "name": c.name,
                "startTime": format_time(c.started_at),
                "cpu": {"time": stamp, "usageCoreNanoSeconds": c.usage.cpu_ns},
                "memory": {
                    "time": stamp,
                    "usageBytes": c.usage.memory_usage,
                    "workingSetBytes": c.usage.memory_working_set,
                    "rssBytes": c.usage.memory_rss,
                },
            }
            for c in sample.containers
        ],
        "cpu": {
            "time": stamp,
            "usageCoreNanoSeconds": int(sample.cpu_seconds * 1e9),
            **({} if sample.cores is None else {"usageNanoCores": int(sample.cores * 1e9)}),
        },
        "memory": {
            "time": stamp,
            "usageBytes": sum(c.usage.memory_usage for c in sample.containers),
            "workingSetBytes": sample.working_set,
            "rssBytes": sum(c.usage.memory_rss for c in sample.containers),
        },
    }
