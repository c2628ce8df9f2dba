"""What matchers choose in the head, remembered for who asks again.

Rules and dashboards ask for the same series again and again. Which they are, in which order they are by their
labels, and how they fall into groups is found once: four bytes a row are kept, and what a query was told of
their labels (``wavetank.model.interned``). Series that came since are looked for whenever there are any; when
series go, the head's table is made anew and all is forgotten.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wavetank.limits import TSDB_SELECTED_ROWS_MAX, TSDB_SELECTIONS_MAX
from wavetank.model.interned import InternedLabels
from wavetank.model.labels import Matcher
from wavetank.tsdb.series_table import SeriesTable

__all__ = ["Selected", "Selections"]

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Key = tuple[Matcher, ...]


@dataclass(slots=True)
class Selected:
    """Rows of a table by their labels, as of its first ``looked_at`` rows."""

    table: SeriesTable
    rows: Int32s
    labels: InternedLabels
    looked_at: int

    @classmethod
    def of(cls, table: SeriesTable, rows: Int64s, looked_at: int) -> Selected:
        """``rows`` in any order. Sorts, which for many takes a while: not to be called under a lock."""
        ordered = table.in_order(rows)
        return cls(table, ordered, table.interned(ordered).kept(), looked_at)


class Selections:
    """Selections by matchers, of the table the head has now; for any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._table: SeriesTable | None = None
        self._known: dict[Key, Selected] = {}
        self._rows = 0

    def known(self, key: Key, table: SeriesTable, rows: Callable[[], Int64s]) -> Selected | None:
        """What is remembered, if it still holds. ``rows`` tells what the matchers choose now, and is asked if
        there are new series. The head's lock must be held."""
        with self._lock:
            found = self._known.get(key) if table is self._table else None
        if found is None or found.looked_at == len(table):
            return found
        # Rows only come, and which of the old ones match cannot change: as many as before are the same.
        if len(rows()) != len(found.rows):
            return None
        found.looked_at = len(table)
        return found

    def keep(self, key: Key, selected: Selected) -> None:
        with self._lock:
            if selected.table is not self._table:
                self._table, self._known, self._rows = selected.table, {}, 0
            before = self._known.pop(key, None)
            self._rows -= 0 if before is None else len(before.rows)
            if len(selected.rows) > TSDB_SELECTED_ROWS_MAX // 2:
                return
            self._known[key] = selected
            self._rows += len(selected.rows)
            while self._rows > TSDB_SELECTED_ROWS_MAX or len(self._known) > TSDB_SELECTIONS_MAX:
                self._rows -= len(self._known.pop(next(iter(self._known))).rows)
