"""Whatever passes validation translates, and fits the Envoy API: specs drawn from the schema itself."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mesh_objects import service

from wavetank.mesh.descriptors import pack
from wavetank.mesh.translate import Placement, translate
from wavetank.mesh.validation import validate_object
from wavetank.mesh.validation.schema import _schema
from wavetank.mesh.world import build_world

ISTIO, GATEWAY_API = "networking.istio.io", "gateway.networking.k8s.io"
STRINGS = st.sampled_from(
    [
        "shop", "default/gw", "gw", "*", "*.example.com", "shop.example.com", "mesh", "/a", "/a/",
        "/a.*", "10s", "1m30s", "GET", "one", "http", "HTTP", "HTTPS", "TCP", "TLS", "80", "5xx,503",
        "1.2.3.4", "x-user", "UNAVAILABLE",
    ]
)  # fmt: skip
DURATIONS = st.sampled_from(["10s", "1m30s", "250ms", "1h"])


def values(nodes: list[Any], reference: Any, depth: int = 0) -> st.SearchStrategy[Any]:
    node = nodes[reference] if isinstance(reference, int) else reference
    if "enum" in node:
        return st.sampled_from(node["enum"])
    match node["type"]:
        case "object" if "properties" in node:
            return _objects(nodes, node, depth)
        case "object":
            inner = values(nodes, node["values"], depth + 1) if "values" in node else STRINGS
            return st.dictionaries(st.sampled_from(["x-user", "version", "http"]), inner, max_size=2)
        case "array":
            return st.lists(values(nodes, node["items"], depth + 1), min_size=1, max_size=2)
        case "integer":
            return st.sampled_from([0, 1, 80, 443, 503, 100])
        case "number":
            return st.sampled_from([0.0, 0.5, 50.0, 100.0])
        case "boolean":
            return st.booleans()
        case _:
            timed = any("duration" in rule for rule in node.get("rules", ()))
            return DURATIONS if timed else STRINGS


def _objects(nodes: list[Any], node: Any, depth: int) -> st.SearchStrategy[Any]:
    required = {name: node["properties"][name] for name in node.get("required", ())}
    optional = {name: ref for name, ref in node["properties"].items() if name not in required}
    excluded = {name for group in node.get("oneof", ()) for name in group[1:]}
    likely = {name: ref for name, ref in optional.items() if name not in excluded}

    @st.composite
    def draw_object(draw: st.DrawFn) -> dict[str, Any]:
        chosen = draw(st.sets(st.sampled_from(sorted(likely)), max_size=4)) if likely else set()
        names = {**required, **{name: likely[name] for name in chosen}}
        return {name: draw(values(nodes, ref, depth + 1)) for name, ref in names.items()}

    return draw_object()


@st.composite
def resources(draw: st.DrawFn) -> dict[str, Any]:
    group, kind = draw(
        st.sampled_from(
            [(ISTIO, k) for k in ("VirtualService", "Gateway", "DestinationRule", "ServiceEntry")]
            + [(GATEWAY_API, "HTTPRoute"), (GATEWAY_API, "Gateway")]
        )
    )
    schema = _schema(group)
    spec = draw(values(schema["nodes"], schema["kinds"][kind]["spec"]))
    return {
        "apiVersion": f"{group}/v1",
        "kind": kind,
        "metadata": {"name": draw(st.sampled_from("ab"))},
        "spec": spec,
    }


BASE: list[dict[str, Any]] = [
    service("shop", ("http", 80), cluster_ip="127.96.0.1"),
    service("a", ("tcp", 443), cluster_ip="127.96.0.2"),
    {
        "apiVersion": f"{ISTIO}/v1",
        "kind": "Gateway",
        "metadata": {"name": "gw"},
        "spec": {"servers": [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}]},
    },
]


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(st.lists(resources(), min_size=1, max_size=3))
def test_what_is_valid_translates(objects: list[dict[str, Any]]) -> None:
    sound = [o for o in objects if not any(p.is_error for p in validate_object(o))]
    config = translate(build_world([*BASE, *sound]), Placement(service_listeners=True))
    for part in (config.clusters, config.endpoints, config.listeners, config.routes):
        for resource in part.values():
            pack(resource)
