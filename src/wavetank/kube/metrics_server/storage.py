"""The last two points of every container and node, and the usage between them.

Mirrors metrics-server's ``pkg/storage``: each scrape makes a new state out of the old one, whole, so readers
never see half of it. CPU is the mean between the two points by their own times; memory is the last point's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

__all__ = ["PodKey", "PodUsage", "Point", "Storage", "Usage"]

FRESH_SECONDS_MIN = 10.0  # a container younger than this waits for a second point, as upstream

PodKey = tuple[str, str]
"""(namespace, name)"""


@dataclass(frozen=True, slots=True)
class Point:
    """One sample: Unix seconds, cumulative CPU nanoseconds, working set in bytes. ``start`` None: unknown."""

    start: float | None
    at: float
    cpu_ns: int
    memory: int


@dataclass(frozen=True, slots=True)
class Usage:
    cpu_nanocores: int
    memory: int


@dataclass(frozen=True, slots=True)
class PodUsage:
    """What the API serves of a pod; ``at`` and ``window`` (seconds) are those of its earliest container."""

    at: float
    window: float
    containers: Mapping[str, Usage]


Points = Mapping[str, Point]


@dataclass(frozen=True, slots=True)
class Storage:
    """``resolution`` is the scrape interval in seconds. ``store`` returns the state after a scrape."""

    resolution: float
    last: Mapping[PodKey, Points] = field(default_factory=dict)
    before: Mapping[PodKey, Points] = field(default_factory=dict)
    nodes_last: Points = field(default_factory=dict)
    nodes_before: Points = field(default_factory=dict)

    def store(self, pods: Mapping[PodKey, Points], nodes: Points) -> Storage:
        """The state after a batch: pods and nodes that are not in it are forgotten."""
        before: dict[PodKey, Points] = {}
        for key, containers in pods.items():
            kept = {
                name: previous
                for name, point in containers.items()
                if (previous := self._previous(key, name, point)) is not None
            }
            if kept:
                before[key] = kept
        nodes_before = {
            name: previous
            for name, point in nodes.items()
            if (previous := _advance(point, self.nodes_last.get(name), self.nodes_before.get(name)))
            is not None
        }
        return Storage(self.resolution, dict(pods), before, dict(nodes), nodes_before)

    def _previous(self, key: PodKey, name: str, point: Point) -> Point | None:
        age = None if point.start is None else point.at - point.start
        if age is not None and FRESH_SECONDS_MIN <= age < self.resolution:
            # Young enough that its whole life is a window: usage counts from 0 at its start.
            return Point(point.start, point.start or 0.0, 0, point.memory)
        last = self.last.get(key, {}).get(name)
        return _advance(point, last, self.before.get(key, {}).get(name))

    def pod(self, key: PodKey) -> PodUsage | None:
        """The pod's usage; None while any of its containers has no previous point."""
        last, before = self.last.get(key), self.before.get(key)
        if last is None or before is None:
            return None
        earliest: tuple[float, float] | None = None
        usages: dict[str, Usage] = {}
        for name, point in last.items():
            previous = before.get(name)
            if previous is None:
                return None
            usage = _usage(point, previous)
            if usage is None:
                continue
            usages[name] = usage
            if earliest is None or point.at < earliest[0]:
                earliest = (point.at, point.at - previous.at)
        at, window = earliest or (0.0, 0.0)
        return PodUsage(at, window, usages)

    def pods(self) -> Iterator[tuple[PodKey, PodUsage]]:
        for key in self.last:
            usage = self.pod(key)
            if usage is not None:
                yield key, usage

    def node(self, name: str) -> tuple[float, float, Usage] | None:
        """(time, window, usage) of a node."""
        last, previous = self.nodes_last.get(name), self.nodes_before.get(name)
        if last is None or previous is None or (usage := _usage(last, previous)) is None:
            return None
        return last.at, last.at - previous.at, usage


def _advance(point: Point, last: Point | None, before: Point | None) -> Point | None:
    """The point to measure ``point`` against."""
    if last is None or not (point.start is None or point.start < last.at):
        return None  # new, or started again since
    if point.at > last.at:
        return last
    if before is not None and before.at < point.at:
        return before  # the same sample again: the window stays as it was
    return None


def _usage(last: Point, before: Point) -> Usage | None:
    """None where the counter went backwards."""
    window = last.at - before.at
    if last.cpu_ns < before.cpu_ns or window <= 0:
        return None
    return Usage(int((last.cpu_ns - before.cpu_ns) / window), last.memory)
