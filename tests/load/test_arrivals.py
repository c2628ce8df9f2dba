"""Arrival schedules: counts, spacing, reproducibility, and shares of workers."""

from __future__ import annotations

import math
from itertools import islice, pairwise
from random import Random
from statistics import mean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavetank.load.arrivals import RateCurve, constant_arrivals, poisson_arrivals, thin

POINTS = st.lists(st.tuples(st.floats(0.01, 100), st.floats(0, 500)), min_size=1, max_size=6).map(
    lambda steps: [(0.0, 5.0), *((sum(s for s, _ in steps[: i + 1]), r) for i, (_, r) in enumerate(steps))]
)


def test_a_flat_rate_gives_evenly_spaced_arrivals() -> None:
    due = list(constant_arrivals(RateCurve.flat(80, 60)))
    assert len(due) == 4800
    assert due[0] == pytest.approx(0.5 / 80)
    assert all(b - a == pytest.approx(1 / 80) for a, b in pairwise(due))


def test_a_ramp_gives_the_area_under_it() -> None:
    curve = RateCurve.ramp(0, 100, 10)
    due = list(constant_arrivals(curve))
    assert len(due) == 500
    assert due[125] == pytest.approx(5, abs=0.02)  # a quarter of the area lies in the first half
    assert curve.rate_at(2.5) == 25 and curve.rate_at(11) == 0


def test_a_falling_ramp_to_nothing_ends() -> None:
    assert len(list(constant_arrivals(RateCurve.ramp(100, 0, 10)))) == 500


def test_a_pause_inside_a_curve_has_no_arrivals() -> None:
    due = list(
        constant_arrivals(RateCurve.through([(0, 10), (1, 10), (1.001, 0), (5, 0), (5.001, 10), (6, 10)]))
    )
    assert len(due) == 20
    assert not [t for t in due if 1.01 < t < 4.99]


@given(POINTS)
def test_due_times_rise_within_the_curve_and_count_its_area(points: list[tuple[float, float]]) -> None:
    curve = RateCurve.through(points)
    due = list(islice(constant_arrivals(curve), 5_000))
    assert all(0 <= t <= curve.duration_seconds + 1e-9 for t in due)
    assert all(b >= a - 1e-9 for a, b in pairwise(due))
    if len(due) < 5_000:
        assert abs(len(due) - curve.counts[-1]) <= 0.5 + 1e-6


def test_poisson_arrivals_have_the_rate_and_the_spread_of_a_poisson_process() -> None:
    due = list(poisson_arrivals(RateCurve.flat(200, 100), Random(1)))
    gaps = [b - a for a, b in pairwise(due)]
    assert len(due) == pytest.approx(20_000, abs=5 * math.sqrt(20_000))
    assert pstdev(gaps) / mean(gaps) == pytest.approx(1, abs=0.05)


def test_poisson_arrivals_follow_a_ramp() -> None:
    due = list(poisson_arrivals(RateCurve.ramp(0, 400, 100), Random(2)))
    early = sum(t < 50 for t in due)
    assert early / len(due) == pytest.approx(0.25, abs=0.02)


def test_one_seed_is_one_schedule() -> None:
    curve = RateCurve.flat(50, 10)
    assert list(poisson_arrivals(curve, Random(7))) == list(poisson_arrivals(curve, Random(7)))
    assert list(poisson_arrivals(curve, Random(7))) != list(poisson_arrivals(curve, Random(8)))


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_workers_together_play_the_schedule_of_one(workers: int) -> None:
    curve = RateCurve.ramp(10, 90, 20)
    alone = list(poisson_arrivals(curve, Random(3)))
    shares = [list(thin(poisson_arrivals(curve, Random(3)), i, workers)) for i in range(workers)]
    assert sorted(t for share in shares for t in share) == alone
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(
    "points", [[(0, 1)], [(1, 1), (2, 1)], [(0, 1), (0, 2)], [(0, -1), (1, 1)], [(0, math.nan), (1, 1)]]
)
def test_impossible_curves_are_refused(points: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="rate"):
        RateCurve.through(points)
