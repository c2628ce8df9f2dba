"""Which of several HTTPRoute matches wins: the order the Gateway API sets, unlike a VirtualService's.

Gateway API specification, HTTPRouteRule.matches: exact path, then the longest prefix, then (Istio) regular
expressions; then a method; then the number of header matches; then of query parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["precedence"]


def precedence(http: Mapping[str, Any]) -> tuple[int, int, int, int, int]:
    """A sort key, smallest first, of an ``http[]`` rule that has at most one match."""
    match: Mapping[str, Any] = (http.get("match") or ({},))[0]
    uri = match.get("uri") or {}
    kind, length = _path(uri)
    return (
        kind,
        -length,
        0 if match.get("method") else 1,
        -len(match.get("headers") or ()),
        -len(match.get("queryParams") or ()),
    )


def _path(uri: Mapping[str, Any]) -> tuple[int, int]:
    if "exact" in uri:
        return 0, len(uri["exact"])
    if "regex" in uri:
        return 2, len(uri["regex"])
    return (1, len(uri["prefix"])) if "prefix" in uri else (3, 0)
