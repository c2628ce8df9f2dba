"""The names istiod gives to Envoy's resources; dashboards and debugging tools depend on them.

See istio/istio ``pilot/pkg/model/context.go`` (BuildSubsetKey) and ``core/gateway.go``.
"""

from __future__ import annotations

from typing import Any

from wavetank.mesh.descriptors import TYPE_PREFIX

__all__ = [
    "BLACK_HOLE",
    "PASSTHROUGH",
    "cluster_name",
    "gateway_listener_name",
    "http_route_name",
    "https_route_name",
    "parse_cluster_name",
    "typed",
    "vhost_name",
]

BLACK_HOLE = "BlackHoleCluster"
PASSTHROUGH = "PassthroughCluster"


def cluster_name(port: int, subset: str, host: str) -> str:
    return f"outbound|{port}|{subset}|{host}"


def parse_cluster_name(name: str) -> tuple[int, str, str] | None:
    """(port, subset, host) of an outbound cluster's name; None for any other cluster."""
    parts = name.split("|")
    if len(parts) != 4 or parts[0] != "outbound" or not parts[1].isdigit():
        return None
    return int(parts[1]), parts[2], parts[3]


def gateway_listener_name(port: int) -> str:
    return f"0.0.0.0_{port}"


def http_route_name(port: int) -> str:
    return f"http.{port}"


def https_route_name(port: int, port_name: str, gateway: str, namespace: str) -> str:
    return f"https.{port}.{port_name}.{gateway}.{namespace}"


def vhost_name(host: str, port: int) -> str:
    return f"{host}:{port}"


def typed(message: str, **fields: Any) -> dict[str, Any]:
    """A resource or ``typed_config`` of that protobuf message name."""
    return {"@type": TYPE_PREFIX + message, **fields}
