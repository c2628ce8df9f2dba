"""A small cluster for the console's tests: one Deployment with two pods, its HPA and a split route."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]


def pod(name: str, *, restarts: int = 0, waiting: str = "") -> Object:
    state = {"waiting": {"reason": waiting, "message": "back-off"}} if waiting else {"running": {}}
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "creationTimestamp": "2026-01-01T00:00:00Z",
                     "ownerReferences": [{"kind": "ReplicaSet", "name": "web-1", "controller": True}]},
        "spec": {"nodeName": "node-1", "containers": [
            {"name": "web", "resources": {"requests": {"cpu": "200m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "128Mi"}}}]},
        "status": {"phase": "Running", "podIP": "127.16.16.2", "containerStatuses": [
            {"name": "web", "ready": not waiting, "restartCount": restarts, "state": state,
             **({"lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}} if restarts else {})}]},
    }  # fmt: skip


OBJECTS: dict[str, list[Object]] = {
    "Node": [{
        "metadata": {"name": "node-1"}, "spec": {},
        "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "110"}, "conditions": [{"type": "Ready", "status": "True"}]},
    }],
    "Pod": [pod("web-1-aaaaa"), pod("web-1-bbbbb", restarts=2, waiting="CrashLoopBackOff")],
    "metrics.k8s.io/PodMetrics": [
        {"metadata": {"name": "web-1-aaaaa", "namespace": "shop"}, "containers": [{"name": "web", "usage": {"cpu": "150m", "memory": "32Mi"}}]}
    ],
    "apps/Deployment": [{
        "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"replicas": 2, "template": {"spec": {"containers": [{"image": "shop/web:1"}]}}},
        "status": {"readyReplicas": 1, "updatedReplicas": 2},
    }],
    "autoscaling/HorizontalPodAutoscaler": [{
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"minReplicas": 1, "maxReplicas": 5, "scaleTargetRef": {"kind": "Deployment", "name": "web"},
                 "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}]},
        "status": {"currentReplicas": 2, "desiredReplicas": 2, "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 90}}}],
                   "conditions": [{"type": "AbleToScale", "status": "True", "reason": "ReadyForNewScale", "message": ""}]},
    }],
    "autoscaling.wavetank.dev/HpaDecision": [{
        "metadata": {"name": "web", "namespace": "shop"},
        "decisions": [{"at": 1767225600.0, "lines": ["cpu: 90 against a target of 70", "Deployment/web goes from 1 to 2"]}],
    }],
    "networking.istio.io/VirtualService": [{
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"hosts": ["shop.example.com"], "gateways": ["web"], "http": [
            {"match": [{"uri": {"prefix": "/api"}}], "route": [
                {"destination": {"host": "web", "subset": "v1"}, "weight": 90}, {"destination": {"host": "web", "subset": "v2"}, "weight": 10}]}]},
    }],
}  # fmt: skip

RECORDS: list[dict[str, Any]] = [
    {"at": 100.0, "kind": "hpa.sync", "hpa": "shop/web", "target": "Deployment/web", "current": 1, "proposed": 1, "desired": 1,
     "rescaled": False, "reason": "", "limited": "", "metrics": [{"name": "cpu", "value": 60, "target": 70, "ratio": 0.857}]},
    {"at": 115.0, "kind": "hpa.sync", "hpa": "shop/web", "target": "Deployment/web", "current": 1, "proposed": 7, "desired": 4,
     "rescaled": True, "reason": "cpu above target", "limited": "ScaleUpLimit", "metrics": [{"name": "cpu", "value": 490, "target": 70, "ratio": 7.0}]},
]  # fmt: skip
