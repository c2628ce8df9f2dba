"""From a flushed group to its receiver: who is muted, what is new, until it is delivered.

Mirrors the stages of notify/notify.go: inhibition, active and mute time intervals, silences, then for each
integration of the receiver deduplication, delivery with back-off, and the note in the log. Integrations do
not wait for each other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from wavetank.alerting.alert import Alert
from wavetank.alerting.data import Data
from wavetank.alerting.dispatch import Flush
from wavetank.alerting.inhibit import Inhibitor
from wavetank.alerting.intervals import Interval, names_containing
from wavetank.alerting.metrics import AlertmanagerMetrics
from wavetank.alerting.nflog import FIRST_NOTIFICATION, NotificationLog, Standing, reason_to_notify
from wavetank.alerting.receivers.build import Integration
from wavetank.alerting.receivers.notification import Notification, NotifyError
from wavetank.alerting.silences import Silences
from wavetank.alerting.templates import Templates
from wavetank.clock import Clock

__all__ = ["Pipeline"]

_LOG = logging.getLogger(__name__)
_BACKOFF_START: Final = 0.5
_BACKOFF_FACTOR: Final = 1.5
_BACKOFF_MAX: Final = 60.0
_BACKOFF_SPREAD: Final = 0.5


@dataclass(frozen=True, slots=True)
class Pipeline:
    """All that a notification passes through, of one configuration."""

    clock: Clock
    inhibitor: Inhibitor
    silences: Silences
    intervals: Mapping[str, Sequence[Interval]]
    log: NotificationLog
    templates: Templates
    integrations: Mapping[str, Sequence[Integration]]
    metrics: AlertmanagerMetrics
    external_url: str

    async def tell(self, flush: Flush) -> bool:
        """Deliver a flush; whether every integration that had to be told was told."""
        alerts = self._heard(flush)
        if not alerts:
            return True
        integrations = self.integrations.get(flush.group.route.receiver, ())
        told = await asyncio.gather(*(self._integration(i, flush, alerts) for i in integrations))
        return all(told)

    def _heard(self, flush: Flush) -> list[Alert]:
        """The alerts that are not muted."""
        route = flush.group.route
        alerts = [a for a in flush.alerts if not self.inhibitor.muted_by(a.labels, flush.now)]
        self._suppressed("inhibition", len(flush.alerts) - len(alerts))
        flush.group.muted_by = []
        if route.active_intervals and not names_containing(route.active_intervals, self.intervals, flush.now):
            flush.group.muted_by = list(route.active_intervals)
            self._suppressed("active_time_interval", len(alerts))
            return []
        if muting := names_containing(route.mute_intervals, self.intervals, flush.now):
            flush.group.muted_by = muting
            self._suppressed("mute_time_interval", len(alerts))
            return []
        heard = [alert for alert in alerts if not self.silences.muting(alert.labels)]
        self._suppressed("silence", len(alerts) - len(heard))
        return heard

    def _suppressed(self, reason: str, alerts: int) -> None:
        if alerts:
            self.metrics.suppressed.inc(alerts, reason)

    async def _integration(self, integration: Integration, flush: Flush, alerts: list[Alert]) -> bool:
        route = flush.group.route
        standing = Standing(
            frozenset(a.id for a in alerts if not a.resolved(flush.now)),
            frozenset(a.id for a in alerts if a.resolved(flush.now)),
        )
        key = f"{flush.group.key}:{route.receiver}/{integration.name}/{integration.index}"
        entry = self.log.query(key, flush.now)
        reason = reason_to_notify(
            entry,
            standing,
            send_resolved=integration.send_resolved,
            repeat_seconds=route.repeat_interval,
            at=flush.now,
        )
        if reason is None:
            return True
        told = alerts if integration.send_resolved else [a for a in alerts if not a.resolved(flush.now)]
        # What an integration noted holds for one life of the group.
        begins = entry is None or reason == FIRST_NOTIFICATION
        data = {} if begins or entry is None else dict(entry.data)
        if told and not await self._deliver(integration, flush, told, reason, data):
            return False
        try:
            self.log.record(key, standing, flush.now, route.repeat_interval, data)
        except OSError as error:
            # It still holds in memory: at worst a restart tells the same again.
            self.metrics.nflog_errors.inc()
            _LOG.error("the notification log cannot be written: %s", error.strerror or error)
        return True

    async def _deliver(
        self,
        integration: Integration,
        flush: Flush,
        alerts: list[Alert],
        reason: str,
        remembered: dict[str, str],
    ) -> bool:
        """Try until it is delivered, cannot be, or takes longer than the group's interval."""
        group, name = flush.group, integration.name
        labels = (name, group.route.receiver)
        data = Data(
            group.route.receiver, alerts, group.labels, group.route.labels, reason, self.external_url,
            flush.now,
        )  # fmt: skip
        self.templates.expand(data)
        notification = Notification(group.key, tuple(alerts), data, self.templates, flush.now, remembered)
        deadline = self.clock.monotonic() + flush.seconds
        pause, attempts = _BACKOFF_START, 0
        self.metrics.notifications.inc(1, *labels)
        while True:
            attempts += 1
            error = await self._attempt(integration, notification, deadline, labels)
            if error is None:
                if attempts > 1:
                    _LOG.info("%s/%s: notified after %d attempts", *reversed(labels), attempts)
                return True
            spread = self.clock.random("notify").uniform(1 - _BACKOFF_SPREAD, 1 + _BACKOFF_SPREAD)
            wait = pause * spread
            if not error.retry or self.clock.monotonic() + wait >= deadline:
                self.metrics.notifications_failed.inc(1, *labels, error.reason)
                _LOG.error(
                    "%s/%s[%d]: notify failed after %d attempts: %s",
                    group.route.receiver, name, integration.index, attempts, error,
                )  # fmt: skip
                return False
            if attempts == 1:
                _LOG.warning("%s/%s: notify attempt failed, will retry: %s", *reversed(labels), error)
            await self.clock.sleep(wait)
            pause = min(pause * _BACKOFF_FACTOR, _BACKOFF_MAX)

    async def _attempt(
        self, integration: Integration, notification: Notification, deadline: float, labels: tuple[str, str]
    ) -> NotifyError | None:
        start = self.clock.monotonic()
        self.metrics.requests.inc(1, *labels)
        failed: NotifyError | None = None
        try:
            await integration.notify(notification, max(deadline - start, 1.0))
        except NotifyError as error:
            failed = error
        except Exception as error:
            _LOG.exception("a fault of ours in receiver %s", integration.name)
            failed = NotifyError(f"{type(error).__name__}: {error}", retry=False)
        self.metrics.latency.observe(self.clock.monotonic() - start, *labels)
        if failed is not None:
            self.metrics.requests_failed.inc(1, *labels)
        return failed
