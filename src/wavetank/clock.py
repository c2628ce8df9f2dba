"""Time as an argument: the only module that asks the time, sleeps, or draws random numbers.

Every control loop is a pure step that is handed ``now``; the shells around the steps are driven by a
``Clock``. ``RealClock`` is this machine's. ``VirtualClock`` stands still until it is advanced, and then
jumps from one due event to the next, as trio's ``MockClock`` does, so that a day takes a second and two
runs with one seed are equal. Random numbers come from named streams: a stream's draws depend on the seed
and its name only, never on who else draws.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import random
import time
from collections.abc import Callable
from typing import Protocol

__all__ = ["Clock", "RealClock", "VirtualClock", "cpu_seconds", "next_turn", "pause", "thread_cpu_seconds"]


class Clock(Protocol):
    """What a shell may ask of time. ``now`` is Unix seconds; ``monotonic`` never goes backwards."""

    seed: int

    def now(self) -> float: ...

    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...

    def random(self, stream: str) -> random.Random: ...


class _Seeded:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._streams: dict[str, random.Random] = {}

    def random(self, stream: str) -> random.Random:
        """The generator of that name; the same object at every call."""
        found = self._streams.get(stream)
        if found is None:
            digest = hashlib.sha256(f"{self.seed}/{stream}".encode()).digest()
            found = self._streams[stream] = random.Random(digest)
        return found


class RealClock(_Seeded):
    """This machine's clock."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


class VirtualClock(_Seeded):
    """A clock that moves only when told to.

    ``call_at`` registers plain callbacks (simulation); ``sleep`` suspends coroutines (tests of shells).
    Events due at the same instant run in the order in which they were registered.
    """

    def __init__(self, start: float = 0.0, seed: int = 0) -> None:
        super().__init__(seed)
        self._start = start
        self._now = start
        self._order = 0
        self._due: list[tuple[float, int, Callable[[], None]]] = []

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now - self._start

    def call_at(self, when: float, callback: Callable[[], None]) -> None:
        """Run ``callback`` when the clock reaches ``when``; a time in the past means the next advance."""
        self._order += 1
        heapq.heappush(self._due, (max(when, self._now), self._order, callback))

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.call_at(self._now + seconds, lambda: None if future.done() else future.set_result(None))
        await future

    def next_due(self) -> float | None:
        """When the next event is due; None if there is none."""
        return self._due[0][0] if self._due else None

    def run_until(self, end: float) -> None:
        """Run all callbacks due up to and including ``end``, then stand at ``end``."""
        while self._due and self._due[0][0] <= end:
            when, _, callback = heapq.heappop(self._due)
            self._now = when
            callback()
        self._now = max(self._now, end)

    async def advance(self, seconds: float) -> None:
        """As ``run_until``, letting woken coroutines run between events."""
        end = self._now + seconds
        await _settle()
        while self._due and self._due[0][0] <= end:
            when, _, callback = heapq.heappop(self._due)
            self._now = when
            callback()
            await _settle()
        self._now = end
        await _settle()


async def _settle() -> None:
    """Let every runnable coroutine go as far as it can without time passing."""
    for _ in range(20):
        await asyncio.sleep(0)


async def next_turn() -> None:
    """Let everything else that is ready run first; no time passes."""
    await asyncio.sleep(0)


def pause(seconds: float) -> None:
    """Block this thread: for supervisors that run without an event loop."""
    time.sleep(max(0.0, seconds))


def cpu_seconds() -> float:
    """CPU time this process has used, in seconds."""
    return time.process_time()


def thread_cpu_seconds() -> float:
    """CPU time the calling thread has used, in seconds."""
    return time.thread_time()
