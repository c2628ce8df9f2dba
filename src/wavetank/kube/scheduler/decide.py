"""The scheduler's decision about one pod, as a function of the pod and the nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from wavetank.kube.client import Object
from wavetank.kube.scheduler.filters import Cluster, Refusal, refusal
from wavetank.kube.scheduler.nodes import NodeInfo, pod_requests
from wavetank.kube.scheduler.preemption import find_preemption
from wavetank.kube.scheduler.scores import scores

__all__ = ["Placement", "place"]


@dataclass(frozen=True, slots=True)
class Placement:
    """``node`` is where the pod goes; else ``message`` says why it cannot go anywhere, and ``victims`` on
    ``nominated`` are to be deleted to make room."""

    node: str | None
    message: str = ""
    nominated: str | None = None
    victims: Sequence[Object] = ()


def place(pod: Object, nodes: Sequence[NodeInfo], random: Random) -> Placement:
    """Filter, score, choose; ties are drawn. Where nothing fits, look for pods to push out."""
    if not nodes:
        return Placement(None, "no nodes available to schedule pods")
    cluster = Cluster(nodes)
    requests = pod_requests(pod)
    refusals: dict[str, Refusal] = {}
    fitting: list[NodeInfo] = []
    for info in nodes:
        refused = refusal(pod, info, cluster, requests)
        if refused is None:
            fitting.append(info)
        else:
            refusals[info.name] = refused
    if fitting:
        return Placement(_best(pod, fitting, cluster, random))
    found = find_preemption(pod, refusals, cluster)
    message = failure_message(refusals, len(nodes))
    if found.node is None:
        return Placement(None, f"{message} preemption: {found.message}")
    return Placement(None, message, found.node, found.victims)


def _best(pod: Object, fitting: Sequence[NodeInfo], cluster: Cluster, random: Random) -> str:
    if len(fitting) == 1:
        return fitting[0].name
    rated = scores(pod, fitting, cluster)
    top = max(rated)
    best = [info.name for info, score in zip(fitting, rated, strict=True) if score == top]
    return best[0] if len(best) == 1 else random.choice(best)


def failure_message(refusals: dict[str, Refusal], total: int) -> str:
    """``0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable.``"""
    counts = Counter(reason for refused in refusals.values() for reason in refused.reasons)
    listed = sorted(f"{count} {reason}" for reason, count in counts.items())
    return f"0/{total} nodes are available: {', '.join(listed)}."
