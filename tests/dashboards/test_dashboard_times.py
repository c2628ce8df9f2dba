"""Time ranges, intervals and steps, as Grafana's datemath and step pipeline compute them."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from wavetank.dashboards.intervals import align, format_interval, round_interval, step_of
from wavetank.dashboards.times import duration_ms, moment_ms, time_range
from wavetank.errors import InputError

NOW = int(datetime(2026, 3, 18, 13, 45, 30, tzinfo=UTC).timestamp() * 1000)  # a Wednesday


def at(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp() * 1000)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "up", "expected"),
    [
        ("now", False, NOW),
        ("now-6h", False, NOW - 6 * 3_600_000),
        ("now/d", False, at(2026, 3, 18)),
        ("now/d", True, at(2026, 3, 19) - 1),
        ("now-1d/d", False, at(2026, 3, 17)),
        ("now-7d/w", False, at(2026, 3, 9)),
        ("now/M", False, at(2026, 3, 1)),
        ("now/Q", False, at(2026, 1, 1)),
        ("now/y", True, at(2027, 1, 1) - 1),
        ("now-1M", False, at(2026, 2, 18, 13, 45, 30)),
        ("now+h", False, NOW + 3_600_000),
        ("1760000000000", False, 1_760_000_000_000),
        ("2026-01-31T10:00:00Z", False, at(2026, 1, 31, 10)),
    ],
)
def test_moments(text: str, up: bool, expected: int) -> None:
    assert moment_ms(text, NOW, up=up) == expected


def test_days_begin_in_the_dashboards_time_zone() -> None:
    assert moment_ms("now/d", NOW, ZoneInfo("Asia/Tokyo"), up=False) == at(2026, 3, 17, 15)


def test_the_fiscal_year_may_begin_in_another_month() -> None:
    assert moment_ms("now/fQ", NOW, up=False, fiscal_month=1) == at(2026, 2, 1)


@pytest.mark.parametrize("text", ["", "nov-6h", "now-6x", "now-", "yesterday", "now-99999999999y", "9" * 30])
def test_what_is_no_time_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(InputError, match="time"):
        moment_ms(text, NOW, up=False)


def test_a_range_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(InputError, match="ends before"):
        time_range("now", "now-1h", NOW)


@pytest.mark.parametrize(
    ("text", "ms"),
    [("30s", 30_000), ("1h30m", 5_400_000), (">1m", 60_000), ("", None), ("5", None), ("x", None)],
)
def test_durations(text: str, ms: int | None) -> None:
    assert duration_ms(text) == ms


@pytest.mark.parametrize(
    ("ms", "rounded"),
    [
        *[(9, 1), (14, 10), (74, 50), (1499, 1000), (7499, 5000), (24_999, 20_000), (89_999, 60_000)],
        *[(5_399_999, 3_600_000), (5_400_000, 7_200_000), (86_399_999, 43_200_000), (10**12, 31_536_000_000)],
    ],
)
def test_intervals_round_to_readable_ones(ms: int, rounded: int) -> None:
    assert round_interval(ms) == rounded


@pytest.mark.parametrize(("ms", "text"), [(15_000, "15s"), (60_000, "1m"), (500, "500ms"), (90_000, "90s")])
def test_intervals_as_text(ms: int, text: str) -> None:
    assert format_interval(ms) == text


def test_the_rate_interval_covers_four_scrapes_or_the_step_and_one() -> None:
    hour = step_of(3_600_000, 1000, 15_000)
    assert (hour.step_ms, hour.rate_interval_ms) == (15_000, 60_000)
    day = step_of(86_400_000, 500, 15_000)
    assert (day.step_ms, day.rate_interval_ms) == (120_000, 135_000)


def test_a_querys_own_interval_is_the_least_step() -> None:
    assert step_of(3_600_000, 1000, 15_000, interval="1m").step_ms == 60_000
    assert step_of(3_600_000, 1000, 15_000, interval="1m").rate_interval_ms == 240_000
    assert step_of(3_600_000, 1000, 15_000, interval="$__rate_interval").step_ms == 60_000
    assert step_of(3_600_000, 1000, 15_000, panel_interval="2m").step_ms == 120_000
    assert step_of(3_600_000, 1000, 15_000, factor=2).step_ms == 30_000


def test_no_query_has_more_points_than_the_server_allows() -> None:
    month = 30 * 86_400_000
    assert month / step_of(month, 100_000, 1000, interval="1s").step_ms <= 11_000


def test_starts_and_ends_lie_on_the_step_so_that_a_refresh_moves_no_point() -> None:
    assert align(61_234, 121_999, 15_000) == (60_000, 120_000)
