"""The types of the built-in kinds, read from ``fields.json`` when first asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Final

import msgspec

from wavetank.kube.client import Resource
from wavetank.kube.schema.node import Node

__all__ = ["Field", "description_of", "fields_of", "is_scalar", "message_name", "node_of", "type_of"]

_SCALARS: Final = frozenset(
    {"string", "bool", "int32", "int64", "double", "bytes", "time", "microtime", "quantity", "intstr", "raw"}
)
_GROUPS: Final = {
    "": "core", "apps": "apps", "autoscaling": "autoscaling", "batch": "batch",
    "coordination.k8s.io": "coordination", "discovery.k8s.io": "discovery", "events.k8s.io": "events",
    "policy": "policy", "scheduling.k8s.io": "scheduling", "networking.k8s.io": "networking",
    "storage.k8s.io": "storage", "rbac.authorization.k8s.io": "rbac", "authorization.k8s.io": "authorization",
    "authentication.k8s.io": "authentication",
}  # fmt: skip
_TYPE_META: Final = Node("string")


@dataclass(frozen=True, slots=True)
class Field:
    """One row of the table. ``shape`` is "", "list" or "map" (from string); ``type`` a scalar or message."""

    name: str
    number: int
    type: str
    shape: str
    options: Mapping[str, str]

    @property
    def inline(self) -> bool:
        return "inline" in self.options


@cache
def _table() -> dict[str, dict[str, str]]:
    data = resources.files("wavetank.kube.schema").joinpath("fields.json").read_bytes()
    return msgspec.json.decode(data, type=dict[str, dict[str, str]])


def is_scalar(kind: str) -> bool:
    return kind in _SCALARS


def message_name(group: str, version: str, kind: str) -> str | None:
    """``apps.v1.Deployment``; None for a kind that is not in the table."""
    short = _GROUPS.get(group)
    name = f"{short}.{version}.{kind}"
    if name in _table():
        return name
    common = f"meta.v1.{kind}"
    return common if common in _table() and short in ("core", None) else None


@cache
def fields_of(message: str) -> tuple[Field, ...]:
    """The rows of a message in order; inline ones are not flattened."""
    return tuple(_field(name, text) for name, text in _table()[message].items() if name)


def _field(name: str, text: str) -> Field:
    number, kind, *options = text.split()
    shape = "list" if kind.startswith("[]") else "map" if kind.startswith("{}") else ""
    given = (option.partition("=") for option in options)
    return Field(
        name, int(number), kind[2:] if shape else kind, shape, {key: value for key, _, value in given}
    )


@cache
def node_of(message: str) -> Node:
    """The type of a message, its inline fields flattened."""
    members = tuple(_flat(message))
    return Node(
        "object",
        members=lambda: {f.name: _node(f) for f in members},
        required=frozenset(f.name for f in members if "required" in f.options),
        atomic=_table()[message].get("") == "atomic",
        name=message,
    )


def _flat(message: str) -> Iterator[Field]:
    for found in fields_of(message):
        if found.inline:
            yield from _flat(found.type)
        else:
            yield found


def _node(found: Field) -> Node:
    options = found.options
    element = _scalar(found.type) if found.type in _SCALARS else node_of(found.type)
    strategy, _, key = options.get("patch", "").partition(":")
    strategies = tuple(strategy.split(",")) if strategy else ()
    atomic = options.get("map") == "atomic"
    if found.shape == "list":
        kind, _, keys = options.get("list", "atomic").partition(":")
        list_keys = tuple(keys.split("+")) if keys else ()
        return Node(
            "list",
            item=element,
            list_type=kind,
            list_keys=list_keys,
            patch_strategy=strategies,
            merge_key=key,
        )
    if found.shape == "map":
        return Node("map", item=element, atomic=atomic, patch_strategy=strategies)
    if atomic or strategies:
        return replace(element, atomic=atomic or element.atomic, patch_strategy=strategies)
    return element


@cache
def _descriptions() -> dict[str, dict[str, str]]:
    """Type -> field -> text; the field "" is the type itself."""
    text = resources.files("wavetank.kube.schema").joinpath("descriptions.txt").read_text()
    found: dict[str, dict[str, str]] = {}
    fields: dict[str, str] = {}
    for line in text.splitlines():
        name, _, description = line.partition(" ")
        if line.startswith("#"):
            continue
        if description:
            fields["" if name == ":" else name] = description
        else:
            fields = found[name] = {}
    return found


def description_of(message: str, field: str = "") -> str:
    """What ``kubectl explain`` says of a type, or of one of its fields; "" where nothing is known."""
    every = _descriptions()
    return every.get(message, {}).get(field) or (every["*"].get(field, "") if field else "")


@cache
def _scalar(kind: str) -> Node:
    return Node("any", keep_unknown=True) if kind == "raw" else Node(kind)


@cache
def type_of(resource: Resource) -> Node | None:
    """The type of a built-in kind with apiVersion and kind; None where the table lacks it."""
    message = message_name(resource.group, resource.version, resource.kind)
    if message is None:
        return None
    node = node_of(message)
    members = node.members
    return replace(node, members=lambda: {"apiVersion": _TYPE_META, "kind": _TYPE_META, **members()})
