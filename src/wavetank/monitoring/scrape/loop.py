"""Scraping one target at its times.

Mirrors scrapeLoop of scrape/scrape.go: a phase of its own, timestamps snapped to the ideal tick when they
are close to it (equal distances are what XOR chunks store best), missed ticks skipped, and markers two
intervals after the target went away.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from wavetank.clock import Clock
from wavetank.errors import InputError
from wavetank.limits import SCRAPE_ASIDE_BYTES
from wavetank.monitoring.config.model import ScrapeConfig
from wavetank.monitoring.http_client import HTTPClient
from wavetank.monitoring.scrape.body import BodyTooLarge, ScrapeFailed
from wavetank.monitoring.scrape.fetch import Fetcher
from wavetank.monitoring.scrape.store import Appended, TargetStore
from wavetank.monitoring.scrape.target import Target, first_scrape
from wavetank.monitoring.tracing import Tracer
from wavetank.monitoring.tracing.span import CLIENT

__all__ = ["Observe", "TargetLoop"]

_LOG = logging.getLogger(__name__)
T = TypeVar("T")

# Called after every scrape: the loop, the time, whether it went well.
Observe = Callable[["TargetLoop", float, bool], None]


@dataclass(slots=True)
class _Health:
    state: str = "unknown"
    error: str = ""
    at: float = 0.0
    seconds: float = 0.0


async def _aside(body_bytes: int, work: Callable[..., T], *arguments: Any) -> T:
    """What a scrape has to do for a body: here if that is soon done, or in a thread, so that a target with a
    million series does not hold up the others. The work is over when this returns, even if cancelled."""
    if body_bytes < SCRAPE_ASIDE_BYTES:
        return work(*arguments)
    running = asyncio.get_running_loop().run_in_executor(None, work, *arguments)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


class TargetLoop:
    """A target, how it fares, and the task that scrapes it."""

    def __init__(
        self,
        target: Target,
        config: ScrapeConfig,
        client: HTTPClient,
        store: TargetStore,
        clock: Clock,
        *,
        seed: int = 0,
        refuse: str = "",
        observe: Observe = lambda loop, at, ok: None,
        snap_seconds: float = 0.002,
        storage_failed: Callable[[OSError], None] = lambda error: None,
        tracer: Tracer | None = None,
    ) -> None:
        self._tracer = tracer or Tracer(clock)
        self._storage_failed = storage_failed
        self._snap_seconds = snap_seconds
        self.target = target
        self.config = config
        self.store = store
        self.health = _Health()
        self.refuse = refuse  # why the target must not be scraped: it fails with this text
        self._fetcher = Fetcher(client, target, config)
        self._clock = clock
        self._seed = seed
        self._observe = observe
        self.interval_seconds = 0.0  # between the last two scrapes; 0 before the second
        self._next = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End without markers: the target lives on, in another loop or after a restart."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        self._fetcher.close()

    async def retire(self) -> None:
        """End because the target is gone. Its series end at the tick it would have been scraped at next;
        the markers are written later, lest another server's or job's samples be cut off."""
        await self.stop()
        at, interval = self._next, self.target.interval.seconds
        await self._clock.sleep(at + 1.1 * interval - self._clock.now())
        self.store.end(round(at * 1000))

    async def _run(self) -> None:
        interval = self.target.interval.seconds
        self._next = first_scrape(self.target, self._clock.now(), self._seed)
        while True:
            await self._clock.sleep(self._next - self._clock.now())
            now = self._clock.now()
            tick = self._next
            self._next += max(1, math.floor((now - tick) / interval) + 1) * interval
            at = tick if abs(now - tick) <= min(self._snap_seconds, interval / 100) else now
            try:
                with self._tracer.span("scrape", root=True) as span:
                    await self.scrape(at)
                    if span is not None:
                        span.error = self.health.error
            except Exception:
                _LOG.exception("scraping %s failed in an unforeseen way", self.target.url)

    async def scrape(self, at: float) -> None:
        """Fetch, store and report once, at Unix time ``at``."""
        now_ms = round(at * 1000)
        started = self._clock.monotonic()
        appended, size, error = Appended(), 0, ""
        try:
            if self.refuse:
                raise ScrapeFailed(self.refuse)
            with self._tracer.span("scrapeRequest", {"url": self.target.url}, kind=CLIENT):
                fetched = await self._fetcher.fetch()
            size = len(fetched.body)
            with self._tracer.span("scrapeAppend", {"bytes": size}):
                appended = await _aside(size, self.store.append, fetched.body, fetched.content_type, now_ms)
        except (ScrapeFailed, InputError) as failure:
            error = str(failure)
            size = -1 if isinstance(failure, BodyTooLarge) else size
            self.store.mark_stale(now_ms)
        seconds = self._clock.monotonic() - started
        up = not error
        try:
            report = partial(
                self.store.report,
                now_ms,
                up=up,
                seconds=seconds,
                appended=appended,
                timeout_seconds=self.target.timeout.seconds,
                body_bytes=size,
            )
            await _aside(size, report)
        except OSError as failure:  # the disk is full or broken: the target is well, its samples are lost
            error = error or f"storing the scrape failed: {failure.strerror or failure}"
            self._storage_failed(failure)
        self.interval_seconds = at - self.health.at if self.health.at else 0.0
        self.health = _Health("up" if up else "down", error, at, seconds)
        self._observe(self, at, up)
