"""The state of a cluster's objects under kube-state-metrics' names.

Mirrors kubernetes/kube-state-metrics 2.x: ``families`` is a pure function from API objects to metric
families, those that dashboards, autoscaling analysis and alert rules use. Annotations, roles and bindings,
leases, webhooks and what upstream calls experimental are left out. Labels are not hidden behind an allow
list: ``kube_*_labels`` carries them all. Vertical autoscalers have the names of
kubernetes-autoscaling-mixin's custom resource configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from wavetank.exporters.families import Families
from wavetank.exporters.kube_state import (
    autoscalers,
    batch,
    cluster,
    configuration,
    network,
    pods,
    policy,
    storage,
    workloads,
)
from wavetank.exporters.kube_state.common import Object
from wavetank.exposition.render import MetricFamily

__all__ = ["KINDS", "families"]


#: Kind -> what describes an object of it.
KINDS: Final[Mapping[str, Callable[[Families, Object], None]]] = {
    "Pod": pods.pod,
    "Deployment": workloads.deployment,
    "ReplicaSet": workloads.replicaset,
    "StatefulSet": workloads.statefulset,
    "DaemonSet": workloads.daemonset,
    "Job": batch.job,
    "CronJob": batch.cronjob,
    "HorizontalPodAutoscaler": autoscalers.horizontal,
    "VerticalPodAutoscaler": autoscalers.vertical,
    "PodDisruptionBudget": autoscalers.disruption_budget,
    "Node": cluster.node,
    "Namespace": cluster.namespace,
    "Service": cluster.service,
    "Endpoints": network.endpoints,
    "EndpointSlice": network.endpoint_slice,
    "Ingress": network.ingress,
    "NetworkPolicy": network.network_policy,
    "ResourceQuota": policy.quota,
    "LimitRange": policy.limit_range,
    "PersistentVolume": storage.volume,
    "PersistentVolumeClaim": storage.claim,
    "StorageClass": storage.storage_class,
    "Secret": configuration.secret,
    "ConfigMap": configuration.config_map,
    "ServiceAccount": configuration.service_account,
}


def families(objects: Mapping[str, Iterable[Object]]) -> list[MetricFamily]:
    """Metric families of objects by kind, e.g. ``{"Pod": pods}``; kinds not in ``KINDS`` are passed over."""
    found = Families()
    for kind, describe in KINDS.items():
        for item in objects.get(kind, ()):
            describe(found, item)
    _itself(found, objects)
    return found.finish()


def _itself(found: Families, objects: Mapping[str, Iterable[Object]]) -> None:
    """What alert rules ask of kube-state-metrics itself: it sees all there is, and is not sharded."""
    for name in ("kube_state_metrics_list_total", "kube_state_metrics_watch_total"):
        for kind in KINDS:
            if kind in objects:
                found.counter(name, {"resource": kind, "result": "success"}, 1)
    found.gauge("kube_state_metrics_total_shards", {}, 1)
    found.gauge("kube_state_metrics_shard_ordinal", {"shard_ordinal": "0"}, 0)
