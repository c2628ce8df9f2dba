"""A World out of any heap of Kubernetes objects: files given to the command line, or a watch's cache."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Iterable, Mapping

from wavetank.kube.client import Object
from wavetank.mesh import collect, gateway_api, hosts
from wavetank.mesh.model import Config, Endpoint, Service, World
from wavetank.mesh.resources import GATEWAY_API_GROUP, ISTIO_GROUP

__all__ = ["SERVICE_NAME_LABEL", "build_world", "build_world_from", "grouped", "slice_host"]

SERVICE_NAME_LABEL = "kubernetes.io/service-name"

Kind = tuple[str, str]  # group ("" for core), kind


def grouped(objects: Iterable[Object]) -> dict[Kind, list[Object]]:
    """Objects by group and kind; an Istio version is as good as another."""
    result: dict[Kind, list[Object]] = {}
    for obj in objects:
        group = str(obj.get("apiVersion") or "").rpartition("/")[0]
        result.setdefault((group, str(obj.get("kind") or "")), []).append(obj)
    return result


def slice_host(piece: Object) -> str | None:
    """The host name of the Service an EndpointSlice belongs to."""
    metadata = piece["metadata"]
    name = (metadata.get("labels") or {}).get(SERVICE_NAME_LABEL)
    return hosts.service_host(name, metadata.get("namespace") or "default") if name else None


def build_world(objects: Iterable[Object]) -> World:
    """Everything at once: Services, EndpointSlices, Pods, Secrets, Istio and Gateway API resources."""
    return build_world_from(grouped(objects))


def build_world_from(kinds: Mapping[Kind, Iterable[Object]], leaving: Collection[str] = ()) -> World:
    """``leaving``: uids of pods that are about to be stopped and get no more requests."""

    def istio(kind: str) -> list[Config]:
        return [collect.config(obj) for obj in kinds.get((ISTIO_GROUP, kind), ())]

    services = [s for obj in kinds.get(("", "Service"), ()) if (s := collect.kube_service(obj))]
    services += collect.service_entries(collect.sorted_configs(istio("ServiceEntry")), istio("WorkloadEntry"))
    by_host: dict[str, Service] = {}
    for service in services:
        by_host.setdefault(service.hostname, service)
    made_gateways, made_routes = gateway_api.convert(
        kinds.get((GATEWAY_API_GROUP, "Gateway"), ()),
        kinds.get((GATEWAY_API_GROUP, "HTTPRoute"), ()),
        by_host,
        kinds.get(("", "Namespace"), ()),
    )
    return World(
        services=by_host,
        endpoints=_endpoints(kinds, leaving),
        gateways=collect.sorted_configs([*istio("Gateway"), *made_gateways]),
        virtual_services=collect.sorted_configs([*istio("VirtualService"), *made_routes]),
        destination_rules=collect.sorted_configs(istio("DestinationRule")),
        certificates=_certificates(kinds.get(("", "Secret"), ())),
    )


def _endpoints(
    kinds: Mapping[Kind, Iterable[Object]], leaving: Collection[str]
) -> dict[str, tuple[Endpoint, ...]]:
    pods = {
        f"{p['metadata'].get('namespace') or 'default'}/{p['metadata']['name']}": p
        for p in kinds.get(("", "Pod"), ())
    }
    slices: dict[str, list[Object]] = {}
    for piece in kinds.get(("discovery.k8s.io", "EndpointSlice"), ()):
        host = slice_host(piece)
        if host:
            slices.setdefault(host, []).append(piece)
    return {host: collect.slice_endpoints(pieces, pods, leaving) for host, pieces in slices.items()}


def _certificates(secrets: Iterable[Object]) -> dict[str, tuple[str, str]]:
    """The TLS secrets a gateway may name: ``kubernetes.io/tls`` keys, or Istio's ``cert`` and ``key``."""
    result = {}
    for secret in secrets:
        data = secret.get("data") or {}
        chain, key = data.get("tls.crt") or data.get("cert"), data.get("tls.key") or data.get("key")
        if not chain or not key:
            continue
        try:
            pems = base64.b64decode(chain).decode(), base64.b64decode(key).decode()
        except (binascii.Error, UnicodeDecodeError):
            continue
        metadata = secret["metadata"]
        result[f"{metadata.get('namespace') or 'default'}/{metadata['name']}"] = pems
    return result
