"""The kinds this room owns: Istio networking and the Kubernetes Gateway API, as Resources to register.

Istio serves ``v1``, ``v1beta1`` and ``v1alpha3`` with one and the same schema (istio/api
``kubernetes/customresourcedefinitions.gen.yaml``); objects are stored and watched as ``v1``.
"""

from __future__ import annotations

from typing import Final

from wavetank.kube.client import Resource

__all__ = [
    "ALL_RESOURCES",
    "DESTINATION_RULES",
    "GATEWAYS",
    "GATEWAY_API_GROUP",
    "GATEWAY_API_VERSIONS",
    "GATEWAY_CLASSES",
    "HTTP_ROUTES",
    "ISTIO_GROUP",
    "ISTIO_VERSIONS",
    "KUBE_GATEWAYS",
    "SERVED_VERSIONS",
    "SERVICE_ENTRIES",
    "SIDECARS",
    "VIRTUAL_SERVICES",
    "WORKLOAD_ENTRIES",
]

ISTIO_GROUP: Final = "networking.istio.io"
ISTIO_VERSIONS: Final = ("v1", "v1beta1", "v1alpha3")
GATEWAY_API_GROUP: Final = "gateway.networking.k8s.io"
GATEWAY_API_VERSIONS: Final = ("v1", "v1beta1")

_CATEGORIES = ("istio-io", "networking-istio-io")


def _istio(kind: str, plural: str, *short: str) -> Resource:
    return Resource(
        ISTIO_GROUP, "v1", kind, plural, True, kind.lower(), short, _CATEGORIES, subresources=("status",)
    )


GATEWAYS: Final = _istio("Gateway", "gateways", "gw")
VIRTUAL_SERVICES: Final = _istio("VirtualService", "virtualservices", "vs")
DESTINATION_RULES: Final = _istio("DestinationRule", "destinationrules", "dr")
SERVICE_ENTRIES: Final = _istio("ServiceEntry", "serviceentries", "se")
WORKLOAD_ENTRIES: Final = _istio("WorkloadEntry", "workloadentries", "we")
SIDECARS: Final = _istio("Sidecar", "sidecars")

KUBE_GATEWAYS: Final = Resource(
    GATEWAY_API_GROUP, "v1", "Gateway", "gateways", True, "gateway", ("gtw",), ("gateway-api",), ("status",)
)
HTTP_ROUTES: Final = Resource(
    GATEWAY_API_GROUP, "v1", "HTTPRoute", "httproutes", True, "httproute", (), ("gateway-api",), ("status",)
)
GATEWAY_CLASSES: Final = Resource(
    GATEWAY_API_GROUP, "v1", "GatewayClass", "gatewayclasses", False, "gatewayclass", ("gc",),
    ("gateway-api",), ("status",),
)  # fmt: skip

ALL_RESOURCES: Final = (
    GATEWAYS, VIRTUAL_SERVICES, DESTINATION_RULES, SERVICE_ENTRIES, WORKLOAD_ENTRIES, SIDECARS,
    KUBE_GATEWAYS, HTTP_ROUTES, GATEWAY_CLASSES,
)  # fmt: skip

SERVED_VERSIONS: Final = {ISTIO_GROUP: ISTIO_VERSIONS, GATEWAY_API_GROUP: GATEWAY_API_VERSIONS}
"""The API versions each group answers under; all of them convert by changing ``apiVersion`` alone."""
