"""Time intervals: moments inside and outside, texts that are refused."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest

from wavetank.alerting.intervals import IntervalConfig, compile_interval


def interval(**fields: Any) -> Any:
    return compile_interval(msgspec.convert(fields, IntervalConfig))


def at(text: str) -> float:
    return dt.datetime.fromisoformat(text).timestamp()


def times(start: str, end: str) -> list[dict[str, str]]:
    return [{"start_time": start, "end_time": end}]


MOMENTS = [
    ({}, "2026-11-23T12:00:00+00:00", True),
    ({"times": times("09:00", "17:00")}, "2026-11-23T09:00:00+00:00", True),
    ({"times": times("09:00", "17:00")}, "2026-11-23T17:00:00+00:00", False),
    ({"times": times("22:00", "24:00")}, "2026-11-23T23:59:59+00:00", True),
    ({"times": []}, "2026-11-23T23:59:59+00:00", False),
    ({"weekdays": ["monday:friday"]}, "2026-11-23T12:00:00+00:00", True),  # a Monday
    ({"weekdays": ["Saturday", "sunday"]}, "2026-11-23T12:00:00+00:00", False),
    ({"weekdays": ["sunday"]}, "2026-11-22T12:00:00+00:00", True),
    ({"days_of_month": ["-1"]}, "2026-02-28T12:00:00+00:00", True),
    ({"days_of_month": ["-3:-1"]}, "2024-02-27T12:00:00+00:00", True),
    ({"days_of_month": ["31"]}, "2026-02-28T12:00:00+00:00", False),
    ({"days_of_month": ["25:31"]}, "2026-02-28T12:00:00+00:00", True),
    ({"months": ["january:march", "11"]}, "2026-11-01T00:00:00+00:00", True),
    ({"months": ["february"]}, "2026-11-01T00:00:00+00:00", False),
    ({"years": ["2020:2022"]}, "2023-01-01T00:00:00+00:00", False),
    ({"times": times("09:00", "10:00"), "location": "Europe/Berlin"}, "2026-07-01T07:30:00+00:00", True),
    ({"times": times("09:00", "10:00"), "location": "Europe/Berlin"}, "2026-12-01T07:30:00+00:00", False),
    ({"weekdays": ["monday"], "location": "Australia/Sydney"}, "2026-11-22T14:00:00+00:00", True),
]


@pytest.mark.parametrize(("fields", "moment", "inside"), MOMENTS)
def test_contains(fields: dict[str, Any], moment: str, inside: bool) -> None:
    assert interval(**fields).contains(at(moment)) is inside


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"times": times("9:00", "17:00")}, "couldn't parse timestamp 9:00, invalid format"),
        ({"times": times("17:00", "09:00")}, "start time cannot be equal or greater than end time"),
        ({"times": [{"start_time": "09:00"}]}, "both start and end times must be provided"),
        ({"weekdays": ["blurgsday"]}, "blurgsday is not a valid weekday"),
        ({"weekdays": ["friday:monday"]}, "start day cannot be before end day"),
        ({"days_of_month": ["0"]}, "0 is not a valid day of the month: out of range"),
        ({"days_of_month": ["-50:-20"]}, "-50 is not a valid day of the month: out of range"),
        ({"days_of_month": ["-5:5"]}, "end day must be negative if start day is negative"),
        ({"days_of_month": ["10:-25"]}, "end day -25 is always before start day 10"),
        ({"months": ["march:january"]}, "end month january is before start month march"),
        ({"months": ["13"]}, "13 is not a valid month"),
        ({"years": ["2023:2020"]}, "end year 2020 is before start year 2023"),
        ({"years": ["1:2:3"]}, "couldn't parse range 1:2:3, invalid format"),
        ({"location": "Mars/Olympus"}, "unknown time zone Mars/Olympus"),
        ({"location": "../etc/passwd"}, "unknown time zone"),
    ],
)
def test_refuses(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        interval(**fields)
