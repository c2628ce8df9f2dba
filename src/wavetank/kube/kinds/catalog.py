"""All built-in kinds, as the registry takes them."""

from __future__ import annotations

from wavetank.kube import resources as r
from wavetank.kube.client import Object, Resource
from wavetank.kube.registry import Kind, Registry
from wavetank.kube.selectors import from_object

__all__ = ["register_built_in"]

_NO_GENERATION = frozenset(
    resource.plural
    for resource in r.BUILT_IN
    if resource.plural
    not in {
        "pods", "deployments", "replicasets", "statefulsets", "daemonsets", "jobs", "cronjobs",
        "poddisruptionbudgets", "ingresses", "networkpolicies", "endpointslices", "priorityclasses",
        "customresourcedefinitions",
    }
)  # fmt: skip

_FIELDS = {
    "pods": (
        "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName",
        "spec.hostNetwork", "status.phase", "status.podIP", "status.nominatedNodeName",
    ),
    "events": (
        "involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
        "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath", "reason",
        "reportingComponent", "source", "type",
    ),
    "nodes": ("spec.unschedulable",),
    "namespaces": ("status.phase",),
    "replicasets": ("status.replicas",),
    "jobs": ("status.successful",),
    "secrets": ("type",),
}  # fmt: skip


def _workload_selector(obj: Object) -> str:
    return str(from_object((obj.get("spec") or {}).get("selector") or {}))


def _kind(resource: Resource) -> Kind:
    return Kind(
        resource,
        fields=_FIELDS.get(resource.plural, ()),
        generation=resource.plural not in _NO_GENERATION,
        graceful=resource is r.PODS,
        scale_selector=_workload_selector if "scale" in resource.subresources else None,
    )


def register_built_in(registry: Registry) -> None:
    for resource in r.BUILT_IN:
        registry.add(_kind(resource))
