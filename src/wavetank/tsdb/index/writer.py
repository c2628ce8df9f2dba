"""Writing a block's index. Mirrors ``tsdb/index/index.go``.

Sections in order: header, symbols, series (each aligned to 16), postings (the list of all series first), the
table of postings offsets, the table of contents. The obsolete label indices are not written, as upstream no
longer does. Each section is one kernel call over the columns of a series table.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wavetank.jit import kernel
from wavetank.tsdb.chunkenc.bits import Word, put_u32, put_uvarint, put_varint
from wavetank.tsdb.crc32c import checksum, crc32c
from wavetank.tsdb.index import MAGIC
from wavetank.tsdb.series_table import SeriesTable
from wavetank.tsdb.wal.records import uvarint

__all__ = ["ChunkMetas", "sorted_rows", "write_index"]

Bytes = npt.NDArray[np.uint8]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

_SERIES_BYTES_PER_LABEL = 20
_SERIES_BYTES_PER_CHUNK = 30


@dataclass(frozen=True, slots=True)
class ChunkMetas:
    """Chunks of the rows to be written; row ``i`` has ``offsets[i]:offsets[i + 1]``, by time."""

    offsets: Int64s
    mint: Int64s
    maxt: Int64s
    refs: Int64s


def sorted_rows(table: SeriesTable, rows: Int64s, ranks: Int64s) -> Int64s:
    """The rows in order of their label sets."""
    ends = table.label_ends
    counts = ends[rows + 1] - ends[rows]
    widest = int(counts.max()) if len(rows) else 0
    if widest > 64:
        labels = table.labels(rows)
        return rows[sorted(range(len(rows)), key=lambda i: labels[i].pairs)]
    keys = np.zeros((2 * widest, len(rows)), np.int32)  # absent labels sort first
    names = ranks[table.pair_names] + 1
    values = ranks[table.pair_values] + 1
    flat = table.label_pairs
    for j in range(widest):
        has = counts > j
        pairs = flat[ends[rows[has]] + j]
        keys[2 * j, has] = names[pairs]
        keys[2 * j + 1, has] = values[pairs]
    return rows[np.lexsort(keys[::-1])] if widest else rows


@kernel(
    "int64(int64[::1], int32[::1], int64[::1], int64[::1], int64[::1], int64[::1], int64[::1], int64[::1],"
    " int64[::1], int64, uint8[::1], int64[::1])"
)
def _write_series(
    rows: Int64s,
    label_pairs: Int32s,
    label_ends: Int64s,
    pair_name_refs: Int64s,
    pair_value_refs: Int64s,
    offsets: Int64s,
    mint: Int64s,
    maxt: Int64s,
    refs: Int64s,
    start: Word,
    out: Bytes,
    ids: Int64s,
) -> Word:
    """Series entries to ``out``, which will stand at file offset ``start``; ids are offset / 16."""
    at = 0
    longest = 0
    for i in range(len(rows)):
        size = (label_ends[rows[i] + 1] - label_ends[rows[i]]) * 20 + (offsets[i + 1] - offsets[i]) * 30 + 20
        longest = max(longest, size)
    body = np.empty(longest, np.uint8)
    for i in range(len(rows)):
        while (start + at) % 16 != 0:
            out[at] = 0
            at += 1
        ids[i] = (start + at) // 16
        row = rows[i]
        n = put_uvarint(body, 0, label_ends[row + 1] - label_ends[row])
        for k in range(label_ends[row], label_ends[row + 1]):
            n = put_uvarint(body, n, pair_name_refs[label_pairs[k]])
            n = put_uvarint(body, n, pair_value_refs[label_pairs[k]])
        n = put_uvarint(body, n, offsets[i + 1] - offsets[i])
        for c in range(offsets[i], offsets[i + 1]):
            if c == offsets[i]:
                n = put_varint(body, n, mint[c])
                n = put_uvarint(body, n, maxt[c] - mint[c])
                n = put_uvarint(body, n, refs[c])
            else:
                n = put_uvarint(body, n, mint[c] - maxt[c - 1])
                n = put_uvarint(body, n, maxt[c] - mint[c])
                n = put_varint(body, n, refs[c] - refs[c - 1])
        at = put_uvarint(out, at, n)
        out[at : at + n] = body[:n]
        at = put_u32(out, at + n, crc32c(body, 0, n))
    return at


@kernel(
    "int64(int64[::1], int32[::1], int64[::1], int64[::1], int64[::1], int64[::1], int64, uint8[::1],"
    " int64[::1])"
)
def _write_postings(
    rows: Int64s,
    label_pairs: Int32s,
    label_ends: Int64s,
    ids: Int64s,
    pair_order: Int64s,
    starts: Int64s,
    start: Word,
    out: Bytes,
    list_offsets: Int64s,
) -> Word:
    """All postings lists: that of every series, then the pairs' in order. starts is zeroed scratch."""
    for i in range(len(rows)):
        for k in range(label_ends[rows[i]], label_ends[rows[i] + 1]):
            starts[label_pairs[k] + 2] += 1
    for p in range(2, len(starts)):
        starts[p] += starts[p - 1]
    lists = np.empty(starts[-1], np.int64)
    for i in range(len(rows)):
        for k in range(label_ends[rows[i]], label_ends[rows[i] + 1]):
            pair = label_pairs[k] + 1
            lists[starts[pair]] = ids[i]
            starts[pair] += 1
    at = 0
    for p in range(-1, len(pair_order)):
        while (start + at) % 4 != 0:
            out[at] = 0
            at += 1
        list_offsets[p + 1] = start + at
        if p < 0:
            first = 0
            count = len(ids)
        else:
            first = starts[pair_order[p]]
            count = starts[pair_order[p] + 1] - first
        at = put_u32(out, at, 4 + 4 * count)
        begin = at
        at = put_u32(out, at, count)
        for k in range(count):
            at = put_u32(out, at, ids[k] if p < 0 else lists[first + k])
        at = put_u32(out, at, crc32c(out, begin, at))
    return at


def _section(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body + checksum(body).to_bytes(4, "big")


def write_index(path: Path, table: SeriesTable, rows: Int64s, metas: ChunkMetas) -> None:
    """Write the index of ``rows``, which are in order of their labels; every row has a chunk or more."""
    ends = table.label_ends
    used_pairs = np.unique(
        np.concatenate([table.label_pairs[ends[r] : ends[r + 1]] for r in rows.tolist()])
        if len(rows) < len(table)
        else table.label_pairs
    ).astype(np.int64)
    symbols, ranks = _used_symbols(table, used_pairs)
    name_refs = ranks[table.pair_names]
    value_refs = ranks[table.pair_values]
    with path.open("wb") as file:
        file.write(MAGIC.to_bytes(4, "big") + b"\x02")
        symbols_at = file.tell()
        file.write(_section(len(symbols).to_bytes(4, "big") + b"".join(uvarint(len(s)) + s for s in symbols)))
        series_at = file.tell()
        ids = _series(file, table, rows, metas, name_refs, value_refs)
        file.write(bytes(-file.tell() % 4))
        postings_at = file.tell()
        order = used_pairs[np.lexsort((value_refs[used_pairs], name_refs[used_pairs]))]
        list_offsets = _postings(file, table, rows, ids, order)
        table_at = file.tell()
        entries = [(b"", b"")] + [(symbols[name_refs[p]], symbols[value_refs[p]]) for p in order.tolist()]
        parts = [len(entries).to_bytes(4, "big")]
        for (name, value), offset in zip(entries, list_offsets.tolist(), strict=True):
            parts.append(b"\x02" + uvarint(len(name)) + name + uvarint(len(value)) + value + uvarint(offset))
        file.write(_section(b"".join(parts)))
        toc = b"".join(
            at.to_bytes(8, "big")
            for at in (symbols_at, series_at, postings_at, table_at, postings_at, table_at)
        )
        file.write(toc + checksum(toc).to_bytes(4, "big"))


def _used_symbols(table: SeriesTable, pairs: Int64s) -> tuple[list[bytes], Int64s]:
    """Symbols of the pairs, sorted, the empty one first as upstream has it; and the ordinal per symbol id."""
    symbols, ranks = table.symbols_sorted()
    used = np.zeros(len(symbols), np.bool_)
    used[ranks[table.pair_names[pairs]]] = True
    used[ranks[table.pair_values[pairs]]] = True
    kept = [s for s, keep in zip(symbols, used.tolist(), strict=True) if keep]
    ordinal = np.cumsum(used) - 1
    if not kept or kept[0] != b"":
        kept.insert(0, b"")
        ordinal = ordinal + 1
    return kept, ordinal[ranks]


def _series(
    file: Any, table: SeriesTable, rows: Int64s, metas: ChunkMetas, name_refs: Int64s, value_refs: Int64s
) -> Int64s:
    ends = table.label_ends
    bound = int(
        (ends[rows + 1] - ends[rows]).sum() * _SERIES_BYTES_PER_LABEL
        + len(metas.mint) * _SERIES_BYTES_PER_CHUNK
        + len(rows) * 40
        + 16
    )
    out = np.empty(bound, np.uint8)
    ids = np.empty(len(rows), np.int64)
    run: Any = _write_series
    size = run(
        rows,
        table.label_pairs,
        ends,
        name_refs,
        value_refs,
        metas.offsets,
        metas.mint,
        metas.maxt,
        metas.refs,
        file.tell(),
        out,
        ids,
    )
    file.write(out[:size].data)
    return ids


def _postings(file: Any, table: SeriesTable, rows: Int64s, ids: Int64s, order: Int64s) -> Int64s:
    ends = table.label_ends
    labels = int((ends[rows + 1] - ends[rows]).sum())
    out = np.empty(4 * (labels + len(rows)) + 16 * (len(order) + 2), np.uint8)
    offsets = np.empty(len(order) + 1, np.int64)
    starts = np.zeros(table.pair_count + 2, np.int64)
    run: Any = _write_postings
    size = run(rows, table.label_pairs, ends, ids, order, starts, file.tell(), out, offsets)
    file.write(out[:size].data)
    return offsets
