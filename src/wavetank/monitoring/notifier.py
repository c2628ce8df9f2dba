"""Sends alerts to Alertmanagers.

Mirrors prometheus/notifier: external labels, alert relabelling, every Alertmanager hearing everything by a
queue of its own, and draining at shutdown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus

from wavetank.clock import Clock
from wavetank.monitoring.config.model import AlertmanagerConfig, Config
from wavetank.monitoring.discovery.group import TargetGroup
from wavetank.monitoring.discovery.metrics import DiscoveryMetrics
from wavetank.monitoring.discovery.pool import DiscoveryPool
from wavetank.monitoring.http_client import HTTPClient
from wavetank.monitoring.relabel import Relabeling
from wavetank.monitoring.rfc3339 import format_time
from wavetank.monitoring.rules.alert import ActiveAlert
from wavetank.monitoring.send_loop import Count, SendLoop

__all__ = ["Alertmanager", "Notifier", "alertmanagers", "payload"]


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
    """Who is to hear of alerts, and a queue for each."""

    def __init__(
        self,
        clock: Clock,
        environment: Mapping[str, str],
        external_url: str,
        queue_capacity: int = 10_000,
        count: Count = lambda outcome, url, alerts, seconds: None,
        batch_size: int = 256,
        discovery_metrics: DiscoveryMetrics | None = None,
    ) -> None:
        self.active: dict[str, list[Alertmanager]] = {}
        self.dropped: dict[str, list[Alertmanager]] = {}
        self.capacity = queue_capacity
        self._clock = clock
        self._external_url = external_url
        self._batch_size = batch_size
        self._count = count
        self._config = Config()
        self._relabeling = Relabeling(())
        self._sections: list[Relabeling] = []  # alert_relabel_configs of each section
        self._clients: list[HTTPClient] = []
        self._loops: dict[Alertmanager, SendLoop] = {}
        self._left: dict[str, list[dict[str, Any]]] = {}  # queued before a reload, by URL
        self._ending: set[asyncio.Task[Any]] = set()
        self.discovery = DiscoveryPool(clock, environment, self._on_groups, discovery_metrics, name="notify")

    @property
    def queued(self) -> dict[str, int]:
        """How many alerts wait for each Alertmanager, by URL."""
        return {loop.url: len(loop) for loop in self._loops.values()}

    async def apply(self, config: Config) -> None:
        """Take another configuration. What is queued stays so, for Alertmanagers that are found again."""
        sections = config.alerting.alertmanagers
        loops, self._loops = self._loops, {}
        clients, self._clients = self._clients, [HTTPClient(section, self._clock) for section in sections]
        self._config = config
        self._relabeling = Relabeling(config.alerting.alert_relabel_configs)
        self._sections = [Relabeling(section.alert_relabel_configs) for section in sections]
        self.active, self.dropped = {}, {}
        self._left = {manager.url: await loop.close(drain=False) for manager, loop in loops.items()}
        for client in clients:
            await client.close()
        names = {f"config-{i}": section for i, section in enumerate(sections)}
        self.discovery.apply(names)
        for name in names:
            self.discovery.republish(name)

    def _on_groups(self, name: str, groups: Sequence[TargetGroup]) -> None:
        index = int(name.removeprefix("config-"))
        sections = self._config.alerting.alertmanagers
        if index >= len(sections):
            return
        self.active[name], self.dropped[name] = alertmanagers(index, sections[index], groups)
        wanted = set(self.active[name])
        for manager in [m for m in self._loops if m.config_index == index and m not in wanted]:
            self._end(self._loops.pop(manager))
        for manager in self.active[name]:
            if manager not in self._loops:
                self._loops[manager] = self._begin(manager)

    def _begin(self, manager: Alertmanager) -> SendLoop:
        loop = SendLoop(
            manager.url,
            self._clients[manager.config_index],
            self._clock,
            self._count,
            timeout_seconds=self._config.alerting.alertmanagers[manager.config_index].timeout.seconds,
            capacity=self.capacity,
            batch_size=self._batch_size,
        )
        if left := self._left.pop(manager.url, None):
            loop.add(left)
        return loop

    def _end(self, loop: SendLoop) -> None:
        """An Alertmanager that is gone still gets what was meant for it, if it can."""
        task = asyncio.get_running_loop().create_task(loop.close(drain=True))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def send(self, alerts: Sequence[ActiveAlert], expr: str) -> None:
        """Queue alerts for everybody; without anybody they are dropped and counted."""
        entries = []
        for alert in alerts:
            entry = payload(alert, expr, self._config.globals.external_labels, self._external_url)
            if labels := self._relabeling(entry["labels"]):
                entries.append({**entry, "labels": labels})
        if not self._loops and entries:
            self._count("dropped", "", len(entries), 0.0)
        for manager, loop in self._loops.items():
            relabeling = self._sections[manager.config_index]
            kept = [
                {**entry, "labels": labels} for entry in entries if (labels := relabeling(entry["labels"]))
            ]
            if kept:
                loop.add(kept)

    async def close(self, *, drain: bool = True) -> None:
        """Stop; with ``drain``, send what is queued before, for a moment."""
        await asyncio.gather(*(loop.close(drain=drain) for loop in self._loops.values()), *self._ending)
        self._loops.clear()
        await self.discovery.close()
        for client in self._clients:
            await client.close()
