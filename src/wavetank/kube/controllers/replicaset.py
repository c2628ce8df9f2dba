"""ReplicaSets: as many pods as asked for.

Mirrors ``pkg/controller/replicaset``. Pods are created one after the other and the first refusal ends the
batch, which bounds a failing template to one attempt per retry as slow start does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from wavetank.kube.client import Object
from wavetank.kube.controllers.actions import Action, Create, Decision, Delete, Key, Told, Update, View
from wavetank.kube.controllers.claims import claim
from wavetank.kube.controllers.sources import by_owner, itself
from wavetank.kube.controllers.victims import in_order_of_sacrifice
from wavetank.kube.objects import (
    controller_of,
    is_available,
    is_deleting,
    is_ready,
    is_terminal,
    labels_of,
    owner_reference,
    ready_since,
)  # fmt: skip
from wavetank.kube.resources import PODS, REPLICASETS
from wavetank.kube.selectors import from_labels

__all__ = ["ReplicaSetController", "next_availability", "pod_from_template"]

_BURST: Final = 500


class ReplicaSetController:
    name = "replicaset-controller"
    sources = (itself(REPLICASETS), by_owner(PODS, REPLICASETS))

    def step(self, now: float, key: Key, view: View) -> Decision:
        rs = view.get(REPLICASETS, *key)
        if rs is None:
            return Decision()
        pods, claims = claim(view, rs, REPLICASETS, PODS)
        active = [pod for pod in pods if not is_terminal(pod) and not is_deleting(pod)]
        actions: list[Action] = list(claims)
        status = _status(rs, active, now)
        if status != rs.get("status"):
            actions.append(Update(REPLICASETS, {**rs, "status": status}, "status"))
        if not is_deleting(rs):
            actions.extend(_manage(rs, active, view, now))
        return Decision(actions, next_availability(active, rs["spec"].get("minReadySeconds", 0), now))


def next_availability(pods: Sequence[Object], min_ready_seconds: float, now: float) -> float | None:
    """When the next ready pod will have been ready long enough; None if there is none to wait for."""
    if not min_ready_seconds:
        return None
    times = [since + min_ready_seconds for pod in pods if (since := ready_since(pod)) is not None]
    return min((t for t in times if t > now), default=None)


def _manage(rs: Object, active: Sequence[Object], view: View, now: float) -> list[Action]:
    missing = rs["spec"].get("replicas", 1) - len(active)
    if missing > 0:
        template = rs["spec"]["template"]
        told = Told(rs, "SuccessfulCreate", "Created pod: {name}", "FailedCreate", "Error creating: {error}")
        return [
            Create(PODS, pod_from_template(rs, owner_reference(rs, REPLICASETS), template), told)
            for _ in range(min(missing, _BURST))
        ]
    if missing < 0:
        siblings = _siblings(rs, active, view)
        victims = in_order_of_sacrifice(active, siblings, now)[: min(-missing, _BURST)]
        told = Told(rs, "SuccessfulDelete", "Deleted pod: {name}", "FailedDelete", "Error deleting: {error}")
        return [Delete(PODS, pod, told) for pod in victims]
    return []


def _siblings(rs: Object, active: Sequence[Object], view: View) -> Sequence[Object]:
    """Pods of all replica sets of the same Deployment: spreading looks at them together."""
    owner = controller_of(rs)
    if owner is None:
        return active
    found: list[Object] = []
    for other in view.list(REPLICASETS, rs["metadata"]["namespace"]):
        if (controller_of(other) or {}).get("uid") == owner["uid"]:
            found.extend(view.owned(other, PODS))
    return found


def pod_from_template(owner: Object, reference: Object, template: Object, name: str = "") -> Object:
    """A pod of an owner's template; without a name it gets one from the owner's."""
    given = template.get("metadata") or {}
    metadata: dict[str, Any] = {"namespace": owner["metadata"]["namespace"], "ownerReferences": [reference]}
    if name:
        metadata["name"] = name
    else:
        metadata["generateName"] = f"{owner['metadata']['name']}-"
    for field in ("labels", "annotations", "finalizers"):
        if given.get(field):
            metadata[field] = given[field]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def _status(rs: Object, active: Sequence[Object], now: float) -> Object:
    spec, old = rs["spec"], rs.get("status") or {}
    template_labels = from_labels((spec["template"].get("metadata") or {}).get("labels"))
    ready = [pod for pod in active if is_ready(pod)]
    available = sum(1 for pod in ready if is_available(pod, spec.get("minReadySeconds", 0), now))
    status: Object = {"replicas": len(active)}
    labelled = sum(1 for pod in active if template_labels.matches(labels_of(pod)))
    counts = {
        "fullyLabeledReplicas": labelled,
        "readyReplicas": len(ready),
        "availableReplicas": available,
        "observedGeneration": rs["metadata"].get("generation", 0),
    }
    status.update({name: count for name, count in counts.items() if count})
    conditions = [c for c in old.get("conditions") or () if c["type"] != "ReplicaFailure"]
    if conditions:
        status["conditions"] = conditions
    return status
