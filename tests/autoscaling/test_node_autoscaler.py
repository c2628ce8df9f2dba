"""The node autoscaler: single scans as values, and a cluster in virtual time that grows and shrinks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from wavetank.autoscaling.nodes.controller import NodeAutoscaler
from wavetank.autoscaling.nodes.model import GROUP_LABEL, NodesOptions, NodesState, NodesView
from wavetank.autoscaling.nodes.step import step, utilization
from wavetank.clock import VirtualClock
from wavetank.errors import InternalError
from wavetank.journal import MemoryJournal
from wavetank.kube.control_plane import ControlPlane
from wavetank.kube.resources import DEPLOYMENTS, NODES, PODS
from wavetank.kube.scheduler.nodes import NodeInfo

CAPACITY = {"cpu": "2", "memory": "4Gi", "pods": "10"}
TEMPLATE = {"metadata": {"name": "auto"}, "status": {"allocatable": CAPACITY}}
OPTIONS = NodesOptions(template=TEMPLATE, maximum=3)
UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}


def pod(name: str, cpu: str = "1", node: str = "", owner: str = "ReplicaSet", **spec: Any) -> dict[str, Any]:
    meta: dict[str, Any] = {
        "name": name,
        "namespace": "default",
        "uid": f"uid-{name}",
        "labels": {"app": "web"},
    }
    if owner:
        meta["ownerReferences"] = [{"kind": owner, "name": "o", "uid": "o", "controller": True}]
    containers = [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]
    body: dict[str, Any] = {"containers": containers, **({"nodeName": node} if node else {}), **spec}
    return {"metadata": meta, "spec": body, "status": {"conditions": [] if node else [UNSCHEDULABLE]}}


def node(name: str, *pods: dict[str, Any], grouped: bool = True, **annotations: str) -> NodeInfo:
    labels = {GROUP_LABEL: "auto"} if grouped else {}
    info = NodeInfo.of(
        {
            "metadata": {"name": name, "labels": labels, "annotations": annotations},
            "status": {"allocatable": CAPACITY},
        }
    )
    for each in pods:
        info.add(each)
    return info


def test_pods_without_a_place_are_packed_onto_new_nodes() -> None:
    view = NodesView([], [pod(f"p{i}") for i in range(3)])
    plan, state = step(100.0, view, NodesState(), OPTIONS)
    assert plan.order == ("auto-1", "auto-2"), "two pods of a core each fit on one node of two"
    assert state.booting == {"auto-1": 160.0, "auto-2": 160.0}
    assert {e.reason for e in plan.events} == {"TriggeredScaleUp"}
    assert plan.events[0].message == "pod triggered scale-up: [{auto 0->2 (max: 3)}]"
    again, state = step(110.0, view, state, OPTIONS)
    assert again.order == () and again.events == (), "those under way are waited for"
    later, state = step(160.0, view, state, OPTIONS)
    assert later.start == ("auto-1", "auto-2") and state.booting == {}
    assert later.order == ()


def test_pods_that_fit_on_a_node_that_is_there_order_nothing() -> None:
    plan, _ = step(0.0, NodesView([node("n")], [pod("p")]), NodesState(), OPTIONS)
    assert plan.order == ()


@pytest.mark.parametrize(
    ("made", "options", "message"),
    [
        (pod("big", cpu="3"), OPTIONS, "pod didn't trigger scale-up: 1 Insufficient cpu"),
        (pod("picky", nodeSelector={"disk": "ssd"}), OPTIONS, "pod didn't trigger scale-up: 1 node(s) didn't match Pod's node affinity/selector"),
        (pod("late"), replace(OPTIONS, maximum=0), "pod didn't trigger scale-up: 1 max node group size reached"),
    ],
)  # fmt: skip
def test_pods_that_a_new_node_would_not_help_are_told_once(
    made: dict[str, Any], options: NodesOptions, message: str
) -> None:
    plan, state = step(0.0, NodesView([], [made]), NodesState(), options)
    assert plan.order == ()
    assert [(e.reason, e.message) for e in plan.events] == [("NotTriggerScaleUp", message)]
    plan, _ = step(10.0, NodesView([], [made]), state, options)
    assert plan.events == ()


def test_the_minimum_is_ordered_without_need() -> None:
    plan, _ = step(0.0, NodesView([], []), NodesState(), replace(OPTIONS, minimum=2))
    assert len(plan.order) == 2


def drained(
    view: NodesView, options: NodesOptions = OPTIONS, added_at: float | None = None
) -> tuple[str, ...]:
    """What is drained once everything has been unneeded for long enough."""
    _, state = step(1000.0, view, NodesState(added_at=added_at), options)
    plan, _ = step(1000.0 + options.unneeded_time, view, state, options)
    return plan.drain


def test_an_empty_node_goes_after_its_time() -> None:
    view = NodesView([node("a"), node("b", pod("p", node="b", cpu="1500m"))], [])
    _, state = step(0.0, view, NodesState(), OPTIONS)
    assert state.unneeded == {"a": 0.0}
    assert step(599.0, view, state, OPTIONS)[0].drain == ()
    plan, state = step(600.0, view, state, OPTIONS)
    assert plan.drain == ("a",)
    plan, state = step(610.0, view, state, OPTIONS)
    assert plan.delete == ("a",)


SMALL = pod("small", cpu="500m", node="a")


@pytest.mark.parametrize(
    ("first", "gone"),
    [
        (node("a", SMALL), ("a",)),
        (node("a", pod("half", cpu="1", node="a")), ()),
        (node("a", SMALL, grouped=False), ()),
        (node("a", SMALL, **{"cluster-autoscaler.kubernetes.io/scale-down-disabled": "true"}), ()),
        (node("a", pod("bare", cpu="500m", node="a", owner="")), ()),
        (node("a", pod("data", cpu="500m", node="a", volumes=[{"emptyDir": {}}])), ()),
        (node("a", pod("daemon", cpu="500m", node="a", owner="DaemonSet", volumes=[{"hostPath": {}}])), ("a",)),
    ],
)  # fmt: skip
def test_what_makes_a_node_unneeded(first: NodeInfo, gone: tuple[str, ...]) -> None:
    other = node("b", pod("q", cpu="1200m", node="b"), grouped=False)
    assert drained(NodesView([first, other], [])) == gone


def test_pods_must_fit_elsewhere_and_budgets_allow_it() -> None:
    full = node("b", pod("q", cpu="1800m", node="b"), grouped=False)
    assert drained(NodesView([node("a", SMALL), full], [])) == ()
    roomy = node("b", grouped=False)
    assert drained(NodesView([node("a", SMALL), roomy], [], {"pdb": 0}, {"uid-small": ["pdb"]})) == ()
    assert drained(NodesView([node("a", SMALL), roomy], [], {"pdb": 1}, {"uid-small": ["pdb"]})) == ("a",)


def test_not_below_the_minimum_and_not_soon_after_growing() -> None:
    view = NodesView([node("a"), node("b")], [])
    assert len(drained(view)) == 2
    assert len(drained(view, replace(OPTIONS, minimum=1))) == 1
    assert drained(view, replace(OPTIONS, delay_after_add=1200), added_at=900.0) == ()


def test_utilization_is_the_larger_share() -> None:
    assert utilization(node("a", SMALL)) == 0.25
    assert utilization(node("a")) == 0


class Machines:
    """Makes Node objects where a cloud would make machines."""

    broken = 0

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    async def start_node(self, name: str, labels: Mapping[str, str]) -> None:
        if self.broken:
            self.broken -= 1
            raise InternalError("no machine left")
        labels = {**labels, "kubernetes.io/hostname": name}
        made = {
            "metadata": {"name": name, "labels": labels},
            "status": {"allocatable": CAPACITY, "capacity": CAPACITY},
        }
        self._plane.api.create(NODES, None, made)

    async def stop_node(self, name: str) -> None:
        self._plane.api.delete(NODES, None, name)


async def test_a_node_that_does_not_come_up_is_tried_again() -> None:
    clock = VirtualClock(1e9)
    journal = MemoryJournal(clock)
    plane = ControlPlane(clock, journal)
    plane.boot()
    machines = Machines(plane)
    machines.broken = 2
    options = replace(OPTIONS, minimum=1, boot_delay=20.0)
    scaler = NodeAutoscaler(plane.client("ca"), machines, clock, journal, options)
    for _ in range(8):
        await scaler.scan()
        await clock.advance(10)
    assert [r["kind"] for r in journal.of("nodes.failed", "nodes.started")] == [
        "nodes.failed", "nodes.failed", "nodes.started",
    ]  # fmt: skip
    assert len(plane.api.bucket(NODES).sorted()) == 1
    await scaler.stop()


async def test_a_cluster_grows_with_a_deployment_and_shrinks_again() -> None:
    clock = VirtualClock(1e9)
    journal = MemoryJournal(clock)
    plane = ControlPlane(clock, journal)
    plane.boot()
    options = replace(OPTIONS, delay_after_add=60.0, unneeded_time=120.0)
    scaler = NodeAutoscaler(plane.client("ca"), Machines(plane), clock, journal, options)
    labels = {"app": "web"}
    containers = [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}]
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": containers, "terminationGracePeriodSeconds": 0},
    }
    spec = {"replicas": 4, "selector": {"matchLabels": labels}, "template": template}
    plane.api.create(DEPLOYMENTS, "default", {"metadata": {"name": "web"}, "spec": spec})

    async def pass_time(seconds: int) -> None:
        for _ in range(seconds // 10):
            plane.run_step()
            await scaler.scan()
            plane.run_step()
            await clock.advance(10)

    await pass_time(100)
    pods = plane.api.bucket(PODS).sorted("default")
    assert {p["spec"].get("nodeName") for p in pods} == {"auto-1", "auto-2"}
    (ordered,) = journal.of("nodes.ordered")
    started = journal.of("nodes.started")
    assert all(r["at"] - ordered["at"] == 60 for r in started), "the boot delay"
    plane.api.modify(DEPLOYMENTS, "default", "web", lambda d: {**d, "spec": {**d["spec"], "replicas": 1}})
    await pass_time(400)
    assert len(plane.api.bucket(NODES).sorted()) == 1
    assert [r["kind"] for r in journal.of("nodes.draining", "nodes.removed")] == [
        "nodes.draining",
        "nodes.removed",
    ]
    await scaler.stop()
