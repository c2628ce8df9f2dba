"""Garbage collection: dependents follow their owners.

Mirrors ``pkg/controller/garbagecollector``: an object whose owners are all gone is deleted; foreground
deletion waits for dependents that block; orphaning lets them go.
"""

from __future__ import annotations

from collections.abc import Iterable

from wavetank.kube.client import Object, Resource, WatchType
from wavetank.kube.controllers.actions import Action, Decision, Delete, Key, Source, Update, View
from wavetank.kube.deletion import FOREGROUND, ORPHAN
from wavetank.kube.objects import is_deleting
from wavetank.kube.storage import Change

__all__ = ["GarbageCollector"]


def _keys(view: View, change: Change) -> Iterable[Key]:
    """Keys are ("", uid of an owner)."""
    del view
    metadata = change.object["metadata"]
    if change.type is WatchType.DELETED or metadata.get("deletionTimestamp"):
        yield "", metadata["uid"]
    references = metadata.get("ownerReferences") or ()
    before = change.previous["metadata"].get("ownerReferences") if change.previous is not None else None
    if change.type is not WatchType.MODIFIED or references != (before or ()):
        for reference in references:
            yield "", reference["uid"]


class GarbageCollector:
    name = "garbage-collector-controller"
    sources = (Source(None, _keys),)

    def step(self, now: float, key: Key, view: View) -> Decision:
        del now
        uid = key[1]
        dependents = view.dependents(uid)
        owner = view.by_uid(uid)
        if owner is None:
            return Decision([_collect(view, resource, obj) for resource, obj in dependents])
        resource, obj = owner
        finalizers = obj["metadata"].get("finalizers") or []
        if not is_deleting(obj):
            return Decision()
        if ORPHAN in finalizers:
            freed: list[Action] = [Update(r, _without_owner(d, uid)) for r, d in dependents]
            return Decision([*freed, Update(resource, _without_finalizer(obj, ORPHAN))])
        if FOREGROUND in finalizers:
            return Decision(_foreground(resource, obj, dependents))
        return Decision()


def _collect(view: View, resource: Resource, obj: Object) -> Action:
    references = obj["metadata"].get("ownerReferences") or ()
    alive = [r for r in references if view.by_uid(r["uid"]) is not None]
    if alive:
        metadata = {**obj["metadata"], "ownerReferences": alive}
        return Update(resource, {**obj, "metadata": metadata})
    return Delete(resource, obj, policy="Background")


def _foreground(
    resource: Resource, owner: Object, dependents: Iterable[tuple[Resource, Object]]
) -> list[Action]:
    uid = owner["metadata"]["uid"]
    actions: list[Action] = []
    blocked = False
    for kind, obj in dependents:
        reference = next(r for r in obj["metadata"]["ownerReferences"] if r["uid"] == uid)
        blocked = blocked or bool(reference.get("blockOwnerDeletion"))
        if not is_deleting(obj):
            actions.append(Delete(kind, obj, policy="Foreground" if obj["kind"] != "Pod" else "Background"))
    if not blocked:
        actions.append(Update(resource, _without_finalizer(owner, FOREGROUND)))
    return actions


def _without_owner(obj: Object, uid: str) -> Object:
    kept = [r for r in obj["metadata"].get("ownerReferences") or () if r["uid"] != uid]
    return {**obj, "metadata": {**obj["metadata"], "ownerReferences": kept}}


def _without_finalizer(obj: Object, finalizer: str) -> Object:
    kept = [f for f in obj["metadata"].get("finalizers") or () if f != finalizer]
    return {**obj, "metadata": {**obj["metadata"], "finalizers": kept}}
