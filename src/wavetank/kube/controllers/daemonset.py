"""DaemonSets: one pod on every node that may have it.

Mirrors ``pkg/controller/daemon``: pods are pinned to their node by affinity and bound by the scheduler.
Left out: surge updates.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from wavetank.kube.client import Object
from wavetank.kube.controllers.actions import Action, Create, Decision, Delete, Key, Told, Update, View
from wavetank.kube.controllers.claims import claim
from wavetank.kube.controllers.deployment.replicas import resolve
from wavetank.kube.controllers.replicaset import next_availability, pod_from_template
from wavetank.kube.controllers.sources import by_owner, itself, key_in
from wavetank.kube.objects import (
    is_available,
    is_deleting,
    is_ready,
    is_terminal,
    labels_of,
    owner_reference,
    stable_hash,
)  # fmt: skip
from wavetank.kube.resources import DAEMONSETS, NODES, PODS
from wavetank.kube.scheduler.affinity import untolerated, wanted_nodes
from wavetank.kube.storage import Change, name_of

__all__ = ["DaemonSetController"]

_REVISION: Final = "controller-revision-hash"
_TOLERATED: Final = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)


def _all(view: View, change: Change) -> Iterable[Key]:
    before = change.previous
    same = (
        before is not None
        and all(before.get(part) == change.object.get(part) for part in ("spec",))
        and labels_of(before) == labels_of(change.object)
    )
    return () if same else [name_of(obj) for obj in view.list(DAEMONSETS)]


class DaemonSetController:
    name = "daemonset-controller"
    sources = (itself(DAEMONSETS), by_owner(PODS, DAEMONSETS), key_in(NODES, _all))

    def step(self, now: float, key: Key, view: View) -> Decision:
        daemons = view.get(DAEMONSETS, *key)
        if daemons is None:
            return Decision()
        pods, claims = claim(view, daemons, DAEMONSETS, PODS)
        revision = stable_hash(daemons["spec"]["template"])
        by_node: dict[str, list[Object]] = {}
        for pod in pods:
            by_node.setdefault(_node_of(pod), []).append(pod)
        nodes = [n["metadata"]["name"] for n in view.list(NODES) if _wanted(daemons, n)]
        actions: list[Action] = list(claims)
        if not is_deleting(daemons):
            actions += _manage(daemons, by_node, nodes, revision, now)
        status = _status(daemons, by_node, nodes, revision, now)
        if status != daemons.get("status"):
            actions.append(Update(DAEMONSETS, {**daemons, "status": status}, "status"))
        return Decision(actions, next_availability(pods, daemons["spec"].get("minReadySeconds", 0), now))


def _node_of(pod: Object) -> str:
    """The node a pod is bound or pinned to."""
    if pod["spec"].get("nodeName"):
        return str(pod["spec"]["nodeName"])
    affinity = ((pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    ) or {}
    for term in affinity.get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            return str(field["values"][0])
    return ""


def _pod(daemons: Object, node: str, revision: str) -> Object:
    pod = pod_from_template(daemons, owner_reference(daemons, DAEMONSETS), daemons["spec"]["template"])
    pod["metadata"]["labels"] = {**(pod["metadata"].get("labels") or {}), _REVISION: revision}
    spec = dict(pod["spec"])
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    affinity = dict(spec.get("affinity") or {})
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    affinity["nodeAffinity"] = {**(affinity.get("nodeAffinity") or {}), **required}
    spec["affinity"] = affinity
    spec["tolerations"] = [
        *(spec.get("tolerations") or ()),
        *({"key": key, "operator": "Exists", "effect": effect} for key, effect in _TOLERATED),
    ]
    pod["spec"] = spec
    return pod


def _wanted(daemons: Object, node: Object) -> bool:
    pod = _pod(daemons, node["metadata"]["name"], "")
    template = {"spec": daemons["spec"]["template"]["spec"]}
    return wanted_nodes(template, node) and not untolerated(pod, node, ("NoSchedule", "NoExecute"))


def _manage(
    daemons: Object, by_node: dict[str, list[Object]], nodes: Sequence[str], revision: str, now: float
) -> list[Action]:
    told = Told(daemons, "SuccessfulCreate", "Created pod: {name}", "FailedCreate", "Error creating: {error}")
    gone = Told(daemons, "SuccessfulDelete", "Deleted pod: {name}")
    actions: list[Action] = []
    for node in nodes:
        pods = by_node.get(node, [])
        if not pods:
            actions.append(Create(PODS, _pod(daemons, node, revision), told))
        actions += [Delete(PODS, p, gone) for p in pods if is_terminal(p) and not is_deleting(p)]
    for node, pods in by_node.items():
        if node not in nodes:
            actions += [Delete(PODS, p, gone) for p in pods if not is_deleting(p)]
    return actions or _update(daemons, by_node, nodes, revision, gone, now)


def _update(
    daemons: Object,
    by_node: dict[str, list[Object]],
    nodes: Sequence[str],
    revision: str,
    gone: Told,
    now: float,
) -> list[Action]:
    strategy = daemons["spec"].get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return []
    unavailable = (strategy.get("rollingUpdate") or {}).get("maxUnavailable", 1)
    budget = max(1, resolve(unavailable, len(nodes), up=True))
    seconds = daemons["spec"].get("minReadySeconds", 0)
    live = [p for node in nodes for p in by_node.get(node, [])]
    down = sum(1 for p in live if is_deleting(p) or not is_available(p, seconds, now))
    old = [p for p in live if labels_of(p).get(_REVISION) != revision and not is_deleting(p)]
    idle = [p for p in old if not is_available(p, seconds, now)]
    busy = [p for p in old if is_available(p, seconds, now)]
    return [Delete(PODS, p, gone) for p in (*idle, *busy[: max(0, budget - down)])]


def _status(
    daemons: Object, by_node: dict[str, list[Object]], nodes: Sequence[str], revision: str, now: float
) -> Object:
    seconds = daemons["spec"].get("minReadySeconds", 0)
    firsts = [by_node[node][0] for node in nodes if by_node.get(node)]
    available = sum(1 for p in firsts if is_available(p, seconds, now))
    status = {
        "currentNumberScheduled": len(firsts),
        "numberMisscheduled": sum(1 for node in by_node if node not in nodes),
        "desiredNumberScheduled": len(nodes),
        "numberReady": sum(1 for p in firsts if is_ready(p)),
        "observedGeneration": daemons["metadata"].get("generation", 0),
        "updatedNumberScheduled": sum(1 for p in firsts if labels_of(p).get(_REVISION) == revision),
        "numberAvailable": available,
        "numberUnavailable": len(nodes) - available,
    }
    optional = ("updatedNumberScheduled", "numberAvailable", "numberUnavailable")
    return {name: count for name, count in status.items() if count or name not in optional}
