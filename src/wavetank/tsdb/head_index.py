"""The head's inverted index: postings of all label pairs in one flat array, built when a query needs them.

Stands for ``index.MemPostings`` of ``tsdb/index/postings.go``. Appending keeps no index at all: rows are in
order of arrival, so a counting sort of pair ids over rows yields every postings list, already sorted, in
one pass; one over a million series takes some tens of milliseconds. Rows that came since the last pass are
sorted apart, and with all others once they are many (``prepare``, without the head's lock), so that a head
to which series are added without end can still be asked. Values are listed of labels that somebody
asks about; a single value is found by its hash.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from wavetank.jit import kernel
from wavetank.tsdb.chunkenc.bits import Word
from wavetank.tsdb.series_table import SeriesTable

__all__ = ["HeadIndex"]

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

_APART_MIN: Final = 20_000  # rows that may be sorted apart, however few the others are
_APART_SHARE: Final = 4  # beyond them, a quarter of the others


@kernel("void(int32[::1], int64[::1], int64, int64[::1], int32[::1])")
def _build(label_pairs: Int32s, label_ends: Int64s, first: Word, starts: Int64s, rows: Int32s) -> None:
    """Counting sort of the rows from ``first`` on. ``starts`` comes zeroed, pairs + 2 long; list p is then
    ``starts[p]:starts[p + 1]``."""
    for k in range(label_ends[first], label_ends[len(label_ends) - 1]):
        starts[label_pairs[k] + 2] += 1
    for p in range(2, len(starts)):
        starts[p] += starts[p - 1]
    for row in range(first, len(label_ends) - 1):
        for k in range(label_ends[row], label_ends[row + 1]):
            pair = label_pairs[k] + 1
            rows[starts[pair]] = row
            starts[pair] += 1


@kernel("int64[::1](int32[::1], int64[::1], int64[::1], int64, int64)")
def _union(rows: Int32s, starts: Int64s, pairs: Int64s, first: Word, row_count: Word) -> Int64s:
    """Rows of any of the pairs, which share one label name, so that no row is in two lists; all of them are
    among the ``row_count`` from ``first`` on."""
    total = 0
    for p in pairs:
        total += starts[p + 1] - starts[p]
    out = np.empty(total, np.int64)
    if len(pairs) == 1:
        at = starts[pairs[0]]
        for k in range(total):
            out[k] = rows[at + k]
        return out
    seen = np.zeros(row_count, np.uint8)
    for p in pairs:
        for k in range(starts[p], starts[p + 1]):
            seen[rows[k] - first] = 1
    n = 0
    for row in range(row_count):
        if seen[row]:
            out[n] = first + row
            n += 1
    return out


@dataclass(frozen=True, slots=True)
class _Sorted:
    """Postings of the rows from ``first`` to ``end``; of the pairs there were then."""

    first: int
    end: int
    starts: Int64s
    rows: Int32s

    @classmethod
    def of(cls, label_pairs: Int32s, label_ends: Int64s, pairs: int, first: int) -> _Sorted:
        starts = np.zeros(pairs + 2, np.int64)
        rows = np.empty(int(label_ends[-1] - label_ends[first]), np.int32)
        _build(label_pairs, label_ends, first, starts, rows)
        return cls(first, len(label_ends) - 1, starts, rows)

    def size(self, pairs: Int64s) -> int:
        """How many rows ``union`` gives."""
        known = pairs[pairs < len(self.starts) - 2]
        return int((self.starts[known + 1] - self.starts[known]).sum())

    def union(self, pairs: Int64s) -> Int64s:
        known = pairs[pairs < len(self.starts) - 2]
        if not len(known):
            return np.empty(0, np.int64)
        return _union(self.rows, self.starts, known, self.first, self.end - self.first)


class HeadIndex:
    """Implements ``postings.Index`` over a series table, as of its rows at the last ``refresh``."""

    def __init__(self, table: SeriesTable) -> None:
        self._table = table
        self._parts: list[_Sorted] = []  # most rows, and those that came since
        self._end = 0  # rows in them
        self._pairs = 0  # pairs that these rows may have
        self._by_name: dict[str, dict[str, int]] = {}  # of names somebody asked about
        self._listed: dict[str, int] = {}  # how many pairs were looked at for each of them
        self._name_ids: dict[int, None] = {}
        self._named = 0  # pairs whose names are among them
        self._preparing = threading.Lock()

    def prepare(self, lock: AbstractContextManager[object]) -> None:
        """Sort all rows together if many came since that was done, holding the head's lock only to begin and
        to end: call it before taking that lock for ``refresh``."""
        if not self._preparing.acquire(blocking=False):
            return  # another query does it
        try:
            with lock:
                table = self._table
                done = self._parts[0].end if self._parts else 0
                if len(table) - done <= max(_APART_MIN, done // _APART_SHARE):
                    return
                # What they hold up to here stays as it is, also when the table grows.
                pairs, ends, count = table.label_pairs, table.label_ends, table.pair_count
            made = _Sorted.of(pairs, ends, count, 0)
            with lock:
                self._parts, self._end = [made], made.end
                self._pairs = max(self._pairs, count)
        finally:
            self._preparing.release()

    def refresh(self) -> None:
        """Take in the rows added since; the head's lock must be held."""
        table = self._table
        if self._end == len(table):
            return
        first = self._parts[0].end if self._parts else 0
        apart = _Sorted.of(table.label_pairs, table.label_ends, table.pair_count, first)
        self._parts = [*self._parts[:1], apart]
        self._end = len(table)
        self._pairs = table.pair_count

    def names(self) -> list[str]:
        new = self._table.pair_names[self._named : self._pairs]
        self._name_ids.update(dict.fromkeys(np.unique(new).tolist()))
        self._named = self._pairs
        return [self._table.symbol(i) for i in self._name_ids]

    def pairs_of(self, name: str) -> dict[str, int]:
        """Pair ids by value of a label."""
        looked_at = self._listed.get(name, 0)
        found = self._by_name.setdefault(name, {})
        if looked_at < self._pairs:
            table = self._table
            own = looked_at + np.flatnonzero(
                table.pair_names[looked_at : self._pairs] == table.symbol_id(name)
            )
            symbol = table.symbol
            values = table.pair_values[own].tolist()
            found.update(zip(map(symbol, values), own.tolist(), strict=True))
            self._listed[name] = self._pairs
        return found

    def values(self, name: str) -> Sequence[str]:
        return list(self.pairs_of(name))

    def has_value(self, name: str, value: str) -> bool:
        return self._pair(name, value) >= 0

    def _pair(self, name: str, value: str) -> int:
        """The id of a pair that rows may have, else -1."""
        if self._listed.get(name) == self._pairs:
            return self._by_name[name].get(value, -1)
        found = self._table.pair_id(name, value)
        return found if found < self._pairs else -1

    def postings(self, name: str, values: Sequence[str]) -> Int64s:
        listed = self._by_name[name] if self._listed.get(name) == self._pairs else {}
        if len(values) == len(listed):
            pairs = np.fromiter(listed.values(), np.int64, len(listed))
        else:
            wanted = (self._pair(name, value) for value in values)
            pairs = np.array([pair for pair in wanted if pair >= 0], np.int64)
        if not len(pairs):
            return np.empty(0, np.int64)
        found = [part.union(pairs) for part in self._parts]
        return found[0] if len(found) == 1 else np.concatenate(found)

    def _pair_ids(self, name: str, values: Sequence[str]) -> Int64s:
        wanted = (self._pair(name, value) for value in values)
        return np.array([pair for pair in wanted if pair >= 0], np.int64)

    def count(self, name: str, values: Sequence[str]) -> int:
        pairs = self._pair_ids(name, values)
        return sum(part.size(pairs) for part in self._parts) if len(pairs) else 0

    def having(self, rows: Int64s, name: str, values: Sequence[str]) -> npt.NDArray[np.bool_]:
        return self._table.having(rows, np.sort(self._pair_ids(name, values)))

    def all_rows(self) -> Int64s:
        return np.arange(self._end, dtype=np.int64)

    def series_counts(self) -> npt.NDArray[np.int64]:
        """Series per pair id."""
        counts = np.zeros(self._pairs, np.int64)
        for part in self._parts:
            lengths = np.diff(part.starts[:-1])
            counts[: len(lengths)] += lengths
        return counts
