"""Nodes that fall silent: marked unknown, tainted, and their pods evicted when their patience ends.

Mirrors ``pkg/controller/nodelifecycle``, ``tainteviction`` and ``podgc``. A node is judged by its lease in
kube-node-lease; one that never had a lease is taken at its word. Left out: zones and eviction rate limits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from wavetank.kube.client import Object
from wavetank.kube.controllers.actions import Action, Decision, Delete, Emit, Key, Update, View
from wavetank.kube.controllers.sources import itself, key_in
from wavetank.kube.objects import condition, is_deleting, is_terminal, set_condition
from wavetank.kube.resources import LEASES, NODES, PODS
from wavetank.kube.scheduler.affinity import tolerates
from wavetank.kube.storage import Change
from wavetank.kube.times import format_time, parse_time

__all__ = ["NodeLifecycleController"]

_GRACE_SECONDS: Final = 50.0
_LEASE_NAMESPACE: Final = "kube-node-lease"
_NOT_READY: Final = "node.kubernetes.io/not-ready"
_UNREACHABLE: Final = "node.kubernetes.io/unreachable"
_CORDONED: Final = "node.kubernetes.io/unschedulable"
_OURS: Final = frozenset({_NOT_READY, _UNREACHABLE, _CORDONED})


def _of_lease(view: View, change: Change) -> Iterable[Key]:
    """A lease that is renewed in time changes nothing: only its first one and its loss are looked at."""
    del view
    metadata = change.object["metadata"]
    if metadata.get("namespace") == _LEASE_NAMESPACE and change.previous is None:
        yield "", metadata["name"]


def _of_pod(view: View, change: Change) -> Iterable[Key]:
    del view
    before, node = change.previous, change.object["spec"].get("nodeName")
    if node and (before is None or before["spec"].get("nodeName") != node):
        yield "", node


class NodeLifecycleController:
    name = "node-controller"
    sources = (itself(NODES), key_in(LEASES, _of_lease), key_in(PODS, _of_pod))

    def step(self, now: float, key: Key, view: View) -> Decision:
        node = view.get(NODES, *key)
        pods = [p for p in view.list(PODS) if p["spec"].get("nodeName") == key[1]]
        if node is None:
            # Nobody is left to stop them.
            return Decision([Delete(PODS, p, grace_period_seconds=0) for p in pods])
        expires = _expires(view.get(LEASES, _LEASE_NAMESPACE, key[1]))
        silent = expires is not None and expires <= now
        actions: list[Action] = []
        marked = _mark_unknown(node, now) if silent else node
        if marked is not node:
            actions.append(Update(NODES, _unversioned(marked), "status"))
            actions.append(Emit(node, "Normal", "NodeNotReady", f"Node {key[1]} status is now: NodeNotReady"))
            actions += [a for p in pods if (a := _unready(p, now)) is not None]
        tainted = _tainted(marked, now)
        if tainted is not marked:
            actions.append(Update(NODES, _unversioned(tainted)))
        evictions, next_eviction = _evictions(tainted, pods, now)
        actions += evictions
        times = [t for t in (expires if not silent else None, next_eviction) if t is not None]
        return Decision(actions, min(times, default=None))


def _unversioned(obj: Object) -> Object:
    return {**obj, "metadata": {k: v for k, v in obj["metadata"].items() if k != "resourceVersion"}}


def _expires(lease: Object | None) -> float | None:
    renewed = parse_time((lease.get("spec") or {}).get("renewTime")) if lease is not None else None
    return None if renewed is None else renewed + _GRACE_SECONDS


def _mark_unknown(node: Object, now: float) -> Object:
    ready = condition(node, "Ready")
    if ready is not None and ready.get("status") == "Unknown":
        return node
    status = node.get("status") or {}
    conditions = list(status.get("conditions") or ())
    for kind in {"Ready"} | {c["type"] for c in conditions}:
        message = "Kubelet stopped posting node status."
        conditions = set_condition(conditions, kind, "Unknown", "NodeStatusUnknown", message, now)
    return {**node, "status": {**status, "conditions": conditions}}


def _unready(pod: Object, now: float) -> Action | None:
    ready = condition(pod, "Ready")
    if ready is None or ready.get("status") != "True":
        return None
    status = pod["status"]
    conditions = set_condition(status["conditions"], "Ready", "False", "NodeNotReady", "", now)
    return Update(PODS, _unversioned({**pod, "status": {**status, "conditions": conditions}}), "status")


def _tainted(node: Object, now: float) -> Object:
    """The node with the taints its conditions and its cordon call for."""
    ready = condition(node, "Ready")
    state = "True" if ready is None else ready.get("status")
    wanted = []
    if (node.get("spec") or {}).get("unschedulable"):
        wanted.append((_CORDONED, "NoSchedule"))
    if state != "True":
        key = _UNREACHABLE if state == "Unknown" else _NOT_READY
        wanted += [(key, "NoSchedule"), (key, "NoExecute")]
    spec = node.get("spec") or {}
    taints = spec.get("taints") or []
    have = {(t["key"], t["effect"]) for t in taints if t.get("key") in _OURS}
    if have == set(wanted):
        return node
    kept = [t for t in taints if t.get("key") not in _OURS or (t["key"], t["effect"]) in wanted]
    stamp = format_time(now)
    new = [
        {"key": key, "effect": effect, **({"timeAdded": stamp} if effect == "NoExecute" else {})}
        for key, effect in wanted
        if (key, effect) not in have
    ]
    return {**node, "spec": {**spec, "taints": [*kept, *new]}}


def _evictions(node: Object, pods: Iterable[Object], now: float) -> tuple[list[Action], float | None]:
    """Deletions that are due, and when the next one is."""
    taints = [t for t in (node.get("spec") or {}).get("taints") or () if t.get("effect") == "NoExecute"]
    if not taints:
        return [], None
    actions: list[Action] = []
    later: list[float] = []
    for pod in pods:
        if is_deleting(pod) or is_terminal(pod):
            continue
        due = min(_patience(pod, taint, now) for taint in taints)
        if due <= now:
            text = f"Marking for deletion Pod {pod['metadata']['namespace']}/{pod['metadata']['name']}"
            actions += [Emit(pod, "Normal", "TaintManagerEviction", text), Delete(PODS, pod)]
        elif due != float("inf"):
            later.append(due)
    return actions, min(later, default=None)


def _patience(pod: Object, taint: Mapping[str, Any], now: float) -> float:
    """Until when a pod bears a taint: now, a time, or for ever."""
    matching = [t for t in pod["spec"].get("tolerations") or () if tolerates(t, taint)]
    if not matching:
        return now
    limited = [t["tolerationSeconds"] for t in matching if t.get("tolerationSeconds") is not None]
    since = parse_time(taint.get("timeAdded"))
    return (now if since is None else since) + min(limited) if limited else float("inf")
