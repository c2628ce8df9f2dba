"""The VPA's loops: the recommender reads usage and writes recommendations, the updater evicts or resizes.

Both run every minute, as upstream's two programs do. The third, admission, is ``VpaAdmission``: it belongs
into the API server's chain of admissions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from wavetank.autoscaling.prometheus import Prometheus
from wavetank.autoscaling.vpa.admission import VpaAdmission
from wavetank.autoscaling.vpa.estimator import EstimatorOptions
from wavetank.autoscaling.vpa.history import HistoryOptions
from wavetank.autoscaling.vpa.kinds import VPA_CHECKPOINTS, VPAS
from wavetank.autoscaling.vpa.recommender import Recommender, RecommenderOptions
from wavetank.autoscaling.vpa.update import UpdateOptions
from wavetank.autoscaling.vpa.updater import Updater
from wavetank.autoscaling.vpa.usage import UsageOptions
from wavetank.clock import Clock
from wavetank.journal import Journal
from wavetank.kube.client import Client, Object, WatchType
from wavetank.kube.informer import Informer
from wavetank.kube.kubelet.background import background
from wavetank.kube.metrics_server.index import LabelIndex
from wavetank.kube.resources import PODS

__all__ = ["VPAS", "VPA_CHECKPOINTS", "VpaAdmission", "VpaController", "VpaOptions"]


@dataclass(frozen=True, slots=True)
class VpaOptions:
    """``recommender_interval`` and ``updater_interval`` in seconds; the rest by part."""

    recommender_interval: float = 60.0
    updater_interval: float = 60.0
    usage: UsageOptions = field(default_factory=UsageOptions)
    estimator: EstimatorOptions = field(default_factory=EstimatorOptions)
    update: UpdateOptions = field(default_factory=UpdateOptions)
    history: HistoryOptions = field(default_factory=HistoryOptions)


class VpaController:
    """``start`` follows all VPAs. ``recommend_once`` and ``update_once`` are the loops' bodies. With
    ``prometheus`` the history comes from there, else from checkpoints."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        journal: Journal,
        options: VpaOptions = VpaOptions(),
        *,
        prometheus: Prometheus | None = None,
    ) -> None:
        self._clock = clock
        self._options = options
        self._vpas = Informer(client, VPAS, clock=clock)
        self._pods = Informer(client, PODS, clock=clock)
        self._index = LabelIndex()
        made = RecommenderOptions(options.usage, options.estimator, options.history)
        self._recommender = Recommender(client, self._index, clock, journal, made, prometheus)
        self._updater = Updater(client, self._index, clock, journal, options.update)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self._pods.add_handler(self._on_pod)
        await self._pods.start()
        await self._vpas.start()
        await self._recommender.load_checkpoints()
        options = self._options
        self._tasks = [
            background(self._every(options.recommender_interval, self.recommend_once), "vpa recommender"),
            background(self._every(options.updater_interval, self.update_once), "vpa updater"),
        ]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._vpas.stop()
        await self._pods.stop()
        await self._updater.flush()

    def _on_pod(self, kind: WatchType, before: Object | None, pod: Object) -> None:
        if kind is WatchType.DELETED:
            self._index.remove(pod)
        else:
            self._index.put(pod)

    async def recommend_once(self) -> None:
        await self._recommender.once(list(self._vpas.objects()))

    async def update_once(self) -> None:
        await self._updater.once(list(self._vpas.objects()))

    async def _every(self, seconds: float, body: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            await body()
            await self._clock.sleep(seconds)
