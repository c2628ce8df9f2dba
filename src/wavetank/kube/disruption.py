"""Whether a PodDisruptionBudget lets a pod be evicted.

Mirrors the eviction subresource of ``k8s.io/kubernetes/pkg/registry/core/pod``: budgets that match and have
no disruption left answer 429. The budget's numbers are kept by the disruption controller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wavetank.kube.client import ApiError, Object
from wavetank.kube.objects import is_ready, is_terminal, labels_of
from wavetank.kube.resources import PODDISRUPTIONBUDGETS
from wavetank.kube.selectors import from_object
from wavetank.kube.status import too_many_requests

if TYPE_CHECKING:
    from wavetank.kube.api import Api

__all__ = ["allow_eviction"]


def allow_eviction(api: Api, pod: Object) -> None:
    """Take one disruption from the pod's budget. Raises ApiError 429 where there is none left, and 500
    where more than one budget matches."""
    if is_terminal(pod) or (pod.get("status") or {}).get("phase") == "Pending":
        return
    namespace = pod["metadata"]["namespace"]
    budgets = [
        budget
        for budget in api.bucket(PODDISRUPTIONBUDGETS).objects(namespace)
        if from_object((budget.get("spec") or {}).get("selector")).matches(labels_of(pod))
    ]
    if not budgets:
        return
    if len(budgets) > 1:
        message = (
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        )
        raise ApiError(500, "InternalError", message)
    budget = budgets[0]
    status = budget.get("status") or {}
    healthy_enough = status.get("currentHealthy", 0) >= status.get("desiredHealthy", 0) > 0
    if not is_ready(pod) and healthy_enough:
        return
    if status.get("disruptionsAllowed", 0) <= 0:
        name = budget["metadata"]["name"]
        message = (
            f"The disruption budget {name} needs {status.get('desiredHealthy', 0)} healthy pods "
            f"and has {status.get('currentHealthy', 0)} currently"
        )
        raise too_many_requests(
            "Cannot evict pod as it would violate the pod's disruption budget.",
            {"causes": [{"reason": "DisruptionBudget", "message": message}]},
        )
    new = {**status, "disruptionsAllowed": status["disruptionsAllowed"] - 1}
    api.rewrite(PODDISRUPTIONBUDGETS, namespace, budget["metadata"]["name"], lambda b: {**b, "status": new})
