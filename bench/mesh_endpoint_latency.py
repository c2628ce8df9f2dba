"""How fast a changed EndpointSlice is in Envoy, and whether requests fail while pods come and go.

    python bench/mesh_endpoint_latency.py [--changes 300] [--requests 10000] [--services 20]

Prints, as medians over all changes: from the write of the slice at the API to Envoy's acknowledgement
(xds.ack of that cluster), and to the first push; then the requests that failed while pods were replaced by
the rule "out of the endpoints, 100 ms later the end of the process". Everything is real: API, watch,
translation, ADS, Envoy, HTTP over loopback; the pods are asyncio servers in this process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

from wavetank.clock import RealClock
from wavetank.journal import MemoryJournal
from wavetank.kube.api import Api
from wavetank.kube.kinds.catalog import register_built_in
from wavetank.kube.local_client import LocalClient
from wavetank.kube.registry import Registry
from wavetank.kube.resources import ENDPOINTSLICES, NAMESPACES, PODS, SERVICES
from wavetank.kube.storage import Storage
from wavetank.mesh.controller import MeshController, MeshOptions
from wavetank.mesh.registration import register_mesh
from wavetank.mesh.resources import GATEWAYS, VIRTUAL_SERVICES
from wavetank.mesh.translate import Placement

Object = dict[str, Any]
CLUSTER = "outbound|80||shop.default.svc.cluster.local"
BODY = b'{"ok": true}'
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY)


class Pod:
    """An HTTP server with a name and an address of its own; port 8080."""

    def __init__(self, number: int) -> None:
        self.name = f"shop-{number}"
        self.address = f"127.0.{80 + number // 250}.{number % 250 + 1}"
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, self.address, 8080)

    async def stop(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(ANSWER)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    @property
    def object(self) -> Object:
        metadata = {"name": self.name, "namespace": "default", "labels": {"app": "shop"}}
        spec = {"nodeName": "node-1", "containers": [{"name": "c", "image": "i"}]}
        return {"metadata": metadata, "spec": spec, "status": {"podIP": self.address}}


class Rig:
    def __init__(self, api: Api, journal: MemoryJournal, clock: RealClock) -> None:
        self.client = LocalClient(api, "bench")
        self.journal = journal
        self.clock = clock
        self._slice: Object | None = None

    async def publish(self, pods: list[Pod]) -> float:
        """Write the slice; returns when."""
        endpoints = [
            {
                "addresses": [pod.address],
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "targetRef": {"kind": "Pod", "namespace": "default", "name": pod.name},
            }
            for pod in pods
        ]
        at = self.clock.now()
        if self._slice is None:
            made = {
                "metadata": {"name": "shop-a", "labels": {"kubernetes.io/service-name": "shop"}},
                "addressType": "IPv4",
                "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
                "endpoints": endpoints,
            }
            self._slice = await self.client.create(ENDPOINTSLICES, made, "default")
        else:
            self._slice = await self.client.update(ENDPOINTSLICES, {**self._slice, "endpoints": endpoints})
        return at

    async def answered(self, since: float) -> tuple[float, float]:
        """When the shop's endpoints were pushed for the first time after ``since``, and when Envoy
        acknowledged that very push."""
        push = await self._first("xds.push", lambda r: r["at"] >= since)
        ack = await self._first("xds.ack", lambda r: r["version"] == push["version"])
        return push["at"], ack["at"]

    async def _first(self, kind: str, wanted: Callable[[Object], bool]) -> Object:
        while True:
            for record in self.journal.of(kind):
                if record["type"] == "EDS" and CLUSTER in record["names"] and wanted(record):
                    return record
            await asyncio.sleep(0.0005)


async def setup(rig: Rig, services: int) -> None:
    for number in range(services):
        name = "shop" if number == 0 else f"other-{number}"
        spec = {"clusterIP": "None", "selector": {"app": name}, "ports": [{"name": "http", "port": 80}]}
        await rig.client.create(SERVICES, {"metadata": {"name": name}, "spec": spec}, "default")
    server = {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}
    await rig.client.create(
        GATEWAYS, {"metadata": {"name": "gateway"}, "spec": {"servers": [server]}}, "default"
    )
    spec = {
        "hosts": ["shop.example.com"],
        "gateways": ["gateway"],
        "http": [{"route": [{"destination": {"host": "shop"}}]}],
    }
    await rig.client.create(VIRTUAL_SERVICES, {"metadata": {"name": "shop"}, "spec": spec}, "default")


async def latencies(rig: Rig, changes: int) -> dict[str, list[float]]:
    pods = [Pod(number) for number in range(10)]
    for pod in pods:
        await rig.client.create(PODS, pod.object, "default")
    found: dict[str, list[float]] = {"push": [], "ack": []}
    for number in range(changes):
        await rig.clock.sleep(0.02)  # one change at a time: nothing of the last is still on its way
        rig.journal.records.clear()
        at = await rig.publish(pods[: 1 + number % len(pods)])
        push, ack = await rig.answered(at)
        found["push"].append(1000 * (push - at))
        found["ack"].append(1000 * (ack - at))
    for pod in pods:
        await rig.client.delete(PODS, pod.name, "default", grace_period_seconds=0)
    return found


async def churn(rig: Rig, url: str, requests: int) -> tuple[int, int, int, float]:
    """(requests, failed, replacements, seconds)."""
    statuses: list[int] = []
    done = asyncio.Event()

    async def user(session: aiohttp.ClientSession) -> None:
        while not done.is_set():
            try:
                async with session.get(url, headers={"Host": "shop.example.com"}) as response:
                    await response.read()
                    statuses.append(response.status)
            except aiohttp.ClientError:
                statuses.append(0)

    serving: list[Pod] = []
    number = 100
    for number in range(100, 103):
        serving.append(Pod(number))
        await serving[-1].start()
        await rig.client.create(PODS, serving[-1].object, "default")
    at = await rig.publish(serving)
    await rig.answered(at)
    started = rig.clock.monotonic()
    async with aiohttp.ClientSession() as session:
        users = [asyncio.create_task(user(session)) for _ in range(16)]
        while len(statuses) < requests:
            number += 1
            fresh = Pod(number)
            await fresh.start()
            await rig.client.create(PODS, fresh.object, "default")
            leaving, serving = serving[0], [*serving[1:], fresh]
            await rig.publish(serving)
            await rig.clock.sleep(0.1)
            await leaving.stop()
            await rig.client.delete(PODS, leaving.name, "default", grace_period_seconds=0)
        seconds = rig.clock.monotonic() - started
        done.set()
        await asyncio.gather(*users)
    for pod in serving:
        await pod.stop()
    return len(statuses), sum(status != 200 for status in statuses), number - 102, seconds


async def run(changes: int, requests: int, services: int) -> dict[str, Any]:
    clock = RealClock()
    journal = MemoryJournal(clock)
    registry = Registry()
    register_built_in(registry)
    register_mesh(registry)
    api = Api(Storage(), registry, clock, journal)
    api.create(NAMESPACES, None, {"metadata": {"name": "default"}})
    rig = Rig(api, journal, clock)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="wt-") as folder:
        placement = Placement(port_map={80: ("127.0.0.1", port)})
        controller = MeshController(rig.client, clock, journal, MeshOptions(Path(folder), placement))
        began = clock.monotonic()
        await controller.start()
        start_seconds = clock.monotonic() - began
        try:
            await setup(rig, services)
            await controller.settled()
            times = await latencies(rig, changes)
            total, failed, replaced, seconds = await churn(rig, f"http://127.0.0.1:{port}/", requests)
        finally:
            await controller.stop()
    ack, push = sorted(times["ack"]), sorted(times["push"])
    return {
        "changes": changes,
        "services": services,
        "start_seconds": round(start_seconds, 3),
        "slice_to_push_p50_ms": round(statistics.median(push), 2),
        "slice_to_ack_p50_ms": round(statistics.median(ack), 2),
        "slice_to_ack_p95_ms": round(ack[int(len(ack) * 0.95)], 2),
        "requests": total,
        "failed": failed,
        "pods_replaced": replaced,
        "requests_per_second": round(total / seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--changes", type=int, default=300)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--services", type=int, default=20)
    arguments = parser.parse_args()
    result = asyncio.run(run(arguments.changes, arguments.requests, arguments.services))
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
