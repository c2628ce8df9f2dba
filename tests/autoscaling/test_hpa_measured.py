"""Scale to zero and back against times measured on a real cluster (data/measured_hpa_latency.json).

That cluster ran k3s 1.36 with an External metric, syncs every 15 s, minReplicas 0 and a scale-down window of 60 s.
Its runs went to zero 75 s after the scale-up each time: the metric was still up one sync later, and the window
ran from there.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hpa_tables import load

from wavetank.autoscaling.hpa.controller import HpaController
from wavetank.autoscaling.hpa.options import HpaOptions
from wavetank.autoscaling.metrics_api import ApiMetricsClient
from wavetank.clock import VirtualClock
from wavetank.journal import MemoryJournal
from wavetank.kube.control_plane import ControlPlane
from wavetank.kube.local_client import LocalClient
from wavetank.kube.resources import DEPLOYMENTS, HORIZONTALPODAUTOSCALERS, PODS
from wavetank.kube.times import format_time

MEASURED = load("measured_hpa_latency")["hpa"]
START = 1_750_000_000.0


class Queue:
    """A queue's length as Prometheus shows it: what it was at the last scrape, one each 15 s."""

    def __init__(self, clock: VirtualClock, phase: float) -> None:
        self._clock = clock
        self._phase = phase
        self.busy: list[tuple[float, float]] = []

    def scraped_at(self) -> float:
        since = self._clock.now() - START - self._phase
        return START + self._phase + since // 15 * 15

    async def raw(self, path: str) -> bytes:
        at = self.scraped_at()
        length = 25 if any(begin <= at < end for begin, end in self.busy) else 0
        return msgspec.json.encode({"items": [{"value": str(length), "timestamp": format_time(at)}]})


CONTAINERS = {"containers": [{"name": "c", "image": "i"}]}


def target() -> dict[str, Any]:
    labels = {"app": "worker"}
    template = {"metadata": {"labels": labels}, "spec": CONTAINERS}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    return {"metadata": {"name": "worker"}, "spec": spec}


def hpa() -> dict[str, Any]:
    metric = {"metric": {"name": "queue"}, "target": {"type": "Value", "value": "10"}}
    down = {
        "stabilizationWindowSeconds": 60,
        "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
    }
    return {
        "metadata": {"name": "worker"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "worker"},
            "minReplicas": 0,
            "maxReplicas": 3,
            "metrics": [{"type": "External", "external": metric}],
            "behavior": {"scaleDown": down, "scaleUp": {"stabilizationWindowSeconds": 0}},
        },
    }


async def run(seed: int, phase: float, begin: float, seconds: float) -> tuple[float, float]:
    """(from the queue's first item to the rescale from zero, from there to the rescale to zero)."""
    clock = VirtualClock(START, seed=seed)
    plane = ControlPlane(clock, MemoryJournal(clock))
    plane.boot()
    queue = Queue(clock, phase)
    client = LocalClient(plane.api, "test", queue.raw)
    await client.create(DEPLOYMENTS, target(), "default")
    await client.create(HORIZONTALPODAUTOSCALERS, hpa(), "default")
    for number in range(3):  # the workers' pods: ready by the sync after the scale-up, as measured
        pod = {"metadata": {"name": f"w{number}", "labels": {"app": "worker"}}, "spec": CONTAINERS}
        await client.create(PODS, pod, "default")
        status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        await client.patch(PODS, f"w{number}", {"status": status}, "default", subresource="status")
    options = HpaOptions().emulate(36)
    controller = HpaController(client, ApiMetricsClient(client), clock, MemoryJournal(clock), options)
    await controller.start()
    await clock.advance(120)  # idle: the HPA itself puts the target to zero
    assert (await client.get(DEPLOYMENTS, "worker", "default"))["spec"]["replicas"] == 0
    queue.busy.append((START + 120 + begin, START + 120 + begin + seconds))
    journal = controller._journal
    assert isinstance(journal, MemoryJournal)
    journal.records.clear()
    await clock.advance(200)
    await controller.stop()
    changes = [(r["at"], r["desired"]) for r in journal.of("hpa.sync") if r["rescaled"]]
    assert [desired for _, desired in changes] == [3, 0]
    return changes[0][0] - (START + 120 + begin), changes[1][0] - changes[0][0]


@pytest.mark.parametrize("seed", range(3))
async def test_to_zero_takes_the_window_after_the_last_busy_sync(seed: int) -> None:
    _, down = await run(seed, phase=3.0, begin=1.0, seconds=28.0)
    assert {down} == set(MEASURED["rescaleToZeroAfterScaleUp"])


async def test_from_zero_takes_a_scrape_and_a_sync() -> None:
    """Two waits of up to 15 s each; the measured runs' spread lies within."""
    waits = [(await run(seed, seed * 3.7 % 15, seed * 5.3 % 15, 40.0))[0] for seed in range(12)]
    assert all(0 <= wait <= 30 for wait in waits)
    assert max(waits) - min(waits) > 6
    assert all(wait <= 30 for wait in MEASURED["rescaleFromZero"])
