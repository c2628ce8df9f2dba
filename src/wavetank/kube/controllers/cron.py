"""Cron schedules: five fields, ranges, steps, names, the ``@`` forms. Mirrors robfig/cron's parser."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from wavetank.errors import InputError

__all__ = ["Schedule", "parse_schedule"]

_ALIASES: Final = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}  # fmt: skip
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_SEARCH_DAYS_MAX: Final = 366 * 5  # 29 February comes at most this late


@dataclass(frozen=True, slots=True)
class Schedule:
    """``after`` gives the next time, in Unix seconds."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool
    zone: tzinfo

    def after(self, moment: float) -> float | None:
        """The first time later than ``moment``; None if there is none within years."""
        at = datetime.fromtimestamp(moment, self.zone).replace(second=0, microsecond=0) + timedelta(minutes=1)
        for _ in range(_SEARCH_DAYS_MAX):
            if at.month in self.months and self._day(at):
                for hour in sorted(h for h in self.hours if h >= at.hour):
                    first = at.minute if hour == at.hour else 0
                    minute = min((m for m in self.minutes if m >= first), default=None)
                    if minute is not None:
                        return at.replace(hour=hour, minute=minute).timestamp()
            at = at.replace(hour=0, minute=0) + timedelta(days=1)
        return None

    def _day(self, at: datetime) -> bool:
        by_date, by_weekday = at.day in self.days, (at.isoweekday() % 7) in self.weekdays
        return (by_date or by_weekday) if self.either_day else (by_date and by_weekday)


def parse_schedule(text: str, zone: str = "") -> Schedule:
    """Raises InputError with the offending field."""
    fields = _ALIASES.get(text.strip(), text).split()
    if len(fields) != 5:
        raise InputError(f"schedule {text!r} has {len(fields)} fields", fix="write five, e.g. '*/5 * * * *'")
    try:
        where: tzinfo = ZoneInfo(zone) if zone else UTC
    except (ZoneInfoNotFoundError, ValueError):
        raise InputError(f"unknown time zone {zone!r}") from None
    minute, hour, day, month, weekday = fields
    return Schedule(
        _field(minute, 0, 59),
        _field(hour, 0, 23),
        _field(day, 1, 31),
        _field(month, 1, 12, _MONTHS, 1),
        frozenset(d % 7 for d in _field(weekday, 0, 7, _DAYS, 0)),
        # A day is due by date or by weekday when both are given, else by both.
        day not in ("*", "?") and weekday not in ("*", "?"),
        where,
    )


def _field(text: str, low: int, high: int, names: tuple[str, ...] = (), first: int = 0) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, _, step_text = part.partition("/")
        step = int(step_text) if step_text.isdigit() else 1
        begin, dash, end = span.partition("-")
        if span in ("*", "?"):
            start, stop = low, high
        else:
            start = _number(begin, names, first, text)
            stop = _number(end, names, first, text) if dash else high if step_text else start
        if not low <= start <= stop <= high or step < 1 or (step_text and not step_text.isdigit()):
            raise InputError(f"schedule field {text!r} is not within {low}-{high}")
        found.update(range(start, stop + 1, step))
    return frozenset(found)


def _number(text: str, names: tuple[str, ...], first: int, whole: str) -> int:
    if text.isdigit() and len(text) < 4:
        return int(text)
    if text.lower() in names:
        return names.index(text.lower()) + first
    raise InputError(f"schedule field {whole!r}: {text!r} is not a number")
