"""The database: one directory, a head, blocks, and the log between them. Mirrors ``tsdb/db.go``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wavetank.clock import Clock
from wavetank.model.labels import Labels, Matcher
from wavetank.model.series import SelectHints, SeriesBatch, empty_batch
from wavetank.tsdb.appender import AppendCounts, Appender
from wavetank.tsdb.decode import decode
from wavetank.tsdb.head import Head
from wavetank.tsdb.options import Options
from wavetank.tsdb.postings import matching_rows
from wavetank.tsdb.series_table import key_of

__all__ = ["DB"]

Int64s = npt.NDArray[np.int64]
Progress = Callable[[str, float], None]


class DB:
    """A time series database in ``path``. One writer at a time; queries from any thread."""

    def __init__(self, path: Path, options: Options, clock: Clock) -> None:
        self.path = path
        self.options = options
        self._clock = clock
        self._head = Head(options.min_block_ms)
        self.counts = AppendCounts()

    @classmethod
    def open(
        cls, path: Path | str, options: Options, clock: Clock, *, progress: Progress | None = None
    ) -> DB:
        """Open or create. ``progress`` hears ``(phase, fraction)`` during replay."""
        root = Path(path)
        root.mkdir(parents=True, exist_ok=True)
        return cls(root, options, clock)

    # --- writing ------------------------------------------------------------------------------------

    def appender(self) -> Appender:
        """Samples gathered in it become visible, and durable, together at ``commit``."""
        return Appender(self, self._head)

    def series_ref(self, labels: Labels) -> int:
        """Get or create a series; 0 if the cap on active series does not allow another."""
        key = np.frombuffer(bytearray(key_of(labels)), np.uint8)
        with self._head.lock:
            refs, _ = self._head.add_series(key, np.array([0, len(key)], np.int64))
        return int(refs[0])

    # --- reading ------------------------------------------------------------------------------------

    def select(
        self, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int, hints: SelectHints | None = None
    ) -> SeriesBatch:
        """All samples of the matching series in the inclusive range, in columns, sorted by labels."""
        head = self._head
        with head.lock:
            head.index.refresh()
            rows = matching_rows(head.index, matchers)
            rows = rows[head.rows_in_range(rows, mint_ms, maxt_ms)] if len(rows) else rows
            if not len(rows):
                return empty_batch()
            labels = head.table.labels(rows)
            order = sorted(range(len(rows)), key=lambda i: labels[i].pairs)
            rows = rows[order]
            labels = [labels[i] for i in order]
            chunks = head.collect(rows, mint_ms, maxt_ms)
        columns = decode(chunks, len(rows), mint_ms, maxt_ms)
        return SeriesBatch(labels, columns.offsets, columns.timestamps_ms, columns.values)

    def series(self, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int) -> list[Labels]:
        head = self._head
        with head.lock:
            head.index.refresh()
            rows = matching_rows(head.index, matchers)
            rows = rows[head.rows_in_range(rows, mint_ms, maxt_ms)] if len(rows) else rows
            return sorted(head.table.labels(rows))

    def label_names(self, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int) -> list[str]:
        return sorted({name for labels in self.series(matchers, mint_ms, maxt_ms) for name, _ in labels})

    def label_values(self, name: str, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int) -> list[str]:
        return sorted({labels.get(name) for labels in self.series(matchers, mint_ms, maxt_ms)} - {""})

    def close(self) -> None:
        """Release the directory; what was committed is there at the next open."""
