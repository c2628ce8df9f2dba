"""Targets that mean harm, and a disk that is full: the server stays up, says what is wrong, and recovers."""

from __future__ import annotations

import asyncio
import gzip
import resource
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

CONFIG = """
global: {{scrape_interval: 300ms, scrape_timeout: 300ms, evaluation_interval: 200ms}}
rule_files: [rules.yml]
alerting: {{alertmanagers: [{{static_configs: [{{targets: ["127.0.0.1:{port}"]}}]}}]}}
scrape_configs:
- job_name: good
  metrics_path: /good
  scrape_interval: 1s
  scrape_timeout: 1s
  static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
- job_name: bad
  metrics_path: /bad
  body_size_limit: 1MB
  sample_limit: 5000
  static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""
RULES = """
groups: [{name: g, rules: [{alert: Always, expr: vector(1)}, {record: r, expr: up}]}]
"""


async def large(request: web.Request) -> web.StreamResponse:
    """A body of a gigabyte, had anyone the patience to read it."""
    response = web.StreamResponse(headers={"Content-Type": "text/plain; version=0.0.4"})
    await response.prepare(request)
    for _ in range(1000):
        await response.write(b"m 1\n" * 250_000)
    return response


async def endless(request: web.Request) -> web.StreamResponse:
    """A byte a moment, for ever."""
    response = web.StreamResponse(headers={"Content-Type": "text/plain; version=0.0.4"})
    await response.prepare(request)
    while True:
        await response.write(b"m")
        await asyncio.sleep(0.02)


async def bomb(request: web.Request) -> web.Response:
    body = gzip.compress(b"m 1\n" * 4_000_000)
    return web.Response(body=body, headers={"Content-Type": "text/plain", "Content-Encoding": "gzip"})


async def cut_gzip(request: web.Request) -> web.Response:
    body = gzip.compress(b"m 1\n" * 100)[:-9]
    return web.Response(body=body, headers={"Content-Type": "text/plain", "Content-Encoding": "gzip"})


async def binary(request: web.Request) -> web.Response:
    return web.Response(body=bytes(range(1, 256)) * 50, headers={"Content-Type": "text/plain; version=0.0.4"})


async def protobuf(request: web.Request) -> web.Response:
    kind = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
    return web.Response(body=b"\xff\xff\xff\xff\x7f" + b"x" * 100, headers={"Content-Type": kind})


async def many_series(request: web.Request) -> web.Response:
    many_series.turn += 1  # type: ignore[attr-defined]
    first = many_series.turn * 10_000  # type: ignore[attr-defined]
    return web.Response(text="".join(f'm{{i="{first + i}"}} 1\n' for i in range(10_000)))


many_series.turn = 0  # type: ignore[attr-defined]


async def untyped(request: web.Request) -> web.Response:
    return web.Response(body=b"m 1\n", headers={"Content-Type": "video/mp4"})


HOSTILE = [
    (large, "body size limit exceeded"),
    (endless, "context deadline exceeded"),
    (bomb, "body size limit exceeded"),
    (cut_gzip, "unexpected EOF"),
    (binary, ""),
    (protobuf, ""),
    (many_series, "sample limit exceeded"),
    (untyped, "video/mp4"),
]


@asynccontextmanager
async def targets(bad: Callable[[web.Request], Any], alerts: list[Any]) -> AsyncIterator[int]:
    async def good(request: web.Request) -> web.Response:
        return web.Response(text="fine 1\n")

    async def take(request: web.Request) -> web.Response:
        alerts.append(await request.json())
        return web.Response()

    app = web.Application()
    app.router.add_get("/good", good)
    app.router.add_get("/bad", bad)
    app.router.add_post("/api/v2/alerts", take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def state(server: Any, job: str) -> tuple[str, str]:
    for target in (await server.get("/api/v1/targets"))["data"]["activeTargets"]:
        if target["scrapePool"] == job:
            return target["health"], target["lastError"]
    return "", ""


@pytest.mark.slow
async def test_hostile_targets_fail_alone(start: Callable[..., Any]) -> None:
    """One server meets them all, one after the other."""
    now: list[Any] = [HOSTILE[0][0]]

    async def bad(request: web.Request) -> Any:
        return await now[0](request)

    async with targets(bad, []) as port, start(CONFIG.format(port=port), rules=RULES) as server:

        async def fine() -> bool:
            return (await state(server, "good"))[0] == "up"

        for hostile, message in HOSTILE:
            now[0] = untyped
            await server.until(lambda: _says(server, "video/mp4"))
            now[0] = hostile
            try:
                await server.until(lambda message=message: _says(server, message))
            except TimeoutError:
                pytest.fail(f"{hostile.__name__}: {await state(server, 'bad')}")
            await server.until(fine)
        assert await server.query('count({job="bad",__name__="m"})') == []


async def _says(server: Any, message: str) -> bool:
    health, error = await state(server, "bad")
    if not message:
        return health == "down" and "video/mp4" not in error
    return health == "down" and message in error


@pytest.mark.slow
async def test_a_type_that_changes_does_not_stop_a_scrape(start: Callable[..., Any]) -> None:
    turn = 0

    async def changing(request: web.Request) -> web.Response:
        nonlocal turn
        turn += 1
        kind = ("counter", "gauge", "histogram")[turn % 3]
        return web.Response(text=f"# TYPE m {kind}\nm {turn}\n")

    async with targets(changing, []) as port, start(CONFIG.format(port=port), rules=RULES) as server:

        async def seen() -> bool:
            return turn > 4 and (await state(server, "bad"))[0] == "up"

        await server.until(seen)


@pytest.mark.slow
async def test_a_full_disk_stops_storing_only(start: Callable[..., Any]) -> None:
    """The kernel refuses to let the log grow; then it allows it again."""
    alerts: list[Any] = []
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with targets(untyped, alerts) as port, start(CONFIG.format(port=port), rules=RULES) as server:

        async def stored() -> bool:
            return bool(await server.query("fine == 1")) and bool(alerts)

        async def stuck() -> bool:
            texts = [n["text"] for n in (await server.get("/api/v1/notifications"))["data"]]
            return any("cannot be stored" in text for text in texts)

        async def said() -> bool:
            health, error = await state(server, "good")
            return health == "up" and "storing the scrape failed" in error

        async def recovered() -> bool:
            return not await stuck() and (await state(server, "good")) == ("up", "")

        await server.until(stored)
        samples = float((await server.query("count_over_time(fine[5m])"))[0][1])
        size = max(path.stat().st_size for path in (server.server._storage_path / "wal").iterdir())
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, before[1]))
        try:
            await server.until(stuck)
            await server.until(said)
            assert float((await server.query("count_over_time(fine[5m])"))[0][1]) >= samples
            rule = (await server.get("/api/v1/rules"))["data"]["groups"][0]["rules"][0]
            assert rule["state"] == "firing"
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        await server.until(recovered)
