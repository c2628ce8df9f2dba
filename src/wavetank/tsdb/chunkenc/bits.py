"""Bits and variable-length integers over flat byte arrays: the leaves of every encoder and decoder here.

Mirrors ``tsdb/chunkenc/bstream.go`` and Go's ``encoding/binary`` varints. Bit streams are most significant
bit first. Readers never run past ``end``: they return what zero bits would give, and the caller finds the
position beyond the end and reports the chunk as corrupt.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils as _cgutils
from numba.extending import intrinsic

from wavetank.jit import kernel

__all__ = [
    "Word",
    "copy_bytes",
    "get_bits",
    "leading_zeros",
    "prefetch",
    "put_bits",
    "put_u32",
    "put_u64",
    "put_uvarint",
    "put_varint",
    "trailing_zeros",
    "u32_at",
    "u64_at",
    "uvarint_at",
    "varint_at",
]

Bytes = npt.NDArray[np.uint8]
_intrinsic: Any = intrinsic
cgutils: Any = _cgutils
#: An integer or float inside a kernel: Numba has widths that Python's ``int`` has not.
Word = Any


@_intrinsic  # type: ignore[untyped-decorator]
def leading_zeros(typing_context: Any, value: Any) -> Any:
    """Zero bits above the highest one of a uint64: one machine instruction, which Numba has no name for."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctlz(arguments[0], cgutils.false_bit)

    return types.uint64(types.uint64), generate


@_intrinsic  # type: ignore[untyped-decorator]
def trailing_zeros(typing_context: Any, value: Any) -> Any:
    """Zero bits below the lowest one of a uint64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], cgutils.false_bit)

    return types.uint64(types.uint64), generate


@_intrinsic  # type: ignore[untyped-decorator]
def prefetch(typing_context: Any, array: Any, index: Any) -> Any:
    """Ask for the cache line of ``array.ravel()[index]``, to be written soon; any index is harmless."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        place = builder.bitcast(builder.gep(data, [arguments[1]]), cgutils.voidptr_t)
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, number, number, number])
        name = f"llvm.prefetch.{'p0i8' if '*' in str(cgutils.voidptr_t) else 'p0'}"
        function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        builder.call(function, [place, number(1), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


@_intrinsic  # type: ignore[untyped-decorator]
def _store(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
    """``array[index:index + 8]`` = a uint64, big-endian; of eight bytes LLVM would make eight stores."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _word_of(context, builder, signature, arguments)
        builder.store(builder.bswap(arguments[2]), place, align=1)
        return context.get_dummy_value()

    return types.void(array, types.uint64, types.uint64), generate


@_intrinsic  # type: ignore[untyped-decorator]
def _load(typing_context: Any, array: Any, index: Any) -> Any:
    """The eight bytes from ``array[index]`` on as a uint64, big-endian."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _word_of(context, builder, signature, arguments)
        return builder.bswap(builder.load(place, align=1))

    return types.uint64(array, types.uint64), generate


def _word_of(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
    return builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(64).as_pointer())


@kernel(inline=True, allocates=False)
def copy_bytes(source: Bytes, begin: Word, target: Bytes, at: Word, size: Word) -> None:
    """``target[at:at + size] = source[begin:begin + size]``, which itself would take seconds to compile.

    Through views, whose indexes begin at zero, so that the loop becomes wide moves.
    """
    here = source[begin : begin + size]
    there = target[at : at + size]
    for k in range(size):
        there[k] = here[k]


@kernel(inline=True, allocates=False)
def put_bits(buffer: Bytes, position: Word, value: Word, count: Word) -> Word:
    """Write the low ``count`` (1 to 64) bits of ``value`` (uint64); returns the new bit position.

    All bits from ``position`` on must be zero, and nine bytes may be written, whatever the count.
    """
    at = np.uint64(position) >> np.uint64(3)
    shift = np.uint64(position) & np.uint64(7)
    aligned = np.uint64(value) << np.uint64(64 - count)
    _store(buffer, at, (aligned >> shift) | (np.uint64(buffer[at]) << np.uint64(56)))
    if np.int64(shift) + count > 64:
        buffer[at + np.uint64(8)] = np.uint8(aligned << (np.uint64(8) - shift))
    return position + count


@kernel(inline=True, allocates=False)
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


@kernel(inline=True, allocates=False)
def put_uvarint(buffer: Bytes, at: Word, value: Word) -> Word:
    """Write an unsigned LEB128 integer (``value`` is uint64); returns the next byte's index."""
    rest = np.uint64(value)
    index = np.uint64(at)
    while rest >= np.uint64(0x80):
        buffer[index] = np.uint8(rest | np.uint64(0x80))
        rest >>= np.uint64(7)
        index += np.uint64(1)
    buffer[index] = np.uint8(rest)
    return np.int64(index) + 1


@kernel(inline=True, allocates=False)
def put_varint(buffer: Bytes, at: Word, value: Word) -> Word:
    """Write a zigzag LEB128 integer; returns the next byte's index."""
    unsigned = np.uint64(value) << np.uint64(1)
    if value < 0:
        unsigned = ~unsigned
    return put_uvarint(buffer, at, unsigned)


@kernel(inline=True, allocates=False)
def uvarint_at(buffer: Bytes, at: Word, end: Word) -> tuple[Word, Word]:
    """``(value as uint64, next index)``; next index is -1 if it is cut off or longer than 10 bytes."""
    result = np.uint64(0)
    shift = np.uint64(0)
    index = np.uint64(at)
    stop = np.uint64(max(at, end))
    while index < stop and shift < np.uint64(70):
        byte = np.uint64(buffer[index])
        index += np.uint64(1)
        result |= (byte & np.uint64(0x7F)) << shift
        if byte < np.uint64(0x80):
            return result, np.int64(index)
        shift += np.uint64(7)
    return np.uint64(0), np.int64(-1)


@kernel(inline=True, allocates=False)
def varint_at(buffer: Bytes, at: Word, end: Word) -> tuple[Word, Word]:
    """``(value as int64, next index)``; next index is -1 if it is cut off."""
    unsigned, following = uvarint_at(buffer, at, end)
    value = np.int64(unsigned >> np.uint64(1))
    if unsigned & np.uint64(1):
        value = ~value
    return value, following


@kernel(inline=True, allocates=False)
def put_u32(buffer: Bytes, at: Word, value: Word) -> Word:
    """Big-endian; returns the next index."""
    unsigned = np.uint64(value)
    index = np.uint64(at)
    buffer[index] = np.uint8(unsigned >> np.uint64(24))
    buffer[index + np.uint64(1)] = np.uint8(unsigned >> np.uint64(16))
    buffer[index + np.uint64(2)] = np.uint8(unsigned >> np.uint64(8))
    buffer[index + np.uint64(3)] = np.uint8(unsigned)
    return at + 4


@kernel(inline=True, allocates=False)
def put_u64(buffer: Bytes, at: Word, value: Word) -> Word:
    """Big-endian; returns the next index."""
    _store(buffer, np.uint64(at), np.uint64(value))
    return at + 8


@kernel(inline=True, allocates=False)
def u32_at(buffer: Bytes, at: Word) -> Word:
    """Big-endian, as int64."""
    result = np.uint64(0)
    for k in range(4):
        result = (result << np.uint64(8)) | np.uint64(buffer[at + k])
    return np.int64(result)


@kernel(inline=True, allocates=False)
def u64_at(buffer: Bytes, at: Word) -> Word:
    """Big-endian, as uint64."""
    return _load(buffer, np.uint64(at))
