"""What a node has and what its pods ask of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from wavetank.errors import InputError
from wavetank.kube.client import Object
from wavetank.kube.objects import controller_of, is_terminal
from wavetank.kube.quantity import milli, whole

__all__ = ["NodeInfo", "amounts", "anti_affinity_terms", "host_ports", "pod_requests", "priority_of"]

Amounts = dict[str, int]
"""Resource to amount: cpu in thousandths of a core, all else in whole units."""

_CPU_DEFAULT: Final = 100
_MEMORY_DEFAULT: Final = 200 * 1024 * 1024
_PODS_DEFAULT: Final = 110


def amounts(quantities: Mapping[str, Any] | None) -> Amounts:
    """Quantities that do not parse count as nothing: validation has spoken of them already."""
    found: Amounts = {}
    for name, text in (quantities or {}).items():
        try:
            found[name] = milli(text) if name == "cpu" else whole(text)
        except InputError:
            continue
    return found


def _add(into: Amounts, more: Mapping[str, int], sign: int = 1) -> None:
    for name, amount in more.items():
        into[name] = into.get(name, 0) + sign * amount


def pod_requests(pod: Object, *, scoring: bool = False) -> Amounts:
    """What a pod needs at once: its containers and sidecars together, or its greediest init container with
    the sidecars started before it. ``scoring`` counts containers without requests as small ones."""
    spec = pod["spec"]
    total: Amounts = {}
    for container in spec.get("containers") or ():
        _add(total, _container(container, scoring))
    sidecars: Amounts = {}
    peak: Amounts = {}
    for container in spec.get("initContainers") or ():
        asked = _container(container, scoring)
        if container.get("restartPolicy") == "Always":
            _add(sidecars, asked)
            asked = dict(sidecars)
        else:
            _add(asked, sidecars)
        peak = {name: max(peak.get(name, 0), asked.get(name, 0)) for name in peak.keys() | asked.keys()}
    _add(total, sidecars)
    total = {name: max(total.get(name, 0), peak.get(name, 0)) for name in total.keys() | peak.keys()}
    whole_pod = amounts((spec.get("resources") or {}).get("requests"))
    total.update(whole_pod)
    _add(total, amounts(spec.get("overhead")))
    return total


def _container(container: Object, scoring: bool) -> Amounts:
    found = amounts((container.get("resources") or {}).get("requests"))
    if scoring:
        found.setdefault("cpu", _CPU_DEFAULT)
        found.setdefault("memory", _MEMORY_DEFAULT)
    return found


def priority_of(pod: Object) -> int:
    return int(pod["spec"].get("priority") or 0)


def host_ports(pod: Object) -> frozenset[tuple[str, int, str]]:
    """(protocol, port, address) of every host port."""
    spec = pod["spec"]
    return frozenset(
        (port.get("protocol", "TCP"), int(port["hostPort"]), port.get("hostIP") or "0.0.0.0")
        for container in spec.get("containers") or ()
        for port in container.get("ports") or ()
        if port.get("hostPort")
    )


def anti_affinity_terms(pod: Object) -> Sequence[Mapping[str, Any]]:
    """The required terms of a pod's anti-affinity."""
    affinity = pod["spec"].get("affinity") or {}
    required = (affinity.get("podAntiAffinity") or {}).get("requiredDuringSchedulingIgnoredDuringExecution")
    return required or ()


@dataclass(slots=True)
class NodeInfo:
    """A node with the pods on it, kept up to date as both change."""

    node: Object
    allocatable: Amounts
    pods: dict[str, Object] = field(default_factory=dict)
    requested: Amounts = field(default_factory=dict)
    scored: Amounts = field(default_factory=dict)
    owners: Counter[str] = field(default_factory=Counter)
    """How many pods here each controller (by uid) has."""
    keep_away: dict[str, Object] = field(default_factory=dict)
    """The pods here that have required anti-affinity."""

    @classmethod
    def of(cls, node: Object) -> NodeInfo:
        return cls(node, _allocatable(node))

    @property
    def name(self) -> str:
        return str(self.node["metadata"]["name"])

    def refresh(self, node: Object) -> None:
        self.node, self.allocatable = node, _allocatable(node)

    def add(self, pod: Object) -> None:
        """Count a pod that is bound here; one that has ended asks for nothing."""
        uid = pod["metadata"]["uid"]
        self.remove(uid)
        if is_terminal(pod):
            return
        self.pods[uid] = pod
        _add(self.requested, pod_requests(pod))
        _add(self.scored, pod_requests(pod, scoring=True))
        if (owner := controller_of(pod)) is not None:
            self.owners[owner["uid"]] += 1
        if anti_affinity_terms(pod):
            self.keep_away[uid] = pod

    def remove(self, uid: str) -> None:
        pod = self.pods.pop(uid, None)
        if pod is not None:
            _add(self.requested, pod_requests(pod), -1)
            _add(self.scored, pod_requests(pod, scoring=True), -1)
            if (owner := controller_of(pod)) is not None:
                self.owners[owner["uid"]] -= 1
            self.keep_away.pop(uid, None)

    def without(self, uids: frozenset[str]) -> NodeInfo:
        """A copy in which some pods are gone, to try out preemption on."""
        copy = NodeInfo(self.node, self.allocatable)
        for uid, pod in self.pods.items():
            if uid not in uids:
                copy.add(pod)
        return copy


def _allocatable(node: Object) -> Amounts:
    status = node.get("status") or {}
    found = amounts(status.get("allocatable") or status.get("capacity"))
    found.setdefault("pods", _PODS_DEFAULT)
    return found
