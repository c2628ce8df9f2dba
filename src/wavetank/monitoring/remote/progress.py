"""How far a sender got: what was read and not yet acknowledged, and the file that remembers.

A position is safe to go on from when everything before it has been acknowledged or given up. Samples after
it may be sent twice, never lost.
"""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path

import msgspec

from wavetank.monitoring.remote.wal_tail import Position

__all__ = ["Mark", "Progress", "load_position"]


class Mark:
    """One stretch of the log: where it ends, and how much of it is still on its way."""

    __slots__ = ("after", "pending")

    def __init__(self, after: Position, pending: int) -> None:
        self.after = after
        self.pending = pending


def load_position(path: Path) -> Position | None:
    """What a sender before this one left; None for none, or one that cannot be read."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Position)
    except (OSError, msgspec.DecodeError):
        return None
    return found if found.segment >= 0 and found.offset >= 0 else None


class Progress:
    """The marks on their way, in the order of the log."""

    def __init__(self, path: Path, start: Position) -> None:
        self.safe = start
        self._path = path
        self._marks: deque[Mark] = deque()
        self._saved: Position | None = None

    @property
    def idle(self) -> bool:
        """Whether everything that was read has been dealt with."""
        self._advance()
        return not self._marks

    @property
    def pending(self) -> int:
        return sum(mark.pending for mark in self._marks)

    def add(self, mark: Mark) -> None:
        self._marks.append(mark)

    def done(self, counts: dict[Mark, int]) -> None:
        """So many of each mark's samples have been dealt with."""
        for mark, count in counts.items():
            mark.pending -= count
        self._advance()

    def _advance(self) -> None:
        while self._marks and self._marks[0].pending <= 0:
            self.safe = self._marks.popleft().after

    def save(self) -> None:
        """Write the safe position where it changed; atomically. Raises OSError."""
        self._advance()
        if self.safe == self._saved:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            file.write(msgspec.json.encode(self.safe))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)
        self._saved = self.safe
