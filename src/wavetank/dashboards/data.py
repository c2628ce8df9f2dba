"""A data directory as a source: a TSDB, or the directory that ``wavetank rehearse --keep`` left.

The clock stands at the newest sample, so that "the last hour" of a dashboard is the last hour of the data.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Final

from wavetank.clock import Clock, RealClock, VirtualClock
from wavetank.dashboards.source import EngineSource, open_directory
from wavetank.errors import InputError
from wavetank.model.labels import METRIC_NAME, Matcher, MatchType
from wavetank.tsdb.db import DB

__all__ = ["DataSource", "find_tsdb", "open_data"]

_INSIDE: Final = ("", "tsdb", "data", "monitoring/tsdb", "monitoring/data", "prometheus")


class DataSource(EngineSource):
    """``first_ms`` and ``last_ms`` are the times of the oldest and newest sample of ``up`` or any other
    series."""

    def __init__(self, db: DB, first_ms: int, last_ms: int, scrape_interval_ms: int) -> None:
        super().__init__(db, RealClock(), name="data", scrape_interval_ms=scrape_interval_ms)
        self.first_ms = first_ms
        self.last_ms = last_ms


def find_tsdb(path: Path) -> Path:
    """The TSDB in the directory, or in a place where a run keeps it. Raises InputError."""
    if not path.is_dir():
        raise InputError(f"no directory {path}")
    for name in _INSIDE:
        inner = path / name
        if (inner / "wal").is_dir() or (inner / "chunks_head").is_dir() or any(inner.glob("*/meta.json")):
            return inner
    raise InputError(f"{path} holds no TSDB", fix="give a TSDB directory or a kept run directory")


@contextmanager
def open_data(path: Path) -> Iterator[tuple[DataSource, Clock]]:
    """Raises InputError for a directory without data."""
    with open_directory(find_tsdb(path)) as db:
        first, last, interval = _span(db)
        clock = VirtualClock(start=last / 1000)
        yield DataSource(db, first, last, interval), clock


def _span(db: DB) -> tuple[int, int, int]:
    """First and last sample, and how far samples of ``up`` are apart; milliseconds."""
    everything = Matcher(MatchType.REGEXP, METRIC_NAME, ".+")
    up = Matcher(MatchType.EQUAL, METRIC_NAME, "up")
    for matcher in (up, everything):
        batch = db.select([matcher], -(1 << 62), 1 << 62)
        times = batch.timestamps_ms
        if len(times):
            gaps = sorted(
                int(b - a)
                for i in range(min(50, len(batch.labels)))
                for a, b in pairwise(times[int(batch.offsets[i]) : int(batch.offsets[i + 1])].tolist())
            )
            middle = gaps[len(gaps) // 2] if gaps else 15_000
            return int(times.min()), int(times.max()), max(1000, round(middle / 1000) * 1000)
    raise InputError("the TSDB holds no sample")
