"""An Alertmanager in this process, and a receiver that remembers what it was told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from wavetank.alerting.api.app import create_app
from wavetank.alerting.config import parse_config
from wavetank.alerting.service import Alertmanager, AlertmanagerOptions
from wavetank.clock import RealClock
from wavetank.monitoring.web.shell import serve_application

WAIT_SECONDS = 30.0


async def until(condition: Callable[[], Any]) -> Any:
    """What ``condition`` returns once that is true."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not (found := condition()):
            await asyncio.sleep(0.01)
        return found


@dataclass
class Sink:
    """An HTTP server: every request as (method, path, headers, JSON or text)."""

    url: str = ""
    requests: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)  # status codes to give first, then 200
    replies: dict[str, Any] = field(default_factory=dict)  # by path: a text, or what becomes JSON
    hang: asyncio.Event | None = None

    def bodies(self, path: str) -> list[Any]:
        return [body for _, at, _, body in self.requests if at == path]

    async def handle(self, request: web.Request) -> web.Response:
        text = await request.text()
        body = await request.json() if text and request.content_type == "application/json" else text
        self.requests.append((request.method, request.path_qs, dict(request.headers), body))
        if self.hang is not None and request.path.startswith("/hang"):
            await self.hang.wait()
        status = self.answers.pop(0) if self.answers else 200
        reply = self.replies.get(request.path, "answer")
        if not isinstance(reply, str):
            return web.json_response(reply, status=status)
        return web.Response(status=status, text=reply)


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    made = Sink()
    app = web.Application(client_max_size=2**26)
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    if made.hang is not None:
        made.hang.set()
    await runner.cleanup()


@dataclass
class Running:
    am: Alertmanager
    url: str
    http: aiohttp.ClientSession

    async def get(self, path: str, **params: Any) -> Any:
        async with self.http.get(self.url + path, params=params) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def post(self, path: str, body: Any) -> tuple[int, Any]:
        async with self.http.post(self.url + path, json=body) as response:
            text = await response.text()
            return response.status, await response.json() if text else None

    async def alerts(self, *alerts: dict[str, Any]) -> None:
        assert (await self.post("/api/v2/alerts", list(alerts)))[0] == 200


Start = Callable[..., Awaitable[Running]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """``await start(yaml, name="...")``: servers with the same name share a storage directory."""
    async with contextlib.AsyncExitStack() as stack:

        async def run(config: str | Path, name: str = "am", **options: Any) -> Running:
            source = config if isinstance(config, Path) else parse_config(config)
            am = Alertmanager(source, tmp_path / name, RealClock(), AlertmanagerOptions(**options))
            am.start()
            stop = asyncio.Event()
            bound: list[str] = []
            serving = asyncio.create_task(
                serve_application(create_app(am), am.clock, stop, bound.append, addresses=["127.0.0.1:0"])
            )
            session = await stack.enter_async_context(aiohttp.ClientSession())

            async def end() -> None:
                stop.set()
                await serving
                await am.close()

            stack.push_async_callback(end)
            url = await until(lambda: bound)
            return Running(am, url[0], session)

        yield run
