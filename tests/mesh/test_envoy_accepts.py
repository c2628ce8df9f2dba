"""What validation lets through, Envoy takes, and without a warning: combinations of every field we translate."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from mesh_objects import Object, documents, service

from wavetank.mesh.dump import static_bootstrap
from wavetank.mesh.envoy import envoy_binary
from wavetank.mesh.translate import Placement, translate
from wavetank.mesh.validation import validate_object
from wavetank.mesh.world import build_world

STRINGS = [{"exact": "/a"}, {"prefix": "/a"}, {"regex": "/a.*"}, {"exact": ""}, {"prefix": ""}]
VALUES = [{}, {"exact": "a"}, {"prefix": "b"}, {"regex": "c+"}, {"regex": "*"}]
MATCH: dict[str, list[Any]] = {
    "uri": STRINGS,
    "headers": [{"x": value} for value in VALUES],
    "withoutHeaders": [{"y": value} for value in VALUES],
    "queryParams": [{"q": value} for value in VALUES],
    "method": [{"exact": "GET"}],
    "authority": [{"prefix": "s"}],
    "scheme": [{"exact": "http"}],
    "ignoreUriCase": [True],
    "port": [80],
    "statPrefix": ["st"],
    "gateways": [["default/gw"]],
}
DESTINATIONS = [{"host": "shop"}, {"host": "raw"}, {"host": "nowhere"}, {"host": "shop", "subset": "one"}]
HEADERS = [
    {"request": {"set": {"a": "b", "host": "h.com"}, "add": {"c": "%HOSTNAME%"}, "remove": ["z"]}},
    {"response": {"add": {"e": ""}, "remove": ["z"]}},
]
ROUTES = [
    *([{"destination": d}] for d in DESTINATIONS),
    [{"destination": DESTINATIONS[0], "headers": HEADERS[0]}],
    [{"destination": DESTINATIONS[0], "weight": 30}, {"destination": DESTINATIONS[2], "weight": 0}],
    [
        {"destination": DESTINATIONS[3], "weight": 3},
        {"destination": DESTINATIONS[1], "weight": 5, "headers": HEADERS[1]},
    ],
]
POLICIES: dict[str, list[Any]] = {
    "timeout": ["3s"],
    "retries": [
        {"attempts": 0},
        {"attempts": 3, "retryOn": "5xx,503", "perTryTimeout": "1s", "backoff": "10ms"},
        {"attempts": 1, "retryIgnorePreviousHosts": False, "retryRemoteLocalities": True},
    ],
    "headers": HEADERS,
    "rewrite": [{"uri": "/"}, {"uri": "/x", "authority": "q"}, {"uriRegexRewrite": {"match": "^/(.*)$", "rewrite": "/b\\1"}}],
    "mirrors": [[{"destination": DESTINATIONS[0], "percentage": {"value": 3.3}}, {"destination": DESTINATIONS[1]}]],
    "fault": [
        {"delay": {"fixedDelay": "1s", "percentage": {"value": 0.1}}, "abort": {"httpStatus": 500}},
        {"abort": {"grpcStatus": "UNAVAILABLE", "percentage": {"value": 100}}},
    ],
    "corsPolicy": [
        {},
        {"allowOrigins": [{"exact": "a"}, {"regex": "b"}], "allowMethods": ["GET"], "maxAge": "1m",
         "allowHeaders": ["x"], "exposeHeaders": ["y"], "allowCredentials": True, "unmatchedPreflights": "IGNORE"},
    ],
}  # fmt: skip
ANSWERS = [
    {"redirect": {"uri": "/n", "authority": "z", "scheme": "https", "port": 8443, "redirectCode": 308}},
    {"redirect": {"prefixRewrite": "/p", "derivePort": "FROM_PROTOCOL_DEFAULT"}},
    {"directResponse": {"status": 503, "body": {"string": "x"}}},
    {"directResponse": {"status": 200, "body": {"bytes": "eA=="}}},
]
TRAFFIC: dict[str, list[Any]] = {
    "loadBalancer": [
        *({"simple": s} for s in ("LEAST_REQUEST", "RANDOM", "PASSTHROUGH", "LEAST_CONN", "UNSPECIFIED")),
        *({"simple": s, "warmup": {"duration": "10s"}} for s in ("ROUND_ROBIN", "LEAST_REQUEST")),
        {"consistentHash": {"httpHeaderName": "h"}},
        {"consistentHash": {"httpCookie": {"name": "c", "ttl": "0s"}, "ringHash": {"minimumRingSize": 99}}},
        {"consistentHash": {"useSourceIp": True, "maglev": {"tableSize": 11}}},
        {"consistentHash": {"httpQueryParameterName": "q"}},
    ],
    "connectionPool": [
        {"tcp": {"maxConnections": 1, "connectTimeout": "1s", "tcpKeepalive": {"time": "10s"}}},
        {"http": {"http1MaxPendingRequests": 1, "maxRetries": 3, "h2UpgradePolicy": "UPGRADE"}},
        {
            "http": {"useClientProtocol": True, "maxConcurrentStreams": 4},
            "tcp": {"maxConnectionDuration": "9s"},
        },
    ],
    "outlierDetection": [
        {"consecutive5xxErrors": 5, "interval": "1s", "maxEjectionPercent": 50, "minHealthPercent": 10},
        {
            "consecutiveGatewayErrors": 3,
            "splitExternalLocalOriginErrors": True,
            "consecutiveLocalOriginFailures": 4,
        },
        {"outlierDetectionHttpErrorCodes": [500, 503]},
    ],
    "tls": [{"mode": mode} for mode in ("DISABLE", "SIMPLE", "ISTIO_MUTUAL")],
}
BASE = [
    service("shop", ("http", 80), cluster_ip="127.96.0.1"),
    service("raw", ("tcp", 443), cluster_ip="127.96.0.2"),
    *documents("""
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw}
spec: {servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]}
"""),
]


def some(draw: random.Random, fields: dict[str, list[Any]], most: int) -> dict[str, Any]:
    chosen = draw.sample(sorted(fields), draw.randint(0, min(most, len(fields))))
    return {name: draw.choice(fields[name]) for name in chosen}


def rule(draw: random.Random) -> dict[str, Any]:
    matches = (
        {"match": [some(draw, MATCH, 4) for _ in range(draw.randint(1, 2))]} if draw.random() < 0.8 else {}
    )
    if draw.random() < 0.25:
        return {**matches, **draw.choice(ANSWERS)}
    return {**matches, **some(draw, POLICIES, 4), "route": draw.choice(ROUTES)}


def resource(draw: random.Random, number: int) -> Object:
    if draw.random() < 0.5:
        hosts = draw.sample(["shop", "shop.example.com", "*.example.com", "x.com"], 2)
        bound = draw.choice([["gw"], ["mesh"], ["gw", "mesh"]])
        rules = [rule(draw) for _ in range(draw.randint(1, 4))]
        kind, spec = "VirtualService", {"hosts": hosts, "gateways": bound, "http": rules}
    else:
        policy = {
            **some(draw, TRAFFIC, 3),
            "portLevelSettings": [{"port": {"number": 443}, **some(draw, TRAFFIC, 3)}],
        }
        subset = {"name": "one", "labels": {"version": "v1"}, "trafficPolicy": some(draw, TRAFFIC, 2)}
        host = draw.choice(["shop", "raw", "*.default.svc.cluster.local"])
        kind, spec = "DestinationRule", {"host": host, "trafficPolicy": policy, "subsets": [subset]}
    metadata = {"name": f"r{number}"}
    return {"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": metadata, "spec": spec}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(30))
def test_envoy_takes_what_validation_lets_through(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    objects = [resource(draw, number) for number in range(8)]
    for obj in objects:
        assert [p.message for p in validate_object(obj) if p.is_error] == []
    config = translate(build_world([*BASE, *objects]), Placement(service_listeners=True))
    path = tmp_path / "envoy.json"
    path.write_bytes(msgspec.json.encode(static_bootstrap(config)))
    command = [str(envoy_binary()), "--mode", "validate", "-c", str(path), "-l", "warning"]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (checked.returncode, checked.stderr) == (0, "")
