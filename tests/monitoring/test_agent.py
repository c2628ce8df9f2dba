"""Agent mode: scraping and forwarding only; and what the storage section changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from click.testing import CliRunner

from wavetank.cli import prometheus
from wavetank.clock import RealClock
from wavetank.errors import InputError
from wavetank.monitoring.config import parse_config
from wavetank.monitoring.config.effect import without_effect
from wavetank.monitoring.options import AgentOptions
from wavetank.monitoring.remote.codec import decode_v1, unpack
from wavetank.monitoring.server import Server, ServerOptions
from wavetank.monitoring.storage_options import storage_options
from wavetank.tsdb.options import Options

AGENT = ServerOptions(agent=AgentOptions())


async def test_an_agent_forwards_what_it_scrapes(start: Callable[..., Any]) -> None:
    names: set[str] = set()

    async def take(request: web.Request) -> web.Response:
        series, _ = decode_v1(unpack(await request.read()))
        names.update(entry.labels.name for entry in series)
        return web.Response(status=204)

    async def expose(request: web.Request) -> web.Response:
        return web.Response(text="m 1\n")

    app = web.Application()
    app.router.add_post("/write", take)
    app.router.add_get("/metrics", expose)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    config = f"""
global: {{scrape_interval: 100ms}}
scrape_configs: [{{job_name: a, static_configs: [{{targets: ["127.0.0.1:{port}"]}}]}}]
remote_write: [{{url: "http://127.0.0.1:{port}/write", queue_config: {{batch_send_deadline: 20ms}}}}]
"""
    try:
        async with start(config, AGENT) as server:

            async def arrived() -> bool:
                return {"m", "up"} <= names

            await server.until(arrived)
            for path in ("query?query=up", "labels", "series", "rules", "status/tsdb"):
                answer = await server.get(f"/api/v1/{path}", status=422)
                assert answer["error"] == "unavailable with Prometheus Agent"
            assert (await server.get("/api/v1/targets"))["status"] == "success"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("section", ["rule_files: [a.yml]", "remote_read: [{url: 'http://a'}]"])
async def test_an_agent_refuses_what_it_cannot_do(section: str, tmp_path: Path) -> None:
    import asyncio

    path = tmp_path / "prometheus.yml"
    path.write_text(section)
    server = Server(path, tmp_path, RealClock(), replace(AGENT, listen_address="127.0.0.1:0"))
    with pytest.raises(InputError, match="is not allowed in agent mode"):
        await server.run(lambda url: None, asyncio.Event())


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--agent", "--storage.tsdb.path=x"], 'can not be used in agent mode: ["--storage.tsdb.path"]'),
        (["--agent", "--query.timeout=1s"], 'can not be used in agent mode: ["--query.timeout"]'),
        (["--storage.agent.path=x"], 'can only be used in agent mode: ["--storage.agent.path"]'),
    ],
)
def test_flags_of_the_other_mode_are_refused(arguments: list[str], text: str) -> None:
    result = CliRunner().invoke(prometheus.command, arguments)
    assert result.exit_code == 3
    assert f"The following flag(s) {text}" in result.output


def test_the_storage_section_decides() -> None:
    flags = Options(retention_ms=1, retention_bytes=2)
    assert storage_options(flags, parse_config("{}")) == flags
    text = (
        "{storage: {tsdb: {out_of_order_time_window: 30m, retention: {time: 1d, size: 1GB, percentage: 5}},"
    )
    found = storage_options(flags, parse_config(text + " exemplars: {max_exemplars: 7}}}"))
    assert (found.retention_ms, found.retention_bytes, found.retention_percent) == (86_400_000, 1 << 30, 5.0)
    assert (found.out_of_order_window_ms, found.exemplars_max) == (1_800_000, 7)
    none = storage_options(flags, parse_config("{storage: {tsdb: {out_of_order_time_window: 0s}}}"))
    assert none.out_of_order_window_ms == 0


def test_settings_without_effect_are_said() -> None:
    text = """
tracing: {endpoint: "localhost:1", tls_config: {min_version: TLS13}}
runtime: {gogc: 50}
storage: {tsdb: {chunk_encoding: {floats: xor2}, stale_series_compaction_threshold: 0.5}}
remote_write: [{url: "http://a", round_robin_dns: true}]
"""
    assert len(without_effect(parse_config(text))) == 3
    assert without_effect(parse_config("scrape_configs: [{job_name: a}]")) == []


@pytest.mark.parametrize("section", ["remote_write", "remote_read"])
def test_a_section_given_twice_is_refused(section: str) -> None:
    with pytest.raises(InputError, match="found duplicate for URL: http://a"):
        parse_config(f"{section}: [{{url: 'http://a'}}, {{url: 'http://a'}}]")
