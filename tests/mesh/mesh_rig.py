"""A mesh small enough for a test: Python pods on loopback, a real Envoy in front of them."""

from __future__ import annotations

import json
import socket
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from mesh_backends import Backend
from mesh_objects import Object, documents, endpoint_slice, pod, service

from wavetank.clock import RealClock
from wavetank.journal import MemoryJournal
from wavetank.mesh.envoy import Envoy, EnvoyFiles
from wavetank.mesh.push import Pusher
from wavetank.mesh.translate import Placement, translate
from wavetank.mesh.world import build_world
from wavetank.mesh.xds import AdsServer, Nack


def free_port(address: str = "127.0.0.1") -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


async def eventually(condition: Callable[[], bool], what: Callable[[], object] = lambda: "") -> None:
    """Wait until the condition holds; fail after thirty seconds, saying what there was instead."""
    clock = RealClock()
    deadline = clock.monotonic() + 30
    while not condition():
        assert clock.monotonic() < deadline, repr(what())
        await clock.sleep(0.005)


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def pod(self) -> str:
        return str(self.json["pod"])

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class Mesh:
    """``apply`` puts YAML in force; ``call`` asks the gateway."""

    server: AdsServer
    pusher: Pusher
    envoy: Envoy
    clock: RealClock
    journal: MemoryJournal
    placement: Placement
    session: aiohttp.ClientSession
    objects: list[Object] = field(default_factory=list)
    backends: dict[str, Backend] = field(default_factory=dict)
    listening: set[tuple[str, int]] = field(default_factory=set)

    async def pods(self, app: str, *names: str, version: str = "v1") -> None:
        """Start pods of a Service ``app`` with port 80 named http."""
        for name in names:
            address = f"127.0.71.{len(self.backends) + 1}"
            self.backends[name] = Backend(name, address)
            await self.backends[name].start()
            self.objects.append(pod(name, address, app=app, version=version))

    def endpoints(self, app: str, names: Iterable[str] | None = None) -> list[Object]:
        chosen = [o for o in self.objects if o["kind"] == "Pod" and o["metadata"]["labels"]["app"] == app]
        wanted = {o["metadata"]["name"] for o in chosen} if names is None else set(names)
        return endpoint_slice(
            app,
            [
                (o, self.backends[o["metadata"]["name"]].port)
                for o in chosen
                if o["metadata"]["name"] in wanted
            ],
        )

    async def apply(self, text: str, *extra: Object) -> list[Nack]:
        apps = sorted({o["metadata"]["labels"]["app"] for o in self.objects if o["kind"] == "Pod"})
        given = [*documents(text), *extra]
        objects = [*self.objects, *given]
        named = {o["metadata"]["name"] for o in given if o["kind"] == "Service"}
        objects += [service(app, ("http", 80)) for app in apps if app not in named]
        if not any(o["kind"] == "EndpointSlice" for o in extra):
            objects += [s for app in apps for s in self.endpoints(app)]
        return await self.pusher.apply(translate(build_world(objects), self.placement))

    async def call(
        self,
        path: str = "/",
        *,
        host: str = "shop.example.com",
        method: str = "GET",
        port: int = 80,
        **headers: str,
    ) -> Reply:
        address, number = self.placement.bind(port)
        await self._listening(address, number)
        sent = {"Host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
        async with self.session.request(
            method, f"http://{address}:{number}{path}", headers=sent, allow_redirects=False
        ) as response:
            received = {name.lower(): value for name, value in response.headers.items()}
            return Reply(response.status, received, await response.text())

    async def _listening(self, address: str, port: int) -> None:
        """Envoy acknowledges a listener before its worker threads have opened it; wait for the first accept."""

        def accepts() -> bool:
            with socket.socket() as probe:
                probe.settimeout(1)
                return probe.connect_ex((address, port)) == 0

        if (address, port) not in self.listening:
            await eventually(accepts, lambda: f"nothing listens on {address}:{port}")
            self.listening.add((address, port))

    async def calls(self, count: int, path: str = "/", **kwargs: Any) -> Counter[str]:
        """How many of ``count`` calls each pod (or status) answered."""
        replies = [await self.call(path, **kwargs) for _ in range(count)]
        return Counter(r.pod if r.status == 200 else str(r.status) for r in replies)


@pytest.fixture
async def mesh() -> AsyncIterator[Mesh]:
    clock = RealClock()
    journal = MemoryJournal(clock)
    with tempfile.TemporaryDirectory(prefix="wt-") as folder:
        files = EnvoyFiles(Path(folder))
        server = AdsServer(files.ads_socket, clock, journal)
        await server.start()
        envoy = Envoy(files, clock, journal)
        await envoy.start()
        placement = Placement(port_map={80: ("127.0.0.1", free_port()), 443: ("127.0.0.1", free_port())})
        async with aiohttp.ClientSession() as session:
            made = Mesh(server, Pusher(server, clock), envoy, clock, journal, placement, session)
            try:
                yield made
            finally:
                await envoy.stop(1)
                await server.stop()
                for backend in made.backends.values():
                    await backend.stop()
