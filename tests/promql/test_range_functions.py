"""The sliding kernels against plain definitions of each function, window by window, on random series."""

import itertools
import math
import statistics
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavetank.model.labels import Labels
from wavetank.promql.context import EngineOptions
from wavetank.promql.engine import Engine
from wavetank.promql.options import EXPERIMENTAL
from wavetank.promql.promqltest.memory import MemoryStorage

Window = list[tuple[float, float]]  # seconds, value
ENGINE = Engine(EngineOptions(parser=EXPERIMENTAL))


def _pairs(w: Window) -> list[tuple[float, float]]:
    return [(a[1], b[1]) for a, b in itertools.pairwise(w)]


def _quantile(q: float, values: list[float]) -> float:
    ordered = sorted(values, key=lambda v: (not math.isnan(v), v))
    rank = q * (len(ordered) - 1)
    low = math.floor(rank)
    high = min(len(ordered) - 1, low + 1)
    return ordered[low] * (1 - (rank - low)) + ordered[high] * (rank - low)


def _mad(values: list[float]) -> float:
    if any(map(math.isnan, values)):
        return math.nan
    middle = _quantile(0.5, values)
    return _quantile(0.5, [abs(v - middle) for v in values])


def _slope(w: Window) -> float:
    xs, ys = [t - w[0][0] for t, _ in w], [v for _, v in w]
    if len(set(ys)) == 1:
        return 0.0
    n = len(w)
    covariance = math.fsum(x * y for x, y in zip(xs, ys, strict=True)) - math.fsum(xs) * math.fsum(ys) / n
    return covariance / (math.fsum(x * x for x in xs) - math.fsum(xs) ** 2 / n)


def _extreme(w: Window, choose: Callable[[list[float]], float]) -> float:
    real = [v for _, v in w if not math.isnan(v)]
    return choose(real) if real else math.nan


def _smoothed(values: list[float], sf: float, tf: float) -> float:
    level, before, slope = values[0], 0.0, values[1] - values[0]
    for i, value in enumerate(values[1:]):
        if i:
            slope = tf * (level - before) + (1 - tf) * slope
        before, level = level, sf * value + (1 - sf) * (level + slope)
    return level


def _values(w: Window) -> list[float]:
    return [v for _, v in w]


DEFINITIONS: dict[str, tuple[int, Callable[[Window], float]]] = {
    "count_over_time(m[R])": (1, lambda w: float(len(w))),
    "sum_over_time(m[R])": (1, lambda w: math.fsum(_values(w))),
    "avg_over_time(m[R])": (1, lambda w: math.fsum(_values(w)) / len(w)),
    "min_over_time(m[R])": (1, lambda w: _extreme(w, min)),
    "max_over_time(m[R])": (1, lambda w: _extreme(w, max)),
    "first_over_time(m[R])": (1, lambda w: w[0][1]),
    "last_over_time(m[R])": (1, lambda w: w[-1][1]),
    "ts_of_last_over_time(m[R])": (1, lambda w: w[-1][0]),
    "changes(m[R])": (1, lambda w: float(sum(a != b for a, b in _pairs(w)))),
    "resets(m[R])": (1, lambda w: float(sum(b < a for a, b in _pairs(w)))),
    "stdvar_over_time(m[R])": (1, lambda w: statistics.pvariance(_values(w))),
    "quantile_over_time(0.3, m[R])": (1, lambda w: _quantile(0.3, _values(w))),
    "mad_over_time(m[R])": (1, lambda w: _mad(_values(w))),
    "deriv(m[R])": (2, _slope),
    "idelta(m[R])": (2, lambda w: w[-1][1] - w[-2][1]),
    "double_exponential_smoothing(m[R], 0.4, 0.2)": (2, lambda w: _smoothed(_values(w), 0.4, 0.2)),
}

samples = st.lists(
    st.tuples(st.integers(1, 40), st.integers(-1000, 1000).map(lambda v: v / 8)), min_size=1, max_size=60
)


def _storage(steps: list[tuple[int, float]]) -> tuple[MemoryStorage, Window]:
    store, at, points = MemoryStorage(), 0, []
    for gap, value in steps:
        at += gap
        points.append((at, value))
    store.add_series(Labels.of(__name__="m"), [(t * 1000, v) for t, v in points])
    return store, [(float(t), v) for t, v in points]


@pytest.mark.parametrize("text", DEFINITIONS)
@settings(max_examples=25, deadline=None)
@given(steps=samples, width=st.integers(1, 400), step=st.integers(1, 60))
def test_every_window_follows_the_definition(
    text: str, steps: list[tuple[int, float]], width: int, step: int
) -> None:
    fewest, definition = DEFINITIONS[text]
    store, points = _storage(steps)
    end = int(points[-1][0]) + width
    result = ENGINE.query_range(store, text.replace("R", f"{width}s"), 0, end * 1000, step * 1000)
    got = dict(zip(result.steps.tolist(), range(len(result.steps)), strict=True))
    for at, column in got.items():
        window = [p for p in points if at / 1000 - width < p[0] <= at / 1000]
        present = bool(len(result.labels)) and bool(result.mask[0, column])
        assert present == (len(window) >= fewest)
        if present:
            expected = definition(window)
            assert result.values[0, column] == pytest.approx(expected, rel=1e-9, abs=1e-9, nan_ok=True)


def test_long_windows_use_the_sliding_state_and_agree() -> None:
    random = np.random.default_rng(3)
    values = np.cumsum(random.normal(size=2000))
    store = MemoryStorage()
    store.add_series(Labels.of(__name__="m"), [(i * 1000, float(v)) for i, v in enumerate(values)])
    for text in ("sum_over_time(m[500s])", "double_exponential_smoothing(m[500s], 0.4, 0.2)"):
        _, definition = DEFINITIONS[text.replace("500s", "R")]
        result = ENGINE.query_range(store, text, 500_000, 1_999_000, 37_000)
        for column, at in enumerate(result.steps.tolist()):
            last = at // 1000
            window = [(float(i), float(values[i])) for i in range(last - 499, last + 1)]
            assert result.values[0, column] == pytest.approx(definition(window), rel=1e-9)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e300])
def test_one_bad_sample_spoils_only_the_windows_that_hold_it(bad: float) -> None:
    store = MemoryStorage()
    points = [(i * 1000, bad if i == 100 else 1.0) for i in range(300)]
    store.add_series(Labels.of(__name__="m"), points)
    for text in ("sum_over_time(m[90s])", "double_exponential_smoothing(m[90s], 0.4, 0.2)"):
        result = ENGINE.query_range(store, text, 91_000, 299_000, 1000)
        after = result.steps >= 190_000
        before = result.steps < 100_000
        clean = 90.0 if text.startswith("sum") else 1.0
        np.testing.assert_allclose(result.values[0, after | before], clean)


@settings(max_examples=60, deadline=None)
@given(steps=samples, width=st.integers(20, 400))
def test_increase_counts_what_was_lost_at_resets(steps: list[tuple[int, float]], width: int) -> None:
    store, points = _storage([(gap, abs(value)) for gap, value in steps])
    end = int(points[-1][0])
    result = ENGINE.query_range(store, f"increase(m[{width}s])", 0, end * 1000, 7000)
    for column, at in enumerate(result.steps.tolist()):
        window = [p for p in points if at / 1000 - width < p[0] <= at / 1000]
        present = bool(len(result.labels)) and bool(result.mask[0, column])
        assert present == (len(window) >= 2)
        if not present:
            continue
        raw = window[-1][1] - window[0][1] + math.fsum(a for a, b in _pairs(window) if b < a)
        sampled = window[-1][0] - window[0][0]
        gap = sampled / (len(window) - 1)
        begin, rest = window[0][0] - (at / 1000 - width), at / 1000 - window[-1][0]
        begin = gap / 2 if begin >= 1.1 * gap else begin
        rest = gap / 2 if rest >= 1.1 * gap else rest
        if raw > 0:
            begin = min(begin, sampled * window[0][1] / raw)
        expected = raw * (sampled + begin + rest) / sampled
        assert result.values[0, column] == pytest.approx(expected, rel=1e-9, abs=1e-12)
