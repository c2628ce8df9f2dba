"""The kinds that are built in, as data. Mirrors ``kubectl api-resources`` of Kubernetes 1.33.

Custom kinds (Istio's, VPA's) are Resources like any other, registered by the rooms that own them.
"""

from __future__ import annotations

from typing import Final

from wavetank.kube.client import Resource

NAMESPACES: Final = Resource(
    "", "v1", "Namespace", "namespaces", False, "namespace", ("ns",), subresources=("status", "finalize")
)
NODES: Final = Resource("", "v1", "Node", "nodes", False, "node", ("no",), subresources=("status", "proxy"))
PODS: Final = Resource(
    "", "v1", "Pod", "pods", True, "pod", ("po",), ("all",),
    ("status", "log", "binding", "eviction", "exec", "portforward", "resize"),
)  # fmt: skip
SERVICES: Final = Resource("", "v1", "Service", "services", True, "service", ("svc",), ("all",), ("status",))
CONFIGMAPS: Final = Resource("", "v1", "ConfigMap", "configmaps", True, "configmap", ("cm",))
SECRETS: Final = Resource("", "v1", "Secret", "secrets", True, "secret")
SERVICEACCOUNTS: Final = Resource(
    "", "v1", "ServiceAccount", "serviceaccounts", True, "serviceaccount", ("sa",)
)
EVENTS: Final = Resource("", "v1", "Event", "events", True, "event", ("ev",))
ENDPOINTS: Final = Resource("", "v1", "Endpoints", "endpoints", True, "endpoints", ("ep",))
ENDPOINTSLICES: Final = Resource(
    "discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", True, "endpointslice"
)
DEPLOYMENTS: Final = Resource(
    "apps", "v1", "Deployment", "deployments", True, "deployment", ("deploy",), ("all",), ("status", "scale")
)
REPLICASETS: Final = Resource(
    "apps", "v1", "ReplicaSet", "replicasets", True, "replicaset", ("rs",), ("all",), ("status", "scale")
)
HORIZONTALPODAUTOSCALERS: Final = Resource(
    "autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", True,
    "horizontalpodautoscaler", ("hpa",), ("all",), ("status",),
)  # fmt: skip
LEASES: Final = Resource("coordination.k8s.io", "v1", "Lease", "leases", True, "lease")
