"""Label sets of a selection as numbers, made into ``Labels`` only where somebody looks at them.

An aggregation over a thousand series shows a handful of label sets. What it asks of the thousand (their
groups, whether two are equal, what their metrics are called) is answered from the numbers of their label
pairs, which a table of series has anyway; each answer is exact, not by chance of a hash.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Protocol, overload

import numpy as np
import numpy.typing as npt

from wavetank.model.labels import METADATA_LABELS, Labels

__all__ = ["InternedLabels", "PairTable", "taken", "without_metadata"]

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class PairTable(Protocol):
    """Where pairs and texts have numbers; it grows, and a number never changes its meaning."""

    @property
    def pair_names(self) -> Int32s:
        """int32[pairs]: the number of each pair's name."""
        ...

    def pair(self, pair: int) -> tuple[str, str]: ...

    def symbol_id(self, text: str) -> int:
        """The number of a text, -1 if it has none."""
        ...


class InternedLabels(Sequence[Labels]):
    """A sequence of label sets over a ``PairTable``. Immutable.

    ``pairs`` holds the numbers of the pairs of all, each set's sorted by name; set ``i`` has those at
    ``begins[i]:begins[i + 1]``. ``distinct`` says that no two sets are known to be equal.
    """

    __slots__ = ("_begins", "_distinct", "_made", "_pairs", "_table")

    def __init__(self, table: PairTable, pairs: Int32s, begins: Int64s, *, distinct: bool = False) -> None:
        self._distinct = distinct
        self._table = table
        self._pairs = pairs
        self._begins = begins
        self._made: list[Labels] | None = None

    def __len__(self) -> int:
        return len(self._begins) - 1

    @overload
    def __getitem__(self, index: int) -> Labels: ...
    @overload
    def __getitem__(self, index: slice) -> list[Labels]: ...
    def __getitem__(self, index: int | slice) -> Labels | list[Labels]:
        if isinstance(index, slice) or self._made is not None:
            return self._whole()[index]
        at = range(len(self))[index]
        ids = self._pairs[self._begins[at] : self._begins[at + 1]].tolist()
        return Labels(tuple([self._table.pair(i) for i in ids]))

    def __iter__(self) -> Iterator[Labels]:
        return iter(self._whole())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._whole() == list(other)

    __hash__ = None  # type: ignore[assignment]

    def _whole(self) -> list[Labels]:
        """All of them, made once."""
        if self._made is None:
            ids, places = np.unique(self._pairs, return_inverse=True)
            texts = [self._table.pair(i) for i in ids.tolist()]
            flat = [texts[i] for i in places.tolist()]
            bounds = self._begins.tolist()
            self._made = [Labels(tuple(flat[a:b])) for a, b in itertools.pairwise(bounds)]
        return self._made

    def take(self, index: npt.NDArray[np.int64]) -> InternedLabels:
        """A choice of the sets, by their places."""
        lengths = np.diff(self._begins)[index]
        begins = _begins(lengths)
        # each set's pairs: its begin here, plus how far into it
        within = np.arange(begins[-1]) - np.repeat(begins[:-1], lengths)
        pairs = self._pairs[np.repeat(self._begins[:-1][index], lengths) + within]
        return InternedLabels(self._table, pairs, begins)

    def reordered(self, ranks: Int64s) -> InternedLabels:
        """The same sets, each at its rank."""
        made = self.take(np.argsort(ranks))
        made._distinct = self._distinct
        return made

    def without_metadata(self) -> InternedLabels:
        """Without name, type and unit."""
        dropped = self._named(METADATA_LABELS)
        left = self._kept(~dropped)
        # Sets that differ, and lose the same, still differ.
        left._distinct = self._distinct and self._kept(dropped)._are_equal()
        return left

    def _named(self, names: Sequence[str] | frozenset[str]) -> Bools:
        """bool[pairs]: which pairs have one of the names."""
        symbols = [self._table.symbol_id(name) for name in names]
        own = self._table.pair_names[self._pairs]
        found = np.zeros(len(own), np.bool_)
        for symbol in symbols:
            if symbol >= 0:
                found |= own == symbol
        return found

    def _kept(self, keep: Bools) -> InternedLabels:
        before = np.concatenate(([0], np.cumsum(keep)))
        return InternedLabels(self._table, self._pairs[keep], before[self._begins])

    def grouped(self, names: Sequence[str], *, without: bool) -> tuple[Int64s, list[Labels]]:
        """int64[n]: the group of each set, numbered as they are first met; and each group's labels, which
        are those named, or all but those and the metric's name."""
        keep = ~self._named((*names, "__name__")) if without else self._named(names)
        part = self._kept(keep)
        groups, firsts = part.classes()
        return groups, list(part.take(firsts))

    def are_distinct(self) -> bool:
        """Whether no two sets are equal."""
        return self._distinct or len(self.classes()[1]) == len(self)

    def _are_equal(self) -> bool:
        """Whether all sets are the same, which one look at a table tells."""
        count = len(self)
        if (
            count == 0
            or len(self._pairs) % count
            or (np.diff(self._begins) != len(self._pairs) // count).any()
        ):
            return count == 0
        each = self._pairs.reshape(count, -1)
        return bool((each == each[0]).all())

    def classes(self) -> tuple[Int64s, Int64s]:
        """int64[n]: a number for each set, equal for equal sets, rising as they are first met; and the place
        of the first set of each number."""
        if self._are_equal():
            return np.zeros(len(self), np.int64), np.zeros(min(1, len(self)), np.int64)
        single = len(self._pairs) == len(self) and bool((np.diff(self._begins) == 1).all())
        hashes = self._pairs if single else self._hashes()
        _, firsts, inverse = np.unique(hashes, return_index=True, return_inverse=True)
        order = np.argsort(firsts)
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        groups, firsts = rank[inverse], firsts[order].astype(np.int64)
        if self._same_as(firsts[groups]):
            return groups, firsts
        return self._classes_one_by_one()

    def _hashes(self) -> npt.NDArray[np.uint64]:
        """Of each set: the sum of what its pairs' numbers hash to."""
        mixed = self._pairs.astype(np.uint64) + np.uint64(1)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
        mixed ^= mixed >> np.uint64(31)
        sums = np.concatenate((np.zeros(1, np.uint64), np.cumsum(mixed, dtype=np.uint64)))
        found: npt.NDArray[np.uint64] = sums[self._begins[1:]] - sums[self._begins[:-1]]
        return found

    def _same_as(self, others: Int64s) -> bool:
        """Whether each set equals the one at the place given."""
        lengths = np.diff(self._begins)
        if not np.array_equal(lengths, lengths[others]):
            return False
        shift = np.repeat(self._begins[:-1][others] - self._begins[:-1], lengths)
        return np.array_equal(self._pairs, self._pairs[np.arange(len(self._pairs)) + shift])

    def _classes_one_by_one(self) -> tuple[Int64s, Int64s]:
        known: dict[tuple[int, ...], int] = {}
        groups, firsts = np.empty(len(self), np.int64), list[int]()
        for i, (a, b) in enumerate(itertools.pairwise(self._begins.tolist())):
            group = known.setdefault(tuple(self._pairs[a:b].tolist()), len(known))
            if group == len(firsts):
                firsts.append(i)
            groups[i] = group
        return groups, np.array(firsts, np.int64)


def _begins(lengths: Int64s) -> Int64s:
    begins = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=begins[1:])
    return begins


def without_metadata(labels: Sequence[Labels]) -> Sequence[Labels]:
    """All without name, type and unit."""
    if isinstance(labels, InternedLabels):
        return labels.without_metadata()
    return [each.without_metadata() for each in labels]


def taken(labels: Sequence[Labels], index: npt.NDArray[np.int64]) -> Sequence[Labels]:
    """A choice of label sets, by their places."""
    if isinstance(labels, InternedLabels):
        return labels.take(index)
    return [labels[i] for i in index.tolist()]
