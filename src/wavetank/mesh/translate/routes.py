"""VirtualServices to Envoy route configurations. Mirrors ``core/gateway.go`` and ``core/httproute.go``.

A gateway's virtual hosts are the intersections of its servers' hosts with the hosts of the VirtualServices
bound to it. Several VirtualServices for one host are merged oldest first, and routes that take everything
are moved behind the others (``SortVHostRoutes``); within one VirtualService routes keep their order, and
nothing is generated behind a route that takes everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from wavetank.mesh import hosts
from wavetank.mesh.model import Config, Service, World
from wavetank.mesh.translate import delegates
from wavetank.mesh.translate.actions import RouteContext, default_route, rule_routes
from wavetank.mesh.translate.matches import is_catch_all
from wavetank.mesh.translate.names import typed, vhost_name
from wavetank.mesh.translate.servers import Server

__all__ = ["gateway_route_config", "service_route_config", "virtual_service_routes"]

_ROUTE_CONFIG = "envoy.config.route.v3.RouteConfiguration"
DIRECT_RESPONSE_BODY_BYTES_MAX = 1_048_576  # Istio lifts Envoy's 4 KB


def gateway_route_config(
    name: str, world: World, servers: Iterable[Server], client_namespace: str
) -> dict[str, Any]:
    """The route configuration of one gateway port (or one TLS server), from the servers that share it."""
    routes: dict[str, list[dict[str, Any]]] = {}
    redirected: set[str] = set()
    port = 0
    for server in servers:
        port = server.port
        context = RouteContext(world, server.port, frozenset({server.gateway.key}), client_namespace)
        for source in world.virtual_services:
            for host in server_hosts(server, source):
                routes.setdefault(host, []).extend(virtual_service_routes(context, source))
        if server.https_redirect:
            redirected.update(host for _, host in server.hosts)
    for host in redirected:
        routes.setdefault(host, [])
    vhosts = [
        _virtual_host(host, [host], port, _last_catch_all(routes[host]), require_tls=host in redirected)
        for host in sorted(routes)
    ]
    if not vhosts:
        vhosts = [{"name": f"blackhole:{port}", "domains": ["*"]}]
    return _config(name, vhosts)


def server_hosts(server: Server, source: Config) -> list[str]:
    """The virtual hosts that a VirtualService gets on a server; empty where it is not bound to it."""
    bound = source.spec.get("gateways") or ["mesh"]
    if not any(_bound(str(name), source.namespace, server) for name in bound):
        return []
    result: dict[str, None] = {}
    for host in source.spec.get("hosts") or ():
        wanted = hosts.resolve(str(host), source.namespace)
        for namespace, pattern in server.hosts:
            both = hosts.intersect(wanted, pattern) if namespace in ("*", source.namespace) else None
            if both is not None:
                result[both] = None
    return list(result)


def _bound(name: str, namespace: str, server: Server) -> bool:
    return (name if "/" in name else f"{namespace}/{name}") == server.gateway.key


def virtual_service_routes(context: RouteContext, source: Config) -> list[dict[str, Any]]:
    """All routes of one VirtualService, cut behind the first that takes everything."""
    routes: list[dict[str, Any]] = []
    for index, http in enumerate(delegates.merged_http(source, context.world)):
        for route in rule_routes(context, source, index, http):
            routes.append(route)
            if is_catch_all(route["match"]):
                return routes
    return routes


def _last_catch_all(routes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(routes, key=lambda route: is_catch_all(route["match"]))


def service_route_config(
    name: str, world: World, service: Service, port: int, client_namespace: str
) -> dict[str, Any]:
    """What a client inside the mesh gets at a service's own address: the first VirtualService bound to
    ``mesh`` that names the host (the oldest owns it), else the service itself."""
    context = RouteContext(world, port, frozenset({"mesh"}), client_namespace)
    routes: list[dict[str, Any]] = []
    for source in world.virtual_services:
        if "mesh" in (source.spec.get("gateways") or ["mesh"]) and _names(source, service):
            routes = virtual_service_routes(context, source)
            break
    else:
        routes = [default_route(context, service, port)]
    return _config(name, [_virtual_host(service.hostname, ["*"], port, routes)])


def _names(source: Config, service: Service) -> bool:
    if not source.spec.get("http"):
        return False
    named = (hosts.resolve(str(h), source.namespace) for h in source.spec.get("hosts") or ())
    return any(hosts.subset_of(service.hostname, host) for host in named)


def _virtual_host(
    host: str, domains: list[str], port: int, routes: list[dict[str, Any]], *, require_tls: bool = False
) -> dict[str, Any]:
    result: dict[str, Any] = {
        "name": vhost_name(host, port),
        "domains": domains,
        "routes": routes,
        "include_request_attempt_count": True,
    }
    if require_tls:
        result["require_tls"] = "ALL"
    return result


def _config(name: str, vhosts: list[dict[str, Any]]) -> dict[str, Any]:
    fields: Mapping[str, Any] = {
        "validate_clusters": False,
        "ignore_port_in_host_matching": True,
        "max_direct_response_body_size_bytes": DIRECT_RESPONSE_BODY_BYTES_MAX,
    }
    return typed(_ROUTE_CONFIG, name=name, virtual_hosts=vhosts, **fields)
