"""Persistent volumes, their claims, storage classes."""

from __future__ import annotations

from typing import Any, Final

from wavetank.exporters.families import Families
from wavetank.exporters.kube_state.common import (
    Object,
    conditions,
    created,
    identity,
    label_metric,
    meta_of,
    spec_of,
    status_of,
    times,
)
from wavetank.exporters.quantity import quantity

__all__ = ["claim", "storage_class", "volume"]

# Label -> where it stands in the volume's source
_SOURCES: Final = {
    "csi_driver": ("csi", "driver"),
    "csi_volume_handle": ("csi", "volumeHandle"),
    "gce_persistent_disk_name": ("gcePersistentDisk", "pdName"),
    "ebs_volume_id": ("awsElasticBlockStore", "volumeID"),
    "azure_disk_name": ("azureDisk", "diskName"),
    "nfs_server": ("nfs", "server"),
    "nfs_path": ("nfs", "path"),
    "local_path": ("local", "path"),
    "local_fs": ("local", "fsType"),
    "host_path": ("hostPath", "path"),
    "host_path_type": ("hostPath", "type"),
}
_VOLUME_PHASES: Final = ("Pending", "Available", "Bound", "Released", "Failed")


def claim(found: Families, item: Object) -> None:
    labels, spec, status = identity(item, "persistentvolumeclaim"), spec_of(item), status_of(item)
    times(found, "kube_persistentvolumeclaim", item, labels)
    label_metric(found, "kube_persistentvolumeclaim_labels", item, labels)
    annotations = meta_of(item).get("annotations") or {}
    legacy = annotations.get("volume.beta.kubernetes.io/storage-class")
    info = {
        "storageclass": str(legacy or spec.get("storageClassName") or ""),
        "volumename": str(spec.get("volumeName") or ""),
        "volumemode": str(spec.get("volumeMode") or ""),
    }
    found.gauge("kube_persistentvolumeclaim_info", {**labels, **info}, 1)
    for phase in ("Lost", "Bound", "Pending"):
        actual = status.get("phase") == phase
        found.gauge("kube_persistentvolumeclaim_status_phase", {**labels, "phase": phase}, actual)
    storage = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if storage is not None:
        amount = quantity(storage)
        found.gauge("kube_persistentvolumeclaim_resource_requests_storage_bytes", labels, amount)
    for mode in spec.get("accessModes") or []:
        found.gauge("kube_persistentvolumeclaim_access_mode", {**labels, "access_mode": str(mode)}, 1)
    conditions(found, "kube_persistentvolumeclaim_status_condition", item, labels)


def volume(found: Families, item: Object) -> None:
    labels, spec = identity(item, "persistentvolume"), spec_of(item)
    times(found, "kube_persistentvolume", item, labels)
    label_metric(found, "kube_persistentvolume_labels", item, labels)
    for phase in _VOLUME_PHASES:
        actual = status_of(item).get("phase") == phase
        found.gauge("kube_persistentvolume_status_phase", {**labels, "phase": phase}, actual)
    info = {name: _at(spec, *place) for name, place in _SOURCES.items()}
    info["storageclass"] = str(spec.get("storageClassName") or "")
    info["reclaim_policy"] = str(spec.get("persistentVolumeReclaimPolicy") or "")
    found.gauge("kube_persistentvolume_info", {**labels, **info}, 1)
    if (storage := (spec.get("capacity") or {}).get("storage")) is not None:
        found.gauge("kube_persistentvolume_capacity_bytes", labels, quantity(storage))
    if claim_ref := spec.get("claimRef"):
        named = {"claim_namespace": claim_ref.get("namespace"), "name": claim_ref.get("name")}
        shown = {name: str(value or "") for name, value in named.items()}
        found.gauge("kube_persistentvolume_claim_ref", {**labels, **shown}, 1)
    if mode := spec.get("volumeMode"):
        found.gauge("kube_persistentvolume_volume_mode", {**labels, "volumemode": str(mode)}, 1)
    for mode in spec.get("accessModes") or []:
        found.gauge("kube_persistentvolume_access_mode", {**labels, "access_mode": str(mode)}, 1)


def _at(spec: Any, first: str, second: str) -> str:
    return str((spec.get(first) or {}).get(second) or "")


def storage_class(found: Families, item: Object) -> None:
    labels = identity(item, "storageclass")
    created(found, "kube_storageclass_created", item, labels)
    label_metric(found, "kube_storageclass_labels", item, labels)
    info = {
        "provisioner": str(item.get("provisioner") or ""),
        "reclaim_policy": str(item.get("reclaimPolicy") or "Delete"),
        "volume_binding_mode": str(item.get("volumeBindingMode") or "Immediate"),
    }
    found.gauge("kube_storageclass_info", {**labels, **info}, 1)
