"""A real server over a real target, on loopback with ports of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from wavetank.clock import RealClock
from wavetank.monitoring.server import Server, ServerOptions


@dataclass
class Running:
    """A server and a client for it."""

    server: Server
    url: str
    session: aiohttp.ClientSession
    stop: asyncio.Event

    async def get(self, path: str, status: int = 200, **params: Any) -> Any:
        """GET; the JSON, or the text where it is not JSON."""
        async with self.session.get(self.url + path, params=params) as response:
            assert response.status == status, await response.text()
            return await _body(response)

    async def post(self, path: str, status: int = 200, **options: Any) -> Any:
        async with self.session.post(self.url + path, **options) as response:
            assert response.status == status, await response.text()
            return await _body(response)

    async def query(self, text: str) -> list[tuple[dict[str, str], str]]:
        answer = await self.get("/api/v1/query", query=text)
        return [(entry["metric"], entry["value"][1]) for entry in answer["data"]["result"]]

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """Wait until something that depends on real scrapes holds."""
        async with asyncio.timeout(60):
            while not await condition():
                await asyncio.sleep(0.02)


async def _body(response: aiohttp.ClientResponse) -> Any:
    if response.content_type == "application/json":
        return await response.json()
    return await response.text()


@asynccontextmanager
async def running(
    config: str, directory: Path, options: ServerOptions | None = None, **files: str
) -> AsyncIterator[Running]:
    """A server with this configuration text; ``files`` are written beside it."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "prometheus.yml"
    path.write_text(config)
    for name, text in files.items():
        (directory / f"{name}.yml").write_text(text)
    made = replace(options or ServerOptions(), listen_address="127.0.0.1:0", query_threads=2)
    server = Server(path, directory / "data", RealClock(), made)
    stop = asyncio.Event()
    url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(server.run(url.set_result, stop))
    await asyncio.wait({task, url}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    async with aiohttp.ClientSession() as session:
        try:
            async with asyncio.timeout(60):  # until then queries answer from what there is, and say so
                while not server._parts._db.is_whole:
                    await asyncio.sleep(0.01)
            yield Running(server, url.result(), session, stop)
        finally:
            stop.set()
            await task


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., Any]:
    """Start a server in this test's directory."""

    def begin(
        config: str, options: ServerOptions | None = None, *, directory: str = "server", **files: str
    ) -> Any:
        return running(config, tmp_path / directory, options, **files)

    return begin
