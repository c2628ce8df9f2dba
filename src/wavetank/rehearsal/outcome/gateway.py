"""The load of a tank that somebody else drives: what the gateway's own counters say of it.

A standing tank may get its load from `wavetank load`, from curl or from a real client: then there are no rows
of a generator, and the gateway is the one who knows.
"""

from __future__ import annotations

import math

from wavetank.analysis.query import Query
from wavetank.rehearsal.outcome.record import LoadSecond
from wavetank.rehearsal.outcome.timeline import Axis

__all__ = ["gateway_load"]

#: Counters are scraped every few seconds; a shorter window would see one sample only.
WINDOW_SECONDS_MIN = 15


async def gateway_load(query: Query, axis: Axis) -> list[LoadSecond]:
    """One row a step of the axis that saw requests. Raises WavetankError where the query fails."""
    window = f"[{max(WINDOW_SECONDS_MIN, round(axis.step))}s]"
    rate = await _values(query, axis, f"sum(rate(istio_requests_total{window}))")
    failed = await _values(query, axis, f'sum(rate(istio_requests_total{{response_code=~"5..|0"}}{window}))')
    late = {
        name: await _values(
            query,
            axis,
            f"histogram_quantile({quantile}, sum by (le) "
            f"(rate(istio_request_duration_milliseconds_bucket{window}))) / 1000",
        )
        for name, quantile in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    }
    rows = []
    for i, per_second in sorted(rate.items()):
        if per_second > 0:
            requests, failures = round(per_second * axis.step), round(failed.get(i, 0.0) * axis.step)
            at = math.floor(axis.origin + axis.step * (i + 0.5))
            rows.append(
                LoadSecond(
                    second=at,
                    started=requests,
                    requests=requests,
                    failures=failures,
                    p50=late["p50"].get(i),
                    p95=late["p95"].get(i),
                    p99=late["p99"].get(i),
                )
            )
    return rows


async def _values(query: Query, axis: Axis, expr: str) -> dict[int, float]:
    """By entry of the axis; what is not a number is left out."""
    times = axis.times
    found = await query.range(expr, times[0], times[-1], axis.step)
    pairs = zip(found[0].times, found[0].values, strict=True) if found else ()
    return {round((at - times[0]) / axis.step): value for at, value in pairs if not math.isnan(value)}
