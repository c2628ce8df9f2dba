"""Sends alerts to Alertmanagers.

Mirrors prometheus/notifier: external labels, alert relabelling, batches, a bounded queue that drops
its oldest, every Alertmanager hearing everything, and draining at shutdown.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote_plus

import msgspec

from wavetank.clock import Clock
from wavetank.monitoring.config.model import AlertmanagerConfig, Config
from wavetank.monitoring.discovery.group import TargetGroup
from wavetank.monitoring.discovery.metrics import DiscoveryMetrics
from wavetank.monitoring.discovery.pool import DiscoveryPool
from wavetank.monitoring.http_client import FETCH_ERRORS, HTTPClient
from wavetank.monitoring.relabel import Relabeling
from wavetank.monitoring.rfc3339 import format_time
from wavetank.monitoring.rules.alert import ActiveAlert

__all__ = ["Alertmanager", "Notifier", "alertmanagers", "payload"]

_DRAIN_SECONDS: Final = 2.0
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Alertmanager:
    """One instance that alerts go to."""

    url: str
    config_index: int


def alertmanagers(
    index: int, config: AlertmanagerConfig, groups: Sequence[TargetGroup]
) -> tuple[list[Alertmanager], list[Alertmanager]]:
    """The Alertmanagers of one section: those to send to, and those a rule dropped."""
    relabeling = Relabeling(config.relabel_configs)
    active: dict[Alertmanager, None] = {}
    dropped: dict[Alertmanager, None] = {}
    for group in groups:
        for own in group.targets:
            labels = {
                "__scheme__": config.scheme,
                "__alerts_path__": f"/{config.path_prefix.strip('/')}/api/v2/alerts".replace("//", "/"),
                **group.labels,
                **own,
            }
            kept = relabeling(labels)
            shown = kept or labels
            url = f"{shown['__scheme__']}://{shown.get('__address__', '')}{shown['__alerts_path__']}"
            (dropped if kept is None else active)[Alertmanager(url, index)] = None
    return list(active), list(dropped)


def payload(
    alert: ActiveAlert, expr: str, external_labels: Mapping[str, str], external_url: str
) -> dict[str, Any]:
    """An alert in the JSON of Alertmanager's API v2."""
    ends_ms = alert.resolved_at_ms or alert.valid_until_ms
    labels = {**external_labels, **alert.labels.to_dict()}
    return {
        "annotations": {name: text for name, text in alert.annotations.items() if text},
        "endsAt": format_time(ends_ms / 1000),
        "startsAt": format_time((alert.fired_at_ms or alert.active_at_ms) / 1000),
        "generatorURL": f"{external_url}/graph?g0.expr={quote_plus(expr)}&g0.tab=1",
        "labels": labels,
    }


class Notifier:
    """The queue and its sender."""

    def __init__(
        self,
        clock: Clock,
        environment: Mapping[str, str],
        external_url: str,
        queue_capacity: int = 10_000,
        count: Callable[[str, str, int], None] = lambda outcome, url, alerts: None,
        batch_size: int = 256,
        discovery_metrics: DiscoveryMetrics | None = None,
    ) -> None:
        self._batch_size = batch_size
        self.active: dict[str, list[Alertmanager]] = {}
        self.dropped: dict[str, list[Alertmanager]] = {}
        self._clock = clock
        self._external_url = external_url
        self.capacity = queue_capacity
        self._queue: deque[dict[str, Any]] = deque(maxlen=queue_capacity)
        self._count = count
        self._wake = asyncio.Event()
        self._config = Config()
        self._relabeling = Relabeling(())
        self._clients: dict[int, HTTPClient] = {}
        self.discovery = DiscoveryPool(clock, environment, self._on_groups, discovery_metrics, name="notify")
        self._task: asyncio.Task[None] | None = None

    @property
    def queued(self) -> int:
        return len(self._queue)

    async def apply(self, config: Config) -> None:
        """Take another configuration."""
        self._config = config
        self._relabeling = Relabeling(config.alerting.alert_relabel_configs)
        for client in self._clients.values():
            await client.close()
        sections = config.alerting.alertmanagers
        self._clients = {i: HTTPClient(section, self._clock) for i, section in enumerate(sections)}
        self.active, self.dropped = {}, {}
        names = {f"config-{i}": section for i, section in enumerate(sections)}
        self.discovery.apply(names)
        for name in names:
            self.discovery.republish(name)
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    def _on_groups(self, name: str, groups: Sequence[TargetGroup]) -> None:
        index = int(name.removeprefix("config-"))
        sections = self._config.alerting.alertmanagers
        if index < len(sections):
            self.active[name], self.dropped[name] = alertmanagers(index, sections[index], groups)

    def send(self, alerts: Sequence[ActiveAlert], expr: str) -> None:
        """Queue alerts; over capacity the oldest are dropped and counted."""
        for alert in alerts:
            entry = payload(alert, expr, self._config.globals.external_labels, self._external_url)
            labels = self._relabeling(entry["labels"])
            if not labels:
                continue
            entry["labels"] = labels
            if len(self._queue) == self._queue.maxlen:
                self._count("dropped", "", 1)
            self._queue.append(entry)
        self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                await self._send_batch()

    async def _send_batch(self) -> None:
        batch = [self._queue.popleft() for _ in range(min(self._batch_size, len(self._queue)))]
        managers = [manager for found in self.active.values() for manager in found]
        if not managers:
            self._count("dropped", "", len(batch))
            return
        sent = await asyncio.gather(*(self._post(manager, batch) for manager in managers))
        if not any(sent):
            self._count("dropped", "", len(batch))

    async def _post(self, manager: Alertmanager, batch: list[dict[str, Any]]) -> bool:
        section = self._config.alerting.alertmanagers[manager.config_index]
        relabeling = Relabeling(section.alert_relabel_configs)
        entries = [{**entry, "labels": labels} for entry in batch if (labels := relabeling(entry["labels"]))]
        if not entries:
            return True
        try:
            async with self._clients[manager.config_index].request(
                "POST",
                manager.url,
                headers={"Content-Type": "application/json", "User-Agent": "Prometheus/3.14.0"},
                data=msgspec.json.encode(entries),
                timeout_seconds=section.timeout.seconds,
            ) as response:
                if response.status // 100 != 2:
                    raise ValueError(f"bad response status {response.status}")
        except FETCH_ERRORS as error:
            self._count("error", manager.url, len(entries))
            _LOG.error("sending %d alerts to %s: %s", len(entries), manager.url, error)
            return False
        self._count("sent", manager.url, len(entries))
        return True

    async def close(self, *, drain: bool = True) -> None:
        """Stop; with ``drain``, send what is queued before, for a moment."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                while drain and self._queue and any(self.active.values()):
                    await self._send_batch()
        except TimeoutError:
            _LOG.warning("%d alerts could not be sent before the end", len(self._queue))
        await self.discovery.close()
        for client in self._clients.values():
            await client.close()
