"""All built-in kinds, as the registry takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from wavetank.kube import resources as r
from wavetank.kube.client import Object, Resource
from wavetank.kube.kinds import cluster, events, hpa, pod, workloads
from wavetank.kube.limit_range import default_limit_range
from wavetank.kube.registry import Conversion, Kind, Registry
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


_RULES: Final[Mapping[str, Mapping[str, Any]]] = {
    "pods": {
        "default": pod.default_pod,
        "validate": pod.validate_pod,
        "validate_update": pod.validate_pod_update,
        "prepare_create": pod.prepare_pod,
    },
    "deployments": {
        "default": workloads.default_deployment,
        "validate": workloads.validate_deployment,
        "validate_update": workloads.validate_selector_update,
    },
    "replicasets": {
        "default": workloads.default_replica_set,
        "validate": workloads.validate_workload,
        "validate_update": workloads.validate_selector_update,
    },
    "statefulsets": {
        "default": workloads.default_stateful_set,
        "validate": workloads.validate_workload,
        "validate_update": workloads.validate_selector_update,
    },
    "daemonsets": {
        "default": workloads.default_daemon_set,
        "validate": workloads.validate_daemon_set,
        "validate_update": workloads.validate_selector_update,
    },
    "jobs": {
        "default": workloads.default_job,
        "validate": workloads.validate_job,
        "validate_update": workloads.validate_job_update,
    },
    "cronjobs": {"default": workloads.default_cron_job, "validate": workloads.validate_cron_job},
    "services": {
        "default": cluster.default_service,
        "validate": cluster.validate_service,
        "validate_update": cluster.validate_service_update,
    },
    "namespaces": {"default": cluster.default_namespace, "prepare_create": cluster.prepare_namespace},
    "secrets": {"default": cluster.default_secret, "validate": cluster.validate_secret},
    "configmaps": {"validate": cluster.validate_config_map},
    "events": {"validate": cluster.validate_event},
    "poddisruptionbudgets": {"validate": cluster.validate_pdb},
    "horizontalpodautoscalers": {"default": hpa.default_hpa, "validate": hpa.validate_hpa},
    "limitranges": {"default": default_limit_range, "validate": cluster.validate_limit_range},
    "resourcequotas": {"validate": cluster.validate_resource_quota},
    "priorityclasses": {
        "default": cluster.default_priority_class,
        "validate": cluster.validate_priority_class,
        "validate_update": cluster.validate_priority_class_update,
    },
    "customresourcedefinitions": {"validate": cluster.validate_crd},
}


def _kind(resource: Resource) -> Kind:
    return Kind(
        resource,
        fields=_FIELDS.get(resource.plural, ()),
        generation=resource.plural not in _NO_GENERATION,
        graceful=resource is r.PODS,
        scale_selector=_workload_selector if "scale" in resource.subresources else None,
        **_RULES.get(resource.plural, {}),
    )


_CONVERSIONS: Final = {
    "horizontalpodautoscalers": Conversion(
        r.HORIZONTALPODAUTOSCALERS_V1, r.HORIZONTALPODAUTOSCALERS, hpa.to_v2, hpa.from_v2
    ),
    "events": Conversion(r.EVENTS_V1, r.EVENTS, events.to_core, events.from_core),
}


def register_built_in(registry: Registry) -> None:
    for resource in r.BUILT_IN:
        conversion = _CONVERSIONS.get(resource.plural)
        registry.add(_kind(resource), *((conversion,) if conversion else ()))
