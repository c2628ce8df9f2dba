"""The scale subresource, and the journal's records of what the API server sees happen to pods and scales."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wavetank.kube.client import Object, Resource
from wavetank.kube.objects import controller_of, key_of
from wavetank.kube.registry import Kind
from wavetank.kube.status import FieldError, bad_request, invalid

if TYPE_CHECKING:
    from wavetank.kube.api import Api, Caller

__all__ = ["SCALE", "apply_scale", "note_created", "note_scaled", "scale_of"]

SCALE = Resource("autoscaling", "v1", "Scale", "scales")


def scale_of(kind: Kind, obj: Object) -> Object:
    """The ``autoscaling/v1`` Scale of a scalable object."""
    metadata = obj["metadata"]
    status = obj.get("status") or {}
    assert kind.scale_selector is not None
    replicas: dict[str, Any] = {"replicas": status.get("replicas", 0)}
    selector = kind.scale_selector(obj)
    if selector:
        replicas["selector"] = selector
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            key: metadata[key]
            for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
            if key in metadata
        },
        "spec": {"replicas": (obj.get("spec") or {}).get("replicas", 0)},
        "status": replicas,
    }


def apply_scale(kind: Kind, obj: Object, scale: Object) -> Object:
    """The object with the Scale's replicas; its resourceVersion becomes a precondition."""
    spec = scale.get("spec") or {}
    replicas = spec.get("replicas", 0) if isinstance(spec, dict) else None
    name = obj["metadata"]["name"]
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise bad_request("spec.replicas of a Scale must be an integer")
    if replicas < 0:
        detail = "must be greater than or equal to 0"
        raise invalid(_scale_resource(kind), name, [FieldError.bad("spec.replicas", replicas, detail)])
    given = scale.get("metadata") or {}
    metadata = {**obj["metadata"]}
    if given.get("resourceVersion"):
        metadata["resourceVersion"] = given["resourceVersion"]
    return {**obj, "metadata": metadata, "spec": {**(obj.get("spec") or {}), "replicas": replicas}}


def _scale_resource(kind: Kind) -> Resource:
    return Resource("autoscaling", "v1", "Scale", kind.resource.plural)


def note_created(api: Api, resource: Resource, obj: Object, caller: Caller) -> None:
    """Journal a new pod."""
    if resource.plural == "pods" and not resource.group:
        owner = controller_of(obj)
        shown = f"{owner['kind']}/{owner['name']}" if owner else ""
        api.journal.record("pod.created", pod=key_of(obj), uid=obj["metadata"]["uid"], owner=shown)


def note_scaled(api: Api, resource: Resource, old: Object, new: Object, caller: Caller) -> None:
    """Journal a change of the replicas of a Deployment or another kind that is scaled from outside."""
    if "scale" not in resource.subresources:
        return
    before, after = (old.get("spec") or {}).get("replicas"), (new.get("spec") or {}).get("replicas")
    if before != after and controller_of(new) is None:
        api.journal.record(
            "scale",
            target=f"{resource.kind}/{key_of(new)}",
            **{"from": before, "to": after, "by": caller.field_manager or caller.user_agent},
        )
