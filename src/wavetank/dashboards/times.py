"""Time ranges as dashboards write them: ``now-6h``, ``now/d``, ISO dates, milliseconds.

Mirrors Grafana's datemath: units ms s m h d w M Q y, ``f`` before a unit for the fiscal year, rounding down
at ``from`` and up at ``to``. All arithmetic on days and longer is done in the dashboard's time zone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from wavetank.errors import InputError

__all__ = ["TimeRange", "duration_ms", "moment_ms", "time_range", "zone_of"]

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdwyMQ])")
_LENGTH_MS: Final = {
    "ms": 1,
    "s": 1000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 604_800_000,
    "M": 2_592_000_000,
    "Q": 7_776_000_000,
    "y": 31_536_000_000,
}
_STEP: Final = re.compile(r"([+-]\d*|/)(f?)(ms|[smhdwyMQ])")
_WEEK_STARTS: Final = {"saturday": 5, "sunday": 6, "monday": 0}
_EARLIEST_MS: Final = -62_135_596_800_000
_LATEST_MS: Final = 253_402_300_799_999


@dataclass(frozen=True, slots=True)
class TimeRange:
    """As written, and in Unix milliseconds."""

    raw_from: str
    raw_to: str
    from_ms: int
    to_ms: int

    @property
    def length_ms(self) -> int:
        return self.to_ms - self.from_ms

    @property
    def relative(self) -> bool:
        return self.raw_from.startswith("now")


def duration_ms(text: str) -> int | None:
    """``1h30m`` in milliseconds; None for what is no duration."""
    text = text.strip().lstrip(">").strip()
    if not text:
        return None
    total, end = 0.0, 0
    for part in _DURATION.finditer(text):
        if part.start() != end:
            return None
        total += float(part[1]) * _LENGTH_MS[part[2]]
        end = part.end()
    if end != len(text) or not end or total > 1e15:
        return None
    return int(total)


def zone_of(name: str) -> tzinfo:
    """The zone of a dashboard's ``timezone``; what only a browser knows is UTC here."""
    if name in ("", "browser", "utc", "UTC"):
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def time_range(
    raw_from: str, raw_to: str, now_ms: int, zone: tzinfo = UTC, week_start: str = "", fiscal_month: int = 0
) -> TimeRange:
    """Raises InputError for an instant that cannot be read, or a range that ends before it begins."""
    start = moment_ms(raw_from, now_ms, zone, up=False, week_start=week_start, fiscal_month=fiscal_month)
    end = moment_ms(raw_to, now_ms, zone, up=True, week_start=week_start, fiscal_month=fiscal_month)
    if end < start:
        raise InputError(
            f"time range from {raw_from!r} to {raw_to!r} ends before it begins", fix="swap the two"
        )
    return TimeRange(raw_from, raw_to, start, max(end, start + 1))


def moment_ms(
    text: str, now_ms: int, zone: tzinfo = UTC, *, up: bool, week_start: str = "", fiscal_month: int = 0
) -> int:
    """An instant in Unix milliseconds; ``up`` rounds to the end of a unit. Raises InputError."""
    text = text.strip()
    if re.fullmatch(r"-?\d{1,15}", text):
        return _bounded(int(text), text)
    if text.startswith("now"):
        return _relative(text, now_ms, zone, up, week_start, fiscal_month)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(
            f"time {text!r} is neither relative nor a date", fix="e.g. now-6h, 2026-01-31 or milliseconds"
        ) from None
    found = found if found.tzinfo else found.replace(tzinfo=zone)
    return _bounded(int(found.timestamp() * 1000), text)


def _bounded(ms: int, text: str) -> int:
    if not _EARLIEST_MS <= ms <= _LATEST_MS:
        raise InputError(f"time {text!r} is out of range")
    return ms


def _relative(text: str, now_ms: int, zone: tzinfo, up: bool, week_start: str, fiscal_month: int) -> int:
    try:
        moment = datetime.fromtimestamp(now_ms / 1000, zone)
        end = 3
        for step in _STEP.finditer(text, 3):
            if step.start() != end:
                break
            end = step.end()
            amount, fiscal, unit = step[1], bool(step[2]), step[3]
            if amount == "/":
                moment = _rounded(moment, unit, up, week_start, fiscal_month if fiscal else 0)
            else:
                moment = _added(moment, int(amount + "1" if amount in "+-" else amount), unit)
        if end != len(text):
            raise InputError(f"time {text!r} cannot be read", fix="e.g. now-6h or now/d")
        return int(moment.timestamp() * 1000)
    except (OverflowError, ValueError, OSError):
        raise InputError(f"time {text!r} is out of range") from None


def _added(moment: datetime, count: int, unit: str) -> datetime:
    if unit in ("M", "Q", "y"):
        months = count * {"M": 1, "Q": 3, "y": 12}[unit]
        index = moment.year * 12 + moment.month - 1 + months
        year, month = index // 12, index % 12 + 1
        day = min(moment.day, _days_in(year, month))
        return moment.replace(year=year, month=month, day=day)
    return moment + timedelta(milliseconds=count * _LENGTH_MS[unit])


def _days_in(year: int, month: int) -> int:
    first_of_next = datetime(year + month // 12, month % 12 + 1, 1)
    return (first_of_next - timedelta(days=1)).day


def _rounded(moment: datetime, unit: str, up: bool, week_start: str, fiscal_month: int) -> datetime:
    start = _floor(moment, unit, week_start, fiscal_month)
    if not up:
        return start
    return _added(start, 1, unit) - timedelta(milliseconds=1)


def _floor(moment: datetime, unit: str, week_start: str, fiscal_month: int) -> datetime:
    if unit == "ms":
        return moment
    moment = moment.replace(microsecond=0)
    if unit == "s":
        return moment
    moment = moment.replace(second=0)
    if unit == "m":
        return moment
    moment = moment.replace(minute=0)
    if unit == "h":
        return moment
    moment = moment.replace(hour=0)
    if unit == "d":
        return moment
    if unit == "w":
        first = _WEEK_STARTS.get(week_start, 0)
        return moment - timedelta(days=(moment.weekday() - first) % 7)
    moment = moment.replace(day=1)
    if unit == "M":
        return moment
    length = 3 if unit == "Q" else 12
    return _added(moment, -((moment.month - 1 - fiscal_month) % length), "M")
