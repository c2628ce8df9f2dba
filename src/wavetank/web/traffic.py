"""The traffic page: routes with their weights, why a request takes the one it takes, and shifting weights.

Routes are told in one form for Istio's VirtualService and the Gateway API's HTTPRoute. Rates and errors of
the service graph are ordinary queries, which the page asks of the Prometheus API.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from wavetank.errors import InputError
from wavetank.kube.client import Object
from wavetank.mesh.explain import explain, find_route_config
from wavetank.mesh.matching import Request
from wavetank.mesh.translate import Placement, translate
from wavetank.mesh.world import build_world

__all__ = ["Shift", "explained", "routes_view", "weights_patch"]


class Shift(Struct, frozen=True, forbid_unknown_fields=True):
    """New weights for one rule of a route, in the order of its destinations."""

    kind: str
    namespace: str
    name: str
    rule: int
    weights: list[int]


def routes_view(virtual_services: Sequence[Object], http_routes: Sequence[Object]) -> list[dict[str, Any]]:
    """Every rule of every route: hosts, matches as texts, destinations with weights."""
    return [
        *(
            _shown(o, "VirtualService", o["spec"].get("hosts"), o["spec"].get("gateways"), _istio_rules(o))
            for o in virtual_services
        ),
        *(
            _shown(o, "HTTPRoute", o["spec"].get("hostnames"), _parents(o), _gateway_rules(o))
            for o in http_routes
        ),
    ]


def _shown(obj: Object, kind: str, hosts: Any, gateways: Any, rules: list[dict[str, Any]]) -> dict[str, Any]:
    metadata = obj["metadata"]
    namespace = metadata.get("namespace") or "default"
    return {
        "kind": kind, "namespace": namespace, "name": metadata["name"],
        "hosts": list(hosts or ["*"]), "gateways": list(gateways or ["mesh"]), "rules": rules,
    }  # fmt: skip


def _parents(route: Object) -> list[str]:
    return [str(p.get("name")) for p in route["spec"].get("parentRefs") or ()]


def _istio_rules(obj: Object) -> list[dict[str, Any]]:
    rules = []
    for rule in obj["spec"].get("http") or ():
        destinations = []
        for route in rule.get("route") or ():
            to = route.get("destination") or {}
            subset = f" ({to['subset']})" if to.get("subset") else ""
            destinations.append({"to": f"{to.get('host')}{subset}", "weight": int(route.get("weight") or 0)})
        if len(destinations) == 1:
            destinations[0]["weight"] = destinations[0]["weight"] or 100
        extras = [
            n
            for n in ("redirect", "rewrite", "fault", "mirror", "retries", "timeout", "corsPolicy")
            if n in rule
        ]
        matches = [_istio_match(m) for m in rule.get("match") or ()]
        rules.append({"name": rule.get("name", ""), "matches": matches, "to": destinations, "extras": extras})
    return rules


def _istio_match(match: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_text(value)}" for name, value in match.items() if name != "name")


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{name} {_text(inner)}" for name, inner in value.items())
    return str(value)


def _gateway_rules(route: Object) -> list[dict[str, Any]]:
    rules = []
    for rule in route["spec"].get("rules") or ():
        refs = rule.get("backendRefs") or ()
        destinations = [
            {"to": f"{r.get('name')}:{r.get('port', '')}".rstrip(":"), "weight": int(r.get("weight", 1))}
            for r in refs
        ]
        matches = [_text({k: v for k, v in m.items() if v}) for m in rule.get("matches") or ()]
        extras = [str(f.get("type")) for f in rule.get("filters") or ()]
        rules.append({"name": rule.get("name", ""), "matches": matches, "to": destinations, "extras": extras})
    return rules


def weights_patch(obj: Object, shift: Shift) -> list[dict[str, Any]]:
    """The JSON patch of a shift. Raises InputError for one that does not fit the object."""
    virtual = shift.kind == "VirtualService"
    rules = obj["spec"].get("http" if virtual else "rules") or ()
    if not 0 <= shift.rule < len(rules):
        raise InputError(f"{shift.kind} {shift.name} has no rule {shift.rule}", fix="reload the page")
    routes = rules[shift.rule].get("route" if virtual else "backendRefs") or ()
    if len(routes) != len(shift.weights):
        raise InputError(
            f"{len(shift.weights)} weights for {len(routes)} destinations", fix="reload the page"
        )
    if any(not 0 <= w <= 1_000_000 for w in shift.weights) or (virtual and sum(shift.weights) != 100):
        raise InputError(f"weights {shift.weights} do not add up to 100", fix="let them")
    inside = f"/spec/http/{shift.rule}/route" if virtual else f"/spec/rules/{shift.rule}/backendRefs"
    return [
        {"op": "replace" if "weight" in route else "add", "path": f"{inside}/{i}/weight", "value": weight}
        for i, (route, weight) in enumerate(zip(routes, shift.weights, strict=True))
    ]


def explained(objects: Sequence[Object], url: str, method: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """Which rule a request to the gateway takes, and why not the others. Raises InputError."""
    world = build_world(objects)
    config = translate(world, Placement())
    request = Request.of(url, method, headers)
    found: dict[str, Any] = msgspec.to_builtins(
        explain(world, config, request, find_route_config(world, config, request))
    )
    return found
