"""Durations, read and printed as prometheus/common does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavetank.model.duration import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("0", 0),
        ("0s", 0),
        ("324ms", 324),
        ("3s", 3_000),
        ("5m", 300_000),
        ("1h", 3_600_000),
        ("4d", 345_600_000),
        ("4d1h", 349_200_000),
        ("3w", 1_814_400_000),
        ("10y", 315_360_000_000),
        ("1y2w3d4h5m6s7ms", 33_019_506_007),
    ],
)
def test_parses(text: str, ms: int) -> None:
    assert parse_duration(text) == ms


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty duration string"),
        ("1", 'not a valid duration string: "1"'),
        ("1y1m1d", 'not a valid duration string: "1y1m1d"'),
        ("-1w", 'not a valid duration string: "-1w"'),
        ("1.5d", 'unknown unit "." in duration "1.5d"'),
        ("5mm", 'unknown unit "mm" in duration "5mm"'),
        ("294y", "duration out of range"),
        ("9" * 40 + "s", "duration out of range"),
    ],
)
def test_refuses(text: str, message: str) -> None:
    with pytest.raises(ValueError, match="^" + message.replace(".", "\\.")):
        parse_duration(text)


def test_years_and_weeks_only_where_exact() -> None:
    assert format_duration(315_360_000_000) == "10y"
    assert format_duration(86_400_000 * 366) == "366d"
    assert format_duration(86_400_000 * 14) == "2w"
    assert format_duration(-90_000) == "-1m30s"


@given(st.integers(0, 9 * 10**12))
def test_prints_what_it_reads(ms: int) -> None:
    assert parse_duration(format_duration(ms)) == ms
