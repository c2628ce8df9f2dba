"""Per-route settings of HTTP filters: fault injection and CORS. Mirrors ``core/route/route.go``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wavetank.mesh.durations import proto_duration
from wavetank.mesh.translate.matches import string_match
from wavetank.mesh.translate.names import typed

__all__ = ["CORS_FILTER", "FAULT_FILTER", "fraction", "per_route_filters"]

FAULT_FILTER = "envoy.filters.http.fault"
CORS_FILTER = "envoy.filters.http.cors"


def fraction(percentage: Mapping[str, Any] | None, *, absent: float) -> dict[str, Any]:
    """A FractionalPercent in millionths; a percentage that is not given means ``absent`` per cent."""
    percent = absent if percentage is None else float(percentage.get("value") or 0.0)
    return {"numerator": round(percent * 10_000), "denominator": "MILLION"}


def per_route_filters(http: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    if http.get("fault"):
        result[FAULT_FILTER] = _fault(http["fault"])
    if http.get("corsPolicy") is not None:
        result[CORS_FILTER] = _cors(http["corsPolicy"])
    return result


def _fault(fault: Mapping[str, Any]) -> dict[str, Any]:
    """Faults come before the router: neither retries nor the timeout apply to them (istio/istio#20928)."""
    result = typed("envoy.extensions.filters.http.fault.v3.HTTPFault")
    delay, abort = fault.get("delay"), fault.get("abort")
    if delay:
        result["delay"] = {
            "fixed_delay": proto_duration(delay["fixedDelay"]),
            "percentage": _fault_share(delay),
        }
    if abort:
        result["abort"] = {"percentage": _fault_share(abort)}
        if abort.get("grpcStatus"):
            result["abort"]["grpc_status"] = _GRPC_CODES[str(abort["grpcStatus"]).upper()]
        else:
            result["abort"]["http_status"] = abort["httpStatus"]
    return result


_GRPC_NAMES = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
    "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
_GRPC_CODES = {name: code for code, name in enumerate(_GRPC_NAMES)}


def _fault_share(fault: Mapping[str, Any]) -> dict[str, Any]:
    if fault.get("percentage") is None and fault.get("percent"):
        return {"numerator": int(fault["percent"]), "denominator": "HUNDRED"}  # the deprecated field
    return fraction(fault.get("percentage"), absent=0.0)


def _cors(cors: Mapping[str, Any]) -> dict[str, Any]:
    origins = [string_match(origin) for origin in cors.get("allowOrigins") or ()]
    origins += [{"exact": origin} for origin in cors.get("allowOrigin") or ()]
    result = typed(
        "envoy.extensions.filters.http.cors.v3.CorsPolicy",
        allow_origin_string_match=origins,
        allow_methods=",".join(cors.get("allowMethods") or ()),
        allow_headers=",".join(cors.get("allowHeaders") or ()),
        expose_headers=",".join(cors.get("exposeHeaders") or ()),
        filter_enabled={"default_value": {"numerator": 100}},
        forward_not_matching_preflights=cors.get("unmatchedPreflights") != "IGNORE",
    )
    if cors.get("maxAge"):
        result["max_age"] = proto_duration(cors["maxAge"]).removesuffix("s").partition(".")[0]
    if cors.get("allowCredentials") is not None:
        result["allow_credentials"] = bool(cors["allowCredentials"])
    return result
