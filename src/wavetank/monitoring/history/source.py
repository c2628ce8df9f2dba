"""What every source of history offers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from wavetank.errors import InputError
from wavetank.monitoring.history.extras import Extras
from wavetank.tsdb.querier import Found

__all__ = ["Estimate", "HistorySource", "TooMuch"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """How much is to be expected: samples, and bytes on disk; rather too much than too little."""

    samples: int
    bytes: int


class TooMuch(InputError):
    """The answer for a time range is too large: ask for less time at once."""


class HistorySource(Protocol):
    """Somewhere samples come from. Times are inclusive milliseconds."""

    @property
    def notes(self) -> Sequence[str]:
        """What was passed over so far, and why."""

    def extent(self) -> tuple[int, int] | None:
        """First and last moment that may have samples; None if there are none."""

    def estimate(self, mint_ms: int, maxt_ms: int) -> Estimate:
        """How much the range holds."""

    def read(self, mint_ms: int, maxt_ms: int) -> Iterator[Found]:
        """The samples of the range. Chunks may reach beyond it, and a series may come more than once.

        Raises TooMuch where the range holds more than can be asked for at once, InputError where the
        source does not answer.
        """

    def extras(self, mint_ms: int, maxt_ms: int) -> Extras:
        """Exemplars of the range, and metadata; nothing where the source has none."""

    def close(self) -> None:
        """Let go of connections and files."""
