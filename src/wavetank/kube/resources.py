"""The kinds that are built in, as data. Mirrors ``kubectl api-resources`` of Kubernetes 1.33.

Custom kinds (Istio's, VPA's) are Resources like any other, registered by the rooms that own them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from wavetank.kube.client import Resource

ALL: Final = ("all",)
SCALED: Final = ("status", "scale")

NAMESPACES: Final = Resource(
    "", "v1", "Namespace", "namespaces", False, "namespace", ("ns",), subresources=("status", "finalize")
)
NODES: Final = Resource("", "v1", "Node", "nodes", False, "node", ("no",), subresources=("status", "proxy"))
PODS: Final = Resource(
    "", "v1", "Pod", "pods", True, "pod", ("po",), ALL,
    ("status", "log", "binding", "eviction", "exec", "attach", "portforward", "resize"),
)  # fmt: skip
PODTEMPLATES: Final = Resource("", "v1", "PodTemplate", "podtemplates", True, "podtemplate")
SERVICES: Final = Resource("", "v1", "Service", "services", True, "service", ("svc",), ALL, ("status",))
CONFIGMAPS: Final = Resource("", "v1", "ConfigMap", "configmaps", True, "configmap", ("cm",))
SECRETS: Final = Resource("", "v1", "Secret", "secrets", True, "secret")
SERVICEACCOUNTS: Final = Resource(
    "", "v1", "ServiceAccount", "serviceaccounts", True, "serviceaccount", ("sa",)
)
EVENTS: Final = Resource("", "v1", "Event", "events", True, "event", ("ev",))
EVENTS_V1: Final = Resource("events.k8s.io", "v1", "Event", "events", True, "event", ("ev",))
ENDPOINTS: Final = Resource("", "v1", "Endpoints", "endpoints", True, "endpoints", ("ep",))
LIMITRANGES: Final = Resource("", "v1", "LimitRange", "limitranges", True, "limitrange", ("limits",))
RESOURCEQUOTAS: Final = Resource(
    "", "v1", "ResourceQuota", "resourcequotas", True, "resourcequota", ("quota",), subresources=("status",)
)
PERSISTENTVOLUMES: Final = Resource(
    "", "v1", "PersistentVolume", "persistentvolumes", False, "persistentvolume", ("pv",),
    subresources=("status",),
)  # fmt: skip
PERSISTENTVOLUMECLAIMS: Final = Resource(
    "", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", True, "persistentvolumeclaim", ("pvc",),
    subresources=("status",),
)  # fmt: skip
ENDPOINTSLICES: Final = Resource(
    "discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", True, "endpointslice"
)
CONTROLLERREVISIONS: Final = Resource(
    "apps", "v1", "ControllerRevision", "controllerrevisions", True, "controllerrevision"
)
DEPLOYMENTS: Final = Resource(
    "apps", "v1", "Deployment", "deployments", True, "deployment", ("deploy",), ALL, SCALED
)
REPLICASETS: Final = Resource(
    "apps", "v1", "ReplicaSet", "replicasets", True, "replicaset", ("rs",), ALL, SCALED
)
STATEFULSETS: Final = Resource(
    "apps", "v1", "StatefulSet", "statefulsets", True, "statefulset", ("sts",), ALL, SCALED
)
DAEMONSETS: Final = Resource(
    "apps", "v1", "DaemonSet", "daemonsets", True, "daemonset", ("ds",), ALL, ("status",)
)
JOBS: Final = Resource("batch", "v1", "Job", "jobs", True, "job", (), ALL, ("status",))
CRONJOBS: Final = Resource("batch", "v1", "CronJob", "cronjobs", True, "cronjob", ("cj",), ALL, ("status",))
HORIZONTALPODAUTOSCALERS: Final = Resource(
    "autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", True,
    "horizontalpodautoscaler", ("hpa",), ALL, ("status",),
)  # fmt: skip
HORIZONTALPODAUTOSCALERS_V1: Final = replace(HORIZONTALPODAUTOSCALERS, version="v1")
LEASES: Final = Resource("coordination.k8s.io", "v1", "Lease", "leases", True, "lease")
PODDISRUPTIONBUDGETS: Final = Resource(
    "policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", True, "poddisruptionbudget", ("pdb",),
    subresources=("status",),
)  # fmt: skip
PRIORITYCLASSES: Final = Resource(
    "scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", False, "priorityclass", ("pc",)
)
INGRESSES: Final = Resource(
    "networking.k8s.io", "v1", "Ingress", "ingresses", True, "ingress", ("ing",), subresources=("status",)
)
INGRESSCLASSES: Final = Resource(
    "networking.k8s.io", "v1", "IngressClass", "ingressclasses", False, "ingressclass"
)
NETWORKPOLICIES: Final = Resource(
    "networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", True, "networkpolicy", ("netpol",)
)
STORAGECLASSES: Final = Resource(
    "storage.k8s.io", "v1", "StorageClass", "storageclasses", False, "storageclass", ("sc",)
)
ROLES: Final = Resource("rbac.authorization.k8s.io", "v1", "Role", "roles", True, "role")
ROLEBINDINGS: Final = Resource(
    "rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings", True, "rolebinding"
)
CLUSTERROLES: Final = Resource(
    "rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", False, "clusterrole"
)
CLUSTERROLEBINDINGS: Final = Resource(
    "rbac.authorization.k8s.io",
    "v1",
    "ClusterRoleBinding",
    "clusterrolebindings",
    False,
    "clusterrolebinding",
)
CUSTOMRESOURCEDEFINITIONS: Final = Resource(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", False,
    "customresourcedefinition", ("crd", "crds"), ("api-extensions",), ("status",),
)  # fmt: skip

BUILT_IN: Final = (
    NAMESPACES, NODES, PODS, PODTEMPLATES, SERVICES, CONFIGMAPS, SECRETS, SERVICEACCOUNTS, EVENTS, ENDPOINTS,
    LIMITRANGES, RESOURCEQUOTAS, PERSISTENTVOLUMES, PERSISTENTVOLUMECLAIMS, DEPLOYMENTS, REPLICASETS,
    STATEFULSETS, DAEMONSETS, CONTROLLERREVISIONS, HORIZONTALPODAUTOSCALERS, JOBS, CRONJOBS, LEASES,
    ENDPOINTSLICES, PODDISRUPTIONBUDGETS, PRIORITYCLASSES, INGRESSES, INGRESSCLASSES, NETWORKPOLICIES,
    STORAGECLASSES, ROLES, ROLEBINDINGS, CLUSTERROLES, CLUSTERROLEBINDINGS, CUSTOMRESOURCEDEFINITIONS,
)  # fmt: skip
"""Every resource that is stored; other versions of them are in ``wavetank.kube.kinds``."""
