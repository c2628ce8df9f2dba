"""Subresources that read or write objects: scale, status, binding, eviction.

Those that reach beyond storage (log, proxy) belong to the HTTP server.
"""

from __future__ import annotations

from typing import Any

from wavetank.kube import deletion
from wavetank.kube.api import Api, Caller
from wavetank.kube.client import ApiError, Object, Resource
from wavetank.kube.disruption import allow_eviction
from wavetank.kube.objects import is_deleting, set_condition
from wavetank.kube.resources import PODS
from wavetank.kube.scale import apply_scale, scale_of
from wavetank.kube.status import bad_request, conflict, method_not_allowed, not_found

__all__ = ["create_subresource", "get_subresource", "update_scale"]


def get_subresource(
    api: Api, resource: Resource, namespace: str | None, name: str, subresource: str
) -> Object:
    """The Scale of an object; for ``status``, ``resize`` and the like the object itself."""
    if subresource == "scale":
        return scale_of(api.scalable(resource), api.stored(resource, namespace, name))
    if subresource in ("status", "resize", "ephemeralcontainers"):
        return api.get(resource, namespace, name)
    raise not_found(resource, f"{name}/{subresource}")


def update_scale(
    api: Api, resource: Resource, namespace: str | None, name: str, body: Object, caller: Caller
) -> Object:
    """PUT of a Scale; answers the Scale as it is now."""
    kind = api.scalable(resource)
    api.modify(kind.resource, namespace, name, lambda obj: apply_scale(kind, obj, body), caller, "scale")
    return scale_of(kind, api.stored(resource, namespace, name))


def create_subresource(
    api: Api,
    resource: Resource,
    namespace: str | None,
    name: str,
    subresource: str,
    body: Any,
    caller: Caller,
) -> Object:
    """POST: ``pods/binding`` and ``pods/eviction``. Answers a Status."""
    if not isinstance(body, dict):
        raise bad_request("the body must be an object")
    if resource.plural == "pods" and subresource == "binding":
        _bind(api, namespace, name, body, caller)
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
    if resource.plural == "pods" and subresource == "eviction":
        _evict(api, namespace, name, body, caller)
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
    raise method_not_allowed()


def _bind(api: Api, namespace: str | None, name: str, body: Object, caller: Caller) -> None:
    target = body.get("target") or {}
    node = target.get("name")
    if not node or target.get("kind", "Node") != "Node":
        raise bad_request("a binding needs target.name, of kind Node")
    uid = (body.get("metadata") or {}).get("uid")

    def bound(pod: Object) -> Object:
        if uid and uid != pod["metadata"]["uid"]:
            raise conflict(PODS, name, f"Precondition failed: UID in precondition: {uid}")
        if is_deleting(pod):
            raise conflict(PODS, name, f"pod {name} is being deleted, cannot be assigned to a host")
        if pod["spec"].get("nodeName"):
            why = f"pod {name} is already assigned to node {pod['spec']['nodeName']!r}"
            raise conflict(PODS, name, why)
        status = pod.get("status") or {}
        conditions = set_condition(
            status.get("conditions") or [], "PodScheduled", "True", "", "", api.clock.now()
        )
        conditions = [{k: v for k, v in c.items() if v or k not in ("reason", "message")} for c in conditions]
        return {
            **pod,
            "spec": {**pod["spec"], "nodeName": node},
            "status": {**status, "conditions": conditions},
        }

    api.rewrite(PODS, namespace, name, bound, caller)


def _evict(api: Api, namespace: str | None, name: str, body: Object, caller: Caller) -> None:
    pod = api.stored(PODS, namespace, name)
    options = body.get("deleteOptions") or {}
    allow_eviction(api, pod)
    grace = options.get("gracePeriodSeconds")
    if grace is not None and not isinstance(grace, int):
        raise ApiError(400, "BadRequest", "gracePeriodSeconds must be an integer")
    preconditions = options.get("preconditions") or {}
    api.delete(
        PODS,
        namespace,
        name,
        deletion.Options(grace, options.get("propagationPolicy") or "", preconditions.get("uid") or ""),
        caller,
    )
