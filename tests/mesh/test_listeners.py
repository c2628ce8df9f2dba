"""Listeners beyond plain HTTP: TLS from Secrets, SNI, Services' own addresses; and what Prometheus sees."""

from __future__ import annotations

import base64
import datetime
import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from mesh_objects import Object, service
from mesh_rig import Mesh, free_port

from wavetank.clock import RealClock
from wavetank.mesh.admin import Admin
from wavetank.mesh.stats import istio_names, stats_app

TLS = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw}
spec:
  servers:
    - port: {number: 443, name: https, protocol: HTTPS}
      hosts: ["shop.example.com"]
      tls: {mode: SIMPLE, credentialName: shop-cert}
    - port: {number: 80, name: http, protocol: HTTP}
      hosts: ["shop.example.com"]
      tls: {httpsRedirect: true}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: [shop.example.com]
  gateways: [gw]
  http: [{route: [{destination: {host: shop}}]}]
"""


def secret(name: str, host: str) -> Object:
    key = ec.generate_private_key(ec.SECP256R1())
    named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    start = datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(named)
        .issuer_name(named)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=36500))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    data = {"tls.crt": certificate.public_bytes(pem), "tls.key": private}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "default"},
        "data": {field: base64.b64encode(value).decode() for field, value in data.items()},
    }


async def ask(app: Any, path: str) -> tuple[int, str]:
    """GET from an ASGI application, without a server."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b""}
    await app(scope, receive, send)
    return sent[0]["status"], b"".join(m.get("body", b"") for m in sent[1:]).decode()


async def pod_at(mesh: Mesh, url: str, headers: dict[str, str] | None = None) -> str:
    """Which pod answers a connection of its own."""
    async with mesh.session.get(url, headers={"Connection": "close", **(headers or {})}) as response:
        return str((await response.json(content_type=None))["pod"])


async def get(mesh: Mesh, url: str, **options: Any) -> int:
    async with mesh.session.get(url, allow_redirects=False, **options) as response:
        await response.read()
        return response.status


async def test_https_opens_when_the_secret_is_there(mesh: Mesh) -> None:
    await mesh.pods("shop", "shop-1")
    await mesh.apply(TLS)
    address, port = mesh.placement.bind(443)
    assert list(await mesh.envoy.admin.listeners()) == ["0.0.0.0_80"]
    assert await mesh.apply(TLS, secret("shop-cert", "shop.example.com")) == []
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    url = f"https://{address}:{port}/"
    headers = {"Host": "shop.example.com"}
    options = {"ssl": context, "server_hostname": "shop.example.com", "headers": headers}
    assert await get(mesh, url, **options) == 200
    redirected = await mesh.call("/cart")
    assert (redirected.status, redirected.headers["location"]) == (301, "https://shop.example.com/cart")


@pytest.mark.parametrize(("port_name", "canary"), [("http", True), ("tcp-raw", False), ("unnamed", True)])
async def test_services_answer_at_their_own_address_by_mesh_rules(
    mesh: Mesh, port_name: str, canary: bool
) -> None:
    """Only where the protocol is HTTP, by name or by sniffing, do HTTP rules apply."""
    await mesh.pods("shop", "shop-1")
    await mesh.pods("canary", "canary-1")
    port = free_port("127.0.73.1")
    mesh.placement = replace(mesh.placement, service_listeners=True)
    rules = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: [shop]
  http:
    - match: [{headers: {x-canary: {exact: "1"}}}]
      route: [{destination: {host: canary, port: {number: 80}}}]
    - route: [{destination: {host: shop}}]
"""
    listening = service("shop", (port_name, port), cluster_ip="127.0.73.1")
    (own,) = mesh.endpoints("shop")
    own["ports"][0]["name"] = port_name
    assert await mesh.apply(rules, listening, own, *mesh.endpoints("canary")) == []
    url = f"http://127.0.73.1:{port}/"
    assert await pod_at(mesh, url) == "shop-1"
    assert await pod_at(mesh, url, {"x-canary": "1"}) == ("canary-1" if canary else "shop-1")


async def test_tcp_gateways_pass_connections_on(mesh: Mesh) -> None:
    await mesh.pods("shop", "shop-1")
    await mesh.apply("""
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw}
spec: {servers: [{port: {number: 80, name: tcp, protocol: TCP}, hosts: ["*"]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: ["*"]
  gateways: [gw]
  tcp: [{match: [{port: 80}], route: [{destination: {host: shop}}]}]
""")
    assert (await mesh.call("/raw", host="anything")).pod == "shop-1"


async def test_prometheus_sees_istio_names_and_pods(mesh: Mesh) -> None:
    await mesh.pods("shop", "shop-1")
    await mesh.apply(TLS.replace("tls: {httpsRedirect: true}", ""))
    await mesh.calls(5)
    await mesh.call(host="nobody.example.com")
    app, text = stats_app(mesh.envoy.admin), ""
    for _ in range(50):
        _, text = await ask(app, "/stats/prometheus")
        if "istio_request_duration_milliseconds_count{" in text:
            break
        await RealClock().sleep(0.1)  # histograms come with Envoy's flush, once a second
    (served,) = [x for x in text.splitlines() if x.startswith("istio_requests_total") and "shop-v1" in x]
    for label in (
        'reporter="source"', 'destination_service="shop.default.svc.cluster.local"', 'destination_pod="shop-1"',
        'destination_workload="shop-v1"', 'response_code="200"', 'response_flags="-"',
    ):  # fmt: skip
        assert label in served
    assert served.endswith(" 5")
    (lost,) = [x for x in text.splitlines() if x.startswith("istio_requests_total") and 'code="404"' in x]
    assert 'destination_service="unknown"' in lost and 'response_flags="NR"' in lost
    assert "envoy_istio" not in text and "envoy_cluster_upstream_rq_total" in text
    assert "warning" not in mesh.envoy.child.tail(50)


async def test_stats_of_an_envoy_that_is_gone_are_503() -> None:
    admin = Admin(Path("/nonexistent/admin.sock"))
    status, text = await ask(stats_app(admin), "/metrics")
    await admin.close()
    assert status == 503 and "does not answer" in text


def test_other_metrics_keep_their_names_and_empty_labels() -> None:
    lines = b'envoy_cluster_x{a=""} 1\nenvoy_istio_y{a="",grpc_response_status=""} 2\n# TYPE envoy_istio_y counter\n'
    assert istio_names(lines) == (
        b'envoy_cluster_x{a=""} 1\nistio_y{a="unknown"} 2\n# TYPE istio_y counter\n'
    )
