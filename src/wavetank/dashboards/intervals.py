"""Steps: how wide one point of a panel is, and ``$__interval`` and ``$__rate_interval``.

Mirrors Grafana's rangeutil and the step pipeline of its Prometheus data source: the request's interval from
the range and the panel's width, the query's step from it and its own least step, ``$__rate_interval`` from
the request's interval (not from the step), and starts and ends on multiples of the step, so that a refresh
moves no point.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Final

from wavetank.dashboards.times import duration_ms
from wavetank.limits import DASHBOARD_POINTS_MAX

__all__ = ["Step", "align", "format_interval", "round_interval", "step_of"]

# Below the bound, the interval; in milliseconds.
_BOUNDS: Final = (
    *(10, 15, 35, 75, 150, 350, 750, 1500, 3500, 7500, 12500, 17500, 25000, 45000, 90000, 210_000, 450_000),
    *(750_000, 1_050_000, 1_500_000, 2_700_000, 5_400_000, 9_000_000, 16_200_000, 32_400_000, 86_400_000),
    *(604_800_000, 1_814_400_000, 3_628_800_000),
)
_INTERVALS: Final = (
    *(1, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 15000, 20000, 30000, 60000, 120_000, 300_000),
    *(600_000, 900_000, 1_200_000, 1_800_000, 3_600_000, 7_200_000, 10_800_000, 21_600_000, 43_200_000),
    *(86_400_000, 604_800_000, 2_592_000_000, 31_536_000_000),
)
_RATE_WORDS: Final = ("$__rate_interval", "${__rate_interval}")
_INTERVAL_WORDS: Final = ("$__interval", "${__interval}", "")


@dataclass(frozen=True, slots=True)
class Step:
    """A query's step, and what the built-in variables hold in it; milliseconds."""

    step_ms: int
    interval_ms: int
    rate_interval_ms: int


def round_interval(ms: float) -> int:
    """The nearest of the intervals that people read easily."""
    return _INTERVALS[bisect_right(_BOUNDS, ms)]


def format_interval(ms: int) -> str:
    """``15s``, ``1m``, ``500ms``: in the largest unit that divides it."""
    for unit, length in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if ms >= length and ms % length == 0:
            return f"{ms // length}{unit}"
    return f"{ms}ms"


def step_of(
    range_ms: int,
    points: int,
    scrape_ms: int,
    *,
    panel_interval: str = "",
    interval: str = "",
    factor: int = 1,
) -> Step:
    """``points`` is the panel's most points or its width; ``panel_interval`` its least interval;
    ``interval`` the query's own least step, in which variables are already filled in."""
    low = duration_ms(panel_interval) or scrape_ms
    request = max(round_interval(range_ms / max(1, points)), low)
    own = None if interval in (*_INTERVAL_WORDS, *_RATE_WORDS) else duration_ms(interval)
    scrape = own or scrape_ms
    rate = max(request + scrape, 4 * scrape)
    if interval in _RATE_WORDS:
        step = rate
    else:
        least = own if own is not None else request
        step = max(
            round_interval(range_ms / max(1, points)), least, round_interval(range_ms / DASHBOARD_POINTS_MAX)
        )
    step = max(1, step) * max(1, factor)
    return Step(step, step, rate)


def align(from_ms: int, to_ms: int, step_ms: int) -> tuple[int, int]:
    """Start and end on multiples of the step."""
    return from_ms // step_ms * step_ms, to_ms // step_ms * step_ms
