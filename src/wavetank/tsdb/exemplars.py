"""Exemplars: a ring of the newest. Mirrors ``tsdb/exemplar.go``."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from wavetank.model.labels import Labels, Matcher

__all__ = ["Exemplar", "ExemplarRing"]

LABEL_RUNES_MAX: Final = 128  # names and values of one exemplar together


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A sample of what a sample stands for, usually a trace."""

    series: Labels
    labels: Labels
    value: float
    timestamp_ms: int


class ExemplarRing:
    """The newest ``size`` exemplars of all series; per series they are in order of time."""

    def __init__(self, size: int) -> None:
        self._ring: deque[Exemplar] = deque(maxlen=max(0, size))
        self._newest: dict[Labels, Exemplar] = {}
        self.dropped = 0

    def resize(self, size: int) -> None:
        """Hold another number from now on; the oldest go."""
        kept = deque(self._ring, maxlen=max(0, size))
        self._ring, self._newest = kept, {exemplar.series: exemplar for exemplar in kept}

    def __len__(self) -> int:
        return len(self._ring)

    def __iter__(self) -> Iterator[Exemplar]:
        return iter(self._ring)

    def add(self, exemplar: Exemplar) -> bool:
        """Whether it was taken: not if it repeats or precedes the series' newest, or its labels are long."""
        newest = self._newest.get(exemplar.series)
        if newest is not None:
            if (newest.labels, newest.value, newest.timestamp_ms) == (
                exemplar.labels,
                exemplar.value,
                exemplar.timestamp_ms,
            ):
                return False
            if exemplar.timestamp_ms < newest.timestamp_ms:
                self.dropped += 1
                return False
        if sum(len(n) + len(v) for n, v in exemplar.labels) > LABEL_RUNES_MAX:
            self.dropped += 1
            return False
        if not self._ring.maxlen:
            return False
        if len(self._ring) == self._ring.maxlen:
            oldest = self._ring[0]
            if self._newest.get(oldest.series) is oldest:
                del self._newest[oldest.series]
        self._ring.append(exemplar)
        self._newest[exemplar.series] = exemplar
        return True

    def select(
        self, selectors: Sequence[Sequence[Matcher]], mint_ms: int, maxt_ms: int
    ) -> list[tuple[Labels, list[Exemplar]]]:
        """Those of series that satisfy any of the selectors, by series."""
        found: dict[Labels, list[Exemplar]] = {}
        verdicts: dict[Labels, bool] = {}
        for exemplar in self._ring:
            if not mint_ms <= exemplar.timestamp_ms <= maxt_ms:
                continue
            series = exemplar.series
            if series not in verdicts:
                verdicts[series] = any(
                    all(m.matches(series.get(m.name)) for m in matchers) for matchers in selectors
                )
            if verdicts[series]:
                found.setdefault(series, []).append(exemplar)
        return sorted(found.items())
