"""A usage as a VerticalPodAutoscalerCheckpoint, and back. Times are RFC 3339 there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from wavetank.autoscaling.vpa.usage import ContainerUsage, Usage, UsageOptions
from wavetank.kube.client import Object
from wavetank.kube.times import format_time, parse_time

__all__ = ["from_checkpoint", "to_checkpoint"]

_HISTOGRAMS = ("cpuHistogram", "memoryHistogram")


def to_checkpoint(
    now: float, vpa: Object, container: str, usage: Usage, running: Iterable[ContainerUsage]
) -> Object:
    """The object to store for one container of a VPA."""
    peaks = [peak for each in running if (peak := each.open_peak) is not None and now < peak[1]]
    for size, at in peaks:
        usage.subtract_memory(size, at)
    saved = usage.save()
    for size, at in peaks:
        usage.add_memory(size, at)
    for name in _HISTOGRAMS:
        saved[name]["referenceTimestamp"] = format_time(saved[name].pop("reference"))
    for name in ("firstSampleStart", "lastSampleStart"):
        saved[name] = format_time(saved[name])
    meta = vpa["metadata"]
    return {
        "apiVersion": "autoscaling.k8s.io/v1",
        "kind": "VerticalPodAutoscalerCheckpoint",
        "metadata": {"name": f"{meta['name']}-{container}", "namespace": meta.get("namespace", "default")},
        "spec": {"vpaObjectName": meta["name"], "containerName": container},
        "status": {**saved, "lastUpdateTime": format_time(now)},
    }


def from_checkpoint(checkpoint: Object, options: UsageOptions) -> Usage:
    """The usage a checkpoint holds. Raises InputError where it does not fit."""
    status: Mapping[str, Any] = checkpoint.get("status") or {}
    plain = dict(status)
    for name in _HISTOGRAMS:
        histogram = dict(status.get(name) or {})
        histogram["reference"] = parse_time(histogram.pop("referenceTimestamp", None)) or 0.0
        plain[name] = histogram
    for name in ("firstSampleStart", "lastSampleStart"):
        plain[name] = parse_time(status.get(name)) or 0.0
    usage = Usage(options)
    usage.load(plain)
    return usage
