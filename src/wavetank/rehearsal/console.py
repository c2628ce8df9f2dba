"""The tank behind a console: what ``wavetank.web`` shows of a run directory and a cluster.

It lives in the monitoring process of a tank and sees everything from outside: the Kubernetes API as a reader,
the journals and the run's record as files. So it works the same for a standing tank and for a rehearsal that
another process drives, and a run's page is made by the code that makes its report.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import msgspec

from wavetank.clock import Clock
from wavetank.journal import read_journals
from wavetank.kube.client import ApiError, Object, Resource
from wavetank.kube.http_client import HttpClient
from wavetank.kube.kubeconfig import read_kubeconfig
from wavetank.rehearsal.console_facts import FACTS_FILE, ConsoleFacts
from wavetank.rehearsal.console_load import ConsoleLoad
from wavetank.rehearsal.metrics_client import PrometheusQuery
from wavetank.rehearsal.outcome.build import build_report
from wavetank.rehearsal.outcome.record import JOURNAL_GLOB
from wavetank.rehearsal.report.model import encode
from wavetank.rehearsal.settings import RunFiles

__all__ = ["TankConsole", "open_console"]

#: A view that several browsers ask for is made once in this time.
FRESH_SECONDS = 1.0
#: The newest seconds are still being reported and scraped; a page that shows them shows a drop at its end.
SETTLED_SECONDS = 3.0


async def open_console(directory: Path, clock: Clock) -> TankConsole:
    facts = msgspec.json.decode((directory / FACTS_FILE).read_bytes(), type=ConsoleFacts)
    console = TankConsole(directory, facts, clock)
    if console.load is not None:
        await console.load.open()
    return console


class TankConsole:
    """``wavetank.web.tank.Tank`` over a run directory. Close it."""

    def __init__(self, directory: Path, facts: ConsoleFacts, clock: Clock) -> None:
        self._directory = directory
        self.facts = facts
        self._clock = clock
        self._files = RunFiles(directory)
        self._query = PrometheusQuery(facts.monitoring_url)
        self._reader: HttpClient | None = None
        self._admin: HttpClient | None = None
        self._reports: dict[float, tuple[float, bytes]] = {}
        self._objects: dict[Resource, tuple[float, Sequence[Object]]] = {}
        self._records: tuple[float, Sequence[Mapping[str, Any]]] = (-FRESH_SECONDS, ())
        self._one_report = asyncio.Lock()
        self.load = ConsoleLoad(directory, facts, clock) if facts.plan is not None else None

    @property
    def kind(self) -> Literal["tank", "rehearsal"]:
        return self.facts.kind

    @property
    def name(self) -> str:
        return self.facts.name

    async def report(self, window_seconds: float) -> bytes:
        """Made anew at most once in FRESH_SECONDS for each window, however many browsers ask."""
        async with self._one_report:
            made, body = self._reports.get(window_seconds, (0.0, b""))
            if not body or self._clock.monotonic() - made >= FRESH_SECONDS:
                now = self._clock.now() - SETTLED_SECONDS
                report = await build_report(self._directory, self._query, now, since=now - window_seconds)
                body = encode(report)
                self._reports = {window_seconds: (self._clock.monotonic(), body)}
            return body

    async def objects(self, resource: Resource) -> Sequence[Object]:
        read, found = self._objects.get(resource, (-FRESH_SECONDS, ()))
        if self._clock.monotonic() - read < FRESH_SECONDS:
            return found
        try:
            found = (await self._as_reader().list(resource)).items
        except ApiError as error:
            if error.code != 404:
                raise
            found = ()  # a kind this cluster does not serve
        self._objects[resource] = (self._clock.monotonic(), found)
        return found

    async def read(self, path: str) -> bytes:
        return await self._as_reader().get_raw(path)

    async def patch(self, resource: Resource, namespace: str, name: str, patch: Any) -> None:
        if self._admin is None:
            self._admin = HttpClient.from_kubeconfig(self._files.kubeconfig, user_agent="wavetank-console")
        await self._admin.patch(resource, name, patch, namespace, content_type="application/json-patch+json")
        self._objects.pop(resource, None)

    def records(self) -> Sequence[Mapping[str, Any]]:
        read, found = self._records
        if self._clock.monotonic() - read >= FRESH_SECONDS:
            found = read_journals(sorted(self._directory.glob(JOURNAL_GLOB)))
            self._records = (self._clock.monotonic(), found)
        return found

    async def close(self) -> None:
        if self.load is not None:
            await self.load.close()
        for client in (self._reader, self._admin):
            if client is not None:
                await client.close()
        with suppress(Exception):
            await self._query.close()

    def _as_reader(self) -> HttpClient:
        """With the token that may get, list and watch: a fault of the page can change nothing."""
        if self._reader is None:
            access = read_kubeconfig(self._files.kubeconfig)
            token = (self._files.account / "token").read_text(encoding="ascii").strip()
            self._reader = HttpClient(
                replace(access, token=token, certificate=None, key=None), "wavetank-console", self._clock
            )
        return self._reader
