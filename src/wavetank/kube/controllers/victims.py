"""Which pods a ReplicaSet gives up first.

Mirrors ``ActivePodsWithRanks`` of ``k8s.io/kubernetes/pkg/controller``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

from wavetank.kube.client import Object
from wavetank.kube.objects import is_ready, is_terminal, ready_since
from wavetank.kube.times import parse_time

__all__ = ["in_order_of_sacrifice"]

_PHASES: Final = {"Pending": 0, "Unknown": 1, "Running": 2}
_COST: Final = "controller.kubernetes.io/pod-deletion-cost"


def in_order_of_sacrifice(pods: Sequence[Object], siblings: Sequence[Object], now: float) -> list[Object]:
    """``pods`` with the first to go first. ``siblings`` are all running pods of the same owner's owner: of
    two pods, the one with more of them on its node goes first."""
    on_node = Counter(
        pod["spec"].get("nodeName")
        for pod in siblings
        if not is_terminal(pod) and pod["spec"].get("nodeName")
    )
    return sorted(pods, key=lambda pod: _rank(pod, on_node, now))


def _rank(pod: Object, on_node: Counter[str], now: float) -> tuple[float, ...]:
    node = pod["spec"].get("nodeName")
    status = pod.get("status") or {}
    ready = is_ready(pod)
    created = parse_time(pod["metadata"].get("creationTimestamp")) or now
    since = ready_since(pod)
    return (
        1 if node else 0,
        _PHASES.get(status.get("phase", "Unknown"), 1),
        1 if ready else 0,
        _deletion_cost(pod),
        -on_node[node] if node else 0,
        # Times are compared by the power of two of their age, so that a pod a little older is not spared.
        _bucket(now - since) if ready and since is not None else 0,
        -_restarts(status),
        _bucket(now - created),
        -created,
    )


def _bucket(age_seconds: float) -> int:
    return int(math.log2(age_seconds)) if age_seconds >= 1 else -1


def _deletion_cost(pod: Object) -> int:
    text = (pod["metadata"].get("annotations") or {}).get(_COST, "0")
    try:
        return max(-(2**31), min(2**31 - 1, int(text)))
    except ValueError:
        return 0


def _restarts(status: Object) -> int:
    return max((s.get("restartCount", 0) for s in status.get("containerStatuses") or ()), default=0)
