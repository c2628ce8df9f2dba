"""Protobuf bodies, as kubectl 1.32 and newer send them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavetank.kube.client import ApiError
from wavetank.kube.schema.protobuf import MAGIC, decode_protobuf


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number: int, value: bytes | str | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def body(api_version: str, kind: str, raw: bytes) -> bytes:
    return MAGIC + field(1, field(1, api_version) + field(2, kind)) + field(2, raw)


def entry(key: str, value: bytes | str) -> bytes:
    return field(1, key) + field(2, value)


def test_a_deployment_with_maps_quantities_and_inline_fields() -> None:
    quantity = field(1, "100m")
    probe = field(1, field(2, field(1, "/ok") + field(2, field(1, 0) + field(2, 8080)))) + field(4, 5)
    container = (
        field(1, "c")
        + field(2, "nginx")
        + field(8, field(2, entry("cpu", quantity)))
        + field(11, probe)
        + field(16, 0)
    )
    template = field(1, field(11, entry("app", "web"))) + field(2, field(2, container) + field(3, "Always"))
    spec = field(1, 3) + field(2, field(1, entry("app", "web"))) + field(3, template) + field(7, 0)
    raw = field(1, field(1, "web") + field(8, field(1, 0))) + field(2, spec) + field(3, b"")
    assert decode_protobuf(body("apps/v1", "Deployment", raw)) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "containers": [
                        {
                            "name": "c",
                            "image": "nginx",
                            "resources": {"requests": {"cpu": "100m"}},
                            "readinessProbe": {"httpGet": {"path": "/ok", "port": 8080}, "periodSeconds": 5},
                        }
                    ],
                    "restartPolicy": "Always",
                },
            },
        },
        "status": {},
    }


def test_numbers_below_zero_bytes_and_unknown_fields() -> None:
    raw = field(1, field(1, "x")) + field(2, entry("k", b"\x00\xff")) + field(99, "new")
    assert decode_protobuf(body("v1", "Secret", raw))["data"] == {"k": "AP8="}
    raw = field(2, -5) + field(1, field(1, "p"))
    assert decode_protobuf(body("scheduling.k8s.io/v1", "PriorityClass", raw))["value"] == -5


def test_a_kind_that_is_not_known_is_refused_with_the_way_out() -> None:
    with pytest.raises(ApiError, match=r"'Widget' in 'example.com/v1' are not supported: send JSON"):
        decode_protobuf(body("example.com/v1", "Widget", b""))


@given(st.binary(max_size=200))
def test_hostile_bytes_are_an_api_error(data: bytes) -> None:
    for raw in (data, MAGIC + data, body("apps/v1", "Deployment", data), body("v1", "Pod", field(2, data))):
        try:
            decode_protobuf(raw)
        except ApiError as error:
            assert error.code == 400
