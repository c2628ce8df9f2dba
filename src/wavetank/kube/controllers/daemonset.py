"""DaemonSets: one pod on every node that may have it.

Mirrors ``pkg/controller/daemon``: pods are pinned to their node by affinity and bound by the scheduler;
updates delete first (``maxUnavailable``) or create first (``maxSurge``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from wavetank.kube.client import Object
from wavetank.kube.controllers.actions import Action, Create, Decision, Delete, Key, Told, Update, View
from wavetank.kube.controllers.claims import claim
from wavetank.kube.controllers.deployment.replicas import resolve
from wavetank.kube.controllers.replicaset import next_availability, pod_from_template
from wavetank.kube.controllers.revisions import REVISION_LABEL, history_of
from wavetank.kube.controllers.sources import by_owner, itself, key_in
from wavetank.kube.objects import (
    is_available,
    is_deleting,
    is_ready,
    is_terminal,
    labels_of,
    owner_reference,
)  # fmt: skip
from wavetank.kube.resources import DAEMONSETS, NODES, PODS
from wavetank.kube.scheduler.affinity import untolerated, wanted_nodes
from wavetank.kube.storage import Change, name_of

__all__ = ["DaemonSetController"]

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
        history = history_of(view, daemons, DAEMONSETS)
        revision = history.digest
        by_node: dict[str, list[Object]] = {}
        for pod in pods:
            by_node.setdefault(_node_of(pod), []).append(pod)
        nodes = [n["metadata"]["name"] for n in view.list(NODES) if _wanted(daemons, n)]
        actions: list[Action] = list(claims)
        if not is_deleting(daemons):
            used = {labels_of(pod).get(REVISION_LABEL, "") for pod in pods}
            limit = daemons["spec"].get("revisionHistoryLimit", 10)
            actions += history.actions + history.surplus(used, limit)
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
    pod["metadata"]["labels"] = {**(pod["metadata"].get("labels") or {}), REVISION_LABEL: revision}
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
    rolling = strategy.get("rollingUpdate") or {}
    seconds = daemons["spec"].get("minReadySeconds", 0)
    pairs = [(node, *_old_and_new(by_node.get(node, []), revision)) for node in nodes]
    surge = resolve(rolling.get("maxSurge", 0), len(nodes), up=True)
    if surge > 0:
        return _surge(daemons, pairs, revision, surge, gone, now)
    budget = max(1, resolve(rolling.get("maxUnavailable", 1), len(nodes), up=True))
    down = 0
    idle: list[Object] = []
    busy: list[Object] = []
    for _, old, new in pairs:
        pod = new or old
        if pod is None or is_deleting(pod) or not is_available(pod, seconds, now):
            down += 1
        if old is not None and new is None and not is_deleting(old):
            (busy if is_available(old, seconds, now) else idle).append(old)
    return [Delete(PODS, p, gone) for p in (*idle, *busy[: max(0, budget - down)])]


def _old_and_new(pods: Sequence[Object], revision: str) -> tuple[Object | None, Object | None]:
    """A node's pod of an earlier template and that of the present one."""
    new = next((p for p in pods if labels_of(p).get(REVISION_LABEL) == revision), None)
    return next((p for p in pods if labels_of(p).get(REVISION_LABEL) != revision), None), new


def _surge(
    daemons: Object,
    pairs: Sequence[tuple[str, Object | None, Object | None]],
    revision: str,
    limit: int,
    gone: Told,
    now: float,
) -> list[Action]:
    """Run the new pod beside the old one until it is available. An old one that is down is replaced whatever
    the limit."""
    seconds = daemons["spec"].get("minReadySeconds", 0)
    surging = 0
    at_once: list[str] = []
    candidates: list[str] = []
    actions: list[Action] = []
    for node, old, new in pairs:
        if old is None:
            continue
        if new is None:
            (candidates if is_available(old, seconds, now) else at_once).append(node)
        elif not is_available(new, seconds, now):
            surging += 1
        elif not is_deleting(old):
            actions.append(Delete(PODS, old, gone))
    told = Told(daemons, "SuccessfulCreate", "Created pod: {name}", "FailedCreate", "Error creating: {error}")
    nodes = (*at_once, *candidates[: max(0, limit - surging)])
    return [*actions, *(Create(PODS, _pod(daemons, node, revision), told) for node in nodes)]


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
        "updatedNumberScheduled": sum(1 for p in firsts if labels_of(p).get(REVISION_LABEL) == revision),
        "numberAvailable": available,
        "numberUnavailable": len(nodes) - available,
    }
    optional = ("updatedNumberScheduled", "numberAvailable", "numberUnavailable")
    return {name: count for name, count in status.items() if count or name not in optional}
