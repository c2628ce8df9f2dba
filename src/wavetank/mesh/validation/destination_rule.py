"""What a DestinationRule may say. Mirrors istio/istio ``pkg/config/validation`` (DestinationRule)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from wavetank.mesh.validation.messages import KeyPath, Problem, problem

__all__ = ["destination_rule_problems"]

_SUBSET_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?")
_MESH_TLS = ("MUTUAL", "ISTIO_MUTUAL")

Spec = Mapping[str, Any]


def _wrong(path: KeyPath, detail: str, fix: str | None = None) -> Problem:
    return problem("SpecError", path, detail=detail, fix=fix)


def destination_rule_problems(spec: Spec) -> Iterator[Problem]:
    """All that is wrong with a spec whose form is right."""
    if not spec.get("host"):
        yield _wrong(("spec",), "host is required")
    yield from _policy(spec.get("trafficPolicy") or {}, ("spec", "trafficPolicy"))
    names: set[str] = set()
    for index, subset in enumerate(spec.get("subsets") or ()):
        path: KeyPath = ("spec", "subsets", index)
        name = str(subset.get("name") or "")
        if not _SUBSET_NAME.fullmatch(name) or len(name) > 63:
            yield _wrong((*path, "name"), f"subset name {name!r} is not a DNS label")
        if name in names:
            yield _wrong((*path, "name"), f"subset {name!r} is given twice", "remove one of the two")
        names.add(name)
        yield from _policy(subset.get("trafficPolicy") or {}, (*path, "trafficPolicy"))


def _policy(policy: Spec, path: KeyPath) -> Iterator[Problem]:
    yield from _blocks(policy, path)
    for index, setting in enumerate(policy.get("portLevelSettings") or ()):
        here: KeyPath = (*path, "portLevelSettings", index)
        if not (setting.get("port") or {}).get("number"):
            yield _wrong(here, "portLevelSettings need port.number")
        yield from _blocks(setting, here)


def _blocks(policy: Spec, path: KeyPath) -> Iterator[Problem]:
    outlier = policy.get("outlierDetection")
    if outlier is not None:
        yield from _outlier(outlier, (*path, "outlierDetection"))
    for side in ("tcp", "http"):
        for field, value in ((policy.get("connectionPool") or {}).get(side) or {}).items():
            if isinstance(value, int) and not isinstance(value, bool) and value < 0:
                yield _wrong((*path, "connectionPool", side, field), f"{field} must not be negative")
    mode = (policy.get("tls") or {}).get("mode")
    if mode in _MESH_TLS:
        yield problem("PlaintextHere", (*path, "tls"), mode=mode)
    balancer = policy.get("loadBalancer") or {}
    if balancer.get("localityLbSetting"):
        field = "localityLbSetting (all endpoints are on one machine)"
        yield problem("NotSupported", (*path, "loadBalancer", "localityLbSetting"), field=field)
    if policy.get("tunnel"):
        yield problem("NotSupported", (*path, "tunnel"), field="tunnel")
    cookie = (balancer.get("consistentHash") or {}).get("httpCookie")
    if cookie is not None and not cookie.get("name"):
        yield _wrong((*path, "loadBalancer", "consistentHash", "httpCookie"), "httpCookie needs a name")


def _outlier(outlier: Spec, path: KeyPath) -> Iterator[Problem]:
    for field in ("maxEjectionPercent", "minHealthPercent"):
        value = outlier.get(field)
        if value is not None and not 0 <= value <= 100:
            yield _wrong((*path, field), f"{field} {value} is not between 0 and 100")
    if not outlier.get("maxEjectionPercent"):
        yield problem("NothingEjected", path)
