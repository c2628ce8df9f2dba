"""A control plane in virtual time, and a hand that plays the kubelet."""

from __future__ import annotations

from typing import Any

from kube_cluster import node, running

from wavetank.clock import VirtualClock
from wavetank.journal import MemoryJournal
from wavetank.kube import deletion
from wavetank.kube.client import Object, Resource
from wavetank.kube.control_plane import ControlPlane
from wavetank.kube.resources import EVENTS, NODES, PODS


class Tank:
    """A control plane in virtual time, and a hand that plays the kubelet."""

    def __init__(self, clock: VirtualClock, journal: MemoryJournal, nodes: int = 1) -> None:
        self.clock, self.journal = clock, journal
        self.plane = ControlPlane(clock, journal)
        self.api = self.plane.api
        self.plane.boot()
        self._addresses = 0
        for i in range(nodes):
            self.api.create(NODES, None, node(f"node-{i + 1}", cpu="64", memory="64Gi"))
        self.settle()

    def settle(self) -> float | None:
        return self.plane.run_step()

    def create(self, resource: Resource, obj: Object, namespace: str = "default") -> Object:
        return self.api.create(resource, namespace, obj)

    def list(self, resource: Resource, namespace: str = "default") -> list[Object]:
        return self.api.bucket(resource).sorted(namespace)

    def get(self, resource: Resource, name: str) -> Object:
        return self.api.get(resource, "default", name)

    def status(self, resource: Resource, obj: Object, status: Object) -> None:
        metadata = {k: v for k, v in obj["metadata"].items() if k != "resourceVersion"}
        name, space = metadata["name"], metadata.get("namespace")
        self.api.update(
            resource, space, name, {**obj, "metadata": metadata, "status": status}, subresource="status"
        )

    def run_pods(self, *, ready: bool = True) -> None:
        """Start bound pods and remove those that are being deleted, until nothing more happens."""
        while True:
            self.settle()
            acted = False
            for pod in self.list(PODS):
                if pod["metadata"].get("deletionTimestamp"):
                    name = pod["metadata"]["name"]
                    self.api.delete(PODS, "default", name, deletion.Options(grace_period_seconds=0))
                    acted = True
                elif ready and pod["spec"].get("nodeName") and pod["status"]["phase"] == "Pending":
                    self._addresses += 1
                    address = f"127.2.{self._addresses // 250}.{self._addresses % 250 + 1}"
                    self.status(PODS, pod, running(pod, address, self.clock.now()))
                    acted = True
            if not acted:
                return

    def scale(self, resource: Resource, name: str, replicas: int) -> None:
        self.api.modify(
            resource, "default", name, lambda o: {**o, "spec": {**o["spec"], "replicas": replicas}}
        )

    def events(self) -> list[str]:
        return [e["reason"] for e in self.list(EVENTS)]


def template(image: str = "i:1", **spec: Any) -> Object:
    containers = [{"name": "c", "image": image, "ports": [{"name": "http", "containerPort": 8080}]}]
    return {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": containers, **spec}}


def workload(replicas: int = 3, image: str = "i:1", **spec: Any) -> Object:
    return {
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": template(image),
            **spec,
        },
    }
