"""Strategic merge patch: merge patch with lists that merge by key, and directives.

Mirrors ``k8s.io/apimachinery/pkg/util/strategicpatch``: ``$patch: delete|replace|merge``, ``$retainKeys``,
``$setElementOrder/LIST``, ``$deleteFromPrimitiveList/LIST``. Merge keys come from the table of fields.
"""

from __future__ import annotations

from typing import Any, Final

from wavetank.kube.client import Object
from wavetank.kube.schema.node import Node
from wavetank.kube.status import bad_request

__all__ = ["strategic_merge"]

_ORDER: Final = "$setElementOrder/"
_REMOVE: Final = "$deleteFromPrimitiveList/"


def strategic_merge(node: Node, target: Object, patch: Object) -> Object:
    """A new object; ``target`` stays as it is. Raises ApiError 400 for malformed directives."""
    merged = _map(node, target, patch)
    return merged if merged is not None else {}


def _map(node: Node, target: Any, patch: dict[str, Any]) -> dict[str, Any] | None:
    """None where the patch deletes the whole map."""
    directive = patch.get("$patch")
    if directive == "delete":
        return None
    if directive == "replace":
        return {k: v for k, v in patch.items() if k != "$patch"}
    if directive not in (None, "merge"):
        raise bad_request(f"unknown $patch type: {directive!r} in strategic merge patch")
    result: dict[str, Any] = dict(target) if isinstance(target, dict) else {}
    if (keep := patch.get("$retainKeys")) is not None:
        if not isinstance(keep, list):
            raise bad_request("$retainKeys must be a list")
        result = {k: v for k, v in result.items() if k in keep}
    for key, value in patch.items():
        if key.startswith(_REMOVE):
            name = key.removeprefix(_REMOVE)
            gone = value if isinstance(value, list) else []
            result[name] = [v for v in result.get(name) or [] if v not in gone]
    for key, value in patch.items():
        if key.startswith("$"):
            continue
        merged = _value(node.field(key), result.get(key), value, patch.get(_ORDER + key))
        if merged is None:
            result.pop(key, None)
        else:
            result[key] = merged
    for key, order in patch.items():
        name = key.removeprefix(_ORDER)
        if key.startswith(_ORDER) and name not in patch and isinstance(result.get(name), list):
            result[name] = _ordered(node.field(name), result[name], result[name], order)
    return result


def _value(node: Node, target: Any, patch: Any, order: Any) -> Any:
    if patch is None:
        return None
    if isinstance(patch, dict):
        if "replace" in node.patch_strategy:
            return {k: v for k, v in patch.items() if k != "$patch"}
        return _map(node, target, patch)
    if isinstance(patch, list):
        return _list(node, target, patch, order)
    return patch


def _list(node: Node, target: Any, patch: list[Any], order: Any) -> list[Any]:
    existing = target if isinstance(target, list) else []
    if "merge" not in node.patch_strategy:
        return [_plain(node.element, item) for item in patch]
    if not node.merge_key:
        merged = existing + [item for item in patch if item not in existing]
        return _ordered(node, merged, existing, order if order is not None else patch)
    return _by_key(node, existing, patch, order)


def _by_key(node: Node, existing: list[Any], patch: list[Any], order: Any) -> list[Any]:
    key = node.merge_key
    if any(isinstance(item, dict) and item.get("$patch") == "replace" for item in patch):
        return [item for item in patch if not (isinstance(item, dict) and item.get("$patch") == "replace")]
    merged = list(existing)
    for item in patch:
        if not isinstance(item, dict):
            raise bad_request("list elements of a strategic merge patch must be objects")
        if key not in item:
            raise bad_request(f"map: {item} does not contain declared merge key: {key}")
        at = next((i for i, m in enumerate(merged) if isinstance(m, dict) and m.get(key) == item[key]), None)
        if item.get("$patch") == "delete":
            merged = [m for m in merged if not (isinstance(m, dict) and m.get(key) == item[key])]
        elif at is None:
            merged.append(_plain(node.element, item))
        else:
            merged[at] = _map(node.element, merged[at], item)
    return _ordered(node, merged, existing, order if order is not None else patch)


def _plain(node: Node, item: Any) -> Any:
    """A patch's item where there is nothing to merge with: its directives and nulls are left out."""
    if not isinstance(item, dict):
        return item
    return _map(node, None, item) or {}


def _ordered(node: Node, merged: list[Any], existing: list[Any], order: Any) -> list[Any]:
    """Items the patch speaks of in its order; the server's own stay where they stood among them."""
    if not isinstance(order, list):
        raise bad_request("$setElementOrder must be a list")
    key = node.merge_key

    def identity(item: Any) -> Any:
        return item.get(key) if key and isinstance(item, dict) else item

    wanted = {_hashable(identity(item)): i for i, item in reversed(list(enumerate(order)))}
    stood = {_hashable(identity(item)): i for i, item in enumerate(existing)}
    ours = [item for item in merged if _hashable(identity(item)) in wanted]
    ours.sort(key=lambda item: wanted[_hashable(identity(item))])
    theirs = [item for item in merged if _hashable(identity(item)) not in wanted]
    result: list[Any] = []
    while ours and theirs:
        mine = stood.get(_hashable(identity(ours[0])))
        other = stood.get(_hashable(identity(theirs[0])))
        first = mine is not None and other is not None and other < mine
        result.append(theirs.pop(0) if first else ours.pop(0))
    return result + ours + theirs


def _hashable(value: Any) -> Any:
    return repr(value) if isinstance(value, dict | list) else value
