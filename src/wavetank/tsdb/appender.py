"""Writing: samples are gathered, then committed together. Mirrors ``tsdb/head_append.go``.

What cannot be stored — out of order, duplicate, too old, unknown series — is counted, not raised, when it
comes in batches; ``append`` of one sample gathers like a batch does, so its outcome too is known at
``commit``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from wavetank.model.labels import Labels
from wavetank.tsdb import head_append
from wavetank.tsdb.head import Head

if TYPE_CHECKING:
    from wavetank.tsdb.db import DB

__all__ = ["AppendCounts", "Appender"]

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]


@dataclass(slots=True)
class AppendCounts:
    """What became of samples; of one commit, or of a database's life."""

    appended: int = 0
    repeated: int = 0
    duplicate: int = 0
    out_of_order: int = 0
    out_of_bounds: int = 0
    unknown_series: int = 0
    series_dropped: int = 0

    def add(self, other: AppendCounts) -> None:
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


def counted(outcomes: npt.NDArray[np.uint8]) -> AppendCounts:
    """Counts by outcome."""
    by = np.bincount(outcomes, minlength=8)
    return AppendCounts(
        appended=int(by[head_append.APPENDED]),
        repeated=int(by[head_append.REPEATED]),
        duplicate=int(by[head_append.DUPLICATE]),
        out_of_order=int(by[head_append.OUT_OF_ORDER]),
        out_of_bounds=int(by[head_append.OUT_OF_BOUNDS]),
        unknown_series=int(by[head_append.UNKNOWN_SERIES]),
    )


class Appender:
    """Collects samples for one ``commit``. Use from one thread; drop it after ``commit`` or ``rollback``."""

    def __init__(self, db: DB, head: Head) -> None:
        self._db = db
        self._head = head
        self._refs: list[int] = []
        self._times: list[int] = []
        self._values: list[float] = []
        self._batches: list[tuple[Int64s, Int64s, Float64s]] = []

    def append(self, ref: int, labels: Labels | None, t_ms: int, value: float) -> int:
        """Add one sample; ``ref`` 0 looks the series up by ``labels``, or creates it. Returns the ref."""
        if ref == 0 and labels is not None:
            ref = self._db.series_ref(labels)
        self._refs.append(ref)
        self._times.append(t_ms)
        self._values.append(value)
        return ref

    def append_batch(self, refs: Int64s, timestamps_ms: Int64s, values: Float64s) -> None:
        """Add samples in columns of equal length."""
        self._flush_singles()
        self._batches.append(
            (
                np.ascontiguousarray(refs, np.int64),
                np.ascontiguousarray(timestamps_ms, np.int64),
                np.ascontiguousarray(values, np.float64),
            )
        )

    def _flush_singles(self) -> None:
        if self._refs:
            self._batches.append(
                (
                    np.array(self._refs, np.int64),
                    np.array(self._times, np.int64),
                    np.array(self._values, np.float64),
                )
            )
            self._refs, self._times, self._values = [], [], []

    def commit(self) -> AppendCounts:
        """Make everything gathered durable and visible; returns what became of it."""
        self._flush_singles()
        total = AppendCounts()
        with self._head.lock:
            for refs, times, values in self._batches:
                total.add(counted(self._head.append(refs, times, values)))
            self._db.counts.add(total)
        self._batches = []
        return total

    def rollback(self) -> None:
        """Forget the samples gathered; series created meanwhile stay known."""
        self._refs, self._times, self._values = [], [], []
        self._batches = []
