"""The load generator's figures for others: ``/metrics`` for the scrape, rows and a summary for the report."""

from __future__ import annotations

import asyncio
import math
import socket
from contextlib import nullcontext
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from wavetank.exposition.render import render_text
from wavetank.load.exporter import families
from wavetank.load.generator import LoadGenerator
from wavetank.load.histogram import LogHistogram
from wavetank.load.results import Entry, Second, Snapshot
from wavetank.rehearsal.outcome.record import LoadSecond

__all__ = ["LoadExporter", "load_row", "load_summary"]

LOAD_EXPORTER_PORT = 9646
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class LoadExporter:
    """Serves the generator's metrics for as long as the run lasts."""

    def __init__(self, server: uvicorn.Server, task: asyncio.Task[None], address: str) -> None:
        self._server = server
        self._task = task
        self.address = address

    @classmethod
    async def start(cls, generator: LoadGenerator, host: str) -> LoadExporter:
        async def metrics(request: Request) -> Response:
            return Response(render_text(families(generator.snapshot())), media_type=CONTENT_TYPE)

        app = Starlette(routes=[Route("/metrics", metrics)])
        listener = socket.create_server((host, LOAD_EXPORTER_PORT))
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off")
        server = uvicorn.Server(config)
        server.capture_signals = nullcontext  # type: ignore[assignment, method-assign]  # signals are the run's
        task = asyncio.create_task(server.serve(sockets=[listener]))
        return cls(server, task, f"{host}:{LOAD_EXPORTER_PORT}")

    async def stop(self) -> None:
        self._server.should_exit = True
        await self._task


def load_row(second: Second) -> LoadSecond:
    return LoadSecond(
        second=second.second,
        scheduled=second.scheduled,
        started=second.started,
        dropped=second.dropped,
        requests=second.requests,
        failures=second.failures,
        users=round(second.users),
        busy=round(second.busy),
        p50=_known(second.p50),
        p95=_known(second.p95),
        p99=_known(second.p99),
        lateness_p99=_known(second.lateness_p99),
        cpu=second.cpu_seconds,
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def load_summary(snapshot: Snapshot) -> dict[str, Any]:
    """The report's ``load`` section in its JSON form."""
    rows: dict[tuple[str, str], Entry] = {}
    total = Entry()
    for (method, name, _), entry in snapshot.entries.items():
        for into in (rows.setdefault((method, name), Entry()), total):
            into.requests += entry.requests
            into.failures += entry.failures
            into.response.merge(entry.response)
    return {
        "requests": snapshot.requests,
        "failures": snapshot.failures,
        "dropped": snapshot.dropped,
        "lateness_p99_ms": _ms(snapshot.lateness, 99),
        "total": _row("", "all requests", total),
        "rows": [_row(method, name, entry) for (method, name), entry in sorted(rows.items())],
        "errors": [
            {"method": method, "name": name, "error": error, "count": count}
            for (method, name, error), count in sorted(snapshot.errors.items(), key=lambda item: -item[1])
        ],
    }


def _row(method: str, name: str, entry: Entry) -> dict[str, Any]:
    return {
        "method": method,
        "name": name,
        "requests": entry.requests,
        "failures": entry.failures,
        "p50_ms": _ms(entry.response, 50),
        "p95_ms": _ms(entry.response, 95),
        "p99_ms": _ms(entry.response, 99),
        "max_ms": _ms(entry.response, 100),
    }


def _ms(histogram: LogHistogram, percentile: float) -> float | None:
    value = histogram.percentile(percentile)
    return None if math.isnan(value) else round(value * 1000, 3)
