"""A container's log file: CRI format, rotation, and reading it back for ``kubectl logs``.

A line is ``<RFC 3339 time with nanoseconds> <stdout|stderr> <F|P> <text>``; P marks a piece of a line that
was cut (KUBELET_LOG_LINE_BYTES_MAX). Files rotate at KUBELET_LOG_BYTES_MAX and are named ``N.log``,
``N.log.1`` ... Left out: compression of rotated files.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from wavetank.clock import Clock
from wavetank.kube.times import parse_time
from wavetank.limits import (
    KUBELET_LOG_BYTES_MAX,
    KUBELET_LOG_FILES_MAX,
    KUBELET_LOG_LINE_BYTES_MAX,
    KUBELET_MESSAGE_BYTES_MAX,
)

__all__ = ["ContainerLog", "new_output", "read_log"]


class ContainerLog:
    """Writes what a container says; readers may follow until ``close``."""

    def __init__(self, path: Path, clock: Clock) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.closed = False
        self._clock = clock
        self._file: BinaryIO = path.open("ab", buffering=0)
        self._size = path.stat().st_size
        self._partial: dict[str, bytes] = {}
        self._grown = asyncio.Event()

    def feed(self, stream: str, data: bytes) -> None:
        """Take output as it comes; whole lines are written at once, the rest waits for its end."""
        data = self._partial.pop(stream, b"") + data
        lines = data.split(b"\n")
        rest = lines.pop()
        stamp = self._stamp()
        pieces = [_line(stamp, stream, line) for line in lines]
        while len(rest) > KUBELET_LOG_LINE_BYTES_MAX:
            cut, rest = rest[:KUBELET_LOG_LINE_BYTES_MAX], rest[KUBELET_LOG_LINE_BYTES_MAX:]
            pieces.append(b"%s %s P %s\n" % (stamp, stream.encode(), cut))
        if rest:
            self._partial[stream] = rest
        if pieces:
            self._write(b"".join(pieces))

    def close(self) -> None:
        """Write what has no line end, and tell followers that nothing more comes."""
        if self.closed:
            return
        stamp = self._stamp()
        for stream, rest in self._partial.items():
            self._write(_line(stamp, stream, rest))
        self._partial.clear()
        self.closed = True
        self._file.close()
        self._wake()

    def tail(self, lines: int = 80, size: int = KUBELET_MESSAGE_BYTES_MAX) -> str:
        """The last lines of plain text, for termination messages."""
        try:
            with self.path.open("rb") as file:
                file.seek(0, 2)
                file.seek(max(0, file.tell() - 8 * size))
                raw = file.read().splitlines()[-lines:]
        except OSError:
            return ""
        text = b"\n".join(entry.split(b" ", 3)[3] for entry in raw if entry.count(b" ") >= 3)
        return text[-size:].decode("utf-8", "replace")

    @property
    def growth(self) -> asyncio.Event:
        """Set at the next write, or the end. Take it before reading, so that no write is missed."""
        return self._grown

    def _stamp(self) -> bytes:
        now = self._clock.now()
        moment = datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return f"{moment}.{int(now % 1 * 1e9):09d}Z".encode()

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._size += len(data)
        if self._size >= KUBELET_LOG_BYTES_MAX:
            self._rotate()
        self._wake()

    def _rotate(self) -> None:
        self._file.close()
        for number in range(KUBELET_LOG_FILES_MAX - 1, 0, -1):
            older = _rotated(self.path, number - 1)
            if older.exists():
                older.replace(_rotated(self.path, number))
        self._file = self.path.open("ab", buffering=0)
        self._size = 0

    def _wake(self) -> None:
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()


def _line(stamp: bytes, stream: str, text: bytes) -> bytes:
    name = stream.encode()
    if len(text) <= KUBELET_LOG_LINE_BYTES_MAX:
        return b"%s %s F %s\n" % (stamp, name, text)
    pieces = [
        text[i : i + KUBELET_LOG_LINE_BYTES_MAX] for i in range(0, len(text), KUBELET_LOG_LINE_BYTES_MAX)
    ]
    last = len(pieces) - 1
    return b"".join(
        b"%s %s %s %s\n" % (stamp, name, b"F" if i == last else b"P", piece) for i, piece in enumerate(pieces)
    )


def _rotated(path: Path, number: int) -> Path:
    return path if number == 0 else path.with_name(f"{path.name}.{number}")


async def read_log(
    path: Path,
    log: ContainerLog | None,
    *,
    now: float,
    follow: bool = False,
    tail_lines: int | None = None,
    timestamps: bool = False,
    since_seconds: float | None = None,
) -> AsyncIterator[bytes]:
    """A log as ``kubectl logs`` shows it. ``log`` is the writer, None once the container is gone."""
    since = None if since_seconds is None else now - since_seconds
    # Nothing is written between opening the file and reading the entries: neither awaits.
    file = path.open("rb") if follow and log is not None else None
    if file is not None:
        file.seek(0, os.SEEK_END)
    entries = [entry for entry in _entries(path) if since is None or _at(entry) >= since]
    if tail_lines is not None:
        entries = _last_lines(entries, tail_lines)
    try:
        if entries:
            yield b"".join(_shown(entry, timestamps) for entry in entries)
        if file is not None and log is not None:
            async with aclosing(_follow(log, file)) as later:
                async for lines in later:
                    yield b"".join(_shown(line, timestamps) for line in lines)
    finally:
        if file is not None:
            file.close()


async def new_output(log: ContainerLog) -> AsyncIterator[tuple[str, bytes]]:
    """(stream, text) of all that the container says from now on."""
    file = log.path.open("rb")
    file.seek(0, os.SEEK_END)
    async with aclosing(_follow(log, file)) as later:
        async for lines in later:
            for entry in lines:
                yield entry.split(b" ", 2)[1].decode("ascii", "replace"), _shown(entry, False)


async def _follow(log: ContainerLog, file: BinaryIO) -> AsyncGenerator[list[bytes], None]:
    """The entries after ``file``'s place, as they are written, until the log is closed."""
    try:
        while True:
            growth, closed = log.growth, log.closed
            lines = file.readlines()
            if lines:
                yield lines
            elif log.path.stat().st_ino != os.fstat(file.fileno()).st_ino:
                file.close()
                file = log.path.open("rb")
            elif closed:
                return
            else:
                await growth.wait()
    finally:
        file.close()


def _entries(path: Path) -> Iterator[bytes]:
    for number in range(KUBELET_LOG_FILES_MAX, -1, -1):
        part = _rotated(path, number)
        if part.exists():
            with part.open("rb") as file:
                yield from file


def _at(entry: bytes) -> float:
    return parse_time(entry.split(b" ", 1)[0][:26].decode("ascii", "replace") + "Z") or 0.0


def _last_lines(entries: list[bytes], count: int) -> list[bytes]:
    """The last ``count`` whole lines; the pieces of one line stay together."""
    if count <= 0:
        return []
    index = len(entries)
    while index > 0:
        if entries[index - 1].split(b" ", 3)[2:3] == [b"F"]:
            if count == 0:
                break
            count -= 1
        index -= 1
    return entries[index:]


def _shown(entry: bytes, timestamps: bool) -> bytes:
    parts = entry.split(b" ", 3)
    if len(parts) < 4:
        return b""
    stamp, _, tag, text = parts
    if tag == b"P":
        text = text.rstrip(b"\n")
    return stamp + b" " + text if timestamps else text
