"""What the families of all kinds share: identity, labels, conditions, owners."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from wavetank.exporters.families import Families
from wavetank.exporters.quantity import unix_seconds

__all__ = [
    "CONDITION_STATUS",
    "INVALID",
    "UNITS",
    "Labels",
    "Object",
    "absolute",
    "conditions",
    "created",
    "identity",
    "label_metric",
    "meta_of",
    "number",
    "owners",
    "spec_of",
    "status_of",
    "times",
]

Object = Mapping[str, Any]
Labels = dict[str, str]

INVALID: Final = re.compile(r"[^a-zA-Z0-9_]")
CONDITION_STATUS: Final = ("true", "false", "unknown")
UNITS: Final = {"cpu": "core", "memory": "byte", "ephemeral_storage": "byte", "storage": "byte"}


def meta_of(item: Object) -> Mapping[str, Any]:
    meta: Mapping[str, Any] = item.get("metadata") or {}
    return meta


def spec_of(item: Object) -> Mapping[str, Any]:
    spec: Mapping[str, Any] = item.get("spec") or {}
    return spec


def status_of(item: Object) -> Mapping[str, Any]:
    status: Mapping[str, Any] = item.get("status") or {}
    return status


def identity(item: Object, label: str) -> Labels:
    meta = meta_of(item)
    namespace = meta.get("namespace")
    return {**({"namespace": str(namespace)} if namespace else {}), label: str(meta.get("name") or "")}


def created(found: Families, name: str, item: Object, who: Labels) -> None:
    if (at := unix_seconds(meta_of(item).get("creationTimestamp"))) is not None:
        found.gauge(name, who, at)


def label_metric(found: Families, name: str, item: Object, who: Labels) -> None:
    own = {
        f"label_{INVALID.sub('_', key)}": str(value)
        for key, value in (meta_of(item).get("labels") or {}).items()
    }
    found.gauge(name, {**who, **own}, 1)


def conditions(found: Families, name: str, item: Object, who: Labels) -> None:
    for condition in status_of(item).get("conditions") or []:
        for status in CONDITION_STATUS:
            labels = {**who, "condition": str(condition.get("type")), "status": status}
            found.gauge(name, labels, str(condition.get("status")).lower() == status)


def number(found: Families, name: str, who: Labels, value: Any) -> None:
    if value is not None:
        found.gauge(name, who, float(value))


def owners(found: Families, name: str, item: Object, who: Labels) -> None:
    owners = meta_of(item).get("ownerReferences") or [{}]
    for owner in owners:
        labels = {
            **who,
            "owner_kind": str(owner.get("kind") or ""),
            "owner_name": str(owner.get("name") or ""),
            "owner_is_controller": str(bool(owner.get("controller"))).lower() if owner else "",
        }
        found.gauge(name, labels, 1)


def absolute(value: Any, replicas: int, round_up: bool) -> float:
    """A number of pods from a number or a percentage."""
    if isinstance(value, str) and value.endswith("%"):
        share = int(value[:-1]) * replicas
        return float(-(-share // 100) if round_up else share // 100)
    return float(value)


def times(found: Families, prefix: str, item: Object, labels: Labels) -> None:
    """Creation, and deletion where it has begun."""
    created(found, f"{prefix}_created", item, labels)
    number(
        found, f"{prefix}_deletion_timestamp", labels, unix_seconds(meta_of(item).get("deletionTimestamp"))
    )
