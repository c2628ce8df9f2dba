"""Kubernetes objects as the mesh sees them, for tests: terse makers, nothing invented."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from wavetank.yamlfile import parse_documents

Object = dict[str, Any]


def documents(text: str) -> list[Object]:
    return [document.value for document in parse_documents(text)]


def service(
    name: str, *ports: tuple[str, int], namespace: str = "default", cluster_ip: str = "None", **spec: Any
) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "clusterIP": cluster_ip,
            "selector": {"app": name},
            "ports": [{"name": n, "port": p} for n, p in ports],
            **spec,
        },
    }


def pod(name: str, address: str, *, app: str, version: str = "v1", namespace: str = "default") -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"uid-{name}",
            "labels": {"app": app, "version": version, "pod-template-hash": "5d8f"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": f"{app}-{version}-5d8f", "controller": True}],
        },
        "status": {"podIP": address},
    }


def endpoint_slice(
    service: str,
    pods: Iterable[tuple[Object, int]],
    *,
    port_name: str = "http",
    namespace: str = "default",
    suffix: str = "a",
    terminating: Iterable[str] = (),
) -> list[Object]:
    """Slices of a service: one for each container port among the pods, as the controller splits them."""
    by_port: dict[int, list[Object]] = {}
    for item, port in pods:
        by_port.setdefault(port, []).append(item)
    return [
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{service}-{suffix}-{port}",
                "namespace": namespace,
                "labels": {"kubernetes.io/service-name": service},
            },
            "addressType": "IPv4",
            "ports": [{"name": port_name, "port": port, "protocol": "TCP"}],
            "endpoints": [_endpoint(item, set(terminating)) for item in items],
        }
        for port, items in sorted(by_port.items())
    ]


def _endpoint(item: Object, terminating: set[str]) -> Object:
    metadata = item["metadata"]
    going = metadata["name"] in terminating
    return {
        "addresses": [item["status"]["podIP"]],
        "conditions": {"ready": not going, "serving": True, "terminating": going},
        "targetRef": {
            "kind": "Pod",
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
        },
    }
