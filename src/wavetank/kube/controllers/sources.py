"""From a change to the keys it concerns."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from wavetank.kube.client import Resource
from wavetank.kube.controllers.actions import Key, Source, View
from wavetank.kube.objects import controller_of, labels_of
from wavetank.kube.selectors import from_object
from wavetank.kube.storage import Change, name_of

__all__ = ["by_owner", "itself", "key_in"]


def itself(resource: Resource) -> Source:
    return Source(resource, lambda view, change: (name_of(change.object),))


def key_in(resource: Resource, keys: Callable[[View, Change], Iterable[Key]]) -> Source:
    return Source(resource, keys)


def by_owner(resource: Resource, owner: Resource) -> Source:
    """The controller of the object, before and after; for an orphan, every owner that would select it."""

    def keys(view: View, change: Change) -> Iterable[Key]:
        found: dict[Key, None] = {}
        namespace = change.object["metadata"].get("namespace", "")
        orphan = True
        for obj in (change.object, change.previous):
            reference = controller_of(obj) if obj is not None else None
            if reference is not None and reference["kind"] == owner.kind:
                found[(namespace, reference["name"])] = None
            if reference is not None:
                orphan = False
        if orphan:
            for candidate in view.list(owner, namespace):
                selector = from_object((candidate.get("spec") or {}).get("selector"))
                if not selector.empty and selector.matches(labels_of(change.object)):
                    found[name_of(candidate)] = None
        return found

    return Source(resource, keys)
