"""Types of custom kinds, from the OpenAPI v3 schema of their CustomResourceDefinition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wavetank.kube.schema.builtin import node_of
from wavetank.kube.schema.node import ANY, Node

__all__ = ["from_schema"]


def from_schema(schema: Mapping[str, Any] | None) -> Node:
    """The type of a whole custom object; without a schema everything is kept."""
    metadata = node_of("meta.v1.ObjectMeta")
    common = {"apiVersion": Node("string"), "kind": Node("string"), "metadata": metadata}
    if not schema:
        return Node("object", members=lambda: common, keep_unknown=True)
    node = _node(schema)
    if node.kind != "object":
        return Node("object", members=lambda: common, keep_unknown=True, schema=schema)
    return Node(
        "object",
        members=lambda: {**node.fields, **common},
        required=node.required,
        keep_unknown=node.keep_unknown,
        schema=schema,
    )


def _node(schema: Mapping[str, Any]) -> Node:
    if schema.get("x-kubernetes-int-or-string"):
        return Node("intstr", schema=schema, nullable=bool(schema.get("nullable")))
    match schema.get("type"):
        case "object":
            return _object(schema)
        case "array":
            return Node(
                "list",
                item=_node(schema.get("items") or {}),
                list_type=schema.get("x-kubernetes-list-type", "atomic"),
                list_keys=tuple(schema.get("x-kubernetes-list-map-keys") or ()),
                nullable=bool(schema.get("nullable")),
                schema=schema,
            )
        case "string":
            return Node("string", schema=schema, nullable=bool(schema.get("nullable")))
        case "boolean":
            return Node("bool", schema=schema, nullable=bool(schema.get("nullable")))
        case "integer":
            return Node("int64", schema=schema, nullable=bool(schema.get("nullable")))
        case "number":
            return Node("double", schema=schema, nullable=bool(schema.get("nullable")))
    return ANY


def _object(schema: Mapping[str, Any]) -> Node:
    keep = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
    atomic = schema.get("x-kubernetes-map-type") == "atomic"
    nullable = bool(schema.get("nullable"))
    properties = schema.get("properties")
    additional = schema.get("additionalProperties")
    if not properties and isinstance(additional, dict):
        return Node("map", item=_node(additional), atomic=atomic, nullable=nullable, schema=schema)
    if not properties and additional is True:
        return Node("map", item=ANY, atomic=atomic, nullable=nullable, schema=schema)
    known: Mapping[str, Any] = properties or {}
    return Node(
        "object",
        members=lambda: {name: _node(member) for name, member in known.items()},
        required=frozenset(schema.get("required") or ()),
        atomic=atomic,
        keep_unknown=keep,
        embedded=bool(schema.get("x-kubernetes-embedded-resource")),
        nullable=nullable,
        schema=schema,
    )
