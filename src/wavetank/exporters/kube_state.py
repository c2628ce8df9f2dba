"""The state of a cluster's objects under kube-state-metrics' names.

Mirrors kubernetes/kube-state-metrics 2.x: ``families`` is a pure function from API objects to metric
families. There are the families that dashboards, autoscaling analysis and alert rules use of pods,
deployments, replica sets, autoscalers, nodes, namespaces and services; the other kinds, and metrics that
upstream calls experimental, are left out. Labels and annotations are not hidden behind an allow list:
``kube_*_labels`` carries them all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from wavetank.exporters.families import Families
from wavetank.exporters.quantity import quantity, unix_seconds
from wavetank.exposition.render import MetricFamily

__all__ = ["KINDS", "families"]

Object = Mapping[str, Any]
Labels = dict[str, str]

_INVALID: Final = re.compile(r"[^a-zA-Z0-9_]")
_PHASES: Final = ("Pending", "Running", "Succeeded", "Failed", "Unknown")
_REASONS: Final = ("Evicted", "NodeAffinity", "NodeLost", "Shutdown", "UnexpectedAdmissionError")
_CONDITION_STATUS: Final = ("true", "false", "unknown")
_UNITS: Final = {"cpu": "core", "memory": "byte", "ephemeral_storage": "byte", "storage": "byte"}


def families(objects: Mapping[str, Iterable[Object]]) -> list[MetricFamily]:
    """Metric families of objects by kind, e.g. ``{"Pod": pods}``; kinds not in ``KINDS`` are passed over."""
    found = Families()
    for kind, describe in KINDS.items():
        for item in objects.get(kind, ()):
            describe(found, item)
    return found.finish()


def _meta(item: Object) -> Mapping[str, Any]:
    meta: Mapping[str, Any] = item.get("metadata") or {}
    return meta


def _spec(item: Object) -> Mapping[str, Any]:
    spec: Mapping[str, Any] = item.get("spec") or {}
    return spec


def _status(item: Object) -> Mapping[str, Any]:
    status: Mapping[str, Any] = item.get("status") or {}
    return status


def _who(item: Object, label: str) -> Labels:
    meta = _meta(item)
    namespace = meta.get("namespace")
    return {**({"namespace": str(namespace)} if namespace else {}), label: str(meta.get("name") or "")}


def _created(found: Families, name: str, item: Object, who: Labels) -> None:
    if (at := unix_seconds(_meta(item).get("creationTimestamp"))) is not None:
        found.gauge(name, who, at)


def _label_metric(found: Families, name: str, item: Object, who: Labels) -> None:
    own = {
        f"label_{_INVALID.sub('_', key)}": str(value)
        for key, value in (_meta(item).get("labels") or {}).items()
    }
    found.gauge(name, {**who, **own}, 1)


def _conditions(found: Families, name: str, item: Object, who: Labels) -> None:
    for condition in _status(item).get("conditions") or []:
        for status in _CONDITION_STATUS:
            labels = {**who, "condition": str(condition.get("type")), "status": status}
            found.gauge(name, labels, str(condition.get("status")).lower() == status)


def _number(found: Families, name: str, who: Labels, value: Any) -> None:
    if value is not None:
        found.gauge(name, who, float(value))


def _owners(found: Families, name: str, item: Object, who: Labels) -> None:
    owners = _meta(item).get("ownerReferences") or [{}]
    for owner in owners:
        labels = {
            **who,
            "owner_kind": str(owner.get("kind") or ""),
            "owner_name": str(owner.get("name") or ""),
            "owner_is_controller": str(bool(owner.get("controller"))).lower() if owner else "",
        }
        found.gauge(name, labels, 1)


# --- pods


def _pod(found: Families, pod: Object) -> None:
    meta, spec, status = _meta(pod), _spec(pod), _status(pod)
    who = {**_who(pod, "pod"), "uid": str(meta.get("uid") or "")}
    controller: Object = next((o for o in meta.get("ownerReferences") or [] if o.get("controller")), {})
    found.gauge(
        "kube_pod_info",
        {
            **who,
            "host_ip": str(status.get("hostIP") or ""),
            "pod_ip": str(status.get("podIP") or ""),
            "node": str(spec.get("nodeName") or ""),
            "created_by_kind": str(controller.get("kind") or ""),
            "created_by_name": str(controller.get("name") or ""),
            "priority_class": str(spec.get("priorityClassName") or ""),
            "host_network": str(bool(spec.get("hostNetwork"))).lower(),
        },
        1,
    )
    _created(found, "kube_pod_created", pod, who)
    _number(found, "kube_pod_start_time", who, unix_seconds(status.get("startTime")))
    _number(found, "kube_pod_deletion_timestamp", who, unix_seconds(meta.get("deletionTimestamp")))
    _owners(found, "kube_pod_owner", pod, who)
    _label_metric(found, "kube_pod_labels", pod, who)
    if policy := spec.get("restartPolicy"):
        found.gauge("kube_pod_restart_policy", {**who, "type": str(policy)}, 1)
    for phase in _PHASES:
        found.gauge("kube_pod_status_phase", {**who, "phase": phase}, status.get("phase") == phase)
    for reason in _REASONS:
        found.gauge("kube_pod_status_reason", {**who, "reason": reason}, status.get("reason") == reason)
    _pod_conditions(found, pod, who)
    for container in spec.get("containers") or []:
        _resources(found, container, {**who, "container": str(container.get("name"))}, spec)
    for state in status.get("containerStatuses") or []:
        _container(found, state, {**who, "container": str(state.get("name"))}, spec)
    for state in status.get("initContainerStatuses") or []:
        _init_container(found, state, {**who, "container": str(state.get("name"))})


def _pod_conditions(found: Families, pod: Object, who: Labels) -> None:
    conditions = {str(c.get("type")): c for c in _status(pod).get("conditions") or []}
    for kind, name in (("Ready", "kube_pod_status_ready"), ("PodScheduled", "kube_pod_status_scheduled")):
        if kind in conditions:
            for state in _CONDITION_STATUS:
                actual = str(conditions[kind].get("status")).lower() == state
                found.gauge(name, {**who, "condition": state}, actual)
    for kind, name in (
        ("Ready", "kube_pod_status_ready_time"),
        ("PodScheduled", "kube_pod_status_scheduled_time"),
        ("Initialized", "kube_pod_status_initialized_time"),
        ("ContainersReady", "kube_pod_status_container_ready_time"),
    ):
        condition = conditions.get(kind, {})
        if condition.get("status") == "True":
            _number(found, name, who, unix_seconds(condition.get("lastTransitionTime")))
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable":
        found.gauge("kube_pod_status_unschedulable", who, 1)


def _resources(found: Families, container: Object, who: Labels, spec: Mapping[str, Any]) -> None:
    resources = container.get("resources") or {}
    for kind in ("requests", "limits"):
        for resource, amount in (resources.get(kind) or {}).items():
            name = _INVALID.sub("_", resource)
            labels = {
                **who,
                "node": str(spec.get("nodeName") or ""),
                "resource": name,
                "unit": _UNITS.get(name, "integer"),
            }
            found.gauge(f"kube_pod_container_resource_{kind}", labels, quantity(amount))


def _container(found: Families, state: Object, who: Labels, spec: Mapping[str, Any]) -> None:
    images = [c.get("image") for c in spec.get("containers") or [] if c.get("name") == state.get("name")]
    found.gauge(
        "kube_pod_container_info",
        {
            **who,
            "image_spec": str(images[0]) if images else "",
            "image": str(state.get("image") or ""),
            "image_id": str(state.get("imageID") or ""),
            "container_id": str(state.get("containerID") or ""),
        },
        1,
    )
    now, last = state.get("state") or {}, (state.get("lastState") or {}).get("terminated")
    for kind in ("waiting", "running", "terminated"):
        found.gauge(f"kube_pod_container_status_{kind}", who, kind in now)
    for kind in ("waiting", "terminated"):
        if reason := (now.get(kind) or {}).get("reason"):
            found.gauge(f"kube_pod_container_status_{kind}_reason", {**who, "reason": str(reason)}, 1)
    if last:
        if reason := last.get("reason"):
            found.gauge("kube_pod_container_status_last_terminated_reason", {**who, "reason": str(reason)}, 1)
        _number(found, "kube_pod_container_status_last_terminated_exitcode", who, last.get("exitCode"))
    started = (now.get("running") or {}).get("startedAt") or (now.get("terminated") or {}).get("startedAt")
    _number(found, "kube_pod_container_state_started", who, unix_seconds(started))
    found.gauge("kube_pod_container_status_ready", who, bool(state.get("ready")))
    restarts = float(state.get("restartCount") or 0)
    found.counter("kube_pod_container_status_restarts_total", who, restarts)


def _init_container(found: Families, state: Object, who: Labels) -> None:
    found.gauge("kube_pod_init_container_status_ready", who, bool(state.get("ready")))
    restarts = float(state.get("restartCount") or 0)
    found.counter("kube_pod_init_container_status_restarts_total", who, restarts)


# --- workloads


def _deployment(found: Families, deployment: Object) -> None:
    who, spec, status = _who(deployment, "deployment"), _spec(deployment), _status(deployment)
    _created(found, "kube_deployment_created", deployment, who)
    _label_metric(found, "kube_deployment_labels", deployment, who)
    _owners(found, "kube_deployment_owner", deployment, who)
    for name, key in (
        ("replicas", "replicas"),
        ("replicas_ready", "readyReplicas"),
        ("replicas_available", "availableReplicas"),
        ("replicas_unavailable", "unavailableReplicas"),
        ("replicas_updated", "updatedReplicas"),
        ("observed_generation", "observedGeneration"),
    ):
        found.gauge(f"kube_deployment_status_{name}", who, float(status.get(key) or 0))
    if "terminatingReplicas" in status:
        found.gauge("kube_deployment_status_replicas_terminating", who, float(status["terminatingReplicas"]))
    _conditions(found, "kube_deployment_status_condition", deployment, who)
    replicas = spec.get("replicas", 1)
    _number(found, "kube_deployment_spec_replicas", who, replicas)
    found.gauge("kube_deployment_spec_paused", who, bool(spec.get("paused")))
    rolling = (spec.get("strategy") or {}).get("rollingUpdate") or {}
    for key, name, up in (("maxUnavailable", "max_unavailable", False), ("maxSurge", "max_surge", True)):
        if key in rolling:
            value = _absolute(rolling[key], int(replicas or 0), up)
            found.gauge(f"kube_deployment_spec_strategy_rollingupdate_{name}", who, value)
    _number(found, "kube_deployment_metadata_generation", who, _meta(deployment).get("generation"))


def _absolute(value: Any, replicas: int, round_up: bool) -> float:
    """A number of pods from a number or a percentage."""
    if isinstance(value, str) and value.endswith("%"):
        share = int(value[:-1]) * replicas
        return float(-(-share // 100) if round_up else share // 100)
    return float(value)


def _replicaset(found: Families, replicaset: Object) -> None:
    who, status = _who(replicaset, "replicaset"), _status(replicaset)
    _created(found, "kube_replicaset_created", replicaset, who)
    _label_metric(found, "kube_replicaset_labels", replicaset, who)
    for name, key in (
        ("replicas", "replicas"),
        ("fully_labeled_replicas", "fullyLabeledReplicas"),
        ("ready_replicas", "readyReplicas"),
        ("observed_generation", "observedGeneration"),
    ):
        found.gauge(f"kube_replicaset_status_{name}", who, float(status.get(key) or 0))
    _number(found, "kube_replicaset_spec_replicas", who, _spec(replicaset).get("replicas", 1))
    _number(found, "kube_replicaset_metadata_generation", who, _meta(replicaset).get("generation"))
    _owners(found, "kube_replicaset_owner", replicaset, who)


# --- autoscalers


def _autoscaler(found: Families, hpa: Object) -> None:
    prefix = "kube_horizontalpodautoscaler"
    who, spec, status = _who(hpa, "horizontalpodautoscaler"), _spec(hpa), _status(hpa)
    target = spec.get("scaleTargetRef") or {}
    found.gauge(
        f"{prefix}_info",
        {
            **who,
            "scaletargetref_api_version": str(target.get("apiVersion") or ""),
            "scaletargetref_kind": str(target.get("kind") or ""),
            "scaletargetref_name": str(target.get("name") or ""),
        },
        1,
    )
    _created(found, f"{prefix}_created", hpa, who)
    _label_metric(found, f"{prefix}_labels", hpa, who)
    _number(found, f"{prefix}_metadata_generation", who, _meta(hpa).get("generation"))
    _number(found, f"{prefix}_spec_min_replicas", who, spec.get("minReplicas", 1))
    _number(found, f"{prefix}_spec_max_replicas", who, spec.get("maxReplicas"))
    for direction in ("scaleUp", "scaleDown"):
        tolerance = ((spec.get("behavior") or {}).get(direction) or {}).get("tolerance")
        if tolerance is not None:
            name = f"{prefix}_spec_behavior_scale_{direction.removeprefix('scale').lower()}_tolerance"
            found.gauge(name, who, quantity(tolerance))
    for metric in spec.get("metrics") or []:
        _target_metric(found, f"{prefix}_spec_target_metric", metric, "target", who)
    for metric in status.get("currentMetrics") or []:
        _target_metric(found, f"{prefix}_status_target_metric", metric, "current", who)
    _number(found, f"{prefix}_status_current_replicas", who, status.get("currentReplicas", 0))
    _number(found, f"{prefix}_status_desired_replicas", who, status.get("desiredReplicas", 0))
    _conditions(found, f"{prefix}_status_condition", hpa, who)


def _target_metric(found: Families, name: str, metric: Object, side: str, who: Labels) -> None:
    """A metric's target or current values; each kind of value is a series."""
    kind = str(metric.get("type") or "")
    source = metric.get(kind[:1].lower() + kind[1:]) or {}
    metric_name = str(source.get("name") or (source.get("metric") or {}).get("name") or "")
    values = source.get(side) or {}
    for key, target_type in (
        ("value", "value"),
        ("averageValue", "average"),
        ("averageUtilization", "utilization"),
    ):
        if values.get(key) is not None:
            labels = {**who, "metric_name": metric_name, "metric_target_type": target_type}
            found.gauge(name, labels, quantity(values[key]))


# --- nodes, namespaces, services


def _node(found: Families, node: Object) -> None:
    who, spec, status = _who(node, "node"), _spec(node), _status(node)
    info = status.get("nodeInfo") or {}
    addresses = [a.get("address", "") for a in status.get("addresses") or [] if a.get("type") == "InternalIP"]
    found.gauge(
        "kube_node_info",
        {
            **who,
            "kernel_version": str(info.get("kernelVersion") or ""),
            "os_image": str(info.get("osImage") or ""),
            "container_runtime_version": str(info.get("containerRuntimeVersion") or ""),
            "kubelet_version": str(info.get("kubeletVersion") or ""),
            "provider_id": str(spec.get("providerID") or ""),
            "pod_cidr": str(spec.get("podCIDR") or ""),
            "system_uuid": str(info.get("systemUUID") or ""),
            "internal_ip": addresses[0] if addresses else "",
        },
        1,
    )
    _created(found, "kube_node_created", node, who)
    _label_metric(found, "kube_node_labels", node, who)
    found.gauge("kube_node_spec_unschedulable", who, bool(spec.get("unschedulable")))
    for taint in spec.get("taints") or []:
        labels = {name: str(taint.get(name) or "") for name in ("key", "value", "effect")}
        found.gauge("kube_node_spec_taint", {**who, **labels}, 1)
    _conditions(found, "kube_node_status_condition", node, who)
    for kind in ("capacity", "allocatable"):
        for resource, amount in (status.get(kind) or {}).items():
            name = _INVALID.sub("_", resource)
            labels = {**who, "resource": name, "unit": _UNITS.get(name, "integer")}
            found.gauge(f"kube_node_status_{kind}", labels, quantity(amount))


def _namespace(found: Families, namespace: Object) -> None:
    who = {"namespace": str(_meta(namespace).get("name") or "")}
    _created(found, "kube_namespace_created", namespace, who)
    _label_metric(found, "kube_namespace_labels", namespace, who)
    for phase in ("Active", "Terminating"):
        actual = _status(namespace).get("phase") == phase
        found.gauge("kube_namespace_status_phase", {**who, "phase": phase}, actual)


def _service(found: Families, service: Object) -> None:
    who, spec = _who(service, "service"), _spec(service)
    who["uid"] = str(_meta(service).get("uid") or "")
    found.gauge(
        "kube_service_info",
        {
            **who,
            "cluster_ip": str(spec.get("clusterIP") or ""),
            "external_name": str(spec.get("externalName") or ""),
            "load_balancer_ip": str(spec.get("loadBalancerIP") or ""),
        },
        1,
    )
    _created(found, "kube_service_created", service, who)
    _label_metric(found, "kube_service_labels", service, who)
    found.gauge("kube_service_spec_type", {**who, "type": str(spec.get("type") or "ClusterIP")}, 1)


#: Kind -> what describes an object of it.
KINDS: Final[Mapping[str, Callable[[Families, Object], None]]] = {
    "Pod": _pod,
    "Deployment": _deployment,
    "ReplicaSet": _replicaset,
    "HorizontalPodAutoscaler": _autoscaler,
    "Node": _node,
    "Namespace": _namespace,
    "Service": _service,
}
