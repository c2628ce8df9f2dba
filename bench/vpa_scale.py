"""What a minute of many VPAs costs: recommender and updater passes over workloads in virtual time.

Run: python bench/vpa_scale.py [--vpas 500] [--pods-each 5]. Prints CPU seconds a pass.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

import msgspec

from wavetank.autoscaling.vpa.controller import VPAS, VpaController
from wavetank.clock import VirtualClock, cpu_seconds
from wavetank.journal import MemoryJournal
from wavetank.kube.control_plane import ControlPlane, ControlPlaneOptions
from wavetank.kube.local_client import LocalClient
from wavetank.kube.resources import DEPLOYMENTS, PODS
from wavetank.kube.times import format_time

CONTAINERS = [{"name": "main", "image": "i", "resources": {"requests": {"cpu": "100m", "memory": "100Mi"}}}]


class Usage:
    """metrics.k8s.io for all pods, each using 0.3 cores and 300 MiB."""

    def __init__(self, clock: VirtualClock, names: list[str]) -> None:
        self._clock = clock
        self._names = names

    async def raw(self, path: str) -> bytes:
        stamp = format_time(self._clock.now())
        containers = [{"name": "main", "usage": {"cpu": "300m", "memory": "300Mi"}}]
        items = [
            {"metadata": {"name": name}, "timestamp": stamp, "containers": containers} for name in self._names
        ]
        return msgspec.json.encode({"items": items})


async def populate(client: LocalClient, number: int, pods: int, names: list[str]) -> None:
    app = f"app-{number}"
    labels = {"app": app}
    template = {"metadata": {"labels": labels}, "spec": {"containers": CONTAINERS}}
    spec: dict[str, Any] = {"replicas": pods, "selector": {"matchLabels": labels}, "template": template}
    await client.create(DEPLOYMENTS, {"metadata": {"name": app}, "spec": spec}, "default")
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": app}
    vpa = {
        "apiVersion": "autoscaling.k8s.io/v1",
        "kind": "VerticalPodAutoscaler",
        "metadata": {"name": app},
        "spec": {"targetRef": reference, "updatePolicy": {"updateMode": "Initial"}},
    }
    await client.create(VPAS, vpa, "default")
    for index in range(pods):
        name = f"{app}-{index}"
        made = {"metadata": {"name": name, "labels": labels}, "spec": {"containers": CONTAINERS}}
        await client.create(PODS, made, "default")
        names.append(name)


async def measure(vpas: int, pods_each: int) -> None:
    clock = VirtualClock(1_750_000_000.0)
    plane = ControlPlane(clock, MemoryJournal(clock), ControlPlaneOptions(manage_fields=False))
    plane.boot()
    names: list[str] = []
    client = LocalClient(plane.api, "bench", Usage(clock, names).raw)
    for number in range(vpas):
        await populate(client, number, pods_each, names)
    controller = VpaController(client, clock, plane.api.journal)
    await controller.start()
    await clock.advance(1)
    for turn in ("first", "second", "third"):
        await clock.advance(0.001)
        begun = cpu_seconds()
        await controller.recommend_once()
        middle = cpu_seconds()
        await controller.update_once()
        print(
            f"{turn} pass of {vpas} VPAs over {len(names)} pods: "
            f"recommender {middle - begun:.3f} s of CPU, updater {cpu_seconds() - middle:.3f} s"
        )
    await controller.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vpas", type=int, default=500)
    parser.add_argument("--pods-each", type=int, default=5)
    given = parser.parse_args()
    asyncio.run(measure(given.vpas, given.pods_each))


if __name__ == "__main__":
    main()
