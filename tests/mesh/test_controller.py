"""The control loop over the real API and a real Envoy: what is applied is what is served."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from mesh_backends import Backend
from mesh_objects import Object, documents, endpoint_slice, pod, service
from mesh_rig import eventually, free_port

from wavetank.clock import RealClock
from wavetank.journal import MemoryJournal
from wavetank.kube.api import Api
from wavetank.kube.client import ApiError
from wavetank.kube.kinds.catalog import register_built_in
from wavetank.kube.local_client import LocalClient
from wavetank.kube.registry import Registry
from wavetank.kube.resources import ENDPOINTSLICES, NAMESPACES, PODS, SERVICES
from wavetank.kube.storage import Storage
from wavetank.mesh.controller import MeshController, MeshOptions
from wavetank.mesh.registration import register_mesh
from wavetank.mesh.resources import DESTINATION_RULES, GATEWAYS, VIRTUAL_SERVICES
from wavetank.mesh.translate import Placement

KINDS = {"Gateway": GATEWAYS, "VirtualService": VIRTUAL_SERVICES, "DestinationRule": DESTINATION_RULES}
SHOP = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: shop-gateway}
spec:
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: [shop.example.com]
  gateways: [shop-gateway]
  http: [{route: [{destination: {host: shop}}]}]
"""


@dataclass
class Tank:
    client: LocalClient
    controller: MeshController
    journal: MemoryJournal
    clock: RealClock
    port: int
    session: aiohttp.ClientSession

    async def apply(self, text: str) -> None:
        for obj in documents(text):
            await self.client.create(KINDS[obj["kind"]], obj, "default")

    async def create_pod(self, backend: Backend, app: str = "shop") -> Object:
        spec = {"nodeName": "node-1", "containers": [{"name": "c", "image": "i"}]}
        made = {**pod(backend.name, backend.address, app=app), "spec": spec}
        made["metadata"].pop("uid")
        made["metadata"].pop("ownerReferences")
        created = await self.client.create(PODS, made, "default")
        return {**created, "status": made["status"]}

    async def publish(self, *members: tuple[Object, int], app: str = "shop") -> None:
        """Make the slices of a service say exactly this."""
        wanted = {s["metadata"]["name"]: s for s in endpoint_slice(app, members)}
        present = {s["metadata"]["name"]: s for s in (await self.client.list(ENDPOINTSLICES)).items}
        for name, piece in wanted.items():
            old = present.get(name)
            if old is None:
                await self.client.create(ENDPOINTSLICES, piece, "default")
            elif old.get("endpoints") != piece["endpoints"]:
                await self.client.update(ENDPOINTSLICES, {**old, "endpoints": piece["endpoints"]})
        for name in present.keys() - wanted.keys():
            await self.client.delete(ENDPOINTSLICES, name, "default")

    async def get(self, path: str = "/") -> int:
        headers = {"Host": "shop.example.com"}
        async with self.session.get(f"http://127.0.0.1:{self.port}{path}", headers=headers) as response:
            await response.read()
            return response.status

    async def journaled(self, kind: str, count: int) -> list[dict[str, object]]:
        """Wait for that many records of a kind."""
        await eventually(lambda: len(self.journal.of(kind)) >= count, lambda: self.journal.records)
        return self.journal.of(kind)


@pytest.fixture
async def tank() -> AsyncIterator[Tank]:
    clock = RealClock()
    journal = MemoryJournal(clock)
    registry = Registry()
    register_built_in(registry)
    register_mesh(registry)
    api = Api(Storage(), registry, clock, journal)
    api.create(NAMESPACES, None, {"metadata": {"name": "default"}})
    client = LocalClient(api, "test")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="wt-") as folder:
        placement = Placement(port_map={80: ("127.0.0.1", port)})
        controller = MeshController(client, clock, journal, MeshOptions(Path(folder), placement))
        await controller.start()
        async with aiohttp.ClientSession() as session:
            try:
                yield Tank(client, controller, journal, clock, port, session)
            finally:
                await controller.stop()


@pytest.fixture
async def backends() -> AsyncIterator[list[Backend]]:
    made = [Backend(f"shop-{i}", f"127.0.72.{i}") for i in range(1, 5)]
    for backend in made:
        await backend.start()
    yield made
    for backend in made:
        await backend.stop()


async def test_what_is_applied_is_served_and_journaled(tank: Tank, backends: list[Backend]) -> None:
    await tank.client.create(SERVICES, service("shop", ("http", 80)), "default")
    made = await tank.create_pod(backends[0])
    await tank.publish((made, backends[0].port))
    await tank.apply(SHOP)
    (added,) = await tank.journaled("endpoint.programmed", 1)
    assert (added["pod"], added["service"], added["action"]) == ("default/shop-1", "default/shop", "added")
    await asyncio.sleep(0)
    await tank.controller.settled()
    assert await tank.get() == 200
    (first,) = await tank.journaled("endpoint.first_request", 1)
    assert (first["pod"], first["uid"]) == ("default/shop-1", made["metadata"]["uid"])
    assert float(str(first["at"])) >= float(str(added["at"]))
    await tank.client.delete(PODS, "shop-1", "default", grace_period_seconds=30)
    removed = (await tank.journaled("endpoint.programmed", 2))[1]
    assert removed["action"] == "removed"  # on deletionTimestamp, before the slice says anything
    assert await tank.get() == 503


async def test_a_pod_has_left_once_envoy_says_so(tank: Tank, backends: list[Backend]) -> None:
    await tank.client.create(SERVICES, service("shop", ("http", 80)), "default")
    pods = [await tank.create_pod(backend) for backend in backends[:2]]
    await tank.publish(*((p, b.port) for p, b in zip(pods, backends[:2], strict=True)))
    await tank.apply(SHOP)
    await tank.journaled("endpoint.programmed", 2)
    await tank.controller.left(pods[0])  # neither the pod's object nor the slice has changed
    assert tank.journal.of("endpoint.programmed")[-1]["action"] == "removed"
    await tank.controller.settled()
    assert [await tank.get() for _ in range(10)] == [200] * 10
    assert backends[0].requests == []


async def test_what_istio_would_refuse_is_refused_at_the_api(tank: Tank) -> None:
    bad = documents(SHOP.replace("destination:", "destinatoin:"))[1]
    with pytest.raises(ApiError) as caught:
        await tank.client.create(VIRTUAL_SERVICES, bad, "default")
    assert caught.value.code == 422
    assert "did you mean 'destination'" in caught.value.message


async def test_envoy_that_dies_comes_back_with_everything(tank: Tank, backends: list[Backend]) -> None:
    await tank.client.create(SERVICES, service("shop", ("http", 80)), "default")
    await tank.publish((await tank.create_pod(backends[0]), backends[0].port))
    await tank.apply(SHOP)
    await tank.journaled("endpoint.programmed", 1)
    await tank.controller.settled()
    first = tank.controller.envoy.child.pid
    await tank.controller.envoy.admin.post("/quitquitquit")
    await eventually(lambda: tank.controller.envoy.child.pid != first)
    while not await tank.controller.envoy.ready():
        assert tank.controller.envoy.child.returncode is None
    assert await tank.get() == 200


@pytest.mark.slow
async def test_no_request_fails_while_pods_come_and_go(tank: Tank, backends: list[Backend]) -> None:
    """The rule: out of the endpoints first, SIGTERM (here: the end of the pod) 100 ms later."""
    await tank.client.create(SERVICES, service("shop", ("http", 80)), "default")
    await tank.apply(SHOP)
    serving = [(await tank.create_pod(backend), backend) for backend in backends[:2]]
    await tank.publish(*((p, b.port) for p, b in serving))
    await tank.journaled("endpoint.programmed", 2)
    await tank.controller.settled()
    statuses: list[int] = []
    done = asyncio.Event()

    async def user() -> None:
        while not done.is_set():
            statuses.append(await tank.get("/buy"))

    users = [asyncio.create_task(user()) for _ in range(8)]
    number = 10
    while len(statuses) < 5_000:
        number += 1
        fresh = Backend(f"shop-{number}", f"127.0.72.{number}")
        await fresh.start()
        backends.append(fresh)
        serving.append((await tank.create_pod(fresh), fresh))
        await tank.publish(*((p, b.port) for p, b in serving))
        await tank.clock.sleep(0.05)
        (leaving, backend), *serving = serving
        await tank.client.delete(PODS, leaving["metadata"]["name"], "default", grace_period_seconds=30)
        await tank.publish(*((p, b.port) for p, b in serving))
        await tank.clock.sleep(0.1)
        await backend.stop()
        await tank.client.delete(PODS, leaving["metadata"]["name"], "default", grace_period_seconds=0)
    done.set()
    await asyncio.gather(*users)
    assert number > 15
    assert [status for status in statuses if status != 200] == []
