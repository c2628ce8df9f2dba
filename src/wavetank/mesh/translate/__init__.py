"""Istio configuration to Envoy configuration: pure functions, ``World`` in, JSON dicts out.

Mirrors istio/istio ``pilot/pkg/networking/core``. ``translate`` makes everything one Envoy needs; the
modules beside it each make one kind of resource. Names and defaults are Istio's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wavetank.mesh.model import World
from wavetank.mesh.translate import names
from wavetank.mesh.translate.clusters import build_clusters
from wavetank.mesh.translate.endpoints import build_endpoints
from wavetank.mesh.translate.listeners import gateway_listener, service_listener
from wavetank.mesh.translate.routes import gateway_route_config, service_route_config
from wavetank.mesh.translate.servers import Server, by_port
from wavetank.mesh.translate.telemetry import Reporter

__all__ = ["EnvoyConfig", "Placement", "Reporter", "translate"]

Resources = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an Envoy stands and listens.

    ``port_map``: Gateway server port -> (address, port) to bind; ports that are not in it bind
    ``gateway_address`` and their own number. ``service_listeners``: listen on Services' cluster IPs too.
    ``namespace``: the client's namespace for looking up DestinationRules.
    """

    port_map: Mapping[int, tuple[str, int]] = field(default_factory=dict)
    gateway_address: str = "127.0.0.1"
    namespace: str = "istio-system"
    service_listeners: bool = False
    reporter: Reporter = field(default_factory=Reporter)

    def bind(self, port: int) -> tuple[str, int]:
        return self.port_map.get(port, (self.gateway_address, port))


@dataclass(frozen=True, slots=True)
class EnvoyConfig:
    """Resources by name, for each of the four types of xDS."""

    clusters: Resources
    endpoints: Resources
    listeners: Resources
    routes: Resources


def translate(world: World, placement: Placement) -> EnvoyConfig:
    listeners, routes = _gateways(world, placement)
    if placement.service_listeners:
        _services(world, placement, listeners, routes)
    return EnvoyConfig(
        clusters=build_clusters(world, placement.namespace),
        endpoints=build_endpoints(world, placement.namespace),
        listeners=listeners,
        routes=routes,
    )


def _gateways(world: World, placement: Placement) -> tuple[Resources, Resources]:
    listeners: Resources = {}
    routes: Resources = {}
    for port, servers in by_port(world).items():
        listener = gateway_listener(port, servers, world, placement.bind(port), placement.reporter)
        if listener is None:
            continue
        listeners[listener["name"]] = listener
        for name, group in _route_groups(port, servers).items():
            routes[name] = gateway_route_config(name, world, group, placement.namespace)
    return listeners, routes


def _route_groups(port: int, servers: list[Server]) -> dict[str, list[Server]]:
    """Route configuration names of a port, each with the servers that share it."""
    if servers[0].is_http:
        return {names.http_route_name(port): servers}
    return {
        names.https_route_name(port, s.port_name, s.gateway.name, s.gateway.namespace): [s]
        for s in servers
        if s.protocol == "HTTPS" and s.terminates_tls
    }


def _services(world: World, placement: Placement, listeners: Resources, routes: Resources) -> None:
    for host in sorted(world.services):
        service = world.services[host]
        if service.external or not service.addresses:
            continue
        for port in service.ports:
            route = names.vhost_name(host, port.number)
            listener = service_listener(service, port, service.addresses[0], placement.reporter, route)
            listeners[listener["name"]] = listener
            if port.is_http or port.protocol == "AUTO":
                routes[route] = service_route_config(route, world, service, port.number, placement.namespace)
