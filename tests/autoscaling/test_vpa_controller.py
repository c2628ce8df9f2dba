"""The VPA's loops on the API: recommending, checkpoints, evicting, resizing, admission."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from wavetank.autoscaling.vpa.admit import admit, new_resources
from wavetank.autoscaling.vpa.controller import VPA_CHECKPOINTS, VPAS, VpaAdmission, VpaController
from wavetank.autoscaling.vpa.update import UpdateOptions, evictable
from wavetank.clock import VirtualClock
from wavetank.journal import MemoryJournal
from wavetank.kube.client import Object
from wavetank.kube.control_plane import ControlPlane
from wavetank.kube.local_client import LocalClient
from wavetank.kube.resources import DEPLOYMENTS, PODS
from wavetank.kube.times import format_time


class Cluster:
    """A Deployment of two pods with 100m requested, of which each uses what the test says."""

    def __init__(self) -> None:
        self.clock = VirtualClock(1_750_000_000.0)
        self.plane = ControlPlane(self.clock, MemoryJournal(self.clock))
        self.plane.boot()
        self.client = LocalClient(self.plane.api, "vpa", self.raw)
        self.cpu, self.memory = "400m", "300Mi"

    async def raw(self, path: str) -> bytes:
        pods = (await self.client.list(PODS, "default")).items
        usage = {"cpu": self.cpu, "memory": self.memory}
        items = [
            {
                "metadata": {"name": p["metadata"]["name"]},
                "timestamp": format_time(self.clock.now()),
                "containers": [{"name": "main", "usage": usage}],
            }
            for p in pods
        ]
        return msgspec.json.encode({"items": items})

    async def set_up(self, **policy: Any) -> VpaController:
        labels = {"app": "web"}
        resources = {"requests": {"cpu": "100m", "memory": "100Mi"}, "limits": {"cpu": "200m"}}
        containers = [{"name": "main", "image": "i", "resources": resources}]
        template = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
        spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
        await self.client.create(DEPLOYMENTS, {"metadata": {"name": "web"}, "spec": spec}, "default")
        self.plane.run_step()
        for pod in (await self.client.list(PODS, "default")).items:
            await self.running(pod)
        reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
        vpa = {
            "apiVersion": "autoscaling.k8s.io/v1",
            "kind": "VerticalPodAutoscaler",
            "metadata": {"name": "web"},
            "spec": {"targetRef": reference, **policy},
        }
        await self.client.create(VPAS, vpa, "default")
        controller = VpaController(self.client, self.clock, MemoryJournal(self.clock))
        await controller.start()
        await self.clock.advance(1)
        return controller

    async def running(self, pod: Object) -> None:
        status = {"phase": "Running", "startTime": format_time(self.clock.now())}
        await self.client.patch(
            PODS, pod["metadata"]["name"], {"status": status}, "default", subresource="status"
        )

    async def vpa(self) -> Object:
        return await self.client.get(VPAS, "web", "default")


async def test_it_recommends_the_peak_with_margin_and_keeps_a_checkpoint() -> None:
    cluster = Cluster()
    controller = await cluster.set_up(updatePolicy={"updateMode": "Off"})
    await cluster.clock.advance(600)
    status = (await cluster.vpa())["status"]
    (found,) = status["recommendation"]["containerRecommendations"]
    assert found["containerName"] == "main"
    cpu = int(found["target"]["cpu"].removesuffix("m"))
    assert 400 * 1.15 <= cpu <= 400 * 1.05 * 1.15 + 12
    assert 300 * 2**20 * 1.15 <= int(found["target"]["memory"]) <= 300 * 2**20 * 1.05 * 1.05 * 1.15
    conditions = {c["type"]: c["status"] for c in status["conditions"]}
    assert conditions == {"RecommendationProvided": "True", "LowConfidence": "True"}
    await controller.stop()
    saved = await cluster.client.get(VPA_CHECKPOINTS, "web-main", "default")
    assert saved["spec"] == {"vpaObjectName": "web", "containerName": "main"}
    assert saved["status"]["version"] == "v3"
    assert saved["status"]["totalSamplesCount"] > 10
    again = VpaController(cluster.client, cluster.clock, MemoryJournal(cluster.clock))
    cluster.cpu = "1m"
    await again.start()
    await cluster.clock.advance(1)
    (later,) = (await cluster.vpa())["status"]["recommendation"]["containerRecommendations"]
    assert later["target"]["cpu"] == found["target"]["cpu"], "history survives a restart"
    await again.stop()


async def test_policies_bound_the_target() -> None:
    cluster = Cluster()
    policy = {
        "containerPolicies": [
            {"containerName": "*", "maxAllowed": {"cpu": "300m"}, "controlledResources": ["cpu"]}
        ]
    }
    controller = await cluster.set_up(updatePolicy={"updateMode": "Off"}, resourcePolicy=policy)
    (found,) = (await cluster.vpa())["status"]["recommendation"]["containerRecommendations"]
    assert found["target"] == {"cpu": "300m"}
    assert int(found["uncappedTarget"]["cpu"].removesuffix("m")) > 400
    await controller.stop()


async def test_recreate_evicts_half_at_a_time() -> None:
    cluster = Cluster()
    controller = await cluster.set_up()
    before = {p["metadata"]["uid"] for p in (await cluster.client.list(PODS, "default")).items}
    await cluster.clock.advance(43_330)
    left = {
        p["metadata"]["uid"]
        for p in (await cluster.client.list(PODS, "default")).items
        if not p["metadata"].get("deletionTimestamp")
    }
    assert len(before - left) == 1
    await controller.stop()


async def test_in_place_resizes_without_evicting() -> None:
    cluster = Cluster()
    controller = await cluster.set_up(updatePolicy={"updateMode": "InPlaceOrRecreate"})
    await cluster.clock.advance(43_330)
    pods = (await cluster.client.list(PODS, "default")).items
    assert len(pods) == 2 and not any(p["metadata"].get("deletionTimestamp") for p in pods)
    resized = [p["spec"]["containers"][0]["resources"] for p in pods]
    assert any(r["requests"]["cpu"] != "100m" for r in resized)
    await controller.stop()


async def test_admission_sets_what_is_recommended() -> None:
    cluster = Cluster()
    controller = await cluster.set_up(updatePolicy={"updateMode": "Initial"})
    await cluster.clock.advance(60)
    pod = (await cluster.client.list(PODS, "default")).items[0]
    fresh = {"metadata": {"name": "n", "namespace": "default", "labels": {"app": "web"}}, "spec": pod["spec"]}
    VpaAdmission()(cluster.plane.api, PODS, fresh, None)
    resources = fresh["spec"]["containers"][0]["resources"]
    request, limit = (int(resources[k]["cpu"].removesuffix("m")) for k in ("requests", "limits"))
    assert request > 400 and limit == 2 * request
    assert fresh["metadata"]["annotations"]["vpaObservedContainers"] == "main"
    other = {"metadata": {"name": "n", "namespace": "default", "labels": {"app": "db"}}, "spec": pod["spec"]}
    VpaAdmission()(cluster.plane.api, PODS, other, None)
    assert "annotations" not in other["metadata"]
    await controller.stop()


@pytest.mark.parametrize(
    ("resources", "policy", "expect"),
    [
        ({}, {}, {"requests": {"cpu": "50m"}}),
        ({"requests": {"cpu": "100m"}, "limits": {"cpu": "1"}}, {}, {"requests": {"cpu": "50m"}, "limits": {"cpu": "500m"}}),
        (
            {"requests": {"cpu": "100m"}, "limits": {"cpu": "1"}},
            {"controlledValues": "RequestsOnly"},
            {"requests": {"cpu": "50m"}, "limits": {"cpu": "1"}},
        ),
        ({"limits": {"cpu": "1"}}, {}, {"requests": {"cpu": "50m"}, "limits": {"cpu": "50m"}}),
    ],
)  # fmt: skip
def test_limits_keep_their_proportion(resources: dict, policy: dict, expect: dict) -> None:  # type: ignore[type-arg]
    assert new_resources(resources, {"cpu": "50m"}, policy) == expect


def test_a_pod_without_recommendation_is_left_alone() -> None:
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}}
    assert admit(pod, {"metadata": {"name": "v"}, "spec": {}}) is pod


@pytest.mark.parametrize(
    ("running", "configured", "minimum", "allowed"),
    [
        (1, 1, None, 0),
        (1, 1, 1, 1),
        (2, 2, None, 1),
        (3, 3, None, 1),
        (4, 4, None, 2),
        (2, 4, None, 0),
        (3, 4, None, 1),
    ],
)
def test_how_many_may_be_missed(running: int, configured: int, minimum: int | None, allowed: int) -> None:
    pods = [{"metadata": {"name": f"p{i}"}, "status": {"phase": "Running"}} for i in range(running)]
    assert evictable(pods, configured, UpdateOptions(), minimum) == allowed
