"""ControllerRevisions: the templates that stateful and daemon sets have had, to tell and to go back to.

Mirrors ``pkg/controller/history``: a template that comes back takes the newest number, and old ones go when
there are more than ``revisionHistoryLimit`` that nobody uses.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from wavetank.kube.client import Object, Resource
from wavetank.kube.controllers.actions import Action, Create, Delete, Update, View
from wavetank.kube.objects import labels_of, owner_reference, stable_hash
from wavetank.kube.resources import CONTROLLERREVISIONS

__all__ = ["REVISION_LABEL", "History", "history_of"]

REVISION_LABEL = "controller-revision-hash"


@dataclass(frozen=True, slots=True)
class History:
    """``name`` and ``digest`` are those of the owner's present template; ``actions`` make it the newest."""

    name: str
    digest: str
    revisions: Sequence[Object] = ()
    actions: list[Action] = field(default_factory=list)

    def template(self, name: str, otherwise: Object) -> Object:
        """The template of the revision called ``name``; ``otherwise`` where it is forgotten."""
        for revision in self.revisions:
            if revision["metadata"]["name"] == name:
                template = (revision.get("data") or {}).get("spec", {}).get("template")
                if isinstance(template, dict):
                    return {k: v for k, v in template.items() if k != "$patch"}
        return otherwise

    def surplus(self, used: Collection[str], limit: int) -> list[Action]:
        """Deletions of the oldest that are neither present nor among ``used``: names or digests."""
        kept = {self.name, self.digest, *used}
        idle = [
            r
            for r in self.revisions
            if r["metadata"]["name"] not in kept and labels_of(r).get(REVISION_LABEL) not in kept
        ]
        return [Delete(CONTROLLERREVISIONS, r) for r in idle[: max(0, len(idle) - limit)]]


def history_of(view: View, owner: Object, resource: Resource) -> History:
    """What an owner's template has been, oldest first, and what to write so that the present one is known."""
    revisions = sorted(view.owned(owner, CONTROLLERREVISIONS), key=lambda r: r.get("revision", 0))
    digest = stable_hash(owner["spec"]["template"])
    name = f"{owner['metadata']['name']}-{digest}"
    newest = revisions[-1].get("revision", 0) if revisions else 0
    found = next((r for r in revisions if r["metadata"]["name"] == name), None)
    actions: list[Action] = []
    if found is None:
        actions.append(Create(CONTROLLERREVISIONS, _revision(owner, resource, name, digest, newest + 1)))
    elif found.get("revision", 0) != newest:
        actions.append(Update(CONTROLLERREVISIONS, {**found, "revision": newest + 1}))
    return History(name, digest, revisions, actions)


def _revision(owner: Object, resource: Resource, name: str, digest: str, number: int) -> Object:
    template = owner["spec"]["template"]
    metadata: Object = {
        "name": name,
        "namespace": owner["metadata"]["namespace"],
        "labels": {**((template.get("metadata") or {}).get("labels") or {}), REVISION_LABEL: digest},
        "ownerReferences": [owner_reference(owner, resource)],
    }
    annotations = owner["metadata"].get("annotations")
    if annotations:
        metadata["annotations"] = annotations  # among them the cause of the change
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": metadata,
        # As a patch, which is how clients go back to it.
        "data": {"spec": {"template": {**template, "$patch": "replace"}}},
        "revision": number,
    }
