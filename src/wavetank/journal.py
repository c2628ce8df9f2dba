"""The journal: what happened when, to sub-second precision, for the report and for lag attribution.

Kubernetes' own timestamps have whole seconds; attribution of scale-up lag needs milliseconds. Every part
that takes a step worth explaining writes one record here as well: a JSON object a line, ``at`` in Unix
seconds, ``kind`` from the table in docs/journal.md, and the fields of that kind. Each process appends to a
file of its own in the run's directory; readers merge them by ``at``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import msgspec

from wavetank.clock import Clock
from wavetank.limits import JOURNAL_LINE_BYTES_MAX, LINES_WAITING_MAX

__all__ = ["FileJournal", "Journal", "LineFile", "MemoryJournal", "read_journals"]

Record = dict[str, Any]


class Journal(Protocol):
    def record(self, kind: str, /, **fields: Any) -> None:
        """Note that something happened now; ``at=`` overrides the time."""


class MemoryJournal:
    """Keeps records in a list: tests and simulations."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.records: list[Record] = []

    def record(self, kind: str, /, **fields: Any) -> None:
        self.records.append({"at": self._clock.now(), "kind": kind, **fields})

    def of(self, *kinds: str) -> list[Record]:
        return [r for r in self.records if r["kind"] in kinds]


class LineFile:
    """Appends lines to ``path``, each whole and at once: a killed process tears none but its last.

    A full disk stops nobody: lines then wait in memory, and are written when there is room again. Beyond
    ``LINES_WAITING_MAX`` the oldest are lost; ``lost`` counts them.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        self._waiting: deque[bytes] = deque()
        self.lost = 0

    def write(self, line: bytes) -> None:
        """``line`` without its end."""
        self._waiting.append(line + b"\n")
        try:
            while self._waiting:
                self._whole(self._waiting[0])
                self._waiting.popleft()
        except OSError:
            if len(self._waiting) > LINES_WAITING_MAX:
                self._waiting.popleft()
                self.lost += 1

    def _whole(self, line: bytes) -> None:
        written = self._file.write(line)
        if written != len(line):
            # Readers leave out the torn piece, once a line of its own; the whole is written again after it.
            self._waiting[0] = b"\n" + line.lstrip(b"\n")
            raise OSError("no space left")

    def close(self) -> None:
        self._file.close()


class FileJournal:
    """A journal in a file: one of these per process."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._file = LineFile(path)
        self._clock = clock
        self._encode = msgspec.json.Encoder().encode

    def record(self, kind: str, /, **fields: Any) -> None:
        line = self._encode({"at": self._clock.now(), "kind": kind, **fields})
        if len(line) > JOURNAL_LINE_BYTES_MAX:
            line = self._encode({"at": self._clock.now(), "kind": "journal.refused", "refused": kind})
        self._file.write(line)

    def close(self) -> None:
        self._file.close()


def read_journals(paths: Iterable[Path]) -> list[Record]:
    """All records of the given files in order of time; torn last lines are left out."""
    records = [record for path in paths if path.exists() for record in _read(path)]
    records.sort(key=lambda record: float(record["at"]))
    return records


def _read(path: Path) -> Iterator[Record]:
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    with path.open("rb") as file:
        for line in file:
            try:
                record = decode(line)
            except msgspec.DecodeError:
                continue
            if "at" in record and "kind" in record:
                yield record
