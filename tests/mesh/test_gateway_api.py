"""HTTPRoutes as Istio translates them: its own golden files, and a request through a real Envoy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from mesh_rig import Mesh

from wavetank.mesh import gateway_api
from wavetank.mesh.resources import GATEWAY_API_GROUP
from wavetank.mesh.world import grouped

DATA = Path(__file__).parent / "data/gateway-api"
NAMESPACES = [
    {"metadata": {"name": name, "labels": labels}}
    for name, labels in (
        ("default", {"istio.io/test-name-part": "default"}),
        ("istio-system", {"istio.io/test-name-part": "istio-system"}),
        ("group-namespace1", {"istio.io/test-name-part": "group"}),
        ("group-namespace2", {"istio.io/test-name-part": "group"}),
        ("allowed-1", {"istio.io/test-name-part": "allowed"}),
        ("allowed-2", {"istio.io/test-name-part": "allowed"}),
        ("apple", {}),
        ("banana", {}),
    )
]
BINDING = ("default", "istio-system", "group-namespace1", "group-namespace2")
# Left out of this room: other route kinds, inference pools, cloud load balancer internals.
OTHER_KINDS = ("tcp", "tls", "InferencePool", "infpool", "waypoint")


def _cases() -> list[Any]:
    cases = []
    for golden in sorted(DATA.glob("*.golden")):
        for document in yaml.safe_load_all(golden.read_text()):
            parents = (
                (document or {})
                .get("metadata", {})
                .get("annotations", {})
                .get("internal.istio.io/parents", "")
            )
            if document is None or document["kind"] not in ("Gateway", "VirtualService"):
                continue
            if any(word in json.dumps(document) for word in OTHER_KINDS) or "HTTPS" in json.dumps(document):
                continue
            file = golden.with_suffix("")
            cases.append(pytest.param(file, document, id=f"{file.stem}:{document['kind']}:{parents[:60]}"))
    return cases


@pytest.mark.parametrize(("file", "golden"), _cases())
def test_golden(file: Path, golden: dict[str, Any]) -> None:
    kinds = grouped(d for d in yaml.safe_load_all(file.read_text()) if d)
    gateways, routes = gateway_api.convert(
        kinds.get((GATEWAY_API_GROUP, "Gateway"), ()),
        kinds.get((GATEWAY_API_GROUP, "HTTPRoute"), ()),
        {},
        [n for n in NAMESPACES if file.stem != "route-binding" or n["metadata"]["name"] in BINDING],
    )
    made = {
        (c.kind, c.namespace, c.name.replace("cluster.local", "domain.suffix")): c.spec
        for c in [*gateways, *routes]
    }
    metadata = golden["metadata"]
    spec = made[(golden["kind"], metadata["namespace"], metadata["name"])]
    assert json.loads(json.dumps(spec).replace("cluster.local", "domain.suffix")) == golden["spec"]


ROUTES = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: front}
spec:
  gatewayClassName: istio
  listeners: [{name: http, port: 80, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop}
spec:
  parentRefs: [{name: front}]
  hostnames: [shop.example.com]
  rules:
    - backendRefs: [{name: shop, port: 80}]
    - matches: [{path: {type: PathPrefix, value: /cart/}}]
      filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]
      backendRefs: [{name: cart, port: 80}]
    - matches: [{path: {type: PathPrefix, value: /gone}}]
      backendRefs: [{name: gone, port: 80}]
    - matches: [{path: {type: PathPrefix, value: /zero}}]
      backendRefs: [{name: cart, port: 80, weight: 0}]
"""


async def test_requests_follow_the_precedence_of_the_specification(mesh: Mesh) -> None:
    await mesh.pods("shop", "shop-1")
    await mesh.pods("cart", "cart-1")
    assert await mesh.apply(ROUTES) == []
    found = {}
    for path in ("/", "/cartoon", "/cart", "/cart/1/2", "/gone", "/zero"):
        reply = await mesh.call(path)
        found[path] = (reply.pod, reply.json["path"]) if reply.status == 200 else reply.status
    assert found == {
        "/": ("shop-1", "/"),
        "/cartoon": ("shop-1", "/cartoon"),  # whole path elements, unlike a VirtualService's prefix
        "/cart": ("cart-1", "/"),
        "/cart/1/2": ("cart-1", "/1/2"),
        "/gone": 500,
        "/zero": 500,
    }
