"""Custom kinds that are served from the start: Istio networking, Gateway API, VPA, kwok stages. As data.

Without schemas everything in them is kept as sent; the rooms that act on a kind validate it and may register
it again with a schema.
"""

from __future__ import annotations

from typing import Final

from wavetank.kube.client import Resource
from wavetank.kube.customresources import CustomKind

__all__ = ["WELL_KNOWN"]

_ISTIO: Final = "networking.istio.io"
_GATEWAY: Final = "gateway.networking.k8s.io"
_AGE: Final = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
_ISTIO_ROWS: Final = (
    # kind, plural, short names, printer columns
    (
        "VirtualService",
        "virtualservices",
        ("vs",),
        (("Gateways", ".spec.gateways"), ("Hosts", ".spec.hosts")),
    ),
    ("DestinationRule", "destinationrules", ("dr",), (("Host", ".spec.host"),)),
    ("Gateway", "gateways", ("gw",), ()),
    (
        "ServiceEntry",
        "serviceentries",
        ("se",),
        (("Hosts", ".spec.hosts"), ("Location", ".spec.location"), ("Resolution", ".spec.resolution")),
    ),
    ("Sidecar", "sidecars", (), ()),
    ("WorkloadEntry", "workloadentries", ("we",), (("Address", ".spec.address"),)),
    ("WorkloadGroup", "workloadgroups", ("wg",), ()),
    ("EnvoyFilter", "envoyfilters", (), ()),
    ("ProxyConfig", "proxyconfigs", (), ()),
)
_ISTIO_VERSIONS: Final = {
    "EnvoyFilter": ("v1alpha3",),
    "ProxyConfig": ("v1beta1",),
}
_GATEWAY_ROWS: Final = (
    ("GatewayClass", "gatewayclasses", ("gc",), False, ("v1", "v1beta1")),
    ("Gateway", "gateways", ("gtw",), True, ("v1", "v1beta1")),
    ("HTTPRoute", "httproutes", (), True, ("v1", "v1beta1")),
    ("GRPCRoute", "grpcroutes", (), True, ("v1",)),
    ("TCPRoute", "tcproutes", (), True, ("v1alpha2",)),
    ("TLSRoute", "tlsroutes", (), True, ("v1alpha2",)),
    ("ReferenceGrant", "referencegrants", ("refgrant",), True, ("v1beta1",)),
)


def _istio() -> list[list[CustomKind]]:
    found = []
    for kind, plural, short, columns in _ISTIO_ROWS:
        shown = [{"name": n, "type": "string", "jsonPath": p} for n, p in columns] + [_AGE]
        categories = ("istio-io", "networking-istio-io")
        versions = _ISTIO_VERSIONS.get(kind, ("v1", "v1beta1", "v1alpha3"))
        found.append(
            [
                CustomKind(
                    Resource(_ISTIO, v, kind, plural, True, kind.lower(), short, categories, ("status",)),
                    columns=shown,
                    storage=v == versions[0],
                )
                for v in versions
            ]
        )
    return found


def _gateway_api() -> list[list[CustomKind]]:
    return [
        [
            CustomKind(
                Resource(
                    _GATEWAY, v, kind, plural, namespaced, kind.lower(), short, ("gateway-api",), ("status",)
                ),
                columns=_gateway_columns(kind),
                storage=v == versions[0],
            )
            for v in versions
        ]
        for kind, plural, short, namespaced, versions in _GATEWAY_ROWS
    ]


def _gateway_columns(kind: str) -> list[dict[str, str]]:
    paths = {
        "Gateway": (
            ("Class", ".spec.gatewayClassName"),
            ("Address", ".status.addresses[*].value"),
            ("Programmed", '.status.conditions[?(@.type=="Programmed")].status'),
        ),
        "GatewayClass": (
            ("Controller", ".spec.controllerName"),
            ("Accepted", '.status.conditions[?(@.type=="Accepted")].status'),
        ),
        "HTTPRoute": (("Hostnames", ".spec.hostnames"),),
        "GRPCRoute": (("Hostnames", ".spec.hostnames"),),
    }.get(kind, ())
    return [{"name": n, "type": "string", "jsonPath": p} for n, p in paths] + [dict(_AGE)]


def _vpa() -> list[list[CustomKind]]:
    group = "autoscaling.k8s.io"
    recommended = ".status.recommendation.containerRecommendations[0].target"
    columns = [
        {"name": "Mode", "type": "string", "jsonPath": ".spec.updatePolicy.updateMode"},
        {"name": "CPU", "type": "string", "jsonPath": f"{recommended}.cpu"},
        {"name": "Mem", "type": "string", "jsonPath": f"{recommended}.memory"},
        {
            "name": "Provided",
            "type": "string",
            "jsonPath": '.status.conditions[?(@.type=="RecommendationProvided")].status',
        },
        _AGE,
    ]
    vpa = Resource(
        group, "v1", "VerticalPodAutoscaler", "verticalpodautoscalers", True, "verticalpodautoscaler",
        ("vpa",), (), ("status",),
    )  # fmt: skip
    checkpoint = Resource(
        group, "v1", "VerticalPodAutoscalerCheckpoint", "verticalpodautoscalercheckpoints", True,
        "verticalpodautoscalercheckpoint", ("vpacheckpoint",), (), ("status",),
    )  # fmt: skip
    return [[CustomKind(vpa, columns=columns)], [CustomKind(checkpoint)]]


def _kwok() -> list[list[CustomKind]]:
    stage = Resource("kwok.x-k8s.io", "v1alpha1", "Stage", "stages", False, "stage", (), (), ("status",))
    return [[CustomKind(stage, columns=[_AGE])]]


WELL_KNOWN: Final = [*_istio(), *_gateway_api(), *_vpa(), *_kwok()]
"""Lists of the versions of one kind each."""
