"""SLOs: what holds, what does not, how much budget is burnt."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest

from wavetank.analysis.bottleneck import Sign, first_to_give_out
from wavetank.analysis.query import Series, expand, uses_range
from wavetank.analysis.slo import Objective, evaluate


class Answers:
    """Answers by expression: a number for instants, a list of points for ranges."""

    def __init__(self, instants: Mapping[str, float], ranges: Mapping[str, list[float]]) -> None:
        self.instants, self.ranges = instants, ranges

    async def instant(self, expr: str, at: float) -> list[Series]:
        return [Series({}, [at], [self.instants[expr]])] if expr in self.instants else []

    async def range(self, expr: str, start: float, end: float, step: float) -> list[Series]:
        points = self.ranges.get(expr, [])
        return [Series({}, [start + step * i for i in range(len(points))], points)] if points else []


def ratio(objective: float, errors: str = "e[$__range]", total: str = "t[$__range]") -> Objective:
    return Objective("availability", "ratio", objective, errors=errors, total=total)


@pytest.mark.parametrize(
    ("bad", "total", "objective", "ok", "burn"),
    [
        (0, 1000, 0.999, True, 0.0),
        (1, 1000, 0.999, True, 1.0),
        (2, 1000, 0.999, False, 2.0),
        (0, 1000, 1.0, True, 0.0),
        (1, 1000, 1.0, False, math.inf),
        (0, 0, 0.999, None, None),
    ],
)
async def test_a_ratio_over_the_whole_run(
    bad: float, total: float, objective: float, ok: bool | None, burn: float | None
) -> None:
    answers = Answers({"e[60000ms]": bad, "t[60000ms]": total}, {})
    verdict = await evaluate(ratio(objective), answers, 0, 60, 5)
    assert verdict.ok is ok
    assert verdict.burn == (pytest.approx(burn) if burn is not None else None)


async def test_no_error_series_at_all_means_no_errors() -> None:
    verdict = await evaluate(
        ratio(0.999), Answers({"t[60000ms]": 10.0}, {"t[30000ms]": [5.0, 5.0]}), 0, 60, 5
    )
    assert (verdict.ok, verdict.value) == (True, 1.0)
    assert list(verdict.values[:3]) == [1.0, 1.0, None]


async def test_a_ratio_without_the_range_macro_adds_up_the_steps() -> None:
    answers = Answers({}, {"rate(e[30s])": [0.0, 2.0], "rate(t[30s])": [10.0, 10.0]})
    verdict = await evaluate(ratio(0.95, "rate(e[30s])", "rate(t[30s])"), answers, 0, 10, 5)
    assert verdict.value == pytest.approx(0.9)
    assert (verdict.ok, verdict.worst_value, verdict.worst_at) == (False, pytest.approx(0.8), 10)


@pytest.mark.parametrize(
    ("points", "objective", "ok"),
    [([0.1, 0.2, 0.3], None, True), ([0.1, 0.4, 0.1], None, False), ([0.1, 0.4, 0.1, 0.1], 0.75, True)],
)
async def test_a_threshold_must_hold_for_its_share_of_the_time(
    points: list[float], objective: float | None, ok: bool
) -> None:
    slo = Objective("latency", "threshold", objective, expr="p99", max=0.3)
    assert (await evaluate(slo, Answers({}, {"p99": points}), 0, 5 * len(points), 5)).ok is ok


async def test_no_data_is_neither_held_nor_failed() -> None:
    slo = Objective("latency", "threshold", expr="p99", max=0.3)
    assert (await evaluate(slo, Answers({}, {"p99": [math.nan, math.nan]}), 0, 10, 5)).ok is None


def test_macros() -> None:
    text = expand("rate(a[$__range]) + rate(b[${__rate_interval}])", range_seconds=90, interval_seconds=5)
    assert text == "rate(a[90000ms]) + rate(b[20000ms])"
    assert uses_range("x[$__range]") and not uses_range("x[$__interval] + $__ranger")


def test_the_first_resource_to_cross_its_bound_for_two_steps_is_named() -> None:
    signs = [
        Sign("the pods' CPU limit", [0.0, 0.5, 0.1, 0.4, 0.6], 0.25, "{:.0%} of periods throttled"),
        Sign("the load generator", [0.1, 0.2, 0.95, 0.95, 0.9], 0.9, "{:.0%} of a core"),
    ]
    finding = first_to_give_out([10, 20, 30, 40, 50], signs)
    assert finding is not None
    assert (finding.what, finding.at) == ("the load generator", 30)
    assert finding.evidence == (
        "95% of a core at first, 95% of a core at most",
        "the pods' CPU limit: 10 s later",
    )
    assert first_to_give_out([10, 20], [Sign("x", [0.1, 0.1], 0.5, "{}")]) is None
