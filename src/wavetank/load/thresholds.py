"""Thresholds on a whole run, in k6's words: ``p(99)<300ms``, ``failures<1%``, ``rps>=50@/checkout``.

The left side is ``p(N)``, ``avg``, ``med``, ``min`` or ``max`` of response time from the intended start,
``failures`` (a share), ``rps``, ``requests`` or ``dropped``; ``@name`` restricts it to one request name.
Durations without a unit are milliseconds, as in k6.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from wavetank.errors import InputError, did_you_mean
from wavetank.load.histogram import LogHistogram
from wavetank.load.results import Snapshot

__all__ = ["Threshold", "Verdict", "judge", "parse_threshold"]

_COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_TEXT = re.compile(
    r"\s*(?P<metric>[a-z]+)\s*(?:\(\s*(?P<percent>\d+(?:\.\d+)?)\s*\))?\s*(?P<compare><=|>=|<|>)"
    r"\s*(?P<bound>\d+(?:\.\d+)?)\s*(?P<unit>ms|s|%)?\s*(?:@\s*(?P<name>\S.*?)\s*)?"
)
_DURATIONS = ("p", "avg", "med", "min", "max")
_COUNTS = ("failures", "rps", "requests", "dropped")


@dataclass(frozen=True, slots=True)
class Threshold:
    """``bound`` in seconds, a share, or a count, as the metric is."""

    text: str
    metric: str
    percent: float
    compare: str
    bound: float
    name: str | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """NaN when there was nothing to judge, which does not pass."""

    threshold: Threshold
    value: float
    ok: bool


def parse_threshold(text: str) -> Threshold:
    """Raises InputError for what does not parse."""
    found = _TEXT.fullmatch(text)
    if found is None:
        raise InputError(f"{text!r} is not a threshold", fix="write p(99)<300ms or failures<1%")
    metric, unit = found["metric"], found["unit"]
    if metric not in (*_DURATIONS, *_COUNTS):
        raise InputError(
            f"unknown metric {metric!r} in {text!r}", fix=did_you_mean(metric, (*_DURATIONS, *_COUNTS))
        )
    percent = float(found["percent"]) if found["percent"] else math.nan
    if (metric == "p") != (not math.isnan(percent)) or percent > 100:
        raise InputError(f"{text!r} needs a percentile from 0 to 100 after p, and only there", fix="p(99)")
    bound = float(found["bound"])
    if metric in _DURATIONS:
        if unit == "%":
            raise InputError(f"a duration is not a share in {text!r}", fix="use ms or s")
        bound = bound if unit == "s" else bound / 1000
    elif unit in ("ms", "s") or (unit == "%" and metric != "failures"):
        raise InputError(f"unit {unit!r} does not fit {metric} in {text!r}")
    elif unit == "%":
        bound /= 100
    if metric == "dropped" and found["name"]:
        raise InputError(f"dropped arrivals have no request name in {text!r}")
    return Threshold(text.strip(), metric, percent, found["compare"], bound, found["name"])


def judge(threshold: Threshold, snapshot: Snapshot, elapsed_seconds: float) -> Verdict:
    """The threshold's value over the whole run."""
    value = _value(threshold, snapshot, elapsed_seconds)
    return Verdict(threshold, value, _COMPARE[threshold.compare](value, threshold.bound))


def _value(threshold: Threshold, snapshot: Snapshot, elapsed_seconds: float) -> float:
    response, requests, failures = LogHistogram(), 0, 0
    for (_, name, _), entry in snapshot.entries.items():
        if threshold.name in (None, name):
            response.merge(entry.response)
            requests += entry.requests
            failures += entry.failures
    match threshold.metric:
        case "p":
            return response.percentile(threshold.percent)
        case "avg":
            return response.mean
        case "med":
            return response.percentile(50)
        case "min":
            return response.least if response.count else math.nan
        case "max":
            return response.greatest if response.count else math.nan
        case "failures":
            return failures / requests if requests else math.nan
        case "rps":
            return requests / elapsed_seconds if elapsed_seconds > 0 else math.nan
        case "requests":
            return float(requests)
        case _:
            return float(snapshot.dropped)
