"""The controller around the decision: reading the API, writing scale, status and events, in virtual time."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from wavetank.autoscaling.hpa.controller import HpaController, scale_resource
from wavetank.autoscaling.hpa.options import HpaOptions
from wavetank.autoscaling.metrics import MetricsError, PodSample
from wavetank.autoscaling.metrics_api import ApiMetricsClient, go_seconds
from wavetank.clock import VirtualClock
from wavetank.journal import MemoryJournal
from wavetank.kube.api import Api
from wavetank.kube.client import ApiError, Object
from wavetank.kube.kinds.catalog import register_built_in
from wavetank.kube.local_client import LocalClient
from wavetank.kube.registry import Registry
from wavetank.kube.resources import DEPLOYMENTS, EVENTS, HORIZONTALPODAUTOSCALERS, NAMESPACES, PODS
from wavetank.kube.storage import Storage

START = 1_750_000_000.0


class Cluster:
    """A Deployment ``web`` of ready pods, an HPA on it, and a metrics API that says what the test sets."""

    def __init__(self, seed: int = 1) -> None:
        self.clock = VirtualClock(START, seed=seed)
        self.journal = MemoryJournal(self.clock)
        registry = Registry()
        register_built_in(registry)
        self.api = Api(Storage(), registry, self.clock, self.journal)
        self.client = LocalClient(self.api, "hpa", self.raw)
        self.cpu_milli = 500
        self.answer: bytes | None = None
        self.paths: list[str] = []

    async def raw(self, path: str) -> bytes:
        self.paths.append(path)
        if self.answer is not None:
            return self.answer
        pods = (await self.client.list(PODS, "default", label_selector="app=web")).items
        now = self.clock.now()
        items = [pod_metrics(p["metadata"]["name"], now, f"{self.cpu_milli}m") for p in pods]
        return msgspec.json.encode({"items": items})

    async def set_up(self, replicas: int = 2, **spec: Any) -> HpaController:
        await self.client.create(NAMESPACES, {"metadata": {"name": "default"}})
        labels = {"app": "web"}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        deployment = {
            "metadata": {"name": "web"},
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
        }
        await self.client.create(DEPLOYMENTS, deployment, "default")
        for number in range(replicas):
            await self.pod(f"web-{number}")
        await self.hpa("web", **spec)
        controller = HpaController(self.client, ApiMetricsClient(self.client), self.clock, self.journal)
        await controller.start()
        return controller

    async def pod(self, name: str, app: str = "web") -> None:
        requests = {"requests": {"cpu": "1"}}
        body = {
            "metadata": {"name": name, "labels": {"app": app}},
            "spec": {"containers": [{"name": "c", "image": "i", "resources": requests}]},
        }
        await self.client.create(PODS, body, "default")
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2025-01-01T00:00:00Z"}
        status = {"phase": "Running", "startTime": "2025-01-01T00:00:00Z", "conditions": [ready]}
        await self.client.patch(PODS, name, {"status": status}, "default", subresource="status")

    async def hpa(self, name: str, **spec: Any) -> None:
        target = {"type": "Utilization", "averageUtilization": 50}
        metric = {"type": "Resource", "resource": {"name": "cpu", "target": target}}
        body = {
            "metadata": {"name": name},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "minReplicas": 1,
                "maxReplicas": 10,
                "metrics": [metric],
                **spec,
            },
        }
        await self.client.create(HORIZONTALPODAUTOSCALERS, body, "default")

    async def replicas(self) -> int:
        return int((await self.client.get(DEPLOYMENTS, "web", "default"))["spec"]["replicas"])

    async def status(self, name: str = "web") -> Object:
        return (await self.client.get(HORIZONTALPODAUTOSCALERS, name, "default")).get("status") or {}

    async def events(self) -> list[tuple[str, str]]:
        found = await self.client.list(EVENTS, "default")
        return [(e["reason"], e["message"]) for e in found.items]


def pod_metrics(name: str, at: float, cpu: str) -> Object:
    from wavetank.kube.times import format_time

    containers = [{"name": "c", "usage": {"cpu": cpu, "memory": "1Mi"}}]
    exact = {"wavetank.dev/timestamp": f"{at:.3f}"}
    metadata = {"name": name, "annotations": exact}
    return {"metadata": metadata, "timestamp": format_time(at), "window": "15.1s", "containers": containers}


async def test_it_scales_up_writes_the_status_and_says_why() -> None:
    cluster = Cluster()
    controller = await cluster.set_up()
    cluster.cpu_milli = 1000
    await cluster.clock.advance(15)
    assert await cluster.replicas() == 4
    status = await cluster.status()
    assert (status["currentReplicas"], status["desiredReplicas"]) == (2, 4)
    assert [(c["type"], c["reason"]) for c in status["conditions"]] == [
        ("AbleToScale", "SucceededRescale"),
        ("ScalingActive", "ValidMetricFound"),
        ("ScalingLimited", "DesiredWithinRange"),
    ]
    current = status["currentMetrics"][0]["resource"]["current"]
    assert current == {"averageUtilization": 100, "averageValue": "1"}
    assert status["lastScaleTime"]
    text = "New size: 4; reason: cpu resource utilization (percentage of request) above target"
    assert ("SuccessfulRescale", text) in await cluster.events()
    (sync,) = cluster.journal.of("hpa.sync")
    assert (sync["current"], sync["proposed"], sync["desired"], sync["rescaled"]) == (2, 4, 4, True)
    assert sync["metrics"][0]["ratio"] == 2.0
    assert set(sync["timestamps"]) == {"default/web-0", "default/web-1"}
    rendered = controller.monitor.registry.text().decode()
    assert (
        'horizontal_pod_autoscaler_controller_reconciliations_total{action="scale_up",error="none"} 1'
        in rendered
    )
    await controller.stop()


async def test_syncs_are_a_period_apart_from_a_drawn_phase() -> None:
    phases = set()
    for seed in range(3):
        cluster = Cluster(seed)
        controller = await cluster.set_up()
        await cluster.clock.advance(60)
        times = [r["at"] for r in cluster.journal.of("hpa.sync")]
        assert len(times) == 4
        assert all(later - earlier == pytest.approx(15) for earlier, later in pairwise(times))
        phases.add(times[0] - START)
        await controller.stop()
    assert len(phases) == 3
    assert all(0 <= phase < 15 for phase in phases)


async def test_an_unchanged_status_is_not_written_again() -> None:
    cluster = Cluster()
    controller = await cluster.set_up()
    await cluster.clock.advance(31)
    first = await cluster.client.get(HORIZONTALPODAUTOSCALERS, "web", "default")
    await cluster.clock.advance(45)
    again = await cluster.client.get(HORIZONTALPODAUTOSCALERS, "web", "default")
    assert first["metadata"]["resourceVersion"] == again["metadata"]["resourceVersion"]
    await controller.stop()


async def test_two_hpas_on_the_same_pods_are_ambiguous() -> None:
    cluster = Cluster()
    controller = await cluster.set_up()
    await cluster.hpa("other")
    cluster.cpu_milli = 2000
    await cluster.clock.advance(40)
    reasons = {c["type"]: c["reason"] for c in (await cluster.status("other"))["conditions"]}
    assert reasons["ScalingActive"] == "AmbiguousSelector"
    text = "pods by selector app=web are controlled by multiple HPAs: [default/other default/web]"
    assert ("AmbiguousSelector", text) in await cluster.events()
    await controller.stop()


async def test_another_hpa_on_other_pods_is_not() -> None:
    cluster = Cluster()
    controller = await cluster.set_up()
    await cluster.pod("db-0", app="db")
    await cluster.clock.advance(20)
    assert {c["type"]: c["status"] for c in (await cluster.status())["conditions"]}["ScalingActive"] == "True"
    await controller.stop()


async def test_pods_that_two_selectors_pick_are_ambiguous_too() -> None:
    cluster = Cluster()
    controller = await cluster.set_up()
    labels = {"tier": "front"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    other = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    await cluster.client.create(DEPLOYMENTS, {"metadata": {"name": "front"}, "spec": other}, "default")
    patch = {"metadata": {"labels": labels}}
    await cluster.client.patch(PODS, "web-0", patch, "default")
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "front"}
    await cluster.hpa("front", scaleTargetRef=target)
    await cluster.clock.advance(40)
    for name in ("web", "front"):
        reasons = {c["type"]: c["reason"] for c in (await cluster.status(name))["conditions"]}
        assert reasons["ScalingActive"] == "AmbiguousSelector"
    await controller.stop()


async def test_a_selector_that_cannot_be_read() -> None:
    class Cheddar(LocalClient):
        async def get_subresource(self, *arguments: Any, **named: Any) -> Object:
            scale = await super().get_subresource(*arguments, **named)
            return {**scale, "status": {**scale["status"], "selector": "cheddar cheese"}}

    cluster = Cluster()
    cluster.client = Cheddar(cluster.api, "hpa", cluster.raw)
    controller = await cluster.set_up()
    await cluster.clock.advance(16)
    conditions = (await cluster.status())["conditions"]
    assert [(c["type"], c["status"], c["reason"]) for c in conditions] == [
        ("AbleToScale", "True", "SucceededGetScale"),
        ("ScalingActive", "False", "InvalidSelector"),
    ]
    assert "InvalidSelector" in [reason for reason, _ in await cluster.events()]
    assert await cluster.replicas() == 2
    await controller.stop()


async def test_a_target_that_does_not_exist() -> None:
    cluster = Cluster()
    ref = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "gone"}
    controller = await cluster.set_up(scaleTargetRef=ref)
    await cluster.clock.advance(15)
    (condition,) = (await cluster.status())["conditions"]
    assert (condition["reason"], condition["status"]) == ("FailedGetScale", "False")
    assert "not found" in condition["message"]
    await controller.stop()


async def test_a_kind_that_cannot_be_scaled() -> None:
    with pytest.raises(LookupError, match='no matches for kind "Rollout"'):
        scale_resource({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "x"})


@pytest.mark.parametrize(
    "answer", [b"", b"null", b"[]", b'{"items": 3}', b'{"items": [3]}', b'{"items": []}', b"\xff\xfe"]
)
async def test_a_metrics_api_that_answers_nonsense_changes_nothing(answer: bytes) -> None:
    cluster = Cluster()
    controller = await cluster.set_up()
    cluster.answer = answer
    await cluster.clock.advance(16)
    assert await cluster.replicas() == 2
    reasons = {c["type"]: c["reason"] for c in (await cluster.status())["conditions"]}
    assert reasons["ScalingActive"] == "FailedGetResourceMetric"
    await controller.stop()


class Raw:
    """A client of which only ``get_raw`` is used."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def get_raw(self, path: str) -> bytes:
        self.asked.append(path)
        if path not in self.answers:
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        return msgspec.json.encode({"items": self.answers[path]})


async def test_custom_and_external_metrics_are_read_where_upstream_reads_them() -> None:
    value = {"describedObject": {"name": "web-0"}, "value": "1500m", "timestamp": "2025-01-01T00:00:10Z"}
    custom, external = "/apis/custom.metrics.k8s.io/v1beta2", "/apis/external.metrics.k8s.io/v1beta1"
    raw = Raw(
        {
            f"{custom}/namespaces/ns/pods/%2A/qps?labelSelector=app%3Dweb": [value],
            f"{custom}/namespaces/ns/pods/*/qps?labelSelector=app%3Dweb": [value],
            f"{custom}/namespaces/ns/ingresses.networking.k8s.io/main/hits": [value],
            f"{external}/namespaces/ns/queue?labelSelector=q%3Da": [value, {**value, "value": "2"}],
        }
    )
    client = ApiMetricsClient(raw)  # type: ignore[arg-type]
    assert await client.pods("qps", "ns", "app=web") == {"web-0": PodSample(1500, 1_735_689_610.0, 60.0)}
    ingress = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "main"}
    assert await client.object("hits", "ns", ingress) == (1500, 1_735_689_610.0)
    assert (await client.external("queue", "ns", "q=a"))[0] == (1500, 2000)
    with pytest.raises(MetricsError, match="unable to fetch metrics from external metrics API"):
        await client.external("none", "ns")


@pytest.mark.parametrize(
    ("text", "seconds"), [("15.2s", 15.2), ("1m0.5s", 60.5), ("250ms", 0.25), ("1h0m0s", 3600), ("", 0)]
)
def test_windows_are_read_as_go_prints_them(text: str, seconds: float) -> None:
    assert go_seconds(text) == pytest.approx(seconds)


async def test_it_scales_down_only_after_the_stabilisation_window() -> None:
    cluster = Cluster()
    controller = await cluster.set_up(replicas=4)
    cluster.cpu_milli = 100
    await cluster.clock.advance(290)
    assert await cluster.replicas() == 4
    reasons = {c["type"]: c["reason"] for c in (await cluster.status())["conditions"]}
    assert reasons["AbleToScale"] == "ScaleDownStabilized"
    await cluster.clock.advance(45)
    assert await cluster.replicas() == 1
    assert controller.options == HpaOptions()
    await controller.stop()
