"""Explanations of decisions, the API that serves them, and the shadow that decides beside a cluster's HPA."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from wavetank.autoscaling.hpa.admission import HpaAdmission
from wavetank.autoscaling.hpa.behavior import Recommendation
from wavetank.autoscaling.hpa.controller import HpaController
from wavetank.autoscaling.hpa.decisions_api import HpaDecisionsApi
from wavetank.autoscaling.hpa.explain import Explanation, explain
from wavetank.autoscaling.hpa.model import Scale, parse_hpa
from wavetank.autoscaling.hpa.observe import Observation, decide_on, get_hpa, observe
from wavetank.autoscaling.hpa.options import HpaOptions, parse_release
from wavetank.autoscaling.hpa.reconcile import HpaState, conclude
from wavetank.autoscaling.hpa.replica_calculator import ContainerRequests, PodView
from wavetank.autoscaling.hpa.shadow import Shadow, ShadowRow
from wavetank.autoscaling.metrics import PodSample, Reading
from wavetank.autoscaling.metrics_api import ApiMetricsClient
from wavetank.cli.autoscale import command
from wavetank.clock import RealClock
from wavetank.errors import InputError
from wavetank.journal import MemoryJournal
from wavetank.kube.client import ApiError, Client, Resource
from wavetank.kube.control_plane import ControlPlane, ControlPlaneOptions
from wavetank.kube.http_client import HttpClient
from wavetank.kube.kubeconfig import write_kubeconfig
from wavetank.kube.resources import DEPLOYMENTS, HORIZONTALPODAUTOSCALERS, PODS
from wavetank.kube.times import format_time

NOW = 1_750_000_000.0


def autoscaler(
    behavior: dict[str, Any] | None = None, low: int = 1, high: int = 10, target: int = 50
) -> dict[str, Any]:
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": target}}
    spec: dict[str, Any] = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "minReplicas": low,
        "maxReplicas": high,
        "metrics": [{"type": "Resource", "resource": cpu}],
    }
    if behavior is not None:
        spec["behavior"] = behavior
    return {"metadata": {"name": "web", "namespace": "default"}, "spec": spec}


def pod(name: str, *, started: float = -3600, ready: bool = True, **more: Any) -> PodView:
    containers = [ContainerRequests("main", {"cpu": 100})]
    return PodView(
        name,
        start_time=NOW + started,
        ready=ready,
        ready_transition=NOW + started,
        containers=containers,
        **more,
    )


def told(
    hpa: dict[str, Any], cpu: Mapping[str, int], pods: Sequence[PodView], state: HpaState | None = None
) -> Explanation:
    readings = (Reading(pods={name: PodSample(value, NOW - 5, 15.0) for name, value in cpu.items()}),)
    seen = Observation(parse_hpa(hpa), Scale(len(pods), len(pods), "app=web"), tuple(pods), readings)
    return explain(decide_on(NOW, seen, state or HpaState(()), HpaOptions()), HpaOptions())


def test_plain_scale_up_names_the_ratio() -> None:
    found = told(autoscaler(), {"a": 90, "b": 110}, [pod("a"), pod("b")])
    assert (found.current, found.proposed, found.stable, found.desired) == (2, 4, 4, 4)
    assert found.bound_by == "metrics"
    (metric,) = found.metrics
    assert (metric.value, metric.target, metric.ratio, metric.rule) == (100, 50, 2.0, "ratio")
    assert metric.decisive and [(p.name, p.group, p.utilization) for p in metric.pods] == [
        ("a", "ready", 90),
        ("b", "ready", 110),
    ]
    assert "wants 4: ceil(2.000 x 2 ready pods)" in found.lines[0]
    assert found.lines[-1] == "Deployment/web goes from 2 to 4; decided by: metrics"


def test_pods_that_do_not_count_are_named_with_the_reason() -> None:
    pods = [
        pod("old"), pod("young", started=-10), pod("waiting", phase="Pending"), pod("going", deleting=True),
        pod("silent"),
    ]  # fmt: skip
    cpu = {"old": 100, "young": 300, "going": 100, "stranger": 40}
    found = told(autoscaler(), cpu, pods)
    groups = {p.name: (p.group, p.why) for p in found.metrics[0].pods}
    assert groups["young"][0] == "unready" and "another 290 s" in groups["young"][1]
    assert groups["waiting"] == ("unready", "is Pending")
    assert groups["going"] == ("ignored", "is being deleted")
    assert groups["silent"] == ("missing", "has no sample")
    assert groups["stranger"][0] == "foreign"
    assert found.metrics[0].rule.startswith(("filled", "flipped"))
    assert any("2 unready, 1 missing filled in" in line for line in found.lines)


@pytest.mark.parametrize(
    ("hpa", "cpu", "state", "bound", "line"),
    [
        (autoscaler(), 53, HpaState(()), "tolerance", "within the tolerance of 0.9 to 1.1"),
        (autoscaler(high=3), 100, HpaState(()), "maxReplicas", "maxReplicas is 3"),
        (autoscaler(high=50), 400, HpaState(()), "rate limit", "at most twice the current size, or 4"),
        (
            autoscaler({"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}}),
            100, HpaState(()), "rate limit", "the rate limit allows 3 now: 1 pods per 60 s",
        ),
        (
            autoscaler(), 10, HpaState((Recommendation(2, NOW - 100),)), "stabilization",
            "stabilisation over 300 s makes 1 into 2: 2 (100 s ago)",
        ),
        (autoscaler(low=2), 10, HpaState(()), "minReplicas", "minReplicas is 2"),
        (autoscaler(high=1), 10, HpaState(()), "maxReplicas", "Current number of replicas above Spec.MaxReplicas"),
    ],
)  # fmt: skip
def test_the_rule_with_the_last_word(
    hpa: dict[str, Any], cpu: int, state: HpaState, bound: str, line: str
) -> None:
    found = told(hpa, {"a": cpu, "b": cpu}, [pod("a"), pod("b")], state)
    assert found.bound_by == bound
    assert any(line in text for text in found.lines), found.lines


def test_no_decision_says_why() -> None:
    seen = Observation(parse_hpa(autoscaler()), Scale(2, 2, "app=web"), (pod("a"),), (Reading(error="gone"),))
    found = explain(decide_on(NOW, seen, HpaState(()), HpaOptions()), HpaOptions())
    assert (found.bound_by, found.desired) == ("unusable", 2)
    assert "no replica count could be computed, so 2 stay" in found.lines[-1]


class Metrics:
    """metrics.k8s.io with the CPU the test says, of all pods there are."""

    group, version = "metrics.k8s.io", "v1beta1"
    resources = (Resource("metrics.k8s.io", "v1beta1", "PodMetrics", "pods", True),)

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self.cpu = "100m"

    async def handle(self, path: str, query: Mapping[str, str]) -> Any:
        stamp = format_time(self._plane.clock.now())
        items = [
            {
                "metadata": {"name": p["metadata"]["name"]}, "timestamp": stamp, "window": "15s",
                "containers": [{"name": "main", "usage": {"cpu": self.cpu}}],
            }
            for p in self._plane.api.bucket(PODS).sorted("default")
            if p["status"].get("phase") == "Running"
        ]  # fmt: skip
        return {"items": items}


async def populate(client: Client) -> None:
    labels = {"app": "web"}
    containers = [{"name": "main", "image": "i", "resources": {"requests": {"cpu": "100m"}}}]
    template = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
    await client.create(DEPLOYMENTS, {"metadata": {"name": "web"}, "spec": spec}, "default")
    since = format_time(RealClock().now() - 3600)
    ready = [{"type": "Ready", "status": "True", "lastTransitionTime": since}]
    async with asyncio.timeout(30):
        while len(pods := (await client.list(PODS, "default")).items) < 2:
            await asyncio.sleep(0)
    for each in pods:
        status = {"phase": "Running", "startTime": since, "conditions": ready}
        await client.patch(
            PODS, each["metadata"]["name"], {"status": status}, "default", subresource="status"
        )
    await client.create(HORIZONTALPODAUTOSCALERS, autoscaler(), "default")


async def test_a_cluster_is_explained_and_shadowed_through_its_api() -> None:
    """A server over HTTP whose controller syncs every 0.3 s, and a shadow that knows nothing but the API."""
    clock = RealClock()
    plane = ControlPlane(clock, MemoryJournal(clock), ControlPlaneOptions(plain_http=True))
    metrics = Metrics(plane)
    plane.add_extension(metrics)
    await plane.start()
    inside = plane.client("hpa")
    options = HpaOptions(sync_period=0.3)
    controller = HpaController(inside, ApiMetricsClient(inside), clock, plane.api.journal, options)
    plane.add_extension(HpaDecisionsApi(controller))
    outside = HttpClient(plane.access())
    rows: list[ShadowRow] = []
    try:
        await populate(inside)
        seen = await observe(
            outside, ApiMetricsClient(outside), await get_hpa(outside, "default", "web"), options
        )
        assert decide_on(clock.now(), seen, HpaState(()), options).decision.desired == 4
        shadow = Shadow(outside, ApiMetricsClient(outside), clock, "default", "web", options)
        watching = shadow.rows()
        async with asyncio.timeout(30):
            await controller.start()
            async for row in watching:
                rows.append(row)
                if row.theirs == 4 and row.current == 4:
                    break
            await watching.aclose()
            body = msgspec.json.decode(
                await outside.get_raw("/apis/autoscaling.wavetank.dev/v1/namespaces/default/hpadecisions/web")
            )
        other = autoscaler(target=10)
        what_if = await Shadow(
            outside, ApiMetricsClient(outside), clock, "default", "web", options, other
        ).look()
    finally:
        await outside.close()
        await controller.stop()
        await plane.stop()
    assert all(row.agrees for row in rows), rows
    decisions = msgspec.convert(body["decisions"], list[Explanation])
    assert {(d.current, d.desired) for d in decisions} >= {(2, 4)}
    assert decisions[0].at > decisions[-1].at
    assert what_if.ours != what_if.theirs and what_if.why


async def test_the_commands_work_against_any_cluster(tmp_path: Path) -> None:
    """Without our own API group, as in a cluster of somebody else's."""
    clock = RealClock()
    plane = ControlPlane(clock, MemoryJournal(clock), ControlPlaneOptions(plain_http=True))
    metrics = Metrics(plane)
    plane.add_extension(metrics)
    await plane.start()
    path = tmp_path / "kubeconfig"
    write_kubeconfig(path, plane.access())

    async def run(*arguments: str) -> Result:
        invoke = CliRunner().invoke
        return await asyncio.to_thread(invoke, command, [*arguments, "--kubeconfig", str(path)])

    try:
        await populate(plane.client("t"))
        told = await run("explain", "hpa/web")
        data = await run("explain", "web", "--output", "json", "--emulate-kubernetes", "1.36")
        beside = await run(
            "shadow", "hpa/web", "--count", "1", "--sync-period", "0.1", "--check", "-o", "json"
        )
        missing = await run("explain", "hpa/nothing")
        wrong = await run("explain", "deploy/web")
    finally:
        await plane.stop()
    assert told.exit_code == 0, told.output
    assert "made again from the API" in told.output and "goes from 2 to 4" in told.output
    (found,) = msgspec.json.decode(data.output)
    assert (found["current"], found["desired"], found["recomputed"]) == (2, 4, True)
    row, summary = (msgspec.json.decode(line) for line in beside.output.splitlines())
    assert (row["ours"], row["theirs"], row["agrees"]) == (4, 0, False), "nobody decides there"
    assert summary == {"summary": {"decisions": 1, "agree": 0, "differ": 1}} and beside.exit_code == 1
    assert isinstance(missing.exception, InputError)
    assert wrong.exit_code == 2 and "hpa/NAME" in wrong.output


async def test_an_hpa_that_is_not_there_is_an_input_error() -> None:
    clock = RealClock()
    plane = ControlPlane(clock, MemoryJournal(clock))
    plane.boot()
    with pytest.raises(InputError, match="kubectl get hpa"):
        await get_hpa(plane.client("t"), "default", "nothing")


# --- releases


@pytest.mark.parametrize(("minor", "observed"), [(36, None), (37, 7)])
def test_conditions_say_what_they_are_about_from_1_37(minor: int, observed: int | None) -> None:
    obj = autoscaler()
    obj["metadata"]["generation"] = 7
    options = HpaOptions().emulate(minor)
    readings = (Reading(pods={"a": PodSample(90, NOW - 5, 15.0)}),)
    seen = Observation(parse_hpa(obj), Scale(1, 1, "app=web"), (pod("a"),), readings)
    inputs = decide_on(NOW, seen, HpaState(()), options)
    status = conclude(NOW, seen.hpa, inputs.decision, options).status
    assert {c.get("observedGeneration") for c in status["conditions"] if c["type"] != "ScaledToZero"} == {
        observed
    }


@pytest.mark.parametrize(("text", "minor"), [("1.33", 33), ("v1.36.2", 36), ("37", 37)])
def test_releases(text: str, minor: int) -> None:
    assert parse_release(text) == minor


@pytest.mark.parametrize("text", ["", "1.99", "2", "one", "1.2"])
def test_what_is_no_release_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="not emulated"):
        parse_release(text)


def test_releases_differ_by_their_gates() -> None:
    of = {minor: HpaOptions().emulate(minor) for minor in (26, 33, 35, 36, 37)}
    assert [o.container_resources for o in of.values()] == [False, True, True, True, True]
    assert [o.configurable_tolerance for o in of.values()] == [False, False, True, True, True]
    assert [o.scaled_to_zero_condition for o in of.values()] == [False, False, False, True, True]
    assert [o.scale_to_zero for o in of.values()] == [False, False, False, False, True]
    assert [o.observed_generation for o in of.values()] == [False, False, False, False, True]
    assert HpaOptions().emulate(33, {"HPAScaleToZero": True}).scale_to_zero
    with pytest.raises(InputError, match="did you mean 'HPAScaleToZero'"):
        HpaOptions().emulate(33, {"HPAScaleTooZero": True})


def test_a_release_refuses_and_drops_what_it_does_not_know() -> None:
    clock = RealClock()
    plane = ControlPlane(clock, MemoryJournal(clock))
    plane.api.admissions = (*plane.api.admissions, HpaAdmission(HpaOptions().emulate(26)))
    plane.boot()
    hpa = autoscaler({"scaleUp": {"tolerance": "0.05"}})
    contained = {
        "name": "cpu",
        "container": "main",
        "target": {"type": "Utilization", "averageUtilization": 5},
    }
    hpa["spec"]["metrics"].append({"type": "ContainerResource", "containerResource": contained})
    made = plane.api.create(HORIZONTALPODAUTOSCALERS, "default", hpa)
    assert "tolerance" not in made["spec"]["behavior"]["scaleUp"]
    assert [m["type"] for m in made["spec"]["metrics"]] == ["Resource"]
    zero = autoscaler(low=0)
    zero["metadata"]["name"] = "zero"
    queue = {"metric": {"name": "q"}, "target": {"type": "Value", "value": "1"}}
    zero["spec"]["metrics"] = [{"type": "External", "external": queue}]
    with pytest.raises(
        ApiError, match=r"spec\.minReplicas: Invalid value: 0: must be greater than or equal to 1"
    ):
        plane.api.create(HORIZONTALPODAUTOSCALERS, "default", zero)
