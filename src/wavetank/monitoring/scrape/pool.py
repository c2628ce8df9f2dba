"""The targets of a job, and of all jobs.

Mirrors scrape/manager.go and scrapePool: new targets start, vanished ones end, and those that stay are not
disturbed, not even by a reload that changes other jobs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from wavetank.clock import Clock
from wavetank.monitoring.config.model import ScrapeConfig
from wavetank.monitoring.discovery.group import TargetGroup
from wavetank.monitoring.http_client import HTTPClient
from wavetank.monitoring.scrape.classic import Switches
from wavetank.monitoring.scrape.loop import Observe, TargetLoop
from wavetank.monitoring.scrape.series import mutator
from wavetank.monitoring.scrape.store import TargetStore
from wavetank.monitoring.scrape.target import Target, TargetSet, make_targets, over_limit
from wavetank.monitoring.tracing import Tracer
from wavetank.tsdb.db import DB

__all__ = ["ScrapePool", "ScrapePools"]

_FAILURE_LOG_BYTES_MAX: Final = 64 << 20
_LOG = logging.getLogger(__name__)


class ScrapePool:
    """One job."""

    def __init__(
        self,
        config: ScrapeConfig,
        db: DB,
        clock: Clock,
        seed: int,
        observe: Observe,
        snap_seconds: float = 0.002,
        storage_failed: Callable[[OSError], None] = lambda error: None,
        tracer: Tracer | None = None,
    ) -> None:
        self._tracer = tracer
        self._snap_seconds = snap_seconds
        self._storage_failed = storage_failed
        self.config = config
        self.loops: dict[Target, TargetLoop] = {}
        self.targets = TargetSet((), (), (), 0)
        self.syncs = 0
        self.sync_seconds = 0.0  # that they took together
        self.reloads = 0
        self.over_limit = 0  # syncs that found more targets than the limit allows
        self.failed_targets = 0  # that relabelling left without what a target needs
        self._db = db
        self._clock = clock
        self._seed = seed
        self._observe = observe
        self._client = HTTPClient(config, clock, tracer=tracer)
        self._retiring: set[asyncio.Task[None]] = set()

    def sync(self, groups: Sequence[TargetGroup]) -> None:
        """Scrape exactly the targets of these groups."""
        began = self._clock.monotonic()
        self._sync(groups)
        self.sync_seconds += self._clock.monotonic() - began

    def _sync(self, groups: Sequence[TargetGroup]) -> None:
        found = make_targets(self.config, groups)
        if found.errors != self.targets.errors:
            for error in found.errors:
                _LOG.error("job %s: creating target: %s", self.config.job_name, error)
            self.failed_targets += len(found.errors)
        self.targets = found
        refuse = over_limit(found.active, self.config.target_limit)
        self.syncs += 1
        self.over_limit += bool(refuse)
        wanted = set(found.active)
        for target in [t for t in self.loops if t not in wanted]:
            self._in_background(self.loops.pop(target).retire())
        for target in found.active:
            if target not in self.loops:
                self._start(target)
            self.loops[target].refuse = refuse

    def _start(self, target: Target, old: TargetStore | None = None) -> None:
        store = TargetStore(
            self._db,
            self.config,
            target.labels,
            mutator(self.config, target.labels),
            Switches(*target.switches),
        )
        if old is not None:
            store.take_over(old)
        loop = TargetLoop(
            target,
            self.config,
            self._client,
            store,
            self._clock,
            seed=self._seed,
            observe=self._observed,
            snap_seconds=self._snap_seconds,
            storage_failed=self._storage_failed,
            tracer=self._tracer,
        )
        self.loops[target] = loop
        loop.start()

    def _observed(self, loop: TargetLoop, at: float, ok: bool) -> None:
        if not ok and self.config.scrape_failure_log_file:
            self._log_failure(loop, at)
        self._observe(loop, at, ok)

    def _log_failure(self, loop: TargetLoop, at: float) -> None:
        path = Path(self.config.scrape_failure_log_file)
        try:
            if path.exists() and path.stat().st_size > _FAILURE_LOG_BYTES_MAX:
                path.unlink()
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{at:.3f} {loop.target.url}: {loop.health.error}\n")
        except OSError as error:
            _LOG.error("cannot write %s: %s", path, error)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def reload(self, config: ScrapeConfig) -> None:
        """Take another configuration for the job; the caller syncs the groups afterwards."""
        self.reloads += 1
        stores = {target.url: loop.store for target, loop in self.loops.items()}
        targets = list(self.loops)
        for loop in self.loops.values():
            await loop.stop()
        await self._client.close()
        self.config, self.loops = config, {}
        self._client = HTTPClient(config, self._clock, tracer=self._tracer)
        for target in targets:
            if target.interval == config.scrape_interval:
                self._start(target, stores.get(target.url))
            else:
                stores[target.url].end(round(self._clock.now() * 1000))

    async def close(self, *, gone: bool = False) -> None:
        """Stop. ``gone`` writes the markers of a job that is no longer configured."""
        for task in list(self._retiring):
            task.cancel()
        for loop in self.loops.values():
            await loop.stop()
            if gone:
                loop.store.end(round(self._clock.now() * 1000))
        self.loops.clear()
        await self._client.close()


class ScrapePools:
    """All jobs, by name."""

    def __init__(
        self,
        db: DB,
        clock: Clock,
        seed: int,
        observe: Observe,
        snap_seconds: float = 0.002,
        storage_failed: Callable[[OSError], None] = lambda error: None,
        tracer: Tracer | None = None,
    ) -> None:
        self._tracer = tracer
        self._snap_seconds = snap_seconds
        self._storage_failed = storage_failed
        self.pools: dict[str, ScrapePool] = {}
        self._db = db
        self._clock = clock
        self._seed = seed
        self._observe = observe

    async def apply(self, configs: Mapping[str, ScrapeConfig]) -> list[str]:
        """Fit the pools to a configuration; returns the jobs whose groups must be handed out again."""
        again = []
        for name in [name for name in self.pools if name not in configs]:
            await self.pools.pop(name).close(gone=True)
        for name, config in configs.items():
            pool = self.pools.get(name)
            if pool is None:
                self.pools[name] = ScrapePool(
                    config,
                    self._db,
                    self._clock,
                    self._seed,
                    self._observe,
                    self._snap_seconds,
                    self._storage_failed,
                    self._tracer,
                )
                again.append(name)
            elif pool.config != config:
                await pool.reload(config)
                again.append(name)
        return again

    def sync(self, job: str, groups: Sequence[TargetGroup]) -> None:
        """Groups of a job changed; those of jobs not (yet) known are ignored."""
        if job in self.pools:
            self.pools[job].sync(groups)

    async def close(self) -> None:
        await asyncio.gather(*(pool.close() for pool in self.pools.values()))
