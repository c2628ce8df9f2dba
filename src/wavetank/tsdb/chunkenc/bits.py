"""Bits and variable-length integers over flat byte arrays: the leaves of every encoder and decoder here.

Mirrors ``tsdb/chunkenc/bstream.go`` and Go's ``encoding/binary`` varints. Bit streams are most significant
bit first. Readers never run past ``end``: they return what zero bits would give, and the caller finds the
position beyond the end and reports the chunk as corrupt.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from wavetank.jit import kernel

__all__ = [
    "Word",
    "float_bits",
    "get_bits",
    "put_bits",
    "put_u32",
    "put_u64",
    "put_uvarint",
    "put_varint",
    "u32_at",
    "u64_at",
    "uvarint_at",
    "uvarint_size",
    "varint_at",
]

Bytes = npt.NDArray[np.uint8]
#: An integer or float inside a kernel: Numba has widths that Python's ``int`` has not.
Word = Any


@kernel(inline=True)
def put_bits(buffer: Bytes, position: Word, value: Word, count: Word) -> Word:
    """Write the low ``count`` bits of ``value`` (uint64) into zeroed bytes; returns the new bit position."""
    left = count
    at = position
    while left > 0:
        free = 8 - (at & 7)
        take = min(free, left)
        part = (value >> np.uint64(left - take)) & np.uint64((1 << take) - 1)
        buffer[at >> 3] |= np.uint8(part << np.uint64(free - take))
        at += take
        left -= take
    return at


@kernel(inline=True)
def get_bits(buffer: Bytes, position: Word, count: Word, end: Word) -> Word:
    """``count`` (0 to 64) bits at ``position`` as uint64; bytes from ``end`` on read as zero."""
    result = np.uint64(0)
    at = position
    left = count
    while left > 0:
        index = at >> 3
        free = 8 - (at & 7)
        take = min(free, left)
        byte = np.uint64(buffer[index]) if index < end else np.uint64(0)
        part = (byte >> np.uint64(free - take)) & np.uint64((1 << take) - 1)
        result = (result << np.uint64(take)) | part
        at += take
        left -= take
    return result


@kernel(inline=True)
def put_uvarint(buffer: Bytes, at: Word, value: Word) -> Word:
    """Write an unsigned LEB128 integer (``value`` is uint64); returns the next byte's index."""
    rest = np.uint64(value)
    while rest >= np.uint64(0x80):
        buffer[at] = np.uint8((rest & np.uint64(0x7F)) | np.uint64(0x80))
        rest >>= np.uint64(7)
        at += 1
    buffer[at] = np.uint8(rest)
    return at + 1


@kernel(inline=True)
def put_varint(buffer: Bytes, at: Word, value: Word) -> Word:
    """Write a zigzag LEB128 integer; returns the next byte's index."""
    unsigned = np.uint64(value) << np.uint64(1)
    if value < 0:
        unsigned = ~unsigned
    return put_uvarint(buffer, at, unsigned)


@kernel(inline=True)
def uvarint_at(buffer: Bytes, at: Word, end: Word) -> tuple[Word, Word]:
    """``(value as uint64, next index)``; next index is -1 if it is cut off or longer than 10 bytes."""
    result = np.uint64(0)
    shift = 0
    while at < end and shift < 70:
        byte = np.uint64(buffer[at])
        at += 1
        result |= (byte & np.uint64(0x7F)) << np.uint64(shift)
        if byte < np.uint64(0x80):
            return result, at
        shift += 7
    return np.uint64(0), -1


@kernel(inline=True)
def varint_at(buffer: Bytes, at: Word, end: Word) -> tuple[Word, Word]:
    """``(value as int64, next index)``; next index is -1 if it is cut off."""
    unsigned, following = uvarint_at(buffer, at, end)
    value = np.int64(unsigned >> np.uint64(1))
    if unsigned & np.uint64(1):
        value = ~value
    return value, following


@kernel(inline=True)
def uvarint_size(value: Word) -> Word:
    """How many bytes ``put_uvarint`` writes."""
    rest = np.uint64(value)
    size = 1
    while rest >= np.uint64(0x80):
        rest >>= np.uint64(7)
        size += 1
    return size


@kernel(inline=True)
def put_u32(buffer: Bytes, at: Word, value: Word) -> Word:
    """Big-endian; returns the next index."""
    unsigned = np.uint64(value)
    for k in range(4):
        buffer[at + k] = np.uint8((unsigned >> np.uint64(24 - 8 * k)) & np.uint64(0xFF))
    return at + 4


@kernel(inline=True)
def put_u64(buffer: Bytes, at: Word, value: Word) -> Word:
    """Big-endian; returns the next index."""
    unsigned = np.uint64(value)
    for k in range(8):
        buffer[at + k] = np.uint8((unsigned >> np.uint64(56 - 8 * k)) & np.uint64(0xFF))
    return at + 8


@kernel(inline=True)
def u32_at(buffer: Bytes, at: Word) -> Word:
    """Big-endian, as int64."""
    result = np.uint64(0)
    for k in range(4):
        result = (result << np.uint64(8)) | np.uint64(buffer[at + k])
    return np.int64(result)


@kernel(inline=True)
def u64_at(buffer: Bytes, at: Word) -> Word:
    """Big-endian, as uint64."""
    result = np.uint64(0)
    for k in range(8):
        result = (result << np.uint64(8)) | np.uint64(buffer[at + k])
    return result


@kernel(inline=True)
def float_bits(value: Word) -> Word:
    """The IEEE bits of a float64 as uint64."""
    return np.float64(value).view(np.uint64)
