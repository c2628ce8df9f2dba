"""Services and DestinationRules to Envoy clusters. Mirrors istio/istio ``core/cluster_builder.go``.

One cluster a service port, and one more for each subset. Endpoints never stand inline (a changed cluster is
re-created and loses its connections and ejections): EDS clusters get them pushed. Only DNS clusters carry
addresses, as Envoy has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wavetank.mesh.model import Config, Endpoint, Service, ServicePort, World
from wavetank.mesh.translate import traffic_policy
from wavetank.mesh.translate.names import BLACK_HOLE, PASSTHROUGH, cluster_name, typed

__all__ = ["build_clusters"]

_CLUSTER = "envoy.config.cluster.v3.Cluster"
_ADS = {"ads": {}, "resource_api_version": "V3"}


def build_clusters(world: World, client_namespace: str) -> dict[str, dict[str, Any]]:
    """All clusters by name, in the order of host, port, subset."""
    result = {
        BLACK_HOLE: typed(_CLUSTER, name=BLACK_HOLE, type="STATIC", connect_timeout="10s"),
        PASSTHROUGH: _passthrough(),
    }
    for host in sorted(world.services):
        service = world.services[host]
        rules = traffic_policy.rules_for(service, world.destination_rules, client_namespace)
        for port in service.ports:
            for subset, spec in {"": None, **traffic_policy.subsets(rules)}.items():
                name = cluster_name(port.number, subset, host)
                result[name] = _cluster(name, service, port, rules, spec)
    return result


def _passthrough() -> dict[str, Any]:
    return typed(
        _CLUSTER, name=PASSTHROUGH, type="ORIGINAL_DST", connect_timeout="10s", lb_policy="CLUSTER_PROVIDED"
    )


def _cluster(
    name: str, service: Service, port: ServicePort, rules: list[Config], subset: Mapping[str, Any] | None
) -> dict[str, Any]:
    cluster = typed(_CLUSTER, name=name, **_discovery(name, service, port))
    policy = traffic_policy.effective_policy(rules, subset, port.number)
    traffic_policy.apply(cluster, policy, port)
    cluster["metadata"] = {"filter_metadata": _metadata(service, rules, subset)}
    return cluster


def _discovery(name: str, service: Service, port: ServicePort) -> dict[str, Any]:
    match service.resolution:
        case "EDS":
            return {
                "type": "EDS",
                "eds_cluster_config": {"eds_config": _ADS, "service_name": name},
            }
        case "NONE":
            return {"type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED"}
        case resolution:
            lb_endpoints = [_dns_endpoint(e) for e in service.static if e.port_name == port.name]
            dns = typed(
                "envoy.extensions.clusters.dns.v3.DnsCluster",
                dns_refresh_rate="60s",
                respect_dns_ttl=True,
                dns_lookup_family="V4_ONLY",
                all_addresses_in_single_endpoint=resolution == "DNS_ROUND_ROBIN",
            )
            return {
                "cluster_type": {"name": "envoy.clusters.dns", "typed_config": dns},
                "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": lb_endpoints}]},
            }


def _dns_endpoint(endpoint: Endpoint) -> dict[str, Any]:
    address = {"socket_address": {"address": endpoint.address, "port_value": endpoint.port}}
    return {"endpoint": {"address": address}, "load_balancing_weight": endpoint.weight or 1}


def _metadata(service: Service, rules: list[Config], subset: Mapping[str, Any] | None) -> dict[str, Any]:
    """``istio`` as istiod writes it, for tools; ``wavetank`` flat, for access-log formatters, which cannot
    index into lists."""
    identity = {"host": service.hostname, "name": service.name, "namespace": service.namespace}
    istio: dict[str, Any] = {"services": [identity]}
    if rules:
        istio["config"] = rules[0].api_path
    if subset is not None:
        istio["subset"] = subset["name"]
    flat = {
        "service": service.hostname,
        "service_name": service.name,
        "service_namespace": service.namespace,
    }
    return {"istio": istio, "wavetank": flat}
