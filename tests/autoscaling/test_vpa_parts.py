"""Parts of the VPA beside its tables: history from Prometheus, stuck resizes, checkpoints, which VPA is in charge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from wavetank.autoscaling.vpa.admission import VpaAdmission
from wavetank.autoscaling.vpa.controller import VPA_CHECKPOINTS, VPAS, VpaController, VpaOptions
from wavetank.autoscaling.vpa.history import HistoryOptions
from wavetank.autoscaling.vpa.update import UpdateOptions, resize_given_up, resize_pending
from wavetank.clock import VirtualClock
from wavetank.errors import InternalError
from wavetank.journal import MemoryJournal
from wavetank.kube.control_plane import ControlPlane
from wavetank.kube.local_client import LocalClient
from wavetank.kube.resources import DAEMONSETS, DEPLOYMENTS, PODS
from wavetank.kube.times import format_time

NOW = 1_750_000_000.0


@dataclass
class Row:
    labels: Mapping[str, str]
    times: Sequence[float]
    values: Sequence[float]


class Prometheus:
    """Eight days in which the container used 0.8 cores and 500 MB, and another workload far more."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.broken = False

    async def instant(self, expr: str, at: float) -> list[Row]:
        return []

    async def get(self, path: str) -> Any:
        return []

    async def range(self, expr: str, start: float, end: float, step: float) -> list[Row]:
        self.asked.append(expr)
        if self.broken:
            raise InternalError("no answer")
        times = [start + i * step for i in range(int((end - start) / step))]
        value = 0.8 if "cpu" in expr else 500e6
        rows = [("web-abc-x", value), ("other-1", 50 * value)]
        return [Row({"pod": pod, "container": "main"}, times, [v] * len(times)) for pod, v in rows]


class Cluster:
    def __init__(self) -> None:
        self.clock = VirtualClock(NOW)
        self.journal = MemoryJournal(self.clock)
        self.plane = ControlPlane(self.clock, self.journal)
        self.plane.boot()
        self.client = LocalClient(self.plane.api, "vpa", self.raw)
        self.cpu: Any = "10m"

    async def raw(self, path: str) -> bytes:
        usage = {"cpu": self.cpu, "memory": "10Mi"}
        pods = (await self.client.list(PODS, "default")).items
        items = [
            {
                "metadata": {"name": p["metadata"]["name"]},
                "timestamp": format_time(self.clock.now()),
                "containers": [{"name": "main", "usage": usage}],
            }
            for p in pods
        ]
        return msgspec.json.encode({"items": items})

    async def workload(self) -> None:
        labels = {"app": "web"}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "i"}]}}
        spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
        await self.client.create(DEPLOYMENTS, {"metadata": {"name": "web"}, "spec": spec}, "default")
        self.plane.run_step()

    async def vpa(
        self, name: str = "web", kind: str = "Deployment", target: str = "web", mode: str = "Off"
    ) -> None:
        reference = {"apiVersion": "apps/v1", "kind": kind, "name": target}
        spec = {"targetRef": reference, "updatePolicy": {"updateMode": mode}}
        body = {
            "apiVersion": "autoscaling.k8s.io/v1",
            "kind": "VerticalPodAutoscaler",
            "metadata": {"name": name},
            "spec": spec,
        }
        await self.client.create(VPAS, body, "default")

    async def status(self, name: str = "web") -> Any:
        return (await self.client.get(VPAS, name, "default")).get("status") or {}


async def test_history_comes_from_prometheus_where_there_is_one() -> None:
    cluster, prometheus = Cluster(), Prometheus()
    await cluster.workload()
    await cluster.vpa()
    options = VpaOptions(history=HistoryOptions(length=8 * 86_400.0, resolution=3600.0))
    controller = VpaController(cluster.client, cluster.clock, cluster.journal, options, prometheus=prometheus)
    prometheus.broken = True
    await controller.start()
    await cluster.clock.advance(1)
    assert [r["error"] for r in cluster.journal.of("vpa.failed")] == ["history: no answer"]
    prometheus.broken = False
    await cluster.clock.advance(60)
    (found,) = (await cluster.status())["recommendation"]["containerRecommendations"]
    cpu = int(found["target"]["cpu"].removesuffix("m"))
    assert 800 * 1.15 <= cpu <= 800 * 1.05 * 1.05 * 1.15, "its own pods' history, not the other's"
    asked = len(prometheus.asked)
    await cluster.clock.advance(300)
    assert len(prometheus.asked) == asked, "history is read once"
    await controller.stop()


async def test_a_target_that_is_not_there_is_said_in_the_status() -> None:
    cluster = Cluster()
    await cluster.vpa(target="nothing")
    controller = VpaController(cluster.client, cluster.clock, cluster.journal)
    await controller.start()
    await cluster.clock.advance(1)
    conditions = {c["type"]: c for c in (await cluster.status())["conditions"]}
    assert conditions["NoPodsMatched"]["status"] == "True"
    assert conditions["RecommendationProvided"]["status"] == "False"
    assert "Cannot read targetRef" in conditions["ConfigUnsupported"]["message"]
    await controller.stop()


@pytest.mark.parametrize("cpu", ["NaN", None, "-5", [], "lots"])
async def test_usage_that_is_none_does_not_stop_the_recommender(cpu: Any) -> None:
    cluster = Cluster()
    await cluster.workload()
    await cluster.vpa()
    cluster.cpu = cpu
    controller = VpaController(cluster.client, cluster.clock, cluster.journal)
    await controller.start()
    await cluster.clock.advance(61)
    assert "recommendation" not in await cluster.status()
    cluster.cpu = "400m"
    await cluster.clock.advance(61)
    assert "recommendation" in await cluster.status()
    await controller.stop()


async def test_checkpoints_of_vpas_that_are_gone_are_removed() -> None:
    cluster = Cluster()
    await cluster.workload()
    await cluster.vpa()
    controller = VpaController(cluster.client, cluster.clock, cluster.journal)
    await controller.start()
    await cluster.clock.advance(61)
    assert len((await cluster.client.list(VPA_CHECKPOINTS)).items) == 1
    await cluster.client.delete(VPAS, "web", "default")
    await cluster.clock.advance(700)
    assert (await cluster.client.list(VPA_CHECKPOINTS)).items == []
    await controller.stop()


async def test_the_oldest_of_several_vpas_is_in_charge_and_daemon_sets_have_one_too() -> None:
    cluster = Cluster()
    labels = {"app": "d"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "i"}]}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    await cluster.client.create(DAEMONSETS, {"metadata": {"name": "d"}, "spec": spec}, "default")
    for name, cpu in (("second", "2"), ("first", "1")):
        await cluster.clock.advance(1)
        await cluster.vpa(name, "DaemonSet", "d", "Initial")
        recommendation = {"containerRecommendations": [{"containerName": "main", "target": {"cpu": cpu}}]}
        await cluster.client.patch(
            VPAS, name, {"status": {"recommendation": recommendation}}, "default", subresource="status"
        )
    pod = {"metadata": {"name": "p", "namespace": "default", "labels": labels}, "spec": template["spec"]}
    VpaAdmission()(cluster.plane.api, PODS, pod, None)
    assert pod["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "2"}  # type: ignore[index]


@pytest.mark.parametrize(
    ("kind", "reason", "age", "pending", "given_up"),
    [
        ("PodResizePending", "Deferred", 100, True, False),
        ("PodResizePending", "Deferred", 301, True, True),
        ("PodResizePending", "Infeasible", 0, True, True),
        ("PodResizeInProgress", "", 3599, True, False),
        ("PodResizeInProgress", "", 3601, True, True),
        ("Ready", "", 9999, False, False),
    ],
)
def test_a_resize_is_given_up(kind: str, reason: str, age: int, pending: bool, given_up: bool) -> None:
    condition = {
        "type": kind,
        "status": "True",
        "reason": reason,
        "lastTransitionTime": format_time(NOW - age),
    }
    pod = {"metadata": {"name": "p"}, "status": {"conditions": [condition]}}
    assert resize_pending(pod) is pending
    assert resize_given_up(NOW, pod, UpdateOptions()) is given_up
