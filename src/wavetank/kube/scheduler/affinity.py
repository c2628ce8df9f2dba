"""Matching of node selectors, taints and pod affinity terms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from wavetank.kube.client import Object
from wavetank.kube.objects import labels_of
from wavetank.kube.scheduler.nodes import NodeInfo
from wavetank.kube.selectors import Requirement, from_object

__all__ = ["matches_node_selector", "tolerates", "topology_counts", "untolerated", "wanted_nodes"]


def matches_node_selector(selector: Mapping[str, Any], node: Object) -> bool:
    """Any term of ``nodeSelectorTerms`` matches; an empty term matches nothing."""
    return any(_term(term, node) for term in selector.get("nodeSelectorTerms") or ())


def _term(term: Mapping[str, Any], node: Object) -> bool:
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    names = {"metadata.name": node["metadata"]["name"]}
    return all(_requirement(e).matches(labels_of(node)) for e in expressions) and all(
        _requirement(f).matches(names) for f in fields
    )


def _requirement(expression: Mapping[str, Any]) -> Requirement:
    values = tuple(str(v) for v in expression.get("values") or ())
    return Requirement(str(expression.get("key", "")), str(expression.get("operator", "")), values)


def wanted_nodes(pod: Object, node: Object) -> bool:
    """nodeSelector and required node affinity."""
    spec = pod["spec"]
    labels = labels_of(node)
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    required = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    return required is None or matches_node_selector(required, node)


def tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("key") and toleration["key"] != taint.get("key"):
        return False
    if not toleration.get("key") and toleration.get("operator") != "Exists":
        return False
    exists = toleration.get("operator") == "Exists"
    return exists or (toleration.get("value") or "") == (taint.get("value") or "")


def untolerated(pod: Object, node: Object, effects: Iterable[str]) -> Sequence[Mapping[str, Any]]:
    """Taints with one of ``effects`` that the pod does not tolerate."""
    tolerations = pod["spec"].get("tolerations") or ()
    wanted = frozenset(effects)
    return [
        taint
        for taint in (node.get("spec") or {}).get("taints") or ()
        if taint.get("effect") in wanted and not any(tolerates(t, taint) for t in tolerations)
    ]


def topology_counts(
    nodes: Iterable[NodeInfo], key: str, selector: Mapping[str, Any] | None, namespaces: frozenset[str]
) -> dict[str, int]:
    """How many matching pods run in each domain of a topology key."""
    parsed = from_object(selector)
    counts: dict[str, int] = {}
    for info in nodes:
        domain = labels_of(info.node).get(key)
        if domain is None:
            continue
        found = sum(
            1
            for pod in info.pods.values()
            if pod["metadata"]["namespace"] in namespaces
            and not pod["metadata"].get("deletionTimestamp")
            and parsed.matches(labels_of(pod))
        )
        counts[domain] = counts.get(domain, 0) + found
    return counts
