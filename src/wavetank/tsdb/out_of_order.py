"""Samples older than the newest of their series, until they are written as blocks.

Stands for the out-of-order head chunks of ``tsdb/ooo_head.go``. Samples are kept in columns as they came and
sorted by series when a query or a flush needs them; any age is taken, so backfilling is just appending.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["OutOfOrderSamples"]

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]
Columns = tuple[Int64s, Int64s, Float64s]


class OutOfOrderSamples:
    """Columns of ref, timestamp, value, sorted by ref and time on demand; of equal times the first stays."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._parts: list[Columns] = []
        self._sorted: Columns | None = None
        self.count = 0
        self.mint_ms = 1 << 62
        self.maxt_ms = -(1 << 62)

    def __len__(self) -> int:
        return self.count

    def add(self, refs: Int64s, timestamps_ms: Int64s, values: Float64s) -> None:
        if not len(refs):
            return
        self._parts.append((refs, timestamps_ms, values))
        self._sorted = None
        self.count += len(refs)
        self.mint_ms = min(self.mint_ms, int(timestamps_ms.min()))
        self.maxt_ms = max(self.maxt_ms, int(timestamps_ms.max()))

    def columns(self) -> Columns:
        """All of them, by ref and time, without repeated times."""
        if self._sorted is None:
            if not self._parts:
                return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float64)
            refs, times, values = (np.concatenate(c) for c in zip(*self._parts, strict=True))
            order = np.lexsort((times, refs))
            refs, times, values = refs[order], times[order], values[order]
            fresh = np.ones(len(refs), np.bool_)
            fresh[1:] = (refs[1:] != refs[:-1]) | (times[1:] != times[:-1])
            self._sorted = (refs[fresh], times[fresh], values[fresh])
            self._parts = [self._sorted]
            self.count = len(self._sorted[0])
        return self._sorted

    def of(self, refs: Int64s, mint_ms: int, maxt_ms: int) -> Columns:
        """Samples of some series in the range: ``(index into refs, time, value)``."""
        if mint_ms > self.maxt_ms or maxt_ms < self.mint_ms:
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float64)
        own, times, values = self.columns()
        begins = np.searchsorted(own, refs, "left")
        sizes = np.searchsorted(own, refs, "right") - begins
        index = np.repeat(np.arange(len(refs)), sizes)
        at = np.repeat(begins - (np.cumsum(sizes) - sizes), sizes) + np.arange(int(sizes.sum()))
        inside = (times[at] >= mint_ms) & (times[at] <= maxt_ms)
        at = at[inside]
        return index[inside], times[at], values[at]

    def forget(self, refs: Int64s, timestamps_ms: Int64s) -> None:
        """Drop these samples, which are stored elsewhere now; others that came meanwhile stay."""
        own, times, values = self.columns()
        if len(own) == len(refs):
            self._clear()
            return
        gone = set(zip(refs.tolist(), timestamps_ms.tolist(), strict=True))
        keep = np.array([key not in gone for key in zip(own.tolist(), times.tolist(), strict=True)], np.bool_)
        self._clear()
        self.add(own[keep], times[keep], values[keep])
