"""Who the series are: label sets interned to integers, and found again by hash.

Stands where Prometheus keeps one ``memSeries`` with its labels per series (``tsdb/head.go``,
``stripeSeries``). Strings are stored once in a byte arena (symbols), each distinct name/value pair once, and
a series is a run of pair ids: about 30 bytes for a series of seven labels, plus its share of new strings.

A *series key* is the label set as the write-ahead log writes it: the count as uvarint, then each name and
value, sorted by name, as length (uvarint) and bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from wavetank.jit import kernel
from wavetank.model.interned import InternedLabels
from wavetank.model.labels import Labels
from wavetank.tsdb.chunkenc.bits import Word, uvarint_at
from wavetank.tsdb.label_orders import sort_rows

__all__ = ["SeriesTable", "key_of", "labels_of_key"]

Bytes = npt.NDArray[np.uint8]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

_SYMBOLS, _TEXT, _PAIRS, _LABELS, _ROWS = range(5)
LABELS_PER_SERIES_MAX = 4096
_ROWS_AT_ONCE = 50_000  # of which keys are in memory at a time


def _uvarint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def key_of(labels: Labels) -> bytes:
    """The series key of a label set."""
    parts = [_uvarint(len(labels.pairs))]
    for name, value in labels.pairs:
        for text in (name, value):
            raw = text.encode("utf-8", "surrogateescape")
            parts.append(bytes((len(raw),)) if len(raw) < 0x80 else _uvarint(len(raw)))
            parts.append(raw)
    return b"".join(parts)


def labels_of_key(key: bytes) -> Labels:
    """The label set of a series key."""
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = key[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def text() -> str:
        nonlocal at
        size = number()
        at += size
        return key[at - size : at].decode("utf-8", "surrogateescape")

    return Labels(tuple((text(), text()) for _ in range(number())))


@kernel(inline=True, allocates=False)
def _mix(h: Word, value: Word) -> Word:
    h = (np.uint64(h) ^ np.uint64(value)) * np.uint64(0x9E3779B97F4A7C15)
    return h ^ (h >> np.uint64(29))


@kernel(inline=True, allocates=False)
def _hash_bytes(buffer: Bytes, start: Word, end: Word) -> Word:
    h = np.uint64(0xCBF29CE484222325)
    for k in range(start, end):
        h = (h ^ np.uint64(buffer[k])) * np.uint64(0x100000001B3)
    return h ^ (h >> np.uint64(32))


@kernel(inline=True, allocates=False)
def _symbol(
    keys: Bytes,
    start: Word,
    end: Word,
    counters: Int64s,
    text: Bytes,
    text_ends: Int64s,
    hashes: npt.NDArray[np.uint32],
    slots: Int32s,
    add: Word,
) -> Word:
    """The id of the string ``keys[start:end]``; adds it if asked, else -1 for a new one."""
    h = np.uint32(_hash_bytes(keys, start, end) & np.uint64(0xFFFFFFFF))
    mask = len(slots) - 1
    slot = np.int64(h) & mask
    while slots[slot] != 0:
        found = slots[slot] - 1
        if hashes[found] == h:
            begin = text_ends[found]
            size = text_ends[found + 1] - begin
            if size == end - start:
                same = True
                for k in range(size):
                    if text[begin + k] != keys[start + k]:
                        same = False
                        break
                if same:
                    return found
        slot = (slot + 1) & mask
    if not add:
        return -1
    fresh = counters[0]
    begin = counters[1]
    for k in range(end - start):
        text[begin + k] = keys[start + k]
    counters[1] = begin + end - start
    text_ends[fresh + 1] = counters[1]
    hashes[fresh] = h
    slots[slot] = fresh + 1
    counters[0] = fresh + 1
    return fresh


@kernel(inline=True, allocates=False)
def _pair(
    name: Word, value: Word, counters: Int64s, names: Int32s, values: Int32s, slots: Int32s, add: Word
) -> Word:
    mask = len(slots) - 1
    slot = np.int64(_mix(_mix(np.uint64(7), np.uint64(name)), np.uint64(value))) & mask
    while slots[slot] != 0:
        found = slots[slot] - 1
        if names[found] == name and values[found] == value:
            return found
        slot = (slot + 1) & mask
    if not add:
        return -1
    fresh = counters[2]
    names[fresh] = name
    values[fresh] = value
    slots[slot] = fresh + 1
    counters[2] = fresh + 1
    return fresh


@kernel(
    "int64(uint8[::1], int64[::1], int64[::1], int64, boolean, int64[::1], uint8[::1], int64[::1],"
    " uint32[::1], int32[::1], int32[::1], int32[::1], int32[::1], int32[::1], int64[::1], uint32[::1],"
    " int32[::1])"
)
def _intern(
    keys: Bytes,
    key_offsets: Int64s,
    rows: Int64s,
    first: Word,
    add: Word,
    counters: Int64s,
    text: Bytes,
    text_ends: Int64s,
    symbol_hashes: npt.NDArray[np.uint32],
    symbol_slots: Int32s,
    pair_names: Int32s,
    pair_values: Int32s,
    pair_slots: Int32s,
    label_pairs: Int32s,
    label_ends: Int64s,
    row_hashes: npt.NDArray[np.uint32],
    row_slots: Int32s,
) -> Word:
    """Rows of the keys ``first:``; stops early, returning the key's index, where a table must grow first.

    New rows get ``-2 - row``, so that the caller sees which are new. A malformed key gets -1, as does an
    unknown one when not adding.
    """
    pairs = np.empty(4096, np.int32)
    for i in range(first, len(key_offsets) - 1):
        at = key_offsets[i]
        end = key_offsets[i + 1]
        raw_count, at = uvarint_at(keys, at, end)
        count = np.int64(raw_count)
        rows[i] = -1
        if at < 0 or count < 0 or count > 4096:
            continue
        if add and (
            (counters[0] + 2 * count) * 2 >= len(symbol_slots)
            or counters[0] + 2 * count + 1 >= len(text_ends)
            or counters[1] + (end - at) > len(text)
            or (counters[2] + count) * 2 >= len(pair_slots)
            or counters[2] + count > len(pair_names)
            or counters[3] + count > len(label_pairs)
            or (counters[4] + 1) * 2 >= len(row_slots)
            or counters[4] + 2 > len(label_ends)
        ):
            return i
        good = True
        h: Word = np.uint64(count)
        for j in range(count):
            raw_size, at = uvarint_at(keys, at, end)
            size = np.int64(raw_size)
            if at < 0 or size < 0 or size > end - at:
                good = False
                break
            name_start = at
            at += size
            raw_size, at = uvarint_at(keys, at, end)
            value_size = np.int64(raw_size)
            if at < 0 or value_size < 0 or value_size > end - at:
                good = False
                break
            name = _symbol(
                keys,
                name_start,
                name_start + size,
                counters,
                text,
                text_ends,
                symbol_hashes,
                symbol_slots,
                add,
            )
            value = _symbol(
                keys, at, at + value_size, counters, text, text_ends, symbol_hashes, symbol_slots, add
            )
            at += value_size
            if name < 0 or value < 0:
                good = False
                break
            pair = _pair(name, value, counters, pair_names, pair_values, pair_slots, add)
            if pair < 0:
                good = False
                break
            pairs[j] = pair
            h = _mix(h, np.uint64(pair))
        if not good or at != end:
            continue
        short = np.uint32((h >> np.uint64(16)) & np.uint64(0xFFFFFFFF))
        mask = len(row_slots) - 1
        slot = np.int64(short) & mask
        row = -1
        while row_slots[slot] != 0:
            found = row_slots[slot] - 1
            if row_hashes[found] == short and label_ends[found + 1] - label_ends[found] == count:
                begin = label_ends[found]
                same = True
                for j in range(count):
                    if label_pairs[begin + j] != pairs[j]:
                        same = False
                        break
                if same:
                    row = found
                    break
            slot = (slot + 1) & mask
        if row >= 0:
            rows[i] = row
            continue
        if not add:
            continue
        row = counters[4]
        begin = label_ends[row]
        for j in range(count):
            label_pairs[begin + j] = pairs[j]
        label_ends[row + 1] = begin + count
        row_hashes[row] = short
        row_slots[slot] = row + 1
        counters[3] = begin + count
        counters[4] = row + 1
        rows[i] = -2 - row
    return len(key_offsets) - 1


@kernel("void(int32[::1], uint32[::1], int64)")
def _rehash(slots: Int32s, hashes: npt.NDArray[np.uint32], count: Word) -> None:
    mask = len(slots) - 1
    for i in range(count):
        slot = np.int64(hashes[i]) & mask
        while slots[slot] != 0:
            slot = (slot + 1) & mask
        slots[slot] = i + 1


@kernel("void(int32[::1], int32[::1], int32[::1], int64)")
def _rehash_pairs(slots: Int32s, names: Int32s, values: Int32s, count: Word) -> None:
    mask = len(slots) - 1
    for i in range(count):
        slot = np.int64(_mix(_mix(np.uint64(7), np.uint64(names[i])), np.uint64(values[i]))) & mask
        while slots[slot] != 0:
            slot = (slot + 1) & mask
        slots[slot] = i + 1


@kernel(
    "int64(int64[::1], int32[::1], int64[::1], int32[::1], int32[::1], uint8[::1], int64[::1], uint8[::1],"
    " int64[::1])"
)
def _write_keys(
    rows: Int64s,
    label_pairs: Int32s,
    label_ends: Int64s,
    pair_names: Int32s,
    pair_values: Int32s,
    text: Bytes,
    text_ends: Int64s,
    out: Bytes,
    out_offsets: Int64s,
) -> Word:
    """Series keys of the rows into ``out``; with an empty ``out`` only measures. Returns the size."""
    measure = len(out) == 0
    at = 0
    for i in range(len(rows)):
        out_offsets[i] = at
        row = rows[i]
        count = label_ends[row + 1] - label_ends[row]
        for part in range(-1, 2 * count):
            if part < 0:
                number = count
                begin = 0
                size = 0
            else:
                pair = label_pairs[label_ends[row] + part // 2]
                symbol = pair_names[pair] if part % 2 == 0 else pair_values[pair]
                begin = text_ends[symbol]
                size = text_ends[symbol + 1] - begin
                number = size
            while number >= 0x80:
                if not measure:
                    out[at] = (number & 0x7F) | 0x80
                at += 1
                number >>= 7
            if not measure:
                out[at] = number
            at += 1
            if not measure:
                for k in range(size):
                    out[at + k] = text[begin + k]
            at += size
    out_offsets[len(rows)] = at
    return at


def _grown(array: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    bigger = np.empty(size, array.dtype)
    bigger[: len(array)] = array
    return bigger


class SeriesTable:
    """Rows 0..n-1, one per distinct label set, in order of arrival. Not thread-safe: the head's lock is held.

    label_pairs   int32[...]: pair ids; row ``r`` has ``label_pairs[label_ends[r]:label_ends[r + 1]]``
    pair_names, pair_values   int32[pairs]: symbol ids
    """

    def __init__(self, rows: int = 1024) -> None:
        size = 1 << max(6, (rows - 1).bit_length())
        self._counters = np.zeros(5, np.int64)
        self._text = np.empty(size * 16, np.uint8)
        self._text_ends = np.zeros(size + 1, np.int64)
        self._symbol_hashes = np.empty(size, np.uint32)
        self._symbol_slots = np.zeros(size * 2, np.int32)
        self._pair_names = np.empty(size, np.int32)
        self._pair_values = np.empty(size, np.int32)
        self._pair_slots = np.zeros(size * 2, np.int32)
        self._label_pairs = np.empty(size * 4, np.int32)
        self._label_ends = np.zeros(size + 1, np.int64)
        self._row_hashes = np.empty(size, np.uint32)
        self._row_slots = np.zeros(size * 2, np.int32)
        self._strings: dict[int, str] = {}
        self._pair_cache: dict[int, tuple[str, str]] = {}

    def __len__(self) -> int:
        return int(self._counters[_ROWS])

    @property
    def symbol_count(self) -> int:
        return int(self._counters[_SYMBOLS])

    @property
    def pair_count(self) -> int:
        return int(self._counters[_PAIRS])

    @property
    def pair_names(self) -> Int32s:
        return self._pair_names[: self.pair_count]

    @property
    def pair_values(self) -> Int32s:
        return self._pair_values[: self.pair_count]

    @property
    def label_pairs(self) -> Int32s:
        return self._label_pairs[: self._counters[_LABELS]]

    @property
    def label_ends(self) -> Int64s:
        return self._label_ends[: len(self) + 1]

    def add(self, keys: Bytes, key_offsets: Int64s) -> Int64s:
        """Rows of the series keys, new ones given as ``-2 - row``; -1 where a key is malformed."""
        rows = np.empty(len(key_offsets) - 1, np.int64)
        done = 0
        while True:
            done = self._run(keys, key_offsets, rows, done, True)
            if done == len(rows):
                return rows
            self._grow(int(key_offsets[done + 1] - key_offsets[done]))

    def find(self, keys: Bytes, key_offsets: Int64s) -> Int64s:
        """Rows of the series keys, -1 where there is none."""
        rows = np.empty(len(key_offsets) - 1, np.int64)
        self._run(keys, key_offsets, rows, 0, False)
        return rows

    def _run(self, keys: Bytes, key_offsets: Int64s, rows: Int64s, first: int, add: bool) -> int:
        return int(
            _intern(
                keys,
                key_offsets,
                rows,
                first,
                add,
                self._counters,
                self._text,
                self._text_ends,
                self._symbol_hashes,
                self._symbol_slots,
                self._pair_names,
                self._pair_values,
                self._pair_slots,
                self._label_pairs,
                self._label_ends,
                self._row_hashes,
                self._row_slots,
            )
        )

    def _grow(self, key_bytes: int) -> None:
        """Double whatever has too little room for one more series with a key of ``key_bytes``."""
        labels = min(LABELS_PER_SERIES_MAX, key_bytes // 2 + 1)
        symbols, text, pairs, label_pairs, rows = (int(c) for c in self._counters)
        wanted = 2 * (symbols + 2 * labels) + 8
        if len(self._symbol_slots) <= wanted or len(self._text_ends) <= wanted // 2:
            size = 1 << wanted.bit_length()
            self._symbol_slots = np.zeros(size, np.int32)
            self._text_ends = _grown(self._text_ends, size // 2 + 1)
            self._symbol_hashes = _grown(self._symbol_hashes, size // 2)
            _rehash(self._symbol_slots, self._symbol_hashes, symbols)
        if len(self._text) < text + key_bytes:
            self._text = _grown(self._text, (text + key_bytes) * 3 // 2)
        wanted = 2 * (pairs + labels) + 8
        if len(self._pair_slots) <= wanted or len(self._pair_names) <= wanted // 2:
            size = 1 << wanted.bit_length()
            self._pair_slots = np.zeros(size, np.int32)
            self._pair_names = _grown(self._pair_names, size // 2)
            self._pair_values = _grown(self._pair_values, size // 2)
            _rehash_pairs(self._pair_slots, self._pair_names, self._pair_values, pairs)
        if len(self._label_pairs) < label_pairs + labels:
            self._label_pairs = _grown(self._label_pairs, (label_pairs + labels) * 3 // 2)
        wanted = 2 * (rows + 1) + 8
        if len(self._row_slots) <= wanted or len(self._label_ends) <= wanted // 2:
            size = 1 << wanted.bit_length()
            self._row_slots = np.zeros(size, np.int32)
            self._label_ends = _grown(self._label_ends, size // 2 + 1)
            self._row_hashes = _grown(self._row_hashes, size // 2)
            _rehash(self._row_slots, self._row_hashes, rows)

    def keys(self, rows: Int64s) -> tuple[Bytes, Int64s]:
        """Series keys of the rows: flat bytes, int64[n + 1] offsets."""
        offsets = np.zeros(len(rows) + 1, np.int64)
        arguments = (
            rows,
            self._label_pairs,
            self._label_ends,
            self._pair_names,
            self._pair_values,
            self._text,
            self._text_ends,
        )
        size = _write_keys(*arguments, np.empty(0, np.uint8), offsets)
        out = np.empty(max(1, size), np.uint8)
        _write_keys(*arguments, out, offsets)
        return out[:size], offsets

    def subset(self, rows: Int64s) -> SeriesTable:
        """A table of these rows alone, in this order. What there is of a row never changes, so others may add
        series meanwhile."""
        table = SeriesTable(len(rows))
        for first in range(0, len(rows), _ROWS_AT_ONCE):
            table.add(*self.keys(rows[first : first + _ROWS_AT_ONCE]))
        return table

    def symbol(self, symbol: int) -> str:
        """The string of a symbol id."""
        found = self._strings.get(symbol)
        if found is None:
            raw = self._text[self._text_ends[symbol] : self._text_ends[symbol + 1]].tobytes()
            found = self._strings[symbol] = raw.decode("utf-8", "surrogateescape")
        return found

    def symbol_id(self, text: str) -> int:
        """The id of a string, -1 if no series has it."""
        raw = np.frombuffer(bytearray(text.encode("utf-8", "surrogateescape")), np.uint8)
        counters = self._counters
        return int(
            _find_symbol(
                raw if len(raw) else np.empty(0, np.uint8),
                counters,
                self._text,
                self._text_ends,
                self._symbol_hashes,
                self._symbol_slots,
            )
        )

    def pair_id(self, name: str, value: str) -> int:
        """The id of a label pair, -1 if no series has it."""
        name_id, value_id = self.symbol_id(name), self.symbol_id(value)
        if name_id < 0 or value_id < 0:
            return -1
        return int(
            _find_pair(
                name_id, value_id, self._counters, self._pair_names, self._pair_values, self._pair_slots
            )
        )

    def symbols_sorted(self) -> tuple[list[bytes], Int64s]:
        """All symbols sorted bytewise, and the rank of each symbol id."""
        ends = self._text_ends[: self.symbol_count + 1].tolist()
        whole = self._text[: self._counters[_TEXT]].tobytes()
        raw = [whole[ends[i] : ends[i + 1]] for i in range(len(ends) - 1)]
        order = sorted(range(len(raw)), key=raw.__getitem__)
        ranks = np.empty(len(raw), np.int64)
        ranks[order] = np.arange(len(raw))
        return [raw[i] for i in order], ranks

    def pair(self, pair: int) -> tuple[str, str]:
        found = self._pair_cache.get(pair)
        if found is None:
            found = (self.symbol(int(self._pair_names[pair])), self.symbol(int(self._pair_values[pair])))
            self._pair_cache[pair] = found
        return found

    def labels(self, rows: Sequence[int] | Int64s) -> list[Labels]:
        """Label sets of the rows; pairs are shared between them."""
        rows = np.asarray(rows, np.int64)
        begins = self._label_ends[rows].tolist()
        ends = self._label_ends[rows + 1].tolist()
        cache = self._pair_cache
        made: list[Labels] = []
        flat = self._label_pairs
        for begin, end in zip(begins, ends, strict=True):
            ids = flat[begin:end].tolist()
            try:
                made.append(Labels(tuple([cache[i] for i in ids])))
            except KeyError:
                made.append(Labels(tuple([self.pair(i) for i in ids])))
        return made

    def interned(self, rows: npt.NDArray[Any]) -> InternedLabels:
        """As ``labels`` of different rows, made when somebody looks at them. What stands in the table about
        rows that are there never changes: that needs no lock."""

        def columns() -> tuple[Int32s, Int64s]:
            ends, flat = self._label_ends, self._label_pairs
            firsts = ends[rows]
            lengths = ends[rows + 1] - firsts
            begins = np.zeros(len(rows) + 1, np.int64)
            np.cumsum(lengths, out=begins[1:])
            return flat[np.arange(begins[-1]) + np.repeat(firsts - begins[:-1], lengths)], begins

        return InternedLabels(self, len(rows), columns, distinct=True)

    def in_order(self, rows: Int64s) -> Int32s:
        """The rows by their labels; needs no lock either."""
        out = rows.astype(np.int32)
        sort_rows(
            out,
            np.empty(len(rows), np.int32),
            self._label_pairs,
            self._label_ends,
            self._pair_names,
            self._pair_values,
            self._text,
            self._text_ends,
        )
        return out

    def having(self, rows: Int64s, pairs: Int64s) -> npt.NDArray[np.bool_]:
        """bool[n]: which of the rows have one of the pairs, which are sorted."""
        found = np.empty(len(rows), np.bool_)
        _having(rows, pairs, self._label_pairs, self._label_ends, found)
        return found


@kernel("void(int64[::1], int64[::1], int32[::1], int64[::1], boolean[::1])", allocates=False)
def _having(
    rows: Int64s, pairs: Int64s, label_pairs: Int32s, label_ends: Int64s, found: npt.NDArray[np.bool_]
) -> None:
    for i in range(len(rows)):
        has = False
        for k in range(label_ends[rows[i]], label_ends[rows[i] + 1]):
            pair = label_pairs[k]
            low: Word = 0
            high: Word = len(pairs)
            while low < high:
                middle = (low + high) >> 1
                if pairs[middle] < pair:
                    low = middle + 1
                else:
                    high = middle
            if low < len(pairs) and pairs[low] == pair:
                has = True
                break
        found[i] = has


@kernel("int64(uint8[::1], int64[::1], uint8[::1], int64[::1], uint32[::1], int32[::1])")
def _find_symbol(
    raw: Bytes,
    counters: Int64s,
    text: Bytes,
    text_ends: Int64s,
    hashes: npt.NDArray[np.uint32],
    slots: Int32s,
) -> Word:
    return _symbol(raw, 0, len(raw), counters, text, text_ends, hashes, slots, False)


@kernel("int64(int64, int64, int64[::1], int32[::1], int32[::1], int32[::1])")
def _find_pair(
    name: Word, value: Word, counters: Int64s, names: Int32s, values: Int32s, slots: Int32s
) -> Word:
    return _pair(name, value, counters, names, values, slots, False)
