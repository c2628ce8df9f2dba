"""Collecting samples into metric families, in the order in which their names first come up."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from wavetank.exposition.render import MetricFamily, Sample

__all__ = ["Families"]


class Families:
    """Add samples; ``finish`` gives the families."""

    def __init__(self, helps: Mapping[str, str] | None = None) -> None:
        self._helps = helps or {}
        self._samples: dict[tuple[str, str], list[Sample]] = {}

    def gauge(self, name: str, labels: Mapping[str, str], value: float) -> None:
        self._samples.setdefault((name, "gauge"), []).append(Sample(name, labels, float(value)))

    def counter(self, name: str, labels: Mapping[str, str], value: float) -> None:
        self._samples.setdefault((name, "counter"), []).append(Sample(name, labels, float(value)))

    def untyped(self, name: str, labels: Mapping[str, str], value: float) -> None:
        self._samples.setdefault((name, "unknown"), []).append(Sample(name, labels, float(value)))

    def finish(self, help_of: Callable[[str], str] | None = None) -> list[MetricFamily]:
        """``help_of`` words the help of a name; otherwise it is of those given at the start."""
        worded = help_of or (lambda name: self._helps.get(name, ""))
        return [
            MetricFamily(name, kind, worded(name), samples=samples)
            for (name, kind), samples in self._samples.items()
        ]
