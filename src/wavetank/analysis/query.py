"""The seam to whatever answers PromQL: our engine in process, or any Prometheus HTTP API.

Times are Unix seconds. Grafana's macros ``$__range``, ``$__interval`` and ``$__rate_interval`` may stand in
an expression where a duration may; ``expand`` fills them in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Query", "Series", "expand", "uses_range"]

_MACRO = re.compile(r"\$(?:__(range|interval|rate_interval)\b|\{__(range|interval|rate_interval)\})")


@dataclass(frozen=True, slots=True)
class Series:
    """One series of a result: ``times`` and ``values`` of equal length."""

    labels: Mapping[str, str]
    times: Sequence[float]
    values: Sequence[float]


class Query(Protocol):
    async def instant(self, expr: str, at: float) -> list[Series]:
        """One sample a series; a scalar is one series without labels."""
        ...

    async def range(self, expr: str, start: float, end: float, step: float) -> list[Series]: ...


def uses_range(expr: str) -> bool:
    """Whether the expression is about the whole run: it names ``$__range``."""
    return any("range" in match.groups() for match in _MACRO.finditer(expr))


def expand(expr: str, *, range_seconds: float, interval_seconds: float) -> str:
    """Fill in the macros; ``$__rate_interval`` is four intervals, as in Grafana."""
    seconds = {
        "range": range_seconds,
        "interval": interval_seconds,
        "rate_interval": 4 * interval_seconds,
    }
    return _MACRO.sub(lambda m: f"{max(1, round(seconds[m.group(1) or m.group(2)] * 1000))}ms", expr)
