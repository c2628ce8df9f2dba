"""The node object, its conditions, and the lease by which the control plane knows that the kubelet lives."""

from __future__ import annotations

import os
import platform
from typing import Any

from wavetank.clock import Clock
from wavetank.kube.client import ApiError, Client, Object
from wavetank.kube.kubelet.images import ImageStore
from wavetank.kube.kubelet.options import KubeletOptions, NodeConfig
from wavetank.kube.resources import LEASES, NAMESPACES, NODES
from wavetank.kube.times import format_micro_time, format_time

__all__ = ["NodeReporter"]

_CONDITIONS = (
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
)
_LEASE_NAMESPACE = "kube-node-lease"


class NodeReporter:
    """Registers the node, then keeps its status and its lease."""

    def __init__(
        self,
        client: Client,
        node: NodeConfig,
        clock: Clock,
        options: KubeletOptions,
        runtime: str,
        images: ImageStore,
    ) -> None:
        self._client = client
        self._node = node
        self._clock = clock
        self._options = options
        self._runtime = runtime
        self._images = images
        self.object: Object = {}

    async def register(self) -> None:
        """Create the node, or take over the one of that name."""
        labels = {
            "kubernetes.io/hostname": self._node.name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": _architecture(),
            **self._node.labels,
        }
        body: Object = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self._node.name, "labels": labels},
            "spec": {
                "podCIDR": self._node.pod_cidr,
                "podCIDRs": [self._node.pod_cidr],
                **({"taints": list(self._node.taints)} if self._node.taints else {}),
            },
            "status": self._status({}),
        }
        try:
            self.object = await self._client.create(NODES, body)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            self.object = await self._client.get(NODES, self._node.name)
        await self.report()
        await self.renew()

    async def report(self) -> None:
        """Write the node's status."""
        try:
            self.object = await self._client.patch(
                NODES,
                self._node.name,
                {"status": self._status(self.object.get("status") or {})},
                subresource="status",
            )
        except ApiError as error:
            if error.code != 404:
                raise

    async def renew(self) -> None:
        """Renew the lease; make it, and its namespace, where they are not there yet."""
        spec = {
            "holderIdentity": self._node.name,
            "leaseDurationSeconds": int(self._options.lease_duration),
            "renewTime": format_micro_time(self._clock.now()),
        }
        try:
            await self._client.patch(LEASES, self._node.name, {"spec": spec}, _LEASE_NAMESPACE)
            return
        except ApiError as error:
            if error.code != 404:
                raise
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _LEASE_NAMESPACE}}
        for resource, body, where in (
            (NAMESPACES, namespace, None),
            (LEASES, self._lease(spec), _LEASE_NAMESPACE),
        ):
            try:
                await self._client.create(resource, body, where)
            except ApiError as error:
                if error.reason != "AlreadyExists":
                    raise

    def _lease(self, spec: dict[str, Any]) -> Object:
        owner = {
            "apiVersion": "v1",
            "kind": "Node",
            "name": self._node.name,
            "uid": self.object.get("metadata", {}).get("uid", ""),
        }
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": self._node.name,
                "namespace": _LEASE_NAMESPACE,
                "ownerReferences": [owner],
            },
            "spec": spec,
        }

    def _status(self, old: Object) -> dict[str, Any]:
        now = format_time(self._clock.now())
        before = {c["type"]: c for c in old.get("conditions") or ()}
        conditions = []
        for kind, status, reason, message in _CONDITIONS:
            known = before.get(kind)
            since = known["lastTransitionTime"] if known and known.get("status") == status else now
            conditions.append(
                {
                    "type": kind,
                    "status": status,
                    "lastHeartbeatTime": now,
                    "lastTransitionTime": since,
                    "reason": reason,
                    "message": message,
                }
            )
        capacity = {"pods": "110", **self._node.capacity}
        return {
            "capacity": capacity,
            "allocatable": capacity,
            "conditions": conditions,
            "addresses": [
                {"type": "InternalIP", "address": self._node.ip},
                {"type": "Hostname", "address": self._node.name},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._node.kubelet_port}},
            "nodeInfo": _node_info(self._options.kubernetes_version, self._runtime),
            "images": [
                {"names": [name], "sizeBytes": pulled.size} for name, pulled in self._images.present.items()
            ],
        }


def _architecture() -> str:
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def _node_info(version: str, runtime: str) -> dict[str, str]:
    system = os.uname()
    return {
        "machineID": "",
        "systemUUID": "",
        "bootID": "",
        "kernelVersion": system.release,
        "osImage": f"{system.sysname} {system.release}",
        "containerRuntimeVersion": f"wavetank://{runtime}",
        "kubeletVersion": version,
        "kubeProxyVersion": version,
        "operatingSystem": system.sysname.lower(),
        "architecture": _architecture(),
    }
