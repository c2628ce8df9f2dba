"""Controllers in virtual time: what a cluster does after each change, step by step."""

from __future__ import annotations

from typing import Any

import pytest
from kube_cluster import node
from virtual_tank import Tank, template, workload

from wavetank.clock import VirtualClock
from wavetank.journal import MemoryJournal
from wavetank.kube import deletion
from wavetank.kube.client import ApiError, Object
from wavetank.kube.objects import condition, labels_of
from wavetank.kube.resources import (
    CONFIGMAPS,
    CRONJOBS,
    CUSTOMRESOURCEDEFINITIONS,
    DAEMONSETS,
    DEPLOYMENTS,
    ENDPOINTS,
    ENDPOINTSLICES,
    EVENTS,
    JOBS,
    LEASES,
    NAMESPACES,
    NODES,
    PODDISRUPTIONBUDGETS,
    PODS,
    REPLICASETS,
    SERVICES,
    STATEFULSETS,
)  # fmt: skip
from wavetank.kube.times import format_micro_time, format_time


@pytest.fixture
def tank(clock: VirtualClock, journal: MemoryJournal) -> Tank:
    return Tank(clock, journal)


def service(**spec: Any) -> Object:
    ports = [{"port": 80, "targetPort": "http"}]
    return {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": ports, **spec}}


# Deployments


def test_a_deployment_becomes_available_through_a_replica_set(tank: Tank) -> None:
    tank.create(DEPLOYMENTS, workload())
    tank.run_pods()
    (rs,) = tank.list(REPLICASETS)
    assert rs["metadata"]["name"].startswith("web-") and labels_of(rs)["pod-template-hash"]
    assert len(tank.list(PODS)) == 3
    status = tank.get(DEPLOYMENTS, "web")["status"]
    assert (status["readyReplicas"], status["updatedReplicas"], status["availableReplicas"]) == (3, 3, 3)
    assert condition({"status": status}, "Available")["reason"] == "MinimumReplicasAvailable"
    assert condition({"status": status}, "Progressing")["reason"] == "NewReplicaSetAvailable"
    assert status["observedGeneration"] == 1


def test_a_rollout_keeps_within_surge_and_unavailability(tank: Tank) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}
    tank.create(DEPLOYMENTS, workload(4, strategy=strategy))
    tank.run_pods()
    first = {p["metadata"]["name"] for p in tank.list(PODS)}
    changed = workload(4, "i:2", strategy=strategy)
    tank.api.modify(DEPLOYMENTS, "default", "web", lambda o: {**o, "spec": changed["spec"]})
    tank.settle()
    pods = [p for p in tank.list(PODS) if not p["metadata"].get("deletionTimestamp")]
    ready = [p for p in pods if (condition(p, "Ready") or {}).get("status") == "True"]
    assert len(pods) <= 5 and len(ready) >= 3
    tank.run_pods()
    assert not first & {p["metadata"]["name"] for p in tank.list(PODS)}
    assert sorted(rs["spec"]["replicas"] for rs in tank.list(REPLICASETS)) == [0, 4]
    revisions = [
        rs["metadata"]["annotations"]["deployment.kubernetes.io/revision"] for rs in tank.list(REPLICASETS)
    ]
    assert sorted(revisions) == ["1", "2"]


def test_a_stuck_rollout_exceeds_its_deadline(tank: Tank, clock: VirtualClock) -> None:
    tank.create(DEPLOYMENTS, workload(progressDeadlineSeconds=30))
    due = tank.settle()
    assert due == clock.now() + 30
    clock.run_until(clock.now() + 31)
    tank.settle()
    progressing = condition(tank.get(DEPLOYMENTS, "web"), "Progressing")
    assert progressing is not None
    assert (progressing["status"], progressing["reason"]) == ("False", "ProgressDeadlineExceeded")


def test_a_paused_deployment_scales_but_does_not_roll(tank: Tank) -> None:
    tank.create(DEPLOYMENTS, workload(2))
    tank.run_pods()
    changed = workload(3, "i:2", paused=True)
    tank.api.modify(DEPLOYMENTS, "default", "web", lambda o: {**o, "spec": changed["spec"]})
    tank.run_pods()
    (rs,) = tank.list(REPLICASETS)
    assert rs["spec"]["replicas"] == 3
    assert condition(tank.get(DEPLOYMENTS, "web"), "Progressing")["reason"] == "DeploymentPaused"


def test_recreate_waits_for_the_old_pods_to_be_gone(tank: Tank) -> None:
    tank.create(DEPLOYMENTS, workload(2, strategy={"type": "Recreate"}))
    tank.run_pods()
    changed = workload(2, "i:2", strategy={"type": "Recreate"})
    tank.api.modify(DEPLOYMENTS, "default", "web", lambda o: {**o, "spec": changed["spec"]})
    tank.settle()
    assert all(p["metadata"].get("deletionTimestamp") for p in tank.list(PODS))
    tank.run_pods()
    images = {p["spec"]["containers"][0]["image"] for p in tank.list(PODS)}
    assert images == {"i:2"} and len(tank.list(PODS)) == 2


def test_scaling_in_the_middle_of_a_rollout_is_shared_in_proportion(tank: Tank) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}}
    tank.create(DEPLOYMENTS, workload(10, strategy=strategy))
    tank.run_pods()
    changed = workload(10, "i:2", strategy=strategy)
    tank.api.modify(DEPLOYMENTS, "default", "web", lambda o: {**o, "spec": changed["spec"]})
    tank.run_pods(ready=False)
    assert sorted(rs["spec"]["replicas"] for rs in tank.list(REPLICASETS)) == [5, 8]
    tank.scale(DEPLOYMENTS, "web", 15)
    tank.run_pods(ready=False)
    # 5 more of 18 in all: three to the larger, two to the smaller (the example of the documentation).
    assert sorted(rs["spec"]["replicas"] for rs in tank.list(REPLICASETS)) == [7, 11]


def test_history_beyond_the_limit_is_forgotten(tank: Tank) -> None:
    tank.create(DEPLOYMENTS, workload(1, revisionHistoryLimit=1))
    tank.run_pods()
    for image in ("i:2", "i:3", "i:4"):
        changed = workload(1, image, revisionHistoryLimit=1)
        tank.api.modify(DEPLOYMENTS, "default", "web", lambda o, c=changed: {**o, "spec": c["spec"]})
        tank.run_pods()
    assert len(tank.list(REPLICASETS)) == 2


# ReplicaSets


def test_scale_down_takes_the_least_useful_pods_first(tank: Tank, clock: VirtualClock) -> None:
    tank.create(REPLICASETS, workload(4))
    tank.run_pods()
    pods = tank.list(PODS)
    cheap, broken = pods[1], pods[2]
    tank.api.modify(
        PODS, "default", cheap["metadata"]["name"],
        lambda o: {**o, "metadata": {**o["metadata"], "annotations": {
            "controller.kubernetes.io/pod-deletion-cost": "-5"}}},
    )  # fmt: skip
    unready = [{"type": "Ready", "status": "False", "lastTransitionTime": format_time(clock.now())}]
    tank.status(PODS, broken, {**broken["status"], "conditions": unready})
    tank.scale(REPLICASETS, "web", 3)
    tank.run_pods()
    assert broken["metadata"]["name"] not in [p["metadata"]["name"] for p in tank.list(PODS)]
    tank.scale(REPLICASETS, "web", 2)
    tank.run_pods()
    assert cheap["metadata"]["name"] not in [p["metadata"]["name"] for p in tank.list(PODS)]


def test_a_replica_set_adopts_matching_orphans(tank: Tank) -> None:
    orphan = {"metadata": {"name": "stray", "labels": {"app": "web"}}, "spec": template()["spec"]}
    tank.create(PODS, orphan)
    tank.create(REPLICASETS, workload(2))
    tank.run_pods()
    owners = {p["metadata"]["name"]: p["metadata"].get("ownerReferences") for p in tank.list(PODS)}
    assert len(owners) == 2 and owners["stray"][0]["kind"] == "ReplicaSet"


# EndpointSlices


def test_endpoints_follow_readiness_and_deletion(tank: Tank, journal: MemoryJournal) -> None:
    tank.create(SERVICES, service())
    tank.create(DEPLOYMENTS, workload(2))
    tank.run_pods()
    (piece,) = tank.list(ENDPOINTSLICES)
    assert piece["ports"] == [{"name": "", "port": 8080, "protocol": "TCP"}]
    assert [e["conditions"] for e in piece["endpoints"]] == [
        {"ready": True, "serving": True, "terminating": False}
    ] * 2
    victim = piece["endpoints"][0]["targetRef"]["name"]
    tank.api.delete(PODS, "default", victim)
    tank.settle()
    (piece,) = tank.list(ENDPOINTSLICES)
    states = {e["targetRef"]["name"]: e["conditions"] for e in piece["endpoints"]}
    assert states[victim] == {"ready": False, "serving": True, "terminating": True}
    last = journal.of("endpoints")[-1]
    assert f"default/{victim}" in last["all"] and f"default/{victim}" not in last["ready"]
    tank.clock.run_until(tank.clock.now() + 0.2)  # the older form gathers changes
    tank.settle()
    addresses = tank.get(ENDPOINTS, "web")["subsets"][0]["addresses"]
    assert victim not in [a["targetRef"]["name"] for a in addresses]


def test_slices_hold_a_hundred_and_a_service_without_pods_keeps_one(tank: Tank) -> None:
    tank.create(SERVICES, service())
    tank.settle()
    assert [s["endpoints"] for s in tank.list(ENDPOINTSLICES)] == [[]]
    tank.api.create(NODES, None, node("node-2", cpu="64", memory="64Gi"))
    tank.create(DEPLOYMENTS, workload(120))
    tank.run_pods()
    assert sorted(len(s["endpoints"]) for s in tank.list(ENDPOINTSLICES)) == [20, 100]
    tank.scale(DEPLOYMENTS, "web", 0)
    tank.run_pods()
    assert [len(s["endpoints"]) for s in tank.list(ENDPOINTSLICES)] == [0]


# Garbage collection and namespaces


def test_dependents_go_with_their_owner_in_the_background(tank: Tank) -> None:
    tank.create(DEPLOYMENTS, workload(2))
    tank.run_pods()
    tank.api.delete(DEPLOYMENTS, "default", "web")
    tank.run_pods()
    assert tank.list(REPLICASETS) == [] and tank.list(PODS) == []


def test_foreground_deletion_waits_for_dependents(tank: Tank) -> None:
    tank.create(DEPLOYMENTS, workload(2))
    tank.run_pods()
    tank.api.delete(DEPLOYMENTS, "default", "web", deletion.Options(propagation_policy="Foreground"))
    tank.settle()
    assert tank.get(DEPLOYMENTS, "web")["metadata"]["finalizers"] == ["foregroundDeletion"]
    tank.run_pods()
    assert tank.list(DEPLOYMENTS) == [] and tank.list(REPLICASETS) == []


def test_orphaned_dependents_stay(tank: Tank) -> None:
    tank.create(REPLICASETS, workload(2))
    tank.run_pods()
    tank.api.delete(REPLICASETS, "default", "web", deletion.Options(propagation_policy="Orphan"))
    tank.run_pods()
    assert tank.list(REPLICASETS) == []
    assert [p["metadata"].get("ownerReferences") for p in tank.list(PODS)] == [[], []]


def test_a_namespace_is_emptied_before_it_goes(tank: Tank) -> None:
    tank.api.create(NAMESPACES, None, {"metadata": {"name": "team"}})
    tank.api.create(CONFIGMAPS, "team", {"metadata": {"name": "a", "finalizers": ["example.com/hold"]}})
    tank.api.delete(NAMESPACES, None, "team")
    tank.settle()
    assert tank.api.get(NAMESPACES, None, "team")["status"]["phase"] == "Terminating"
    with pytest.raises(ApiError, match="because it is being terminated"):
        tank.api.create(CONFIGMAPS, "team", {"metadata": {"name": "b"}})
    tank.api.modify(CONFIGMAPS, "team", "a", lambda o: {**o, "metadata": {**o["metadata"], "finalizers": []}})
    tank.settle()
    assert not tank.api.exists(NAMESPACES, None, "team")


# The other workloads


def test_stateful_pods_start_in_order_and_stop_in_reverse(tank: Tank) -> None:
    tank.create(STATEFULSETS, workload(3, serviceName="web"))
    tank.settle()
    assert [p["metadata"]["name"] for p in tank.list(PODS)] == ["web-0"]
    tank.run_pods()
    assert [p["metadata"]["name"] for p in tank.list(PODS)] == ["web-0", "web-1", "web-2"]
    assert tank.list(PODS)[1]["spec"]["hostname"] == "web-1"
    tank.scale(STATEFULSETS, "web", 1)
    tank.settle()
    deleting = [p["metadata"]["name"] for p in tank.list(PODS) if p["metadata"].get("deletionTimestamp")]
    assert deleting == ["web-2"]
    tank.run_pods()
    assert [p["metadata"]["name"] for p in tank.list(PODS)] == ["web-0"]


def test_a_stateful_update_replaces_pods_from_the_top(tank: Tank) -> None:
    tank.create(STATEFULSETS, workload(2, serviceName="web"))
    tank.run_pods()
    changed = workload(2, "i:2", serviceName="web")
    tank.api.modify(STATEFULSETS, "default", "web", lambda o: {**o, "spec": changed["spec"]})
    tank.settle()
    deleting = [p["metadata"]["name"] for p in tank.list(PODS) if p["metadata"].get("deletionTimestamp")]
    assert deleting == ["web-1"]
    tank.run_pods()
    assert {p["spec"]["containers"][0]["image"] for p in tank.list(PODS)} == {"i:2"}
    status = tank.get(STATEFULSETS, "web")["status"]
    assert status["currentRevision"] == status["updateRevision"]


def test_daemons_run_once_on_every_node_that_may_have_them(
    clock: VirtualClock, journal: MemoryJournal
) -> None:
    tank = Tank(clock, journal, nodes=3)
    daemons = workload()
    del daemons["spec"]["replicas"]
    daemons["spec"]["template"]["spec"]["nodeSelector"] = {"disk": "fast"}
    for name in ("node-1", "node-3"):
        tank.api.modify(
            NODES, None, name,
            lambda o: {**o, "metadata": {**o["metadata"], "labels": {**labels_of(o), "disk": "fast"}}},
        )  # fmt: skip
    tank.create(DAEMONSETS, daemons)
    tank.run_pods()
    assert sorted(p["spec"]["nodeName"] for p in tank.list(PODS)) == ["node-1", "node-3"]
    assert tank.get(DAEMONSETS, "web")["status"]["numberReady"] == 2


def finish(tank: Tank, phase: str, count: int) -> None:
    tank.run_pods()
    live = [p for p in tank.list(PODS) if p["status"]["phase"] == "Running"]
    for pod in live[:count]:
        stamp = format_time(tank.clock.now())
        state = {"terminated": {"exitCode": 0 if phase == "Succeeded" else 1, "finishedAt": stamp}}
        statuses = [{**s, "state": state} for s in pod["status"]["containerStatuses"]]
        tank.status(PODS, pod, {**pod["status"], "phase": phase, "containerStatuses": statuses})
    tank.run_pods()


def job(**spec: Any) -> Object:
    return {"metadata": {"name": "job"}, "spec": {"template": template(restartPolicy="Never"), **spec}}


def test_a_job_runs_until_enough_have_succeeded(tank: Tank) -> None:
    tank.create(JOBS, job(completions=3, parallelism=2))
    tank.run_pods()
    assert len(tank.list(PODS)) == 2
    finish(tank, "Succeeded", 2)
    finish(tank, "Succeeded", 1)
    done = tank.get(JOBS, "job")
    assert done["status"]["succeeded"] == 3
    assert condition(done, "Complete")["status"] == "True"


def test_a_job_backs_off_and_gives_up(tank: Tank, clock: VirtualClock) -> None:
    tank.create(JOBS, job(backoffLimit=1))
    finish(tank, "Failed", 1)
    assert tank.settle() == clock.now() + 10
    clock.run_until(clock.now() + 10)
    finish(tank, "Failed", 1)
    assert condition(tank.get(JOBS, "job"), "Failed")["reason"] == "BackoffLimitExceeded"


def test_a_cron_job_starts_jobs_on_time(tank: Tank, clock: VirtualClock) -> None:
    spec = {
        "schedule": "*/10 * * * *",
        "jobTemplate": {"spec": job()["spec"]},
        "successfulJobsHistoryLimit": 1,
    }
    tank.create(CRONJOBS, {"metadata": {"name": "cron"}, "spec": spec})
    due = tank.settle()
    assert due is not None and due % 600 == 0
    for _ in range(3):
        clock.run_until(due)  # the jobs' own times may come first, but not within ten minutes
        tank.settle()
        finish(tank, "Succeeded", 1)
        due = tank.settle()
        assert due is not None
    assert len(tank.list(JOBS)) == 1


# Robustness


def test_events_are_bounded(tank: Tank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wavetank.kube.admission.KUBE_EVENTS_MAX", 20)
    for i in range(100):
        involved = {"kind": "Pod", "name": "p", "namespace": "default"}
        tank.create(EVENTS, {"metadata": {"name": f"e{i:03d}"}, "involvedObject": involved})
    names = [e["metadata"]["name"] for e in tank.list(EVENTS)]
    assert len(names) <= 20 and names[-1] == "e099"


def test_a_definition_nobody_can_serve_breaks_nothing(tank: Tank) -> None:
    spec = {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "things", "kind": "Thing"},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": "no object"}],
    }
    body = {"metadata": {"name": "things.example.com"}, "spec": spec}
    tank.api.create(CUSTOMRESOURCEDEFINITIONS, None, body)
    tank.create(DEPLOYMENTS, workload(1))
    tank.run_pods()
    assert tank.get(DEPLOYMENTS, "web")["status"]["readyReplicas"] == 1


# Nodes and budgets


def test_a_silent_node_is_tainted_and_its_pods_move(clock: VirtualClock, journal: MemoryJournal) -> None:
    tank = Tank(clock, journal, nodes=2)
    tank.create(DEPLOYMENTS, workload(2))
    tank.run_pods()
    for name in ("node-1", "node-2"):
        lease = {"metadata": {"name": name}, "spec": {"renewTime": format_micro_time(clock.now())}}
        tank.api.create(LEASES, "kube-node-lease", lease)
    tank.settle()
    for _ in range(40):
        clock.run_until(clock.now() + 10)
        tank.api.modify(
            LEASES, "kube-node-lease", "node-2",
            lambda o: {**o, "spec": {"renewTime": format_micro_time(clock.now())}},
        )  # fmt: skip
        tank.run_pods()
    lost = tank.api.get(NODES, None, "node-1")
    assert condition(lost, "Ready")["status"] == "Unknown"
    assert {t["key"] for t in lost["spec"]["taints"]} == {"node.kubernetes.io/unreachable"}
    assert {p["spec"]["nodeName"] for p in tank.list(PODS)} == {"node-2"}


def test_a_budget_counts_what_may_be_evicted(tank: Tank) -> None:
    budget = {
        "metadata": {"name": "b"},
        "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}},
    }
    tank.create(PODDISRUPTIONBUDGETS, budget)
    tank.create(DEPLOYMENTS, workload(3))
    tank.run_pods()
    assert tank.get(PODDISRUPTIONBUDGETS, "b")["status"]["disruptionsAllowed"] == 1
    from wavetank.kube.subresources import create_subresource

    names = [p["metadata"]["name"] for p in tank.list(PODS)]
    create_subresource(tank.api, PODS, "default", names[0], "eviction", {}, tank.plane.client("t")._caller)
    with pytest.raises(ApiError) as caught:
        create_subresource(
            tank.api, PODS, "default", names[1], "eviction", {}, tank.plane.client("t")._caller
        )
    assert caught.value.code == 429
