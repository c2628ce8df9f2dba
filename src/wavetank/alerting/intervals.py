"""Time intervals: the hours, days, months and years at which a route is mute or active.

Mirrors timeinterval/timeinterval.go: its syntax, its error texts and what a moment must fulfil. All given
fields must hold; of each field, one range. ``location`` names a time zone, UTC where there is none.
"""

from __future__ import annotations

import calendar
import datetime as dt
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

__all__ = ["Interval", "IntervalConfig", "compile_interval", "names_containing"]

_WEEKDAYS: Final = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_MONTHS: Final = tuple(name.lower() for name in calendar.month_name)
_TIME: Final = re.compile(r"(([01][0-9])|(2[0-3])):[0-5][0-9]|24:00")
_Range = tuple[int, int]


class TimesConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    start_time: str = ""
    end_time: str = ""


class IntervalConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """One entry of ``time_intervals`` as the file has it. An empty list holds at no time."""

    times: list[TimesConfig] | None = None
    weekdays: list[str] | None = None
    days_of_month: list[str] | None = None
    months: list[str] | None = None
    years: list[str] | None = None
    location: str = ""


@dataclass(frozen=True, slots=True)
class Interval:
    """Ranges include both ends, but for ``minutes`` of the day, which leave out the last."""

    minutes: tuple[_Range, ...] | None
    weekdays: tuple[_Range, ...] | None
    days: tuple[_Range, ...] | None
    months: tuple[_Range, ...] | None
    years: tuple[_Range, ...] | None
    zone: dt.tzinfo

    def contains(self, now: float) -> bool:
        """Whether the moment, in Unix seconds, lies inside."""
        at = dt.datetime.fromtimestamp(now, self.zone)
        minute = at.hour * 60 + at.minute
        return (
            (self.minutes is None or any(start <= minute < end for start, end in self.minutes))
            and _inside(self.weekdays, at.isoweekday() % 7)
            and _inside(self.months, at.month)
            and _inside(self.years, at.year)
            and (self.days is None or any(_day_inside(found, at) for found in self.days))
        )


def _inside(ranges: tuple[_Range, ...] | None, value: int) -> bool:
    return ranges is None or any(start <= value <= end for start, end in ranges)


def _day_inside(found: _Range, at: dt.datetime) -> bool:
    last = calendar.monthrange(at.year, at.month)[1]
    start, end = (day + last + 1 if day < 0 else day for day in found)
    return start <= last and max(start, -last) <= at.day <= min(end, last)


def names_containing(
    names: Sequence[str], intervals: Mapping[str, Sequence[Interval]], now: float
) -> list[str]:
    """Those of the named groups of intervals that contain the moment."""
    return [name for name in names if any(interval.contains(now) for interval in intervals[name])]


def compile_interval(config: IntervalConfig) -> Interval:
    """Raises ValueError with upstream's texts."""
    return Interval(
        None if config.times is None else tuple(_times(entry) for entry in config.times),
        _ranges(config.weekdays, _weekdays),
        _ranges(config.days_of_month, _days),
        _ranges(config.months, _months),
        _ranges(config.years, _years),
        _zone(config.location),
    )


def _ranges(texts: Sequence[str] | None, parse: Callable[[str], _Range]) -> tuple[_Range, ...] | None:
    return None if texts is None else tuple(parse(text.lower()) for text in texts)


def _zone(name: str) -> dt.tzinfo:
    if name in ("", "UTC"):
        return dt.UTC
    try:
        if name == "Local":
            with Path("/etc/localtime").open("rb") as file:
                return ZoneInfo.from_file(file, key="Local")
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # a zone that is not there is a KeyError
        raise ValueError(f"unknown time zone {name}") from None


def _times(config: TimesConfig) -> _Range:
    if not config.start_time or not config.end_time:
        raise ValueError("both start and end times must be provided")
    start, end = _minute(config.start_time), _minute(config.end_time)
    if start >= end:
        raise ValueError("start time cannot be equal or greater than end time")
    return start, end


def _minute(text: str) -> int:
    if _TIME.fullmatch(text) is None:
        raise ValueError(f"couldn't parse timestamp {text}, invalid format")
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)


def _pair(text: str, member: Callable[[str], int]) -> _Range:
    parts = text.split(":")
    if len(parts) > 2:
        raise ValueError(f"couldn't parse range {text}, invalid format")
    return member(parts[0]), member(parts[-1])


def _integer(text: str) -> int:
    if re.fullmatch(r"[-+]?[0-9]{1,9}", text) is None:
        raise ValueError(f'strconv.Atoi: parsing "{text}": invalid syntax')
    return int(text)


def _weekdays(text: str) -> _Range:
    def member(name: str) -> int:
        if name not in _WEEKDAYS:
            raise ValueError(f"{name} is not a valid weekday")
        return _WEEKDAYS.index(name)

    start, end = _pair(text, member)
    if start > end:
        raise ValueError("start day cannot be before end day")
    return start, end


def _months(text: str) -> _Range:
    def member(name: str) -> int:
        if name in _MONTHS[1:]:
            return _MONTHS.index(name)
        try:
            month = _integer(name)
        except ValueError:
            raise ValueError(f"{name} is not a valid month") from None
        if not 1 <= month <= 12:
            raise ValueError(f"{name} is not a valid month: out of range")
        return month

    start, end = _pair(text, member)
    if start > end:
        raise ValueError(f"end month {_MONTHS[end]} is before start month {_MONTHS[start]}")
    return start, end


def _years(text: str) -> _Range:
    start, end = _pair(text, _integer)
    if start > end:
        raise ValueError(f"end year {end} is before start year {start}")
    return start, end


def _days(text: str) -> _Range:
    start, end = _pair(text, _integer)
    for day in (start, end):
        if day == 0 or not -31 <= day <= 31:
            raise ValueError(f"{day} is not a valid day of the month: out of range")
    if start < 0 < end:
        raise ValueError("end day must be negative if start day is negative")
    # Upstream compares in a month of 28 days: a range must hold in every month.
    earliest, latest = (28 + day if day < 0 else day for day in (start, end))
    if earliest > latest:
        raise ValueError(f"end day {end} is always before start day {start}")
    return start, end
