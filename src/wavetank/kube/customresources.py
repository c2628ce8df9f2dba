"""Custom kinds: registered from CustomResourceDefinition objects, or from data by the rooms that own them.

Mirrors ``apiextensions-apiserver``: structural schemas prune unknown fields, printer columns make tables, a
scale subresource is read through its paths. Left out: conversion webhooks (all versions are stored alike),
CEL rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from wavetank.kube.client import Object, Resource
from wavetank.kube.registry import Conversion, Kind, Registry
from wavetank.kube.schema.structural import from_schema
from wavetank.kube.schema.validation import schema_errors
from wavetank.kube.status import FieldError
from wavetank.kube.tables.cells import json_path
from wavetank.kube.tables.table import Columns, custom_columns

__all__ = ["CustomKind", "CustomResources", "kinds_of"]


@dataclass(frozen=True, slots=True)
class CustomKind:
    """One served version. ``schema`` is its openAPIV3Schema, None keeps whatever is sent;
    ``selector_path`` is the JSONPath of the scale subresource's selector."""

    resource: Resource
    schema: Mapping[str, Any] | None = None
    columns: Sequence[Mapping[str, Any]] = ()
    selector_path: str = ""
    storage: bool = True
    validate: Callable[[Object], Iterable[FieldError]] | None = None


class CustomResources:
    """Keeps the registry and the tables' columns in step with the custom kinds."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._columns: dict[tuple[str, str, str], Columns] = {}

    def columns(self, resource: Resource) -> Columns | None:
        return self._columns.get((resource.group, resource.version, resource.plural))

    def register(self, kinds: Sequence[CustomKind]) -> None:
        """All served versions of one custom kind; the one marked ``storage`` is what is kept."""
        stored = next((k for k in kinds if k.storage), kinds[0])
        others = [k for k in kinds if k is not stored]
        conversions = [
            Conversion(k.resource, stored.resource, _relabel(stored.resource), _relabel(k.resource))
            for k in others
        ]
        self._registry.add(_kind(stored), *conversions)
        for kind in kinds:
            resource = kind.resource
            key = (resource.group, resource.version, resource.plural)
            self._columns[key] = custom_columns(kind.columns)

    def remove(self, resource: Resource) -> None:
        self._registry.remove(resource)


def _relabel(resource: Resource) -> Callable[[Object], Object]:
    """Conversion "None": only the apiVersion differs."""
    return lambda obj: {**obj, "apiVersion": resource.api_version}


def _kind(custom: CustomKind) -> Kind:
    scale = None
    if "scale" in custom.resource.subresources:
        path = custom.selector_path

        def scale(obj: Object) -> str:
            return str(json_path(obj, path) or "") if path else ""

    schema = custom.schema
    more = custom.validate

    def validate(obj: Object) -> Iterable[FieldError]:
        if schema:
            yield from schema_errors(schema, obj)
        if more is not None:
            yield from more(obj)

    return Kind(
        custom.resource,
        validate=validate,
        scale_selector=scale,
        custom=True,
        type=from_schema(schema),
    )


def kinds_of(crd: Object) -> list[CustomKind]:
    """The served versions of a CustomResourceDefinition object, the stored one first."""
    spec = crd["spec"]
    names = spec["names"]
    base = Resource(
        spec["group"],
        "",
        names["kind"],
        names["plural"],
        spec.get("scope", "Namespaced") == "Namespaced",
        names.get("singular") or names["kind"].lower(),
        tuple(names.get("shortNames") or ()),
        tuple(names.get("categories") or ()),
    )
    found = []
    for version in spec.get("versions") or ():
        if not version.get("served", True):
            continue
        subresources = version.get("subresources") or {}
        found.append(
            CustomKind(
                replace(base, version=version["name"], subresources=tuple(subresources)),
                (version.get("schema") or {}).get("openAPIV3Schema"),
                version.get("additionalPrinterColumns") or (),
                (subresources.get("scale") or {}).get("labelSelectorPath", ""),
                bool(version.get("storage")),
            )
        )
    found.sort(key=lambda kind: not kind.storage)
    return found
