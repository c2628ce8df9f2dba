"""Query results in the JSON of the HTTP API.

Follows the format of docs/querying/api.md: times in seconds with milliseconds, values as text.
"""

from __future__ import annotations

from typing import Any

import msgspec

from wavetank.model.quoting import format_float_f
from wavetank.promql.result import Result

__all__ = ["render_result"]


def _time(ms: int) -> msgspec.Raw:
    whole, rest = divmod(ms, 1000)
    return msgspec.Raw(f"{whole}.{rest:03d}".encode() if rest else str(whole).encode())


def _pair(ms: int, value: float) -> list[Any]:
    return [_time(ms), format_float_f(value)]


def render_result(result: Result, limit: int = 0) -> bytes:
    """``{"resultType": ..., "result": ...}``; at most ``limit`` series unless it is 0."""
    shown: Any
    match result.type:
        case "scalar":
            shown = _pair(int(result.steps[0]), result.scalar)
        case "string":
            shown = [_time(int(result.steps[0])), result.text]
        case "vector":
            shown = [
                {"metric": labels.to_dict(), "value": _pair(ms, value)}
                for labels, ms, value in result.vector()
                if isinstance(value, float)
            ]
        case _:
            shown = [
                {
                    "metric": labels.to_dict(),
                    "values": [_pair(ms, v) for ms, v in zip(times.tolist(), values.tolist(), strict=True)],
                }
                for labels, times, values, _ in result.series()
            ]
    if limit and result.type in ("vector", "matrix"):
        shown = shown[:limit]
    return msgspec.json.encode({"resultType": result.type, "result": shown})
