"""Beside Debian's Prometheus: remote write and remote read, each in both directions."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wavetank.clock import RealClock
from wavetank.model.labels import Labels
from wavetank.monitoring.remote.codec import pack
from wavetank.monitoring.remote.payload import Item, request_v1
from wavetank.monitoring.server import ServerOptions

PEER = shutil.which("prometheus")
pytestmark = [
    pytest.mark.peer,
    pytest.mark.slow,
    pytest.mark.skipif(PEER is None, reason="prometheus is not installed"),
]

THEIRS = """
global: {scrape_interval: 1s}
scrape_configs: [{job_name: theirs, static_configs: [{targets: ["127.0.0.1:PORT"]}]}]
remote_write:
- url: OURS/api/v1/write
  write_relabel_configs: [{source_labels: [job], regex: theirs, action: keep}]
remote_read: [{url: OURS/api/v1/read, read_recent: true}]
"""
OURS = """
global: {scrape_interval: 1s}
scrape_configs: [{job_name: ours, static_configs: [{targets: ["127.0.0.1:PORT"]}]}]
remote_write:
- url: http://127.0.0.1:PORT/api/v1/write
  queue_config: {batch_send_deadline: 100ms}
  write_relabel_configs: [{source_labels: [job], regex: ours, action: keep}]
remote_read: [{url: "http://127.0.0.1:PORT/api/v1/read", read_recent: true}]
"""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def result(url: str, query: str) -> list[Any]:
    def ask() -> list[Any]:
        text = urllib.parse.urlencode({"query": query})
        try:
            with urllib.request.urlopen(f"{url}/api/v1/query?{text}", timeout=5) as response:
                found: list[Any] = json.loads(response.read())["data"]["result"]
                return found
        except urllib.error.HTTPError as error:
            error.close()
            return []
        except OSError:
            return []

    return await asyncio.to_thread(ask)


async def write(url: str, item: Item) -> None:
    def send() -> None:
        request = urllib.request.Request(
            url + "/api/v1/write",
            pack(request_v1([item])),
            {
                "Content-Type": "application/x-protobuf",
                "Content-Encoding": "snappy",
                "X-Prometheus-Remote-Write-Version": "0.1.0",
            },
        )
        with urllib.request.urlopen(request, timeout=5) as response:
            assert response.status == 204

    await asyncio.to_thread(send)


async def test_write_and_read_both_ways(start: Callable[..., Any], tmp_path: Path) -> None:
    port = free_port()
    theirs = f"http://127.0.0.1:{port}"
    options = ServerOptions(enable_remote_write_receiver=True)
    async with start(OURS.replace("PORT", str(port)), options) as server:
        config = THEIRS.replace("PORT", str(port)).replace("OURS", server.url)
        (tmp_path / "peer.yml").write_text(config)
        peer = await asyncio.create_subprocess_exec(
            str(PEER),
            f"--config.file={tmp_path}/peer.yml",
            f"--storage.tsdb.path={tmp_path}/peer-data",
            f"--web.listen-address=127.0.0.1:{port}",
            "--web.enable-remote-write-receiver",
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            await server.until(lambda: _has(theirs, 'up{job="ours"} == 1'))
            await server.until(lambda: _has(server.url, 'prometheus_build_info{job="theirs"}'))
            now_ms = round(RealClock().now() * 1000)
            samples = [(now_ms - i * 1000, float(i)) for i in range(20, 0, -1)]
            # Direct writes pass by the queues' relabelling, so each is held by one side only.
            await write(server.url, Item(Labels.of(__name__="held_here"), samples))
            await write(theirs, Item(Labels.of(__name__="held_there"), samples))
            for url, name in ((theirs, "held_here"), (server.url, "held_there")):
                (found,) = await result(url, f"sum_over_time({name}[1m])")
                assert found["value"][1] == "210"
        finally:
            peer.terminate()
            await peer.wait()


async def _has(url: str, query: str) -> bool:
    return bool(await result(url, query))
