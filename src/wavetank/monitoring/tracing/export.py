"""Sends finished spans in batches, aside from the work they describe.

Mirrors OpenTelemetry's BatchSpanProcessor: spans wait in a bounded queue; one that finds it full is dropped
and counted, so that a collector that is slow or gone holds nothing up.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from wavetank.clock import Clock
from wavetank.limits import TRACING_BATCH_SPANS_MAX, TRACING_SPANS_WAITING_MAX
from wavetank.monitoring.tracing.clients import Client, NotTaken
from wavetank.monitoring.tracing.encode import encode
from wavetank.monitoring.tracing.span import Span

__all__ = ["Count", "Exporter"]

_EVERY_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = (5.0, 7.5, 11.25, 16.875)  # waits between attempts: under a minute together
_CLOSE_SECONDS: Final = 5.0
_LOG = logging.getLogger(__name__)

# Spans of one outcome: sent, failed or dropped.
Count = Callable[[str, int], None]


class Exporter:
    """A queue of spans and the task that empties it."""

    def __init__(self, client: Client, clock: Clock, version: str, count: Count) -> None:
        self._client = client
        self._clock = clock
        self._version = version
        self._count = count
        self._waiting: deque[Span] = deque()
        self._full = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    def take(self, span: Span) -> None:
        """Never waits."""
        if len(self._waiting) >= TRACING_SPANS_WAITING_MAX:
            self._count("dropped", 1)
            return
        self._waiting.append(span)
        if len(self._waiting) >= TRACING_BATCH_SPANS_MAX:
            self._full.set()

    async def close(self) -> None:
        """Send what waits, for a few seconds at most."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                while self._waiting:
                    await self._send_batch(())
        except TimeoutError:
            self._count("dropped", len(self._waiting))
        await self._client.close()

    async def _run(self) -> None:
        while True:
            await self._until_due()
            while self._waiting:
                await self._send_batch(_RETRY_SECONDS)

    async def _until_due(self) -> None:
        """Until a batch is full or its time has come."""
        self._full.clear()
        pause = asyncio.create_task(self._clock.sleep(_EVERY_SECONDS))
        full = asyncio.create_task(self._full.wait())
        try:
            await asyncio.wait({pause, full}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (pause, full):
                task.cancel()
            await asyncio.gather(pause, full, return_exceptions=True)

    async def _send_batch(self, waits: tuple[float, ...]) -> None:
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), TRACING_BATCH_SPANS_MAX))]
        try:
            await self._deliver(encode(batch, self._version), waits)
        except NotTaken as error:
            self._count("failed", len(batch))
            _LOG.error("%d spans are lost: %s", len(batch), error)
        except Exception:
            self._count("failed", len(batch))
            _LOG.exception("%d spans are lost in an unforeseen way", len(batch))
        except asyncio.CancelledError:
            self._waiting.extendleft(reversed(batch))  # the end of the server: close has another try
            raise
        else:
            self._count("sent", len(batch))

    async def _deliver(self, request: bytes, waits: tuple[float, ...]) -> None:
        for wait in waits:
            try:
                return await self._client.send(request)
            except NotTaken as error:
                if not error.again:
                    raise
            await self._clock.sleep(wait)
        await self._client.send(request)
