"""Namespaces: emptied before they go; each has its default service account.

Mirrors ``pkg/controller/namespace`` and ``pkg/controller/serviceaccount``.
"""

from __future__ import annotations

from collections.abc import Iterable

from wavetank.kube.client import WatchType
from wavetank.kube.controllers.actions import Action, Create, Decision, Delete, Key, Source, Update, View
from wavetank.kube.controllers.sources import itself
from wavetank.kube.objects import is_deleting
from wavetank.kube.resources import EVENTS, NAMESPACES, SERVICEACCOUNTS
from wavetank.kube.storage import Change

__all__ = ["NamespaceController"]


def _terminating(view: View, change: Change) -> Iterable[Key]:
    if change.type is not WatchType.DELETED:
        return
    name = change.object["metadata"].get("namespace")
    namespace = view.get(NAMESPACES, "", name) if name else None
    if namespace is not None and is_deleting(namespace):
        yield "", name
    if change.object["kind"] == "ServiceAccount" and namespace is not None:
        yield "", name


class NamespaceController:
    name = "namespace-controller"
    sources = (itself(NAMESPACES), Source(None, _terminating))

    def step(self, now: float, key: Key, view: View) -> Decision:
        del now
        namespace = view.get(NAMESPACES, *key)
        if namespace is None:
            return Decision()
        name = key[1]
        if not is_deleting(namespace):
            if view.get(SERVICEACCOUNTS, name, "default") is None:
                return Decision(
                    [Create(SERVICEACCOUNTS, {"metadata": {"name": "default", "namespace": name}})]
                )
            return Decision()
        left = list(view.everything_in(name))
        # Events are no reason to wait, and tell of the deletion itself: they go last.
        remaining = [(r, obj) for r, obj in left if r is not EVENTS]
        actions: list[Action] = [
            Delete(resource, obj, policy="Background") for resource, obj in remaining if not is_deleting(obj)
        ]
        if not remaining:
            actions += [Delete(EVENTS, obj) for _, obj in left]
            spec = {**(namespace.get("spec") or {}), "finalizers": []}
            actions.append(Update(NAMESPACES, {**namespace, "spec": spec}))
        return Decision(actions)
