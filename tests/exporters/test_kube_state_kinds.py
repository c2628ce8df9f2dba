"""Every kind of object under kube-state-metrics' names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from wavetank.exporters import kube_state
from wavetank.exposition import parse
from wavetank.exposition.render import render_text

META = {"namespace": "ns", "name": "x", "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"a/b": "c"}}
OWNED = {**META, "ownerReferences": [{"kind": "CronJob", "name": "cron", "controller": True}]}
TERMINATED = {"terminated": {"reason": "Error", "exitCode": 1}}

OBJECTS: dict[str, list[dict[str, Any]]] = {
    "Pod": [
        {
            "metadata": {**META, "ownerReferences": [{"kind": "ReplicaSet", "name": "r", "controller": True}]},
            "spec": {
                "nodeName": "n",
                "containers": [{"name": "c", "resources": {"requests": {"cpu": 1}, "limits": {"cpu": 2}}}],
            },
            "status": {
                "phase": "Running",
                "qosClass": "Burstable",
                "conditions": [{"type": "Ready", "status": "True"}, {"type": "PodScheduled", "status": "True"}],
                "containerStatuses": [
                    {"name": "c", "restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": TERMINATED}
                ],
            },
        }
    ],
    "Deployment": [{"metadata": {**META, "generation": 2}, "spec": {"replicas": 1}, "status": {"conditions": [{"type": "Available", "status": "True"}]}}],
    "ReplicaSet": [{"metadata": OWNED, "spec": {}}],
    "StatefulSet": [
        {
            "metadata": {**META, "generation": 3},
            "spec": {"replicas": 2, "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Delete"}},
            "status": {"replicas": 2, "readyReplicas": 1, "currentRevision": "r1", "updateRevision": "r2", "observedGeneration": 3},
        }
    ],
    "DaemonSet": [{"metadata": META, "status": {"desiredNumberScheduled": 4, "numberAvailable": 3, "updatedNumberScheduled": 2}}],
    "Job": [
        {
            "metadata": OWNED,
            "spec": {"parallelism": 2, "completions": 3},
            "status": {
                "active": 1,
                "failed": 2,
                "startTime": "2026-01-01T00:00:01Z",
                "conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}],
            },
        }
    ],
    "CronJob": [{"metadata": {**META, "resourceVersion": "7"}, "spec": {"schedule": "* * * * *", "suspend": True}, "status": {"active": [{}]}}],
    "HorizontalPodAutoscaler": [
        {
            "metadata": META,
            "spec": {"maxReplicas": 5, "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 60}}}]},
            "status": {
                "currentReplicas": 1,
                "desiredReplicas": 2,
                "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 70}}}],
            },
        }
    ],
    "VerticalPodAutoscaler": [
        {
            "metadata": META,
            "spec": {"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "updatePolicy": {"updateMode": "Auto"}},
            "status": {
                "recommendation": {
                    "containerRecommendations": [
                        {"containerName": "c", "target": {"cpu": "250m"}, "lowerBound": {"cpu": "1"}, "upperBound": {"memory": "1Gi"}}
                    ]
                }
            },
        }
    ],
    "PodDisruptionBudget": [{"metadata": META, "status": {"currentHealthy": 3, "desiredHealthy": 2, "disruptionsAllowed": 1, "expectedPods": 3}}],
    "Node": [
        {
            "metadata": {"name": "n", "labels": {"node-role.kubernetes.io/control-plane": ""}},
            "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "capacity": {"cpu": "4"},
                "allocatable": {"cpu": "4"},
            },
        }
    ],
    "Namespace": [{"metadata": {"name": "ns", "creationTimestamp": "2026-01-01T00:00:00Z"}, "status": {"phase": "Active"}}],
    "Service": [{"metadata": META}],
    "Endpoints": [
        {
            "metadata": META,
            "subsets": [{"ports": [{"name": "http", "port": 80}], "addresses": [{"ip": "1.1.1.1"}], "notReadyAddresses": [{"ip": "2.2.2.2"}]}],
        }
    ],
    "EndpointSlice": [
        {
            "metadata": META,
            "addressType": "IPv4",
            "ports": [{"port": 80}],
            "endpoints": [{"addresses": ["1.1.1.1"], "conditions": {"ready": True}, "targetRef": {"kind": "Pod", "name": "p", "namespace": "ns"}}],
        }
    ],
    "Ingress": [
        {
            "metadata": META,
            "spec": {
                "ingressClassName": "nginx",
                "rules": [{"host": "h", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "s", "port": {"number": 80}}}}]}}],
                "tls": [{"hosts": ["h"], "secretName": "t"}],
            },
        }
    ],
    "NetworkPolicy": [{"metadata": META, "spec": {"ingress": [{}, {}]}}],
    "ResourceQuota": [{"metadata": META, "status": {"hard": {"requests.cpu": "4", "pods": "10"}, "used": {"requests.cpu": "500m"}}}],
    "LimitRange": [{"metadata": META, "spec": {"limits": [{"type": "Container", "defaultRequest": {"memory": "64Mi"}}]}}],
    "PersistentVolume": [
        {
            "metadata": {"name": "pv"},
            "spec": {"capacity": {"storage": "1Gi"}, "claimRef": {"namespace": "ns", "name": "c"}, "csi": {"driver": "d"}},
            "status": {"phase": "Bound"},
        }
    ],
    "PersistentVolumeClaim": [
        {
            "metadata": META,
            "spec": {"storageClassName": "fast", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}},
            "status": {"phase": "Bound"},
        }
    ],
    "StorageClass": [{"metadata": {"name": "fast"}, "provisioner": "p"}],
    "Secret": [{"metadata": META, "type": "Opaque", "data": {"password": "aHVudGVyMg=="}}],
    "ConfigMap": [{"metadata": {**META, "resourceVersion": "12"}, "data": {"k": "hunter2"}}],
    "ServiceAccount": [{"metadata": META, "automountServiceAccountToken": False}],
}  # fmt: skip

EXPECTED = {
    'kube_statefulset_replicas{namespace="ns", statefulset="x"}': 2,
    'kube_statefulset_status_update_revision{namespace="ns", revision="r2", statefulset="x"}': 1,
    'kube_daemonset_status_desired_number_scheduled{daemonset="x", namespace="ns"}': 4,
    'kube_daemonset_status_number_ready{daemonset="x", namespace="ns"}': 0,
    'kube_job_owner{job_name="x", namespace="ns", owner_is_controller="true", owner_kind="CronJob", owner_name="cron"}': 1,
    'kube_job_failed{condition="true", job_name="x", namespace="ns"}': 1,
    'kube_job_status_failed{job_name="x", namespace="ns", reason="BackoffLimitExceeded"}': 1,
    'kube_job_status_start_time{job_name="x", namespace="ns"}': 1767225601,
    'kube_cronjob_info{cronjob="x", namespace="ns", schedule="* * * * *", timezone="local"}': 1,
    'kube_cronjob_spec_suspend{cronjob="x", namespace="ns"}': 1,
    'kube_customresource_verticalpodautoscaler_status_recommendation_containerrecommendations_target{container="c", '
    'namespace="ns", resource="cpu", target_api_version="apps/v1", target_kind="Deployment", target_name="web", '
    'unit="core", verticalpodautoscaler="x"}': 0.25,
    'kube_poddisruptionbudget_status_pod_disruptions_allowed{namespace="ns", poddisruptionbudget="x"}': 1,
    'kube_node_role{node="n", role="control-plane"}': 1,
    'kube_pod_status_qos_class{namespace="ns", pod="x", qos_class="Burstable"}': 1,
    'kube_endpoint_address{endpoint="x", ip="2.2.2.2", namespace="ns", port_name="http", port_number="80", '
    'port_protocol="TCP", ready="false"}': 1,
    'kube_ingress_path{host="h", ingress="x", namespace="ns", path="/", path_type="Prefix", service_name="s", service_port="80"}': 1,
    'kube_networkpolicy_spec_ingress_rules{namespace="ns", networkpolicy="x"}': 2,
    'kube_resourcequota{namespace="ns", resource="requests.cpu", resourcequota="x", type="used"}': 0.5,
    'kube_limitrange{constraint="defaultRequest", limitrange="x", namespace="ns", resource="memory", type="Container"}': 64 << 20,
    'kube_persistentvolume_status_phase{persistentvolume="pv", phase="Bound"}': 1,
    'kube_persistentvolume_capacity_bytes{persistentvolume="pv"}': 1 << 30,
    'kube_persistentvolumeclaim_resource_requests_storage_bytes{namespace="ns", persistentvolumeclaim="x"}': 2 << 30,
    'kube_persistentvolumeclaim_access_mode{access_mode="ReadWriteOnce", namespace="ns", persistentvolumeclaim="x"}': 1,
    'kube_storageclass_info{provisioner="p", reclaim_policy="Delete", storageclass="fast", volume_binding_mode="Immediate"}': 1,
    'kube_secret_type{namespace="ns", secret="x", type="Opaque"}': 1,
    'kube_configmap_metadata_resource_version{configmap="x", namespace="ns"}': 12,
    'kube_serviceaccount_info{automount_token="false", namespace="ns", serviceaccount="x"}': 1,
    "kube_state_metrics_total_shards": 1,
}  # fmt: skip


def test_kinds() -> None:
    body = render_text(kube_state.families(OBJECTS))
    read = parse(body, "text/plain", default_timestamp_ms=0)
    found = {str(labels): value for labels, value in zip(read.labels, read.values.tolist(), strict=True)}
    assert {name: found.get(name) for name in EXPECTED} == EXPECTED
    assert len(found) == len(read.labels), "no series comes twice"


def test_every_metric_that_the_community_asks_for_is_there() -> None:
    names = {family.name for family in kube_state.families(OBJECTS)}
    wanted = set((Path(__file__).parent / "data/kube-metrics.txt").read_text().split())
    assert wanted - names == set()
    assert OBJECTS.keys() == kube_state.KINDS.keys()


def test_what_secrets_hold_is_never_shown() -> None:
    body = render_text(kube_state.families(OBJECTS))
    assert b"hunter2" not in body
    assert b"aHVudGVyMg" not in body


@pytest.mark.parametrize("kind", kube_state.KINDS)
def test_an_object_with_empty_parts_is_no_problem(kind: str) -> None:
    assert render_text(kube_state.families({kind: [{"metadata": None, "spec": None, "status": None}]}))
