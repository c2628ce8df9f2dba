"""CRC-32C (Castagnoli), the checksum of every file here. Eight bytes a step.

By the processor's own instruction where it has one (SSE 4.2), else by eight tables.
"""

from __future__ import annotations

import platform
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from llvmlite import ir  # type: ignore[import-untyped]
from llvmlite.binding import get_host_cpu_features  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils as _cgutils
from numba.extending import intrinsic as _intrinsic

from wavetank.jit import kernel

__all__ = ["checksum", "crc32c"]

Bytes = npt.NDArray[np.uint8]
Word = Any
intrinsic: Any = _intrinsic
cgutils: Any = _cgutils
_POLYNOMIAL: Final = 0x82F63B78  # reflected


def _tables() -> npt.NDArray[np.uint32]:
    tables = np.zeros((8, 256), np.uint32)
    crc = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        crc = np.where(crc & 1, (crc >> 1) ^ np.uint32(_POLYNOMIAL), crc >> 1).astype(np.uint32)
    tables[0] = crc
    for k in range(1, 8):
        previous = tables[k - 1]
        tables[k] = (previous >> np.uint32(8)) ^ tables[0][previous & 0xFF]
    return tables


_T: Final = _tables()


@intrinsic  # type: ignore[untyped-decorator]
def _step(typing_context: Any, crc: Any, word: Any) -> Any:
    """The checksum after eight more bytes, of which the first is the lowest of ``word``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide = ir.IntType(64)
        kind = ir.FunctionType(wide, [wide, wide])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse42.crc32.64.64")
        return builder.call(function, arguments)

    return types.uint64(types.uint64, types.uint64), generate


def _has_instruction() -> bool:
    return platform.machine() in ("x86_64", "AMD64") and bool(get_host_cpu_features().get("sse4.2"))


@kernel(inline=True, allocates=False)
def _by_instruction(buffer: Bytes, start: Word, end: Word) -> Word:
    crc = np.uint64(0xFFFFFFFF)
    at = np.uint64(start)
    stop = np.uint64(end)
    while at + np.uint64(8) <= stop:
        word = np.uint64(0)
        for k in range(8):  # becomes one load
            word |= np.uint64(buffer[at + np.uint64(k)]) << np.uint64(8 * k)
        crc = _step(crc, word)
        at += np.uint64(8)
    short = np.uint32(crc)
    while at < stop:
        short = (short >> np.uint32(8)) ^ _T[0, np.uint8(short) ^ buffer[at]]
        at += np.uint64(1)
    return np.uint32(short ^ np.uint32(0xFFFFFFFF))


@kernel(inline=True, allocates=False)
def _by_tables(buffer: Bytes, start: Word, end: Word) -> Word:
    data = buffer[start:end]
    crc = np.uint32(0xFFFFFFFF)
    size = len(data)
    whole = size // 8
    for step in range(whole):
        at = step * 8
        low = (
            np.uint32(data[at])
            | (np.uint32(data[at + 1]) << np.uint32(8))
            | (np.uint32(data[at + 2]) << np.uint32(16))
            | (np.uint32(data[at + 3]) << np.uint32(24))
        ) ^ crc
        crc = (
            _T[7, np.uint8(low)]
            ^ _T[6, np.uint8(low >> np.uint32(8))]
            ^ _T[5, np.uint8(low >> np.uint32(16))]
            ^ _T[4, np.uint8(low >> np.uint32(24))]
            ^ _T[3, data[at + 4]]
            ^ _T[2, data[at + 5]]
            ^ _T[1, data[at + 6]]
            ^ _T[0, data[at + 7]]
        )
    for k in range(whole * 8, size):
        crc = (crc >> np.uint32(8)) ^ _T[0, np.uint8(crc) ^ data[k]]
    return np.uint32(crc ^ np.uint32(0xFFFFFFFF))


#: The checksum of ``buffer[start:end]`` as uint32, for use inside kernels.
crc32c: Final[Any] = _by_instruction if _has_instruction() else _by_tables


@kernel("int64(uint8[::1])")
def _checksum(buffer: Bytes) -> Word:
    return np.int64(crc32c(buffer, 0, len(buffer)))


def checksum(data: bytes | bytearray | memoryview | Bytes) -> int:
    """CRC-32C of some bytes."""
    if isinstance(data, np.ndarray):
        return int(_checksum(np.ascontiguousarray(data)))
    return int(_checksum(np.frombuffer(bytearray(data), np.uint8)))
