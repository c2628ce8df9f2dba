"""Kubernetes objects in, ``World`` out: which services there are and where their endpoints stand.

Mirrors istio/istio ``pilot/pkg/serviceregistry/kube`` and ``serviceentry``. An endpoint counts while its
slice says ready and not terminating and its pod is there without a deletion timestamp: a pod that was told
to go gets no new request, whatever the slice still says.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from wavetank.kube.client import Object
from wavetank.mesh import hosts
from wavetank.mesh.model import Config, Endpoint, Service, ServicePort, port_protocol

__all__ = ["config", "kube_service", "service_entries", "slice_endpoints", "sorted_configs", "workload_name"]

GATEWAY_SEMANTICS = "internal.istio.io/route-semantics"


def config(obj: Object) -> Config:
    metadata = obj["metadata"]
    return Config(
        kind=obj["kind"],
        namespace=metadata.get("namespace") or "default",
        name=metadata["name"],
        spec=obj.get("spec") or {},
        created=metadata.get("creationTimestamp") or "",
        gateway_semantics=(metadata.get("annotations") or {}).get(GATEWAY_SEMANTICS) == "gateway",
    )


def sorted_configs(objects: Iterable[Config]) -> tuple[Config, ...]:
    """Oldest first, then by name and namespace: the order in which Istio merges (model/config.go)."""
    return tuple(sorted(objects, key=lambda c: (c.created, c.name, c.namespace)))


def kube_service(obj: Object) -> Service | None:
    """The mesh's view of a Service; None where it has no ports to route to."""
    metadata, spec = obj["metadata"], obj.get("spec") or {}
    name, namespace = metadata["name"], metadata.get("namespace") or "default"
    ports = tuple(
        ServicePort(
            port.get("name") or "",
            int(port["port"]),
            port_protocol(
                port.get("name") or "", port.get("appProtocol") or "", port.get("protocol") or "TCP"
            ),
        )
        for port in spec.get("ports") or ()
    )
    ports = tuple(port for port in ports if port.protocol not in ("UDP", "SCTP"))
    if not ports:
        return None
    host = hosts.service_host(name, namespace)
    if spec.get("type") == "ExternalName":
        external = spec.get("externalName") or ""
        static = tuple(Endpoint(external, port.name, port.number) for port in ports)
        return Service(host, name, namespace, ports, (), "DNS", static, external=True)
    addresses = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
    return Service(host, name, namespace, ports, tuple(a for a in addresses if a and a != "None"))


def slice_endpoints(
    slices: Iterable[Object], pods: Mapping[str, Object], leaving: Collection[str] = ()
) -> tuple[Endpoint, ...]:
    """The endpoints that may get requests, of all slices of one service, without duplicates, in order.

    ``pods`` are Pod objects by ``namespace/name``; ``leaving`` uids of pods that are about to be stopped.
    """
    found: dict[tuple[str, str, int], Endpoint] = {}
    for piece in slices:
        namespace = piece["metadata"].get("namespace") or "default"
        for entry in piece.get("endpoints") or ():
            conditions = entry.get("conditions") or {}
            if conditions.get("ready") is False or conditions.get("terminating"):
                continue
            key, pod = _pod_of(entry, namespace, pods)
            if key and (pod is None or _going(pod, leaving)):
                continue
            for port in piece.get("ports") or ():
                for endpoint in _addresses(entry, port, key, pod or {}):
                    found.setdefault((endpoint.address, endpoint.port_name, endpoint.port), endpoint)
    return tuple(found[key] for key in sorted(found))


def _going(pod: Object, leaving: Collection[str]) -> bool:
    metadata = pod["metadata"]
    return bool(metadata.get("deletionTimestamp")) or metadata.get("uid") in leaving


def _pod_of(
    entry: Mapping[str, Any], namespace: str, pods: Mapping[str, Object]
) -> tuple[str, Object | None]:
    """The pod an endpoint stands for: its key ("" where it is no pod) and, unless it is gone, the pod."""
    target = entry.get("targetRef") or {}
    if target.get("kind") != "Pod":
        return "", None
    key = f"{target.get('namespace') or namespace}/{target['name']}"
    pod = pods.get(key)
    if pod is not None and target.get("uid") and pod["metadata"].get("uid") not in (None, target["uid"]):
        return key, None  # a namesake that came later
    return key, pod


def _addresses(
    entry: Mapping[str, Any], port: Mapping[str, Any], key: str, pod: Object
) -> Iterable[Endpoint]:
    if port.get("port") is None or (port.get("protocol") or "TCP") != "TCP":
        return
    metadata = pod.get("metadata") or {}
    target = entry.get("targetRef") or {}
    # Kubernetes: all addresses of one endpoint are the same backend, so the first stands for it.
    for address in (entry.get("addresses") or ())[:1]:
        yield Endpoint(
            address=address,
            port_name=port.get("name") or "",
            port=int(port["port"]),
            pod=key,
            uid=metadata.get("uid") or target.get("uid") or "",
            workload=workload_name(pod) if pod else "",
            node=entry.get("nodeName") or "",
            labels=dict(metadata.get("labels") or {}),
        )


def workload_name(pod: Object) -> str:
    """The Deployment (or other owner) of a pod, as ``istio_requests_total`` names workloads."""
    metadata = pod["metadata"]
    owner = next((o for o in metadata.get("ownerReferences") or () if o.get("controller")), None)
    if owner is None:
        return str(metadata["name"])
    name = str(owner["name"])
    template_hash = (metadata.get("labels") or {}).get("pod-template-hash")
    if owner.get("kind") == "ReplicaSet" and template_hash:
        name = name.removesuffix(f"-{template_hash}")
    return name


def service_entries(entries: Iterable[Config], workloads: Iterable[Config]) -> list[Service]:
    """One service per host of each ServiceEntry; WorkloadEntries join by ``workloadSelector``."""
    chosen = list(workloads)
    return [service for entry in entries for service in _entry_services(entry, chosen)]


def _entry_services(entry: Config, workloads: list[Config]) -> Iterable[Service]:
    spec = entry.spec
    ports = tuple(
        ServicePort(p["name"], int(p["number"]), _entry_protocol(p)) for p in spec.get("ports") or ()
    )
    resolution = str(spec.get("resolution") or "NONE")
    specs: list[Mapping[str, Any]] = list(spec.get("endpoints") or ())
    selector = (spec.get("workloadSelector") or {}).get("labels")
    if selector:
        specs += [
            w.spec
            for w in workloads
            if w.namespace == entry.namespace and selector.items() <= dict(w.spec.get("labels") or {}).items()
        ]
    for host in spec.get("hosts") or ():
        given = specs
        if not given and resolution in ("DNS", "DNS_ROUND_ROBIN") and not host.startswith("*"):
            given = [{"address": host}]
        static = tuple(
            _entry_endpoint(endpoint, port) for port in spec.get("ports") or () for endpoint in given
        )
        yield Service(
            hostname=host.lower(),
            name=host.lower(),
            namespace=entry.namespace,
            ports=ports,
            addresses=tuple(spec.get("addresses") or ()),
            resolution="EDS" if resolution == "STATIC" else resolution,
            static=static,
            external=spec.get("location") != "MESH_INTERNAL",
        )


def _entry_protocol(port: Mapping[str, Any]) -> str:
    protocol = str(port.get("protocol") or "").upper()
    return {"HTTP": "HTTP", "HTTP2": "HTTP2", "GRPC": "GRPC", "HTTPS": "HTTPS", "TLS": "TLS"}.get(
        protocol, "TCP" if protocol else port_protocol(str(port["name"]), "")
    )


def _entry_endpoint(spec: Mapping[str, Any], port: Mapping[str, Any]) -> Endpoint:
    number = (spec.get("ports") or {}).get(port["name"]) or port.get("targetPort") or port["number"]
    return Endpoint(
        address=str(spec.get("address") or ""),
        port_name=str(port["name"]),
        port=int(number),
        labels=dict(spec.get("labels") or {}),
        weight=int(spec.get("weight") or 0),
    )
