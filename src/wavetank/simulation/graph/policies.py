"""Envoy's routes and clusters, as the mesh translates them, in numbers for the kernel.

Nothing of Istio is read here: the input is the JSON that an Envoy would get. Meanings are Envoy's, from its
documentation and source: what each token of ``retry_on`` takes for a failure, that an overflow is never
retried, that outlier detection counts a timeout as a 5xx, and the defaults where a field is missing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from wavetank.simulation.kernels import LEAST_REQUEST, RANDOM, ROUND_ROBIN

__all__ = [
    "ANSWERS", "BAD", "ERROR", "OK", "OVERFLOW", "REFUSED", "RESET", "TIMEOUT", "UNHEALTHY", "ClusterPolicy",
    "RoutePolicy", "cluster_policy", "route_policy",
]  # fmt: skip

# How a request can end, as (response code, Envoy's response flag).
OK, ERROR, BAD, TIMEOUT, UNHEALTHY, OVERFLOW, REFUSED, RESET = range(8)
ANSWERS: Final = (
    ("200", "-"), ("500", "-"), ("503", "-"), ("504", "UT"), ("503", "UH"), ("503", "UO"), ("503", "UF"),
    ("503", "UC"),
)  # fmt: skip

_NO_LIMIT: Final = 4_294_967_295
_BALANCERS = {"ROUND_ROBIN": ROUND_ROBIN, "RANDOM": RANDOM, "LEAST_REQUEST": LEAST_REQUEST}
_GATEWAY_ERRORS = (BAD, TIMEOUT, REFUSED, RESET)
_NO_RESPONSE = (TIMEOUT, REFUSED, RESET)
#: retry_on -> the ends of a try that are tried again. ``TIMEOUT`` is that of a try, never the route's.
_RETRIED: Mapping[str, tuple[int, ...]] = {
    "5xx": (ERROR, *_GATEWAY_ERRORS),
    "gateway-error": _GATEWAY_ERRORS,
    "reset": _NO_RESPONSE,
    "connect-failure": (REFUSED,),
}
_BY_STATUS: Mapping[int, int] = {500: ERROR, 503: BAD}


@dataclass(frozen=True, slots=True)
class RoutePolicy:
    """One route. Seconds, infinite where there is no timeout; ``retry_on`` has a bit for each answer that is
    tried again; ``clusters`` are (name, weight)."""

    clusters: tuple[tuple[str, float], ...]
    timeout: float = math.inf
    retries: int = 0
    retry_on: int = 0
    try_timeout: float = math.inf
    backoff: float = 0.025
    backoff_max: float = 0.25
    other_host: bool = False

    @property
    def asks_for_retries(self) -> bool:
        """Whether more is tried again than a connection that fails, which is Istio's default."""
        return self.retries > 0 and self.retry_on & ~(1 << REFUSED) != 0


@dataclass(frozen=True, slots=True)
class ClusterPolicy:
    """One cluster. ``http2``: streams share connections, so that neither connections nor waiting for one
    bound anything. ``errors`` and ``gateway_errors``: so many in a row eject a host, 0 is never."""

    balancer: int = LEAST_REQUEST
    http2: bool = False
    connections_max: int = _NO_LIMIT
    pending_max: int = _NO_LIMIT
    requests_max: int = _NO_LIMIT
    retries_max: int = _NO_LIMIT
    budget_percent: float = -1.0
    budget_least: int = 0
    errors: int = 0
    gateway_errors: int = 0
    local_errors: int = 0
    split: bool = False
    error_answers: int = 0
    interval: float = 10.0
    ejection: float = 30.0
    ejection_max: float = 300.0
    ejected_percent_max: float = 10.0
    panic_percent: float = 0.0

    @property
    def ejects(self) -> bool:
        return self.errors > 0 or self.gateway_errors > 0 or self.local_errors > 0

    @property
    def breaks(self) -> bool:
        """Whether anything of it is less than Istio's default, which bounds nothing."""
        bounds = (self.connections_max, self.pending_max, self.requests_max, self.retries_max)
        return min(bounds) < _NO_LIMIT or self.budget_percent >= 0 or self.ejects


def _seconds(text: object, absent: float) -> float:
    """Of protobuf's JSON form, ``0.25s``."""
    return absent if text is None else float(str(text)[:-1])


def _bits(answers: tuple[int, ...]) -> int:
    return sum(1 << answer for answer in set(answers))


def route_policy(action: Mapping[str, Any]) -> RoutePolicy:
    """Of a route's ``route`` action."""
    if "cluster" in action:
        clusters: tuple[tuple[str, float], ...] = ((action["cluster"], 1.0),)
    else:
        clusters = tuple((c["name"], float(c["weight"])) for c in action["weighted_clusters"]["clusters"])
    timeout = _seconds(action.get("timeout"), 15.0) or math.inf
    retry = action.get("retry_policy")
    if not retry:
        return RoutePolicy(clusters, timeout)
    back_off = retry.get("retry_back_off") or {}
    base = max(0.001, _seconds(back_off.get("base_interval"), 0.025))
    return RoutePolicy(
        clusters=clusters,
        timeout=timeout,
        retries=int(retry["num_retries"]),
        retry_on=_retry_on(retry),
        try_timeout=_seconds(retry.get("per_try_timeout"), 0.0) or math.inf,
        backoff=base,
        backoff_max=_seconds(back_off.get("max_interval"), 10 * base),
        other_host="retry_host_predicate" in retry,
    )


def _retry_on(retry: Mapping[str, Any]) -> int:
    found: tuple[int, ...] = ()
    for token in retry["retry_on"].split(","):
        found += _RETRIED.get(token, ())
        if token == "retriable-status-codes":
            codes = retry.get("retriable_status_codes") or ()
            found += tuple(_BY_STATUS[code] for code in codes if code in _BY_STATUS)
    return _bits(found)


def cluster_policy(cluster: Mapping[str, Any]) -> ClusterPolicy:
    """Of a cluster as ``wavetank.mesh.translate`` makes it."""
    (threshold,) = cluster["circuit_breakers"]["thresholds"]
    budget = threshold.get("retry_budget")
    options: Mapping[str, Any] = next(
        iter((cluster.get("typed_extension_protocol_options") or {}).values()), {}
    )
    return ClusterPolicy(
        balancer=_BALANCERS.get(cluster.get("lb_policy", "LEAST_REQUEST"), LEAST_REQUEST),
        http2="http2_protocol_options" in (options.get("explicit_http_config") or {}),
        connections_max=int(threshold.get("max_connections", _NO_LIMIT)),
        pending_max=int(threshold.get("max_pending_requests", _NO_LIMIT)),
        requests_max=int(threshold.get("max_requests", _NO_LIMIT)),
        retries_max=int(threshold.get("max_retries", _NO_LIMIT)),
        budget_percent=float(budget["budget_percent"]["value"]) if budget else -1.0,
        budget_least=int(budget["min_retry_concurrency"]) if budget else 0,
        panic_percent=float(
            ((cluster.get("common_lb_config") or {}).get("healthy_panic_threshold") or {}).get("value", 50.0)
        ),
        **_ejection(cluster.get("outlier_detection"), options),
    )


def _ejection(outlier: Mapping[str, Any] | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Envoy's defaults: five 5xx in a row eject, gateway errors do not unless they are named."""
    if outlier is None:
        return {}
    ejection = _seconds(outlier.get("base_ejection_time"), 30.0)
    matcher = (options.get("outlier_detection") or {}).get("error_matcher")
    answers: tuple[int, ...] = (ERROR, *_GATEWAY_ERRORS)
    if matcher is not None:
        pattern = matcher["http_response_headers_match"]["headers"][0]["string_match"]["safe_regex"]["regex"]
        codes = {int(code) for code in pattern.split("|")}
        answers = (*(a for code, a in _BY_STATUS.items() if code in codes), *_NO_RESPONSE)
    return {
        "errors": _enforced(outlier, "consecutive_5xx", 5, 100),
        "gateway_errors": _enforced(outlier, "consecutive_gateway_failure", 5, 0),
        "local_errors": _enforced(outlier, "consecutive_local_origin_failure", 5, 100),
        "split": bool(outlier.get("split_external_local_origin_errors")),
        "error_answers": _bits(answers),
        "interval": _seconds(outlier.get("interval"), 10.0),
        "ejection": ejection,
        "ejection_max": max(ejection, _seconds(outlier.get("max_ejection_time"), 300.0)),
        "ejected_percent_max": float(outlier.get("max_ejection_percent", 10)),
    }


def _enforced(outlier: Mapping[str, Any], name: str, count: int, percent: int) -> int:
    if not outlier.get(f"enforcing_{name}", percent):
        return 0
    return int(outlier.get(name, count))
