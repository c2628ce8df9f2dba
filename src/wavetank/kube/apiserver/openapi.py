"""OpenAPI v3 documents, one per group and version, made from the types of the kinds.

kubectl reads two things in them: that PATCH takes ``fieldValidation`` (so validation is left to the server),
and the component schemas, for ``kubectl explain``. Left out: descriptions of rare fields, and every path but
the two of each resource.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from wavetank.kube.client import Object, Resource
from wavetank.kube.schema.builtin import description_of
from wavetank.kube.schema.node import Node

__all__ = ["EMPTY_V2", "V2_MEDIA", "OpenApi"]

V2_MEDIA: Final = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
EMPTY_V2: Final = b"\x0a\x032.0\x12\x13\x0a\x0aKubernetes\x12\x05v1.33"
"""An OpenAPI v2 document in protobuf that describes nothing (swagger and info only): kubectl 1.27 and 1.28
insist on there being one, and then use version 3."""

_encode = msgspec.json.Encoder().encode
_SCALARS: Final[dict[str, Object]] = {
    "string": {"type": "string"},
    "bool": {"type": "boolean"},
    "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"},
    "double": {"type": "number", "format": "double"},
    "bytes": {"type": "string", "format": "byte"},
    "time": {"type": "string", "format": "date-time"},
    "microtime": {"type": "string", "format": "date-time"},
    "quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
    "intstr": {"oneOf": [{"type": "integer"}, {"type": "string"}], "format": "int-or-string"},
    "any": {"type": "object"},
}
_PACKAGES: Final = {"meta": "io.k8s.apimachinery.pkg.apis.meta"}


class OpenApi:
    """Builds documents when they are asked for, and keeps them until the registry changes."""

    def __init__(self, type_of: Callable[[Resource], Node | None]) -> None:
        self._type_of = type_of
        self._documents: dict[tuple[str, str], bytes] = {}
        self._generation = -1

    def index(self, resources: Sequence[Resource], generation: int) -> Object:
        """``/openapi/v3``: where each document is, under a hash of what it says."""
        paths = {}
        for group, version in dict.fromkeys((r.group, r.version) for r in resources):
            path = f"apis/{group}/{version}" if group else f"api/{version}"
            data = self.document(resources, group, version, generation)
            assert data is not None
            digest = hashlib.sha256(data).hexdigest()[:32].upper()
            paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest}"}
        return {"paths": paths}

    def document(
        self, resources: Iterable[Resource], group: str, version: str, generation: int
    ) -> bytes | None:
        """The JSON of one document, or None."""
        if generation != self._generation:
            self._documents.clear()
            self._generation = generation
        key = (group, version)
        if key not in self._documents:
            found = [r for r in resources if (r.group, r.version) == key]
            if not found:
                return None
            self._documents[key] = _encode(_document(found, self._type_of))
        return self._documents[key]


def _document(resources: Sequence[Resource], type_of: Callable[[Resource], Node | None]) -> Object:
    schemas: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    for resource in resources:
        name = _kind_name(resource)
        node = type_of(resource) or Node("object", keep_unknown=True)
        components = _Components(schemas)
        schemas[name] = {
            **components.inline(node),
            "x-kubernetes-group-version-kind": [
                {"group": resource.group, "kind": resource.kind, "version": resource.version}
            ],
        }
        paths.update(_paths(resource, name))
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.33.1"},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _kind_name(resource: Resource) -> str:
    if "." in resource.group and not resource.group.endswith(".k8s.io"):
        reversed_group = ".".join(reversed(resource.group.split(".")))
        return f"{reversed_group}.{resource.version}.{resource.kind}"
    group = resource.group.partition(".")[0] or "core"
    return f"io.k8s.api.{group}.{resource.version}.{resource.kind}"


def _component_name(message: str) -> str:
    group, _, rest = message.partition(".")
    return f"{_PACKAGES.get(group, f'io.k8s.api.{group}')}.{rest}"


class _Components:
    """Collects the schemas of named types that a document refers to."""

    def __init__(self, schemas: dict[str, Any]) -> None:
        self._schemas = schemas

    def inline(self, node: Node) -> Object:
        """The schema of an object written out, its members' named types by reference."""
        if node.kind != "object":
            return self._value(node)
        schema: Object = {"type": "object"}
        if node.fields:
            schema["properties"] = {
                name: self._member(member, description_of(node.name, name) if node.name else "")
                for name, member in node.fields.items()
            }
        if node.required:
            schema["required"] = sorted(node.required)
        if node.keep_unknown:
            schema["x-kubernetes-preserve-unknown-fields"] = True
        return {**self._described(node), **schema}

    def _described(self, node: Node) -> Object:
        text = node.schema.get("description") if node.schema else description_of(node.name)
        return {"description": text} if text else {}

    def _member(self, node: Node, text: str) -> Object:
        schema = self._value(node)
        described: Object = {"description": text} if text else {}
        if node.kind == "object" and node.name:
            return {**described, "default": {}, "allOf": [schema]}
        return {**described, **schema}

    def _value(self, node: Node) -> Object:
        match node.kind:
            case "object" if node.name:
                return self._reference(node)
            case "object":
                return self.inline(node)
            case "map":
                return {"type": "object", "additionalProperties": self._value(node.element)}
            case "list":
                return self._list(node)
            case kind:
                extra = {k: node.schema[k] for k in ("enum", "pattern", "format") if k in node.schema}
                return {**self._described(node), **_SCALARS.get(kind, {}), **extra}

    def _list(self, node: Node) -> Object:
        schema: Object = {"type": "array", "items": self._value(node.element)}
        schema["x-kubernetes-list-type"] = node.list_type
        if node.list_keys:
            schema["x-kubernetes-list-map-keys"] = list(node.list_keys)
        if node.merge_key:
            schema["x-kubernetes-patch-merge-key"] = node.merge_key
        if node.patch_strategy:
            schema["x-kubernetes-patch-strategy"] = ",".join(node.patch_strategy)
        return schema

    def _reference(self, node: Node) -> Object:
        name = _component_name(node.name)
        if name not in self._schemas:
            self._schemas[name] = {}  # a type may contain itself
            self._schemas[name] = self.inline(node)
        return {"$ref": f"#/components/schemas/{name}"}


def _paths(resource: Resource, schema: str) -> dict[str, Any]:
    root = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    space = "/namespaces/{namespace}" if resource.namespaced else ""
    collection = f"{root}{space}/{resource.plural}"
    gvk = {"group": resource.group, "kind": resource.kind, "version": resource.version}
    reference = {"$ref": f"#/components/schemas/{schema}"}
    answers = {"200": {"description": "OK", "content": {"application/json": {"schema": reference}}}}
    options = [
        {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
        for name in ("dryRun", "fieldManager", "fieldValidation")
    ]

    def operation(action: str, parameters: Sequence[Object] = ()) -> Object:
        return {
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": gvk,
            "parameters": list(parameters),
            "responses": answers,
        }

    return {
        collection: {"get": operation("list"), "post": operation("post", options)},
        f"{collection}/{{name}}": {
            "get": operation("get"),
            "put": operation("put", options),
            "patch": operation("patch", options),
            "delete": operation("delete"),
        },
    }
