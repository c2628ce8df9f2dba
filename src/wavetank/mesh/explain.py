"""Which rule a request takes, and why not the others: listener, virtual host, rule, cluster, endpoints.

The answer names the user's own files: every Envoy route carries the resource, rule and match it was made
from. What would happen then is told with Istio's defaults filled in: timeout, retries, faults, rewrites, load
balancing, ejection.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from wavetank.errors import InputError, Location
from wavetank.limits import EXPLAIN_ROUTES_MAX
from wavetank.mesh import hosts
from wavetank.mesh.matching import Request, choose_host, mismatch
from wavetank.mesh.model import World
from wavetank.mesh.probe import Answer
from wavetank.mesh.translate import EnvoyConfig, names
from wavetank.mesh.translate.servers import by_port
from wavetank.yamlfile import Document

__all__ = ["Considered", "Destination", "Explanation", "Places", "explain", "find_route_config"]


class Considered(msgspec.Struct, frozen=True):
    """One route that was looked at. ``reason``: why it was passed over; "" for the one taken."""

    number: int
    source: str
    at: str
    reason: str


class Destination(msgspec.Struct, frozen=True):
    """Where requests of the route go: a share in per cent, and what stands behind it."""

    cluster: str
    percent: float
    endpoints: list[str]
    policy: dict[str, Any]


class Explanation(msgspec.Struct, frozen=True):
    """``route`` is -1 where no route takes the request; ``judge`` says who chose: envoy, or the rules
    restated here (``model``)."""

    request: str
    listener: str
    route_config: str
    vhost: str
    route: int
    judge: str
    considered: list[Considered]
    outcome: str
    destinations: list[Destination]
    effective: dict[str, Any]


class Places:
    """Where in the user's files each rule stands."""

    def __init__(self, documents: Iterable[Document] = ()) -> None:
        self._documents: dict[tuple[str, str], Document] = {}
        for document in documents:
            value = document.value
            if isinstance(value, dict) and isinstance(value.get("metadata"), dict):
                namespace = value["metadata"].get("namespace") or "default"
                self._documents[(str(value.get("kind")), f"{namespace}/{value['metadata'].get('name')}")] = (
                    document
                )

    def of(self, route: Mapping[str, Any]) -> Location | None:
        """The place of the match, or of the rule, that a route was made from."""
        mark = route.get("metadata", {}).get("filter_metadata", {}).get("wavetank")
        if mark is None:
            return None
        document = self._documents.get(("VirtualService", mark["source"]))
        if document is not None:
            return document.at("spec", "http", mark["rule"], "match", mark["match"])
        # A route made from an HTTPRoute bears the name `namespace.route.rule`.
        namespace, _, rest = str(route.get("name")).partition(".")
        name, _, number = rest.rpartition(".")
        document = self._documents.get(("HTTPRoute", f"{namespace}/{name}"))
        if document is not None and number.isdigit():
            return document.at("spec", "rules", int(number))
        return None


def find_route_config(world: World, config: EnvoyConfig, request: Request, *, mesh: bool = False) -> str:
    """The name of the route configuration a request meets. Raises InputError where nothing listens."""
    if mesh:
        service = world.service(request.host.partition(":")[0], "default")
        name = names.vhost_name(service.hostname, request.port) if service else ""
        if name in config.routes:
            return name
        known = ", ".join(sorted(n for n in config.routes if not n.startswith(("http.", "https."))))
        raise InputError(f"no service listens at {request.host}:{request.port}", fix=f"services: {known}")
    plain = names.http_route_name(request.port)
    if plain in config.routes:
        return plain
    for server in by_port(world).get(request.port, ()):
        name = names.https_route_name(
            server.port, server.port_name, server.gateway.name, server.gateway.namespace
        )
        host = request.host.partition(":")[0]
        if name in config.routes and any(hosts.subset_of(host, pattern) for _, pattern in server.hosts):
            return name
    ports = ", ".join(str(port) for port in by_port(world)) or "none"
    raise InputError(f"no gateway listens on port {request.port}", fix=f"gateway ports: {ports}")


def explain(
    world: World,
    config: EnvoyConfig,
    request: Request,
    route_config: str,
    *,
    answer: Answer | None = None,
    asked: bool = False,
    places: Places | None = None,
) -> Explanation:
    """Explain a request. ``asked``: ``answer`` is Envoy's own (None: it found no route); else the choice is
    made by the rules restated in ``wavetank.mesh.matching``."""
    routes = config.routes[route_config]
    vhost = choose_host(routes["virtual_hosts"], request.host)
    if asked and answer is not None:
        vhost = next(v for v in routes["virtual_hosts"] if v["name"] == answer.vhost)
    considered, modelled = _walk(vhost, request, places or Places(), answer.route if answer else None)
    taken = (answer.route if answer else -1) if asked else modelled
    route = vhost["routes"][taken] if vhost is not None and taken >= 0 else None
    return Explanation(
        request=f"{request.method} {request.scheme}://{request.host}{request.path}",
        listener=_listener(config, route_config),
        route_config=route_config,
        vhost=vhost["name"] if vhost else "",
        route=taken,
        judge="envoy" if asked else "model",
        considered=considered,
        outcome=_outcome(route, vhost, request),
        destinations=_destinations(route, world, config) if route else [],
        effective=_effective(route) if route else {},
    )


def _walk(
    vhost: Mapping[str, Any] | None, request: Request, places: Places, taken: int | None
) -> tuple[list[Considered], int]:
    considered: list[Considered] = []
    for number, route in enumerate((vhost or {}).get("routes", ())[:EXPLAIN_ROUTES_MAX]):
        reason = mismatch(route["match"], request) or ""
        if taken is not None and (number == taken) != (reason == ""):
            reason = "" if number == taken else "Envoy passed over it"
        mark = route.get("metadata", {}).get("filter_metadata", {}).get("wavetank")
        source = f"{mark['source']} http[{mark['rule']}].match[{mark['match']}]" if mark else route["name"]
        considered.append(Considered(number, source, str(places.of(route) or ""), reason))
        if not reason:
            return considered, number
    return considered, -1


def _listener(config: EnvoyConfig, route_config: str) -> str:
    for name, listener in config.listeners.items():
        if f'"route_config_name":"{route_config}"' in msgspec.json.encode(listener).decode():
            address = listener["address"]["socket_address"]
            return f"{name} ({address['address']}:{address['port_value']})"
    return ""


def _outcome(route: Mapping[str, Any] | None, vhost: Mapping[str, Any] | None, request: Request) -> str:
    if vhost is None:
        return f"404: no virtual host for {request.host}"
    if vhost.get("require_tls") and request.scheme == "http":
        return "301 to https (httpsRedirect)"
    if route is None:
        return f"404: no route of {vhost['name']} takes it; other hosts are not tried"
    if "direct_response" in route:
        return f"{route['direct_response']['status']} directly"
    if "redirect" in route:
        return f"redirect: {_text(route['redirect'])}"
    action = route["route"]
    if "cluster" in action:
        return f"to {action['cluster']}"
    return "to " + ", ".join(c["name"] for c in action["weighted_clusters"]["clusters"])


def _text(value: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={item}" for key, item in value.items())


def _destinations(route: Mapping[str, Any], world: World, config: EnvoyConfig) -> list[Destination]:
    action = route.get("route") or {}
    if "cluster" in action:
        return [_destination(action["cluster"], 100.0, world, config)]
    clusters = action.get("weighted_clusters", {}).get("clusters", [])
    total = sum(c["weight"] for c in clusters)
    return [_destination(c["name"], round(100.0 * c["weight"] / total, 3), world, config) for c in clusters]


def _destination(name: str, percent: float, world: World, config: EnvoyConfig) -> Destination:
    cluster = config.clusters.get(name)
    if cluster is None:
        return Destination(name, percent, [], {"missing": "no such cluster: requests get 503"})
    found = []
    for locality in config.endpoints.get(name, {}).get("endpoints", ()):
        for entry in locality["lb_endpoints"]:
            address = entry["endpoint"]["address"].get("socket_address", {})
            metadata = entry.get("metadata", {}).get("filter_metadata", {}).get("wavetank", {})
            found.append(
                f"{metadata.get('pod', '')} {address.get('address')}:{address.get('port_value')}".strip()
            )
    policy: dict[str, Any] = {"lb_policy": cluster.get("lb_policy", "ROUND_ROBIN")}
    for field in ("connect_timeout", "outlier_detection"):
        if field in cluster:
            policy[field] = cluster[field]
    rule = cluster.get("metadata", {}).get("filter_metadata", {}).get("istio", {}).get("config")
    if rule:
        policy["destination_rule"] = rule
    return Destination(name, percent, found, policy)


def _effective(route: Mapping[str, Any]) -> dict[str, Any]:
    """What happens on the way, Istio's defaults included."""
    action = route.get("route") or {}
    result: dict[str, Any] = {}
    if action:
        result["timeout"] = "none" if action["timeout"] == "0s" else action["timeout"]
        policy = action.get("retry_policy")
        result["retries"] = f"{policy['num_retries']} on {policy['retry_on']}" if policy else "off"
    for field in ("prefix_rewrite", "regex_rewrite", "host_rewrite_literal", "hash_policy"):
        if field in action:
            result[field] = action[field]
    if "request_mirror_policies" in action:
        result["mirrors"] = [m["cluster"] for m in action["request_mirror_policies"]]
    for name, filter_config in (route.get("typed_per_filter_config") or {}).items():
        result[name.rpartition(".")[2]] = {k: v for k, v in filter_config.items() if k != "@type"}
    for field in ("request_headers_to_add", "response_headers_to_add"):
        if field in route:
            result[field] = {h["header"]["key"]: h["header"]["value"] for h in route[field]}
    return result
