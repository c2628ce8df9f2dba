"""Start timestamps inside histogram chunks. Mirrors ``chunkenc/st.go``.

The header byte's top bit says that the first sample's start follows it, the others the index of the first
sample whose start differs; from that one on each sample has one, as the time of the sample before it less the
start, and then the change of that.
"""

from __future__ import annotations

from typing import Final

from wavetank.tsdb.chunkenc.varbit import BitReader, BitWriter
from wavetank.tsdb.errors import CorruptionError

__all__ = ["CHANGE_MAX", "StartReader", "StartWriter"]

CHANGE_MAX: Final = 0x7F
_FIRST_KNOWN: Final = 0x80


class StartWriter:
    """Writes what a sample's start needs after the sample; ``header`` is right when all are written."""

    def __init__(self, writer: BitWriter) -> None:
        self._writer = writer
        self._start = 0
        self._back = 0
        self.header = 0

    def put(self, index: int, t: int, before: int, start: int) -> None:
        """The start of sample ``index`` at ``t``, the one before being at ``before``."""
        if index == 0:
            if start:
                _put_varint(self._writer, t - start)
                self.header = _FIRST_KNOWN
        elif self.header & CHANGE_MAX:
            self._writer.varint(before - start - self._back)
            self._back = before - start
        elif start != self._start or index == CHANGE_MAX:
            self.header |= index
            self._back = before - start
            self._writer.varint(self._back)
        self._start = start


class StartReader:
    """Reads them; ``starts`` has those of the samples so far."""

    def __init__(self, reader: BitReader, header: int) -> None:
        self._reader = reader
        self._first_known = bool(header & _FIRST_KNOWN)
        self._change = header & CHANGE_MAX
        self._back = 0
        self.starts: list[int] = []

    def take(self, index: int, t: int, before: int) -> None:
        """What follows sample ``index`` at ``t``, the one before being at ``before``."""
        if index == 0:
            self.starts.append(t - _take_varint(self._reader) if self._first_known else 0)
        elif self._change and index >= self._change:
            self._back += self._reader.varint()
            self.starts.append(before - self._back)
        else:
            self.starts.append(self.starts[-1])


def _put_varint(writer: BitWriter, value: int) -> None:
    """A varint of whole bytes, wherever the stream is."""
    rest = value << 1 if value >= 0 else (~value << 1) | 1
    while rest >= 0x80:
        writer.bits(rest & 0x7F | 0x80, 8)
        rest >>= 7
    writer.bits(rest, 8)


def _take_varint(reader: BitReader) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = reader.bits(8)
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1)
    raise CorruptionError("varint longer than 64 bits")
