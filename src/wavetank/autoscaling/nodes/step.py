"""One scan of the node autoscaler, as a function of what it sees and remembers.

Mirrors ``core/static_autoscaler.go``: pods that the scheduler calls unschedulable are packed onto the nodes
there are, onto those still booting, then onto new ones of the template; a node of the group below the
utilisation threshold whose pods would all fit elsewhere is unneeded, and goes when it has been so for long
enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from wavetank.autoscaling.nodes.model import (
    GROUP_LABEL,
    NodeEvent,
    NodePlan,
    NodesOptions,
    NodesState,
    NodesView,
)
from wavetank.kube.client import Object
from wavetank.kube.objects import controller_of, is_deleting, labels_of
from wavetank.kube.scheduler.filters import Cluster, refusal
from wavetank.kube.scheduler.nodes import NodeInfo, pod_requests

__all__ = ["step", "unschedulable", "utilization"]

_SAFE = "cluster-autoscaler.kubernetes.io/safe-to-evict"
_DISABLED = "cluster-autoscaler.kubernetes.io/scale-down-disabled"
_MIRROR = "kubernetes.io/config.mirror"


def step(
    now: float, view: NodesView, state: NodesState, options: NodesOptions
) -> tuple[NodePlan, NodesState]:
    """What to do now, and what to remember."""
    start = tuple(sorted(name for name, ready_at in state.booting.items() if ready_at <= now))
    booting = {name: ready_at for name, ready_at in state.booting.items() if name not in start}
    state = replace(state, booting=booting)
    ordered, events, state = _scale_up(now, view, start, state, options)
    drain, delete, state = _scale_down(now, view, state, options, grown=bool(ordered or state.booting))
    due = min([now + options.scan_interval, *state.booting.values()])
    return NodePlan(ordered, start, drain, delete, events, due), state


# --- up


def unschedulable(pods: Iterable[Object]) -> list[Object]:
    """Pods that the scheduler has found no node for."""
    found = []
    for pod in pods:
        if (pod.get("spec") or {}).get("nodeName") or is_deleting(pod):
            continue
        conditions = (pod.get("status") or {}).get("conditions") or ()
        if any(
            c.get("type") == "PodScheduled"
            and c.get("status") == "False"
            and c.get("reason") == "Unschedulable"
            for c in conditions
        ):
            found.append(pod)
    return found


def _scale_up(
    now: float, view: NodesView, start: Sequence[str], state: NodesState, options: NodesOptions
) -> tuple[tuple[str, ...], tuple[NodeEvent, ...], NodesState]:
    """Order nodes for the pods without a place that a node of the template would take."""
    size = _group_size(view, state) + len(start)
    # Nodes under way count with the room they will have.
    existing = [info.without(frozenset()) for info in view.nodes]
    upcoming = [_empty(name, options) for name in (*start, *state.booting)]
    missing = max(0, options.minimum - size)
    new = [_empty(f"new-{i}", options) for i in range(missing)]
    pods = sorted(unschedulable(view.pending), key=_weight, reverse=True)
    events: list[NodeEvent] = []
    helped: list[Object] = []
    told = set(state.told)
    for pod in pods:
        known = [*existing, *upcoming, *new]
        if _place(pod, existing, known):
            continue  # the scheduler has not looked again yet
        if _place(pod, [*upcoming, *new], known):
            helped.append(pod)
            continue
        why = _why_not(pod, size + len(new), options)
        if why is None:
            fresh = _empty(f"new-{len(new)}", options)
            if _place(pod, [fresh], [*known, fresh]):
                new.append(fresh)
                helped.append(pod)
                continue
            why = "1 node(s) would not take it"
        events += _once(told, pod, "NotTriggerScaleUp", f"pod didn't trigger scale-up: {why}")
    serial = state.serial
    ordered = tuple(f"{options.group}-{serial + i + 1}" for i in range(len(new)))
    if ordered:
        grown = f"[{{{options.group} {size}->{size + len(ordered)} (max: {options.maximum})}}]"
        for pod in helped:
            events += _once(told, pod, "TriggeredScaleUp", f"pod triggered scale-up: {grown}")
    alive = {pod["metadata"]["uid"] for pod in pods}
    booting = {**state.booting, **dict.fromkeys(ordered, now + options.boot_delay)}
    return (
        ordered,
        tuple(events),
        replace(
            state,
            booting=booting,
            serial=serial + len(ordered),
            added_at=now if ordered else state.added_at,
            told=frozenset(entry for entry in told if entry[0] in alive),
        ),
    )


def _once(told: set[tuple[str, str]], pod: Object, reason: str, message: str) -> list[NodeEvent]:
    """The event, unless the pod was told so before."""
    mark = (pod["metadata"]["uid"], reason)
    if mark in told:
        return []
    told.add(mark)
    return [NodeEvent(pod, "Normal", reason, message)]


def _why_not(pod: Object, size: int, options: NodesOptions) -> str | None:
    """Why another node of the template would not help; None where it may."""
    empty = _empty("new", options)
    refused = refusal(pod, empty, Cluster([empty]))
    if refused is not None and not _by_company(refused.reasons):
        return "1 " + ", 1 ".join(refused.reasons)
    return "1 max node group size reached" if size >= options.maximum else None


def _by_company(reasons: Sequence[str]) -> bool:
    """Whether a refusal is about other pods and nodes, and so may be different among all of them."""
    return any("topology spread" in reason or "affinity rules" in reason for reason in reasons)


def _empty(name: str, options: NodesOptions) -> NodeInfo:
    template = options.template
    labels = {
        **labels_of(template),
        GROUP_LABEL: options.group,
        "kubernetes.io/hostname": name,
    }
    return NodeInfo.of({**template, "metadata": {"name": name, "labels": labels}})


def _place(pod: Object, candidates: Sequence[NodeInfo], known: Sequence[NodeInfo]) -> bool:
    """Put the pod onto the first candidate that takes it."""
    cluster, requests = Cluster(known), pod_requests(pod)
    for info in candidates:
        if refusal(pod, info, cluster, requests) is None:
            info.add(pod)
            return True
    return False


def _weight(pod: Object) -> tuple[int, int]:
    requests = pod_requests(pod)
    return requests.get("cpu", 0), requests.get("memory", 0)


# --- down


def utilization(info: NodeInfo) -> float:
    """The larger share of CPU and memory that is asked for; pods of DaemonSets count, as by default."""
    shares = [
        info.requested.get(name, 0) / info.allocatable[name]
        for name in ("cpu", "memory")
        if info.allocatable.get(name)
    ]
    return max(shares, default=0.0)


def _scale_down(
    now: float, view: NodesView, state: NodesState, options: NodesOptions, *, grown: bool
) -> tuple[tuple[str, ...], tuple[str, ...], NodesState]:
    """Nodes to drain now, and drained ones to delete."""
    names = {info.name for info in view.nodes}
    draining = {name: since for name, since in state.draining.items() if name in names}
    delete = tuple(
        info.name
        for info in view.nodes
        if info.name in draining
        and (not _movable(info) or now - draining[info.name] >= options.drain_timeout)
    )
    unneeded = _unneeded(now, view, state, options, draining)
    cooling = state.added_at is not None and now - state.added_at < options.delay_after_add
    drain: list[str] = []
    if not grown and not cooling:
        drain = _due(now, view, unneeded, options, len(draining))
    state = replace(
        state,
        unneeded={name: since for name, since in unneeded.items() if name not in drain},
        draining={**draining, **dict.fromkeys(drain, now)},
    )
    return tuple(drain), delete, state


def _unneeded(
    now: float, view: NodesView, state: NodesState, options: NodesOptions, draining: Iterable[str]
) -> dict[str, float]:
    """Since when each node is not needed. Pods of one unneeded node take room from the next one's."""
    gone = set(draining)
    rest = [info for info in view.nodes if info.name not in gone]
    found: dict[str, float] = {}
    for info in sorted(rest, key=utilization):
        others = [other for other in rest if other is not info and other.name not in found]
        if (
            _in_group(info)
            and utilization(info) < options.utilization_threshold
            and _could_go(info, others, view)
        ):
            found[info.name] = state.unneeded.get(info.name, now)
    return found


def _due(
    now: float, view: NodesView, unneeded: dict[str, float], options: NodesOptions, draining: int
) -> list[str]:
    """Of the nodes unneeded for long enough: all empty ones up to the bulk's size, else one."""
    in_group = sum(1 for info in view.nodes if _in_group(info)) - draining
    spare = max(0, in_group - options.minimum)
    ripe = [n for n in view.nodes if n.name in unneeded and now - unneeded[n.name] >= options.unneeded_time]
    empty = [info.name for info in ripe if not _movable(info)][: min(spare, options.empty_bulk_delete)]
    if empty or draining:
        return empty
    return [info.name for info in ripe][: min(spare, 1)]


def _could_go(info: NodeInfo, others: Sequence[NodeInfo], view: NodesView) -> bool:
    """Whether all pods of the node may be moved, and would fit on the others."""
    annotations = info.node["metadata"].get("annotations") or {}
    if annotations.get(_DISABLED) == "true":
        return False
    copies = [other.without(frozenset()) for other in others if not _cordoned(other)]
    left = dict(view.budgets)
    for pod in _movable(info):
        if _blocks(pod):
            return False
        for budget in view.budgets_of.get(pod["metadata"]["uid"], ()):
            left[budget] = left.get(budget, 0) - 1
            if left[budget] < 0:
                return False
        loose = {**pod, "spec": {k: v for k, v in pod["spec"].items() if k != "nodeName"}}
        if not _place(loose, copies, copies):
            return False
    return True


def _movable(info: NodeInfo) -> list[Object]:
    """Pods that have to go somewhere else: those of DaemonSets and mirrors stay with their node."""
    return [
        pod
        for pod in info.pods.values()
        if (controller_of(pod) or {}).get("kind") != "DaemonSet"
        and _MIRROR not in (pod["metadata"].get("annotations") or {})
    ]


def _blocks(pod: Object) -> bool:
    """Whether a pod keeps its node: nobody would make it again, it has data here, or it says so."""
    safe = (pod["metadata"].get("annotations") or {}).get(_SAFE)
    if safe is not None:
        return str(safe) != "true"
    if controller_of(pod) is None or pod["metadata"].get("namespace") == "kube-system":
        return True
    volumes = pod["spec"].get("volumes") or ()
    return any("hostPath" in volume or "emptyDir" in volume for volume in volumes)


def _in_group(info: NodeInfo) -> bool:
    return GROUP_LABEL in labels_of(info.node)


def _cordoned(info: NodeInfo) -> bool:
    return bool((info.node.get("spec") or {}).get("unschedulable"))


def _group_size(view: NodesView, state: NodesState) -> int:
    return sum(1 for info in view.nodes if _in_group(info)) + len(state.booting)
