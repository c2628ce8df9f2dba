"""Which of the nodes that fit is best: the score plugins with their default weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from wavetank.kube.client import Object
from wavetank.kube.objects import controller_of, labels_of
from wavetank.kube.scheduler.affinity import matches_node_selector, topology_counts, untolerated
from wavetank.kube.scheduler.filters import Cluster, selects
from wavetank.kube.scheduler.nodes import NodeInfo, pod_requests

__all__ = ["scores"]

_PREFERRED: Final = "preferredDuringSchedulingIgnoredDuringExecution"
_SPREAD_KEYS: Final = ("kubernetes.io/hostname", "topology.kubernetes.io/zone")


def scores(pod: Object, fitting: Sequence[NodeInfo], cluster: Cluster) -> list[float]:
    """One number per node, higher is better."""
    asked = pod_requests(pod, scoring=True)
    plain = pod_requests(pod)
    resources = [_least_allocated(asked, n) + _balanced(plain, n) for n in fitting]
    taints = _reversed_share([len(untolerated(pod, n.node, ("PreferNoSchedule",))) for n in fitting])
    affinity = _share([_node_affinity(pod, n) for n in fitting])
    pods = _range([_pod_affinity(pod, n, cluster) for n in fitting])
    spread = _reversed_share(_spread(pod, fitting, cluster))
    return [
        resources[i] + 3 * taints[i] + 2 * affinity[i] + 2 * pods[i] + 2 * spread[i]
        for i in range(len(fitting))
    ]


def _least_allocated(asked: dict[str, int], info: NodeInfo) -> float:
    total = 0.0
    for name in ("cpu", "memory"):
        have = info.allocatable.get(name, 0)
        used = info.scored.get(name, 0) + asked.get(name, 0)
        total += (have - used) * 100 // have if have and used <= have else 0
    return total / 2


def _balanced(asked: dict[str, int], info: NodeInfo) -> float:
    """100 less the spread of the fractions of cpu and memory that would be requested."""
    fractions = []
    for name in ("cpu", "memory"):
        have = info.allocatable.get(name, 0)
        if have:
            fractions.append(min(1.0, (info.requested.get(name, 0) + asked.get(name, 0)) / have))
    if len(fractions) < 2:
        return 100.0
    return (1 - abs(fractions[0] - fractions[1]) / 2) * 100


def _node_affinity(pod: Object, info: NodeInfo) -> float:
    terms = ((pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get(_PREFERRED) or ()
    return sum(
        float(term.get("weight", 0))
        for term in terms
        if matches_node_selector({"nodeSelectorTerms": [term.get("preference") or {}]}, info.node)
    )


def _pod_affinity(pod: Object, info: NodeInfo, cluster: Cluster) -> float:
    affinity = pod["spec"].get("affinity") or {}
    total = 0.0
    for kind, sign in (("podAffinity", 1), ("podAntiAffinity", -1)):
        for weighted in (affinity.get(kind) or {}).get(_PREFERRED) or ():
            term = weighted.get("podAffinityTerm") or {}
            domain = labels_of(info.node).get(term.get("topologyKey", ""))
            if domain is None:
                continue
            found = sum(
                1
                for other in cluster.nodes
                if labels_of(other.node).get(term["topologyKey"]) == domain
                for existing in other.pods.values()
                if selects(term, pod, existing)
            )
            total += sign * weighted.get("weight", 0) * found
    return total


def _spread(pod: Object, fitting: Sequence[NodeInfo], cluster: Cluster) -> list[float]:
    """Matching pods near each node. Without constraints of its own, a pod keeps away from its siblings."""
    constraints = pod["spec"].get("topologySpreadConstraints") or ()
    soft = [c for c in constraints if c.get("whenUnsatisfiable") == "ScheduleAnyway"]
    totals = [0.0] * len(fitting)
    if not constraints:
        return _siblings(pod, fitting, cluster)
    for constraint in soft:
        key = constraint["topologyKey"]
        spaces = frozenset({pod["metadata"]["namespace"]})
        counts = topology_counts(cluster.nodes, key, constraint.get("labelSelector"), spaces)
        for i, info in enumerate(fitting):
            totals[i] += counts.get(labels_of(info.node).get(key, ""), 0)
    return totals


def _siblings(pod: Object, fitting: Sequence[NodeInfo], cluster: Cluster) -> list[float]:
    owner = controller_of(pod)
    totals = [0.0] * len(fitting)
    if owner is None:
        return totals
    per_node = {n.name: n.owners[owner["uid"]] for n in cluster.nodes}
    for key in _SPREAD_KEYS:
        counts: dict[str, int] = {}
        for info in cluster.nodes:
            domain = labels_of(info.node).get(key, info.name if key == _SPREAD_KEYS[0] else "")
            counts[domain] = counts.get(domain, 0) + per_node[info.name]
        for i, info in enumerate(fitting):
            totals[i] += counts[labels_of(info.node).get(key, info.name if key == _SPREAD_KEYS[0] else "")]
    return totals


def _share(values: Sequence[float]) -> list[float]:
    top = max(values, default=0)
    return [100 * v / top if top > 0 else 0.0 for v in values]


def _reversed_share(values: Sequence[float]) -> list[float]:
    top = max(values, default=0)
    return [100 - 100 * v / top if top > 0 else 100.0 for v in values]


def _range(values: Sequence[float]) -> list[float]:
    low, high = min(values, default=0), max(values, default=0)
    return [100 * (v - low) / (high - low) if high > low else 0.0 for v in values]
