"""Kubernetes objects to the mesh's values: who may get requests, and under which names."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mesh_objects import Object, documents, endpoint_slice, pod, service

from wavetank.kube.resources import ENDPOINTSLICES, PODS, SERVICES
from wavetank.mesh import hosts
from wavetank.mesh.cache import Cache, Effect
from wavetank.mesh.collect import kube_service, slice_endpoints, workload_name
from wavetank.mesh.durations import parse_duration, proto_duration
from wavetank.mesh.model import port_protocol
from wavetank.mesh.translate import Placement, translate
from wavetank.mesh.translate.servers import by_port
from wavetank.mesh.world import build_world


def ready(pods: dict[str, Object], *slices: Object, leaving: set[str] | None = None) -> list[str]:
    return [e.pod for e in slice_endpoints(slices, pods, leaving or set())]


def test_only_pods_that_are_there_and_stay_get_requests() -> None:
    made = {f"default/{n}": pod(n, f"127.0.0.{i}", app="shop") for i, n in enumerate(("a", "b", "c", "d"), 2)}
    (piece,) = endpoint_slice("shop", [(p, 8080) for p in made.values()], terminating=["b"])
    going = {**made["default/c"], "metadata": {**made["default/c"]["metadata"], "deletionTimestamp": "now"}}
    assert ready(made, piece) == ["default/a", "default/c", "default/d"]
    assert ready({**made, "default/c": going}, piece) == ["default/a", "default/d"]
    assert ready({k: v for k, v in made.items() if k != "default/d"}, piece) == ["default/a", "default/c"]
    assert ready(made, piece, leaving={"uid-a"}) == ["default/c", "default/d"]
    namesake = {**made["default/a"], "metadata": {**made["default/a"]["metadata"], "uid": "other"}}
    assert ready({**made, "default/a": namesake}, piece) == ["default/c", "default/d"]
    assert ready(made, piece, piece) == ["default/a", "default/c", "default/d"]  # slices may overlap


def test_a_pod_is_named_by_its_deployment() -> None:
    assert workload_name(pod("shop-v1-5d8f-x", "127.0.0.2", app="shop")) == "shop-v1"
    assert workload_name({"metadata": {"name": "alone"}}) == "alone"


@pytest.mark.parametrize(
    ("name", "app_protocol", "expected"),
    [
        ("http", "", "HTTP"),
        ("http-web", "", "HTTP"),
        ("grpc-web-x", "", "HTTP"),
        ("grpc", "", "GRPC"),
        ("web", "", "AUTO"),
        ("httpx", "", "AUTO"),
        ("tcp-db", "HTTP2", "HTTP2"),
        ("", "kubernetes.io/h2c", "HTTP2"),
        ("redis", "", "TCP"),
    ],
)
def test_port_protocol(name: str, app_protocol: str, expected: str) -> None:
    assert port_protocol(name, app_protocol) == expected


def test_external_names_and_entries_become_dns_clusters() -> None:
    objects = documents("""
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {type: ExternalName, externalName: db.example.net, ports: [{name: tcp, port: 5432}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api}
spec:
  hosts: [api.example.net]
  ports: [{number: 443, name: https, protocol: HTTPS}]
  resolution: DNS
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: vm}
spec:
  hosts: [vm.example.net]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  workloadSelector: {labels: {app: vm}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: vm-1}
spec: {address: 127.0.0.9, ports: {http: 8080}, labels: {app: vm}, weight: 3}
""")
    config = translate(build_world(objects), Placement())
    db = config.clusters["outbound|5432||db.default.svc.cluster.local"]
    assert db["cluster_type"]["typed_config"]["all_addresses_in_single_endpoint"] is False
    address = db["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]
    assert address == {"socket_address": {"address": "db.example.net", "port_value": 5432}}
    assert "cluster_type" in config.clusters["outbound|443||api.example.net"]
    (vm,) = config.endpoints["outbound|80||vm.example.net"]["endpoints"][0]["lb_endpoints"]
    assert vm["load_balancing_weight"] == 3
    assert vm["endpoint"]["address"] == {"socket_address": {"address": "127.0.0.9", "port_value": 8080}}


def test_the_older_gateway_keeps_a_port() -> None:
    objects = documents("""
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: a-late, creationTimestamp: "2026-01-02T00:00:00Z"}
spec: {servers: [{port: {number: 80, name: tcp, protocol: TCP}, hosts: ["*"]}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: b-early, creationTimestamp: "2026-01-01T00:00:00Z"}
spec: {servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]}
""")
    assert [s.gateway.name for s in by_port(build_world(objects))[80]] == ["b-early"]


def test_host_patterns() -> None:
    assert hosts.resolve("shop", "ns") == "shop.ns.svc.cluster.local"
    assert hosts.resolve("shop.ns", "other") == "shop.ns"
    assert hosts.intersect("*.example.com", "shop.example.com") == "shop.example.com"
    assert hosts.intersect("*", "*.example.com") == "*.example.com"
    assert hosts.intersect("*.example.com", "example.com") is None
    assert hosts.most_specific("a.b.c", ["*", "*.c", "*.b.c"]) == "*.b.c"


def test_pod_status_is_no_reason_to_push() -> None:
    cache = Cache()
    made = pod("a", "127.0.0.2", app="shop")
    (piece,) = endpoint_slice("shop", [(made, 8080)])
    host = "shop.default.svc.cluster.local"
    assert cache.put(SERVICES, service("shop", ("http", 80))) == (Effect.CONFIGURATION, set())
    assert cache.put(ENDPOINTSLICES, piece) == (Effect.ENDPOINTS, {host})
    assert cache.put(PODS, made) == (Effect.ENDPOINTS, {host})
    assert cache.put(PODS, {**made, "status": {"phase": "Running"}}) == (Effect.NONE, set())
    going = {**made, "metadata": {**made["metadata"], "deletionTimestamp": "now"}}
    assert cache.put(PODS, going) == (Effect.ENDPOINTS, {host})
    assert cache.put(SERVICES, {**service("shop", ("http", 80)), "status": {}}) == (Effect.NONE, set())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1h2m3.5s", 3723.5), ("250ms", 0.25), ("0", 0.0), ("-1s", -1.0), (".5s", 0.5), ("1us", 1e-6)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "s", "1d", "1 s", "1s1", None, 5])
def test_what_is_no_duration(text: Any) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


@given(st.text(max_size=12))
def test_durations_parse_or_refuse(text: str) -> None:
    try:
        parse_duration(text)
    except ValueError:
        return
    assert proto_duration(text).endswith("s")


def test_headless_and_portless_services() -> None:
    found = kube_service(service("shop", ("http", 80), cluster_ip="None"))
    assert found is not None and found.addresses == ()
    assert kube_service(service("shop")) is None
