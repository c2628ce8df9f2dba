"""Label sets of a selection as numbers, made into ``Labels`` only where somebody looks at them.

An aggregation over a thousand series shows a handful of label sets. What it asks of the thousand (their
groups, whether two are equal, what their metrics are called) is answered from the numbers of their label
pairs, which a table of series has anyway; each answer is exact, not by chance of a hash. A selection that
somebody keeps remembers the answers: who asks the same of it again pays nothing.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Protocol, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from wavetank.limits import LABELS_KEPT_MAX, LABELS_KEPT_OF_ONE_MAX
from wavetank.model.labels import METADATA_LABELS, Labels

__all__ = ["InternedLabels", "PairTable", "interned", "taken", "without_metadata"]

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
# int32[...] the numbers of the pairs of all sets, each set's sorted by name; int64[n + 1] where each begins
Columns: TypeAlias = tuple[Int32s, Int64s]

_GROUPINGS_MAX: Final = 4  # of one selection that are remembered
_GROUPS_FEW: Final = 16  # that a remembered grouping may have
_GROUPS_SHARE: Final = 8  # or one for so many sets: what is remembered is small beside the sets themselves


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


class _ListedPairs:
    """Implements ``PairTable`` over the pairs of a list of label sets."""

    def __init__(self, labels: Sequence[Labels]) -> None:
        self._ids: dict[tuple[str, str], int] = {}
        names: dict[str, int] = {}
        self.pairs = np.array(
            [self._ids.setdefault(pair, len(self._ids)) for each in labels for pair in each.pairs], np.int32
        )
        self._pairs = list(self._ids)
        self.pair_names = np.array([names.setdefault(n, len(names)) for n, _ in self._pairs], np.int32)
        self._names = names

    def pair(self, pair: int) -> tuple[str, str]:
        return self._pairs[pair]

    def symbol_id(self, text: str) -> int:
        return self._names.get(text, -1)


def interned(labels: list[Labels]) -> InternedLabels:
    """Different label sets that somebody keeps as they are, as numbers too."""
    table = _ListedPairs(labels)
    begins = _begins(np.array([len(each.pairs) for each in labels], np.int64))
    made = InternedLabels(table, len(labels), lambda: (table.pairs, begins), distinct=True, kept=True)
    made._made = labels
    return made


class _Made:
    """Who holds lists of label sets that were made; when they are too many, the oldest lets go of its own."""

    def __init__(self, labels_max: int) -> None:
        self._labels_max = labels_max
        self._labels = 0
        self._lock = threading.Lock()
        self._owners: dict[int, InternedLabels] = {}

    def note(self, owner: InternedLabels) -> None:
        with self._lock:
            if id(owner) in self._owners:
                return
            self._owners[id(owner)] = owner
            self._labels += len(owner)
            while self._labels > self._labels_max:
                oldest = self._owners.pop(next(iter(self._owners)))
                oldest._made = None
                self._labels -= len(oldest)


_MADE: Final = _Made(LABELS_KEPT_MAX)


class InternedLabels(Sequence[Labels]):
    """A sequence of label sets over a ``PairTable``. Immutable.

    ``columns`` gives the sets as numbers; it is asked when they are needed, and only then. ``distinct`` says
    that no two sets are equal; where that is not known, it is found out. One that is ``kept`` remembers what
    it was asked.
    """

    __slots__ = (
        "_columns",
        "_count",
        "_distinct",
        "_groups",
        "_is_kept",
        "_made",
        "_part",
        "_source",
        "_table",
        "_unnamed",
    )

    def __init__(
        self,
        table: PairTable,
        count: int,
        columns: Callable[[], Columns],
        *,
        distinct: bool | None = None,
        kept: bool = False,
        source: tuple[InternedLabels, Int64s] | None = None,
    ) -> None:
        self._table = table
        self._count = count
        self._columns = columns
        self._distinct = distinct
        self._is_kept = kept
        self._source = source  # the sets that these were taken of, and their places
        self._made: list[Labels] | None = None
        self._groups: dict[tuple[tuple[str, ...], bool], tuple[npt.NDArray[Any], list[Labels]]] = {}
        self._unnamed: InternedLabels | None = None
        self._part: tuple[bytes, InternedLabels] | None = None

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Labels: ...
    @overload
    def __getitem__(self, index: slice) -> list[Labels]: ...
    def __getitem__(self, index: int | slice) -> Labels | list[Labels]:
        made = self._made
        if made is None and not isinstance(index, slice) and self._source is not None:
            source, places = self._source
            return source[int(places[index])]
        return (self._whole() if made is None else made)[index]

    def __iter__(self) -> Iterator[Labels]:
        return iter(self._whole())

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Sequence) and self._whole() == list(other))

    __hash__ = None  # type: ignore[assignment]

    def _whole(self) -> list[Labels]:
        """All of them, made once."""
        made = self._made
        if made is None:
            whole = self._whole_source()
            if whole is not None and self._source is not None:
                made = [whole[i] for i in self._source[1].tolist()]
            else:
                made = _made_of(self._table, *self._columns())
            self._made = made
            if self._is_kept:
                if self._count > LABELS_KEPT_OF_ONE_MAX:
                    self._made = None
                else:
                    _MADE.note(self)
        return made

    def _whole_source(self) -> list[Labels] | None:
        """The label sets that these were taken of, if they are there, or worth being made."""
        if self._source is None or not self._source[0]._is_kept:
            return None
        source = self._source[0]
        return source._whole() if source._made is not None or 4 * self._count >= len(source) else None

    def take(self, index: npt.NDArray[np.int64], *, distinct: bool | None = None) -> InternedLabels:
        """A choice of the sets, by their places; ``distinct`` if no two of those are known to be equal."""
        return InternedLabels(
            self._table,
            len(index),
            lambda: _taken(*self._columns(), index),
            distinct=distinct,
            source=(self, index),
        )

    def subset(self, keep: Bools) -> InternedLabels:
        """Those marked."""
        return self.take(np.flatnonzero(keep), distinct=self._distinct or None)

    def part(self, keep: Bools) -> InternedLabels:
        """As ``subset``, the last of which is remembered: series that ended are known for hours, so that
        those with samples are, from one query to the next, the same part of all."""
        marks = np.packbits(keep).tobytes()
        known = self._part
        if known is None or known[0] != marks:
            known = self._part = marks, self.subset(keep).kept()
        return known[1]

    def kept(self) -> InternedLabels:
        """The same, to be kept by the caller."""
        self._is_kept = True
        return self

    def without_metadata(self) -> InternedLabels:
        """Without name, type and unit."""
        if self._unnamed is not None:
            return self._unnamed
        if self._source is not None:
            source, places = self._source
            unnamed = source.without_metadata()
            return unnamed.take(places, distinct=(self._distinct and unnamed.are_distinct()) or None)
        pairs, begins = self._columns()
        dropped = _named(self._table, pairs, tuple(METADATA_LABELS))
        # Sets that differ, and lose the same, still differ.
        distinct = (self._distinct and _are_equal(*_kept(pairs, begins, dropped))) or None

        def columns() -> Columns:
            pairs, begins = self._columns()
            return _kept(pairs, begins, ~_named(self._table, pairs, tuple(METADATA_LABELS)))

        unnamed = InternedLabels(self._table, self._count, columns, distinct=distinct, kept=self._is_kept)
        if self._is_kept:
            self._unnamed = unnamed
        return unnamed

    def grouped(self, names: Sequence[str], *, without: bool) -> tuple[Int64s, list[Labels]]:
        """int64[n]: the group of each set, numbered as they are first met; and each group's labels, which
        are those named, or all but those and the metric's name."""
        key = tuple(names), without
        known = self._groups.get(key)
        if known is None:
            groups, labels = self._found_groups(key[0], without)
            if not self._is_kept or len(labels) > max(_GROUPS_FEW, self._count // _GROUPS_SHARE):
                return groups, labels
            if len(self._groups) >= _GROUPINGS_MAX:
                self._groups = {}
            smallest = np.min_scalar_type(max(1, len(labels) - 1))
            known = self._groups[key] = groups.astype(smallest), labels
        return known[0].astype(np.int64), list(known[1])

    def _found_groups(self, names: tuple[str, ...], without: bool) -> tuple[Int64s, list[Labels]]:
        if self._source is not None and self._source[0]._is_kept:
            source, places = self._source
            every, labels = source.grouped(names, without=without)
            groups, firsts = _renumbered(every[places])
            return groups, [labels[i] for i in every[places[firsts]].tolist()]
        pairs, begins = self._columns()
        named = _named(self._table, pairs, (*names, "__name__") if without else names)
        pairs, begins = _kept(pairs, begins, ~named if without else named)
        groups, firsts = _classes(pairs, begins)
        return groups, _made_of(self._table, *_taken(pairs, begins, firsts))

    def are_distinct(self) -> bool:
        """Whether no two sets are equal."""
        if self._distinct is None:
            self._distinct = len(_classes(*self._columns())[1]) == self._count
        return self._distinct

    def classes(self) -> tuple[Int64s, Int64s]:
        """int64[n]: a number for each set, equal for equal sets, rising as they are first met; and the place
        of the first set of each number."""
        return _classes(*self._columns())


def _made_of(table: PairTable, pairs: Int32s, begins: Int64s) -> list[Labels]:
    if len(begins) == 2:
        return [Labels(tuple([table.pair(i) for i in pairs.tolist()]))]
    ids, places = np.unique(pairs, return_inverse=True)
    texts = [table.pair(i) for i in ids.tolist()]
    flat = [texts[i] for i in places.tolist()]
    return [Labels(tuple(flat[a:b])) for a, b in itertools.pairwise(begins.tolist())]


def _taken(pairs: Int32s, begins: Int64s, index: Int64s) -> Columns:
    lengths = np.diff(begins)[index]
    found = _begins(lengths)
    # each set's pairs: its begin here, plus how far into it
    within = np.arange(found[-1]) - np.repeat(found[:-1], lengths)
    return pairs[np.repeat(begins[:-1][index], lengths) + within], found


def _begins(lengths: Int64s) -> Int64s:
    begins = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=begins[1:])
    return begins


def _named(table: PairTable, pairs: Int32s, names: Sequence[str]) -> Bools:
    """bool[pairs]: which pairs have one of the names."""
    own = table.pair_names[pairs]
    found = np.zeros(len(own), np.bool_)
    for name in names:
        symbol = table.symbol_id(name)
        if symbol >= 0:
            found |= own == symbol
    return found


def _kept(pairs: Int32s, begins: Int64s, keep: Bools) -> Columns:
    before = np.zeros(len(keep) + 1, np.int64)
    np.cumsum(keep, out=before[1:])
    return pairs[keep], before[begins]


def _are_equal(pairs: Int32s, begins: Int64s) -> bool:
    """Whether all sets are the same, which one look at a table tells."""
    count = len(begins) - 1
    if count == 0 or len(pairs) % count or (np.diff(begins) != len(pairs) // count).any():
        return count == 0
    each = pairs.reshape(count, -1)
    return bool((each == each[0]).all())


def _renumbered(numbers: npt.NDArray[Any]) -> tuple[Int64s, Int64s]:
    """Numbers 0, 1, ... in the order in which different ones are first met; and where that is."""
    _, firsts, inverse = np.unique(numbers, return_index=True, return_inverse=True)
    order = np.argsort(firsts)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank[inverse], firsts[order].astype(np.int64)


def _classes(pairs: Int32s, begins: Int64s) -> tuple[Int64s, Int64s]:
    count = len(begins) - 1
    if _are_equal(pairs, begins):
        return np.zeros(count, np.int64), np.zeros(min(1, count), np.int64)
    single = len(pairs) == count and bool((np.diff(begins) == 1).all())
    groups, firsts = _renumbered(pairs if single else _hashes(pairs, begins))
    if _same_as(pairs, begins, firsts[groups]):
        return groups, firsts
    return _classes_one_by_one(pairs, begins)


def _hashes(pairs: Int32s, begins: Int64s) -> npt.NDArray[np.uint64]:
    """Of each set: the sum of what its pairs' numbers hash to."""
    mixed = pairs.astype(np.uint64) + np.uint64(1)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    sums = np.concatenate((np.zeros(1, np.uint64), np.cumsum(mixed, dtype=np.uint64)))
    found: npt.NDArray[np.uint64] = sums[begins[1:]] - sums[begins[:-1]]
    return found


def _same_as(pairs: Int32s, begins: Int64s, others: Int64s) -> bool:
    """Whether each set equals the one at the place given."""
    lengths = np.diff(begins)
    if not np.array_equal(lengths, lengths[others]):
        return False
    shift = np.repeat(begins[:-1][others] - begins[:-1], lengths)
    return np.array_equal(pairs, pairs[np.arange(len(pairs)) + shift])


def _classes_one_by_one(pairs: Int32s, begins: Int64s) -> tuple[Int64s, Int64s]:
    known: dict[tuple[int, ...], int] = {}
    groups, firsts = np.empty(len(begins) - 1, np.int64), list[int]()
    for i, (a, b) in enumerate(itertools.pairwise(begins.tolist())):
        group = known.setdefault(tuple(pairs[a:b].tolist()), len(known))
        if group == len(firsts):
            firsts.append(i)
        groups[i] = group
    return groups, np.array(firsts, np.int64)


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
