"""The head's inverted index: postings of all label pairs in one flat array, built when a query needs them.

Stands for ``index.MemPostings`` of ``tsdb/index/postings.go``. Appending keeps no index at all: rows are in
order of arrival, so a counting sort of pair ids over rows yields every postings list, already sorted, in
one pass. A query that finds new rows since sorts again; one pass over a million series takes some tens of
milliseconds, and no query pays twice for the same rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from wavetank.jit import kernel
from wavetank.tsdb.chunkenc.bits import Word
from wavetank.tsdb.series_table import SeriesTable

__all__ = ["HeadIndex"]

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]


@kernel("void(int32[::1], int64[::1], int64[::1], int32[::1])")
def _build(label_pairs: Int32s, label_ends: Int64s, starts: Int64s, rows: Int32s) -> None:
    """Counting sort. ``starts`` comes zeroed, pairs + 2 long; list p is then ``starts[p]:starts[p + 1]``."""
    for k in range(len(label_pairs)):
        starts[label_pairs[k] + 2] += 1
    for p in range(2, len(starts)):
        starts[p] += starts[p - 1]
    for row in range(len(label_ends) - 1):
        for k in range(label_ends[row], label_ends[row + 1]):
            pair = label_pairs[k] + 1
            rows[starts[pair]] = row
            starts[pair] += 1


@kernel("int64[::1](int32[::1], int64[::1], int64[::1], int64)")
def _union(rows: Int32s, starts: Int64s, pairs: Int64s, row_count: Word) -> Int64s:
    """Rows of any of the pairs, which share one label name, so that no row is in two lists."""
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
            seen[rows[k]] = 1
    n = 0
    for row in range(row_count):
        if seen[row]:
            out[n] = row
            n += 1
    return out


class HeadIndex:
    """Implements ``postings.Index`` over a series table, as of its rows at the last ``refresh``."""

    def __init__(self, table: SeriesTable) -> None:
        self._table = table
        self._built_rows = -1
        self._starts = np.zeros(1, np.int64)
        self._rows = np.zeros(0, np.int32)
        self._by_name: dict[str, dict[str, int]] = {}
        self._names_built = 0

    def refresh(self) -> None:
        """Take in the rows added since; the head's lock must be held."""
        if self._built_rows == len(self._table):
            return
        table = self._table
        starts = np.zeros(table.pair_count + 2, np.int64)
        rows = np.empty(len(table.label_pairs), np.int32)
        _build(table.label_pairs, table.label_ends, starts, rows)
        self._starts = starts
        self._rows = rows
        names = table.pair_names[self._names_built :].tolist()
        values = table.pair_values[self._names_built :].tolist()
        symbol = table.symbol
        by_name = self._by_name
        for offset, (name, value) in enumerate(zip(names, values, strict=True)):
            by_name.setdefault(symbol(name), {})[symbol(value)] = self._names_built + offset
        self._names_built += len(names)
        self._built_rows = len(table)

    def names(self) -> list[str]:
        return list(self._by_name)

    def pairs_of(self, name: str) -> dict[str, int]:
        """Pair ids by value of a label."""
        return self._by_name.get(name, {})

    def values(self, name: str) -> Sequence[str]:
        return list(self._by_name.get(name, ()))

    def has_value(self, name: str, value: str) -> bool:
        return value in self._by_name.get(name, ())

    def postings(self, name: str, values: Sequence[str]) -> Int64s:
        pairs_of = self._by_name.get(name)
        if pairs_of is None:
            return np.empty(0, np.int64)
        if len(values) == len(pairs_of):
            pairs = list(pairs_of.values())
        else:
            pairs = [pairs_of[v] for v in values if v in pairs_of]
        if not pairs:
            return np.empty(0, np.int64)
        return _union(self._rows, self._starts, np.array(pairs, np.int64), self._built_rows)

    def all_rows(self) -> Int64s:
        return np.arange(self._built_rows, dtype=np.int64)

    def series_counts(self) -> npt.NDArray[np.int64]:
        """Series per pair id."""
        return np.diff(self._starts[:-1])
