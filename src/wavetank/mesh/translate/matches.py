"""``http[].match[]`` to Envoy's RouteMatch. Mirrors istio/istio ``core/route/route.go`` TranslateRouteMatch.

``prefix`` is a plain string prefix: ``/foo`` matches ``/foobar``. Only routes made from the Gateway API match
whole path elements. Regular expressions match the whole value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["is_catch_all", "route_match", "string_match"]

_PSEUDO_HEADERS = (("method", ":method"), ("authority", ":authority"), ("scheme", ":scheme"))


def route_match(match: Mapping[str, Any] | None, *, gateway_semantics: bool = False) -> dict[str, Any]:
    """The matcher of one match entry; None (no ``match`` at all) takes every request."""
    if match is None:
        return {"prefix": "/"}
    result = _path(match.get("uri") or {}, gateway_semantics)
    if match.get("ignoreUriCase") and "safe_regex" not in result:
        result["case_sensitive"] = False
    headers = [_header(name, m) for name, m in sorted((match.get("headers") or {}).items())]
    for name, m in sorted((match.get("withoutHeaders") or {}).items()):
        headers.append(_without(name, m))
    for field, pseudo in _PSEUDO_HEADERS:
        if match.get(field):
            headers.append({"name": pseudo, "string_match": string_match(match[field])})
    if headers:
        result["headers"] = headers
    params = [_query(name, m) for name, m in sorted((match.get("queryParams") or {}).items())]
    if params:
        result["query_parameters"] = params
    return result


def _path(uri: Mapping[str, Any], gateway_semantics: bool) -> dict[str, Any]:
    if "exact" in uri:
        return {"path": uri["exact"]}
    if "regex" in uri:
        return {"safe_regex": {"regex": uri["regex"]}}
    prefix = uri.get("prefix") or "/"
    if gateway_semantics and prefix != "/":
        return {"path_separated_prefix": prefix.rstrip("/")}
    return {"prefix": prefix}


def string_match(match: Mapping[str, Any]) -> dict[str, Any]:
    """A StringMatcher of Istio's StringMatch."""
    if "exact" in match:
        return {"exact": match["exact"]}
    if "prefix" in match:
        return {"prefix": match["prefix"]}
    return {"safe_regex": {"regex": match.get("regex", "")}}


def _is_presence(match: Mapping[str, Any] | None) -> bool:
    return not match or match.get("regex") == "*"


def _header(name: str, match: Mapping[str, Any] | None) -> dict[str, Any]:
    if match is None or _is_presence(match):
        return {"name": name, "present_match": True}
    return {"name": name, "string_match": string_match(match)}


def _without(name: str, match: Mapping[str, Any] | None) -> dict[str, Any]:
    result = {**_header(name, match), "invert_match": True}
    if "present_match" not in result:
        # A header that is absent does not have the value either: istio/istio#49537.
        result["treat_missing_header_as_empty"] = True
    return result


def _query(name: str, match: Mapping[str, Any] | None) -> dict[str, Any]:
    if match is None or _is_presence(match):
        return {"name": name, "present_match": True}
    return {"name": name, "string_match": string_match(match)}


def is_catch_all(match: Mapping[str, Any]) -> bool:
    """Whether a RouteMatch takes every request, so that no later route of the host can be reached."""
    if match.get("headers") or match.get("query_parameters"):
        return False
    return match.get("prefix") == "/" or match.get("safe_regex", {}).get("regex") in (".*", "/.*")
