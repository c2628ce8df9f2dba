"""Which pods and replica sets an owner has: its own that match, orphans it adopts, others it lets go.

Mirrors ``controller_ref_manager.go``.
"""

from __future__ import annotations

from collections.abc import Sequence

from wavetank.kube.client import Object, Resource
from wavetank.kube.controllers.actions import Action, Update, View
from wavetank.kube.objects import controller_of, is_deleting, is_terminal, labels_of, owner_reference
from wavetank.kube.selectors import from_object

__all__ = ["claim"]


def claim(
    view: View, owner: Object, owner_resource: Resource, resource: Resource
) -> tuple[list[Object], Sequence[Action]]:
    """(objects that are the owner's and match its selector, adoptions and releases to do)."""
    selector = from_object((owner.get("spec") or {}).get("selector"))
    owned = view.owned(owner, resource)
    mine = [obj for obj in owned if selector.matches(labels_of(obj))]
    actions: list[Action] = []
    if is_deleting(owner):
        return mine, actions
    uid = owner["metadata"]["uid"]
    for obj in owned:
        if not selector.matches(labels_of(obj)) and not is_deleting(obj):
            kept = [r for r in obj["metadata"].get("ownerReferences") or () if r["uid"] != uid]
            actions.append(Update(resource, _with_owners(obj, kept)))
    if not selector.empty:
        for obj in view.list(resource, owner["metadata"]["namespace"]):
            if controller_of(obj) is None and selector.matches(labels_of(obj)):
                if is_deleting(obj) or is_terminal(obj):
                    continue
                references = [
                    *(obj["metadata"].get("ownerReferences") or ()),
                    owner_reference(owner, owner_resource),
                ]
                adopted = _with_owners(obj, references)
                actions.append(Update(resource, adopted))
                mine.append(adopted)
    return mine, actions


def _with_owners(obj: Object, references: Sequence[Object]) -> Object:
    return {**obj, "metadata": {**obj["metadata"], "ownerReferences": list(references)}}
