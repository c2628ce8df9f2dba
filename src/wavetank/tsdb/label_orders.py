"""In which order the series of a selection are by their labels, remembered for who asks again.

A selection is sorted by labels, and to sort, all labels must be made and compared: most of the cost of a rule
over a thousand series. Rules and dashboards select the same rows again and again; eight bytes a row keep
what was found out. Rows of another table (the head's is made anew when series go) are other rows.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable

import numpy as np
import numpy.typing as npt

from wavetank.limits import TSDB_ORDERED_ROWS_MAX
from wavetank.model.interned import InternedLabels

__all__ = ["LabelOrders"]

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]


class LabelOrders:
    """Ranks by selection; for any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._table: object = None
        self._known: dict[Hashable, tuple[Int32s, Int32s]] = {}
        self._rows = 0

    def of(self, table: object, key: Hashable, rows: Int64s, labels: InternedLabels) -> Int64s:
        """int64[n]: the rank of each of the rows, whose labels are given, among them all."""
        with self._lock:
            known = self._known.get(key) if table is self._table else None
        if known is not None and np.array_equal(known[0], rows):
            return known[1].astype(np.int64)
        pairs = [each.pairs for each in labels]
        ranks = np.empty(len(pairs), np.int64)
        ranks[sorted(range(len(pairs)), key=pairs.__getitem__)] = np.arange(len(pairs))
        self._keep(table, key, rows, ranks)
        return ranks

    def _keep(self, table: object, key: Hashable, rows: Int64s, ranks: Int64s) -> None:
        with self._lock:
            before = self._known.pop(key, None)
            self._rows += len(rows) - (0 if before is None else len(before[0]))
            if table is not self._table or self._rows > TSDB_ORDERED_ROWS_MAX:
                self._table, self._known, self._rows = table, {}, len(rows)
            if len(rows) <= TSDB_ORDERED_ROWS_MAX:
                self._known[key] = (rows.astype(np.int32), ranks.astype(np.int32))
