"""What the proxy did for each service: requests, the tries they took, what it refused, whom it ejected.

From Envoy's own statistics and Istio's, which a rehearsal scrapes from Envoy and a simulation writes itself.
Envoy takes a cluster's name to end at its first dot, so that the namespace stands in the metric's name:
``envoy_cluster_shop_svc_cluster_local_upstream_rq_total{envoy_cluster_name="outbound|80||cart"}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from wavetank.analysis.query import Query, Series
from wavetank.analysis.slo import align
from wavetank.errors import WavetankError
from wavetank.rehearsal.outcome.timeline import Axis
from wavetank.rehearsal.report.model import Service

__all__ = ["services_over_time"]

#: Of what Envoy counts for each cluster.
_COUNTS: Mapping[str, str] = {
    "tries": "upstream_rq_total",
    "retries": "upstream_rq_retry",
    "retries_refused": "upstream_rq_retry_overflow",
    "overflows": "upstream_rq_pending_overflow",
    "ejections": "outlier_detection_ejections_enforced_total",
}
_EJECTED: Final = "outlier_detection_ejections_active"
_INFIX: Final = "_svc_cluster_local_"
#: Of rates, in seconds, where the axis is finer.
_WINDOW_LEAST: Final = 15.0

Values = tuple[float | None, ...]


async def services_over_time(query: Query | None, axis: Axis, end: float) -> tuple[Service, ...]:
    """By name; none where the monitoring is gone or no request was sent."""
    if query is None or axis.count == 0:
        return ()
    try:
        return await _services(query, axis, end)
    except WavetankError:
        return ()


async def _services(query: Query, axis: Axis, end: float) -> tuple[Service, ...]:
    async def over_time(expr: str) -> dict[str, Values]:
        found = _named(await query.range(expr, axis.times[0], axis.times[-1], axis.step))
        return {name: tuple(align(series, axis.times)) for name, series in found.items()}

    async def now(expr: str) -> dict[str, int]:
        found = _named(await query.instant(expr, end))
        return {name: round(sum(s.values[-1] for s in series if s.values)) for name, series in found.items()}

    failing = ', response_code=~"5.."'
    requests, failures = await now(_requests("")), await now(_requests(failing))
    counts = {key: await now(_clusters(stat)) for key, stat in _COUNTS.items()}
    rates, failed = await over_time(_requests("")), await over_time(_requests(failing))
    tries, ejected = await over_time(_clusters(_COUNTS["tries"])), await over_time(_clusters(_EJECTED))
    return tuple(
        Service(
            name=name,
            requests=requests[name],
            failures=failures.get(name, 0),
            **{key: found.get(name, 0) for key, found in counts.items()},
            requests_rps=_rates(rates.get(name, ()), axis),
            failed_rps=_rates(failed.get(name, ()), axis),
            tries_rps=_rates(tries.get(name, ()), axis),
            ejected=ejected.get(name, ()),
        )
        for name in sorted(requests)
    )


def _requests(more: str) -> str:
    selector = f'istio_requests_total{{reporter="source"{more}}}'
    return f"sum by (destination_service_name, destination_service_namespace) ({selector})"


def _clusters(stat: str) -> str:
    name = f"envoy_cluster_.+{_INFIX}{stat}"
    selector = f'{{__name__=~"{name}", envoy_cluster_name=~"outbound.*"}}'
    return f"sum by (__name__, envoy_cluster_name) ({selector})"


def _rates(counter: Values, axis: Axis) -> Values:
    """A second, over a window that ends at each entry; the names of counters that a rate would drop are part
    of what they say."""
    back = max(1, round(_WINDOW_LEAST / axis.step))
    found: list[float | None] = []
    for i, value in enumerate(counter):
        before = next((v for v in counter[max(0, i - back) : i] if v is not None), None)
        if value is None or before is None:
            found.append(None)
            continue
        first = next(j for j in range(max(0, i - back), i) if counter[j] is not None)
        found.append(max(0.0, value - before) / ((i - first) * axis.step))
    return tuple(found)


def _named(found: list[Series]) -> dict[str, list[Series]]:
    """By "namespace/service"; a service's ports and subsets are added up."""
    named: dict[str, list[Series]] = {}
    for series in found:
        name = _name(series.labels)
        if name:
            named.setdefault(name, []).append(series)
    return named


def _name(labels: Mapping[str, str]) -> str:
    if "envoy_cluster_name" in labels:
        service = labels["envoy_cluster_name"].rpartition("|")[2]
        namespace = labels["__name__"].removeprefix("envoy_cluster_").partition(_INFIX)[0]
    else:
        service = labels.get("destination_service_name", "")
        # As in a metric's name, to be found beside it.
        namespace = labels.get("destination_service_namespace", "").replace("-", "_")
    return f"{namespace}/{service}" if service and service != "unknown" else ""
