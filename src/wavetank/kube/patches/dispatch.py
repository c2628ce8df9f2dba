"""One patch to one object: chooses the format by its content type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wavetank.kube.api import NOBODY, Api, Caller
from wavetank.kube.client import Object, Resource
from wavetank.kube.patches.json_patch import json_patch
from wavetank.kube.patches.merge_patch import merge_patch
from wavetank.kube.scale import apply_scale, scale_of
from wavetank.kube.status import bad_request, unsupported_media_type

__all__ = ["JSON_PATCH", "MERGE_PATCH", "PATCH_TYPES", "apply_patch"]

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
PATCH_TYPES = (JSON_PATCH, MERGE_PATCH)


def apply_patch(
    api: Api,
    resource: Resource,
    namespace: str | None,
    name: str,
    patch: Any,
    content_type: str,
    caller: Caller = NOBODY,
    subresource: str = "",
) -> Object:
    """Patch an object, its status or its Scale; answers what was patched, as it is now."""
    change = _patcher(patch, content_type)
    if subresource == "scale":
        kind = api.scalable(resource)
        api.modify(
            kind.resource,
            namespace,
            name,
            lambda obj: apply_scale(kind, obj, change(scale_of(kind, obj))),
            caller,
        )
        return scale_of(kind, api.stored(resource, namespace, name))
    return api.modify(resource, namespace, name, change, caller, subresource)


def _patcher(patch: Any, content_type: str) -> Callable[[Object], Object]:
    if content_type == JSON_PATCH:
        return lambda obj: json_patch(obj, patch)
    if not isinstance(patch, dict):
        raise bad_request("the patch must be an object")
    if content_type == MERGE_PATCH:
        return lambda obj: merge_patch(obj, patch)
    raise unsupported_media_type(content_type, PATCH_TYPES)
