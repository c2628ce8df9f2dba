"""Variable bit-width integers and bit streams for the histogram chunks. Mirrors ``chunkenc/varbit.go``.

Histogram chunks are rare beside float chunks, and irregular; they are read and written in plain Python.
"""

from __future__ import annotations

import struct
from typing import Final

from wavetank.tsdb.errors import CorruptionError

__all__ = ["BitReader", "BitWriter"]

# prefix (value, bits), payload bits
_CODES: Final = (
    (0b10, 2, 3),
    (0b110, 3, 6),
    (0b1110, 4, 9),
    (0b11110, 5, 12),
    (0b111110, 6, 18),
    (0b1111110, 7, 25),
)
_LEADING_MAX: Final = 31


class BitWriter:
    """Collects bits, most significant first."""

    __slots__ = ("_bits", "_value")

    def __init__(self) -> None:
        self._value = 0
        self._bits = 0

    def bits(self, value: int, count: int) -> None:
        """The low ``count`` bits of ``value``."""
        self._value = (self._value << count) | (value & ((1 << count) - 1))
        self._bits += count

    def double(self, value: float) -> None:
        self.bits(int.from_bytes(struct.pack(">d", value), "big"), 64)

    def varint(self, value: int) -> None:
        """A signed integer in a varbit code."""
        if value == 0:
            self.bits(0, 1)
            return
        for prefix, size, payload in _CODES:
            if -(1 << (payload - 1)) + 1 <= value <= 1 << (payload - 1):
                self.bits(prefix, size)
                self.bits(value, payload)
                return
        if -(1 << 55) + 1 <= value <= 1 << 55:
            self.bits(0xFE, 8)
            self.bits(value, 56)
        else:
            self.bits(0xFF, 8)
            self.bits(value, 64)

    def uvarint(self, value: int) -> None:
        """An unsigned integer in a varbit code."""
        if value == 0:
            self.bits(0, 1)
            return
        for prefix, size, payload in _CODES:
            if value < 1 << payload:
                self.bits(prefix, size)
                self.bits(value, payload)
                return
        if value < 1 << 56:
            self.bits(0xFE, 8)
            self.bits(value, 56)
        else:
            self.bits(0xFF, 8)
            self.bits(value, 64)

    def xor(self, value: float, previous: float, window: tuple[int, int] | None) -> tuple[int, int] | None:
        """A float as its XOR with the one before; returns the window of significant bits now in force."""
        now = int.from_bytes(struct.pack(">d", value), "big")
        delta = now ^ int.from_bytes(struct.pack(">d", previous), "big")
        if delta == 0:
            self.bits(0, 1)
            return window
        lead = min(64 - delta.bit_length(), _LEADING_MAX)
        trail = (delta & -delta).bit_length() - 1
        if window is not None and lead >= window[0] and trail >= window[1]:
            self.bits(0b10, 2)
            self.bits(delta >> window[1], 64 - window[0] - window[1])
            return window
        size = 64 - lead - trail
        self.bits((0b11 << 11) | (lead << 6) | (size & 63), 13)
        self.bits(delta >> trail, size)
        return lead, trail

    def to_bytes(self) -> bytes:
        padding = -self._bits % 8
        return (self._value << padding).to_bytes((self._bits + padding) // 8, "big")


class BitReader:
    """Reads what ``BitWriter`` wrote. Raises CorruptionError at the end."""

    __slots__ = ("_left", "_value")

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = len(data) * 8

    def bits(self, count: int) -> int:
        if count > self._left:
            raise CorruptionError("histogram chunk ends before its samples do")
        self._left -= count
        found = self._value >> self._left
        self._value &= (1 << self._left) - 1
        return found

    def double(self) -> float:
        return float(struct.unpack(">d", self.bits(64).to_bytes(8, "big"))[0])

    def _payload(self) -> int:
        """Width of the payload after reading the prefix; 0 for the one-bit zero."""
        ones = 0
        while ones < 8 and self.bits(1):
            ones += 1
        return (0, 3, 6, 9, 12, 18, 25, 56, 64)[ones]

    def varint(self) -> int:
        width = self._payload()
        if not width:
            return 0
        value = self.bits(width)
        limit = 1 << (width - 1)
        if width == 64:
            return value - (1 << 64) if value >= limit else value
        return value - (1 << width) if value > limit else value

    def uvarint(self) -> int:
        width = self._payload()
        return self.bits(width) if width else 0

    def xor(self, previous: float, window: tuple[int, int] | None) -> tuple[float, tuple[int, int] | None]:
        """The next float and the window now in force."""
        if not self.bits(1):
            return previous, window
        if self.bits(1):
            lead, size = self.bits(5), self.bits(6) or 64
            if lead + size > 64:
                raise CorruptionError("histogram chunk has an impossible XOR window")
            window = (lead, 64 - lead - size)
        elif window is None:
            raise CorruptionError("histogram chunk uses an XOR window before it sets one")
        bits = self.bits(64 - window[0] - window[1]) << window[1]
        now = bits ^ int.from_bytes(struct.pack(">d", previous), "big")
        return float(struct.unpack(">d", now.to_bytes(8, "big"))[0]), window
