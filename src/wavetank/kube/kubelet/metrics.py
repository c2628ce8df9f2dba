"""The kubelet's own series, under upstream's names: /metrics and /metrics/probes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wavetank.exposition.registry import Registry
from wavetank.kube.kubelet.lifecycle import ContainerRecord

if TYPE_CHECKING:
    from wavetank.kube.kubelet.pod_worker import PodWorker

__all__ = ["KubeletMetrics"]

_START_BUCKETS = (0.5, 1, 2, 3, 4, 5, 6, 8, 10, 20, 30, 45, 60, 120, 180, 240, 300, 360, 480, 600)


class KubeletMetrics:
    def __init__(self, node: str) -> None:
        self.own = Registry()
        self.probes = Registry()
        self._probe_total = self.probes.counter(
            "prober_probe_total",
            "Cumulative number of a liveness, readiness or startup probe for a container by result.",
            ("probe_type", "result", "container", "pod", "namespace", "pod_uid"),
        )
        self._start = self.own.histogram(
            "kubelet_pod_start_duration_seconds",
            "Duration in seconds from kubelet seeing a pod for the first time to the pod starting to run",
            buckets=_START_BUCKETS,
        )
        self._started = self.own.counter(
            "kubelet_started_containers_total",
            "Cumulative number of containers started",
            ("container_type",),
        )
        self._restarts = self.own.counter(
            "kubelet_restarted_pods_containers_total", "Cumulative number of containers started again"
        )
        self._running_pods = self.own.gauge(
            "kubelet_running_pods", "Number of pods that have a running pod sandbox"
        )
        self._running_containers = self.own.gauge(
            "kubelet_running_containers", "Number of containers currently running", ("container_state",)
        )
        name = self.own.gauge("kubelet_node_name", "The node's name. The count is always 1.", ("node",))
        name.set(1, node)

    def started(self, seen_at: float, now: float, record: ContainerRecord) -> None:
        """A container has been started. The first of a pod ends the pod's start."""
        self._started.inc(1, "init_container" if record.init else "container")
        if record.restarts:
            self._restarts.inc()
        elif not record.init:
            self._start.observe(max(0.0, now - seen_at))

    def probed(self, worker: PodWorker, container: str, probe: str, success: bool) -> None:
        self._probe_total.inc(
            1,
            probe.capitalize(),
            "successful" if success else "failed",
            container,
            worker.name,
            worker.namespace,
            worker.uid,
        )

    def counted(self, pods: int, containers: int) -> None:
        self._running_pods.set(pods)
        self._running_containers.set(containers, "running")
