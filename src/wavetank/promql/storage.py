"""What PromQL needs of a storage: the seam between the engine and whatever holds the samples.

Mirrors ``storage.Queryable`` of prometheus/prometheus, in columns; the columns themselves are
``wavetank.model.series``, which the storage fills without seeing this room.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from wavetank.model.labels import Labels, Matcher
from wavetank.model.series import SelectHints, SeriesBatch, empty_batch

__all__ = ["Queryable", "SelectHints", "SeriesBatch", "empty_batch"]


class Queryable(Protocol):
    """A storage that PromQL can run over. Bounds are inclusive milliseconds.

    ``select`` raises ``wavetank.errors.CheckFailed`` if ``hints.samples_max`` or the deadline is exceeded.
    """

    def select(
        self, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int, hints: SelectHints | None = None
    ) -> SeriesBatch: ...

    def series(self, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int) -> Sequence[Labels]: ...

    def label_names(self, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int) -> Sequence[str]: ...

    def label_values(
        self, name: str, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int
    ) -> Sequence[str]: ...
