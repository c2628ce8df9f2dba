"""Setting a pod's resources from a recommendation, as the admission webhook does when the pod is made."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from wavetank.autoscaling.vpa.recommend import policy_of
from wavetank.kube.client import Object
from wavetank.kube.quantity import Quantity, parse_quantity

__all__ = ["admit", "new_resources"]


def admit(pod: Object, vpa: Object) -> Object:
    """The pod with the recommended requests, limits scaled with them, and the annotations that say so. The
    pod is returned as it is where there is nothing to set."""
    status = vpa.get("status") or {}
    found = {
        r["containerName"]: r.get("target") or {}
        for r in (status.get("recommendation") or {}).get("containerRecommendations") or ()
    }
    containers, updates = [], []
    for index, container in enumerate(pod["spec"]["containers"]):
        policy = policy_of(vpa, container["name"])
        target = found.get(container["name"])
        if not target or policy.get("mode") == "Off":
            containers.append(container)
            continue
        resources = new_resources(container.get("resources") or {}, target, policy)
        containers.append({**container, "resources": resources})
        changed = " ".join(f"{resource} request," for resource in sorted(target)).rstrip(",")
        updates.append(f"container {index}: {changed}")
    if not updates:
        return pod
    meta = pod["metadata"]
    annotations = {
        **(meta.get("annotations") or {}),
        "vpaUpdates": f"Pod resources updated by {vpa['metadata']['name']}: {'; '.join(updates)}",
        "vpaObservedContainers": ", ".join(c["name"] for c in pod["spec"]["containers"]),
    }
    return {
        **pod,
        "metadata": {**meta, "annotations": annotations},
        "spec": {**pod["spec"], "containers": containers},
    }


def new_resources(
    resources: Mapping[str, Any], target: Mapping[str, Any], policy: Mapping[str, Any]
) -> dict[str, Any]:
    """Requests as recommended; a limit keeps its proportion to its request, unless only requests are
    controlled. A limit without a request stands for both."""
    requests, limits = dict(resources.get("requests") or {}), dict(resources.get("limits") or {})
    only_requests = policy.get("controlledValues") == "RequestsOnly"
    for resource, quantity in target.items():
        limit = limits.get(resource)
        before = requests.get(resource, limit)
        if limit is not None and before is not None and not only_requests:
            limits[resource] = _proportional(resource, limit, before, quantity)
        requests[resource] = quantity
    result = {**resources, "requests": requests}
    if limits:
        result["limits"] = limits
    return result


def _proportional(resource: str, limit: Any, request: Any, target: Any) -> str:
    asked = parse_quantity(request).value
    if asked == 0:
        return str(limit)
    scaled = parse_quantity(limit).value * parse_quantity(target).value / asked
    unit = Fraction(1, 1000) if resource == "cpu" else Fraction(1)
    return str(Quantity(Fraction(int(scaled / unit)) * unit, parse_quantity(limit).family))
