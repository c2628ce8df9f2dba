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
_SCALING = frozenset((r.group, r.plural) for r in _AUTOSCALERS)
_PLURALS = frozenset((r.group, r.plural) for r in (*_AUTOSCALERS, *_TARGETS))


def advise(api: Api, resource: Resource, obj: Object) -> Iterator[str]:
    """Warnings about an object that was just stored, in view of the autoscalers around it."""
    if (resource.group, resource.plural) not in _PLURALS:
        return
    namespace, name = obj["metadata"].get("namespace") or "default", obj["metadata"]["name"]
    target = _target(obj) if (resource.group, resource.plural) in _SCALING else (resource.kind, name)
    around = [
        _typed(each, found)
        for each in _AUTOSCALERS
        for found in api.bucket(each).sorted(namespace)
        if _target(found) == target
    ]
    if not around:
        return
    for each in _TARGETS:
        workload = api.bucket(each).get(namespace, str(target[1]))
        if workload is not None and each.kind == target[0]:
            around.append(_typed(each, workload))
    own = f"{resource.kind}/{namespace}/{name}"
    for finding in lint(around, live=True):
        if own in finding.concerns and finding.level != "info":
            yield f"{finding.message}; {finding.fix}"


def _target(obj: Object) -> tuple[object, object]:
    """(kind, name) that an HPA or VPA refers to."""
    spec = obj.get("spec") or {}
    reference = spec.get("scaleTargetRef") or spec.get("targetRef") or {}
    return reference.get("kind"), reference.get("name")


def _typed(resource: Resource, obj: Object) -> Object:
    return {**obj, "apiVersion": resource.api_version, "kind": resource.kind}
