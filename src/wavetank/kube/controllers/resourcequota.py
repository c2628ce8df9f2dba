"""ResourceQuotas: how much of each is used. Mirrors ``pkg/controller/resourcequota``."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from wavetank.kube.client import Resource
from wavetank.kube.controllers.actions import Decision, Key, Source, Update, View
from wavetank.kube.quota import resources_of, shown, total
from wavetank.kube.resources import BUILT_IN, RESOURCEQUOTAS
from wavetank.kube.storage import Change, name_of

__all__ = ["ResourceQuotaController"]

_SETTLE_SECONDS = 0.2


def _in_namespace(view: View, change: Change) -> Iterable[Key]:
    namespace = change.object["metadata"].get("namespace")
    return [name_of(quota) for quota in view.list(RESOURCEQUOTAS, namespace)] if namespace else ()


class ResourceQuotaController:
    """Looks at all changes, gathered: admission counts for itself and does not wait for this."""

    name = "resourcequota-controller"
    sources = (
        Source(RESOURCEQUOTAS, lambda view, change: (name_of(change.object),)),
        Source(None, _in_namespace, after_seconds=_SETTLE_SECONDS),
    )

    def step(self, now: float, key: Key, view: View) -> Decision:
        del now
        quota = view.get(RESOURCEQUOTAS, *key)
        if quota is None:
            return Decision()
        hard = (quota.get("spec") or {}).get("hard") or {}
        counted: list[Resource] = resources_of(quota, BUILT_IN)
        used = total(quota, ((r, obj) for r in counted for obj in view.list(r, key[0])))
        shares = {name: shown(used.get(name, Fraction()), like) for name, like in hard.items()}
        status = {"hard": hard, "used": shares}
        if status == quota.get("status"):
            return Decision()
        return Decision([Update(RESOURCEQUOTAS, {**quota, "status": status}, "status")])
