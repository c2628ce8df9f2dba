"""A file of OpenMetrics text with timestamps of any age: written as blocks beside, and read as those."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from wavetank.clock import Clock
from wavetank.errors import InputError
from wavetank.model.labels import Matcher
from wavetank.monitoring.history.directory import Directory
from wavetank.monitoring.history.extras import Extras
from wavetank.monitoring.history.source import Estimate
from wavetank.monitoring.promtool.backfill import blocks_from_openmetrics
from wavetank.tsdb.options import HOUR_MS
from wavetank.tsdb.querier import Found

__all__ = ["OpenMetricsFile", "is_openmetrics"]

_WIDTH_MS: Final = 18 * HOUR_MS
_LOOK_BYTES: Final = 16


def is_openmetrics(path: Path) -> bool:
    """Whether a file ends as OpenMetrics does. Raises InputError for one that cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _LOOK_BYTES))
            return file.read().rstrip().endswith(b"# EOF")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None


class OpenMetricsFile:
    """Implements ``HistorySource``."""

    def __init__(
        self, path: Path, selectors: Sequence[Sequence[Matcher]], clock: Clock, *, scratch: Path
    ) -> None:
        """``scratch`` is where its blocks are put meanwhile. Raises InputError naming the line at fault."""
        self._made = tempfile.TemporaryDirectory(prefix="wavetank-import-", dir=scratch)
        try:
            blocks_from_openmetrics(path, Path(self._made.name), clock, width_ms=_WIDTH_MS, labels={})
            self._inner = Directory(Path(self._made.name), selectors, clock)
        except BaseException:
            self._made.cleanup()
            raise
        self.notes = self._inner.notes

    def extent(self) -> tuple[int, int] | None:
        return self._inner.extent()

    def estimate(self, mint_ms: int, maxt_ms: int) -> Estimate:
        return self._inner.estimate(mint_ms, maxt_ms)

    def read(self, mint_ms: int, maxt_ms: int) -> Iterator[Found]:
        return self._inner.read(mint_ms, maxt_ms)

    def extras(self, mint_ms: int, maxt_ms: int) -> Extras:
        return Extras()

    def close(self) -> None:
        self._inner.close()
        self._made.cleanup()
