"""A running Alertmanager without its HTTP side: configuration, alerts, groups, upkeep.

Mirrors cmd/alertmanager. A reload is atomic: what a new configuration needs is built first, and a bad one
leaves the old one in force. Groups start anew with a configuration; the notification log keeps them from
telling twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from wavetank.alerting.alert import Alert
from wavetank.alerting.config import AlertmanagerConfig, load_config, show_config
from wavetank.alerting.data import Data
from wavetank.alerting.dispatch import Dispatcher, Flush, Group
from wavetank.alerting.inhibit import Inhibitor
from wavetank.alerting.intervals import compile_interval
from wavetank.alerting.metrics import AlertmanagerMetrics
from wavetank.alerting.nflog import NotificationLog
from wavetank.alerting.pipeline import Pipeline
from wavetank.alerting.receivers.build import build_integrations
from wavetank.alerting.route import Route, build_route
from wavetank.alerting.silences import Silences
from wavetank.alerting.store import AlertStore
from wavetank.alerting.templates import Templates
from wavetank.clock import Clock
from wavetank.errors import InputError
from wavetank.exposition.process import process_families
from wavetank.exposition.registry import Registry
from wavetank.exposition.render import MetricFamily, Sample

__all__ = ["AlertStatus", "Alertmanager", "AlertmanagerOptions"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AlertmanagerOptions:
    """Upstream's flags; durations in seconds."""

    retention_seconds: float = 120 * 3600.0
    maintenance_seconds: float = 15 * 60.0
    gc_seconds: float = 30 * 60.0
    dispatch_maintenance_seconds: float = 30.0
    start_delay_seconds: float = 0.0
    silences_max: int = 0
    silence_bytes_max: int = 0
    per_name_max: int = 0
    external_url: str = "http://localhost:9093"


@dataclass(frozen=True, slots=True)
class AlertStatus:
    """What mutes an alert, as the API shows it."""

    silenced_by: list[str]
    inhibited_by: list[str]

    @property
    def state(self) -> str:
        return "suppressed" if self.silenced_by or self.inhibited_by else "active"


class Alertmanager:
    """``start`` it, ``put`` alerts, ``close`` it. All methods belong to one event loop."""

    def __init__(
        self,
        config: Path | AlertmanagerConfig,
        storage: Path,
        clock: Clock,
        options: AlertmanagerOptions | None = None,
    ) -> None:
        """Raises InputError for a configuration or a directory that cannot be used."""
        self.options = options or AlertmanagerOptions()
        self.clock = clock
        self.registry = Registry()
        self.metrics = AlertmanagerMetrics(self.registry)
        self.started_at = clock.now()
        self.store = AlertStore(self.options.per_name_max)
        self._source = config
        self._wake = asyncio.Event()
        self._flushes: set[asyncio.Task[None]] = set()
        self._loops: list[asyncio.Task[None]] = []
        opts = self.options
        try:
            storage.mkdir(parents=True, exist_ok=True)
            self.silences = Silences(
                storage / "silences.log",
                clock,
                opts.retention_seconds,
                count_max=opts.silences_max,
                bytes_max=opts.silence_bytes_max,
            )
            self.log = NotificationLog(storage / "nflog.log", opts.retention_seconds)
        except OSError as error:
            raise InputError(
                f"cannot use the storage path: {error.strerror or error}",
                at=storage,
                fix="see --storage.path",
            ) from None
        for part in (self.silences, self.log):
            if part.damaged:
                _LOG.warning("%d damaged records of %s are left out", part.damaged, type(part).__name__)
        self._starts_at = clock.monotonic() + opts.start_delay_seconds
        self._use(self._load())
        self.registry.collector(self._families)
        self.registry.collector(process_families)

    def _load(self) -> AlertmanagerConfig:
        return load_config(self._source) if isinstance(self._source, Path) else self._source

    def _use(self, config: AlertmanagerConfig) -> None:
        """Build all that a configuration needs, then change over to it. Raises InputError."""
        assert config.route is not None
        templates = Templates(self.clock, config.templates)
        groups = [*config.mute_time_intervals, *config.time_intervals]
        intervals = {g.name: tuple(compile_interval(i) for i in g.time_intervals) for g in groups}
        inhibitor = Inhibitor(config.inhibit_rules, self.store.all())
        integrations = {r.name: build_integrations(r, self.clock) for r in config.receivers}
        self.config = config
        self.route: Route = build_route(config.route)
        self.pipeline = Pipeline(
            clock=self.clock,
            inhibitor=inhibitor,
            silences=self.silences,
            intervals=intervals,
            log=self.log,
            templates=templates,
            integrations=integrations,
            metrics=self.metrics,
            external_url=self.options.external_url,
        )
        self.store.changed = [inhibitor.seen, self._dispatch]
        self.dispatcher = Dispatcher(
            self.route,
            starts_at=self._starts_at,
            maintenance_seconds=self.options.dispatch_maintenance_seconds,
        )
        self.store.dropped = [inhibitor.forget, self.dispatcher.forget]
        self._dispatch(self.store.all())
        for name, found in integrations.items():
            for integration in found:
                self.metrics.announce(name, integration.name)
        digest = hashlib.md5(show_config(config).encode(), usedforsecurity=False).digest()
        self.metrics.config_hash.set(int.from_bytes(digest[:6], "little"))
        self.metrics.reload_ok.set(1)
        self.metrics.reload_at.set(self.clock.now())

    async def reload(self) -> None:
        """Read the configuration again. Raises InputError, and the old one stays."""
        old = self.pipeline
        try:
            self._use(self._load())
        except InputError:
            self.metrics.reload_ok.set(0)
            raise
        # Deliveries under way end by themselves; their connections are closed when they have.
        closing = asyncio.create_task(self._retire(old, set(self._flushes)))
        self._flushes.add(closing)
        closing.add_done_callback(self._flushes.discard)
        self._wake.set()
        _LOG.info("configuration loaded")

    async def _retire(self, pipeline: Pipeline, under_way: set[asyncio.Task[None]]) -> None:
        if under_way:
            await asyncio.wait(under_way)
        await _close(pipeline)

    def put(self, alerts: Iterable[Alert]) -> int:
        """Take alerts in; the number for which there was no room."""
        start = self.clock.monotonic()
        refused = self.store.put(alerts, self.clock.now())
        self.metrics.processing.observe(self.clock.monotonic() - start)
        self._wake.set()
        return refused

    def _dispatch(self, alerts: Sequence[Alert]) -> None:
        now, monotonic = self.clock.now(), self.clock.monotonic()
        for alert in alerts:
            self.dispatcher.insert(alert, now, monotonic)

    def status(self, alert: Alert) -> AlertStatus:
        """What mutes an alert now."""
        inhibited = self.pipeline.inhibitor.muted_by(alert.labels, self.clock.now())
        return AlertStatus(self.silences.muting(alert.labels), inhibited)

    def route_labels(self, group: Group) -> dict[str, str]:
        """The labels of a group's route, rendered for its alerts as they are now."""
        if not group.route.labels:
            return {}
        alerts, url = list(group.alerts.values()), self.options.external_url
        labels = group.route.labels
        data = Data(group.route.receiver, alerts, group.labels, labels, "", url, self.clock.now())
        self.pipeline.templates.expand(data)
        return dict(data.route_labels)

    def start(self) -> None:
        """Begin to notify."""
        self._loops = [asyncio.create_task(self._run()), asyncio.create_task(self._keep_up())]

    async def _run(self) -> None:
        while True:
            for flush in self.dispatcher.step(self.clock.now(), self.clock.monotonic()):
                task = asyncio.create_task(self._flush(self.dispatcher, flush))
                self._flushes.add(task)
                task.add_done_callback(self._flushes.discard)
            due = self.dispatcher.next_due()
            self._wake.clear()
            waiting: list[asyncio.Task[Any]] = [asyncio.create_task(self._wake.wait())]
            if due is not None:
                pause = self.clock.sleep(due - self.clock.monotonic())
                waiting.append(asyncio.create_task(_until(pause)))
            try:
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in waiting:
                    task.cancel()

    async def _flush(self, dispatcher: Dispatcher, flush: Flush) -> None:
        told = False
        try:
            told = await self.pipeline.tell(flush)
        except Exception:
            _LOG.exception("a fault of ours while notifying group %s", flush.group.key)
        finally:
            dispatcher.done(flush, told=told)
            self._wake.set()

    async def _keep_up(self) -> None:
        """Garbage collection of alerts, silences and the log."""
        opts = self.options
        next_gc = self.clock.monotonic() + opts.gc_seconds
        next_upkeep = self.clock.monotonic() + opts.maintenance_seconds
        while True:
            await self.clock.sleep(max(min(next_gc, next_upkeep) - self.clock.monotonic(), 0.01))
            now = self.clock.monotonic()
            if now >= next_gc:
                next_gc = now + opts.gc_seconds
                self.store.collect(self.clock.now())
            if now >= next_upkeep:
                next_upkeep = now + opts.maintenance_seconds
                self.collect()

    def collect(self) -> None:
        """Drop what has expired, and write what is left; a disk that refuses is reported."""
        self.metrics.silences_runs.inc()
        self.metrics.nflog_runs.inc()
        for part, collect, errors in (
            ("silences", self.silences.collect, self.metrics.silences_errors),
            ("the notification log", lambda: self.log.collect(self.clock.now()), self.metrics.nflog_errors),
        ):
            try:
                collect()
            except OSError as error:
                errors.inc()
                _LOG.error("%s cannot be written: %s", part, error.strerror or error)

    async def close(self) -> None:
        """End deliveries and upkeep; what is on disk is whole."""
        tasks = [*self._loops, *self._flushes]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await _close(self.pipeline)
        with contextlib.suppress(OSError):
            self.log.snapshot()
        self.log.close()
        self.silences.close()

    def _families(self) -> Iterable[MetricFamily]:
        now = self.clock.now()
        states = {"active": 0, "suppressed": 0, "unprocessed": 0}
        for alert in self.store.all():
            if not alert.resolved(now):
                states[self.status(alert).state] += 1
        yield _gauge("alertmanager_alerts", [({"state": name}, value) for name, value in states.items()])
        silences = {name: self.silences.count(name) for name in ("active", "expired", "pending")}
        yield _gauge("alertmanager_silences", [({"state": name}, n) for name, n in silences.items()])
        single = (
            ("alertmanager_dispatcher_aggregation_groups", len(self.dispatcher.groups)),
            ("alertmanager_receivers", len(self.config.receivers)),
            ("alertmanager_integrations", sum(map(len, self.pipeline.integrations.values()))),
            ("alertmanager_inhibition_rules", len(self.pipeline.inhibitor)),
            ("alertmanager_cluster_enabled", 0),
            ("alertmanager_silences_snapshot_size_bytes", self.silences.size),
            ("alertmanager_nflog_snapshot_size_bytes", self.log.size),
        )
        for name, value in single:
            yield _gauge(name, [({}, value)])
        limits = (
            ("alertmanager_alerts_limited_total", self.store.limited),
            ("alertmanager_dispatcher_aggregation_group_limit_reached_total", self.dispatcher.refused),
        )
        for name, value in limits:
            yield MetricFamily(name, "counter", _HELP[name], samples=[Sample(name, {}, float(value))])


async def _until(pause: Awaitable[None]) -> None:
    await pause


_HELP: Final = {
    "alertmanager_alerts": "How many alerts by state.",
    "alertmanager_alerts_limited_total": "Alerts that were refused for want of room.",
    "alertmanager_cluster_enabled": "Whether clustering is enabled: never.",
    "alertmanager_dispatcher_aggregation_group_limit_reached_total": "Alerts that needed a group too many.",
    "alertmanager_dispatcher_aggregation_groups": "Number of active aggregation groups.",
    "alertmanager_inhibition_rules": "Number of configured inhibition rules.",
    "alertmanager_integrations": "Number of configured integrations.",
    "alertmanager_nflog_snapshot_size_bytes": "Size of the notification log on disk.",
    "alertmanager_receivers": "Number of configured receivers.",
    "alertmanager_silences": "How many silences by state.",
    "alertmanager_silences_snapshot_size_bytes": "Size of the silences on disk.",
}


def _gauge(name: str, values: Iterable[tuple[dict[str, str], float]]) -> MetricFamily:
    return MetricFamily(
        name, "gauge", _HELP[name], samples=[Sample(name, labels, float(v)) for labels, v in values]
    )


async def _close(pipeline: Pipeline) -> None:
    for integrations in pipeline.integrations.values():
        for integration in integrations:
            await integration.close()
