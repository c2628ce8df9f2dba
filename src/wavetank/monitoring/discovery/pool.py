"""Runs all discoverers of a configuration and hands out each job's current groups.

Mirrors discovery/manager.go. Changes of one job that come close together are handed out once; upstream
waits five seconds for that, we a tenth of one, since a rehearsal scales within seconds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from wavetank.clock import Clock
from wavetank.monitoring.config.discovery import SDConfigs
from wavetank.monitoring.discovery.consul import ConsulDiscovery
from wavetank.monitoring.discovery.dns import DNSDiscovery
from wavetank.monitoring.discovery.files import FileDiscovery, StaticDiscovery
from wavetank.monitoring.discovery.group import Discoverer, TargetGroup
from wavetank.monitoring.discovery.http_sd import HTTPDiscovery
from wavetank.monitoring.discovery.kubernetes import KubernetesDiscovery
from wavetank.monitoring.discovery.metrics import DiscoveryMetrics

__all__ = ["DiscoveryPool", "discoverers"]

_RESTART_SECONDS: Final = 5.0
_LOG = logging.getLogger(__name__)

OnGroups = Callable[[str, Sequence[TargetGroup]], None]


def discoverers(
    config: SDConfigs, clock: Clock, metrics: DiscoveryMetrics, environment: Mapping[str, str], job: str
) -> list[Discoverer]:
    """One discoverer for each section of a job; the static ones share one."""
    failing, refreshing = metrics.failing, metrics.refreshing
    found: list[Discoverer] = [StaticDiscovery(config.static_configs)]
    found += [
        FileDiscovery(section, clock, failing("file", job), metrics.file_seconds.observe)
        for section in config.file_sd_configs
    ]
    found += [
        HTTPDiscovery(section, clock, failing("http", job), refreshing("http", job))
        for section in config.http_sd_configs
    ]
    found += [
        DNSDiscovery(
            section,
            clock,
            failing("dns", job),
            took=refreshing("dns", job),
            looked_up=metrics.dns_lookups.inc,
        )
        for section in config.dns_sd_configs
    ]
    found += [
        ConsulDiscovery(
            section, clock, failing("consul", job), environment, asked=metrics.consul_seconds.observe
        )
        for section in config.consul_sd_configs
    ]
    found += [
        KubernetesDiscovery(
            section,
            clock,
            failing("kubernetes", job),
            environment,
            count_event=partial(metrics.kubernetes_events.inc, 1, section.role),
        )
        for section in config.kubernetes_sd_configs
    ]
    return found


class DiscoveryPool:
    """``apply`` starts and stops discoverers so that they fit a set of jobs."""

    def __init__(
        self,
        clock: Clock,
        environment: Mapping[str, str],
        on_groups: OnGroups,
        metrics: DiscoveryMetrics | None = None,
        *,
        name: str = "scrape",
        gather_seconds: float = 0.1,
    ) -> None:
        """``name`` is what metrics call the pool: ``scrape`` or ``notify``."""
        self._name = name
        self._clock = clock
        self._gather_seconds = gather_seconds
        self._environment = environment
        self._on_groups = on_groups
        self._metrics = metrics or DiscoveryMetrics()
        self._metrics.failed_configs.set(0, name)
        self._metrics.delayed.inc(0, name)
        self._jobs: dict[str, _Job] = {}

    def apply(self, jobs: Mapping[str, SDConfigs]) -> None:
        """Jobs whose discovery sections did not change go on undisturbed."""
        for name in [name for name in self._jobs if name not in jobs]:
            self._jobs.pop(name).stop()
        for name, config in jobs.items():
            sections = _sections(config)
            running = self._jobs.get(name)
            if running is not None and running.sections == sections:
                continue
            if running is not None:
                running.stop()
            made = discoverers(config, self._clock, self._metrics, self._environment, name)
            self._jobs[name] = _Job(
                name, sections, made, self._clock, self._hand_on, self._gather_seconds, self._received
            )

    def _received(self) -> None:
        self._metrics.received.inc(1, self._name)

    def _hand_on(self, job: str, groups: Sequence[TargetGroup]) -> None:
        self._metrics.sent.inc(1, self._name)
        self._metrics.updated_at.set(self._clock.now(), self._name, job)
        self._on_groups(job, groups)

    def republish(self, name: str) -> None:
        """Hand out a job's groups again: for a job whose other settings changed."""
        if name in self._jobs:
            self._jobs[name].hand_out()

    def counts(self) -> dict[str, int]:
        """How many targets each job's discoverers gave, before relabelling."""
        return {name: job.count() for name, job in self._jobs.items()}

    def file_times(self) -> dict[str, float]:
        """When the files that targets were read from changed, in Unix seconds."""
        return {path: at for job in self._jobs.values() for path, at in job.file_times().items()}

    async def close(self) -> None:
        tasks = [task for job in self._jobs.values() for task in job.stop()]
        self._jobs.clear()
        await asyncio.gather(*tasks, return_exceptions=True)


def _sections(config: SDConfigs) -> object:
    return [
        getattr(config, name)
        for name in config.__struct_fields__
        if name.endswith("sd_configs") or name == "static_configs"
    ]


class _Job:
    """The discoverers of one job and the groups they gave."""

    def __init__(
        self,
        name: str,
        sections: object,
        made: Sequence[Discoverer],
        clock: Clock,
        on_groups: OnGroups,
        gather_seconds: float,
        received: Callable[[], None],
    ) -> None:
        self._received = received
        self._gather_seconds = gather_seconds
        self.sections = sections
        self._name = name
        self._clock = clock
        self._on_groups = on_groups
        self._made = made
        self._groups: dict[tuple[int, str], TargetGroup] = {}
        self._waiting: asyncio.Task[None] | None = None
        self._tasks = [asyncio.create_task(self._run(i, discoverer)) for i, discoverer in enumerate(made)]

    def stop(self) -> list[asyncio.Task[None]]:
        tasks = self._tasks + ([self._waiting] if self._waiting else [])
        for task in tasks:
            task.cancel()
        return tasks

    def count(self) -> int:
        return sum(len(group.targets) for group in self._groups.values())

    def file_times(self) -> dict[str, float]:
        files = [made for made in self._made if isinstance(made, FileDiscovery)]
        return {path: at for made in files for path, at in made.times().items()}

    def hand_out(self) -> None:
        self._on_groups(self._name, list(self._groups.values()))

    async def _run(self, index: int, discoverer: Discoverer) -> None:
        """Run a discoverer; one that fails in an unforeseen way is reported and started again."""

        def publish(groups: Sequence[TargetGroup]) -> None:
            self._received()
            for group in groups:
                if group.targets:
                    self._groups[index, group.source] = group
                else:
                    self._groups.pop((index, group.source), None)
            if index == 0:
                self.hand_out()  # static targets are known at once
            elif self._waiting is None or self._waiting.done():
                self._waiting = asyncio.create_task(self._hand_out_soon())

        while True:
            try:
                await discoverer.run(publish)
                return
            except Exception:
                _LOG.exception("discovery of %s failed and is started again", self._name)
            await self._clock.sleep(_RESTART_SECONDS)

    async def _hand_out_soon(self) -> None:
        await self._clock.sleep(self._gather_seconds)
        self.hand_out()
