"""Delegation: a root VirtualService hands paths to others, which are merged in at generation.

Mirrors istio/istio ``model/virtualservice.go`` mergeVirtualServicesIfNeeded. One level only. The delegate's
match must be narrower than the root's; where the two contradict each other the pair is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wavetank.mesh.model import Config, World

__all__ = ["merged_http", "merged_match"]

_EXACT_FIELDS = ("method", "authority", "scheme", "port", "sourceNamespace")
_MAP_FIELDS = ("headers", "withoutHeaders", "queryParams", "sourceLabels")
_INHERITED = (
    "timeout",
    "retries",
    "fault",
    "mirror",
    "mirrors",
    "mirrorPercentage",
    "corsPolicy",
    "headers",
    "rewrite",
)


def merged_http(source: Config, world: World) -> list[Mapping[str, Any]]:
    """``spec.http`` with delegates put in place of the rules that name them."""
    result: list[Mapping[str, Any]] = []
    for rule in source.spec.get("http") or ():
        if not rule.get("delegate"):
            result.append(rule)
            continue
        found = _delegate(rule["delegate"], source, world)
        for inner in (found.spec.get("http") or ()) if found else ():
            merged = _merge(rule, inner)
            if merged is not None:
                result.append(merged)
    return result


def _delegate(named: Mapping[str, Any], source: Config, world: World) -> Config | None:
    key = f"{named.get('namespace') or source.namespace}/{named.get('name')}"
    return next((c for c in world.virtual_services if c.key == key and not c.spec.get("hosts")), None)


def _merge(root: Mapping[str, Any], inner: Mapping[str, Any]) -> dict[str, Any] | None:
    result = dict(inner)
    for field in _INHERITED:
        if field in root and field not in inner:
            result[field] = root[field]
    names = [part for part in (root.get("name"), inner.get("name")) if part]
    if names:
        result["name"] = "-".join(names)
    everything: tuple[dict[str, Any], ...] = ({},)
    outers, owns = root.get("match") or everything, inner.get("match") or everything
    pairs = [merged_match(outer, own) for outer in outers for own in owns]
    kept = [pair for pair in pairs if pair is not None]
    if not kept:
        return None
    if any(kept):
        result["match"] = kept
    return result


def merged_match(outer: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any] | None:
    """Both conditions at once, or None where they contradict each other."""
    result: dict[str, Any] = {**outer, **own}
    for field in _EXACT_FIELDS:
        if field in outer and field in own and outer[field] != own[field]:
            return None
    for field in _MAP_FIELDS:
        if field in outer and field in own:
            result[field] = {**outer[field], **own[field]}
    if "uri" in outer and "uri" in own and not _narrower(own["uri"], outer["uri"]):
        return None
    return result


def _narrower(own: Mapping[str, Any], outer: Mapping[str, Any]) -> bool:
    if own == outer:
        return True
    if "prefix" in outer:
        text = own.get("prefix") or own.get("exact")
        return text is not None and str(text).startswith(outer["prefix"])
    return False
