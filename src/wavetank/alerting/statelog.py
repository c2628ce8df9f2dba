"""State on disk that is there the moment it is acknowledged.

A file of lines, each a CRC-32 and a JSON record; a change is appended, and now and then the file is
rewritten with what still holds. A torn last line is cut, a damaged one passed over and counted. Upstream
writes snapshots every fifteen minutes instead, and loses what came since when it is killed.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

__all__ = ["StateLog"]


class StateLog:
    """``damaged`` counts the records that could not be read. Raises OSError where the disk refuses."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._size = 0
        self.damaged = 0

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self._size

    def load(self) -> list[Any]:
        """All records, oldest first."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return []
        found = []
        whole, newline, _ = content.rpartition(b"\n")
        for line in whole.split(b"\n") if newline else ():
            try:
                checksum, _, body = line.partition(b" ")
                if int(checksum, 16) != zlib.crc32(body):
                    raise ValueError("checksum")
                found.append(msgspec.json.decode(body))
            except (ValueError, msgspec.DecodeError):
                self.damaged += 1
        self._size = len(whole) + len(newline)
        if self._size < len(content):
            with self._path.open("r+b") as file:
                file.truncate(self._size)
        return found

    def append(self, record: Any, *, durable: bool) -> None:
        """Add a record; ``durable`` waits for the disk, so that it outlives a power cut as well."""
        if self._file is None:
            self._file = self._path.open("ab", buffering=0)
        line = _line(record)
        try:
            written = self._file.write(line) or 0
            if written < len(line):
                raise OSError(28, "No space left on device", str(self._path))
            if durable:
                os.fsync(self._file.fileno())
        except OSError:
            self._cut_back()
            raise
        self._size += len(line)

    def _cut_back(self) -> None:
        """Take back half a line, which would make the next one unreadable."""
        try:
            os.truncate(self._path, self._size)
        except OSError:
            pass

    def rewrite(self, records: Iterable[Any]) -> None:
        """Replace everything, atomically."""
        temporary = self._path.with_suffix(".tmp")
        size = 0
        with temporary.open("wb") as file:
            for record in records:
                line = _line(record)
                file.write(line)
                size += len(line)
            file.flush()
            os.fsync(file.fileno())
        self.close()
        temporary.replace(self._path)
        self._size = size

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _line(record: Any) -> bytes:
    body = msgspec.json.encode(record)
    return b"%08x %s\n" % (zlib.crc32(body), body)
