"""Metrics and clocks that misbehave: an HPA holds still, says why, and recovers."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavetank.autoscaling.hpa.controller import HpaController
from wavetank.autoscaling.metrics import MetricsError
from wavetank.autoscaling.metrics_api import ApiMetricsClient
from wavetank.clock import VirtualClock
from wavetank.journal import MemoryJournal
from wavetank.kube.control_plane import ControlPlane
from wavetank.kube.local_client import LocalClient
from wavetank.kube.resources import DEPLOYMENTS, HORIZONTALPODAUTOSCALERS, PODS
from wavetank.kube.times import format_time

START = 1_750_000_000.0


class SetClock(VirtualClock):
    """A wall clock that somebody sets."""

    offset = 0.0

    def now(self) -> float:
        return super().now() + self.offset


class Cluster:
    """A Deployment of pods and an HPA at 50 % of their core; ``items`` is what the metrics API says."""

    def __init__(self) -> None:
        self.clock = SetClock(START)
        self.plane = ControlPlane(self.clock, MemoryJournal(self.clock))
        self.plane.boot()
        self.client = LocalClient(self.plane.api, "hpa", self.raw)
        self.items: Any = None
        self.cpu = "500m"
        self.controller = HpaController(
            self.client, ApiMetricsClient(self.client), self.clock, self.plane.api.journal
        )

    async def raw(self, path: str) -> bytes:
        items = self.items
        if items is None:
            pods = (await self.client.list(PODS, "default", label_selector="app=web")).items
            items = [self.sample(p["metadata"]["name"], self.cpu) for p in pods]
        return msgspec.json.encode({"items": items})

    def sample(self, pod: str, cpu: str) -> dict[str, Any]:
        usage = [{"name": "c", "usage": {"cpu": cpu}}]
        return {
            "metadata": {"name": pod},
            "timestamp": format_time(self.clock.now()),
            "window": "15s",
            "containers": usage,
        }

    async def set_up(self, **spec: Any) -> None:
        labels = {"app": "web"}
        container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
        body = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
        await self.client.create(DEPLOYMENTS, {"metadata": {"name": "web"}, "spec": body}, "default")
        self.plane.run_step()
        await self.ready()
        target = {"type": "Utilization", "averageUtilization": 50}
        hpa = {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "maxReplicas": 10,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
            **spec,
        }
        await self.client.create(
            HORIZONTALPODAUTOSCALERS, {"metadata": {"name": "web"}, "spec": hpa}, "default"
        )
        await self.controller.start()

    async def ready(self) -> None:
        """All pods run, and have for an hour."""
        since = format_time(self.clock.now() - 3600)
        conditions = [{"type": "Ready", "status": "True", "lastTransitionTime": since}]
        status = {"phase": "Running", "startTime": since, "conditions": conditions}
        for pod in (await self.client.list(PODS, "default")).items:
            await self.client.patch(
                PODS, pod["metadata"]["name"], {"status": status}, "default", subresource="status"
            )

    async def sync(self) -> tuple[int, str]:
        """(replicas, reason of ScalingActive) after a sync."""
        await self.clock.advance(0.001)  # the controller's watches see what was changed
        await self.controller.sync("default/web")
        self.plane.run_step()
        await self.ready()
        status = (await self.client.get(HORIZONTALPODAUTOSCALERS, "web", "default"))["status"]
        reasons = {c["type"]: c["reason"] for c in status["conditions"]}
        deployment = await self.client.get(DEPLOYMENTS, "web", "default")
        return deployment["spec"]["replicas"], reasons.get("ScalingActive", "")


async def test_metrics_that_vanish_hold_the_size_until_they_are_back() -> None:
    cluster = Cluster()
    await cluster.set_up()
    cluster.cpu = "900m"
    assert await cluster.sync() == (4, "ValidMetricFound")
    cluster.items = []
    assert await cluster.sync() == (4, "FailedGetResourceMetric")
    cluster.items = None
    assert await cluster.sync() == (8, "ValidMetricFound")
    await cluster.controller.stop()


@pytest.mark.parametrize("cpu", ["NaN", "", "lots", "1e400000", None, [], {"a": 1}, "-", "٣"])
async def test_values_that_are_no_quantities_count_as_missing(cpu: Any) -> None:
    cluster = Cluster()
    await cluster.set_up()
    cluster.items = [cluster.sample("a", cpu), cluster.sample("b", cpu)]
    assert await cluster.sync() == (2, "FailedGetResourceMetric")
    await cluster.controller.stop()


async def test_a_usage_below_nothing_scales_down_no_further_than_the_minimum() -> None:
    cluster = Cluster()
    await cluster.set_up(minReplicas=2)
    cluster.cpu = "-5"
    assert await cluster.sync() == (2, "ValidMetricFound")
    await cluster.controller.stop()


async def test_the_last_of_two_samples_of_a_pod_counts() -> None:
    cluster = Cluster()
    await cluster.set_up()
    names = [p["metadata"]["name"] for p in (await cluster.client.list(PODS, "default")).items]
    cluster.items = [cluster.sample(name, cpu) for cpu in ("9", "500m") for name in names]
    assert await cluster.sync() == (2, "ValidMetricFound")
    await cluster.controller.stop()


async def test_samples_of_foreign_pods_do_not_count_towards_utilization() -> None:
    cluster = Cluster()
    await cluster.set_up()
    names = [p["metadata"]["name"] for p in (await cluster.client.list(PODS, "default")).items]
    cluster.items = [*(cluster.sample(n, "500m") for n in names), cluster.sample("stranger", "64")]
    assert await cluster.sync() == (2, "ValidMetricFound")
    await cluster.controller.stop()


async def test_foreign_pods_that_the_selector_picks_count_as_they_do_upstream() -> None:
    """A job's finished pod without requests, under the same labels: no utilization can be computed."""
    cluster = Cluster()
    await cluster.set_up()
    spec = {"containers": [{"name": "job", "image": "i"}]}
    await cluster.client.create(
        PODS, {"metadata": {"name": "job", "labels": {"app": "web"}}, "spec": spec}, "default"
    )
    replicas, reason = await cluster.sync()
    assert (replicas, reason) == (2, "FailedGetResourceMetric")
    await cluster.controller.stop()


@pytest.mark.parametrize("step", [-7200.0, 7200.0])
async def test_a_clock_that_is_set_neither_ends_nor_prolongs_the_stabilisation(step: float) -> None:
    cluster = Cluster()
    await cluster.set_up()
    cluster.cpu = "900m"
    assert (await cluster.sync())[0] == 4
    cluster.cpu = "200m"
    await cluster.clock.advance(100)
    cluster.clock.offset = step
    assert (await cluster.sync())[0] == 4, "held: the recommendation is 100 s old, whatever the clock says"
    await cluster.clock.advance(320)
    assert (await cluster.sync())[0] < 4, "300 s are over"
    await cluster.controller.stop()


async def test_the_controllers_own_series_have_upstreams_names_and_labels() -> None:
    cluster = Cluster()
    await cluster.set_up()
    cluster.cpu = "900m"
    await cluster.sync()
    cluster.items = []
    await cluster.sync()
    text = cluster.controller.monitor.registry.text().decode()
    prefix = "horizontal_pod_autoscaler_controller"
    for line in (
        f'{prefix}_reconciliations_total{{action="scale_up",error="none"}} 1',
        f'{prefix}_reconciliations_total{{action="none",error="internal"}} 1',
        f'{prefix}_reconciliation_duration_seconds_count{{action="scale_up",error="none"}} 1',
        f'{prefix}_metric_computation_total{{action="scale_up",error="none",metric_type="Resource"}} 1',
        f'{prefix}_metric_computation_duration_seconds_count{{action="none",error="internal",metric_type="Resource"}} 1',
    ):
        assert line in text.splitlines(), text
    await cluster.controller.stop()


class Raw:
    def __init__(self, items: Any) -> None:
        self.items = items

    async def get_raw(self, path: str) -> bytes:
        return msgspec.json.encode({"items": self.items})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=2)
    | st.dictionaries(
        st.sampled_from(["metadata", "name", "containers", "usage", "cpu", "value", "timestamp", "windowSeconds", "describedObject", "window"]),
        inner,
        max_size=4,
    ),
    max_leaves=10,
)  # fmt: skip


@given(st.lists(JSON, max_size=3))
@settings(max_examples=60, deadline=None)
async def test_answers_of_any_shape_are_values_or_metrics_errors(items: Any) -> None:
    client: Any = Raw(items)
    metrics = ApiMetricsClient(client)
    described = {"kind": "Service", "name": "s"}
    for ask in (
        lambda: metrics.resource("cpu", "d", "a=b"),
        lambda: metrics.pods("m", "d", "a=b"),
        lambda: metrics.object("m", "d", described),
        lambda: metrics.external("m", "d"),
    ):
        try:
            await ask()
        except MetricsError:
            pass
