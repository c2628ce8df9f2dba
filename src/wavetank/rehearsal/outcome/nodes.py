"""The cluster's nodes over time, and what they come to in node-seconds.

A standing node counts all the time; one that the autoscaler ordered from its order on, which is when a cloud
begins to charge, until it is removed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wavetank.rehearsal.outcome.timeline import Axis, last_known
from wavetank.rehearsal.report.model import Node

__all__ = ["node_seconds", "nodes", "nodes_over_time"]

Record = Mapping[str, Any]


def nodes(standing: Sequence[str], records: Sequence[Record], origin: float) -> tuple[Node, ...]:
    """Standing ones first, then those of the autoscaler in the order in which they were ordered."""
    found: dict[str, dict[str, float]] = {}
    for record in records:
        at = round(float(record["at"]) - origin, 3)
        match record["kind"]:
            case "nodes.ordered":
                found.update({name: {"ordered_at_seconds": at} for name in record["nodes"]})
            case "nodes.started":
                found.setdefault(record["node"], {})["started_at_seconds"] = at
            case "nodes.removed":
                found.setdefault(record["node"], {})["ended_at_seconds"] = at
    return (
        *(Node(name=name) for name in standing),
        *(Node(name=name, autoscaled=True, **moments) for name, moments in found.items()),
    )


def node_seconds(found: Sequence[Node], begin: float, end: float) -> float:
    """From ``begin`` to ``end``, in seconds from the run's start."""
    total = 0.0
    for node in found:
        until = end if node.ended_at_seconds is None else min(end, node.ended_at_seconds)
        total += max(0.0, until - max(begin, node.ordered_at_seconds or 0.0))
    return round(total, 3)


def nodes_over_time(found: Sequence[Node], axis: Axis) -> tuple[float | None, ...]:
    """Nodes that could run pods."""
    changes = [(axis.origin, sum(not n.autoscaled for n in found))]
    for node in found:
        if node.started_at_seconds is not None:
            changes.append((axis.origin + node.started_at_seconds, 1))
        if node.ended_at_seconds is not None and node.started_at_seconds is not None:
            changes.append((axis.origin + node.ended_at_seconds, -1))
    points, count = [], 0
    for at, change in sorted(changes):
        count += change
        points.append((at, float(count)))
    return last_known(axis, points)
