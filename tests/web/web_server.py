"""A real server with the console, in a thread of its own, so that a browser can be driven from the test."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from wavetank.clock import RealClock
from wavetank.kube.client import Object, Resource
from wavetank.monitoring.options import ServerOptions
from wavetank.monitoring.server import Server
from wavetank.web.console import Console, routes
from wavetank.web.tank import LoadWish

CONFIG = """
global: {scrape_interval: 1s, evaluation_interval: 1s, external_labels: {region: test}}
rule_files: [rules.yml]
scrape_configs:
  - job_name: self
    static_configs: [{targets: ['ADDRESS'], labels: {evil: '<img src=x onerror="window.hacked=1">', env: dev}}]
    relabel_configs: [{source_labels: [env], target_label: stage}]
  - job_name: many
    metrics_path: /many
    scrape_interval: 5s
    static_configs: [{targets: ['ADDRESS']}]
  - job_name: gone
    static_configs: [{targets: ['127.0.0.1:1', '127.0.0.1:2']}]
    relabel_configs: [{source_labels: [__address__], regex: '.*:2', action: drop}]
"""
RULES = """
groups:
  - name: all
    rules:
      - {record: 'job:up:sum', expr: 'sum by (job) (up)'}
      - {alert: TargetDown, expr: 'up == 0', labels: {severity: critical}, annotations: {summary: 'down: <b>{{ $labels.job }}</b>'}}
      - {alert: Quiet, expr: 'up > 5'}
"""


class StillLoad:
    """Load that only remembers what was asked of it."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self._state = "idle"

    def state(self) -> dict[str, Any]:
        wish = self.asked[-1] if self.asked else LoadWish("rps", rps=20)
        return {"state": self._state, "mode": wish.mode, "rps": wish.rps, "users": wish.users, "error": ""}

    async def start(self, wish: LoadWish) -> None:
        self.asked.append(wish)
        self._state = "running"

    async def change(self, wish: LoadWish) -> None:
        self.asked.append(wish)

    async def stop(self) -> None:
        self._state = "idle"


class StillTank:
    """A tank that stands still: its objects are what the test says, its run is a finished report."""

    kind = "tank"
    name = "still"

    def __init__(
        self, report: bytes, objects: dict[str, list[Object]], records: list[dict[str, Any]]
    ) -> None:
        self._report = report
        self._objects = objects
        self._records = records
        self.load = StillLoad()
        self.patches: list[Any] = []

    async def report(self, window_seconds: float) -> bytes:
        return self._report

    async def objects(self, resource: Resource) -> Sequence[Object]:
        return self._objects.get(f"{resource.group}/{resource.kind}".lstrip("/"), [])

    async def read(self, path: str) -> bytes:
        return f"log of {path.split('/')[6]}\n".encode()

    async def patch(self, resource: Resource, namespace: str, name: str, patch: Any) -> None:
        self.patches.append((resource.kind, namespace, name, patch))

    def records(self) -> list[dict[str, Any]]:
        return self._records

    async def close(self) -> None:
        return None


class WebServer:
    """``start`` and ``stop`` at will; the port and the data stay."""

    def __init__(self, directory: Path, console: Console, address: str = "127.0.0.1:0") -> None:
        self.directory = directory
        self.console = console
        self.address = address
        self.url = ""
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    def start(self) -> str:
        ready = threading.Event()
        failure: list[BaseException] = []

        def run() -> None:
            try:
                asyncio.run(self._serve(ready))
            except BaseException as error:
                failure.append(error)
                ready.set()

        self._thread = threading.Thread(target=run)
        self._thread.start()
        assert ready.wait(120)
        if failure:
            raise failure[0]
        self.address = self.url.removeprefix("http://")
        return self.url

    async def _serve(self, ready: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self.directory.mkdir(parents=True, exist_ok=True)
        config = self.directory / "prometheus.yml"
        (self.directory / "rules.yml").write_text(RULES)
        target = self.address if not self.address.endswith(":0") else "127.0.0.1:3"
        config.write_text(CONFIG.replace("ADDRESS", target))
        options = replace(ServerOptions(), listen_address=self.address, query_threads=2)
        pages = partial(routes, console=self.console)
        server = Server(config, self.directory / "data", RealClock(), options, pages=pages)

        def told(url: str) -> None:
            self.url = url
            ready.set()

        await server.run(told, self._stop)

    def stop(self) -> None:
        if self._thread is not None and self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(60)
            self._thread = None
