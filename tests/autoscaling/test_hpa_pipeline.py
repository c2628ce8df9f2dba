"""From a process that burns CPU to more replicas of it: every part real, the clock ten times as fast."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from wavetank.autoscaling.hpa.controller import HpaController
from wavetank.autoscaling.metrics_api import ApiMetricsClient
from wavetank.clock import RealClock
from wavetank.journal import MemoryJournal
from wavetank.kube.control_plane import ControlPlane
from wavetank.kube.kubelet.kubelet import Kubelet
from wavetank.kube.kubelet.options import KubeletOptions, NodeConfig
from wavetank.kube.kubelet.process_runtime import ProcessRuntime
from wavetank.kube.kubelet.server import LocalKubelets
from wavetank.kube.metrics_server.scrapers import LocalScraper
from wavetank.kube.metrics_server.server import MetricsServer
from wavetank.kube.resources import DEPLOYMENTS, HORIZONTALPODAUTOSCALERS, PODS
from wavetank.process import tank_processes

SPEED = 10.0


class FastClock(RealClock):
    """A second of this clock takes a tenth: CPU shares read through it are a tenth, too."""

    def __init__(self) -> None:
        super().__init__(seed=3)
        self._start = super().now()

    def now(self) -> float:
        return self._start + (super().now() - self._start) * SPEED

    def monotonic(self) -> float:
        return super().monotonic() * SPEED

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds / SPEED)


@pytest.mark.slow
async def test_a_busy_deployment_is_scaled_up(tmp_path: Path) -> None:
    clock = FastClock()
    journal = MemoryJournal(clock)
    plane = ControlPlane(clock, journal)
    tank = f"pipeline-{id(clock):x}"
    node = NodeConfig("node-1", pod_cidr="127.89.0.0/24", ip="127.89.0.1")
    options = KubeletOptions(tmp_path / "run")
    kubelet = Kubelet(plane.client("kubelet"), node, ProcessRuntime(tank, clock), clock, journal, options)
    kubelets = LocalKubelets()
    kubelets.add(kubelet)
    plane.attach_kubelet(kubelets)
    metrics = MetricsServer(plane.client("metrics-server"), LocalScraper(kubelets), clock, journal)
    plane.add_extension(metrics)
    client = plane.client("test")
    hpa = HpaController(client, ApiMetricsClient(client), clock, journal)
    await plane.start()
    try:
        await kubelet.start()
        await metrics.start()
        await hpa.start()
        await client.create(DEPLOYMENTS, deployment(), "default")
        await client.create(HORIZONTALPODAUTOSCALERS, autoscaler(), "default")
        async with asyncio.timeout(25):
            while not [r for r in journal.of("hpa.sync") if r["rescaled"]]:
                await RealClock.sleep(clock, 0.05)
            while len((await client.list(PODS, "default", field_selector="status.phase=Running")).items) < 2:
                await RealClock.sleep(clock, 0.05)
    finally:
        await hpa.stop()
        await metrics.stop()
        await kubelet.stop()
        await plane.stop()
    assert list(tank_processes(tank)) == []
    sync = next(r for r in journal.of("hpa.sync") if r["rescaled"])
    (sampled,) = sync["timestamps"].values()
    scrapes = [r for r in journal.of("metrics_server.scrape") if r["pods"]]
    assert any(abs(pod[1] - sampled) < 0.002 for r in scrapes for pod in r["pods"].values())
    kinds = [r["kind"] for r in journal.records]
    for earlier, later in (
        ("kubelet.sample", "metrics_server.scrape"),
        ("metrics_server.scrape", "hpa.sync"),
    ):
        assert kinds.index(earlier) < len(kinds) - 1 - kinds[::-1].index(later)
    assert [r for r in journal.of("scale") if r["to"] > r["from"]]


def deployment() -> dict[str, object]:
    labels = {"app": "burn"}
    burn = "import time\nwhile True:\n  for _ in range(100000): pass\n  time.sleep(0.001)"
    main = {
        "name": "main",
        "image": "burn:1",
        "command": [sys.executable, "-c", burn],
        "resources": {"requests": {"cpu": "50m"}, "limits": {"cpu": "500m"}},
    }
    return {
        "metadata": {"name": "burn"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [main]}},
        },
    }


def autoscaler() -> dict[str, object]:
    target = {"type": "AverageValue", "averageValue": "5m"}
    return {
        "metadata": {"name": "burn"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "burn"},
            "maxReplicas": 2,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        },
    }
