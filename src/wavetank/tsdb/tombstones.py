"""Deleted ranges of series. Mirrors ``tsdb/tombstones``.

The file is magic, version, entries of (series ref uvarint, mint varint, maxt varint), and a CRC-32C of the
entries. Ranges are inclusive at both ends.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from wavetank.tsdb.crc32c import checksum
from wavetank.tsdb.errors import CorruptionError
from wavetank.tsdb.wal.records import Reader, uvarint, varint

__all__ = ["Tombstones", "read_tombstones", "write_tombstones"]

_HEADER: Final = bytes.fromhex("0130ba3001")


class Tombstones:
    """Deleted ranges by series; overlapping and touching ranges are joined."""

    def __init__(self) -> None:
        self._ranges: dict[int, list[tuple[int, int]]] = {}

    def __len__(self) -> int:
        return sum(len(r) for r in self._ranges.values())

    def __contains__(self, ref: int) -> bool:
        return ref in self._ranges

    def __iter__(self) -> Iterator[tuple[int, list[tuple[int, int]]]]:
        return iter(self._ranges.items())

    def add(self, ref: int, mint_ms: int, maxt_ms: int) -> None:
        joined: list[tuple[int, int]] = []
        for low, high in sorted([*self._ranges.get(ref, ()), (mint_ms, maxt_ms)]):
            if joined and low <= joined[-1][1] + 1:
                joined[-1] = (joined[-1][0], max(joined[-1][1], high))
            else:
                joined.append((low, high))
        self._ranges[ref] = joined

    def of(self, ref: int) -> list[tuple[int, int]]:
        return self._ranges.get(ref, [])

    def drop_before(self, mint_ms: int) -> None:
        """Forget ranges that end before ``mint_ms``."""
        for ref in list(self._ranges):
            left = [r for r in self._ranges[ref] if r[1] >= mint_ms]
            if left:
                self._ranges[ref] = left
            else:
                del self._ranges[ref]


def read_tombstones(path: Path) -> Tombstones:
    """From a block's ``tombstones``; none if there is no file. Raises CorruptionError."""
    found = Tombstones()
    if not path.exists():
        return found
    data = path.read_bytes()
    if data[:5] != _HEADER or len(data) < 9:
        raise CorruptionError("not a tombstones file", at=path)
    if checksum(data[5:-4]) != int.from_bytes(data[-4:], "big"):
        raise CorruptionError("checksum does not match", at=path)
    reader = Reader(data[5:-4])
    while reader:
        found.add(reader.uvarint(), reader.varint(), reader.varint())
    return found


def write_tombstones(path: Path, tombstones: Tombstones) -> None:
    """Replace the file atomically."""
    body = b"".join(
        uvarint(ref) + varint(low) + varint(high) for ref, ranges in tombstones for low, high in ranges
    )
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        file.write(_HEADER + body + checksum(body).to_bytes(4, "big"))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
