"""Deletion: grace periods, finalizers, and how dependents follow their owner.

Mirrors ``BeforeDelete`` and the finalizer rules of ``k8s.io/apiserver``'s registry store. Dependents are
removed by the garbage collection controller, which acts on the finalizers set here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wavetank.kube.client import Object
from wavetank.kube.objects import key_of
from wavetank.kube.registry import Kind
from wavetank.kube.status import bad_request, conflict
from wavetank.kube.storage import Bucket, name_of
from wavetank.kube.times import format_time

if TYPE_CHECKING:
    from wavetank.kube.api import Api, Caller

__all__ = ["DEFAULT", "FOREGROUND", "ORPHAN", "Options", "delete", "may_go", "remove"]

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
_POLICIES = {"": "", "Background": "", "Foreground": FOREGROUND, "Orphan": ORPHAN}


@dataclass(frozen=True, slots=True)
class Options:
    """``DeleteOptions``; None and "" leave the choice to the kind."""

    grace_period_seconds: int | None = None
    propagation_policy: str = ""
    uid: str = ""
    resource_version: str = ""


DEFAULT = Options()


def delete(
    api: Api, kind: Kind, bucket: Bucket, old: Object, options: Options, caller: Caller
) -> tuple[Object, bool]:
    """(object, gone): removes it at once, or marks it and waits for kubelet or finalizers."""
    _check(kind, old, options)
    metadata = old["metadata"]
    new = {**old, "metadata": {**metadata}}
    grace = _grace_seconds(kind, old, options)
    finalizers = _finalizers(metadata.get("finalizers") or [], options)
    if finalizers:
        new["metadata"]["finalizers"] = finalizers
    else:
        new["metadata"].pop("finalizers", None)
    if kind.resource.plural == "namespaces" and not kind.resource.group:
        return _terminate_namespace(api, bucket, old, new, caller)
    if not finalizers and grace == 0:
        return (old if caller.dry_run else remove(api, kind, bucket, old)), True
    before = metadata.get("deletionTimestamp")
    if (
        before
        and grace >= metadata.get("deletionGracePeriodSeconds", 0)
        and finalizers == metadata.get("finalizers", [])
    ):
        return old, False  # already on its way, and not asked to hurry
    if not before or grace < metadata.get("deletionGracePeriodSeconds", 0):
        new["metadata"]["deletionTimestamp"] = format_time(api.clock.now() + grace)
        new["metadata"]["deletionGracePeriodSeconds"] = grace
        if kind.generation:
            new["metadata"]["generation"] = metadata.get("generation", 0) + 1
    if caller.dry_run:
        return new, False
    stored = api.storage.put(bucket, new)
    if kind.graceful and not before:
        api.journal.record("pod.terminating", pod=key_of(stored), uid=metadata["uid"], grace_seconds=grace)
    return stored, False


def may_go(kind: Kind, obj: Object) -> bool:
    """Whether an object that is being deleted has nothing left to wait for."""
    metadata = obj["metadata"]
    if metadata.get("finalizers"):
        return False
    if kind.resource.plural == "namespaces" and not kind.resource.group:
        return not (obj.get("spec") or {}).get("finalizers")
    return not kind.graceful or metadata.get("deletionGracePeriodSeconds", 0) == 0


def remove(api: Api, kind: Kind, bucket: Bucket, obj: Object) -> Object:
    """Take the object out of storage, whatever stage of deletion it was in."""
    namespace, name = name_of(obj)
    if kind.graceful and not obj["metadata"].get("deletionTimestamp"):
        api.journal.record("pod.terminating", pod=key_of(obj), uid=obj["metadata"]["uid"], grace_seconds=0)
    return api.storage.remove(bucket, namespace, name)


def _check(kind: Kind, old: Object, options: Options) -> None:
    if options.propagation_policy not in _POLICIES:
        raise bad_request(f"invalid propagationPolicy {options.propagation_policy!r}")
    metadata = old["metadata"]
    for what, wanted, actual in (
        ("UID", options.uid, metadata["uid"]),
        ("ResourceVersion", options.resource_version, metadata["resourceVersion"]),
    ):
        if wanted and wanted != actual:
            raise conflict(
                kind.resource,
                metadata["name"],
                f"Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {actual}",
            )


def _grace_seconds(kind: Kind, old: Object, options: Options) -> int:
    """Only pods that run somewhere have a grace period."""
    if not kind.graceful:
        return 0
    spec, status = old.get("spec") or {}, old.get("status") or {}
    if not spec.get("nodeName") or status.get("phase") in ("Succeeded", "Failed"):
        return 0
    if options.grace_period_seconds is not None:
        return max(0, options.grace_period_seconds)
    seconds = spec.get("terminationGracePeriodSeconds")
    return 30 if seconds is None else int(seconds)


def _finalizers(given: list[str], options: Options) -> list[str]:
    wanted = _POLICIES[options.propagation_policy]
    kept = [f for f in given if f not in (FOREGROUND, ORPHAN)] if options.propagation_policy else list(given)
    return [*kept, wanted] if wanted and wanted not in kept else kept


def _terminate_namespace(
    api: Api, bucket: Bucket, old: Object, new: Object, caller: Caller
) -> tuple[Object, bool]:
    """Namespaces wait for the namespace controller to empty them."""
    if old["metadata"].get("deletionTimestamp"):
        return old, False
    new["metadata"]["deletionTimestamp"] = format_time(api.clock.now())
    new["status"] = {**(old.get("status") or {}), "phase": "Terminating"}
    if caller.dry_run:
        return new, False
    return api.storage.put(bucket, new), False
