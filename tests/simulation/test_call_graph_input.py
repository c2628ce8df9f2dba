"""From manifests and model.yaml to the graph: what the mesh's resources mean, and what is refused where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from wavetank.errors import InputError
from wavetank.simulation.graph.plan import Graph, plan_graph
from wavetank.simulation.graph.policies import BAD, ERROR, REFUSED, RESET, TIMEOUT
from wavetank.simulation.model import load_models

NAMES = ("shop", "cart", "stock")


def objects(*more: str) -> list[dict[str, Any]]:
    """Three Deployments with Services, a gateway to the shop, and ``more`` documents."""
    found: list[dict[str, Any]] = [
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "Gateway",
            "metadata": {"name": "web"},
            "spec": {
                "selector": {"istio": "ingressgateway"},
                "servers": [
                    {
                        "port": {"number": 80, "name": "http", "protocol": "HTTP"},
                        "hosts": ["shop.example.com"],
                    }
                ],
            },
        },
        *yaml.safe_load_all(ROUTE),
    ]
    for name in NAMES:
        labels = {"app": name}
        found.append(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": name},
                "spec": {
                    "selector": {"matchLabels": labels},
                    "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c"}]}},
                },
            }
        )
        ports = [{"name": "http", "port": 80}]
        spec = {"selector": labels, "ports": ports}
        found.append({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})
    for text in more:
        found.extend(yaml.safe_load_all(text))
    for obj in found:
        obj["metadata"].setdefault("namespace", "default")
    return found


ROUTE = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: [shop.example.com]
  gateways: [web]
  http: [{route: [{destination: {host: shop}}]}]
"""


def graph(tmp_path: Path, services: str, *more: str) -> Graph:
    text = f"apiVersion: wavetank.dev/v1\nkind: Model\nservices:\n{services}"
    (tmp_path / "model.yaml").write_text(text)
    return plan_graph(objects(*more), "shop.example.com", 80, load_models(tmp_path, NAMES))


CALLS = "  shop:\n    calls: [{service: cart}]\n"


def test_without_calls_and_policies_no_graph_is_needed(tmp_path: Path) -> None:
    found = graph(tmp_path, "  shop: {}\n")
    assert not found.needed
    assert [w.name for w in found.workloads] == ["shop"]


def test_calls_are_followed_from_service_to_service(tmp_path: Path) -> None:
    found = graph(
        tmp_path,
        "  shop:\n    calls:\n      - {service: cart, count: 2}\n"
        "      - parallel: [{service: stock, probability: 0.5}, {service: cart.default, optional: true}]\n"
        "  cart:\n    calls: [{service: stock.default.svc.cluster.local}]\n",
    )
    assert found.needed
    assert [w.name for w in found.workloads] == ["shop", "cart", "stock"]
    edges = {e: [found.clusters[c].service for c, _ in edge.clusters] for e, edge in enumerate(found.edges)}
    shop, cart, stock = found.workloads
    assert [[(edges[e][0], p, o) for e, p, o in step] for step in shop.steps] == [
        [("cart", 1.0, False)],
        [("cart", 1.0, False)],
        [("stock", 0.5, False), ("cart", 1.0, True)],
    ]
    assert [[edges[e][0] for e, _, _ in step] for step in cart.steps] == [["stock"]]
    assert stock.steps == ()


GATEWAY_API = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: front}
spec: {gatewayClassName: istio, listeners: [{name: http, port: 8080, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: cart}
spec:
  parentRefs: [{name: front}]
  hostnames: [cart.example.com]
  rules: [{timeouts: {request: 4s}, backendRefs: [{name: cart, port: 80}]}]
"""


def test_the_load_may_come_in_by_an_http_route_or_at_a_service(tmp_path: Path) -> None:
    models = load_models(tmp_path, NAMES)
    by_route = plan_graph(objects(GATEWAY_API), "cart.example.com", 8080, models)
    assert [w.name for w in by_route.workloads] == ["cart"]
    assert by_route.edges[0].policy.timeout == 4.0
    assert [w.name for w in plan_graph(objects(), None, None, models).workloads] == ["shop"]


REDIRECT = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: old}
spec:
  hosts: [shop.example.com]
  gateways: [web]
  http:
    - {match: [{uri: {prefix: /api}}], route: [{destination: {host: stock}}]}
    - {redirect: {uri: /new}}
"""


def test_routes_that_lead_to_no_pods_are_passed_over(tmp_path: Path) -> None:
    given = [o for o in objects(REDIRECT) if o["metadata"]["name"] != "shop" or o["kind"] != "VirtualService"]
    found = plan_graph(given, "shop.example.com", 80, load_models(tmp_path, NAMES))
    assert [w.name for w in found.workloads] == ["stock"]


def test_istio_retries_a_connection_that_fails_twice_where_nothing_is_said(tmp_path: Path) -> None:
    policy = graph(tmp_path, CALLS).edges[1].policy
    assert (policy.retries, policy.retry_on, policy.timeout) == (2, 1 << REFUSED, float("inf"))
    assert not policy.asks_for_retries


MESH_ROUTE = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart}
spec:
  hosts: [cart]
  http:
    - match: [{uri: {prefix: /slow}}]
      timeout: 9s
      route: [{destination: {host: cart}}]
    - timeout: 3s
      retries: {attempts: 4, perTryTimeout: 200ms, retryOn: "gateway-error,500", backoff: 10ms}
      route: [{destination: {host: cart}, weight: 75}, {destination: {host: stock}, weight: 25}]
"""


def test_virtual_services_decide_timeouts_retries_and_weights(tmp_path: Path) -> None:
    found = graph(tmp_path, CALLS, MESH_ROUTE)
    edge = found.edges[1]
    assert [(found.clusters[c].service, weight) for c, weight in edge.clusters] == [
        ("cart", 75),
        ("stock", 25),
    ]
    policy = edge.policy
    assert (policy.timeout, policy.retries, policy.try_timeout, policy.backoff) == (3.0, 4, 0.2, 0.01)
    assert policy.backoff_max == pytest.approx(0.1)
    assert policy.retry_on == 1 << BAD | 1 << TIMEOUT | 1 << REFUSED | 1 << RESET | 1 << ERROR
    other = graph(tmp_path, CALLS.replace("cart}", "cart, path: /slow/x}"), MESH_ROUTE)
    assert (other.edges[1].policy.timeout, len(other.edges[1].clusters)) == (9.0, 1)


RULE = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart}
spec:
  host: cart
  trafficPolicy:
    loadBalancer: {simple: ROUND_ROBIN}
    connectionPool: {tcp: {maxConnections: 7}, http: {http1MaxPendingRequests: 8, http2MaxRequests: 9}}
    outlierDetection: {consecutiveGatewayErrors: 3, interval: 4s, baseEjectionTime: 20s, maxEjectionPercent: 40}
    retryBudget: {percent: 25, minRetryConcurrency: 6}
"""


def test_destination_rules_decide_breakers_budgets_and_ejections(tmp_path: Path) -> None:
    found = graph(tmp_path, CALLS, RULE)
    policy = next(c.policy for c in found.clusters if c.service == "cart")
    assert policy.breaks
    assert policy.ejects
    assert (policy.connections_max, policy.pending_max, policy.requests_max) == (7, 8, 9)
    assert (policy.budget_percent, policy.budget_least) == (25.0, 6)
    assert (policy.errors, policy.gateway_errors) == (5, 3)  # Envoy's five 5xx stand beside
    assert (policy.interval, policy.ejection, policy.ejected_percent_max) == (4.0, 20.0, 40.0)


REFUSED_INPUT = [
    (
        "  shop:\n    calls: [{service: cat}]\n",
        "model.yaml:5",
        "no service is named 'cat'; did you mean 'cart'?",
    ),
    ("  shop:\n    calls: [{service: cart, port: 81}]\n", "model.yaml:5", "no port 81; its ports: 80"),
    (
        "  shop:\n    calls: [{service: cart}]\n  cart:\n    calls: [{service: stock}]\n"
        "  stock:\n    calls:\n      - {service: shop}\n",
        "model.yaml:10",
        "calls go in a circle: shop -> cart -> stock -> shop",
    ),
    ("  shop:\n    calls: [{service: shop}]\n", "model.yaml:5", "calls go in a circle: shop -> shop"),
    ("  shop:\n    calls: [{service: cart, probability: 1.5}]\n", "model.yaml:5", "probability"),
    ("  shop:\n    calls: [{service: cart, probability: -0.1}]\n", "model.yaml:5", "probability"),
    ("  shop:\n    calls: [{service: cart, count: 0}]\n", "model.yaml:5", "count: 0 is not possible"),
    ("  shop:\n    calls: [{service: cart, count: 65}]\n", "model.yaml:5", "between 1 and 64"),
    ("  shop:\n    calls: [{count: 2}]\n", "model.yaml:5", "a call names no service"),
    ("  shop:\n    calls: [{service: cart, path: x}]\n", "model.yaml:5", "path: 'x' does not begin with /"),
    ("  shop:\n    calls: [{sevice: cart}]\n", "model.yaml:5", "did you mean 'service'?"),
    (
        "  shop:\n    calls: [{parallel: [{service: cart}], count: 2}]\n",
        "model.yaml:5",
        "parallel stands alone",
    ),
    (
        "  shop:\n    calls: [{parallel: [{parallel: [{service: cart}]}]}]\n",
        "model.yaml:5",
        "parallel inside parallel",
    ),
    ("  shop:\n    failures: {ratio: 2}\n", "model.yaml:5", "ratio"),
    ("  shop:\n    failures: {ratio: 0.1, status: 404}\n", "model.yaml:5", "status: 404 is not modelled"),
    (
        "  shop:\n    calls:\n" + "      - {service: cart, count: 40}\n" * 2,
        "model.yaml:5",
        "80 calls of one request, above 64",
    ),
]


@pytest.mark.parametrize(("services", "place", "says"), REFUSED_INPUT)
def test_what_cannot_be_is_refused_with_place_and_fix(
    tmp_path: Path, services: str, place: str, says: str
) -> None:
    with pytest.raises(InputError) as caught:
        graph(tmp_path, services)
    assert place in str(caught.value)
    assert says in str(caught.value)


def test_a_service_without_pods_and_one_outside_are_refused(tmp_path: Path) -> None:
    lonely = "{apiVersion: v1, kind: Service, metadata: {name: lonely}, spec: {selector: {app: none}, ports: [{port: 80}]}}"
    with pytest.raises(
        InputError, match=r"no workload has pods that service default/lonely selects \(app=none\)"
    ):
        graph(tmp_path, "  shop:\n    calls: [{service: lonely}]\n", lonely)
    outside = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: bank}
spec: {hosts: [bank.example.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS}
"""
    with pytest.raises(InputError, match="outside of the cluster"):
        graph(tmp_path, "  shop:\n    calls: [{service: bank.example.com}]\n", outside)
