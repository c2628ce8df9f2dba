"""Secrets, config maps, service accounts: that they are there, never what they hold."""

from __future__ import annotations

from wavetank.exporters.families import Families
from wavetank.exporters.kube_state.common import (
    Labels,
    Object,
    created,
    identity,
    label_metric,
    meta_of,
    owners,
)

__all__ = ["config_map", "secret", "service_account"]


def secret(found: Families, item: Object) -> None:
    labels = identity(item, "secret")
    found.gauge("kube_secret_info", labels, 1)
    found.gauge("kube_secret_type", {**labels, "type": str(item.get("type") or "Opaque")}, 1)
    _common(found, "kube_secret", item, labels)
    owners(found, "kube_secret_owner", item, labels)


def config_map(found: Families, item: Object) -> None:
    labels = identity(item, "configmap")
    found.gauge("kube_configmap_info", labels, 1)
    _common(found, "kube_configmap", item, labels)


def _common(found: Families, prefix: str, item: Object, labels: Labels) -> None:
    created(found, f"{prefix}_created", item, labels)
    label_metric(found, f"{prefix}_labels", item, labels)
    version = str(meta_of(item).get("resourceVersion") or "")
    if version.isdigit():
        found.gauge(f"{prefix}_metadata_resource_version", labels, float(version))


def service_account(found: Families, item: Object) -> None:
    labels = {**identity(item, "serviceaccount"), "uid": str(meta_of(item).get("uid") or "")}
    mounted = item.get("automountServiceAccountToken")
    info = {**labels} if mounted is None else {**labels, "automount_token": str(bool(mounted)).lower()}
    found.gauge("kube_serviceaccount_info", info, 1)
    created(found, "kube_serviceaccount_created", item, labels)
    label_metric(found, "kube_serviceaccount_labels", item, labels)
