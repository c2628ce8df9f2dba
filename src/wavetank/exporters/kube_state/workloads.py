"""Deployments, replica sets, stateful sets, daemon sets."""

from __future__ import annotations

from wavetank.exporters.families import Families
from wavetank.exporters.kube_state.common import (
    Object,
    absolute,
    conditions,
    created,
    identity,
    label_metric,
    meta_of,
    number,
    owners,
    spec_of,
    status_of,
    times,
)

__all__ = ["daemonset", "deployment", "replicaset", "statefulset"]


def deployment(found: Families, item: Object) -> None:
    who, spec, status = identity(item, "deployment"), spec_of(item), status_of(item)
    created(found, "kube_deployment_created", item, who)
    label_metric(found, "kube_deployment_labels", item, who)
    owners(found, "kube_deployment_owner", item, who)
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
    conditions(found, "kube_deployment_status_condition", item, who)
    replicas = spec.get("replicas", 1)
    number(found, "kube_deployment_spec_replicas", who, replicas)
    found.gauge("kube_deployment_spec_paused", who, bool(spec.get("paused")))
    rolling = (spec.get("strategy") or {}).get("rollingUpdate") or {}
    for key, name, up in (("maxUnavailable", "max_unavailable", False), ("maxSurge", "max_surge", True)):
        if key in rolling:
            value = absolute(rolling[key], int(replicas or 0), up)
            found.gauge(f"kube_deployment_spec_strategy_rollingupdate_{name}", who, value)
    number(found, "kube_deployment_metadata_generation", who, meta_of(item).get("generation"))


def replicaset(found: Families, item: Object) -> None:
    who, status = identity(item, "replicaset"), status_of(item)
    created(found, "kube_replicaset_created", item, who)
    label_metric(found, "kube_replicaset_labels", item, who)
    for name, key in (
        ("replicas", "replicas"),
        ("fully_labeled_replicas", "fullyLabeledReplicas"),
        ("ready_replicas", "readyReplicas"),
        ("observed_generation", "observedGeneration"),
    ):
        found.gauge(f"kube_replicaset_status_{name}", who, float(status.get(key) or 0))
    number(found, "kube_replicaset_spec_replicas", who, spec_of(item).get("replicas", 1))
    number(found, "kube_replicaset_metadata_generation", who, meta_of(item).get("generation"))
    owners(found, "kube_replicaset_owner", item, who)


def statefulset(found: Families, item: Object) -> None:
    labels, spec, status = identity(item, "statefulset"), spec_of(item), status_of(item)
    times(found, "kube_statefulset", item, labels)
    label_metric(found, "kube_statefulset_labels", item, labels)
    for name, key in (
        ("replicas", "replicas"),
        ("replicas_available", "availableReplicas"),
        ("replicas_current", "currentReplicas"),
        ("replicas_ready", "readyReplicas"),
        ("replicas_updated", "updatedReplicas"),
        ("observed_generation", "observedGeneration"),
    ):
        found.gauge(f"kube_statefulset_status_{name}", labels, float(status.get(key) or 0))
    number(found, "kube_statefulset_replicas", labels, spec.get("replicas", 1))
    number(found, "kube_statefulset_ordinals_start", labels, (spec.get("ordinals") or {}).get("start"))
    number(found, "kube_statefulset_metadata_generation", labels, meta_of(item).get("generation"))
    for kind, key in (("current", "currentRevision"), ("update", "updateRevision")):
        revision = {**labels, "revision": str(status.get(key) or "")}
        found.gauge(f"kube_statefulset_status_{kind}_revision", revision, 1)
    if policy := spec.get("persistentVolumeClaimRetentionPolicy"):
        when = {
            "when_deleted": str(policy.get("whenDeleted") or ""),
            "when_scaled": str(policy.get("whenScaled") or ""),
        }
        found.gauge("kube_statefulset_persistentvolumeclaim_retention_policy", {**labels, **when}, 1)


def daemonset(found: Families, item: Object) -> None:
    labels, status = identity(item, "daemonset"), status_of(item)
    times(found, "kube_daemonset", item, labels)
    label_metric(found, "kube_daemonset_labels", item, labels)
    for name, key in (
        ("current_number_scheduled", "currentNumberScheduled"),
        ("desired_number_scheduled", "desiredNumberScheduled"),
        ("number_available", "numberAvailable"),
        ("number_misscheduled", "numberMisscheduled"),
        ("number_ready", "numberReady"),
        ("number_unavailable", "numberUnavailable"),
        ("observed_generation", "observedGeneration"),
    ):
        found.gauge(f"kube_daemonset_status_{name}", labels, float(status.get(key) or 0))
    updated = float(status.get("updatedNumberScheduled") or 0)
    found.gauge("kube_daemonset_status_updated_number_scheduled", labels, updated)
    number(found, "kube_daemonset_metadata_generation", labels, meta_of(item).get("generation"))
