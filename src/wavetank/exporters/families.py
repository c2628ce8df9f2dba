"""Collecting samples into metric families, in the order in which their names first come up."""

from __future__ import annotations

from collections.abc import Mapping

from wavetank.exposition.render import MetricFamily, Sample

__all__ = ["Families"]


class Families:
    """``add`` samples; ``finish`` gives the families."""

    def __init__(self, helps: Mapping[str, str] | None = None) -> None:
        self._helps = helps or {}
        self._samples: dict[tuple[str, str], list[Sample]] = {}

    def gauge(self, name: str, labels: Mapping[str, str], value: float) -> None:
        self._samples.setdefault((name, "gauge"), []).append(Sample(name, labels, float(value)))

    def counter(self, name: str, labels: Mapping[str, str], value: float) -> None:
        self._samples.setdefault((name, "counter"), []).append(Sample(name, labels, float(value)))

    def untyped(self, name: str, labels: Mapping[str, str], value: float) -> None:
        self._samples.setdefault((name, "unknown"), []).append(Sample(name, labels, float(value)))

    def finish(self) -> list[MetricFamily]:
        return [
            MetricFamily(name, kind, self._helps.get(name, ""), samples=samples)
            for (name, kind), samples in self._samples.items()
        ]
