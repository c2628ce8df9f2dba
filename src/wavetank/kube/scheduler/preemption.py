"""Whom a pod of higher priority may push out.

Mirrors ``pkg/scheduler/framework/preemption``: on each node where it would help, all pods of lower priority
are taken away and then reprieved, highest priority first, as long as the pod still fits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wavetank.kube.client import Object
from wavetank.kube.scheduler.filters import Cluster, Refusal, refusal
from wavetank.kube.scheduler.nodes import NodeInfo, priority_of
from wavetank.kube.times import parse_time

__all__ = ["Preemption", "find_preemption"]


@dataclass(frozen=True, slots=True)
class Preemption:
    """``node`` None: ``message`` says why nobody can be pushed out."""

    node: str | None
    victims: Sequence[Object]
    message: str


def find_preemption(pod: Object, refusals: Mapping[str, Refusal], cluster: Cluster) -> Preemption:
    """The node where the least is lost."""
    total = len(cluster.nodes)
    if pod["spec"].get("preemptionPolicy") == "Never":
        return Preemption(None, (), "not eligible due to preemptionPolicy=Never.")
    helpless = sum(1 for r in refusals.values() if not r.resolvable)
    options: list[tuple[NodeInfo, list[Object]]] = []
    for info in cluster.nodes:
        if info.name in refusals and refusals[info.name].resolvable:
            victims = _victims(pod, info, cluster)
            if victims:
                options.append((info, victims))
    if not options:
        return Preemption(None, (), _message(total, helpless, total - helpless))
    info, victims = min(options, key=lambda option: _cost(option[1]))
    return Preemption(info.name, victims, "")


def _message(total: int, helpless: int, without_victims: int) -> str:
    parts = []
    if without_victims:
        parts.append(f"{without_victims} No preemption victims found for incoming pod")
    if helpless:
        parts.append(f"{helpless} Preemption is not helpful for scheduling")
    return f"0/{total} nodes are available: {', '.join(sorted(parts))}."


def _victims(pod: Object, info: NodeInfo, cluster: Cluster) -> list[Object] | None:
    """The pods that must go from a node; None where even all of them would not do."""
    lower = [p for p in info.pods.values() if priority_of(p) < priority_of(pod)]
    if not lower:
        return None
    gone = {p["metadata"]["uid"] for p in lower}
    if not _fits(pod, info, gone, cluster):
        return None
    victims = []
    for candidate in sorted(lower, key=lambda p: (-priority_of(p), _started(p))):
        uid = candidate["metadata"]["uid"]
        if not _fits(pod, info, gone - {uid}, cluster):
            victims.append(candidate)
        else:
            gone.discard(uid)
    return victims


def _fits(pod: Object, info: NodeInfo, gone: set[str], cluster: Cluster) -> bool:
    tried = info.without(frozenset(gone))
    nodes = [tried if n is info else n for n in cluster.nodes]
    return refusal(pod, tried, Cluster(nodes)) is None


def _started(pod: Object) -> float:
    return parse_time((pod.get("status") or {}).get("startTime")) or 0.0


def _cost(victims: Sequence[Object]) -> tuple[float, ...]:
    priorities = [priority_of(p) for p in victims]
    latest = min(_started(p) for p in victims if priority_of(p) == max(priorities))
    return (max(priorities), sum(p + 2**31 for p in priorities), len(victims), -latest)
