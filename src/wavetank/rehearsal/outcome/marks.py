"""What a tank did, as the marks on its dashboards' time axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from wavetank.dashboards.annotations import Mark, Marks
from wavetank.rehearsal.outcome.scalings import events
from wavetank.rehearsal.report.model import Event

__all__ = ["journal_marks", "marks_of"]

#: The kinds that explain a curve; others are read in the list of events.
_COLOURS: Final = {
    "scale": "#5794F2",
    "rollout": "#B877D9",
    "stage": "#8E8E8E",
    "pending": "#FF9830",
    "restart": "#FF9830",
    "oom": "#F2495C",
    "envoy": "#F2495C",
}


def marks_of(found: Sequence[Event], origin: float) -> list[Mark]:
    """Marks of events that count from ``origin``, Unix seconds."""
    return [
        Mark(
            at_ms=round((origin + event.at_seconds) * 1000),
            title=f"{event.kind}: {event.subject}",
            text=event.message,
            colour=_COLOURS[event.kind],
            tags=(event.kind,),
        )
        for event in found
        if event.kind in _COLOURS
    ]


def journal_marks(records: Callable[[], Sequence[Mapping[str, Any]]]) -> Marks:
    """Marks out of the journals, which ``records`` reads."""

    def between(from_ms: int, to_ms: int) -> list[Mark]:
        return [mark for mark in marks_of(events(records(), 0.0), 0.0) if from_ms <= mark.at_ms <= to_ms]

    return between
