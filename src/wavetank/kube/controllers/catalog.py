"""The controllers that run in every control plane."""

from __future__ import annotations

from wavetank.kube.controllers.actions import Controller
from wavetank.kube.controllers.cronjob import CronJobController
from wavetank.kube.controllers.daemonset import DaemonSetController
from wavetank.kube.controllers.deployment import DeploymentController
from wavetank.kube.controllers.disruption import DisruptionController
from wavetank.kube.controllers.endpoints import EndpointsController
from wavetank.kube.controllers.endpointslice import EndpointSliceController
from wavetank.kube.controllers.garbage import GarbageCollector
from wavetank.kube.controllers.job import JobController
from wavetank.kube.controllers.namespace import NamespaceController
from wavetank.kube.controllers.nodelifecycle import NodeLifecycleController
from wavetank.kube.controllers.replicaset import ReplicaSetController
from wavetank.kube.controllers.resourcequota import ResourceQuotaController
from wavetank.kube.controllers.stage import StageController
from wavetank.kube.controllers.statefulset import StatefulSetController

__all__ = ["standard_controllers"]


def standard_controllers() -> list[Controller]:
    """Those nearest to traffic first: they are the first to run when many have work."""
    return [
        EndpointSliceController(),
        ReplicaSetController(),
        DeploymentController(),
        EndpointsController(),
        GarbageCollector(),
        NamespaceController(),
        StatefulSetController(),
        DaemonSetController(),
        JobController(),
        CronJobController(),
        DisruptionController(),
        NodeLifecycleController(),
        ResourceQuotaController(),
        StageController(),
    ]
