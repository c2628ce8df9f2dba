"""The scheduler: where pods go, what it says when they cannot, and whom it pushes out."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from kube_cluster import node

from wavetank.clock import VirtualClock
from wavetank.journal import MemoryJournal
from wavetank.kube.client import Object
from wavetank.kube.control_plane import ControlPlane
from wavetank.kube.resources import NODES, PODS, PRIORITYCLASSES
from wavetank.kube.scheduler.decide import place
from wavetank.kube.scheduler.nodes import NodeInfo, pod_requests


def pod(name: str = "p", cpu: str = "", memory: str = "", **spec: Any) -> Object:
    requests = {k: v for k, v in (("cpu", cpu), ("memory", memory)) if v}
    container = {"name": "c", "image": "i", "resources": {"requests": requests}}
    metadata = {"name": name, "namespace": "default", "uid": name, "labels": {"app": "web"}}
    return {"metadata": metadata, "spec": {"containers": [container], **spec}}


def info(name: str, *pods: Object, cpu: str = "1", memory: str = "1Gi", **more: Any) -> NodeInfo:
    made = node(name, cpu, memory, **more.pop("labels", {}))
    made["spec"] = more
    found = NodeInfo.of(made)
    for each in pods:
        found.add(each)
    return found


def decide(candidate: Object, *nodes: NodeInfo) -> tuple[str | None, str]:
    placement = place(candidate, nodes, Random(1))
    return placement.node, placement.message


_NONE = "preemption: 0/{n} nodes are available: {n} No preemption victims found for incoming pod."
_HELPLESS = "preemption: 0/{n} nodes are available: {n} Preemption is not helpful for scheduling."


@pytest.mark.parametrize(
    ("candidate", "nodes", "message"),
    [
        (pod(), [], "no nodes available to schedule pods"),
        (
            pod(cpu="600m"),
            [info("a", pod("x", "500m")), info("b", pod("y", "500m"))],
            "0/2 nodes are available: 2 Insufficient cpu. " + _NONE.format(n=2),
        ),
        (
            pod(cpu="2", memory="2Gi"),
            [info("a")],
            "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory. " + _HELPLESS.format(n=1),
        ),
        (
            pod(),
            [info("a", unschedulable=True)],
            "0/1 nodes are available: 1 node(s) were unschedulable. " + _HELPLESS.format(n=1),
        ),
        (
            pod(),
            [info("a", taints=[{"key": "gpu", "value": "yes", "effect": "NoSchedule"}])],
            "0/1 nodes are available: 1 node(s) had untolerated taint {gpu: yes}. " + _HELPLESS.format(n=1),
        ),
        (
            pod(nodeSelector={"zone": "x"}),
            [info("a"), info("b")],
            "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector. "
            + _HELPLESS.format(n=2),
        ),
    ],
)
def test_the_reasons_are_told_as_upstream_tells_them(
    candidate: Object, nodes: list[NodeInfo], message: str
) -> None:
    assert decide(candidate, *nodes) == (None, message)


def test_the_emptier_node_is_preferred() -> None:
    assert decide(pod(cpu="100m"), info("a", pod("x", "500m")), info("b"))[0] == "b"


def test_tolerated_taints_and_matching_affinity_let_a_pod_in() -> None:
    tainted = info("a", taints=[{"key": "gpu", "effect": "NoSchedule"}])
    assert decide(pod(tolerations=[{"key": "gpu", "operator": "Exists"}]), tainted)[0] == "a"
    terms = [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["x"]}]}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    wanting = pod(affinity={"nodeAffinity": required})
    assert decide(wanting, info("a"), info("b", labels={"zone": "x"}))[0] == "b"


def test_anti_affinity_keeps_pods_apart() -> None:
    term = {"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "kubernetes.io/hostname"}
    apart = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    assert decide(pod(affinity=apart), info("a", pod("x")), info("b"))[0] == "b"
    _, message = decide(pod(affinity=apart), info("a", pod("x")))
    assert "didn't match pod anti-affinity rules" in message


def test_spread_constraints_bound_the_skew() -> None:
    constraint = {
        "maxSkew": 1,
        "topologyKey": "zone",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }
    nodes = [info("a", pod("x"), labels={"zone": "1"}), info("b", labels={"zone": "2"})]
    assert decide(pod(topologySpreadConstraints=[constraint]), *nodes)[0] == "b"


def test_siblings_are_spread_over_nodes_without_being_asked() -> None:
    owner = {"kind": "ReplicaSet", "name": "web", "uid": "rs", "controller": True, "apiVersion": "apps/v1"}

    def owned(name: str) -> Object:
        made = pod(name)
        made["metadata"]["ownerReferences"] = [owner]
        return made

    assert decide(owned("p"), info("a", owned("x")), info("b"))[0] == "b"


def test_requests_count_init_containers_and_sidecars() -> None:
    def container(cpu: str, **more: str) -> Object:
        return {"name": "c", "resources": {"requests": {"cpu": cpu}}, **more}

    spec = {
        "initContainers": [container("50m", restartPolicy="Always"), container("400m"), container("10m")],
        "containers": [container("100m"), container("150m")],
    }
    # The first plain init container runs beside the sidecar: 450m is more than 300m of all that run later.
    assert pod_requests({"spec": spec}) == {"cpu": 450}


def test_higher_priority_pushes_out_the_fewest_lowest_pods() -> None:
    low = [
        pod("low-1", "300m", priority=1),
        pod("low-2", "300m", priority=2),
        pod("low-3", "300m", priority=3),
    ]
    placement = place(pod("high", "400m", priority=100), [info("a", *low)], Random(1))
    assert placement.nominated == "a"
    assert [v["metadata"]["name"] for v in placement.victims] == ["low-1"]


@pytest.fixture
def plane(clock: VirtualClock, journal: MemoryJournal) -> ControlPlane:
    made = ControlPlane(clock, journal)
    made.boot()
    return made


def test_a_pod_that_does_not_fit_waits_and_is_tried_again(
    plane: ControlPlane, clock: VirtualClock, journal: MemoryJournal
) -> None:
    plane.api.create(NODES, None, node("a", cpu="1"))
    plane.api.create(PODS, "default", pod("big", "3"))
    plane.run_step()
    stored = plane.api.get(PODS, "default", "big")
    (scheduled,) = stored["status"]["conditions"]
    assert (scheduled["type"], scheduled["status"], scheduled["reason"]) == (
        "PodScheduled",
        "False",
        "Unschedulable",
    )
    assert [r["kind"] for r in journal.of("pod.unschedulable", "pod.scheduled")] == ["pod.unschedulable"]
    plane.api.create(NODES, None, node("b", cpu="4"))
    due = plane.run_step()
    assert due == clock.now() + 1  # the first back-off
    clock.run_until(due)
    plane.run_step()
    assert plane.api.get(PODS, "default", "big")["spec"]["nodeName"] == "b"
    assert journal.of("pod.scheduled")[0]["node"] == "b"


def test_preemption_deletes_the_victim_and_then_binds(plane: ControlPlane, clock: VirtualClock) -> None:
    plane.api.create(NODES, None, node("a", cpu="1"))
    plane.api.create(PRIORITYCLASSES, None, {"metadata": {"name": "high"}, "value": 1000})
    plane.api.create(PODS, "default", pod("small", "800m"))
    plane.run_step()
    plane.api.create(PODS, "default", pod("urgent", "800m", priorityClassName="high"))
    plane.run_step()
    assert plane.api.get(PODS, "default", "small")["metadata"]["deletionTimestamp"]
    assert plane.api.get(PODS, "default", "urgent")["status"]["nominatedNodeName"] == "a"
    from wavetank.kube import deletion

    plane.api.delete(PODS, "default", "small", deletion.Options(grace_period_seconds=0))
    clock.run_until(clock.now() + 1)
    plane.run_step()
    assert plane.api.get(PODS, "default", "urgent")["spec"]["nodeName"] == "a"
