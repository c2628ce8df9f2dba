"""The series lines that a target is known to expose, in few bytes each.

A line mostly repeats the one before it but for a few bytes in the middle. An entry keeps how much of its key
(the bytes of the series) is the same as in the entry before, at the beginning and at the end, and what is
between; every sixteenth is kept whole. Where a body lists the entries in the order they were learnt, as
nearly all do, the line before stands in the body itself, and has just been compared: so the next is compared
with that, and with the few bytes. Elsewhere a key is put together again from at most sixteen entries.
Nothing is told by its hash alone.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from wavetank.jit import kernel

__all__ = ["ENTRIES", "LINE_BEGIN", "LINE_SIZE", "UNBOUND", "LineTable", "entry_of", "is_next", "shared"]

Bytes = npt.NDArray[np.uint8]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
UInt16s = npt.NDArray[np.uint16]
UInt32s = npt.NDArray[np.uint32]
Word = Any

UNBOUND: Final = -1
# Of a table's counters, which a scan carries on with: entries, own bytes, the longest key, the bytes that one
# more key needs, keys that were put together; where the series line before began in the body, and its size.
ENTRIES, BYTES, LONGEST, NEEDED, REBUILT, LINE_BEGIN, LINE_SIZE = range(9, 16)
COUNTERS: Final = 16  # the first nine are the scan's own
_WHOLE_EVERY: Final = 16
_SHARED_MAX: Final = 0xFFFF
_ENTRIES_MIN: Final = 16


@kernel(inline=True, allocates=False)
def _eight(data: Bytes, at: Word) -> Word:
    """Eight bytes as a number, which LLVM makes one load."""
    i = np.uint64(at)
    word = np.uint64(data[i])
    word |= np.uint64(data[i + np.uint64(1)]) << np.uint64(8)
    word |= np.uint64(data[i + np.uint64(2)]) << np.uint64(16)
    word |= np.uint64(data[i + np.uint64(3)]) << np.uint64(24)
    word |= np.uint64(data[i + np.uint64(4)]) << np.uint64(32)
    word |= np.uint64(data[i + np.uint64(5)]) << np.uint64(40)
    word |= np.uint64(data[i + np.uint64(6)]) << np.uint64(48)
    word |= np.uint64(data[i + np.uint64(7)]) << np.uint64(56)
    return word


@kernel(inline=True, allocates=False)
def _same(a: Bytes, a_at: Word, b: Bytes, b_at: Word, size: Word) -> Word:
    """Whether ``size`` bytes are the same."""
    k = np.int64(0)
    while k + 8 <= size:
        if _eight(a, a_at + k) != _eight(b, b_at + k):
            return False
        k += 8
    if k < size and size >= 8:
        return _eight(a, a_at + size - 8) == _eight(b, b_at + size - 8)
    while k < size:
        if a[np.uint64(a_at + k)] != b[np.uint64(b_at + k)]:
            return False
        k += 1
    return True


@kernel(inline=True, allocates=False)
def _unfold(entry: Word, heads: UInt16s, tails: UInt16s, ends: UInt32s, middles: Bytes, key: Bytes) -> Word:
    """Put the entry's key together in ``key``, which is long enough; returns its size."""
    at = np.int64(entry)
    while heads[at] != 0 or tails[at] != 0:
        at -= 1
    size = np.int64(0)
    while at <= entry:
        head = np.int64(heads[at])
        tail = np.int64(tails[at])
        begin = np.int64(ends[at])
        middle = np.int64(ends[at + 1]) - begin
        longer = head + middle + tail
        if tail and longer > size:
            for k in range(tail):
                key[longer - 1 - k] = key[size - 1 - k]
        elif tail and longer < size:
            for k in range(tail):
                key[longer - tail + k] = key[size - tail + k]
        for k in range(middle):
            key[head + k] = middles[begin + k]
        size = longer
        at += 1
    return size


@kernel(inline=True, allocates=False)
def is_next(
    entry: Word,
    before: Word,
    data: Bytes,
    size: Word,
    line: Word,
    counters: Int64s,
    heads: UInt16s,
    tails: UInt16s,
    ends: UInt32s,
    middles: Bytes,
    scratch: Bytes,
) -> Word:
    """The size of the entry's key if ``data[line:]`` begins with it and a blank, else 0; ``before`` is the
    entry of the series line before."""
    head = np.int64(heads[entry])
    tail = np.int64(tails[entry])
    begin = np.int64(ends[entry])
    middle = np.int64(ends[entry + 1]) - begin
    length = head + middle + tail
    if length == 0 or line + length >= size or data[line + length] != 32:
        return np.int64(0)
    if head + tail == 0 or entry == before + 1:
        last = counters[14]
        if (
            _same(data, line + head, middles, begin, middle)
            and _same(data, line, data, last, head)
            and _same(data, line + length - tail, data, last + counters[15] - tail, tail)
        ):
            return length
        return np.int64(0)
    if length > len(scratch) or counters[11] > len(scratch):
        return np.int64(0)  # the hash finds it
    counters[13] += 1
    _unfold(entry, heads, tails, ends, middles, scratch)
    return length if _same(data, line, scratch, np.int64(0), length) else np.int64(0)


@kernel(inline=True, allocates=False)
def shared(a: Bytes, a_begin: Word, a_size: Word, b: Bytes, b_begin: Word, b_size: Word) -> tuple[Word, Word]:
    """How many bytes two keys have in common at the beginning, and after those at the end."""
    most = min(min(a_size, b_size), _SHARED_MAX)
    head = np.int64(0)
    while head < most and a[a_begin + head] == b[b_begin + head]:
        head += 1
    most -= head
    tail = np.int64(0)
    while tail < most and a[a_begin + a_size - 1 - tail] == b[b_begin + b_size - 1 - tail]:
        tail += 1
    return head, tail


@kernel(inline=True, allocates=False)
def entry_of(
    data: Bytes,
    line: Word,
    end: Word,
    hashed: Word,
    before: Word,
    counters: Int64s,
    slots: Int32s,
    hashes: UInt32s,
    heads: UInt16s,
    tails: UInt16s,
    ends: UInt32s,
    middles: Bytes,
    scratch: Bytes,
) -> Word:
    """The entry of these series bytes; a new one is ``-2 - entry``; -1 if the table must grow first."""
    length = np.int64(end - line)
    short = np.uint32((hashed ^ (hashed >> np.uint64(31))) & np.uint64(0xFFFFFFFF)) | np.uint32(1)
    counters[12] = length
    if counters[11] > len(scratch):
        return np.int64(-1)
    mask = len(slots) - 1
    slot = np.int64(short >> np.uint32(1)) & mask
    while slots[slot] != 0:
        found = np.int64(slots[slot] - 1)
        if hashes[found] == short:
            size = np.int64(heads[found]) + np.int64(tails[found])
            size += np.int64(ends[found + 1]) - np.int64(ends[found])
            if size == length:
                _unfold(found, heads, tails, ends, middles, scratch)
                if _same(data, line, scratch, np.int64(0), length):
                    return found
        slot = (slot + 1) & mask
    fresh = counters[9]
    if (fresh + 1) * 4 > len(slots) * 3 or fresh >= len(hashes) or counters[10] + length > len(middles):
        return np.int64(-1)
    head: Word = np.int64(0)
    tail: Word = np.int64(0)
    if fresh % _WHOLE_EVERY != 0 and before == fresh - 1:
        head, tail = shared(data, line, length, data, counters[14], counters[15])
    used = counters[10]
    middle = length - head - tail
    for k in range(middle):
        middles[used + k] = data[line + head + k]
    counters[10] = used + middle
    counters[11] = max(counters[11], length)
    heads[fresh] = head
    tails[fresh] = tail
    ends[fresh + 1] = used + middle
    hashes[fresh] = short
    slots[slot] = fresh + 1
    counters[9] = fresh + 1
    return -2 - fresh


@kernel("void(int32[::1], uint32[::1], int64)", allocates=False)
def _reinsert(slots: Int32s, hashes: UInt32s, count: Word) -> None:
    mask = len(slots) - 1
    for i in range(count):
        if hashes[i] == np.uint32(0):
            continue
        slot = np.int64(hashes[i] >> np.uint32(1)) & mask
        while slots[slot] != 0:
            slot = (slot + 1) & mask
        slots[slot] = i + 1


@kernel("int64(int32[::1], boolean[::1], int64, int32[::1])", allocates=False)
def _in_order(follows: Int32s, keep: npt.NDArray[np.bool_], count: Word, order: Int32s) -> Word:
    """The entries to keep, first those of the last body as it listed them; ``keep`` is used up."""
    made = 0
    at = follows[0]
    for _ in range(count):
        if at == 0:
            break
        entry = at - 1
        if keep[entry]:
            keep[entry] = False
            order[made] = entry
            made += 1
        at = follows[at]
    for entry in range(count):
        if keep[entry]:
            order[made] = entry
            made += 1
    return made


@kernel(
    "int64(int32[::1], uint16[::1], uint16[::1], uint32[::1], uint8[::1], uint8[::1], uint8[::1],"
    " uint16[::1], uint16[::1], uint32[::1], uint8[::1])",
    allocates=False,
)
def _folded_anew(
    order: Int32s,
    heads: UInt16s,
    tails: UInt16s,
    ends: UInt32s,
    middles: Bytes,
    key: Bytes,
    previous: Bytes,
    new_heads: UInt16s,
    new_tails: UInt16s,
    new_ends: UInt32s,
    new_middles: Bytes,
) -> Word:
    """Entries in another order, the others left out. Without room for them (``new_middles`` empty) only
    measures. Returns the bytes used."""
    used = np.int64(0)
    before = np.int64(0)
    new_ends[0] = 0
    for i in range(len(order)):
        size = _unfold(np.int64(order[i]), heads, tails, ends, middles, key)
        head: Word = np.int64(0)
        tail: Word = np.int64(0)
        if i % _WHOLE_EVERY != 0:
            head, tail = shared(key, np.int64(0), size, previous, np.int64(0), before)
        middle = size - head - tail
        if len(new_middles):
            for k in range(middle):
                new_middles[used + k] = key[head + k]
        used += middle
        new_heads[i] = head
        new_tails[i] = tail
        new_ends[i + 1] = used
        for k in range(size):
            previous[k] = key[k]
        before = size
    return used


def _resized(array: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    made = np.empty(size, array.dtype)
    kept = min(size, len(array))
    made[:kept] = array[:kept]
    return made


class LineTable:
    """Entries 0..n-1 with what a cache knows of each.

    refs     int64: what the series is stored as, ``UNBOUND`` while nobody has said
    seen     int32: the number of the scrape that brought it last
    follows  int32: 1 + the entry that came after the last time, by 1 + entry, 0 for the body's beginning
    """

    def __init__(self) -> None:
        self.counters = np.zeros(COUNTERS, np.int64)
        self.ends = np.zeros(_ENTRIES_MIN + 1, np.uint32)
        self.heads = np.empty(_ENTRIES_MIN, np.uint16)
        self.tails = np.empty(_ENTRIES_MIN, np.uint16)
        self.hashes = np.empty(_ENTRIES_MIN, np.uint32)
        self.middles = np.empty(256, np.uint8)
        self.slots = np.zeros(_ENTRIES_MIN * 2, np.int32)
        self.follows = np.zeros(_ENTRIES_MIN + 1, np.int32)
        self.refs = np.full(_ENTRIES_MIN, UNBOUND, np.int64)
        self.seen = np.zeros(_ENTRIES_MIN, np.int32)
        self.scratch = np.empty(256, np.uint8)  # for one key

    def __len__(self) -> int:
        return int(self.counters[ENTRIES])

    @property
    def bytes_reserved(self) -> int:
        """Size of the columns."""
        columns = (self.ends, self.heads, self.tails, self.hashes, self.middles, self.slots)
        return sum(each.nbytes for each in (*columns, self.follows, self.refs, self.seen, self.scratch))

    def arguments(self) -> tuple[Any, ...]:
        """As ``entry_of`` takes them, with ``follows``."""
        return (
            self.counters,
            self.slots,
            self.hashes,
            self.heads,
            self.tails,
            self.ends,
            self.middles,
            self.scratch,
            self.follows,
        )

    def reserve(self, entries: int) -> None:
        """Make room for so many in all."""
        if entries > len(self.hashes):
            self._resize(entries)
        if (entries + 1) * 4 > len(self.slots) * 3:
            self._rehash(entries)

    def grow(self) -> None:
        """Make room where there is too little for one more entry, whose size is in the counters."""
        counters = self.counters
        entries = len(self)
        if entries + 1 >= len(self.hashes):
            self._resize(entries * 3 // 2 + _ENTRIES_MIN)
        if (entries + 2) * 4 > len(self.slots) * 3:
            self._rehash(entries + 1)
        needed = int(counters[BYTES] + counters[NEEDED])
        if needed > len(self.middles):
            self.middles = _resized(self.middles, needed * 3 // 2)
        longest = int(max(counters[LONGEST], counters[NEEDED]))
        if longest > len(self.scratch):
            self.scratch = np.empty(longest * 2, np.uint8)

    def _resize(self, entries: int) -> None:
        used = len(self)
        for name in ("hashes", "heads", "tails", "refs", "seen"):
            setattr(self, name, _resized(getattr(self, name), entries))
        self.refs[used:] = UNBOUND
        self.seen[used:] = 0
        self.ends = _resized(self.ends, entries + 1)
        self.follows = _resized(self.follows, entries + 1)
        self.follows[used + 1 :] = 0

    def _rehash(self, entries: int) -> None:
        self.slots = np.zeros(1 << (entries * 4 // 3 + 2).bit_length(), np.int32)
        _reinsert(self.slots, self.hashes, len(self))

    def trim(self) -> None:
        """Give back room that more than an eighth more entries would need."""
        used, held = len(self), int(self.counters[BYTES])
        if len(self.hashes) > used + used // 8 + _ENTRIES_MIN:
            self._resize(used + used // 16 + _ENTRIES_MIN // 2)
        if len(self.middles) > held + held // 8 + 256:
            self.middles = _resized(self.middles, held + held // 16 + 64)

    def add_unkeyed(self) -> int:
        """An entry that no line leads to; its key is empty, which no series is."""
        self.counters[NEEDED] = 0
        self.grow()
        entry = len(self)
        self.ends[entry + 1] = self.ends[entry]
        self.heads[entry] = self.tails[entry] = self.hashes[entry] = 0
        self.counters[ENTRIES] = entry + 1
        return entry

    def forget_after(self, entries: int, held: int) -> None:
        """Take the newest entries back: there were so many, with so many bytes of their own."""
        if len(self) != entries:
            self.counters[ENTRIES], self.counters[BYTES] = entries, held
            self.slots[:] = 0
            self.follows[:] = 0
            _reinsert(self.slots, self.hashes, entries)

    def arrange(self, keep: npt.NDArray[np.bool_]) -> Int64s:
        """Leave out entries and bring the others into the order of the last body; returns the new number of
        each old entry, -1 for those that are gone."""
        count = len(self)
        order = np.empty(count, np.int32)
        order = order[: _in_order(self.follows, keep.copy(), count, order)]
        kept = len(order)
        size = kept + kept // 16 + _ENTRIES_MIN
        heads, tails = np.empty(size, np.uint16), np.empty(size, np.uint16)
        ends = np.zeros(size + 1, np.uint32)
        longest = max(1, int(self.counters[LONGEST]))
        keys = np.empty(longest, np.uint8), np.empty(longest, np.uint8)
        old = (order, self.heads, self.tails, self.ends, self.middles, *keys, heads, tails, ends)
        held = _folded_anew(*old, np.empty(0, np.uint8))
        self.middles = np.empty(held + held // 16 + 64, np.uint8)
        _folded_anew(*old, self.middles)
        self.heads, self.tails, self.ends = heads, tails, ends
        for name, rest in (("hashes", 0), ("refs", UNBOUND), ("seen", 0)):
            column = getattr(self, name)
            made = np.full(size, rest, column.dtype)
            made[:kept] = column[order]
            setattr(self, name, made)
        self.follows = np.zeros(size + 1, np.int32)
        self.follows[:kept] = np.arange(1, kept + 1)
        self.counters[ENTRIES], self.counters[BYTES] = kept, held
        self._rehash(kept)
        places = np.full(count, -1, np.int64)
        places[order] = np.arange(kept)
        return places
