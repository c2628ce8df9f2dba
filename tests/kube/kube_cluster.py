"""A control plane that listens, with one node whose pods run as soon as they are bound."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wavetank.clock import RealClock
from wavetank.journal import MemoryJournal
from wavetank.kube.client import Object, Resource, WatchType
from wavetank.kube.control_plane import ControlPlane, ControlPlaneOptions
from wavetank.kube.local_client import LocalClient
from wavetank.kube.resources import NODES, PODS
from wavetank.kube.times import format_time

_NODE_INFO = (
    "architecture", "bootID", "containerRuntimeVersion", "kernelVersion", "kubeProxyVersion", "machineID",
    "operatingSystem", "osImage", "systemUUID",
)  # fmt: skip
"""Typed clients insist on all of them."""


def node(name: str = "node-1", cpu: str = "4", memory: str = "8Gi", **labels: str) -> Object:
    capacity = {"cpu": cpu, "memory": memory, "pods": "110"}
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **labels}},
        "status": {
            "capacity": capacity,
            "allocatable": capacity,
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""}],
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "nodeInfo": {**dict.fromkeys(_NODE_INFO, "test"), "kubeletVersion": "v1.33.1"},
        },
    }


def running(pod: Object, address: str, now: float) -> Object:
    """The status of a pod all of whose containers run and are ready."""
    stamp = format_time(now)
    statuses = [
        {
            "name": c["name"],
            "ready": True,
            "started": True,
            "restartCount": 0,
            "image": c["image"],
            "imageID": "",
            "state": {"running": {"startedAt": stamp}},
        }
        for c in pod["spec"]["containers"]
    ]
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": stamp}
    return {
        **pod["status"],
        "phase": "Running",
        "podIP": address,
        "startTime": stamp,
        "containerStatuses": statuses,
        "conditions": [*pod["status"].get("conditions", []), ready],
    }


async def run_pods(client: LocalClient, clock: RealClock) -> None:
    """What a kubelet does, without processes: bound pods become ready, deleted ones go."""
    count = 0
    async for event in client.watch(PODS):
        pod = event.object
        if event.type in (WatchType.LISTED, WatchType.DELETED) or not pod["spec"].get("nodeName"):
            continue
        metadata = pod["metadata"]
        if metadata.get("deletionTimestamp"):
            await client.delete(PODS, metadata["name"], metadata["namespace"], grace_period_seconds=0)
        elif pod["status"]["phase"] == "Pending":
            count += 1
            status = running(pod, f"127.1.{count // 250}.{count % 250 + 1}", clock.now())
            await client.update(PODS, {**pod, "status": status}, subresource="status")


class Logs:
    """A ``KubeletProvider`` with a fixed log."""

    async def logs(self, pod: Object, container: str, **options: Any) -> AsyncIterator[bytes]:
        lines = [f"{container} line {i}\n".encode() for i in range(1, 6)]
        for line in lines[-(options.get("tail_lines") or len(lines)) :]:
            yield line

    async def node_proxy(self, node: str, path: str) -> tuple[int, str, bytes]:
        return 200, "text/plain", f"{node}{path}".encode()


class Metrics:
    """metrics.k8s.io with one value for everything."""

    group = "metrics.k8s.io"
    version = "v1beta1"
    resources = (
        Resource("metrics.k8s.io", "v1beta1", "NodeMetrics", "nodes", False),
        Resource("metrics.k8s.io", "v1beta1", "PodMetrics", "pods"),
    )
    usage = {"cpu": "123456789n", "memory": "10240Ki"}  # noqa: RUF012

    async def handle(self, path: str, query: Mapping[str, str]) -> Any:
        common = {"timestamp": "2026-01-01T00:00:00Z", "window": "15.2s"}
        if path.startswith("nodes"):
            items = [{"metadata": {"name": "node-1"}, **common, "usage": self.usage}]
            return {"kind": "NodeMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "items": items}
        containers = [{"name": "c", "usage": self.usage}]
        metadata = {"name": "web-1", "namespace": "default"}
        items = [{"metadata": metadata, **common, "containers": containers}]
        return {"kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "items": items}


@dataclass
class Cluster:
    plane: ControlPlane
    kubeconfig: Path
    directory: Path

    async def run(self, program: str, *arguments: str, stdin: str = "") -> tuple[int, str]:
        """(exit code, stdout and stderr) of a program with our kubeconfig."""
        process = await asyncio.create_subprocess_exec(
            program,
            f"--kubeconfig={self.kubeconfig}",
            f"--cache-dir={self.directory / Path(program).name}",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(stdin.encode()), 60)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        return process.returncode, output.decode()


@contextlib.asynccontextmanager
async def cluster(directory: Path, **options: Any) -> AsyncIterator[Cluster]:
    clock = RealClock(seed=1)
    kubeconfig = directory / "kubeconfig"
    chosen = ControlPlaneOptions(state=directory / "state", kubeconfig=kubeconfig, **options)
    plane = ControlPlane(clock, MemoryJournal(clock), chosen)
    plane.attach_kubelet(Logs())
    plane.add_extension(Metrics())
    await plane.start()
    client = plane.client("kubelet")
    await client.create(NODES, node())
    pods = asyncio.get_running_loop().create_task(run_pods(client, clock))
    try:
        yield Cluster(plane, kubeconfig, directory)
    finally:
        pods.cancel()
        await asyncio.gather(pods, return_exceptions=True)
        await plane.stop()
