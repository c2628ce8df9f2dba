"""The whole configuration as one static Envoy bootstrap: runs alone with ``envoy -c``, good for bug reports.

Route configurations stand inline and endpoints in their clusters, so that no control plane is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wavetank.mesh.translate import EnvoyConfig

__all__ = ["static_bootstrap"]


def static_bootstrap(config: EnvoyConfig, *, admin_port: int = 15000) -> dict[str, Any]:
    """An Envoy bootstrap in JSON form; ``admin_port`` is Istio's by default, on loopback."""
    return {
        "node": {"id": "dump", "cluster": "wavetank"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": admin_port}}},
        "static_resources": {
            "listeners": [_inline_routes(_plain(r), config) for r in config.listeners.values()],
            "clusters": [_inline_endpoints(_plain(r), config) for r in config.clusters.values()],
        },
    }


def _plain(resource: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in resource.items() if key != "@type"}


def _inline_routes(value: Any, config: EnvoyConfig) -> Any:
    if isinstance(value, list):
        return [_inline_routes(item, config) for item in value]
    if not isinstance(value, Mapping):
        return value
    result = {key: _inline_routes(item, config) for key, item in value.items()}
    rds = result.pop("rds", None)
    if rds is not None:
        result["route_config"] = _plain(config.routes[rds["route_config_name"]])
    return result


def _inline_endpoints(cluster: dict[str, Any], config: EnvoyConfig) -> dict[str, Any]:
    if cluster.get("type") != "EDS":
        return cluster
    result = {key: value for key, value in cluster.items() if key != "eds_cluster_config"}
    assignment = config.endpoints.get(cluster["name"], {"cluster_name": cluster["name"]})
    return {**result, "type": "STATIC", "load_assignment": _plain(assignment)}
