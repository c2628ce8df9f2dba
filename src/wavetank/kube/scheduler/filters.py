"""Why a pod cannot run on a node: the filter plugins, with their own words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from wavetank.kube.client import Object
from wavetank.kube.objects import labels_of
from wavetank.kube.scheduler.affinity import topology_counts, untolerated, wanted_nodes
from wavetank.kube.scheduler.nodes import Amounts, NodeInfo, anti_affinity_terms, host_ports, pod_requests
from wavetank.kube.selectors import from_object

__all__ = ["Cluster", "Refusal", "refusal", "selects"]

_HARD: Final = ("NoSchedule", "NoExecute")
_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"


@dataclass(frozen=True, slots=True)
class Refusal:
    """``resolvable`` is whether taking pods away could help (preemption)."""

    reasons: tuple[str, ...]
    resolvable: bool


@dataclass(frozen=True, slots=True)
class Cluster:
    """All nodes, and what of the pod's constraints is the same for each of them."""

    nodes: Sequence[NodeInfo]


def refusal(pod: Object, info: NodeInfo, cluster: Cluster, requests: Amounts | None = None) -> Refusal | None:
    """None where the pod fits. The first filter that refuses speaks."""
    spec, node = pod["spec"], info.node
    if (node.get("spec") or {}).get("unschedulable") and not _tolerates_cordon(pod):
        return Refusal(("node(s) were unschedulable",), False)
    if spec.get("nodeName") and spec["nodeName"] != info.name:
        return Refusal(("node(s) didn't match the requested node name",), False)
    if taints := untolerated(pod, node, _HARD):
        taint = taints[0]
        text = f"node(s) had untolerated taint {{{taint.get('key')}: {taint.get('value', '')}}}"
        return Refusal((text,), False)
    if not wanted_nodes(pod, node):
        return Refusal(("node(s) didn't match Pod's node affinity/selector",), False)
    if _ports_clash(pod, info):
        return Refusal(("node(s) didn't have free ports for the requested pod ports",), True)
    if short := _insufficient(requests if requests is not None else pod_requests(pod), info):
        return Refusal(tuple(short), _could_ever_fit(requests or pod_requests(pod), info))
    return _spread(pod, info, cluster) or _pod_affinity(pod, info, cluster)


def _tolerates_cordon(pod: Object) -> bool:
    taint = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    node = {"spec": {"taints": [taint]}, "metadata": {"name": ""}}
    return not untolerated(pod, node, ("NoSchedule",))


def _ports_clash(pod: Object, info: NodeInfo) -> bool:
    wanted = host_ports(pod)
    if not wanted:
        return False
    for other in info.pods.values():
        for protocol, port, address in host_ports(other):
            for mine in wanted:
                same_address = "0.0.0.0" in (mine[2], address) or mine[2] == address
                if (mine[0], mine[1]) == (protocol, port) and same_address:
                    return True
    return False


def _insufficient(requests: Amounts, info: NodeInfo) -> list[str]:
    short = []
    if len(info.pods) + 1 > info.allocatable["pods"]:
        short.append("Too many pods")
    for name, amount in requests.items():
        if amount and amount > info.allocatable.get(name, 0) - info.requested.get(name, 0):
            short.append(f"Insufficient {name}")
    return short


def _could_ever_fit(requests: Amounts, info: NodeInfo) -> bool:
    return all(amount <= info.allocatable.get(name, 0) for name, amount in requests.items())


def _spread(pod: Object, info: NodeInfo, cluster: Cluster) -> Refusal | None:
    labels = labels_of(info.node)
    for constraint in pod["spec"].get("topologySpreadConstraints") or ():
        if constraint.get("whenUnsatisfiable", "DoNotSchedule") != "DoNotSchedule":
            continue
        key = constraint["topologyKey"]
        if key not in labels:
            text = "node(s) didn't match pod topology spread constraints (missing required label)"
            return Refusal((text,), False)
        eligible = [n for n in cluster.nodes if key in labels_of(n.node) and _eligible(pod, n, constraint)]
        selector = _spread_selector(pod, constraint)
        counts = topology_counts(eligible, key, selector, frozenset({pod["metadata"]["namespace"]}))
        least = min(counts.values(), default=0)
        if (minimum := constraint.get("minDomains")) and len(counts) < minimum:
            least = 0
        own = 1 if from_object(selector).matches(labels_of(pod)) else 0
        if counts.get(labels[key], 0) + own - least > constraint.get("maxSkew", 1):
            return Refusal(("node(s) didn't match pod topology spread constraints",), True)
    return None


def _eligible(pod: Object, info: NodeInfo, constraint: Mapping[str, Any]) -> bool:
    if constraint.get("nodeAffinityPolicy", "Honor") == "Honor" and not wanted_nodes(pod, info.node):
        return False
    honor_taints = constraint.get("nodeTaintsPolicy", "Ignore") == "Honor"
    return not (honor_taints and untolerated(pod, info.node, _HARD))


def _spread_selector(pod: Object, constraint: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """``matchLabelKeys`` adds the pod's own values to the selector."""
    selector = constraint.get("labelSelector")
    keys = [k for k in constraint.get("matchLabelKeys") or () if k in labels_of(pod)]
    if selector is None or not keys:
        return selector
    more = {k: labels_of(pod)[k] for k in keys}
    return {**selector, "matchLabels": {**(selector.get("matchLabels") or {}), **more}}


def _pod_affinity(pod: Object, info: NodeInfo, cluster: Cluster) -> Refusal | None:
    affinity = pod["spec"].get("affinity") or {}
    for term in (affinity.get("podAffinity") or {}).get(_REQUIRED) or ():
        if not _affinity_holds(pod, term, info, cluster):
            return Refusal(("node(s) didn't match pod affinity rules",), False)
    for term in anti_affinity_terms(pod):
        if _in_domain(pod, term, info, cluster):
            return Refusal(("node(s) didn't match pod anti-affinity rules",), True)
    for other in cluster.nodes:
        for existing in other.keep_away.values():
            for term in anti_affinity_terms(existing):
                if selects(term, existing, pod) and _same_domain(term, other, info):
                    return Refusal(("node(s) didn't satisfy existing pods anti-affinity rules",), True)
    return None


def _namespaces(term: Mapping[str, Any], owner: Object) -> frozenset[str]:
    return frozenset(term.get("namespaces") or (owner["metadata"]["namespace"],))


def selects(term: Mapping[str, Any], owner: Object, pod: Object) -> bool:
    everywhere = term.get("namespaceSelector") == {}
    namespace = pod["metadata"]["namespace"]
    if not everywhere and namespace not in _namespaces(term, owner):
        return False
    return from_object(term.get("labelSelector")).matches(labels_of(pod))


def _same_domain(term: Mapping[str, Any], one: NodeInfo, other: NodeInfo) -> bool:
    key = term.get("topologyKey", "")
    value = labels_of(one.node).get(key)
    return value is not None and labels_of(other.node).get(key) == value


def _in_domain(pod: Object, term: Mapping[str, Any], info: NodeInfo, cluster: Cluster) -> bool:
    """Whether a pod the term selects runs in the node's domain."""
    return any(
        selects(term, pod, existing)
        for other in cluster.nodes
        if _same_domain(term, other, info)
        for existing in other.pods.values()
    )


def _affinity_holds(pod: Object, term: Mapping[str, Any], info: NodeInfo, cluster: Cluster) -> bool:
    if term.get("topologyKey", "") not in labels_of(info.node):
        return False
    if _in_domain(pod, term, info, cluster):
        return True
    # The first pod of a group that wants to be with itself may go anywhere.
    anywhere = any(selects(term, pod, p) for n in cluster.nodes for p in n.pods.values())
    return not anywhere and selects(term, pod, pod)
