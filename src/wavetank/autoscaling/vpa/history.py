"""Usage from before the recommender's start, read from a Prometheus server (``--storage=prometheus``).

Mirrors ``pkg/recommender/input/history``: eight days at an hour's resolution of cAdvisor's two families,
the pods of each VPA's target by the labels ``namespace``, ``pod`` and ``container``. A pod that is gone
belongs to the target if its name begins as a living one's does, since Prometheus keeps no labels of pods by
itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from wavetank.autoscaling.prometheus import Prometheus, Series
from wavetank.autoscaling.vpa.usage import ContainerUsage, Usage
from wavetank.kube.client import Object

__all__ = ["HistoryOptions", "load_history", "replay"]

_CPU = 'rate(container_cpu_usage_seconds_total{{namespace="{0}",container!="",container!="POD"}}[{1}s])'
_MEMORY = 'container_memory_working_set_bytes{{namespace="{0}",container!="",container!="POD"}}'


@dataclass(frozen=True, slots=True)
class HistoryOptions:
    """``--history-length`` and ``--history-resolution``, in seconds."""

    length: float = 8 * 86_400.0
    resolution: float = 3600.0


async def load_history(
    prometheus: Prometheus, namespace: str, pods: Iterable[Object], now: float, options: HistoryOptions
) -> dict[str, list[tuple[float, float | None, float | None]]]:
    """By container: (time, cores or None, bytes or None) in order of time. Raises WavetankError."""
    prefixes = tuple({_stem(pod) for pod in pods})
    found: dict[str, list[tuple[float, float | None, float | None]]] = {}
    start = now - options.length
    window = int(max(options.resolution, 60))
    cpu = await prometheus.range(_CPU.format(namespace, window), start, now, options.resolution)
    memory = await prometheus.range(_MEMORY.format(namespace), start, now, options.resolution)
    for series in _of(cpu, prefixes):
        rows = found.setdefault(series.labels["container"], [])
        rows += [(t, v, None) for t, v in zip(series.times, series.values, strict=True) if v >= 0]
    for series in _of(memory, prefixes):
        rows = found.setdefault(series.labels["container"], [])
        rows += [(t, None, v) for t, v in zip(series.times, series.values, strict=True) if v >= 0]
    return {container: sorted(rows, key=lambda row: row[0]) for container, rows in found.items()}


def replay(usage: Usage, rows: Iterable[tuple[float, float | None, float | None]]) -> None:
    """Add the rows to a usage, memory as the peak of each interval."""
    container = ContainerUsage(usage)
    for at, cores, size in rows:
        if cores is not None:
            usage.add_cpu(cores, at)
        if size is not None:
            container.add_memory(size, at)


def _of(result: Iterable[Series], prefixes: tuple[str, ...]) -> Iterable[Series]:
    for series in result:
        labels = series.labels
        if labels.get("container") and labels.get("pod", "").startswith(prefixes or ("\0",)):
            yield series


def _stem(pod: Object) -> str:
    """A pod's name up to what its controller made up."""
    metadata = pod["metadata"]
    stem = str(metadata.get("generateName") or metadata["name"])
    template = (metadata.get("labels") or {}).get("pod-template-hash")
    return stem.removesuffix(f"{template}-") if template else stem
