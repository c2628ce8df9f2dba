"""Server-side apply: merge a partial object, take ownership, refuse conflicts, remove what is not applied
any more.

Mirrors ``structured-merge-diff``'s ``merge.Updater``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from wavetank.kube.client import ApiError, Object
from wavetank.kube.patches.fieldset import Path, from_fields_v1, item_element, shown
from wavetank.kube.patches.managed import Manager, Managers, owned_leaves, read_managers, write_managers
from wavetank.kube.schema.node import Node
from wavetank.kube.times import format_time

__all__ = ["server_side_apply"]


def server_side_apply(
    node: Node,
    live: Object | None,
    applied: Object,
    manager: str,
    force: bool,
    subresource: str,
    now: float,
) -> Object:
    """The object that results, with its managedFields. Raises ApiError 409 with the conflicting fields."""
    scope = "status" if subresource == "status" else ""
    wanted = owned_leaves(node, applied, scope)
    me = Manager(manager, "Apply", applied["apiVersion"], subresource)
    if live is None:
        created = {**applied, "metadata": {**applied["metadata"]}}
        write_managers(created, {me: (set(wanted), format_time(now))})
        return created
    managers = read_managers(live)
    before = owned_leaves(node, live, scope)
    merged: Object = _merge(node, live, applied)
    changed = {path for path, value in wanted.items() if path not in before or before[path] != value}
    _settle_conflicts(managers, me, changed, force)
    earlier: set[Path] = set()
    for other in [m for m in managers if _same(m, me)]:
        earlier |= managers.pop(other)[0]
    others = set().union(*(paths for paths, _ in managers.values())) if managers else set()
    kept = others | wanted.keys()
    for path in sorted(earlier - wanted.keys(), key=len):  # whole items before their members
        if not _owned_below(path, kept) and not _is_key_of_kept_item(path, kept):
            merged = _without(node, merged, path)
    managers[me] = (set(wanted), _time(live, me, set(wanted), changed, now))
    merged["metadata"] = {**merged["metadata"]}
    write_managers(merged, managers)
    return merged


def _same(one: Manager, other: Manager) -> bool:
    return (one.name, one.operation, one.subresource) == (other.name, other.operation, other.subresource)


def _time(live: Object, me: Manager, wanted: set[Path], changed: set[Path], now: float) -> str:
    """Applying the same again leaves the time, so that nothing is written at all."""
    if not changed:
        for entry in live["metadata"].get("managedFields") or ():
            same = (entry.get("manager"), entry.get("operation"), entry.get("subresource", ""))
            if same == (me.name, "Apply", me.subresource) and from_fields_v1(entry["fieldsV1"]) == wanted:
                return str(entry.get("time", ""))
    return format_time(now)


def _settle_conflicts(managers: Managers, me: Manager, changed: set[Path], force: bool) -> None:
    conflicts: list[tuple[Manager, str, list[Path]]] = []
    for other, (paths, time) in list(managers.items()):
        if _same(other, me):
            continue
        contested = sorted(paths & changed)
        if contested and force:
            managers[other] = (paths - changed, time)
        elif contested:
            conflicts.append((other, time, contested))
    if conflicts:
        raise _conflict(conflicts)


def _conflict(conflicts: list[tuple[Manager, str, list[Path]]]) -> ApiError:
    count = sum(len(paths) for _, _, paths in conflicts)
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f"conflict with {_named(manager, time)}",
            "field": shown(path),
        }
        for manager, time, paths in conflicts
        for path in paths
    ]
    noun = "conflict" if count == 1 else "conflicts"
    parts = []
    for manager, time, paths in conflicts:
        if len(paths) == 1:
            parts.append(f"conflict with {_named(manager, time)}: {shown(paths[0])}")
        else:
            listed = "".join(f"\n- {shown(path)}" for path in paths)
            parts.append(f"conflicts with {_named(manager, time)}:{listed}")
    text = f"Apply failed with {count} {noun}: " + "\n".join(parts)
    return ApiError(409, "Conflict", text, {"causes": causes})


def _named(manager: Manager, time: str) -> str:
    if manager.operation == "Apply":
        return f'"{manager.name}"'
    through = f' with subresource "{manager.subresource}"' if manager.subresource else ""
    at = f" at {time}" if time else ""
    return f'"{manager.name}"{through} using {manager.api_version}{at}'


def _owned_below(path: Path, owned: set[Path] | Any) -> bool:
    return any(other[: len(path)] == path for other in owned)


def _is_key_of_kept_item(path: Path, owned: set[Path] | Any) -> bool:
    """An item that others still own must keep the members it is known by."""
    if len(path) < 2 or not path[-2].startswith("k:"):
        return False
    return path[-1][2:] in json.loads(path[-2][2:]) and _owned_below(path[:-1], owned)


def _merge(node: Node, live: Any, applied: Any) -> Any:
    """``applied`` over ``live``: maps and keyed lists merge, all else is replaced."""
    if isinstance(applied, dict) and isinstance(live, dict) and not node.atomic:
        result = dict(live)
        for name, value in applied.items():
            result[name] = _merge(node.field(name), live[name], value) if name in live else value
        return result
    if isinstance(applied, list) and isinstance(live, list) and node.list_type in ("map", "set"):
        return _merge_list(node, live, applied)
    return applied


def _merge_list(node: Node, live: list[Any], applied: list[Any]) -> list[Any]:
    """In the order applied; items only the server has stay behind those they followed."""
    by_element = {item_element(node, item): item for item in live}
    result = []
    taken = {item_element(node, item) for item in applied}
    rest = [item for item in live if item_element(node, item) not in taken]
    for item in applied:
        existing = by_element.get(item_element(node, item))
        result.append(item if existing is None else _merge(node.element, existing, item))
    return result + rest


def _without(node: Node, value: Any, path: Path) -> Any:
    """``value`` without what is at ``path``, and without maps that became empty on the way."""
    element, rest = path[0], path[1:]
    if isinstance(value, dict) and element.startswith("f:"):
        name = element[2:]
        if name not in value:
            return value
        result = dict(value)
        if rest:
            result[name] = _without(node.field(name), value[name], rest)
        if not rest or _emptied(value[name], result[name]):
            del result[name]
        return result
    if isinstance(value, list):
        kept = []
        for item in value:
            if item_element(node, item) != element:
                kept.append(item)
            elif rest:
                kept.append(_without(node.element, item, rest))
        return kept
    return value


def _emptied(before: Any, after: Any) -> bool:
    return isinstance(before, Mapping | list) and bool(before) and not after
