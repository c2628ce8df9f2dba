"""Writing: samples are gathered, then committed together. Mirrors ``tsdb/head_append.go``.

What cannot be stored — out of order, duplicate, too old, unknown series — is counted, not raised: a scrape
brings thousands of samples, and one bad one must not cost the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from wavetank.model.histogram import FloatHistogram
from wavetank.model.labels import Labels
from wavetank.tsdb.chunkenc.histogram_run import is_integer
from wavetank.tsdb.errors import NotHistogram
from wavetank.tsdb.exemplars import Exemplar
from wavetank.tsdb.wal.rare_records import HistogramRecord, MetadataRecord

if TYPE_CHECKING:
    from wavetank.tsdb.db import DB

__all__ = ["AppendCounts", "Appender", "Gathered"]

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]


@dataclass(slots=True)
class AppendCounts:
    """What became of samples; of one commit, or of a database's life.

    appended        stored, in order
    backfilled      stored, although older than the newest of their series
    repeated        already there with the same value: nothing to do
    duplicate       refused: there is another value at that time
    out_of_order    refused: older than the out-of-order window allows
    unknown_series  refused: the ref stands for no series; resolve the labels again
    series_dropped  refused: the soft cap on active series is reached
    """

    appended: int = 0
    backfilled: int = 0
    repeated: int = 0
    duplicate: int = 0
    out_of_order: int = 0
    unknown_series: int = 0
    series_dropped: int = 0

    def add(self, other: AppendCounts) -> None:
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(slots=True)
class Gathered:
    """What one appender collected."""

    batches: list[tuple[Int64s, Int64s, Float64s, Int64s | None]]
    histograms: list[HistogramRecord]
    exemplars: list[tuple[int, Exemplar]]
    metadata: list[MetadataRecord]


class Appender:
    """Collects for one ``commit``. Use it from one thread; it can be used again after ``commit``."""

    def __init__(self, db: DB) -> None:
        self._db = db
        self._clear()

    def _clear(self) -> None:
        self._refs: list[int] = []
        self._times: list[int] = []
        self._values: list[float] = []
        self._gathered = Gathered([], [], [], [])

    def _ref(self, ref: int, labels: Labels | None) -> int:
        return self._db.series_ref(labels) if ref == 0 and labels is not None else ref

    def append(self, ref: int, labels: Labels | None, t_ms: int, value: float) -> int:
        """Add one sample; ``ref`` 0 looks the series up by ``labels``, or creates it. Returns the ref."""
        ref = self._ref(ref, labels)
        self._refs.append(ref)
        self._times.append(t_ms)
        self._values.append(value)
        return ref

    def append_batch(
        self,
        refs: Int64s,
        timestamps_ms: Int64s,
        values: Float64s,
        start_timestamps_ms: Int64s | None = None,
    ) -> None:
        """Add samples in columns of equal length.

        ``start_timestamps_ms`` says since when each counts, 0 where that is unknown. What is made of them is
        the options': ``created_zeros`` appends a zero there, ``start_storage`` keeps them.
        """
        if not len(refs) == len(timestamps_ms) == len(values):
            raise ValueError(f"columns of {len(refs)}, {len(timestamps_ms)} and {len(values)} samples")
        self._flush_singles()
        self._gathered.batches.append(
            (
                np.ascontiguousarray(refs, np.int64),
                np.ascontiguousarray(timestamps_ms, np.int64),
                np.ascontiguousarray(values, np.float64),
                None
                if start_timestamps_ms is None or not start_timestamps_ms.any()
                else np.ascontiguousarray(start_timestamps_ms, np.int64),
            )
        )

    def _flush_singles(self) -> None:
        if self._refs:
            columns: Any = (
                np.array(self._refs, np.int64),
                np.array(self._times, np.int64),
                np.array(self._values, np.float64),
                None,
            )
            self._gathered.batches.append(columns)
            self._refs, self._times, self._values = [], [], []

    def append_histogram(
        self, ref: int, labels: Labels | None, t_ms: int, histogram: FloatHistogram, start_ms: int = 0
    ) -> int:
        """Add a native histogram that counts since ``start_ms``, if that is known.

        Raises NotHistogram if its spans do not fit its buckets.
        """
        for spans, buckets in (
            (histogram.positive_spans, histogram.positive_buckets),
            (histogram.negative_spans, histogram.negative_buckets),
        ):
            if sum(length for _, length in spans) != len(buckets):
                raise NotHistogram(f"spans {spans} do not fit {len(buckets)} buckets")
        ref = self._ref(ref, labels)
        self._gathered.histograms.append(
            HistogramRecord(ref, t_ms, histogram, start_ms, not is_integer(histogram))
        )
        return ref

    def append_exemplar(self, ref: int, series: Labels, labels: Labels, t_ms: int, value: float) -> None:
        """Add an exemplar of the series ``ref``."""
        self._gathered.exemplars.append((ref, Exemplar(series, labels, value, t_ms)))

    def update_metadata(self, ref: int, type: str, help: str = "", unit: str = "") -> None:
        """Say what the metric of a series is; ``type`` is the OpenMetrics word."""
        self._gathered.metadata.append(MetadataRecord(ref, type, unit, help))

    def commit(self) -> AppendCounts:
        """Make everything gathered durable and visible; returns what became of it."""
        self._flush_singles()
        gathered = self._gathered
        self._clear()
        return self._db.commit(gathered)

    def rollback(self) -> None:
        """Forget what was gathered; series created meanwhile stay known."""
        self._clear()
