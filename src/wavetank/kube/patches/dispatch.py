"""One patch to one object: chooses the format by its content type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from wavetank.kube.api import NOBODY, Api, Caller
from wavetank.kube.client import Object, Resource
from wavetank.kube.patches.apply import server_side_apply
from wavetank.kube.patches.json_patch import json_patch
from wavetank.kube.patches.merge_patch import merge_patch
from wavetank.kube.patches.strategic import strategic_merge
from wavetank.kube.scale import SCALE, apply_scale, scale_of
from wavetank.kube.schema.builtin import type_of
from wavetank.kube.schema.node import Node
from wavetank.kube.status import FieldError, bad_request, invalid, not_found, unsupported_media_type

__all__ = ["APPLY_PATCH", "JSON_PATCH", "MERGE_PATCH", "PATCH_TYPES", "STRATEGIC_PATCH", "apply_patch"]

JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"
STRATEGIC_PATCH: Final = "application/strategic-merge-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"
PATCH_TYPES: Final = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH)

_PATCH_OPTIONS: Final = Resource("meta.k8s.io", "v1", "PatchOptions", "patchoptions")

Decode = Callable[[Object], Object]
"""Checks a patched object as if it had been sent whole; raises ApiError."""


def apply_patch(
    api: Api,
    resource: Resource,
    namespace: str | None,
    name: str,
    patch: Any,
    content_type: str,
    caller: Caller = NOBODY,
    subresource: str = "",
    decode: Decode = lambda obj: obj,
) -> Object:
    """Patch an object, its status or its Scale; answers what was patched, as it is now."""
    if content_type == APPLY_PATCH:
        return _apply(api, resource, namespace, name, decode(patch), caller, subresource)
    kind = api.kind(resource)
    node = (type_of(SCALE) if subresource == "scale" else api.type_of(resource)) or Node("any")
    change = _patcher(node, patch, content_type, kind.custom)
    if subresource == "scale":
        kind = api.scalable(resource)
        api.modify(
            kind.resource,
            namespace,
            name,
            lambda obj: apply_scale(kind, obj, change(scale_of(kind, obj))),
            caller,
            "scale",
        )
        return scale_of(kind, api.stored(resource, namespace, name))
    return api.modify(resource, namespace, name, lambda obj: decode(change(obj)), caller, subresource)


def _patcher(node: Node, patch: Any, content_type: str, custom: bool) -> Callable[[Object], Object]:
    accepted = [t for t in PATCH_TYPES if not (custom and t == STRATEGIC_PATCH)]
    if content_type not in accepted:
        raise unsupported_media_type(content_type, accepted)
    if content_type == JSON_PATCH:
        return lambda obj: json_patch(obj, patch)
    if not isinstance(patch, dict):
        raise bad_request("the patch must be an object")
    if content_type == MERGE_PATCH:
        return lambda obj: merge_patch(obj, patch)
    return lambda obj: strategic_merge(node, obj, patch)


def _apply(
    api: Api,
    resource: Resource,
    namespace: str | None,
    name: str,
    applied: Any,
    caller: Caller,
    subresource: str,
) -> Object:
    if not caller.field_manager:
        error = FieldError.required("fieldManager", "is required for apply patch")
        raise invalid(_PATCH_OPTIONS, "", [error])
    if not isinstance(applied, dict) or not isinstance(applied.setdefault("metadata", {}), dict):
        raise bad_request("the applied configuration must be an object")
    if applied["metadata"].get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    applied.setdefault("apiVersion", resource.api_version)
    if applied["metadata"].setdefault("name", name) != name:
        raise bad_request("the name of the applied object does not match the name on the URL")
    if resource.namespaced and namespace:
        applied["metadata"].setdefault("namespace", namespace)
    node = api.type_of(resource) or Node("any")

    def change(live: Object | None) -> Object:
        now = api.clock.now()
        merged = server_side_apply(node, live, applied, caller.field_manager, caller.force, subresource, now)
        merged.setdefault("kind", resource.kind)
        return merged

    # The managers are settled here; the common path must not count the same write as an update.
    quiet = Caller(caller.user_agent, "", caller.dry_run)
    if not api.exists(resource, namespace, name):
        if subresource:
            raise not_found(resource, name)
        return api.create(resource, namespace, change(None), quiet)
    return api.modify(resource, namespace, name, change, quiet, subresource)
