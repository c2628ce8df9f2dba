"""Pods and their containers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from wavetank.exporters.families import Families
from wavetank.exporters.kube_state.common import (
    CONDITION_STATUS,
    INVALID,
    UNITS,
    Labels,
    Object,
    created,
    identity,
    label_metric,
    meta_of,
    number,
    owners,
    spec_of,
    status_of,
)
from wavetank.exporters.quantity import quantity, unix_seconds

__all__ = ["pod"]

_PHASES: Final = ("Pending", "Running", "Succeeded", "Failed", "Unknown")
_REASONS: Final = ("Evicted", "NodeAffinity", "NodeLost", "Shutdown", "UnexpectedAdmissionError")


def pod(found: Families, pod: Object) -> None:
    meta, spec, status = meta_of(pod), spec_of(pod), status_of(pod)
    who = {**identity(pod, "pod"), "uid": str(meta.get("uid") or "")}
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
    created(found, "kube_pod_created", pod, who)
    number(found, "kube_pod_start_time", who, unix_seconds(status.get("startTime")))
    number(found, "kube_pod_deletion_timestamp", who, unix_seconds(meta.get("deletionTimestamp")))
    owners(found, "kube_pod_owner", pod, who)
    label_metric(found, "kube_pod_labels", pod, who)
    if policy := spec.get("restartPolicy"):
        found.gauge("kube_pod_restart_policy", {**who, "type": str(policy)}, 1)
    for phase in _PHASES:
        found.gauge("kube_pod_status_phase", {**who, "phase": phase}, status.get("phase") == phase)
    for reason in _REASONS:
        found.gauge("kube_pod_status_reason", {**who, "reason": reason}, status.get("reason") == reason)
    if qos := status.get("qosClass"):
        for name in ("BestEffort", "Burstable", "Guaranteed"):
            found.gauge("kube_pod_status_qos_class", {**who, "qos_class": name}, qos == name)
    _pod_conditions(found, pod, who)
    for container in spec.get("containers") or []:
        _resources(found, container, {**who, "container": str(container.get("name"))}, spec)
    for state in status.get("containerStatuses") or []:
        _container(found, state, {**who, "container": str(state.get("name"))}, spec)
    for state in status.get("initContainerStatuses") or []:
        _init_container(found, state, {**who, "container": str(state.get("name"))})


def _pod_conditions(found: Families, pod: Object, who: Labels) -> None:
    conditions = {str(c.get("type")): c for c in status_of(pod).get("conditions") or []}
    for kind, name in (("Ready", "kube_pod_status_ready"), ("PodScheduled", "kube_pod_status_scheduled")):
        if kind in conditions:
            for state in CONDITION_STATUS:
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
            number(found, name, who, unix_seconds(condition.get("lastTransitionTime")))
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable":
        found.gauge("kube_pod_status_unschedulable", who, 1)


def _resources(found: Families, container: Object, who: Labels, spec: Mapping[str, Any]) -> None:
    resources = container.get("resources") or {}
    for kind in ("requests", "limits"):
        for resource, amount in (resources.get(kind) or {}).items():
            name = INVALID.sub("_", resource)
            labels = {
                **who,
                "node": str(spec.get("nodeName") or ""),
                "resource": name,
                "unit": UNITS.get(name, "integer"),
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
        number(found, "kube_pod_container_status_last_terminated_exitcode", who, last.get("exitCode"))
    started = (now.get("running") or {}).get("startedAt") or (now.get("terminated") or {}).get("startedAt")
    number(found, "kube_pod_container_state_started", who, unix_seconds(started))
    found.gauge("kube_pod_container_status_ready", who, bool(state.get("ready")))
    restarts = float(state.get("restartCount") or 0)
    found.counter("kube_pod_container_status_restarts_total", who, restarts)


def _init_container(found: Families, state: Object, who: Labels) -> None:
    found.gauge("kube_pod_init_container_status_ready", who, bool(state.get("ready")))
    restarts = float(state.get("restartCount") or 0)
    found.counter("kube_pod_init_container_status_restarts_total", who, restarts)
