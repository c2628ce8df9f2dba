"""The parts of a running server, wired together.

One place that knows them all: what a configuration means for each, in which order they start, change and
end. ``Server`` decides when.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from starlette.routing import BaseRoute

from wavetank.clock import Clock
from wavetank.exposition.registry import Registry
from wavetank.journal import Journal
from wavetank.monitoring.api.app import Application, create_app
from wavetank.monitoring.api.services import Services, Settings
from wavetank.monitoring.api.status import VERSION
from wavetank.monitoring.config import Config, ScrapeConfig, format_duration
from wavetank.monitoring.config.effect import without_effect
from wavetank.monitoring.discovery import DiscoveryPool
from wavetank.monitoring.metrics import ServerMetrics, storage_families
from wavetank.monitoring.notifications import STORAGE_FAILED, Notifications
from wavetank.monitoring.notifier import Notifier
from wavetank.monitoring.options import AgentOptions, ServerOptions
from wavetank.monitoring.own_state import (
    discovery_families,
    notifier_families,
    query_families,
    rule_families,
    scrape_families,
    scrape_limit,
)
from wavetank.monitoring.querying import Queries
from wavetank.monitoring.remote.codec import MetadataEntry
from wavetank.monitoring.remote.queues import Queues
from wavetank.monitoring.remote.read_client import FanOut
from wavetank.monitoring.rules.engine import RuleEngine
from wavetank.monitoring.rules.group import Group
from wavetank.monitoring.rules.load import load_groups
from wavetank.monitoring.scrape.loop import TargetLoop
from wavetank.monitoring.scrape.pool import ScrapePools
from wavetank.monitoring.storage_options import storage_options
from wavetank.monitoring.tracing import Tracer
from wavetank.monitoring.tracing.section import Tracing
from wavetank.tsdb.db import DB

_UPKEEP_SECONDS: Final = 60.0
_REPLAY_LOOK_SECONDS: Final = 0.1
_REPLAY_SAY_SECONDS: Final = 5.0
_LOG = logging.getLogger(__name__)

__all__ = ["Parts", "ServerState"]


class ServerState:
    """How the server stands; the API reads it. Times are Unix seconds."""

    def __init__(self, config: Config, now: float) -> None:
        self.config = config
        self.ready = False
        self.reload_ok = True
        self.reloaded_at = now
        self.started_at = now


class Parts:
    """Discovery, scraping, rules, alerts, queries and the application."""

    def __init__(
        self,
        options: ServerOptions,
        config: Config,
        db: DB,
        clock: Clock,
        *,
        external_url: str,
        loopback_only: bool,
        reload: Callable[[], Awaitable[None]],
        quit: Callable[[], None],
        journal: Journal | None = None,
        pages: Callable[[Services], Sequence[BaseRoute]] | None = None,
    ) -> None:
        self.state = ServerState(config, clock.now())
        self.notifications = Notifications(clock, options.notification_subscribers_max)
        self._options = options
        self._db = db
        self._clock = clock
        self._groups: dict[str, Group] = {}
        self._waiting: asyncio.Task[None] | None = None
        self._journal = journal
        self._seen: set[str] = set()
        self._stuck = False  # whether the last commit failed
        self._rule_options = replace(options.rules, external_url=external_url)
        registry = Registry()
        self.metrics = metrics = ServerMetrics(registry, clock, VERSION)
        tracer = Tracer(clock)
        self._tracing = Tracing(tracer, clock, VERSION, lambda outcome, n: metrics.spans.inc(n, outcome))
        engine = replace(options.engine, subquery_step_ms=int(config.globals.evaluation_interval))
        self._storage = FanOut(db, clock, tracer)
        self._queries = Queries(
            self._storage,
            clock,
            engine,
            concurrency=options.query_concurrency,
            threads=options.query_threads,
            idle=self._storage.is_idle,
            tracer=tracer,
        )
        self._queries.observe = metrics.queried
        self._notifier = Notifier(
            clock,
            options.environment,
            external_url,
            options.notification_queue_capacity,
            metrics.notified,
            options.notification_batch_size,
            metrics.discovery,
        )
        self._pools = ScrapePools(
            db, clock, _seed(config), self._scraped, options.snap_seconds, self._storage_failed, tracer
        )
        self._discovery = DiscoveryPool(
            clock,
            options.environment,
            self._pools.sync,
            metrics.discovery,
            gather_seconds=options.gather_seconds,
        )
        self._rules = RuleEngine(
            db,
            clock,
            self._queries.vector,
            self._queries.executor,
            self._notifier.send,
            self._rule_options,
            self._evaluated,
            self._storage_failed,
            tracer,
        )
        services = Services(
            db=db,
            clock=clock,
            queries=self._queries,
            pools=self._pools,
            rules=self._rules,
            notifier=self._notifier,
            registry=registry,
            settings=_settings(options, external_url, loopback_only),
            state=self.state,
            reload=reload,
            quit=quit,
            notifications=self.notifications,
            written=lambda samples, size: metrics.samples_received.inc(samples),
        )
        self._remote_write = Queues(
            db.path,
            clock,
            self._known_metadata,
            options.remote.flush_seconds,
            tracer,
            lambda: db.store.head.maxt_ms,
        )
        registry.collector(self._remote_write.families)
        self.app: Application = create_app(services, pages(services) if pages is not None else ())
        for collect in (
            lambda: storage_families(db),
            lambda: scrape_families(self._pools),
            lambda: rule_families(self._rules.groups.values()),
            lambda: notifier_families(self._notifier),
            lambda: discovery_families({"scrape": self._discovery, "notify": self._notifier.discovery}),
            lambda: query_families(self._queries),
        ):
            registry.collector(collect)
        self._upkeep = asyncio.create_task(self._keep_up(db))

    def load_groups(self, config: Config, *, restored: bool) -> dict[str, Group]:
        """The rule groups of a configuration. Raises InputError; nothing changes."""
        return load_groups(config, self._rule_options, restored=restored)

    async def apply(self, config: Config, groups: dict[str, Group]) -> None:
        """Put a configuration to work."""
        self.state.config = config
        self.state.reloaded_at = self._clock.now()
        self.metrics.reload_ok.set(1)
        self.metrics.reload_at.set(self.state.reloaded_at)
        self._queries.log_file = config.globals.query_log_file
        for line in without_effect(config):
            _LOG.warning("without effect: %s", line)
        storage = storage_options(self._options.storage, config)
        self._db.reconfigure(storage)
        self._db.store.options = replace(
            self._db.store.options, out_of_order_window_ms=storage.out_of_order_window_ms
        )
        await self._tracing.apply(config.tracing)
        await self._storage.apply(config)
        await self._remote_write.apply(config)
        jobs = self._jobs(config)
        again = await self._pools.apply(jobs)
        self._discovery.apply(jobs)
        for name in again:
            self._discovery.republish(name)
        await self._notifier.apply(config)
        self._groups = groups
        if self._db.is_whole:
            await self._rules.apply(groups)
        elif self._waiting is None:
            self._waiting = asyncio.create_task(self._when_whole())

    def set_ready(self) -> None:
        """The server is at work."""
        self.state.ready = True
        self.metrics.ready.set(1)

    async def _when_whole(self) -> None:
        """Rules look at the past: they begin once replay has brought it back."""
        said = self._clock.monotonic()
        while not self._db.is_whole:
            await self._clock.sleep(_REPLAY_LOOK_SECONDS)
            if self._clock.monotonic() - said >= _REPLAY_SAY_SECONDS:
                said = self._clock.monotonic()
                status = self._db.replay_status
                _LOG.info("replaying the head: %s, %d %%", status.phase, int(status.fraction * 100))
        found = self._db.replays
        _LOG.info(
            "the head is whole: %d series and %d samples replayed in %.1f s",
            sum(r.series for r in found),
            sum(r.samples for r in found),
            self._db.replay_status.seconds,
        )
        for damage in [d for report in found for d in report.damage]:
            _LOG.warning("the log is damaged: %s", damage)
        await self._rules.apply(self._groups)

    async def _keep_up(self, db: DB) -> None:
        """Compact and apply retention, as often as upstream looks."""
        while True:
            await self._clock.sleep(_UPKEEP_SECONDS)
            if self._options.agent is not None and not self._may_truncate(db, self._options.agent):
                continue
            try:
                await asyncio.to_thread(db.compact)
            except Exception:
                self.metrics.compactions_failed.inc()
                _LOG.exception("compaction failed; it is tried again")

    def _may_truncate(self, db: DB, agent: AgentOptions) -> bool:
        """Whether the log may forget its older part: all of it was sent, or it became too long."""
        span_ms = db.store.head.maxt_ms - db.store.head.mint_ms
        if span_ms < agent.min_ms:
            return False
        return span_ms > agent.max_ms or all(sender.caught_up for sender in self._remote_write.senders)

    def _jobs(self, config: Config) -> Mapping[str, ScrapeConfig]:
        jobs = {scrape.job_name: scrape for scrape in config.scrape_configs}
        return jobs | {scrape.job_name: scrape for scrape in self._options.extra_scrape_configs}

    def _known_metadata(self) -> dict[str, MetadataEntry]:
        """What targets say of their metrics; of two that differ, the last."""
        return {
            name: MetadataEntry(entry.type, entry.help, entry.unit)
            for pool in self._pools.pools.values()
            for loop in pool.loops.values()
            for name, entry in loop.store.metadata.items()
        }

    def _scraped(self, loop: TargetLoop, at: float, ok: bool) -> None:
        """Count a scrape, and note a target's first good one: that is a step of a scale-up's lag."""
        if self._stuck and not loop.health.error:
            self._stuck = False
            _LOG.info("samples are stored again")
            self.notifications.set(STORAGE_FAILED, False)
        job = loop.config.job_name
        self.metrics.scrape_seconds.observe(loop.health.seconds, job)
        if loop.interval_seconds:
            self.metrics.interval_seconds.observe(
                loop.interval_seconds, format_duration(loop.target.interval)
            )
        if not ok:
            self.metrics.scrape_failures.inc(1, job)
            if (limit := scrape_limit(loop.health.error)) is not None:
                self.metrics.limits[limit].inc()
        elif self._journal is not None and loop.target.url not in self._seen:
            self._seen.add(loop.target.url)
            self._journal.record(
                "scrape.first", job=job, url=loop.target.url, labels=loop.target.labels.to_dict()
            )

    def _storage_failed(self, error: OSError) -> None:
        """A commit failed: say so once, to the log and to whoever looks; the rest of the server goes on."""
        self.metrics.commits_failed.inc()
        if not self._stuck:
            self._stuck = True
            _LOG.error("samples cannot be stored: %s", error)
            self.notifications.set(STORAGE_FAILED, True)

    def _evaluated(self, group: Group, seconds: float) -> None:
        self.metrics.rule_seconds.observe(seconds)
        for rule in group.rules:
            self.metrics.rule_evaluation_seconds.observe(rule.duration_seconds)

    async def close(self) -> None:
        """End everything, in the order in which work flows."""
        self._upkeep.cancel()
        if self._waiting is not None:
            self._waiting.cancel()
            await asyncio.gather(self._waiting, return_exceptions=True)
        await self._discovery.close()
        await asyncio.gather(self._pools.close(), self._rules.close())
        await self._notifier.close(drain=self._options.drain_alerts)
        await self._remote_write.close()
        await self._tracing.close()
        self._queries.close()
        await self._storage.close()


def _settings(options: ServerOptions, external_url: str, loopback_only: bool) -> Settings:
    """What the API needs to know of the flags."""
    return Settings(
        flags=options.flags,
        external_url=external_url,
        enable_lifecycle=options.enable_lifecycle,
        enable_admin_api=options.enable_admin_api,
        enable_remote_write_receiver=options.enable_remote_write_receiver,
        enable_otlp_receiver=options.enable_otlp_receiver,
        otlp_deltas=options.otlp_deltas,
        enable_search=options.enable_search,
        search_limit_max=options.search_limit_max,
        agent=options.agent is not None,
        retention=format_duration(options.storage.retention_ms),
        loopback_only=loopback_only,
        accepted_messages=options.remote.accepted_messages,
        read_sample_limit=options.remote.read_sample_limit,
        read_concurrent_limit=options.remote.read_concurrent_limit,
        read_frame_bytes=options.remote.read_frame_bytes,
        page_title=options.web.page_title,
        route_prefix=_route_prefix(options, external_url),
        cors_origin=options.web.cors_origin,
        user_assets=options.web.user_assets,
        console_templates=options.web.console_templates,
        console_libraries=options.web.console_libraries,
    )


def _route_prefix(options: ServerOptions, external_url: str) -> str:
    """The path all routes are below, without a slash at its end."""
    given = options.web.route_prefix
    path = urlsplit(external_url).path if given is None else given
    return "/" + path.strip("/") if path.strip("/") else ""


def _seed(config: Config) -> int:
    """Differs between servers: by host and external labels, as upstream's offset seed."""
    text = f"{socket.gethostname()}{sorted(config.globals.external_labels.items())}"
    return int.from_bytes(hashlib.md5(text.encode(), usedforsecurity=False).digest()[:8], "big")
