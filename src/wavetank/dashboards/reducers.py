"""Reducers: one value of a column, by the names that dashboards use.

Mirrors fieldReducers of Grafana's data library: nulls are left out, except by the names that count them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np

__all__ = ["TITLES", "reduce_all", "reduce_values", "reducer_name"]

Numbers = list[float]

#: How a legend or a reduced table heads the column.
TITLES: Final = {
    "lastNotNull": "Last *",
    "last": "Last",
    "firstNotNull": "First *",
    "first": "First",
    "min": "Min",
    "max": "Max",
    "mean": "Mean",
    "median": "Median",
    "variance": "Variance",
    "stdDev": "StdDev",
    "sum": "Total",
    "count": "Count",
    "countAll": "Count all",
    "range": "Range",
    "delta": "Delta",
    "step": "Step",
    "diff": "Difference",
    "diffperc": "Difference percent",
    "logmin": "Min (above zero)",
    "changeCount": "Change count",
    "distinctCount": "Distinct count",
    "allIsZero": "All zeros",
    "allIsNull": "All nulls",
    "allValues": "All values",
    "uniqueValues": "All unique values",
}
_PERCENTILE: Final = re.compile(r"p(\d{1,2})")
_OLD: Final = {"current": "lastNotNull", "avg": "mean", "total": "sum"}


def reducer_name(name: str) -> str:
    """Today's id of a reducer."""
    return _OLD.get(name, name)


def reduce_values(values: Sequence[Any], name: str) -> Any:
    """The reduced value: a number, a text for the last and first of texts, a list for ``allValues``; None
    if none."""
    return reduce_all(values, (name,))[0]


def reduce_all(values: Sequence[Any], names: Sequence[str]) -> list[Any]:
    """Several reductions of one column, which is looked through for its numbers only once."""
    numbers: Numbers | None = None
    out = []
    for name in map(reducer_name, names):
        if numbers is None and (name in _NUMERIC or name == "allIsZero" or _PERCENTILE.fullmatch(name)):
            numbers = _numbers(values)
        out.append(_reduced(values, numbers or [], name))
    return out


def _reduced(values: Sequence[Any], numbers: Numbers, name: str) -> Any:
    match name:
        case "last":
            return values[-1] if values else None
        case "first":
            return values[0] if values else None
        case "lastNotNull":
            return next((v for v in reversed(values) if v is not None), None)
        case "firstNotNull":
            return next((v for v in values if v is not None), None)
        case "countAll":
            return len(values)
        case "allIsNull":
            return all(v is None for v in values)
        case "allValues":
            return list(values)
        case "uniqueValues":
            return list(dict.fromkeys(values))
        case "distinctCount":
            return len(set(values))
        case "changeCount":
            return sum(a != b for a, b in pairwise(values))
    if name == "count":
        return sum(v is not None for v in values)
    if name == "allIsZero":
        return bool(values) and all(v == 0 for v in values)
    if not numbers:
        return None
    percentile = _PERCENTILE.fullmatch(name)
    if percentile:
        return _percentile(numbers, int(percentile[1]) / 100)
    found = _NUMERIC.get(name)
    return found(numbers) if found else None


def _numbers(values: Sequence[Any]) -> Numbers:
    """What is a number and not NaN. Columns are of one type, so that only the first value's is looked at."""
    first = next((v for v in values if v is not None), None)
    if not isinstance(first, int | float):
        return []
    array = np.array(values, np.float64)
    kept: Numbers = array[~np.isnan(array)].tolist()
    return kept


def _percentile(numbers: Numbers, share: float) -> float:
    ordered = sorted(numbers)
    return ordered[round((len(ordered) - 1) * share)]


def _median(numbers: Numbers) -> float:
    ordered = sorted(numbers)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _variance(numbers: Numbers) -> float:
    mean = math.fsum(numbers) / len(numbers)
    return math.fsum((v - mean) ** 2 for v in numbers) / len(numbers)


def _delta(numbers: Numbers) -> float:
    """The rises of a counter, resets counted from zero."""
    pairs = pairwise(numbers)
    return math.fsum(b - a if b >= a else b for a, b in pairs)


def _step(numbers: Numbers) -> float | None:
    steps = [b - a for a, b in pairwise(numbers)]
    return min(steps) if steps else None


def _diff_percent(numbers: Numbers) -> float | None:
    return (numbers[-1] - numbers[0]) / abs(numbers[0]) if numbers[0] else None


_NUMERIC: Final[dict[str, Callable[[Numbers], float | None]]] = {
    "min": min,
    "max": max,
    "mean": lambda n: math.fsum(n) / len(n) if all(map(math.isfinite, n)) else sum(n) / len(n),
    "median": _median,
    "sum": lambda n: math.fsum(n) if all(map(math.isfinite, n)) else sum(n),
    "variance": _variance,
    "stdDev": lambda n: math.sqrt(_variance(n)),
    "range": lambda n: max(n) - min(n),
    "delta": _delta,
    "step": _step,
    "diff": lambda n: n[-1] - n[0],
    "diffperc": _diff_percent,
    "logmin": lambda n: min((v for v in n if v > 0), default=None),
}
