"""Functions that map each float sample by itself: mathematics and the calendar.

Mirrors ``simpleFloatFunc`` and ``dateWrapper`` of ``promql/functions.go``. Histogram samples are skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from wavetank.promql.vector import Floats, Vector

__all__ = ["DATE_FUNCTIONS", "MATH_FUNCTIONS", "clamp", "map_floats", "round_to"]


def _sign(x: Floats) -> Floats:
    return np.where(x < 0, -1.0, np.where(x > 0, 1.0, x))


MATH_FUNCTIONS: Final[dict[str, Callable[[Floats], Floats]]] = {
    "abs": np.abs,
    "acos": np.arccos,
    "acosh": np.arccosh,
    "asin": np.arcsin,
    "asinh": np.arcsinh,
    "atan": np.arctan,
    "atanh": np.arctanh,
    "ceil": np.ceil,
    "cos": np.cos,
    "cosh": np.cosh,
    "deg": lambda x: x * 180 / np.pi,
    "exp": np.exp,
    "floor": np.floor,
    "ln": np.log,
    "log10": np.log10,
    "log2": np.log2,
    "rad": lambda x: x * np.pi / 180,
    "sgn": _sign,
    "sin": np.sin,
    "sinh": np.sinh,
    "sqrt": np.sqrt,
    "tan": np.tan,
    "tanh": np.tanh,
}


def map_floats(vector: Vector, function: Callable[[Floats], Floats]) -> Vector:
    """The function of every float sample; histograms go."""
    with np.errstate(all="ignore"):
        values = np.ascontiguousarray(function(vector.values))
    return _floats(vector, values)


def _floats(vector: Vector, values: Floats) -> Vector:
    mapped = Vector.of_floats(vector.labels, values, vector.float_mask, vector.drop)
    return mapped if vector.is_histogram is None else mapped.without_empty()


def round_to(vector: Vector, nearest: Floats) -> Vector:
    """round(v, nearest[j]): halves go up."""
    with np.errstate(all="ignore"):
        inverse = 1.0 / nearest
        values = np.floor(vector.values * inverse + 0.5) / inverse
    return _floats(vector, values)


def clamp(vector: Vector, low: Floats, high: Floats) -> Vector:
    """Bounded by low[j] and high[j]; nothing at steps where they are crossed. NaN bounds give NaN."""
    with np.errstate(all="ignore"):
        values = np.maximum(low, np.minimum(high, vector.values))
    clamped = _floats(vector, values)
    return clamped.with_mask(clamped.mask & ~(high < low)).without_empty()


def _calendar(seconds: Floats) -> tuple[Any, Any, Any]:
    """Whole seconds since 1970, the day they fall on, and the month of that day."""
    whole = np.trunc(np.nan_to_num(seconds, nan=0.0, posinf=0.0, neginf=0.0))
    stamps = np.clip(whole, -6e10, 2.5e11).astype(np.int64).astype("datetime64[s]")
    days = stamps.astype("datetime64[D]")
    return stamps, days, days.astype("datetime64[M]")


def _float(values: Any) -> Floats:
    return np.asarray(values.astype(np.float64))


def _within(seconds: Floats, unit: str, coarse: str) -> Floats:
    stamps, _, _ = _calendar(seconds)
    fine = stamps.astype(f"datetime64[{unit}]")
    return _float(fine - stamps.astype(f"datetime64[{coarse}]").astype(f"datetime64[{unit}]"))


def _days_in_month(seconds: Floats) -> Floats:
    _, _, months = _calendar(seconds)
    return _float((months + np.timedelta64(1, "M")).astype("datetime64[D]") - months.astype("datetime64[D]"))


def _day_of_month(seconds: Floats) -> Floats:
    _, days, months = _calendar(seconds)
    return _float(days - months.astype("datetime64[D]")) + 1


def _day_of_year(seconds: Floats) -> Floats:
    _, days, _ = _calendar(seconds)
    return _float(days - days.astype("datetime64[Y]").astype("datetime64[D]")) + 1


def _day_of_week(seconds: Floats) -> Floats:
    _, days, _ = _calendar(seconds)
    return _float((days.astype(np.int64) + 4) % 7)


def _month(seconds: Floats) -> Floats:
    _, _, months = _calendar(seconds)
    return _float(months.astype(np.int64) % 12) + 1


def _year(seconds: Floats) -> Floats:
    _, days, _ = _calendar(seconds)
    return _float(days.astype("datetime64[Y]").astype(np.int64)) + 1970


DATE_FUNCTIONS: Final[dict[str, Callable[[Floats], Floats]]] = {
    "days_in_month": _days_in_month,
    "day_of_month": _day_of_month,
    "day_of_week": _day_of_week,
    "day_of_year": _day_of_year,
    "hour": lambda s: _within(s, "h", "D"),
    "minute": lambda s: _within(s, "m", "h"),
    "month": _month,
    "year": _year,
}
