"""Unknown fields of every kind: refused, told of, or dropped, as the client asks."""

from __future__ import annotations

import re

import pytest

from wavetank.kube.client import ApiError, Resource
from wavetank.kube.resources import BUILT_IN
from wavetank.kube.schema.builtin import description_of, fields_of, type_of
from wavetank.kube.schema.decoding import decode_object

_TYPED = [r for r in BUILT_IN if type_of(r) is not None]


@pytest.mark.parametrize("resource", _TYPED, ids=lambda r: r.plural)
def test_every_kind_knows_its_fields(resource: Resource) -> None:
    body = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": "a", "nom": "b"},
        "sepc": 1,
    }
    with pytest.raises(ApiError) as caught:
        decode_object(resource, type_of(resource), body, "Strict")
    assert caught.value.code == 400
    assert re.search(
        r'strict decoding error: unknown field "metadata\.nom", unknown field "sepc"', caught.value.message
    )
    for validation, warned in (("Warn", 2), ("Ignore", 0)):
        kept, warnings = decode_object(resource, type_of(resource), body, validation)
        assert kept["metadata"] == {"name": "a"} and "sepc" not in kept
        assert len(warnings) == warned


def test_all_but_definitions_are_typed() -> None:
    assert [r.kind for r in BUILT_IN if r not in _TYPED] == ["CustomResourceDefinition"]


@pytest.mark.parametrize(
    "message",
    ["core.v1.Container", "core.v1.PodSpec", "apps.v1.DeploymentSpec", "autoscaling.v2.HPAScalingRules"],
)
def test_what_people_ask_about_is_described(message: str) -> None:
    fields = [f for f in fields_of(message) if not f.inline]
    described = [f.name for f in fields if description_of(message, f.name)]
    assert description_of(message) and len(described) > 0.6 * len(fields)
    assert description_of(message, "no-such-field") == ""
