"""What a sync of many HPAs costs: 1,000 of them over 5,000 pods, metrics served by our metrics server.

Run: python bench/hpa_scale.py [--hpas 1000] [--pods-each 5]. Prints CPU seconds per sync period.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping
from urllib.parse import parse_qsl

import msgspec

from wavetank.autoscaling.hpa.controller import HpaController
from wavetank.autoscaling.metrics_api import ApiMetricsClient
from wavetank.clock import VirtualClock, cpu_seconds
from wavetank.journal import MemoryJournal
from wavetank.kube.client import Object
from wavetank.kube.control_plane import ControlPlane
from wavetank.kube.local_client import LocalClient
from wavetank.kube.metrics_server.server import MetricsServer
from wavetank.kube.resources import DEPLOYMENTS, HORIZONTALPODAUTOSCALERS, NODES, PODS

READY = {"type": "Ready", "status": "True", "lastTransitionTime": "2025-01-01T00:00:00Z"}
RUNNING = {"phase": "Running", "startTime": "2025-01-01T00:00:00Z", "conditions": [READY]}


class Scraper:
    """Answers for one node with all pods, each using a quarter of a core."""

    def __init__(self, clock: VirtualClock, pods: list[str]) -> None:
        self._clock = clock
        self._pods = pods

    async def scrape(self, node: Object) -> bytes:
        now = self._clock.now()
        stamp = int(now * 1000)
        lines = []
        for pod in self._pods:
            labels = f'{{container="main",namespace="default",pod="{pod}"}}'
            lines.append(f"container_cpu_usage_seconds_total{labels} {now / 4} {stamp}")
            lines.append(f"container_memory_working_set_bytes{labels} 1000000 {stamp}")
        return "\n".join(lines).encode()


def objects(number: int, pods: int) -> tuple[Object, Object, list[Object]]:
    app = f"app-{number}"
    labels = {"app": app}
    containers = [{"name": "main", "image": "i", "resources": {"requests": {"cpu": "500m"}}}]
    template = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
    spec = {"replicas": pods, "selector": {"matchLabels": labels}, "template": template}
    target = {"type": "Utilization", "averageUtilization": 50}
    hpa = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": app},
        "maxReplicas": 2 * pods,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
    }
    made = [
        {"metadata": {"name": f"{app}-{i}", "labels": labels}, "spec": {"containers": containers}}
        for i in range(pods)
    ]
    return {"metadata": {"name": app}, "spec": spec}, {"metadata": {"name": app}, "spec": hpa}, made


async def measure(hpas: int, pods_each: int) -> None:
    clock = VirtualClock(1_750_000_000.0)
    plane = ControlPlane(clock, MemoryJournal(clock))
    plane.boot()
    names: list[str] = []
    server: MetricsServer | None = None

    async def raw(path: str) -> bytes:
        path, _, query = path.partition("?")
        assert server is not None
        below = path.removeprefix("/apis/metrics.k8s.io/v1beta1/")
        given: Mapping[str, str] = dict(parse_qsl(query))
        return msgspec.json.encode(await server.handle(below, given))

    client = LocalClient(plane.api, "bench", raw)
    await client.create(NODES, {"metadata": {"name": "node-1"}})
    for number in range(hpas):
        deployment, hpa, pods = objects(number, pods_each)
        await client.create(DEPLOYMENTS, deployment, "default")
        await client.create(HORIZONTALPODAUTOSCALERS, hpa, "default")
        for pod in pods:
            await client.create(PODS, pod, "default")
            name = pod["metadata"]["name"]
            names.append(name)
            await client.patch(PODS, name, {"status": RUNNING}, "default", subresource="status")
    server = MetricsServer(client, Scraper(clock, names), clock, plane.api.journal)
    controller = HpaController(client, ApiMetricsClient(client), clock, plane.api.journal)
    await server.start()
    await controller.start()
    await clock.advance(31)
    await server.stop()
    for turn in ("first", "second", "third"):
        begun = cpu_seconds()
        for number in range(hpas):
            await controller.sync(f"default/app-{number}")
        print(f"{turn} sync of {hpas} HPAs over {len(names)} pods: {cpu_seconds() - begun:.3f} s of CPU")
    await controller.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hpas", type=int, default=1000)
    parser.add_argument("--pods-each", type=int, default=5)
    given = parser.parse_args()
    asyncio.run(measure(given.hpas, given.pods_each))


if __name__ == "__main__":
    main()
