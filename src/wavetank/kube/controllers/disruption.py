"""PodDisruptionBudgets: how many pods may be evicted now. Mirrors ``pkg/controller/disruption``."""

from __future__ import annotations

from collections.abc import Iterable

from wavetank.kube.client import Object
from wavetank.kube.controllers.actions import Decision, Key, Update, View
from wavetank.kube.controllers.deployment.replicas import resolve
from wavetank.kube.controllers.sources import itself, key_in
from wavetank.kube.objects import controller_of, is_deleting, is_ready, is_terminal, labels_of, set_condition
from wavetank.kube.resources import DEPLOYMENTS, PODDISRUPTIONBUDGETS, PODS, REPLICASETS, STATEFULSETS
from wavetank.kube.selectors import from_object
from wavetank.kube.storage import Change, name_of

__all__ = ["DisruptionController"]


def _budgets(view: View, change: Change) -> Iterable[Key]:
    pod = change.object
    for budget in view.list(PODDISRUPTIONBUDGETS, pod["metadata"]["namespace"]):
        if from_object((budget.get("spec") or {}).get("selector")).matches(labels_of(pod)):
            yield name_of(budget)


class DisruptionController:
    name = "disruption-controller"
    sources = (itself(PODDISRUPTIONBUDGETS), key_in(PODS, _budgets))

    def step(self, now: float, key: Key, view: View) -> Decision:
        budget = view.get(PODDISRUPTIONBUDGETS, *key)
        if budget is None:
            return Decision()
        selector = from_object(budget["spec"].get("selector"))
        pods = [
            pod
            for pod in view.list(PODS, key[0])
            if selector.matches(labels_of(pod)) and not is_terminal(pod)
        ]
        expected, desired = _wanted(budget, pods, view)
        healthy = sum(1 for pod in pods if is_ready(pod) and not is_deleting(pod))
        allowed = max(0, healthy - desired) if expected > 0 else 0
        reason, flag = ("SufficientPods", "True") if allowed else ("InsufficientPods", "False")
        old = budget.get("status") or {}
        conditions = set_condition(old.get("conditions") or (), "DisruptionAllowed", flag, reason, "", now)
        status = {
            "observedGeneration": budget["metadata"].get("generation", 0),
            "disruptionsAllowed": allowed,
            "currentHealthy": healthy,
            "desiredHealthy": desired,
            "expectedPods": expected,
            "conditions": conditions,
        }
        if status == old:
            return Decision()
        return Decision([Update(PODDISRUPTIONBUDGETS, {**budget, "status": status}, "status")])


def _wanted(budget: Object, pods: list[Object], view: View) -> tuple[int, int]:
    """(pods there should be, pods that must stay healthy)."""
    spec = budget["spec"]
    if (maximum := spec.get("maxUnavailable")) is not None:
        expected = _expected(pods, view)
        return expected, max(0, expected - resolve(maximum, expected, up=True))
    minimum = spec.get("minAvailable", 1)
    if isinstance(minimum, int):
        return len(pods), minimum
    expected = _expected(pods, view)
    return expected, resolve(minimum, expected, up=True)


def _expected(pods: list[Object], view: View) -> int:
    """The replicas of the pods' controllers; a pod without one counts for itself."""
    sizes: dict[str, int] = {}
    for pod in pods:
        found = _scale(pod, view)
        sizes[found[0] if found else pod["metadata"]["uid"]] = found[1] if found else 1
    return sum(sizes.values())


def _scale(pod: Object, view: View) -> tuple[str, int] | None:
    owner, namespace = controller_of(pod), pod["metadata"]["namespace"]
    if owner is None:
        return None
    resource = {"ReplicaSet": REPLICASETS, "StatefulSet": STATEFULSETS}.get(owner["kind"])
    found = view.get(resource, namespace, owner["name"]) if resource else None
    if found is None:
        return None
    above = controller_of(found)
    if above is not None and above["kind"] == "Deployment":
        found = view.get(DEPLOYMENTS, namespace, above["name"]) or found
    return found["metadata"]["uid"], int(found["spec"].get("replicas", 1))
