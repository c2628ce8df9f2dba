"""Watching a run while it goes: gathers what the live view shows, a few times a second."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress

from wavetank.analysis.slo import evaluate
from wavetank.clock import Clock
from wavetank.errors import WavetankError
from wavetank.kube.resources import DEPLOYMENTS, HORIZONTALPODAUTOSCALERS, STATEFULSETS
from wavetank.load.generator import LoadGenerator
from wavetank.load.stages import RateStage, Stage
from wavetank.rehearsal.live import SloState, Snapshot, View
from wavetank.rehearsal.outcome.build import objective_of
from wavetank.rehearsal.outcome.record import SloFacts
from wavetank.rehearsal.plan import Plan
from wavetank.rehearsal.tank import Tank

__all__ = ["Watch"]

REDRAW_SECONDS = 0.25
CLUSTER_SECONDS = 1.0
SLO_SECONDS = 5.0
SLO_STEP_SECONDS = 5.0


class Watch:
    """Feeds one view. ``started_at`` is the run's first moment, Unix seconds."""

    def __init__(self, view: View, clock: Clock, started_at: float) -> None:
        self._view = view
        self._clock = clock
        self._started_at = started_at
        self._replicas: list[tuple[str, int, int]] = []
        self._utilization: dict[str, float] = {}
        self._slos: list[SloState] = []
        self._event = ""

    @asynccontextmanager
    async def phase(self, name: str) -> AsyncIterator[None]:
        """Show a phase with its elapsed time until the block ends."""
        task = asyncio.create_task(self._tick(name))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def load(self, plan: Plan, tank: Tank, generator: LoadGenerator, work: Awaitable[None]) -> None:
        """Show the load while ``work`` runs it."""
        began = self._clock.now()
        self._slos = [SloState(slo.name, None, "") for slo in plan.slos]
        watchers = [
            asyncio.create_task(self._draw_load(plan, generator, began)),
            asyncio.create_task(self._watch_cluster(tank)),
            asyncio.create_task(self._watch_slos(plan, tank, began)),
        ]
        try:
            await work
        finally:
            for watcher in watchers:
                watcher.cancel()
            await asyncio.gather(*watchers, return_exceptions=True)

    # --- inside

    async def _tick(self, name: str) -> None:
        while True:
            self._view.show(Snapshot(name, self._clock.now() - self._started_at))
            await self._clock.sleep(REDRAW_SECONDS)

    async def _draw_load(self, plan: Plan, generator: LoadGenerator, began: float) -> None:
        while True:
            now = self._clock.now()
            snapshot = generator.snapshot()
            seconds = now - began
            stage, offered = _stage_at(plan.stages, seconds)
            self._view.show(
                Snapshot(
                    "load",
                    now - self._started_at,
                    left=max(0.0, plan.load_seconds - seconds),
                    stage=stage,
                    rps=snapshot.rps,
                    target_rps=offered,
                    p99_ms=None if math.isnan(snapshot.p99) else snapshot.p99 * 1000,
                    failures=snapshot.failures,
                    users=snapshot.users,
                    replicas=self._replicas,
                    utilization=self._utilization,
                    slos=self._slos,
                    event=self._event,
                    rps_history=[float(row.requests) for row in generator.seconds[-30:]],
                )
            )
            await self._clock.sleep(REDRAW_SECONDS)

    async def _watch_cluster(self, tank: Tank) -> None:
        client = await tank.client()
        while True:
            with suppress(WavetankError, OSError):
                self._replicas = [
                    (
                        o["metadata"]["name"],
                        int((o.get("spec") or {}).get("replicas") or 0),
                        int((o.get("status") or {}).get("readyReplicas") or 0),
                    )
                    for resource in (DEPLOYMENTS, STATEFULSETS)
                    for o in (await client.list(resource)).items
                ]
                for hpa in (await client.list(HORIZONTALPODAUTOSCALERS)).items:
                    self._note_utilization(hpa)
            await self._clock.sleep(CLUSTER_SECONDS)

    def _note_utilization(self, hpa: dict[str, object]) -> None:
        status: dict[str, object] = hpa.get("status") or {}  # type: ignore[assignment]
        for metric in status.get("currentMetrics") or ():  # type: ignore[attr-defined]
            used = ((metric.get("resource") or {}).get("current") or {}).get("averageUtilization")
            if used is not None:
                name = hpa["spec"]["scaleTargetRef"]["name"]  # type: ignore[index]
                self._utilization[str(name)] = float(used) / 100

    async def _watch_slos(self, plan: Plan, tank: Tank, began: float) -> None:
        while True:
            await self._clock.sleep(SLO_SECONDS)
            with suppress(WavetankError):
                now = self._clock.now()
                self._slos = [await self._slo(slo, tank, began, now) for slo in plan.slos]

    async def _slo(self, facts: SloFacts, tank: Tank, began: float, now: float) -> SloState:
        verdict = await evaluate(objective_of(facts), tank.query, began, now, SLO_STEP_SECONDS)
        return SloState(facts.name, verdict.ok, _shown(verdict.value, facts))


def _shown(value: float | None, facts: SloFacts) -> str:
    if value is None or not math.isfinite(value):
        return ""
    if facts.kind == "ratio" or facts.unit == "ratio":
        return f"{value:.3%}"
    return f"{value * 1000:.0f} ms" if facts.unit == "seconds" else f"{value:g}"


def _stage_at(stages: tuple[Stage, ...], seconds: float) -> tuple[str, float | None]:
    """The stage's number, and the rate it offers now (None in a closed model)."""
    start = 0.0
    for index, stage in enumerate(stages):
        if seconds < start + stage.duration_seconds or index == len(stages) - 1:
            label = f"stage {index + 1} of {len(stages)}"
            if isinstance(stage, RateStage):
                inside = min(max(0.0, seconds - start), stage.duration_seconds)
                return label, stage.curve.rate_at(inside)
            return f"{label}, {stage.users_at(seconds - start)} users", None
        start += stage.duration_seconds
    return "", None
