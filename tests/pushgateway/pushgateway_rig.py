"""A Pushgateway in this process, over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from wavetank.clock import RealClock
from wavetank.monitoring.pushgateway.app import Pushgateway, PushgatewayOptions
from wavetank.monitoring.pushgateway.store import Groups
from wavetank.monitoring.web.shell import serve_application


@dataclass
class Running:
    url: str
    http: aiohttp.ClientSession
    gateway: Pushgateway

    async def send(self, method: str, path: str, body: bytes | str = b"", **headers: str) -> tuple[int, str]:
        data = io.BytesIO(body if isinstance(body, bytes) else body.encode())
        async with self.http.request(method, self.url + path, data=data, headers=headers) as response:
            return response.status, await response.text()

    async def samples(self) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
        """By name, then by labels."""
        _, text = await self.send("GET", "/metrics")
        found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
        return found


Start = Callable[..., Awaitable[Running]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    async with contextlib.AsyncExitStack() as stack:

        async def run(path: Path | None = None, **options: Any) -> Running:
            stop = asyncio.Event()
            gateway = Pushgateway(Groups(path), RealClock(), PushgatewayOptions(**options), stop.set)
            await stack.enter_async_context(gateway)
            bound: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            serving = asyncio.create_task(
                serve_application(gateway.app, RealClock(), stop, bound.set_result, addresses=["127.0.0.1:0"])
            )

            async def end() -> None:
                stop.set()
                await serving

            stack.push_async_callback(end)
            session = await stack.enter_async_context(aiohttp.ClientSession())
            return Running(await bound, session, gateway)

        yield run
