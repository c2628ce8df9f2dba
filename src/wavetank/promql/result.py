"""What a query gives back: columns, and the few conversions everyone needs.

Mirrors ``promql.Result`` and ``promql/value.go``. A matrix selected raw (``up[5m]`` in an instant query) has
samples at each series' own times; it is kept as flat columns and only made dense when asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from wavetank.model.histogram import FloatHistogram
from wavetank.model.labels import Labels
from wavetank.promql.storage import SeriesBatch
from wavetank.promql.vector import Bools, Floats, Ints, Objects, is_present

if TYPE_CHECKING:
    import pyarrow

__all__ = ["Result", "ResultType"]

ResultType: TypeAlias = Literal["vector", "matrix", "scalar", "string"]


@dataclass(slots=True)
class Result:
    """The result of one query.

    type        as the HTTP API names it
    labels      n label sets; none for scalars and strings
    steps       int64[k]: times in ms
    values      float64[n, k]; [1, k] for a scalar
    mask        bool[n, k]: where there is a sample
    histograms  None, or object[n, k]: FloatHistogram or None
    text        the value of a string
    raw         the samples of a raw matrix, whose times differ from series to series; else None
    warnings, infos  annotations, each with its place in the query
    """

    type: ResultType
    labels: Sequence[Labels]
    steps: Ints
    values: Floats
    mask: Bools
    histograms: Objects | None = None
    text: str = ""
    raw: SeriesBatch | None = None
    warnings: list[str] = field(default_factory=list)
    infos: list[str] = field(default_factory=list)
    samples_peak: int = 0

    @classmethod
    def of_raw(cls, batch: SeriesBatch) -> Result:
        """A raw matrix; its dense form is built by ``dense``."""
        none = np.zeros((len(batch.labels), 0))
        return cls("matrix", batch.labels, np.zeros(0, np.int64), none, none.astype(bool), raw=batch)

    def dense(self) -> Result:
        """A raw matrix on the union of its times; any other result as it is."""
        if self.raw is None:
            return self
        batch = self.raw
        steps, column = np.unique(batch.timestamps_ms, return_inverse=True)
        row = np.repeat(np.arange(len(batch.labels)), np.diff(batch.offsets))
        shape = (len(batch.labels), len(steps))
        values, mask = np.zeros(shape), np.zeros(shape, np.bool_)
        values[row, column], mask[row, column] = batch.values, True
        histograms = None
        if batch.histograms is not None:
            histograms = np.full(shape, None, object)
            histograms[row, column] = batch.histograms
        return Result(
            "matrix",
            batch.labels,
            steps,
            values,
            mask,
            histograms,
            warnings=self.warnings,
            infos=self.infos,
            samples_peak=self.samples_peak,
        )

    def series(self) -> Iterator[tuple[Labels, Ints, Floats, Objects | None]]:
        """Each series with its times, values and histograms, gaps left out."""
        if self.raw is not None:
            for i, label in enumerate(self.raw.labels):
                part = slice(int(self.raw.offsets[i]), int(self.raw.offsets[i + 1]))
                histograms = None if self.raw.histograms is None else self.raw.histograms[part]
                yield label, self.raw.timestamps_ms[part], self.raw.values[part], histograms
            return
        for i, label in enumerate(self.labels):
            at = self.mask[i]
            histograms = None if self.histograms is None else self.histograms[i][at]
            yield label, self.steps[at], self.values[i][at], histograms

    def vector(self) -> list[tuple[Labels, int, float | FloatHistogram]]:
        """Every sample as (labels, time in ms, value): the natural form of an instant vector."""
        out: list[tuple[Labels, int, float | FloatHistogram]] = []
        for label, times, values, histograms in self.series():
            for i, (ts, value) in enumerate(zip(times.tolist(), values.tolist(), strict=True)):
                histogram = None if histograms is None else histograms[i]
                out.append((label, ts, value if histogram is None else histogram))
        return out

    @property
    def scalar(self) -> float:
        """The value of a scalar."""
        return float(self.values[0, 0])

    def to_arrow(self) -> pyarrow.Table:
        """One row a float sample: ``series`` (a map of labels), ``time`` (ms, UTC), ``value``.

        Needs pyarrow, which is not a dependency. Histogram samples are left out.
        """
        import pyarrow as pa

        labels: list[list[tuple[str, str]]] = []
        times: list[Any] = []
        values: list[Any] = []
        counts: list[int] = []
        for label, stamps, numbers, histograms in self.series():
            floats = slice(None) if histograms is None else ~is_present(histograms)
            labels.append(list(label.pairs))
            times.append(stamps[floats])
            values.append(numbers[floats])
            counts.append(len(times[-1]))
        index = np.repeat(np.arange(len(labels), dtype=np.int32), counts)
        names = pa.array(labels, pa.map_(pa.string(), pa.string()))
        series = names.take(pa.array(index))
        stamps_all = np.concatenate(times) if times else np.zeros(0, np.int64)
        values_all = np.concatenate(values) if values else np.zeros(0)
        return pa.table(
            {
                "series": series,
                "time": pa.array(stamps_all, pa.timestamp("ms", "UTC")),
                "value": pa.array(values_all),
            }
        )
