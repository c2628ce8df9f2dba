"""What real Envoy does with our configuration: "a call to X lands on Y", as in Istio's simulations."""

from __future__ import annotations

from mesh_rig import Mesh, eventually

GATEWAY = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: shop-gateway}
spec:
  selector: {istio: ingressgateway}
  servers:
    - port: {number: 80, name: http, protocol: HTTP}
      hosts: ["*.example.com"]
---
"""


def virtual_service(http: str, hosts: str = "[shop.example.com]") -> str:
    body = "\n".join("    " + line for line in http.strip().splitlines())
    return f"""{GATEWAY}
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: shop}}
spec:
  hosts: {hosts}
  gateways: [shop-gateway]
  http:
{body}
"""


async def test_a_request_reaches_a_pod_of_the_service(mesh: Mesh) -> None:
    await mesh.pods("shop", "shop-1")
    assert await mesh.apply(virtual_service("- route: [{destination: {host: shop}}]")) == []
    reply = await mesh.call("/cart?x=1")
    assert (reply.status, reply.pod, reply.json["path"]) == (200, "shop-1", "/cart?x=1")
    assert (await mesh.call(host="other.example.com")).status == 404
    assert (await mesh.call(host="shop.example.com:8080")).status == 200


async def test_first_match_wins_and_prefixes_are_plain_strings(mesh: Mesh) -> None:
    await mesh.pods("shop", "shop-1")
    await mesh.pods("cart", "cart-1")
    await mesh.apply(
        virtual_service("""
- match: [{uri: {prefix: /cart}}, {headers: {x-team: {exact: cart}}}]
  route: [{destination: {host: cart}}]
- match: [{uri: {regex: "/v[0-9]+"}}]
  rewrite: {uri: /version}
  route: [{destination: {host: shop}}]
- match: [{queryParams: {debug: {exact: "1"}}}]
  directResponse: {status: 418, body: {string: teapot}}
- match: [{uri: {exact: /old}}]
  redirect: {uri: /new, redirectCode: 302}
- route: [{destination: {host: shop}}]
""")
    )
    assert (await mesh.call("/cartoon")).pod == "cart-1"
    assert (await mesh.call("/", x_team="cart")).pod == "cart-1"
    assert (await mesh.call("/v12?a=b")).json["path"] == "/version?a=b"
    assert (await mesh.call("/v12/x")).json["path"] == "/v12/x"
    teapot = await mesh.call("/?debug=1")
    assert (teapot.status, teapot.text) == (418, "teapot")
    moved = await mesh.call("/old")
    assert (moved.status, moved.headers["location"]) == (302, "http://shop.example.com/new")


async def test_weights_split_between_subsets(mesh: Mesh) -> None:
    await mesh.pods("shop", "shop-v1", version="v1")
    await mesh.pods("shop", "shop-v2", version="v2")
    rule = """
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: shop}
spec:
  host: shop
  subsets:
    - {name: one, labels: {version: v1}}
    - {name: two, labels: {version: v2}}
    - {name: none, labels: {version: v3}}
"""
    split = virtual_service("""
- match: [{uri: {prefix: /none}}]
  route: [{destination: {host: shop, subset: none}}]
- route:
    - {destination: {host: shop, subset: one}, weight: 90}
    - {destination: {host: shop, subset: two}, weight: 10}
""")
    await mesh.apply(split + rule)
    found = await mesh.calls(400)
    assert 300 < found["shop-v1"] < 398 and found["shop-v1"] + found["shop-v2"] == 400
    assert (await mesh.call("/none")).status == 503


async def test_headers_and_host_are_changed_on_the_way(mesh: Mesh) -> None:
    await mesh.pods("shop", "shop-1")
    await mesh.apply(
        virtual_service("""
- headers:
    request: {set: {x-a: "1", Host: inner.example.org}, remove: [x-secret]}
    response: {add: {x-served-by: wavetank}}
  route: [{destination: {host: shop}}]
""")
    )
    reply = await mesh.call("/", x_secret="s", x_a="0")
    assert reply.headers["x-served-by"] == "wavetank"
    sent = reply.json["headers"]
    assert (sent["host"], sent["x-a"], "x-secret" in sent) == ("inner.example.org", "1", False)


async def test_a_plain_503_is_not_retried_unless_asked_for(mesh: Mesh) -> None:
    await mesh.pods("shop", "good", "bad")
    mesh.backends["bad"].status = lambda request: 503
    await mesh.apply(virtual_service("- route: [{destination: {host: shop}}]"))
    assert (await mesh.calls(60))["503"] > 10
    await mesh.apply(
        virtual_service("- retries: {attempts: 3, retryOn: 5xx}\n  route: [{destination: {host: shop}}]")
    )
    assert await mesh.calls(60) == {"good": 60}


async def test_timeouts_are_off_unless_given(mesh: Mesh) -> None:
    await mesh.pods("shop", "slow")
    mesh.backends["slow"].delay_seconds = 0.3
    await mesh.apply(
        virtual_service("""
- match: [{uri: {prefix: /short}}]
  timeout: 100ms
  route: [{destination: {host: shop}}]
- route: [{destination: {host: shop}}]
""")
    )
    assert (await mesh.call("/short")).status == 504
    assert (await mesh.call("/long")).status == 200


async def test_faults_have_no_share_unless_given(mesh: Mesh) -> None:
    await mesh.pods("shop", "shop-1")
    await mesh.apply(
        virtual_service("""
- match: [{uri: {prefix: /always}}]
  fault: {abort: {httpStatus: 418, percentage: {value: 100}}}
  route: [{destination: {host: shop}}]
- match: [{uri: {prefix: /never}}]
  fault: {abort: {httpStatus: 418}}
  route: [{destination: {host: shop}}]
""")
    )
    assert await mesh.calls(20, "/always") == {"418": 20}
    assert await mesh.calls(20, "/never") == {"shop-1": 20}


async def test_an_outlier_is_ejected_once_the_rule_allows_it(mesh: Mesh) -> None:
    await mesh.pods("shop", "good", "bad")
    mesh.backends["bad"].status = lambda request: 500
    await mesh.apply(
        virtual_service("- route: [{destination: {host: shop}}]")
        + """
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: shop}
spec:
  host: shop
  trafficPolicy:
    outlierDetection: {consecutive5xxErrors: 3, maxEjectionPercent: 100}
"""
    )
    await mesh.calls(40)
    assert len(mesh.backends["bad"].requests) == 3


async def test_consistent_hashing_keeps_a_user_on_one_pod(mesh: Mesh) -> None:
    await mesh.pods("shop", "a", "b", "c")
    await mesh.apply(
        virtual_service("- route: [{destination: {host: shop}}]")
        + """
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: shop}
spec:
  host: shop
  trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: x-user}}}
"""
    )
    homes = {user: await mesh.calls(10, x_user=user) for user in ("ann", "bob", "cem", "dee", "eve", "fay")}
    assert all(len(pods) == 1 for pods in homes.values())
    assert len({next(iter(pods)) for pods in homes.values()}) > 1


async def test_mirrored_requests_reach_the_shadow(mesh: Mesh) -> None:
    await mesh.pods("shop", "shop-1")
    await mesh.pods("shadow", "shadow-1")
    await mesh.apply(virtual_service("- mirror: {host: shadow}\n  route: [{destination: {host: shop}}]"))
    assert await mesh.calls(10) == {"shop-1": 10}
    await eventually(lambda: len(mesh.backends["shadow-1"].requests) == 10)
    assert mesh.backends["shadow-1"].requests[0].headers["host"] == "shop.example.com-shadow"


async def test_what_is_good_in_a_change_holds_beside_what_is_refused(mesh: Mesh) -> None:
    await mesh.pods("shop", "shop-1")

    def ports(on_80: str, on_443: str) -> str:
        parts = []
        for port, uri in ((80, on_80), (443, on_443)):
            parts.append(f"""
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: gw-{port}}}
spec: {{servers: [{{port: {{number: {port}, name: http, protocol: HTTP}}, hosts: ["*"]}}]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: vs-{port}}}
spec:
  hosts: ["*"]
  gateways: [gw-{port}]
  http: [{{match: [{{uri: {uri}}}], route: [{{destination: {{host: shop}}}}]}}]
""")
        return "---".join(parts)

    assert await mesh.apply(ports("{prefix: /old}", "{prefix: /old}")) == []
    (nack,) = await mesh.apply(ports("{prefix: /new}", "{regex: '(('}"))
    assert nack.names == ("http.443",)
    assert [(await mesh.call("/new", port=80)).status, (await mesh.call("/old", port=443)).status] == [
        200,
        200,
    ]


async def test_refused_configuration_leaves_the_old_one_serving(mesh: Mesh) -> None:
    await mesh.pods("shop", "shop-1")
    await mesh.apply(virtual_service("- route: [{destination: {host: shop}}]"))
    bad = virtual_service("- match: [{uri: {regex: '(('}}]\n  route: [{destination: {host: shop}}]")
    nacks = await mesh.apply(bad)
    assert [n.names for n in nacks] == [("http.80",)] and "missing )" in nacks[0].error
    assert (await mesh.call()).status == 200
    assert await mesh.apply(bad) == nacks  # still refused, not sent again
    assert len(mesh.journal.of("xds.nack")) == 1
    fixed = virtual_service("- match: [{uri: {prefix: /only}}]\n  route: [{destination: {host: shop}}]")
    assert await mesh.apply(fixed) == []
    assert [(await mesh.call("/")).status, (await mesh.call("/only")).status] == [404, 200]
