"""The node autoscaler's flags, what it sees, what it remembers and what it wants done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from wavetank.kube.client import Object
from wavetank.kube.scheduler.nodes import NodeInfo

__all__ = ["GROUP_LABEL", "TAINT", "NodeEvent", "NodePlan", "NodesOptions", "NodesState", "NodesView"]

GROUP_LABEL: Final = "wavetank.dev/node-group"
"""On nodes that the autoscaler made; others are never taken away."""
TAINT: Final = "ToBeDeletedByClusterAutoscaler"


@dataclass(frozen=True, slots=True)
class NodesOptions:
    """Upstream's flags and defaults, in seconds and shares. ``template`` is the Node object that a new node
    will be, without its name; ``boot_delay`` is how long one takes from order to Ready."""

    template: Object
    minimum: int = 0
    maximum: int = 3
    boot_delay: float = 60.0
    group: str = "auto"
    scan_interval: float = 10.0
    unneeded_time: float = 600.0
    utilization_threshold: float = 0.5
    delay_after_add: float = 600.0
    empty_bulk_delete: int = 10
    drain_timeout: float = 600.0


@dataclass(frozen=True, slots=True)
class NodesView:
    """``nodes`` with the pods bound to them; ``pending`` are pods without a node; ``disruptions`` is how many
    pods each PodDisruptionBudget still allows to go, with its selector's test done: by pod uid, the names of
    the budgets it falls under."""

    nodes: Sequence[NodeInfo]
    pending: Sequence[Object]
    budgets: Mapping[str, int] = field(default_factory=dict)
    budgets_of: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NodesState:
    """``booting`` is when each ordered node will be ready, ``unneeded`` since when each is not needed,
    ``draining`` since when each is being emptied, ``serial`` the number of nodes ever ordered."""

    booting: Mapping[str, float] = field(default_factory=dict)
    unneeded: Mapping[str, float] = field(default_factory=dict)
    draining: Mapping[str, float] = field(default_factory=dict)
    added_at: float | None = None
    serial: int = 0
    told: frozenset[tuple[str, str]] = frozenset()
    """(pod uid, reason) of pods that were already told why."""


@dataclass(frozen=True, slots=True)
class NodeEvent:
    """An event on a pod or a node."""

    object: Object
    kind: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class NodePlan:
    """What to do now: ``order`` new nodes (they take the boot delay), ``start`` those whose delay is over,
    ``drain`` nodes, ``delete`` drained ones. ``due`` is when to look again."""

    order: tuple[str, ...] = ()
    start: tuple[str, ...] = ()
    drain: tuple[str, ...] = ()
    delete: tuple[str, ...] = ()
    events: tuple[NodeEvent, ...] = ()
    due: float = 0.0
