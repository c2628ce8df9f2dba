"""Reading a block's index. Mirrors ``tsdb/index/index.go``; versions 1, 2 and 3.

The file is mapped; opening checks the header, the table of contents and the checksums of the small sections.
Offsets of symbols and postings lists are read once into flat arrays; series entries are decoded in batches.
"""

from __future__ import annotations

import itertools
import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wavetank.jit import kernel
from wavetank.model.labels import Labels
from wavetank.tsdb.chunkenc.bits import Word, copy_bytes, u32_at, uvarint_at, varint_at
from wavetank.tsdb.crc32c import checksum, crc32c
from wavetank.tsdb.errors import CorruptionError
from wavetank.tsdb.index import MAGIC, TOC_BYTES

__all__ = ["IndexReader", "SeriesEntries"]

Bytes = npt.NDArray[np.uint8]
Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SeriesEntries:
    """Decoded series; entry ``i`` has the label pairs and chunks of its ranges.

    label_offsets  int64[n + 1]; symbols int64[labels, 2]: name and value ordinals
    chunk_offsets  int64[n + 1]; mint, maxt, refs  int64[chunks]
    """

    label_offsets: Int64s
    symbols: npt.NDArray[np.int64]
    chunk_offsets: Int64s
    mint: Int64s
    maxt: Int64s
    refs: Int64s


@kernel("int64(uint8[::1], int64, int64, int64[::1], int64[::1])")
def _symbols(data: Bytes, at: Word, end: Word, starts: Int64s, heads: Int64s) -> Word:
    """Starts of the strings, and of their length fields; returns how many fit before ``end``."""
    for i in range(len(heads)):
        heads[i] = at
        size, at = uvarint_at(data, at, end)
        if at < 0 or np.int64(size) < 0 or np.int64(size) > end - at:
            return i
        starts[i] = at
        at += np.int64(size)
    return len(heads)


@kernel("int64(uint8[::1], int64, int64, int64[:, ::1])")
def _postings_table(data: Bytes, at: Word, end: Word, out: npt.NDArray[np.int64]) -> Word:
    """Per entry: start and size of the name, start and size of the value, offset of the list."""
    for i in range(len(out)):
        keys, at = uvarint_at(data, at, end)
        if at < 0 or np.int64(keys) != 2:
            return i
        for j in range(2):
            size, at = uvarint_at(data, at, end)
            if at < 0 or np.int64(size) < 0 or np.int64(size) > end - at:
                return i
            out[i, 2 * j] = at
            out[i, 2 * j + 1] = np.int64(size)
            at += np.int64(size)
        offset, at = uvarint_at(data, at, end)
        if at < 0:
            return i
        out[i, 4] = np.int64(offset)
    return len(out)


@kernel(
    "int64(uint8[::1], int64[::1], int64, int64, int64[::1], int64[:, ::1], int64[::1], int64[::1],"
    " int64[::1], int64[::1])"
)
def _series(
    data: Bytes,
    ids: Int64s,
    unit: Word,
    limit: Word,
    label_offsets: Int64s,
    symbols: npt.NDArray[np.int64],
    chunk_offsets: Int64s,
    mint: Int64s,
    maxt: Int64s,
    refs: Int64s,
) -> Word:
    """Decode entries; with empty outputs only counts and checks. Returns -1, or the index of a bad entry."""
    fill = len(symbols) > 0 or len(mint) > 0
    labels = 0
    chunks = 0
    for i in range(len(ids)):
        at = ids[i] * unit
        if at < 0 or at >= limit:
            return i
        size, at = uvarint_at(data, at, limit)
        end = at + np.int64(size)
        if at < 0 or np.int64(size) < 0 or end + 4 > limit:
            return i
        if not fill and u32_at(data, end) != np.int64(crc32c(data, at, end)):
            return i
        count, at = uvarint_at(data, at, end)
        for _ in range(np.int64(count)):
            if at < 0:
                return i
            name, at = uvarint_at(data, at, end)
            if at < 0:
                return i
            value, at = uvarint_at(data, at, end)
            if fill:
                symbols[labels, 0] = np.int64(name)
                symbols[labels, 1] = np.int64(value)
            labels += 1
        if at < 0:
            return i
        count, at = uvarint_at(data, at, end)
        if at < 0 or np.int64(count) < 0 or np.int64(count) > np.int64(size):
            return i
        time = np.int64(0)
        ref = np.int64(0)
        for c in range(np.int64(count)):
            if c == 0:
                time, at = varint_at(data, at, end)
            else:
                step, at = uvarint_at(data, at, end) if at >= 0 else (np.uint64(0), at)
                time += np.int64(step)
            if at < 0:
                return i
            begin = time
            step, at = uvarint_at(data, at, end)
            if at < 0:
                return i
            time += np.int64(step)
            if c == 0:
                first, at = uvarint_at(data, at, end)
                ref = np.int64(first)
            else:
                delta, at = varint_at(data, at, end)
                ref += delta
            if at < 0:
                return i
            if fill:
                mint[chunks] = begin
                maxt[chunks] = time
                refs[chunks] = ref
            chunks += 1
        label_offsets[i + 1] = labels
        chunk_offsets[i + 1] = chunks
    return -1


@kernel("int64(uint8[::1], int64, int64, int64[::1])")
def _read_list(data: Bytes, at: Word, limit: Word, out: Int64s) -> Word:
    """One postings list; with an empty ``out`` its length. -1 if it is damaged."""
    if at < 0 or at + 8 > limit:
        return -1
    size = u32_at(data, at)
    count = u32_at(data, at + 4)
    if at + 8 + size > limit or size != 4 + 4 * count:
        return -1
    if len(out) == 0:
        return count if u32_at(data, at + 4 + size) == np.int64(crc32c(data, at + 4, at + 4 + size)) else -1
    for k in range(count):
        out[k] = u32_at(data, at + 8 + 4 * k)
    return count


@kernel("int64(uint8[::1], int64[:, ::1], int64[::1], int64[::1], uint8[::1], int64[::1])")
def _write_keys(
    data: Bytes,
    symbols: npt.NDArray[np.int64],
    label_offsets: Int64s,
    heads: Int64s,
    out: Bytes,
    offsets: Int64s,
) -> Word:
    """Series keys: a symbol's length and bytes are copied as they stand. Only measures if out is empty."""
    measure = len(out) == 0
    at = 0
    for i in range(len(label_offsets) - 1):
        offsets[i] = at
        number = label_offsets[i + 1] - label_offsets[i]
        while number >= 0x80:
            if not measure:
                out[at] = (number & 0x7F) | 0x80
            at += 1
            number >>= 7
        if not measure:
            out[at] = number
        at += 1
        for k in range(label_offsets[i], label_offsets[i + 1]):
            for j in range(2):
                begin = heads[symbols[k, j]]
                size = heads[symbols[k, j] + 1] - begin
                if not measure:
                    copy_bytes(data, begin, out, at, size)
                at += size
    offsets[len(label_offsets) - 1] = at
    return at


class IndexReader:
    """Implements ``postings.Index``; rows are series ids. Raises CorruptionError naming the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.stat().st_size < 5 + TOC_BYTES:
            raise CorruptionError("index is too short", at=path)
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        self._data = np.frombuffer(self._map, np.uint8)
        size = len(self._data)
        if int.from_bytes(self._map[:4], "big") != MAGIC:
            raise CorruptionError(f"invalid magic number {self._map[:4].hex()}", at=path)
        self.version = self._map[4]
        if self.version not in (1, 2, 3):
            raise CorruptionError(f"unknown index file version {self.version}", at=path)
        toc = self._map[size - TOC_BYTES : size - 4]
        if checksum(toc) != int.from_bytes(self._map[size - 4 : size], "big"):
            raise CorruptionError("checksum of the table of contents does not match", at=path)
        self._limit = size - TOC_BYTES
        offsets = [int.from_bytes(toc[8 * i : 8 * i + 8], "big") for i in range(6)]
        self._symbols_at, _, _, _, _, self._table_at = offsets
        self._unit = 1 if self.version == 1 else 16
        self._strings: dict[int, str] = {}
        self._pairs: dict[tuple[int, int], tuple[str, str]] = {}
        self._values: dict[str, dict[str, int]] = {}
        self._load_symbols()
        self._load_table()

    def close(self) -> None:
        """Forget the caches; the mapping goes when the last array of it does."""
        self._strings.clear()
        self._pairs.clear()

    def _bad(self, what: str) -> CorruptionError:
        return CorruptionError(what, at=self.path)

    def _section(self, at: int, what: str) -> tuple[int, int, int]:
        """Start of the entries, end, count of a section; its checksum is right."""
        if at + 8 > self._limit:
            raise self._bad(f"{what} lie outside the file")
        size = int.from_bytes(self._map[at : at + 4], "big")
        end = at + 4 + size
        if end + 4 > self._limit + TOC_BYTES or size < 4:
            raise self._bad(f"{what} are cut off")
        if checksum(self._data[at + 4 : end]) != int.from_bytes(self._map[end : end + 4], "big"):
            raise self._bad(f"checksum of the {what} does not match")
        count = int.from_bytes(self._map[at + 4 : at + 8], "big")
        if count > size:
            raise self._bad(f"{what} claim {count} entries in {size} bytes")
        return at + 8, end, count

    def _load_symbols(self) -> None:
        begin, end, count = self._section(self._symbols_at, "symbols")
        self._starts = np.empty(count, np.int64)
        self._heads = np.empty(count, np.int64)
        run: Any = _symbols
        if run(self._data, begin, end, self._starts, self._heads) != count:
            raise self._bad("a symbol is cut off")
        self._heads = np.append(self._heads, end)

    def _load_table(self) -> None:
        begin, end, count = self._section(self._table_at, "postings offsets")
        self._entries = np.empty((count, 5), np.int64)
        run: Any = _postings_table
        if run(self._data, begin, end, self._entries) != count:
            raise self._bad("a postings offset is cut off")
        self._names: dict[str, list[int]] = {}
        starts = self._entries[:, :2]
        if count:
            # entries of one name stand together: look only where the name changes
            previous = b""
            group: list[int] = []
            for i, (at, size) in enumerate(starts.tolist()):
                name = self._map[at : at + size]
                if i == 0 or name != previous:
                    group = self._names.setdefault(name.decode("utf-8", "surrogateescape"), [])
                    previous = name
                group.append(i)

    # --- postings.Index -----------------------------------------------------------------------------

    def names(self) -> list[str]:
        return [n for n in self._names if n]

    def _values_of(self, name: str) -> dict[str, int]:
        found = self._values.get(name)
        if found is None:
            rows = self._entries[self._names.get(name, [])].tolist()
            found = {
                self._map[at : at + size].decode("utf-8", "surrogateescape"): offset
                for _, _, at, size, offset in rows
            }
            self._values[name] = found
        return found

    def values(self, name: str) -> Sequence[str]:
        return list(self._values_of(name)) if name else []

    def has_value(self, name: str, value: str) -> bool:
        return value in self._values_of(name)

    def postings(self, name: str, values: Sequence[str]) -> Int64s:
        offsets = self._values_of(name)
        lists = [self._list(offsets[v]) for v in values if v in offsets]
        if not lists:
            return np.empty(0, np.int64)
        if len(lists) == 1:
            return lists[0]
        joined = np.concatenate(lists)
        joined.sort()
        return joined

    def count(self, name: str, values: Sequence[str]) -> int:
        offsets = self._values_of(name)
        heads = [offsets[v] + 4 for v in values if v in offsets]
        return sum(int.from_bytes(self._data[at : at + 4].tobytes(), "big") for at in heads)

    def having(self, rows: Int64s, name: str, values: Sequence[str]) -> npt.NDArray[np.bool_]:
        every = self.postings(name, values)
        if not len(every):
            return np.zeros(len(rows), np.bool_)
        at = np.searchsorted(every, rows)
        at[at == len(every)] = 0
        return np.asarray(every[at] == rows)

    def all_rows(self) -> Int64s:
        offsets = self._values_of("")
        return self._list(offsets[""]) if "" in offsets else np.empty(0, np.int64)

    def _list(self, offset: int) -> Int64s:
        run: Any = _read_list
        count = run(self._data, offset, self._limit, np.empty(0, np.int64))
        if count < 0:
            raise self._bad(f"postings list at {offset} is damaged")
        out = np.empty(count, np.int64)
        if count:
            run(self._data, offset, self._limit, out)
        return out

    # --- series -------------------------------------------------------------------------------------

    def entries(self, ids: Int64s) -> SeriesEntries:
        """Label symbols and chunks of series."""
        none = np.empty(0, np.int64)
        labels = np.zeros(len(ids) + 1, np.int64)
        chunks = np.zeros(len(ids) + 1, np.int64)
        run: Any = _series
        fixed = (self._data, ids, self._unit, self._limit, labels)
        bad = run(*fixed, np.empty((0, 2), np.int64), chunks, none, none, none)
        if bad >= 0:
            raise self._bad(f"series entry {int(ids[bad])} is damaged")
        symbols = np.empty((int(labels[-1]), 2), np.int64)
        mint, maxt, refs = (np.empty(int(chunks[-1]), np.int64) for _ in range(3))
        if len(symbols) or len(mint):
            run(*fixed, symbols, chunks, mint, maxt, refs)
        if self.version == 1:
            symbols = np.searchsorted(self._heads[:-1], symbols)
        if len(symbols) and (symbols.min() < 0 or symbols.max() >= len(self._starts)):
            raise self._bad("a series names a symbol that does not exist")
        return SeriesEntries(labels, symbols, chunks, mint, maxt, refs)

    def _string(self, ordinal: int) -> str:
        found = self._strings.get(ordinal)
        if found is None:
            raw = self._map[int(self._starts[ordinal]) : int(self._heads[ordinal + 1])]
            found = self._strings[ordinal] = raw.decode("utf-8", "surrogateescape")
        return found

    def labels(self, entries: SeriesEntries) -> list[Labels]:
        """Label sets of decoded series; pairs are shared."""
        flat = list(map(tuple, entries.symbols.tolist()))
        cache = self._pairs
        for pair in set(flat) - cache.keys():
            cache[pair] = (self._string(pair[0]), self._string(pair[1]))
        pairs = [cache[p] for p in flat]
        offsets = entries.label_offsets.tolist()
        return [Labels(tuple(pairs[a:b])) for a, b in itertools.pairwise(offsets)]

    def keys(self, entries: SeriesEntries) -> tuple[Bytes, Int64s]:
        """Series keys of decoded series, for a series table."""
        offsets = np.zeros(len(entries.label_offsets), np.int64)
        run: Any = _write_keys
        fixed = (self._data, entries.symbols, entries.label_offsets, self._heads)
        size = run(*fixed, np.empty(0, np.uint8), offsets)
        out = np.empty(max(1, size), np.uint8)
        run(*fixed, out, offsets)
        return out[:size], offsets
