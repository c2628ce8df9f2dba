"""A control plane that listens, with a real kubelet: for clients that run commands in pods."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wavetank.clock import RealClock
from wavetank.journal import MemoryJournal
from wavetank.kube.client import Object
from wavetank.kube.control_plane import ControlPlane, ControlPlaneOptions
from wavetank.kube.kubelet.kubelet import Kubelet
from wavetank.kube.kubelet.options import KubeletOptions, NodeConfig
from wavetank.kube.kubelet.process_runtime import ProcessRuntime
from wavetank.kube.kubelet.server import LocalKubelets
from wavetank.kube.local_client import LocalClient
from wavetank.kube.resources import PODS


@dataclass
class StreamingCluster:
    plane: ControlPlane
    client: LocalClient
    kubeconfig: Path
    directory: Path

    async def run_pod(self, name: str, *command: str, **container: Any) -> Object:
        """A pod that is ready."""
        spec = {"containers": [{"name": "c", "image": "i:1", "command": list(command), **container}]}
        await self.client.create(PODS, {"metadata": {"name": name}, "spec": spec}, "default")
        async for event in self.client.watch(PODS, "default", field_selector=f"metadata.name={name}"):
            status = event.object.get("status") or {}
            if any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ()):
                return event.object
        raise AssertionError("the watch ended")


@contextlib.asynccontextmanager
async def streaming_cluster(directory: Path, block: int) -> AsyncIterator[StreamingCluster]:
    """``block`` keeps the addresses of tests that run at a time apart."""
    clock = RealClock(seed=1)
    journal = MemoryJournal(clock)
    kubeconfig = directory / "kubeconfig"
    plane = ControlPlane(
        clock, journal, ControlPlaneOptions(state=directory / "state", kubeconfig=kubeconfig)
    )
    kubelets = LocalKubelets()
    plane.attach_kubelet(kubelets)
    await plane.start()
    client = plane.client("kubelet")
    config = NodeConfig(
        name="node-1", capacity={"cpu": "4", "memory": "8Gi", "pods": "110"}, pod_cidr=f"127.44.{block}.0/24"
    )
    kubelet = Kubelet(
        client,
        config,
        ProcessRuntime(f"streams-{block}", clock),
        clock,
        journal,
        KubeletOptions(run_directory=directory / "pods"),
    )
    kubelets.add(kubelet)
    await kubelet.start()
    try:
        yield StreamingCluster(plane, client, kubeconfig, directory)
    finally:
        await kubelet.stop()
        await plane.stop()
