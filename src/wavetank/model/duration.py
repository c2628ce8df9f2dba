"""Durations as Prometheus writes them: ``1y2w3d4h5m6s7ms``.

Mirrors ``model.Duration`` of prometheus/common: units from the largest to the smallest, each at most once,
no signs and no fractions; the bare ``0`` is allowed. Values are milliseconds.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["format_duration", "parse_duration"]

_UNITS_MS: Final = {
    "y": 365 * 86_400_000,
    "w": 7 * 86_400_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1_000,
    "ms": 1,
}
_RANK: Final = {unit: rank for rank, unit in enumerate(_UNITS_MS)}
_PART = re.compile(r"([0-9]+)([^0-9]+)")
_MAX_MS: Final = (2**63 - 1) // 1_000_000  # upstream counts nanoseconds in an int64


def parse_duration(text: str) -> int:
    """Milliseconds. Raises ValueError with upstream's text."""
    if text == "0":
        return 0
    if text == "":
        raise ValueError("empty duration string")
    total, at, rank = 0, 0, -1
    while at < len(text):
        part = _PART.match(text, at)
        if part is None:
            raise ValueError(f'not a valid duration string: "{text}"')
        unit = part[2]
        if unit not in _UNITS_MS:
            raise ValueError(f'unknown unit "{unit}" in duration "{text}"')
        if _RANK[unit] <= rank:
            raise ValueError(f'not a valid duration string: "{text}"')
        rank = _RANK[unit]
        total += int(part[1][:20]) * _UNITS_MS[unit]
        if total > _MAX_MS or len(part[1]) > 20:
            raise ValueError("duration out of range")
        at = part.end()
    return total


def format_duration(ms: int) -> str:
    """The shortest form upstream prints; years and weeks only where they divide evenly."""
    if ms == 0:
        return "0s"
    if ms < 0:
        return "-" + format_duration(-ms)
    out = []
    for unit, size in _UNITS_MS.items():
        if unit in ("y", "w") and ms % size != 0:
            continue
        count, ms = divmod(ms, size)
        if count:
            out.append(f"{count}{unit}")
    return "".join(out)
