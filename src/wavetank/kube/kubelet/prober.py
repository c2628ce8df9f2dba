"""The probes of one running container: tasks that ask, and what their verdicts mean together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from wavetank.kube.kubelet.context import Context
from wavetank.kube.kubelet.probes import Probed, ProbeSpec, Verdict, parse_probe, run_probe
from wavetank.kube.kubelet.runtime import Running

if TYPE_CHECKING:
    from wavetank.kube.kubelet.pod_worker import PodWorker

__all__ = ["Prober"]


class Prober:
    """``started`` is true without a startup probe, ``ready`` only follows the readiness probe after that.

    As upstream: liveness and readiness begin once the startup probe has succeeded; readiness is first asked
    at once, then every period; initial delays count from the container's start.
    """

    def __init__(
        self, context: Context, worker: PodWorker, name: str, spec: Mapping[str, Any], running: Running
    ) -> None:
        self._context = context
        self._worker = worker
        self._name = name
        self._running = running
        self._ports = spec.get("ports") or ()
        self._begun = context.clock.monotonic()
        self._startup = parse_probe(spec.get("startupProbe"))
        self._liveness = parse_probe(spec.get("livenessProbe"))
        self._readiness = parse_probe(spec.get("readinessProbe"))
        self._passed = self._readiness is None
        self.started = self._startup is None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def ready(self) -> bool:
        return self.started and self._passed

    def start(self) -> None:
        if self._startup is not None:
            self._spawn(self._until_started(self._startup))
        else:
            self._begin()

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()

    def _spawn(self, work: Any) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(work, name=f"probe {self._name}"))

    def _begin(self) -> None:
        if self._readiness is not None:
            self._spawn(self._keep_ready(self._readiness))
        if self._liveness is not None:
            self._spawn(self._keep_alive(self._liveness))

    def _report(self) -> None:
        self._worker.probed(self._name, started=self.started, ready=self.ready)

    async def _until_started(self, spec: ProbeSpec) -> None:
        verdict = Verdict(False)
        await self._delay(spec)
        while True:
            verdict, decided = await self._ask("startup", spec, verdict)
            if decided and verdict.healthy:
                self.started = True
                self._begin()
                self._report()
                return
            if decided:
                self._worker.unhealthy(self._name, "startup", spec.grace)
                return
            await self._context.clock.sleep(spec.period)

    async def _keep_ready(self, spec: ProbeSpec) -> None:
        verdict = Verdict(False)
        await self._delay(spec)
        await self._until_relisted()
        while True:
            verdict, decided = await self._ask("readiness", spec, verdict)
            if decided and verdict.healthy != self._passed:
                self._passed = verdict.healthy
                self._report()
            if self._settled(decided):
                return
            await self._context.clock.sleep(spec.period)

    async def _keep_alive(self, spec: ProbeSpec) -> None:
        verdict = Verdict(True)
        await self._delay(spec)
        while True:
            verdict, decided = await self._ask("liveness", spec, verdict)
            if decided and not verdict.healthy:
                self._worker.unhealthy(self._name, "liveness", spec.grace)
                return
            if self._settled(decided):
                return
            await self._context.clock.sleep(spec.period)

    def _settled(self, decided: bool) -> bool:
        """A model that will not change its answer need not be asked again."""
        return decided and isinstance(self._running, Probed) and self._running.steady

    async def _delay(self, spec: ProbeSpec) -> None:
        left = spec.initial_delay - (self._context.clock.monotonic() - self._begun)
        if left > 0:
            await self._context.clock.sleep(left)

    async def _until_relisted(self) -> None:
        period = self._context.options.relist_period
        if period > 0:
            await self._context.clock.sleep(period - self._context.clock.monotonic() % period)

    async def _ask(self, kind: str, spec: ProbeSpec, verdict: Verdict) -> tuple[Verdict, bool]:
        success, message = await run_probe(spec, self._running, self._worker.ip, self._ports)
        worker = self._worker
        self._context.metrics.probed(worker, self._name, kind, success)
        if not success:
            self._context.recorder.event(
                {**worker.pod, "apiVersion": "v1", "kind": "Pod"},
                "Warning",
                "Unhealthy",
                f"{kind.capitalize()} probe failed: {message}",
                f"spec.containers{{{self._name}}}",
            )
            self._context.journal.record(
                "probe.failed",
                pod=worker.key,
                uid=worker.uid,
                container=self._name,
                probe=kind,
                message=message,
            )
        return verdict.step(success, spec)
