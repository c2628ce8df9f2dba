"""Records to pages and back. Mirrors ``tsdb/wlog/wlog.go`` and ``reader.go``.

A segment is a row of 32 KiB pages; a record is cut into fragments so that none crosses a page. A fragment
is type (u8), length (u16), CRC-32C of its data (u32), data. The low three bits of the type say which part
of the record it is (1 full, 2 first, 3 middle, 4 last; 0 means that the rest of the page is padding), bit 3
that the record is compressed with snappy, bit 4 with zstd.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from wavetank.jit import kernel
from wavetank.tsdb.chunkenc.bits import Word, copy_bytes, put_u32, u32_at
from wavetank.tsdb.crc32c import crc32c

__all__ = ["HEADER_BYTES", "PAGE_BYTES", "SNAPPY", "ZSTD", "frame", "framed_size_max", "scan"]

Bytes = npt.NDArray[np.uint8]
Int64s = npt.NDArray[np.int64]

PAGE_BYTES: Final = 32 * 1024
HEADER_BYTES: Final = 7
SNAPPY: Final = 8
ZSTD: Final = 16


def framed_size_max(size: int) -> int:
    """Room that a record of ``size`` bytes may take, padding included."""
    return size + (size // (PAGE_BYTES - HEADER_BYTES) + 2) * HEADER_BYTES + 2 * HEADER_BYTES


@kernel("int64(uint8[::1], int64, int64, uint8[::1], int64)", allocates=False)
def frame(record: Bytes, flags: Word, page_used: Word, out: Bytes, at: Word) -> Word:
    """Write the fragments of one record to ``out[at:]``; returns the index after them.

    ``page_used`` is how much of the current page is taken.
    """
    begin = at
    done: Word = np.int64(0)  # a literal would have the leaves compiled for it, too
    first = True
    while first or done < len(record):
        used = (page_used + at - begin) % 32768
        if 32768 - used < 7:
            for k in range(32768 - used):
                out[at + k] = 0
            at += 32768 - used
            used = 0
        size = min(len(record) - done, 32768 - used - 7)
        last = done + size == len(record)
        kind = 1 if first and last else 4 if last else 2 if first else 3
        out[at] = kind | flags
        out[at + 1] = size >> 8
        out[at + 2] = size & 0xFF
        put_u32(out, at + 3, crc32c(record, done, done + size))
        copy_bytes(record, done, out, at + 7, size)
        at += 7 + size
        done += size
        first = False
    # Upstream pads a page that has no room for another header as soon as it is full.
    used = (page_used + at - begin) % 32768
    if used > 0 and 32768 - used < 7:
        for k in range(32768 - used):
            out[at + k] = 0
        at += 32768 - used
    return at


@kernel("int64(uint8[::1], int64, int64, int64[::1], uint8[::1], int64[::1], int64[::1])", allocates=False)
def _scan(
    data: Bytes,
    start: Word,
    size: Word,
    result: Int64s,
    out: Bytes,
    ends: Int64s,
    flags: Int64s,
) -> Word:
    """Join the fragments from ``start`` on; returns how many whole records there are in ``out``.

    result: where reading may go on (after the last whole record), fault (0 none, 1 cut off by the end, 2 bad
    type, 3 bad length, 4 bad checksum, 5 fragments out of sequence, 6 padding not zero), offset of the fault.
    """
    at = start
    records = 0
    used: Word = 0
    inside = False
    safe = start
    result[1] = 0
    while at < size and records < len(flags):
        left = 32768 - at % 32768
        kind = data[at] & 7
        if kind == 0:
            if data[at] != 0 or (left == 32768 and at + 32768 <= size and inside):
                result[1] = 2
                break
            clean = True
            until = min(size, at + left)
            for k in range(at, until):
                if data[k] != 0:
                    clean = False
                    break
            if not clean:
                result[1] = 6
                break
            at += left
            if not inside:
                safe = min(at, size)
            continue
        if left < 7 or kind > 4:
            result[1] = 2
            break
        if at + 7 > size:
            result[1] = 1
            break
        length = (np.int64(data[at + 1]) << 8) | np.int64(data[at + 2])
        if length > left - 7:
            result[1] = 3
            break
        if at + 7 + length > size:
            result[1] = 1
            break
        if (kind == 1 or kind == 2) == inside:
            result[1] = 5
            break
        if u32_at(data, at + 3) != np.int64(crc32c(data, at + 7, at + 7 + length)):
            result[1] = 4
            break
        copy_bytes(data, at + 7, out, used, length)
        used += length
        inside = kind == 2 or kind == 3
        at += 7 + length
        if not inside:
            ends[records] = used
            flags[records] = np.int64(data[at - 7 - length]) & 24
            records += 1
            safe = at
    if inside and result[1] == 0 and at >= size:
        result[1] = 1
    result[0] = safe
    result[2] = at
    return records


_RECORDS_PER_SCAN: Final = 65536


def scan(data: Bytes, start: int, size: int) -> tuple[Bytes, Int64s, Int64s, int, int, int]:
    """Whole records of ``data[start:size]``, joined: ``(bytes, ends, compression flags, next, fault, at)``.

    ``next`` is where to go on: more records may follow if ``fault`` is 0 and ``next < size``. A fault of 1
    means that the bytes end inside a record.
    """
    out = np.empty(max(1, size - start), np.uint8)
    ends = np.empty(_RECORDS_PER_SCAN, np.int64)
    flags = np.empty(_RECORDS_PER_SCAN, np.int64)
    result = np.zeros(3, np.int64)
    run: Any = _scan
    records = run(data, start, size, result, out, ends, flags)
    return out, ends[:records], flags[:records], int(result[0]), int(result[1]), int(result[2])
