"""What a VPA points at: the replica count and the pods of its target, by the scale subresource."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wavetank.autoscaling.hpa.readings import scale_resource
from wavetank.errors import InputError
from wavetank.kube.client import ApiError, Client, Object
from wavetank.kube.metrics_server.index import LabelIndex
from wavetank.kube.resources import DAEMONSETS
from wavetank.kube.selectors import from_object, parse_labels

__all__ = ["Target", "find_target"]


@dataclass(frozen=True, slots=True)
class Target:
    """``replicas`` as configured; a DaemonSet's is the number of its pods. ``problem`` is why there is
    nothing, in upstream's words."""

    replicas: int = 0
    pods: tuple[Object, ...] = ()
    problem: str = ""


async def find_target(client: Client, pods: LabelIndex, vpa: Object) -> Target:
    """The target as it is now, its pods out of ``pods``; empty, with the problem, where it is not there or
    cannot be scaled."""
    namespace = vpa["metadata"].get("namespace", "default")
    reference: dict[str, Any] = dict((vpa.get("spec") or {}).get("targetRef") or {})
    name = str(reference.get("name", ""))
    if not name:
        return Target(problem="Cannot read targetRef. Reason: targetRef not defined")
    try:
        if reference.get("kind") == "DaemonSet":
            found = await client.get(DAEMONSETS, name, namespace)
            of_daemons = from_object((found.get("spec") or {}).get("selector"))
            daemons = tuple(pods.matching(namespace, of_daemons))
            return Target(len(daemons), daemons)
        scale = await client.get_subresource(scale_resource(reference), name, "scale", namespace)
    except (LookupError, ApiError) as error:
        text = error.message if isinstance(error, ApiError) else str(error.args[0])
        return Target(problem=f"Cannot read targetRef. Reason: {text}")
    selector = str((scale.get("status") or {}).get("selector") or "")
    try:
        found_pods = pods.matching(namespace, parse_labels(selector)) if selector else []
    except InputError as error:
        return Target(problem=f"Cannot read targetRef. Reason: {error.message}")
    return Target(int((scale.get("spec") or {}).get("replicas") or 0), tuple(found_pods))
