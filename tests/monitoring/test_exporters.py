"""Objects and this machine, under the names that dashboards ask for."""

from __future__ import annotations

from typing import Any

import pytest

from wavetank.clock import VirtualClock
from wavetank.exporters import kube_state, node
from wavetank.exporters.quantity import quantity
from wavetank.exposition import parse
from wavetank.exposition.render import MetricFamily, render_text

POD: dict[str, Any] = {
    "metadata": {
        "namespace": "shop",
        "name": "web-1",
        "uid": "u1",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"app.kubernetes.io/name": "web"},
        "ownerReferences": [{"kind": "ReplicaSet", "name": "web", "controller": True}],
    },
    "spec": {
        "nodeName": "n1",
        "containers": [
            {"name": "c", "image": "i:1", "resources": {"requests": {"cpu": "250m", "memory": "64Mi"}}}
        ],
    },
    "status": {
        "phase": "Running",
        "podIP": "127.0.1.1",
        "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:05Z"},
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:01Z"},
        ],
        "containerStatuses": [
            {
                "name": "c",
                "ready": True,
                "restartCount": 2,
                "state": {"running": {"startedAt": "2026-01-01T00:00:03Z"}},
                "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}},
            }
        ],
    },
}
HPA: dict[str, Any] = {
    "metadata": {"namespace": "shop", "name": "web"},
    "spec": {
        "scaleTargetRef": {"kind": "Deployment", "name": "web"},
        "minReplicas": 1,
        "maxReplicas": 5,
        "metrics": [
            {"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 60}}},
            {"type": "Pods", "pods": {"metric": {"name": "rps"}, "target": {"averageValue": "1500m"}}},
        ],
    },
    "status": {
        "currentReplicas": 1,
        "desiredReplicas": 3,
        "conditions": [{"type": "AbleToScale", "status": "True"}],
    },
}
DEPLOYMENT: dict[str, Any] = {
    "metadata": {"namespace": "shop", "name": "web", "generation": 2},
    "spec": {"replicas": 10, "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}},
    "status": {"replicas": 10, "readyReplicas": 8},
}
NODE: dict[str, Any] = {
    "metadata": {"name": "n1"},
    "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}},
}


def samples(families: list[MetricFamily]) -> dict[str, float]:
    """Every sample by its text form, read back from the rendered exposition."""
    found = parse(render_text(families), "text/plain", default_timestamp_ms=0)
    return {str(labels): value for labels, value in zip(found.labels, found.values.tolist(), strict=True)}


EXPECTED = {
    'kube_pod_created{namespace="shop", pod="web-1", uid="u1"}': 1767225600,
    'kube_pod_status_ready_time{namespace="shop", pod="web-1", uid="u1"}': 1767225605,
    'kube_pod_status_phase{namespace="shop", phase="Running", pod="web-1", uid="u1"}': 1,
    'kube_pod_status_phase{namespace="shop", phase="Pending", pod="web-1", uid="u1"}': 0,
    'kube_pod_status_ready{condition="true", namespace="shop", pod="web-1", uid="u1"}': 1,
    'kube_pod_container_state_started{container="c", namespace="shop", pod="web-1", uid="u1"}': 1767225603,
    'kube_pod_container_status_restarts_total{container="c", namespace="shop", pod="web-1", uid="u1"}': 2,
    'kube_pod_container_resource_requests{container="c", namespace="shop", node="n1", pod="web-1", '
    'resource="cpu", uid="u1", unit="core"}': 0.25,
    'kube_pod_labels{label_app_kubernetes_io_name="web", namespace="shop", pod="web-1", uid="u1"}': 1,
    'kube_horizontalpodautoscaler_spec_max_replicas{horizontalpodautoscaler="web", namespace="shop"}': 5,
    'kube_horizontalpodautoscaler_status_desired_replicas{horizontalpodautoscaler="web", namespace="shop"}': 3,
    'kube_horizontalpodautoscaler_spec_target_metric{horizontalpodautoscaler="web", metric_name="cpu", '
    'metric_target_type="utilization", namespace="shop"}': 60,
    'kube_horizontalpodautoscaler_spec_target_metric{horizontalpodautoscaler="web", metric_name="rps", '
    'metric_target_type="average", namespace="shop"}': 1.5,
    'kube_deployment_status_replicas_ready{deployment="web", namespace="shop"}': 8,
    'kube_deployment_spec_strategy_rollingupdate_max_surge{deployment="web", namespace="shop"}': 3,
    'kube_deployment_spec_strategy_rollingupdate_max_unavailable{deployment="web", namespace="shop"}': 2,
    'kube_node_status_allocatable{node="n1", resource="memory", unit="byte"}': 8 << 30,
}


def test_kube_state() -> None:
    found = samples(
        kube_state.families(
            {"Pod": [POD], "HorizontalPodAutoscaler": [HPA], "Deployment": [DEPLOYMENT], "Node": [NODE]}
        )
    )
    assert {name: found.get(name) for name in EXPECTED} == EXPECTED


@pytest.mark.parametrize("kind", kube_state.KINDS)
def test_an_object_with_nothing_in_it_is_no_problem(kind: str) -> None:
    assert render_text(kube_state.families({kind: [{}]}))


def test_node() -> None:
    found = samples(node.families(VirtualClock(5.0)))
    names = {name.partition("{")[0] for name in found}
    assert found["node_time_seconds"] == 5
    assert {"node_cpu_seconds_total", "node_load1", "node_memory_MemTotal_bytes"} <= names
    assert {"node_network_receive_bytes_total", "node_uname_info", "node_boot_time_seconds"} <= names


@pytest.mark.parametrize(
    ("text", "value"), [("250m", 0.25), ("1Gi", 1 << 30), ("1e3", 1000), ("5", 5), ("100k", 100_000)]
)
def test_quantities(text: str, value: float) -> None:
    assert quantity(text) == value
