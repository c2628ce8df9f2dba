"""Service level objectives: did it hold over the run, how much of the budget is burnt, when was it worst.

Two forms. A ratio of bad to all events with an objective; and an expression with bounds. An expression that
names ``$__range`` is asked once, about the whole run; one that does not is asked at every step, and must be
within its bounds for the share of the time that the objective names (all of it where none is given). Words
follow the Google SRE workbook: the error budget is 1 - objective, burn the share of it that is used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from wavetank.analysis.query import Query, Series, expand, uses_range

__all__ = ["Objective", "Verdict", "evaluate"]

#: The window of the series drawn for an objective about the whole run, in steps.
SERIES_WINDOW_STEPS = 6


@dataclass(frozen=True, slots=True)
class Objective:
    """One SLO; ``ratio`` uses ``errors``, ``total`` and ``objective``, ``threshold`` the rest."""

    name: str
    kind: Literal["ratio", "threshold"]
    objective: float | None = None
    errors: str = ""
    total: str = ""
    expr: str = ""
    min: float | None = None
    max: float | None = None

    @property
    def shown(self) -> str:
        return self.expr.strip() if self.kind == "threshold" else f"1 - ({self.errors}) / ({self.total})"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an objective fared. ``ok`` is None without data; ``burn`` 1.0 is the whole budget.

    ``values`` are the points of ``times`` (Unix seconds); None where there was no data.
    """

    objective: Objective
    value: float | None
    ok: bool | None
    burn: float | None
    times: Sequence[float]
    values: Sequence[float | None]
    worst_value: float | None
    worst_at: float | None


async def evaluate(objective: Objective, query: Query, start: float, end: float, step: float) -> Verdict:
    """Evaluate over ``[start, end]`` with points every ``step`` seconds."""
    times = [start + step * i for i in range(1, int((end - start) / step) + 1)]
    if objective.kind == "ratio":
        return await _ratio(objective, query, start, end, step, times)
    return await _threshold(objective, query, start, end, step, times)


async def _ratio(
    objective: Objective, query: Query, start: float, end: float, step: float, times: Sequence[float]
) -> Verdict:
    assert objective.objective is not None
    window = step * SERIES_WINDOW_STEPS
    errors = await _points(query, objective.errors, times, step, window)
    totals = await _points(query, objective.total, times, step, window)
    values = [
        None if total is None or total <= 0 else 1 - (bad or 0.0) / total
        for bad, total in zip(errors, totals, strict=True)
    ]
    if uses_range(objective.errors) or uses_range(objective.total):
        bad = await _value(query, objective.errors, end, end - start, step)
        total = await _value(query, objective.total, end, end - start, step)
    else:
        bad, total = _sum(errors), _sum(totals)
    worst = _worst(times, values, lowest=True)
    if total is None or not total > 0:
        return Verdict(objective, None, None, None, times, values, *worst)
    value = 1 - (bad or 0.0) / total
    budget = 1 - objective.objective
    burn = (1 - value) / budget if budget > 0 else (0.0 if value >= 1 else math.inf)
    return Verdict(objective, value, value >= objective.objective, burn, times, values, *worst)


async def _threshold(
    objective: Objective, query: Query, start: float, end: float, step: float, times: Sequence[float]
) -> Verdict:
    values = await _points(query, objective.expr, times, step, step * SERIES_WINDOW_STEPS)
    worst = _worst(times, values, lowest=objective.max is None)
    if uses_range(objective.expr):
        value = await _value(query, objective.expr, end, end - start, step)
        if value is None:
            return Verdict(objective, None, None, None, times, values, *worst)
        burn = value / objective.max if objective.max else None
        return Verdict(objective, value, _within(objective, value), burn, times, values, *worst)
    known = [v for v in values if v is not None]
    if not known:
        return Verdict(objective, None, None, None, times, values, *worst)
    bad = sum(not _within(objective, v) for v in known) / len(known)
    least = 1.0 if objective.objective is None else objective.objective
    burn = bad / (1 - least) if least < 1 else (0.0 if bad == 0 else math.inf)
    return Verdict(objective, worst[0], 1 - bad >= least, burn, times, values, *worst)


def _within(objective: Objective, value: float) -> bool:
    above = objective.min is None or value >= objective.min
    return above and (objective.max is None or value <= objective.max)


def _worst(
    times: Sequence[float], values: Sequence[float | None], *, lowest: bool
) -> tuple[float | None, float | None]:
    known = [(v, t) for v, t in zip(values, times, strict=True) if v is not None]
    if not known:
        return None, None
    return min(known) if lowest else max(known)


async def _value(query: Query, expr: str, at: float, window: float, step: float) -> float | None:
    series = await query.instant(expand(expr, range_seconds=window, interval_seconds=step), at)
    return _sum([s.values[-1] for s in series if len(s.values) and math.isfinite(s.values[-1])])


async def _points(
    query: Query, expr: str, times: Sequence[float], step: float, window: float
) -> list[float | None]:
    """The expression at each of ``times``; several series are added up, as an SLO is one number."""
    if not times:
        return []
    text = expand(expr, range_seconds=window, interval_seconds=step)
    return align(await query.range(text, times[0], times[-1], step), times)


def align(series: Sequence[Series], times: Sequence[float]) -> list[float | None]:
    """The sum of all series at each time; None where none has a finite value."""
    points: list[float | None] = [None] * len(times)
    index = {round(t, 3): i for i, t in enumerate(times)}
    for one in series:
        for at, value in zip(one.times, one.values, strict=True):
            i = index.get(round(at, 3))
            if i is not None and math.isfinite(value):
                points[i] = (points[i] or 0.0) + value
    return points


def _sum(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return sum(known) if known else None
