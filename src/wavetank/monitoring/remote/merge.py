"""Series of several storages as one.

Mirrors storage/merge.go: series with the same labels become one; of two samples at the same time, that of
the first storage stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from wavetank.model.labels import Labels
from wavetank.model.series import Float64s, Int64s, SeriesBatch

__all__ = ["Columns", "batch_of", "merged"]


@dataclass(frozen=True, slots=True)
class Columns:
    """A series' samples: times, values, and native histograms or None."""

    times_ms: Int64s
    values: Float64s
    histograms: npt.NDArray[Any] | None

    @classmethod
    def of(cls, samples: Sequence[tuple[int, float, Any]]) -> Columns:
        histograms = None
        if any(sample[2] is not None for sample in samples):
            histograms = np.empty(len(samples), object)
            histograms[:] = [sample[2] for sample in samples]
        return cls(
            np.array([sample[0] for sample in samples], np.int64),
            np.array([sample[1] for sample in samples], np.float64),
            histograms,
        )

    def between(self, mint_ms: int, maxt_ms: int) -> Columns:
        keep = (self.times_ms >= mint_ms) & (self.times_ms <= maxt_ms)
        return self if keep.all() else self._only(keep)

    def _only(self, which: npt.NDArray[Any]) -> Columns:
        histograms = None if self.histograms is None else self.histograms[which]
        return Columns(self.times_ms[which], self.values[which], histograms)

    @staticmethod
    def joined(parts: Sequence[Columns]) -> Columns:
        """In rising order of time; the first part's sample stays where two have one."""
        if len(parts) == 1:
            every = parts[0]
        else:
            histograms = None
            if any(part.histograms is not None for part in parts):
                empty = [np.full(len(part.times_ms), None, object) for part in parts]
                histograms = np.concatenate(
                    [
                        nothing if part.histograms is None else part.histograms
                        for part, nothing in zip(parts, empty, strict=True)
                    ]
                )
            every = Columns(
                np.concatenate([part.times_ms for part in parts]),
                np.concatenate([part.values for part in parts]),
                histograms,
            )
        if len(every.times_ms) < 2 or bool((np.diff(every.times_ms) > 0).all()):
            return every
        _, first = np.unique(every.times_ms, return_index=True)
        return every._only(first)


def batch_of(series: Mapping[Labels, Sequence[Columns]], warnings: Sequence[str] = ()) -> SeriesBatch:
    """A batch, sorted by labels; series without samples are left out."""
    found = [(labels, Columns.joined(parts)) for labels, parts in sorted(series.items()) if parts]
    found = [(labels, columns) for labels, columns in found if len(columns.times_ms)]
    offsets = np.zeros(len(found) + 1, np.int64)
    if not found:
        return SeriesBatch([], offsets, offsets[:0], np.zeros(0, np.float64), warnings=tuple(warnings))
    np.cumsum([len(columns.times_ms) for _, columns in found], out=offsets[1:])
    every = [columns for _, columns in found]
    histograms = None
    if any(columns.histograms is not None for columns in every):
        histograms = np.concatenate(
            [
                np.full(len(columns.times_ms), None, object)
                if columns.histograms is None
                else columns.histograms
                for columns in every
            ]
        )
    return SeriesBatch(
        [labels for labels, _ in found],
        offsets,
        np.concatenate([columns.times_ms for columns in every]),
        np.concatenate([columns.values for columns in every]),
        histograms,
        warnings=tuple(warnings),
    )


def merged(batches: Sequence[SeriesBatch]) -> SeriesBatch:
    """All batches as one; start timestamps are kept only where a single batch has series."""
    warnings = [text for batch in batches for text in batch.warnings]
    filled = [batch for batch in batches if len(batch.labels)]
    if len(filled) == 1:
        one = filled[0]
        return SeriesBatch(
            one.labels,
            one.offsets,
            one.timestamps_ms,
            one.values,
            one.histograms,
            one.start_timestamps_ms,
            tuple(warnings),
        )
    series: dict[Labels, list[Columns]] = {}
    for batch in filled:
        bounds = batch.offsets.tolist()
        for i, labels in enumerate(batch.labels):
            part = slice(bounds[i], bounds[i + 1])
            series.setdefault(labels, []).append(
                Columns(
                    batch.timestamps_ms[part],
                    batch.values[part],
                    None if batch.histograms is None else batch.histograms[part],
                )
            )
    return batch_of(series, warnings)
