"""CRC-32C (Castagnoli), the checksum of every file here. Eight bytes a step, by eight tables."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from wavetank.jit import kernel

__all__ = ["checksum", "crc32c"]

Bytes = npt.NDArray[np.uint8]
Word = Any
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


@kernel(inline=True)
def crc32c(buffer: Bytes, start: Word, end: Word) -> Word:
    """The checksum of ``buffer[start:end]`` as uint32."""
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


@kernel("int64(uint8[::1])")
def _checksum(buffer: Bytes) -> Word:
    return np.int64(crc32c(buffer, 0, len(buffer)))


def checksum(data: bytes | bytearray | memoryview | Bytes) -> int:
    """CRC-32C of some bytes."""
    if isinstance(data, np.ndarray):
        return int(_checksum(np.ascontiguousarray(data)))
    return int(_checksum(np.frombuffer(bytearray(data), np.uint8)))
