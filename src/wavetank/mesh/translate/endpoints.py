"""Endpoints to Envoy's ClusterLoadAssignments: one per EDS cluster, empty where no pod is ready.

Mirrors istio/istio ``pilot/pkg/xds/endpoints``. A cluster without an assignment would warm for ever, so
every EDS cluster gets one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from wavetank.mesh.model import Endpoint, Service, ServicePort, World
from wavetank.mesh.translate import traffic_policy
from wavetank.mesh.translate.names import cluster_name, typed

__all__ = ["build_endpoints", "service_endpoints"]

_ASSIGNMENT = "envoy.config.endpoint.v3.ClusterLoadAssignment"


def build_endpoints(world: World, client_namespace: str) -> dict[str, dict[str, Any]]:
    """All assignments by cluster name."""
    result: dict[str, dict[str, Any]] = {}
    for host in sorted(world.services):
        result.update(service_endpoints(world, world.services[host], client_namespace))
    return result


def service_endpoints(world: World, service: Service, client_namespace: str) -> dict[str, dict[str, Any]]:
    """The assignments of one service's clusters: what an EndpointSlice change has to push."""
    if service.resolution != "EDS":
        return {}
    rules = traffic_policy.rules_for(service, world.destination_rules, client_namespace)
    endpoints = service.static or world.endpoints.get(service.hostname, ())
    result: dict[str, dict[str, Any]] = {}
    for port in service.ports:
        chosen = [e for e in endpoints if _serves(e, service, port)]
        for subset, spec in {"": None, **traffic_policy.subsets(rules)}.items():
            labels: Mapping[str, str] = (spec or {}).get("labels") or {}
            members = [e for e in chosen if labels.items() <= dict(e.labels).items()]
            name = cluster_name(port.number, subset, service.hostname)
            result[name] = _assignment(name, members)
    return result


def _serves(endpoint: Endpoint, service: Service, port: ServicePort) -> bool:
    """Slices carry port names, not numbers; a single-port Service may leave the name empty."""
    return endpoint.port_name == port.name or (len(service.ports) == 1 and not port.name)


def _assignment(name: str, members: Iterable[Endpoint]) -> dict[str, Any]:
    lb_endpoints = [_lb_endpoint(endpoint) for endpoint in members]
    localities = [{"lb_endpoints": lb_endpoints}] if lb_endpoints else []
    return typed(_ASSIGNMENT, cluster_name=name, endpoints=localities)


def _lb_endpoint(endpoint: Endpoint) -> dict[str, Any]:
    if endpoint.address.startswith("unix://"):
        address: dict[str, Any] = {"pipe": {"path": endpoint.address.removeprefix("unix://")}}
    else:
        address = {"socket_address": {"address": endpoint.address, "port_value": endpoint.port}}
    result: dict[str, Any] = {"endpoint": {"address": address}, "health_status": "HEALTHY"}
    if endpoint.weight:
        result["load_balancing_weight"] = endpoint.weight
    metadata = _metadata(endpoint)
    if metadata:
        result["metadata"] = {"filter_metadata": {"wavetank": metadata}}
    return result


def _metadata(endpoint: Endpoint) -> dict[str, str]:
    """What access-log tags say of the destination; canonical names as Istio derives them from labels."""
    labels = endpoint.labels
    namespace, _, pod = endpoint.pod.partition("/")
    app = labels.get("app") or labels.get("app.kubernetes.io/name") or ""
    version = labels.get("version") or labels.get("app.kubernetes.io/version") or ""
    values = {
        "pod": pod,
        "uid": endpoint.uid,
        "namespace": namespace,
        "node": endpoint.node,
        "workload": endpoint.workload,
        "app": app,
        "version": version,
        "canonical_service": labels.get("service.istio.io/canonical-name") or app or endpoint.workload,
        "canonical_revision": labels.get("service.istio.io/canonical-revision") or version or "latest",
    }
    return {key: value for key, value in values.items() if value} if pod else {}
