"""What the proxy did for each service: requests, the tries they took, what it refused, whom it ejected.

From Envoy's own statistics and Istio's, which a rehearsal scrapes from Envoy and a simulation writes itself.
"""

from __future__ import annotations

from collections.abc import Mapping

from wavetank.analysis.query import Query, Series
from wavetank.analysis.slo import align
from wavetank.errors import WavetankError
from wavetank.mesh.translate.names import parse_cluster_name
from wavetank.rehearsal.outcome.timeline import Axis
from wavetank.rehearsal.report.model import Service

__all__ = ["services_over_time"]

_COUNTS: Mapping[str, str] = {
    "tries": "envoy_cluster_upstream_rq_total",
    "retries": "envoy_cluster_upstream_rq_retry",
    "retries_refused": "envoy_cluster_upstream_rq_retry_overflow",
    "overflows": "envoy_cluster_upstream_rq_pending_overflow",
    "ejections": "envoy_cluster_outlier_detection_ejections_enforced_total",
}
#: Of rates, in seconds, where the axis is finer.
_WINDOW_LEAST = 15


async def services_over_time(query: Query | None, axis: Axis, end: float) -> tuple[Service, ...]:
    """By name; none where the monitoring is gone or no request was sent."""
    if query is None or axis.count == 0:
        return ()
    try:
        return await _services(query, axis, end)
    except WavetankError:
        return ()


async def _services(query: Query, axis: Axis, end: float) -> tuple[Service, ...]:
    requests = _named(await query.instant(_requests(""), end))
    failures = _named(await query.instant(_requests(', response_code=~"5.."'), end))
    counts = {key: _named(await query.instant(_clusters(name), end)) for key, name in _COUNTS.items()}
    window = f"[{max(_WINDOW_LEAST, round(1.5 * axis.step))}s]"

    async def over_time(expr: str) -> dict[str, list[Series]]:
        return _named(await query.range(expr, axis.times[0], axis.times[-1], axis.step))

    rates = await over_time(_requests("", window))
    failing = await over_time(_requests(', response_code=~"5.."', window))
    tries = await over_time(_clusters(_COUNTS["tries"], window))
    ejected = await over_time(_clusters("envoy_cluster_outlier_detection_ejections_active"))
    return tuple(
        Service(
            name=name,
            requests=_last(requests[name]),
            failures=_last(failures.get(name, [])),
            **{key: _last(found.get(name, [])) for key, found in counts.items()},
            requests_rps=tuple(align(rates.get(name, []), axis.times)),
            failed_rps=tuple(align(failing.get(name, []), axis.times)),
            tries_rps=tuple(align(tries.get(name, []), axis.times)),
            ejected=tuple(align(ejected.get(name, []), axis.times)),
        )
        for name in sorted(requests)
    )


def _requests(more: str, window: str = "") -> str:
    selector = f'istio_requests_total{{reporter="source"{more}}}'
    value = f"rate({selector}{window})" if window else selector
    return f"sum by (destination_service_name, destination_service_namespace) ({value})"


def _clusters(name: str, window: str = "") -> str:
    selector = f'{name}{{envoy_cluster_name=~"outbound.*"}}'
    value = f"rate({selector}{window})" if window else selector
    return f"sum by (envoy_cluster_name) ({value})"


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
        parsed = parse_cluster_name(labels["envoy_cluster_name"])
        if parsed is None:
            return ""
        service, _, rest = parsed[2].partition(".")
        return f"{rest.partition('.')[0]}/{service}"
    service = labels.get("destination_service_name", "")
    return f"{labels.get('destination_service_namespace', '')}/{service}" if service else ""


def _last(found: list[Series]) -> int:
    return round(sum(series.values[-1] for series in found if series.values))
