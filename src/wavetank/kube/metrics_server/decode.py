"""Reading a kubelet's /metrics/resource: five series, nothing else.

Mirrors metrics-server's ``pkg/scraper/client/resource/decode.go``: a sample without a time gets the time of
the request; a pod of which any container has no CPU or no memory yet is left out, and so is such a node.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

from wavetank.kube.metrics_server.storage import PodKey, Point

__all__ = ["Batch", "decode"]

_LINE: Final = re.compile(
    rb"^(node_cpu_usage_seconds_total|node_memory_working_set_bytes|container_cpu_usage_seconds_total"
    rb"|container_memory_working_set_bytes|container_start_time_seconds)"
    rb"(?:\{(.*)\})?\s+([^\s{}]+)(?:\s+(-?\d+))?\s*$",
    re.MULTILINE,
)
_LABEL: Final = re.compile(rb'([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class Batch:
    """One node's points."""

    pods: dict[PodKey, dict[str, Point]]
    node: Point | None


@dataclass(slots=True)
class _Partial:
    start: float | None = None
    at: float = 0.0
    cpu_ns: int = 0
    memory: int = 0

    def take(self, name: bytes, value: float, at: float) -> None:
        if name == b"container_start_time_seconds":
            self.start = value or None
        elif name.endswith(b"cpu_usage_seconds_total"):
            self.cpu_ns, self.at = int(value * 1e9), at
        else:
            self.memory = int(value)
            self.at = self.at or at

    def point(self) -> Point | None:
        if self.cpu_ns <= 0 or self.memory <= 0:
            return None
        return Point(self.start, self.at, self.cpu_ns, self.memory)


def decode(body: bytes, now: float) -> Batch:
    """Points of one scrape; ``now`` stands in for missing times. Lines that are malformed are passed over."""
    containers: dict[PodKey, dict[str, _Partial]] = {}
    node = _Partial()
    for name, labels, number, stamp in _LINE.findall(body):
        try:
            value = float(number)
        except ValueError:
            continue
        if not math.isfinite(value) or value < 0:
            continue
        at = int(stamp) / 1000 if stamp else now
        if name.startswith(b"node_"):
            node.take(name, value, at)
            continue
        found = {key: _unescaped(text) for key, text in _LABEL.findall(labels)}
        key = (found.get(b"namespace", ""), found.get(b"pod", ""))
        container = found.get(b"container", "")
        containers.setdefault(key, {}).setdefault(container, _Partial()).take(name, value, at)
    pods: dict[PodKey, dict[str, Point]] = {}
    for key, partials in containers.items():
        points = {name: point for name, partial in partials.items() if (point := partial.point()) is not None}
        if len(points) == len(partials):
            pods[key] = points
    return Batch(pods, node.point())


def _unescaped(text: bytes) -> str:
    plain = re.sub(rb"\\(.)", lambda m: {b"n": b"\n"}.get(m.group(1), m.group(1)), text)
    return plain.decode("utf-8", "replace")
