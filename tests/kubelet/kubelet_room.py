"""A kubelet with the real API (in process) and real processes, on addresses and directories of its own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from wavetank.clock import RealClock
from wavetank.journal import MemoryJournal
from wavetank.kube.api import Api
from wavetank.kube.client import ApiError, Object
from wavetank.kube.kinds.catalog import register_built_in
from wavetank.kube.kubelet.kubelet import Kubelet
from wavetank.kube.kubelet.options import KubeletOptions, NodeConfig
from wavetank.kube.kubelet.process_runtime import ProcessRuntime
from wavetank.kube.kubelet.signals import SignalEnforcer
from wavetank.kube.local_client import LocalClient
from wavetank.kube.registry import Registry
from wavetank.kube.resources import EVENTS, NAMESPACES, PODS
from wavetank.kube.storage import Storage

PYTHON = sys.executable


@dataclass
class Tank:
    """The pieces of a test, and the few things tests do with them."""

    id: str
    clock: RealClock
    journal: MemoryJournal
    client: LocalClient
    kubelet: Kubelet
    directory: Path

    async def create(self, name: str, *containers: dict[str, Any], **spec: Any) -> Object:
        """A pod bound to the node, as the scheduler leaves it."""
        metadata = {"name": name, "namespace": "default", **spec.pop("metadata", {})}
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata,
            "spec": {"nodeName": self.kubelet.node.name, "containers": list(containers), **spec},
        }
        return await self.client.create(PODS, body, "default")

    async def get(self, name: str) -> Object:
        return await self.client.get(PODS, name, "default")

    async def until(self, name: str, check: Callable[[Object], Any], seconds: float = 10.0) -> Object:
        """Follow the pod until ``check`` holds; fails with the last state seen."""
        last: Object = {}
        try:
            async with asyncio.timeout(seconds):
                async for event in self.client.watch(PODS, "default", field_selector=f"metadata.name={name}"):
                    if "spec" in event.object:
                        last = event.object
                        if event.type.value != "DELETED" and check(last):
                            return last
        except TimeoutError:
            pytest.fail(f"not reached in {seconds} s; last status: {last.get('status')}")
        raise AssertionError

    async def gone(self, name: str, seconds: float = 10.0) -> None:
        async with asyncio.timeout(seconds):
            while True:
                try:
                    await self.get(name)
                except ApiError:
                    return
                await self.clock.sleep(0.005)

    async def events(self, reason: str) -> list[str]:
        """Messages of the events with that reason."""
        await self.kubelet._recorder.flush()
        found = await self.client.list(EVENTS, "default")
        return [e["message"] for e in found.items if e["reason"] == reason]

    async def logs(self, name: str, container: str = "main", **options: Any) -> str:
        pod = await self.get(name)
        return b"".join([c async for c in self.kubelet.logs(pod, container, **options)]).decode()


def container(name: str = "main", *command: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": f"{name}:1", "command": list(command), **more}


def python(code: str, name: str = "main", **more: Any) -> dict[str, Any]:
    return container(name, PYTHON, "-c", code, **more)


def ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def status_of(pod: Object, name: str = "main") -> dict[str, Any]:
    status = pod.get("status") or {}
    every = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
    return next((s for s in every if s["name"] == name), {"state": {}, "lastState": {}, "restartCount": 0})


_number = iter(range(1, 200))


async def build(directory: Path, signals: bool = False, **options: Any) -> Tank:
    number = next(_number)
    clock = RealClock()
    journal = MemoryJournal(clock)
    registry = Registry()
    register_built_in(registry)
    client = LocalClient(Api(Storage(), registry, clock, journal), "kubelet/test")
    await client.create(
        NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}
    )
    tank = f"test-{id(clock):x}"
    node = NodeConfig(
        "node-1", pod_cidr=f"127.{100 + number % 100}.0.0/24", ip=f"127.{100 + number % 100}.0.1"
    )
    kubelet = Kubelet(
        client,
        node,
        ProcessRuntime(tank, clock, enforcer=SignalEnforcer(tank, clock) if signals else None),
        clock,
        journal,
        replace(KubeletOptions(directory / "run"), **options),
    )
    await kubelet.start()
    return Tank(tank, clock, journal, client, kubelet, directory)
