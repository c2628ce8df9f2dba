"""What is on its way to one Alertmanager: a bounded queue and the task that empties it.

Mirrors notifier/sendloop.go of prometheus/prometheus: batches, the oldest dropped when the queue is full, and
an Alertmanager that hangs holds up nobody but itself. A batch that fails is not sent again: alerts that go on
are said again by their rules.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from wavetank.clock import Clock
from wavetank.monitoring.http_client import FETCH_ERRORS, HTTPClient

__all__ = ["Count", "SendLoop"]

_DRAIN_SECONDS: Final = 2.0
_LOG = logging.getLogger(__name__)

# Hears what became of alerts: sent, error or dropped; the Alertmanager's URL; how many; and the seconds that
# sending them took.
Count = Callable[[str, str, int, float], None]


class SendLoop:
    """``add`` queues, ``close`` ends."""

    def __init__(
        self,
        url: str,
        client: HTTPClient,
        clock: Clock,
        count: Count,
        *,
        timeout_seconds: float,
        capacity: int,
        batch_size: int,
    ) -> None:
        self.url = url
        self._client = client
        self._clock = clock
        self._count = count
        self._timeout_seconds = timeout_seconds
        self._batch_size = batch_size
        self._queue: deque[dict[str, Any]] = deque(maxlen=capacity)
        self._wake = asyncio.Event()
        for outcome in ("sent", "error", "dropped"):
            count(outcome, url, 0, 0.0)
        self._task = asyncio.get_running_loop().create_task(self._run())

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, alerts: Sequence[dict[str, Any]]) -> None:
        """Queue; over capacity the oldest are dropped and counted."""
        room = (self._queue.maxlen or 0) - len(self._queue)
        if len(alerts) > room:
            _LOG.warning("the queue of alerts for %s is full: %d are dropped", self.url, len(alerts) - room)
            self._count("dropped", self.url, len(alerts) - room, 0.0)
        self._queue.extend(alerts)
        self._wake.set()

    async def close(self, *, drain: bool) -> list[dict[str, Any]]:
        """Stop; with ``drain``, send what is queued before, for a moment. What is left is returned."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                while drain and self._queue:
                    await self._send_batch()
        except TimeoutError:
            _LOG.warning("%d alerts for %s could not be sent before the end", len(self._queue), self.url)
        return list(self._queue)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                await self._send_batch()

    async def _send_batch(self) -> None:
        batch = [self._queue.popleft() for _ in range(min(self._batch_size, len(self._queue)))]
        began = self._clock.monotonic()
        try:
            async with self._client.request(
                "POST",
                self.url,
                headers={"Content-Type": "application/json", "User-Agent": "Prometheus/3.14.0"},
                data=msgspec.json.encode(batch),
                timeout_seconds=self._timeout_seconds,
            ) as response:
                if response.status // 100 != 2:
                    raise ValueError(f"bad response status {response.status}")
        except asyncio.CancelledError:
            self._queue.extendleft(reversed(batch))  # a reload or the end: it may be said twice, not never
            raise
        except FETCH_ERRORS as error:
            self._count("error", self.url, len(batch), 0.0)
            self._count("dropped", self.url, len(batch), 0.0)
            _LOG.error(
                "sending %d alerts to %s: %s", len(batch), self.url, str(error) or type(error).__name__
            )
        else:
            self._count("sent", self.url, len(batch), self._clock.monotonic() - began)
