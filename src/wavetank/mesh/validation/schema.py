"""Checking an object against its kind's schema: unknown fields, types, enums, bounds, CEL rules.

The schemas are data: ``data/istio.json`` reduced from Istio's CRDs, ``data/gateway_api.json`` written after
the Gateway API specification (v1). Texts are the API server's where it has one for the case.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

from wavetank.errors import did_you_mean
from wavetank.mesh.resources import GATEWAY_API_GROUP, ISTIO_GROUP
from wavetank.mesh.validation.messages import KeyPath, Problem, problem
from wavetank.mesh.validation.rules import RULES

__all__ = ["known_kinds", "schema_problems"]

_FILES = {ISTIO_GROUP: "data/istio.json", GATEWAY_API_GROUP: "data/gateway_api.json"}
_TOP_LEVEL = ("apiVersion", "kind", "metadata", "spec", "status")
_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "object": (dict,),
    "array": (list,),
}  # fmt: skip

Node = Mapping[str, Any]


@functools.cache
def _schema(group: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(resources.files(__package__).joinpath(_FILES[group]).read_bytes())
    return loaded


def known_kinds(group: str) -> list[str]:
    return sorted(_schema(group)["kinds"]) if group in _FILES else []


def schema_problems(group: str, obj: Mapping[str, Any]) -> Iterator[Problem]:
    """All that is wrong with the object's form."""
    schema = _schema(group)
    entry = schema["kinds"][obj["kind"]]
    for field in obj:
        if field not in _TOP_LEVEL:
            fix = did_you_mean(field, _TOP_LEVEL)
            yield problem("UnknownField", (field,), field=field, parent="the object", fix=fix)
    if obj.get("spec") is None:
        if entry["required"]:
            yield problem("SchemaError", (), detail="spec: Required value")
        return
    yield from _Walk(schema["nodes"]).check(entry["spec"], obj["spec"], ("spec",))


def _shown(path: KeyPath) -> str:
    return Problem("", "", "", path).field


class _Walk:
    def __init__(self, nodes: list[Node]) -> None:
        self._nodes = nodes

    def _node(self, reference: int | Node) -> Node:
        return self._nodes[reference] if isinstance(reference, int) else reference

    def check(self, reference: int | Node, value: Any, path: KeyPath) -> Iterator[Problem]:
        node = self._node(reference)
        if value is None and path != ("spec",):
            return  # an explicit null is an absent field
        kind = node["type"]
        if kind in _PYTHON_TYPES and not _is_a(value, kind):
            detail = f"{_shown(path)}: Invalid value: {value!r}: must be of type {kind}"
            yield problem("SchemaError", path, detail=detail)
            return
        yield from self._bounds(node, value, path)
        if isinstance(value, dict):
            yield from self._object(node, value, path)
        elif isinstance(value, list):
            yield from self._array(node, value, path)

    def _bounds(self, node: Node, value: Any, path: KeyPath) -> Iterator[Problem]:
        where = _shown(path)
        if "enum" in node and value not in node["enum"]:
            options = ", ".join(json.dumps(option) for option in node["enum"])
            detail = f"{where}: Unsupported value: {json.dumps(value)}"
            near = did_you_mean(value, node["enum"]) if isinstance(value, str) else None
            yield problem("SchemaError", path, detail=detail, fix=near or f"supported values: {options}")
        for fault in _out_of_bounds(node, value):
            yield problem("SchemaError", path, detail=f"{where}: Invalid value: {value!r}: {fault}")
        for name in node.get("rules", ()):
            holds, text = RULES[name]
            if not holds(value):
                yield problem("SchemaError", path, detail=f"{where}: Invalid value: {text}")

    def _object(self, node: Node, value: dict[str, Any], path: KeyPath) -> Iterator[Problem]:
        properties: Mapping[str, Any] | None = node.get("properties")
        for name in node.get("required", ()):
            if value.get(name) is None:
                yield problem("SchemaError", path, detail=f"{_shown((*path, name))}: Required value")
        for group in node.get("oneof", ()):
            given = [name for name in group if value.get(name) is not None]
            if len(given) > 1:
                detail = f"{_shown(path)}: only one of {', '.join(given)} can be set"
                yield problem("SchemaError", (*path, given[1]), detail=detail)
        for name, child in value.items():
            if properties is not None and name in properties:
                yield from self.check(properties[name], child, (*path, name))
            elif "values" in node:
                yield from self.check(node["values"], child, (*path, name))
            elif properties is not None:
                fix = did_you_mean(name, properties)
                yield problem("UnknownField", (*path, name), field=name, parent=_shown(path), fix=fix)

    def _array(self, node: Node, value: list[Any], path: KeyPath) -> Iterator[Problem]:
        for index, child in enumerate(value):
            if child is None:
                detail = f"{_shown((*path, index))}: Invalid value: an item must not be null"
                yield problem("SchemaError", (*path, index), detail=detail)
            yield from self.check(node.get("items", {"type": "any"}), child, (*path, index))
        keys = node.get("unique")
        seen: set[tuple[Any, ...]] = set()
        for index, child in enumerate(value if keys else ()):
            key = tuple(child.get(k) for k in keys or ()) if isinstance(child, dict) else (index,)
            if key in seen:
                where = _shown((*path, index))
                yield problem("SchemaError", (*path, index), detail=f"{where}: Duplicate value: {key[0]!r}")
            seen.add(key)


def _is_a(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _PYTHON_TYPES[kind])


def _out_of_bounds(node: Node, value: Any) -> Iterator[str]:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if "minimum" in node and value < node["minimum"]:
            yield f"should be greater than or equal to {node['minimum']}"
        if "maximum" in node and value > node["maximum"]:
            yield f"should be less than or equal to {node['maximum']}"
    limits: dict[type, tuple[str, str]] = {
        str: ("", "maxLength"),
        list: ("minItems", "maxItems"),
        dict: ("", "maxProperties"),
    }
    low, high = limits.get(type(value), ("", ""))
    if low in node and len(value) < node[low]:
        yield f"must have at least {node[low]} items"
    if high in node and len(value) > node[high]:
        yield f"must have at most {node[high]} items"
