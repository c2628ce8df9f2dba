"""``metadata.managedFields``: who last set which field.

Mirrors ``k8s.io/apimachinery/pkg/util/managedfields``. A plain write takes over the fields it changes; the
owners before it lose them. Left out: managers of other API versions are not converted (built-in kinds are
stored in one version each).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from wavetank.kube.client import Object
from wavetank.kube.patches.fieldset import Path, from_fields_v1, leaves, to_fields_v1
from wavetank.kube.schema.node import Node
from wavetank.kube.times import format_time

__all__ = ["Manager", "owned_leaves", "read_managers", "record_update", "write_managers"]

_NOT_OWNED: Final = frozenset(
    {
        ("f:apiVersion",),
        ("f:kind",),
        *(
            ("f:metadata", f"f:{name}")
            for name in (
                "name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp",
                "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "managedFields",
                "generateName",
            )
        ),
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Manager:
    """``operation`` is Apply or Update. Apply managers have one entry per name and subresource."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""


Managers = dict[Manager, tuple[set[Path], str]]
"""Manager to (owned paths, time of its last change)."""


def owned_leaves(node: Node, obj: Object, subresource: str) -> dict[Path, Any]:
    """The leaves of an object that can be owned through this subresource."""
    found = leaves(node, obj)
    return {
        path: value
        for path, value in found.items()
        if path[:2] not in _NOT_OWNED and path[:1] not in _NOT_OWNED and path and _in_scope(path, subresource)
    }


def _in_scope(path: Path, subresource: str) -> bool:
    if subresource == "status":
        return path[0] == "f:status"
    return path[0] != "f:status"


def read_managers(obj: Mapping[str, Any]) -> Managers:
    managers: Managers = {}
    for entry in obj["metadata"].get("managedFields") or ():
        if not isinstance(entry, dict) or not isinstance(entry.get("fieldsV1"), dict):
            continue
        manager = Manager(
            str(entry.get("manager", "")),
            str(entry.get("operation", "Update")),
            str(entry.get("apiVersion", "")),
            str(entry.get("subresource", "")),
        )
        managers[manager] = (from_fields_v1(entry["fieldsV1"]), str(entry.get("time", "")))
    return managers


def write_managers(obj: Object, managers: Managers) -> None:
    """Set the metadata of ``obj``; managers that own nothing are left out."""
    entries = []
    # Apply before Update, then by time, as upstream sorts them.
    for manager, (paths, time) in sorted(
        managers.items(), key=lambda item: (item[0].operation, item[1][1], item[0].name)
    ):
        if not paths:
            continue
        entry: Object = {
            "manager": manager.name,
            "operation": manager.operation,
            "apiVersion": manager.api_version,
            "time": time,
            "fieldsType": "FieldsV1",
            "fieldsV1": to_fields_v1(paths),
        }
        if manager.subresource:
            entry["subresource"] = manager.subresource
        entries.append(entry)
    if entries:
        obj["metadata"]["managedFields"] = entries
    else:
        obj["metadata"].pop("managedFields", None)


def record_update(
    node: Node, old: Object | None, new: Object, manager: str, subresource: str, now: float
) -> None:
    """Note on ``new`` that ``manager`` changed what differs from ``old``."""
    if new["metadata"].get("managedFields") == []:
        new["metadata"].pop("managedFields")  # how a client resets them
        return
    scope = "status" if subresource == "status" else ""
    before = owned_leaves(node, old, scope) if old is not None else {}
    after = owned_leaves(node, new, scope)
    changed = {path for path, value in after.items() if path not in before or before[path] != value}
    gone = before.keys() - after.keys()
    if not changed and not gone:
        return
    managers = read_managers(new)
    me = Manager(manager, "Update", new["apiVersion"], subresource)
    for other, (paths, time) in list(managers.items()):
        lost = gone | (changed if other != me else set())
        if paths & lost:
            managers[other] = (paths - lost, time)
    mine = managers.get(me, (set(), ""))[0]
    if changed:
        managers[me] = (mine | changed, format_time(now))
    write_managers(new, managers)
