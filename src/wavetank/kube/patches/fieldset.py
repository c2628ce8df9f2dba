"""Sets of field paths: what a manager owns, as ``managedFields`` writes it (FieldsV1).

Mirrors ``structured-merge-diff``'s ``fieldpath``. A path is a tuple of elements ``f:NAME``, ``k:{...}`` (an
item of a list that is a map) and ``v:...`` (an item of a list that is a set); atomic values are leaves.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from wavetank.kube.schema.node import Node

__all__ = ["Path", "from_fields_v1", "item_element", "leaves", "shown", "to_fields_v1"]

Path = tuple[str, ...]

# Keys of list items that may be left out, with what the server fills in.
_KEY_DEFAULTS: Final = {"protocol": "TCP"}
ITEM: Final = object()
"""The value of a list item's own path: it exists, and its members have paths of their own."""


def leaves(node: Node, value: Any) -> dict[Path, Any]:
    """Every owned path of a value with the value there."""
    found: dict[Path, Any] = {}
    _collect(node, value, (), found)
    return found


def _collect(node: Node, value: Any, path: Path, found: dict[Path, Any]) -> None:
    if isinstance(value, dict) and value and not node.atomic:
        for name, member in value.items():
            _collect(node.field(name), member, (*path, f"f:{name}"), found)
    elif isinstance(value, list) and value and node.kind == "list" and node.list_type in ("map", "set"):
        for item in value:
            element = item_element(node, item)
            if element is None:
                found[path] = value
                return
            here = (*path, element)
            found[here] = ITEM
            if node.list_type == "map":
                for name, member in item.items():
                    _collect(node.element.field(name), member, (*here, f"f:{name}"), found)
    else:
        found[path] = value


def item_element(node: Node, item: Any) -> str | None:
    """The path element of a list's item; None where the item lacks a key."""
    if node.list_type == "set":
        return "v:" + json.dumps(item, separators=(",", ":"), sort_keys=True)
    if not isinstance(item, dict):
        return None
    keys: dict[str, Any] = {}
    for key in node.list_keys:
        value = item.get(key, _KEY_DEFAULTS.get(key))
        if value is None:
            return None
        keys[key] = value
    return _key_element(tuple(sorted(keys.items())))


@lru_cache(maxsize=4096)
def _key_element(keys: tuple[tuple[str, Any], ...]) -> str:
    return "k:" + json.dumps(dict(keys), separators=(",", ":"))


def to_fields_v1(paths: Iterable[Path]) -> dict[str, Any]:
    """The nested form; "." marks a path that has longer ones below it."""
    tree: dict[str, Any] = {}
    for path in sorted(paths):
        here = tree
        for element in path:
            here = here.setdefault(element, {})
        here["."] = {}
    return _without_leaf_dots(tree)


def _without_leaf_dots(tree: dict[str, Any]) -> dict[str, Any]:
    if tree.keys() == {"."}:
        return {}
    return {name: below if name == "." else _without_leaf_dots(below) for name, below in tree.items()}


def from_fields_v1(tree: Mapping[str, Any]) -> set[Path]:
    """The paths of a FieldsV1; what is not one is left out."""
    found: set[Path] = set()
    _walk(tree, (), found)
    return found


def _walk(tree: Mapping[str, Any], path: Path, found: set[Path]) -> None:
    if not tree and path:
        found.add(path)
    for name, below in tree.items():
        if name == ".":
            found.add(path)
        elif isinstance(below, Mapping) and name[:2] in ("f:", "k:", "v:", "i:"):
            _walk(below, (*path, name), found)


def shown(path: Path) -> str:
    """As conflicts name it: ``.spec.containers[name="web"].image``."""
    text = ""
    for element in path:
        kind, _, rest = element.partition(":")
        if kind == "f":
            text += f".{rest}"
        elif kind == "k":
            keys = json.loads(rest)
            text += "[" + ",".join(f"{k}={json.dumps(v)}" for k, v in sorted(keys.items())) + "]"
        else:
            text += f"[={rest}]"
    return text
