"""Stateful and daemon sets remember their templates, go back to them, and update by exact rules."""

from __future__ import annotations

from typing import Any

import pytest
from virtual_tank import Tank, workload

from wavetank.clock import VirtualClock
from wavetank.journal import MemoryJournal
from wavetank.kube.client import ApiError, Object, Resource
from wavetank.kube.resources import CONTROLLERREVISIONS, DAEMONSETS, PODS, STATEFULSETS


@pytest.fixture
def tank(clock: VirtualClock, journal: MemoryJournal) -> Tank:
    return Tank(clock, journal, nodes=3)


def daemons(image: str = "i:1", **rolling: Any) -> Object:
    made = workload(image=image)
    del made["spec"]["replicas"]
    if rolling:
        made["spec"]["updateStrategy"] = {"type": "RollingUpdate", "rollingUpdate": rolling}
    return made


def set_image(tank: Tank, resource: Resource, image: str) -> None:
    def change(obj: Object) -> Object:
        template = obj["spec"]["template"]
        containers = [{**template["spec"]["containers"][0], "image": image}]
        template = {**template, "spec": {**template["spec"], "containers": containers}}
        return {**obj, "spec": {**obj["spec"], "template": template}}

    tank.api.modify(resource, "default", "web", change)


def history(tank: Tank) -> list[tuple[int, str]]:
    """(number, image) of each revision, oldest first."""
    found = [
        (r["revision"], r["data"]["spec"]["template"]["spec"]["containers"][0]["image"])
        for r in tank.list(CONTROLLERREVISIONS)
    ]
    return sorted(found)


def images(tank: Tank) -> list[str]:
    return [p["spec"]["containers"][0]["image"] for p in tank.list(PODS)]


def deleting(tank: Tank) -> int:
    return sum(1 for p in tank.list(PODS) if p["metadata"].get("deletionTimestamp"))


@pytest.mark.parametrize("resource", [STATEFULSETS, DAEMONSETS], ids=lambda r: r.plural)
def test_every_template_is_a_revision_and_a_former_one_takes_the_newest_number(
    tank: Tank, resource: Resource
) -> None:
    tank.create(resource, daemons() if resource is DAEMONSETS else workload(2, serviceName="web"))
    tank.run_pods()
    for image in ("i:2", "i:1"):
        set_image(tank, resource, image)
        tank.run_pods()
    assert history(tank) == [(2, "i:2"), (3, "i:1")]
    revision = tank.list(CONTROLLERREVISIONS)[0]
    assert revision["metadata"]["ownerReferences"][0]["kind"] == resource.kind
    assert revision["data"]["spec"]["template"]["$patch"] == "replace"
    assert set(images(tank)) == {"i:1"}


def test_only_so_many_idle_revisions_are_kept(tank: Tank) -> None:
    tank.create(STATEFULSETS, workload(1, serviceName="web", revisionHistoryLimit=2))
    for number in range(1, 7):
        set_image(tank, STATEFULSETS, f"i:{number}")
        tank.run_pods()
    assert history(tank) == [(4, "i:4"), (5, "i:5"), (6, "i:6")]


def test_a_pod_below_the_partition_comes_back_with_the_former_template(tank: Tank) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
    tank.create(STATEFULSETS, workload(3, serviceName="web", updateStrategy=strategy))
    tank.run_pods()
    set_image(tank, STATEFULSETS, "i:2")
    tank.run_pods()
    assert images(tank) == ["i:1", "i:2", "i:2"]
    tank.api.delete(PODS, "default", "web-0")
    tank.run_pods()
    assert images(tank) == ["i:1", "i:2", "i:2"]
    status = tank.get(STATEFULSETS, "web")["status"]
    assert status["currentRevision"] != status["updateRevision"]
    assert (status["currentReplicas"], status["updatedReplicas"]) == (1, 2)


def test_daemons_are_replaced_one_node_at_a_time(tank: Tank) -> None:
    tank.create(DAEMONSETS, daemons())
    tank.run_pods()
    set_image(tank, DAEMONSETS, "i:2")
    tank.settle()
    assert deleting(tank) == 1
    tank.run_pods()
    assert images(tank) == ["i:2"] * 3


def test_daemons_surge_runs_the_new_pod_before_the_old_one_goes(tank: Tank) -> None:
    tank.create(DAEMONSETS, daemons(maxSurge=1, maxUnavailable=0))
    tank.run_pods()
    set_image(tank, DAEMONSETS, "i:2")
    tank.settle()
    assert sorted(images(tank)) == ["i:1", "i:1", "i:1", "i:2"] and deleting(tank) == 0
    tank.run_pods()
    assert images(tank) == ["i:2"] * 3
    assert tank.get(DAEMONSETS, "web")["status"]["updatedNumberScheduled"] == 3


@pytest.mark.parametrize(
    ("rolling", "message"),
    [
        ({"maxSurge": 0, "maxUnavailable": 0}, "cannot be 0 when maxSurge is 0"),
        ({"maxSurge": 1, "maxUnavailable": 1}, "may not be set when maxUnavailable is non-zero"),
        ({"maxUnavailable": "x"}, "must be a numeric string"),
    ],
)
def test_update_strategies_that_cannot_be(tank: Tank, rolling: Object, message: str) -> None:
    with pytest.raises(ApiError, match=message):
        tank.create(DAEMONSETS, daemons(**rolling))
