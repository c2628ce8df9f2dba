"""Native histograms: bounds, arithmetic across resolutions, resets. The ``.test`` files cover much more."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavetank.model.histogram import (
    CUSTOM_BUCKETS_SCHEMA,
    CounterResetHint,
    FloatHistogram,
    IncompatibleSchemaError,
    bound,
    indexes,
    spans_of,
)
from wavetank.model.histogram_math import Accumulator, add, detect_reset, subtract, to_schema
from wavetank.model.histogram_trim import trim


def exponential(counts: dict[int, float], schema: int = 0, **more: object) -> FloatHistogram:
    ascending = sorted(counts)
    return FloatHistogram(
        schema,
        sum(counts.values()) + float(more.get("zero_count", 0.0)),  # type: ignore[arg-type]
        1.0,
        positive_spans=spans_of(ascending),
        positive_buckets=tuple(counts[i] for i in ascending),
        **more,  # type: ignore[arg-type]
    )


def filled(h: FloatHistogram) -> dict[int, float]:
    return {i: c for i, c in zip(indexes(h.positive_spans), h.positive_buckets, strict=True) if c}


@pytest.mark.parametrize(
    ("index", "schema", "upper"),
    [(0, 0, 1.0), (1, 0, 2.0), (-1, 0, 0.5), (1, 1, math.sqrt(2)), (4, 2, 2.0), (1, -1, 4.0), (1, -4, 65536.0)],
)  # fmt: skip
def test_bounds(index: int, schema: int, upper: float) -> None:
    assert bound(index, schema) == pytest.approx(upper, rel=1e-15)


@pytest.mark.parametrize("schema", range(-4, 9))
def test_the_last_bucket_ends_at_the_largest_float(schema: int) -> None:
    last = 1024 << schema if schema >= 0 else 1024 >> -schema
    assert bound(last, schema) == 1.7976931348623157e308
    assert bound(last + 1, schema) == math.inf
    assert bound(last - 1, schema) < 1.7976931348623157e308


INDEXES = st.lists(st.integers(-200, 200), unique=True, max_size=30).map(sorted)


@given(INDEXES)
def test_spans_are_another_way_to_write_indexes(ascending: list[int]) -> None:
    spans = spans_of(ascending)
    assert indexes(spans) == ascending
    assert all(length > 0 for _, length in spans)
    assert all(offset > 0 for offset, _ in spans[1:])


COUNTS = st.dictionaries(st.integers(-40, 40), st.integers(1, 1000).map(float), max_size=12)


@given(COUNTS, COUNTS)
def test_adding_then_subtracting_gives_back_the_first(a: dict[int, float], b: dict[int, float]) -> None:
    total, _ = add(exponential(a), exponential(b))
    assert filled(total) == {i: a.get(i, 0) + b.get(i, 0) for i in a | b}
    back, _ = subtract(total, exponential(b))
    assert filled(back) == a


@given(COUNTS, st.integers(1, 6))
def test_coarser_keeps_the_count(counts: dict[int, float], by: int) -> None:
    fine = exponential(counts, schema=2)
    coarse = to_schema(fine, 2 - by)
    assert sum(filled(coarse).values()) == sum(counts.values())
    for bucket in coarse.positive():
        inside = [b.count for b in fine.positive() if bucket.lower < b.upper <= bucket.upper]
        assert sum(inside) == bucket.count


def test_the_coarser_schema_and_the_wider_zero_bucket_win() -> None:
    fine = exponential({1: 1.0, 2: 2.0, 8: 4.0}, schema=1, zero_threshold=0.001, zero_count=1.0)
    coarse = exponential({0: 8.0, 3: 16.0}, schema=0, zero_threshold=2.0, zero_count=2.0)
    total, _ = add(fine, coarse)
    assert (total.schema, total.zero_threshold) == (0, 2.0)
    assert total.zero_count == 1 + 2 + 1 + 2  # both zero buckets, and the fine ones up to 2
    assert filled(total) == {3: 16.0, 4: 4.0}


def test_a_zero_bucket_never_cuts_a_filled_bucket() -> None:
    narrow = exponential({2: 5.0}, zero_threshold=0.001)
    wide = exponential({}, zero_threshold=3.0, zero_count=1.0)
    total, _ = add(narrow, wide)
    assert total.zero_threshold == 4.0
    assert total.zero_count == 6.0


def custom(bounds: tuple[float, ...], counts: tuple[float, ...]) -> FloatHistogram:
    return FloatHistogram(
        CUSTOM_BUCKETS_SCHEMA,
        sum(counts),
        1.0,
        positive_spans=((0, len(counts)),),
        positive_buckets=counts,
        custom_values=bounds,
    )


def test_different_custom_bounds_are_reduced_to_the_shared_ones() -> None:
    total, notes = add(custom((1, 2, 5), (1, 2, 3, 4)), custom((2, 3), (10, 20, 30)))
    assert notes.bounds_reconciled
    assert total.custom_values == (2,)
    assert filled(total) == {0: 13.0, 1: 57.0}


def test_kinds_do_not_mix() -> None:
    with pytest.raises(IncompatibleSchemaError):
        add(custom((1,), (1, 1)), exponential({0: 1.0}))


def test_hints_of_a_sum() -> None:
    def hinted(hint: CounterResetHint) -> FloatHistogram:
        return exponential({0: 1.0}).with_hint(hint)

    reset, kept, gauge = CounterResetHint.RESET, CounterResetHint.NOT_RESET, CounterResetHint.GAUGE
    total, notes = add(hinted(reset), hinted(kept))
    assert notes.counter_reset_collision
    assert total.counter_reset_hint is CounterResetHint.UNKNOWN
    total, notes = add(hinted(kept), hinted(gauge))
    assert not notes.counter_reset_collision
    assert total.counter_reset_hint is gauge


@given(COUNTS, COUNTS)
def test_reset_means_that_a_bucket_shrank(a: dict[int, float], more: dict[int, float]) -> None:
    grown, _ = add(exponential(a), exponential(more))
    assert not detect_reset(grown, exponential(a))
    for index in more:
        assert detect_reset(exponential({**filled(grown), index: a.get(index, 0.0)}), grown)


def test_compensated_sums_keep_small_counts() -> None:
    total = Accumulator(exponential({0: 1e100}), compensated=True)
    for _ in range(10):
        total.add(exponential({0: 1.0}))
    total.add(exponential({0: -1e100}))
    assert filled(total.result()) == {0: 10.0}


def test_trimming_splits_the_count() -> None:
    h = exponential({1: 4.0, 2: 8.0, 3: 16.0})
    below, above = trim(h, 3.0, upper=True), trim(h, 3.0, upper=False)
    assert below.count + above.count == pytest.approx(h.count)
    assert filled(below)[1] == 4.0
    assert filled(above)[3] == 16.0
    assert trim(h, 100.0, upper=True) is h


def test_equality_is_bit_by_bit() -> None:
    assert exponential({0: 1.0}).equals(exponential({0: 1.0}))
    assert not exponential({0: 1.0}).equals(exponential({1: 1.0}))
    nan = exponential({0: math.nan})
    assert nan.equals(exponential({0: math.nan}))


def test_texts() -> None:
    h = exponential({0: 1.0, 1: 2.0}, zero_threshold=0.5, zero_count=3.0)
    assert str(h) == "{count:6, sum:1, [-0.5,0.5]:3, (0.5,1]:1, (1,2]:2}"
    assert h.test_expression() == "{{count:6 sum:1 z_bucket:3 z_bucket_w:0.5 buckets:[1 2]}}"
