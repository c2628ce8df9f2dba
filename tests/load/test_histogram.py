"""The log-bucket histogram: bounded error, exact merging."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavetank.load.histogram import LogHistogram, bucket_bounds, bucket_index

DURATIONS = st.floats(1e-6, 1e5)


def filled(values: list[float]) -> LogHistogram:
    histogram = LogHistogram()
    for value in values:
        histogram.record(value)
    return histogram


@given(DURATIONS)
def test_a_bucket_holds_its_values_and_is_at_most_one_64th_wide(seconds: float) -> None:
    low, high = bucket_bounds(bucket_index(seconds))
    assert low <= seconds < high
    assert (high - low) / low <= 1 / 64 + 1e-12


@given(st.lists(DURATIONS, min_size=1, max_size=200), st.floats(0.1, 100))
def test_percentiles_are_within_1_6_percent_of_the_nearest_rank(values: list[float], percent: float) -> None:
    rank = max(1, math.ceil(len(values) * percent / 100 - 1e-9))
    truth = sorted(values)[rank - 1]
    assert filled(values).percentile(percent) == pytest.approx(truth, rel=0.016)


@given(st.lists(DURATIONS, max_size=100), st.lists(DURATIONS, max_size=100))
def test_merging_is_recording_both(left: list[float], right: list[float]) -> None:
    merged = filled(left)
    merged.merge(filled(right))
    both = filled(left + right)
    assert merged.buckets == both.buckets
    assert (merged.count, merged.least, merged.greatest) == (both.count, both.least, both.greatest)
    assert merged.total == pytest.approx(both.total)


def test_several_percentiles_in_one_pass_equal_one_by_one() -> None:
    histogram = filled([i / 1000 for i in range(1, 1001)])
    assert histogram.percentiles((50, 95, 99, 100)) == [histogram.percentile(p) for p in (50, 95, 99, 100)]
    assert histogram.percentile(100) == 1.0


def test_an_empty_histogram_knows_nothing() -> None:
    assert math.isnan(LogHistogram().percentile(99)) and math.isnan(LogHistogram().mean)


def test_values_outside_the_range_are_counted_at_its_ends() -> None:
    histogram = filled([0.0, -1.0, 1e9])
    assert histogram.count == 3 and histogram.greatest == 1e9


def test_count_up_to_is_right_to_a_bucket() -> None:
    histogram = filled([0.1] * 30 + [0.5] * 70)
    assert histogram.count_up_to(0.3) == 30 and histogram.count_up_to(0.6) == 100
