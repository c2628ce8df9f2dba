"""Gateway servers, and services' own addresses, to Envoy listeners. Mirrors ``core/gateway.go``.

Listeners bind on loopback: each gateway port on the address that the composing layer gives it, and, where
asked for, each Service's cluster IP and port, which is what kube-proxy and sidecars do on a node. Routes are
always fetched by RDS: inline ones would drain the listener at every change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wavetank.mesh.model import Service, ServicePort, World
from wavetank.mesh.translate import names
from wavetank.mesh.translate.names import typed
from wavetank.mesh.translate.servers import Server
from wavetank.mesh.translate.telemetry import Reporter, http_access_log, tcp_access_log

__all__ = ["gateway_listener", "http_connection_manager", "listen_address", "service_listener"]

_LISTENER = "envoy.config.listener.v3.Listener"
_HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_TCP = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
_ADS = {"ads": {}, "resource_api_version": "V3"}
_HTTP_FILTERS = [
    {
        "name": "envoy.filters.http.fault",
        "typed_config": typed("envoy.extensions.filters.http.fault.v3.HTTPFault"),
    },
    {"name": "envoy.filters.http.cors", "typed_config": typed("envoy.extensions.filters.http.cors.v3.Cors")},
    {
        "name": "envoy.filters.http.router",
        "typed_config": typed("envoy.extensions.filters.http.router.v3.Router", suppress_envoy_headers=False),
    },
]
_TLS_INSPECTOR = {
    "name": "envoy.filters.listener.tls_inspector",
    "typed_config": typed("envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"),
}
_HTTP_INSPECTOR = {
    "name": "envoy.filters.listener.http_inspector",
    "typed_config": typed("envoy.extensions.filters.listener.http_inspector.v3.HttpInspector"),
}
_PLAIN_HTTP = ["http/1.0", "http/1.1", "h2c"]


def listen_address(address: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": address, "port_value": port}}


def gateway_listener(
    port: int, servers: list[Server], world: World, address: tuple[str, int], reporter: Reporter
) -> dict[str, Any] | None:
    """The listener of one gateway port; None where none of its servers can be served."""
    if servers[0].is_http:
        manager = http_connection_manager(
            servers[0].name or f"gateway_{port}", reporter, route=names.http_route_name(port), gateway=True
        )
        return _listener(names.gateway_listener_name(port), address, [{"filters": [manager]}])
    chains = [
        chain for server in servers if (chain := _tls_or_tcp_chain(server, world, reporter)) is not None
    ]
    if not chains:
        return None
    sniffs = any("filter_chain_match" in chain for chain in chains)
    inspectors = [_TLS_INSPECTOR] if sniffs or servers[0].terminates_tls else []
    return _listener(names.gateway_listener_name(port), address, chains, inspectors)


def _tls_or_tcp_chain(server: Server, world: World, reporter: Reporter) -> dict[str, Any] | None:
    chain: dict[str, Any] = {}
    if server.protocol in ("HTTPS", "TLS") and server.sni:
        chain["filter_chain_match"] = {"server_names": server.sni}
    if server.terminates_tls:
        key = f"{server.gateway.namespace}/{server.tls.get('credentialName') or ''}"
        certificate = world.certificates.get(key)
        if certificate is None:
            return None  # istiod withholds the server until the secret is there
        chain["transport_socket"] = _downstream_tls(*certificate)
    if server.protocol == "HTTPS" and server.terminates_tls:
        route = names.https_route_name(
            server.port, server.port_name, server.gateway.name, server.gateway.namespace
        )
        prefix = server.name or f"gateway_{server.port}"
        chain["filters"] = [http_connection_manager(prefix, reporter, route=route, gateway=True)]
        return chain
    cluster = _stream_cluster(server, world)
    if cluster is None:
        return None
    chain["filters"] = [_tcp_proxy(f"gateway_{server.port}", cluster, reporter)]
    return chain


def _stream_cluster(server: Server, world: World) -> dict[str, Any] | None:
    """The destination of a TCP or TLS server: the first rule of a bound VirtualService that speaks of it."""
    from wavetank.mesh.translate.routes import server_hosts

    field = "tls" if server.protocol in ("HTTPS", "TLS") and not server.terminates_tls else "tcp"
    for source in world.virtual_services:
        if not server_hosts(server, source):
            continue
        for rule in source.spec.get(field) or ():
            ports = {m.get("port") for m in rule.get("match") or ()} - {None}
            if not ports or server.port in ports:
                return _stream_destination(rule.get("route") or (), world, source.namespace, server.port)
    return None


def _stream_destination(routes: Any, world: World, namespace: str, port: int) -> dict[str, Any]:
    clusters = []
    for route in routes:
        destination = route["destination"]
        service = world.service(str(destination["host"]), namespace)
        number = (destination.get("port") or {}).get("number")
        if number is None:
            number = service.ports[0].number if service and len(service.ports) == 1 else port
        host = service.hostname if service else str(destination["host"])
        name = names.cluster_name(int(number), str(destination.get("subset") or ""), host)
        clusters.append({"name": name, "weight": int(route.get("weight") or 1)})
    if len(clusters) == 1:
        return {"cluster": clusters[0]["name"]}
    return {"weighted_clusters": {"clusters": clusters}}


def _downstream_tls(chain_pem: str, key_pem: str) -> dict[str, Any]:
    certificate = {
        "certificate_chain": {"inline_string": chain_pem},
        "private_key": {"inline_string": key_pem},
    }
    context = {"tls_certificates": [certificate], "alpn_protocols": ["h2", "http/1.1"]}
    name = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
    return {"name": "envoy.transport_sockets.tls", "typed_config": typed(name, common_tls_context=context)}


def service_listener(
    service: Service, port: ServicePort, address: str, reporter: Reporter, route: str
) -> dict[str, Any]:
    """The listener at a Service's cluster IP. Ports of undeclared protocol are sniffed, as Istio does."""
    cluster = {"cluster": names.cluster_name(port.number, "", service.hostname)}
    prefix = f"service_{service.namespace}_{service.name}_{port.number}".replace(".", "_")
    stream = {"filters": [_tcp_proxy(prefix, cluster, reporter)]}
    manager = {"filters": [http_connection_manager(prefix, reporter, route=route)]}
    name = f"{address}_{port.number}"
    bind = (address, port.number)
    if port.is_http:
        return _listener(name, bind, [manager])
    if port.protocol != "AUTO":
        return _listener(name, bind, [stream])
    sniffed = {**manager, "filter_chain_match": {"application_protocols": _PLAIN_HTTP}}
    result = _listener(name, bind, [sniffed], [_HTTP_INSPECTOR])
    return {**result, "default_filter_chain": stream, "continue_on_listener_filters_timeout": True}


def _listener(
    name: str,
    address: tuple[str, int],
    chains: list[dict[str, Any]],
    inspectors: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    # Without reuse_port a taken port is a NACK with the reason; with it, two programs share it in silence.
    result = typed(
        _LISTENER, name=name, address=listen_address(*address), filter_chains=chains, enable_reuse_port=False
    )
    if inspectors:
        result["listener_filters"] = inspectors
    return result


def http_connection_manager(
    prefix: str,
    reporter: Reporter | None,
    *,
    route: str | Mapping[str, Any],
    gateway: bool = False,
) -> dict[str, Any]:
    """The HTTP filter; ``route`` names a route configuration, or is one to stand inline (dumps, probes).

    Dots in ``stat_prefix`` would break Envoy's tag extraction, so they are replaced.
    """
    manager = typed(
        _HCM,
        stat_prefix=prefix.replace(".", "_"),
        http_filters=_HTTP_FILTERS,
        normalize_path=True,
        use_remote_address=gateway,
        stream_idle_timeout="0s",
        upgrade_configs=[{"upgrade_type": "websocket"}],
        path_with_escaped_slashes_action="KEEP_UNCHANGED",
        http_protocol_options={"accept_http_10": True},
    )
    if isinstance(route, str):
        manager["rds"] = {"config_source": _ADS, "route_config_name": route}
    else:
        manager["route_config"] = dict(route)
    if reporter is not None:
        manager["access_log"] = http_access_log(reporter)
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}


def _tcp_proxy(prefix: str, cluster: Mapping[str, Any], reporter: Reporter) -> dict[str, Any]:
    config = typed(_TCP, stat_prefix=prefix, access_log=tcp_access_log(reporter), **cluster)
    return {"name": "envoy.filters.network.tcp_proxy", "typed_config": config}
