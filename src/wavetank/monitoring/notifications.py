"""What the server wants every looker to know: a failed reload, that it is starting or ending.

Mirrors util/notifications: a list of active texts, and subscribers who hear every change.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from wavetank.clock import Clock
from wavetank.limits import NOTIFICATION_SUBSCRIBERS_MAX

__all__ = ["CONFIGURATION_FAILED", "SHUTTING_DOWN", "STORAGE_FAILED", "Notification", "Notifications"]

CONFIGURATION_FAILED = "Configuration reload has failed."
SHUTTING_DOWN = "Prometheus is shutting down and gracefully stopping all operations."
STORAGE_FAILED = "Samples cannot be stored: the data directory cannot be written."


@dataclass(frozen=True, slots=True)
class Notification:
    """``date`` is Unix seconds; ``active`` is False where it tells of an end."""

    text: str
    date: float
    active: bool


class Notifications:
    """The active ones, and who listens. Used in the event loop only."""

    def __init__(self, clock: Clock, subscribers_max: int = NOTIFICATION_SUBSCRIBERS_MAX) -> None:
        self._subscribers_max = subscribers_max
        self._clock = clock
        self._active: dict[str, Notification] = {}
        self._subscribers: set[asyncio.Queue[Notification]] = set()

    @property
    def active(self) -> list[Notification]:
        return list(self._active.values())

    def set(self, text: str, active: bool) -> None:
        """Begin or end; a text that is already so changes nothing."""
        if active == (text in self._active):
            return
        found = Notification(text, self._clock.now(), active)
        if active:
            self._active[text] = found
        else:
            del self._active[text]
        for queue in self._subscribers:
            queue.put_nowait(found)

    def subscribe(self) -> asyncio.Queue[Notification] | None:
        """A queue with the active ones and every later change; None where there are too many."""
        if len(self._subscribers) >= self._subscribers_max:
            return None
        queue: asyncio.Queue[Notification] = asyncio.Queue()
        for found in self._active.values():
            queue.put_nowait(found)
        self._subscribers.add(queue)
        return queue

    def unsubscribe(self, queue: asyncio.Queue[Notification]) -> None:
        self._subscribers.discard(queue)
