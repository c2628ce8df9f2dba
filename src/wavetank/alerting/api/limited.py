"""How many GET requests are answered at a time, and for how long any request may last.

Mirrors limitHandler of api/api.go: ``--web.get-concurrency`` and ``--web.timeout``, both answered with 503.
"""

from __future__ import annotations

import asyncio

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wavetank.alerting.metrics import AlertmanagerMetrics

__all__ = ["Limited"]


class Limited:
    """``concurrency`` and ``timeout_seconds``: 0 for no limit."""

    def __init__(
        self, app: ASGIApp, metrics: AlertmanagerMetrics, *, concurrency: int, timeout_seconds: float
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._concurrency = concurrency
        self._timeout = timeout_seconds
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._timed(scope, receive, send)
            return
        if 0 < self._concurrency <= self._under_way:
            self._metrics.concurrency_exceeded.inc(1, "get")
            text = f"Limit of concurrent GET requests reached ({self._concurrency}), try again later.\n"
            await PlainTextResponse(text, 503)(scope, receive, send)
            return
        self._count(1)
        try:
            await self._timed(scope, receive, send)
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        self._under_way += change
        self._metrics.in_flight.set(self._under_way, "get")

    async def _timed(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._timeout <= 0:
            await self._app(scope, receive, send)
            return
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            async with asyncio.timeout(self._timeout):
                await self._app(scope, receive, sending)
        except TimeoutError:
            if begun:
                raise
            text = f"Exceeded configured timeout of {self._timeout:g}s.\n"
            await PlainTextResponse(text, 503)(scope, receive, send)
