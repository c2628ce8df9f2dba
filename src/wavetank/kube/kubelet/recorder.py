"""Sending events: the asynchronous shell around ``EventLog``, which makes them and counts repeats.

Telling about an object never holds up or fails the teller.
"""

from __future__ import annotations

import asyncio
from typing import Any

from wavetank.clock import Clock
from wavetank.kube.client import ApiError, Client, Object
from wavetank.kube.events import EventLog
from wavetank.kube.resources import EVENTS

__all__ = ["EventRecorder"]


class EventRecorder:
    """``component`` and ``host`` are the events' source."""

    def __init__(self, client: Client, clock: Clock, component: str, host: str = "") -> None:
        self._client = client
        self._log = EventLog(clock, component, host)
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    def event(self, obj: Object, kind: str, reason: str, message: str, field_path: str = "") -> None:
        """Tell about ``obj`` (apiVersion, kind and metadata are looked at). ``kind`` is Normal or Warning;
        ``field_path`` is such as ``spec.containers{web}``."""
        self._queue.put_nowait(self._log.event(obj, kind, reason, message, field_path=field_path))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._send(), name="events")

    async def flush(self) -> None:
        """Wait until all that was told has been sent."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _send(self) -> None:
        while not self._queue.empty():
            event = self._queue.get_nowait()
            meta = event["metadata"]
            try:
                if event["count"] == 1:
                    await self._client.create(EVENTS, event, meta["namespace"])
                else:
                    patch = {"count": event["count"], "lastTimestamp": event["lastTimestamp"]}
                    await self._client.patch(EVENTS, meta["name"], patch, meta["namespace"])
            except ApiError:
                continue  # the namespace may be going; an event is not worth a retry
