"""``promtool tsdb bench write``: how fast samples go into a fresh data directory.

Mirrors benchmarkWrite of cmd/promtool/tsdb.go: so many series of a file of labels, scraped every 30 seconds
of pretended time. Go's profiles are not written.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import numpy as np

from wavetank.clock import Clock
from wavetank.errors import InputError
from wavetank.model.labels import Labels
from wavetank.model.quoting import go_duration
from wavetank.tsdb.db import DB
from wavetank.tsdb.options import Options

__all__ = ["Bench"]

T = TypeVar("T")
_STEP_MS: Final = 30_000
_SCRAPES_AT_ONCE: Final = 100
_SERIES_AT_ONCE: Final = 1000


@dataclass(frozen=True, slots=True)
class Bench:
    """``say`` takes the lines that upstream prints."""

    out: Path
    file: Path
    metrics: int
    scrapes: int
    clock: Clock
    say: Callable[[str], None]

    def run(self) -> None:
        """Raises InputError for a file that cannot be read. What ``out`` held before is gone."""
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir(parents=True)
        db = DB.open(self.out / "storage", Options(retention_ms=15 * 86_400_000), self.clock)
        try:
            labels, _ = self._measured("readData", self._labels)
            total, seconds = self._measured("ingestScrapes", lambda: self._ingest(db, labels))
            self.say(f" > total samples: {total}")
            self.say(f" > samples/sec: {total / max(seconds, 1e-9):g}")
        except BaseException:
            db.close()
            raise
        self._measured("stopStorage", db.close)

    def _measured(self, stage: str, work: Callable[[], T]) -> tuple[T, float]:
        self.say(f">> start stage={stage}")
        begin = self.clock.monotonic()
        result = work()
        seconds = self.clock.monotonic() - begin
        self.say(f">> completed stage={stage} duration={go_duration(seconds)}")
        return result, seconds

    def _labels(self) -> list[Labels]:
        """One object of labels a line, each different one once."""
        found: dict[Labels, None] = {}
        try:
            with self.file.open(encoding="utf-8") as file:
                for line in file:
                    if len(found) == self.metrics:
                        break
                    text = line.strip().translate(str.maketrans("", "", '"{}'))
                    pairs = [part.split(":") for part in text.split(",") if ":" in part]
                    found[Labels.of({pair[0]: pair[1] for pair in pairs})] = None
        except OSError as error:
            raise InputError(f"open {self.file}: {error.strerror}") from None
        return list(found)

    def _ingest(self, db: DB, labels: list[Labels]) -> int:
        appender = db.appender()
        refs = np.array([db.series_ref(each) for each in labels], np.int64)
        total = 0
        for first in range(0, self.scrapes, _SCRAPES_AT_ONCE):
            for begin in range(0, len(refs), _SERIES_AT_ONCE):
                batch = refs[begin : begin + _SERIES_AT_ONCE]
                for k in range(1, _SCRAPES_AT_ONCE + 1):
                    at_ms = _STEP_MS * (first + k)
                    value = 123_456_789.0 + 1000 * k
                    appender.append_batch(batch, np.full(len(batch), at_ms), np.full(len(batch), value))
                    appender.commit()
                    total += len(batch)
        self.say("ingestion completed")
        return total
