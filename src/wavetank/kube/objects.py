"""Small functions on objects in their JSON form: copy, names, conditions, owners, pod facts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import Any, Final

import msgspec

from wavetank.kube.client import Object, Resource
from wavetank.kube.times import format_time, parse_time

__all__ = [
    "condition", "controller_of", "copy", "is_available", "is_deleting", "is_ready", "is_subdomain",
    "is_terminal", "key_of", "labels_of", "new_uid", "owner_reference", "random_suffix", "ready_since",
    "set_condition", "stable_hash",
]  # fmt: skip

_SAFE: Final = "bcdfghjklmnpqrstvwxz2456789"
_SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_encode: Final = msgspec.json.Encoder(order="sorted").encode


def copy(value: Any) -> Any:
    """A deep copy of JSON data."""
    if isinstance(value, dict):
        return {k: copy(v) for k, v in value.items()}
    if isinstance(value, list):
        return [copy(v) for v in value]
    return value


def is_subdomain(name: str) -> bool:
    """Whether ``name`` is an RFC 1123 subdomain of at most 253 characters."""
    return len(name) <= 253 and _SUBDOMAIN.fullmatch(name) is not None


def key_of(obj: Object) -> str:
    """``namespace/name``, or the name alone."""
    metadata = obj["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])


def labels_of(obj: Object) -> Mapping[str, str]:
    return obj["metadata"].get("labels") or {}


def new_uid(random: Random) -> str:
    """A version 4 UUID from a seeded generator."""
    bits = random.getrandbits(128) & ~(0xF << 76) & ~(0x3 << 62) | (4 << 76) | (2 << 62)
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def random_suffix(random: Random, length: int = 5) -> str:
    """Letters without vowels, as ``generateName`` appends them."""
    return "".join(random.choice(_SAFE) for _ in range(length))


def stable_hash(value: Any, length: int = 10) -> str:
    """A short hash of JSON data in the alphabet of names (the pod-template-hash)."""
    number = int.from_bytes(hashlib.sha256(_encode(value)).digest()[:8], "big")
    text = ""
    for _ in range(length):
        number, digit = divmod(number, len(_SAFE))
        text += _SAFE[digit]
    return text


def owner_reference(owner: Object, resource: Resource) -> Object:
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def controller_of(obj: Object) -> Object | None:
    """The ownerReference with ``controller: true``."""
    references: Sequence[Object] = obj["metadata"].get("ownerReferences") or ()
    return next((r for r in references if r.get("controller")), None)


def condition(obj: Object, kind: str) -> Object | None:
    found: Iterable[Object] = (obj.get("status") or {}).get("conditions") or ()
    return next((c for c in found if c.get("type") == kind), None)


def set_condition(
    conditions: Sequence[Object], kind: str, status: str, reason: str, message: str, now: float, **more: Any
) -> list[Object]:
    """The conditions with one set; ``lastTransitionTime`` moves only when the status flips."""
    result = list(conditions)
    new = {
        "type": kind, "status": status, **more, "lastTransitionTime": format_time(now),
        "reason": reason, "message": message,
    }  # fmt: skip
    for index, old in enumerate(result):
        if old["type"] == kind:
            if old["status"] == status:
                new["lastTransitionTime"] = old.get("lastTransitionTime", new["lastTransitionTime"])
            result[index] = new
            return result
    return [*result, new]


def is_deleting(obj: Object) -> bool:
    return bool(obj["metadata"].get("deletionTimestamp"))


def is_terminal(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def is_ready(pod: Object) -> bool:
    found = condition(pod, "Ready")
    return found is not None and found.get("status") == "True"


def ready_since(pod: Object) -> float | None:
    """When the Ready condition became true; None while it is not."""
    found = condition(pod, "Ready")
    if found is None or found.get("status") != "True":
        return None
    return parse_time(found.get("lastTransitionTime"))


def is_available(pod: Object, min_ready_seconds: float, now: float) -> bool:
    """Ready for at least ``min_ready_seconds``."""
    if not is_ready(pod):
        return False
    if not min_ready_seconds:
        return True
    since = ready_since(pod)
    return since is not None and since + min_ready_seconds <= now
