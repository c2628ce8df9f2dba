"""Reading what an HPA's decision needs: metrics, and the resource behind its target reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from wavetank.autoscaling.hpa.model import Hpa, MetricSpec, Scale
from wavetank.autoscaling.metrics import MetricsClient, MetricsError, Reading
from wavetank.kube.client import ApiError, Client, Resource
from wavetank.kube.resources import DEPLOYMENTS, REPLICASETS

__all__ = ["discover_scale_resource", "read_metric", "scale_resource"]

STATEFULSETS = Resource("apps", "v1", "StatefulSet", "statefulsets", subresources=("status", "scale"))
REPLICATIONCONTROLLERS = Resource(
    "", "v1", "ReplicationController", "replicationcontrollers", subresources=("status", "scale")
)
_SCALABLE = (DEPLOYMENTS, REPLICASETS, STATEFULSETS, REPLICATIONCONTROLLERS)


def scale_resource(target: dict[str, Any], extra: Sequence[Resource] = ()) -> Resource:
    """The resource behind a scale target reference. Raises LookupError with upstream's words."""
    group, _, _ = str(target.get("apiVersion") or "v1").rpartition("/")
    if "/" in group:
        raise LookupError(f"unexpected GroupVersion string: {target.get('apiVersion')}")
    kind = str(target.get("kind") or "")
    for resource in (*_SCALABLE, *extra):
        if (resource.group, resource.kind) == (group, kind):
            return resource
    raise LookupError(f'no matches for kind "{kind}" in group "{group}"')


async def discover_scale_resource(client: Client, target: dict[str, Any]) -> Resource:
    """As ``scale_resource``, but asks the server's discovery about kinds that are not built in. Raises
    LookupError."""
    try:
        return scale_resource(target)
    except LookupError:
        version = str(target.get("apiVersion") or "")
        group, _, short = version.rpartition("/")
        if not group or "/" in group:
            raise
        try:
            found = msgspec.json.decode(await client.get_raw(f"/apis/{version}"))
        except (ApiError, msgspec.DecodeError):
            raise LookupError(f'no matches for kind "{target.get("kind")}" in group "{group}"') from None
        for entry in found.get("resources") or ():
            if entry.get("kind") == target.get("kind") and "/" not in entry.get("name", "/"):
                return Resource(group, short, entry["kind"], entry["name"], bool(entry.get("namespaced")))
        raise


async def read_metric(client: MetricsClient, hpa: Hpa, metric: MetricSpec, scale: Scale) -> Reading:
    """The metric's values now, or the error that stands for them."""
    namespace = hpa.namespace
    if metric.problem:
        return Reading(error=metric.problem)
    try:
        match metric.kind:
            case "Resource" | "ContainerResource":
                found = await client.resource(metric.name, namespace, scale.selector, metric.container)
                return Reading(pods=found)
            case "Pods":
                found = await client.pods(metric.name, namespace, scale.selector, metric.selector)
                return Reading(pods=found)
            case "Object":
                value, at = await client.object(metric.name, namespace, metric.described, metric.selector)
                return Reading(values=(value,), timestamp=at)
            case _:
                values, at = await client.external(metric.name, namespace, metric.selector)
                return Reading(values=values, timestamp=at)
    except MetricsError as error:
        return Reading(error=error.message)
