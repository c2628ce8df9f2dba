"""Lints as warnings of the API server: what is told to whoever applies an autoscaler or its target."""

from __future__ import annotations

from collections.abc import Iterator

from wavetank.autoscaling.lint import lint
from wavetank.autoscaling.vpa.kinds import VPAS
from wavetank.kube.api import Api
from wavetank.kube.client import Object, Resource
from wavetank.kube.resources import (
    DAEMONSETS,
    DEPLOYMENTS,
    HORIZONTALPODAUTOSCALERS,
    REPLICASETS,
    STATEFULSETS,
)

__all__ = ["advise"]

_AUTOSCALERS = (HORIZONTALPODAUTOSCALERS, VPAS)
_TARGETS = (DEPLOYMENTS, STATEFULSETS, REPLICASETS, DAEMONSETS)
_PLURALS = frozenset((r.group, r.plural) for r in (*_AUTOSCALERS, *_TARGETS))


def advise(api: Api, resource: Resource, obj: Object) -> Iterator[str]:
    """Warnings about an object that was just stored, in view of the autoscalers around it."""
    if (resource.group, resource.plural) not in _PLURALS:
        return
    namespace, name = obj["metadata"].get("namespace") or "default", obj["metadata"]["name"]
    around: list[Object] = []
    for each in _AUTOSCALERS:
        around += (_typed(each, found) for found in api.bucket(each).sorted(namespace))
    if not around:
        return
    for each in _TARGETS:
        around += (_typed(each, found) for found in api.bucket(each).sorted(namespace))
    own = f"{resource.kind}/{namespace}/{name}"
    for finding in lint(around, live=True):
        if own in finding.concerns and finding.level != "info":
            yield f"{finding.message}; {finding.fix}"


def _typed(resource: Resource, obj: Object) -> Object:
    return {**obj, "apiVersion": resource.api_version, "kind": resource.kind}
