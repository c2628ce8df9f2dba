"""A storage that holds what a script loads: the simplest ``Queryable``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from wavetank.model.histogram import CounterResetHint, FloatHistogram
from wavetank.model.histogram_math import detect_reset
from wavetank.model.labels import Labels, Matcher
from wavetank.promql.failures import QueryTooBig
from wavetank.promql.storage import SelectHints, SeriesBatch

__all__ = ["MemoryStorage"]

Sample = tuple[float, FloatHistogram | None, int]  # value, histogram, start timestamp in ms


class MemoryStorage:
    """Series by their labels, samples by their time; a later sample for the same time wins."""

    def __init__(self) -> None:
        self._series: dict[Labels, dict[int, Sample]] = {}

    def add(
        self,
        labels: Labels,
        ts_ms: int,
        value: float = 0.0,
        histogram: FloatHistogram | None = None,
        start_ms: int = 0,
    ) -> None:
        self._series.setdefault(labels, {})[ts_ms] = (value, histogram, start_ms)

    def add_series(self, labels: Labels, samples: Iterable[tuple[int, float]]) -> None:
        """Many floats of one series, as (time in ms, value)."""
        self._series.setdefault(labels, {}).update({ts: (value, None, 0) for ts, value in samples})

    def _matching(self, matchers: Sequence[Matcher]) -> list[Labels]:
        return sorted(
            labels for labels in self._series if all(m.matches(labels.get(m.name)) for m in matchers)
        )

    def select(
        self, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int, hints: SelectHints | None = None
    ) -> SeriesBatch:
        labels: list[Labels] = []
        offsets = [0]
        times: list[int] = []
        samples: list[Sample] = []
        for label in self._matching(matchers):
            found = sorted(ts for ts in self._series[label] if mint_ms <= ts <= maxt_ms)
            if not found:
                continue
            labels.append(label)
            times += found
            samples += [self._read(label, ts) for ts in found]
            offsets.append(len(times))
            if hints is not None and hints.samples_max and len(times) > 100 * hints.samples_max:
                raise QueryTooBig(f"select of more than {len(times)} samples")
        histograms = None
        if any(h is not None for _, h, _ in samples):
            histograms = np.empty(len(samples), object)
            histograms[:] = [h for _, h, _ in samples]
        starts = None
        if any(start for _, _, start in samples):
            starts = np.array([start for _, _, start in samples], np.int64)
        return SeriesBatch(
            labels,
            np.array(offsets, np.int64),
            np.array(times, np.int64),
            np.array([value for value, _, _ in samples], np.float64),
            histograms,
            starts,
        )

    def _read(self, label: Labels, ts: int) -> Sample:
        """A sample as a chunk gives it back: a histogram that continues its chunk is known not reset."""
        series = self._series[label]
        value, histogram, start = series[ts]
        if histogram is None or histogram.counter_reset_hint is not CounterResetHint.UNKNOWN:
            return value, histogram, start
        earlier = [t for t in series if t < ts]
        before = series[max(earlier)][1] if earlier else None
        if (
            before is not None
            and before.counter_reset_hint is not CounterResetHint.GAUGE
            and before.is_stale is histogram.is_stale
            and (before.schema, before.zero_threshold) == (histogram.schema, histogram.zero_threshold)
            and not detect_reset(histogram, before)
        ):
            histogram = histogram.with_hint(CounterResetHint.NOT_RESET)
        return value, histogram, start

    def series(self, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int) -> Sequence[Labels]:
        return [
            labels
            for labels in self._matching(matchers)
            if any(mint_ms <= ts <= maxt_ms for ts in self._series[labels])
        ]

    def label_names(self, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int) -> Sequence[str]:
        return sorted({name for labels in self.series(matchers, mint_ms, maxt_ms) for name, _ in labels})

    def label_values(
        self, name: str, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int
    ) -> Sequence[str]:
        return sorted({labels.get(name) for labels in self.series(matchers, mint_ms, maxt_ms)} - {""})
