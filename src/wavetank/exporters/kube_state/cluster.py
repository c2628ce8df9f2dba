"""Nodes, namespaces, services."""

from __future__ import annotations

from typing import Final

from wavetank.exporters.families import Families
from wavetank.exporters.kube_state.common import (
    INVALID,
    UNITS,
    Object,
    conditions,
    created,
    identity,
    label_metric,
    meta_of,
    spec_of,
    status_of,
)
from wavetank.exporters.quantity import quantity

__all__ = ["namespace", "node", "service"]

_ROLE: Final = "node-role.kubernetes.io/"


def node(found: Families, item: Object) -> None:
    who, spec, status = identity(item, "node"), spec_of(item), status_of(item)
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
    created(found, "kube_node_created", item, who)
    label_metric(found, "kube_node_labels", item, who)
    for key in meta_of(item).get("labels") or {}:
        if key.startswith(_ROLE):
            found.gauge("kube_node_role", {**who, "role": key.removeprefix(_ROLE)}, 1)
    found.gauge("kube_node_spec_unschedulable", who, bool(spec.get("unschedulable")))
    for taint in spec.get("taints") or []:
        labels = {name: str(taint.get(name) or "") for name in ("key", "value", "effect")}
        found.gauge("kube_node_spec_taint", {**who, **labels}, 1)
    conditions(found, "kube_node_status_condition", item, who)
    for kind in ("capacity", "allocatable"):
        for resource, amount in (status.get(kind) or {}).items():
            name = INVALID.sub("_", resource)
            labels = {**who, "resource": name, "unit": UNITS.get(name, "integer")}
            found.gauge(f"kube_node_status_{kind}", labels, quantity(amount))


def namespace(found: Families, item: Object) -> None:
    who = {"namespace": str(meta_of(item).get("name") or "")}
    created(found, "kube_namespace_created", item, who)
    label_metric(found, "kube_namespace_labels", item, who)
    for phase in ("Active", "Terminating"):
        actual = status_of(item).get("phase") == phase
        found.gauge("kube_namespace_status_phase", {**who, "phase": phase}, actual)


def service(found: Families, item: Object) -> None:
    who, spec = identity(item, "service"), spec_of(item)
    who["uid"] = str(meta_of(item).get("uid") or "")
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
    created(found, "kube_service_created", item, who)
    label_metric(found, "kube_service_labels", item, who)
    found.gauge("kube_service_spec_type", {**who, "type": str(spec.get("type") or "ClusterIP")}, 1)
