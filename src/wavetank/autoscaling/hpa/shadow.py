"""A shadow of an HPA: decides beside the one in the cluster, and compares.

The cluster's controller writes the status at the end of a sync that changed anything. The shadow waits for
that, takes the replica count the sync began with from the status, reads the same metrics APIs, and decides
for itself. Where the status has not changed for two sync periods it looks all the same: then their decision
is the one before. It writes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from typing import Any

from msgspec import Struct

from wavetank.autoscaling.hpa.behavior import Behavior, store_event
from wavetank.autoscaling.hpa.explain import explain
from wavetank.autoscaling.hpa.model import Hpa
from wavetank.autoscaling.hpa.observe import Observation, decide_on, get_hpa, guess_state, observe
from wavetank.autoscaling.hpa.options import HpaOptions
from wavetank.autoscaling.hpa.reconcile import HpaState
from wavetank.autoscaling.metrics import MetricsClient
from wavetank.clock import Clock
from wavetank.errors import InputError
from wavetank.kube.client import ApiError, Client, Object, WatchType
from wavetank.kube.kubelet.background import background
from wavetank.kube.resources import HORIZONTALPODAUTOSCALERS
from wavetank.kube.times import parse_time

__all__ = ["Shadow", "ShadowRow", "compare"]

SETTLE_SECONDS = 0.2  # between a status write and our reading of the metrics


class ShadowRow(Struct, omit_defaults=True):
    """One decision beside the cluster's. ``agrees`` compares ``ours`` with ``theirs``; ``why`` holds our
    explanation where they differ, ``inputs`` what differed in what was read, where that can be told."""

    at: float
    current: int
    ours: int
    theirs: int
    agrees: bool
    bound_by: str
    why: list[str] = []
    inputs: list[str] = []
    error: str = ""


class Shadow:
    """``rows`` runs until it is closed. With ``other``, the decisions are those of that HPA's spec about the
    same target, beside what the cluster's HPA did."""

    def __init__(
        self,
        client: Client,
        metrics: MetricsClient,
        clock: Clock,
        namespace: str,
        name: str,
        options: HpaOptions,
        other: Object | None = None,
    ) -> None:
        self._client = client
        self._metrics = metrics
        self._clock = clock
        self._namespace = namespace
        self._name = name
        self._options = options
        self._other = other
        self._state: HpaState | None = None
        self._last: int | None = None
        self._written = asyncio.Event()

    async def rows(self) -> AsyncGenerator[ShadowRow, None]:
        """One row for each decision of the cluster's HPA. Raises InputError where there is no such HPA."""
        await get_hpa(self._client, self._namespace, self._name)
        watching = background(self._watch(), f"shadow of {self._namespace}/{self._name}")
        try:
            while True:
                await self._wait()
                yield await self.look()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def look(self) -> ShadowRow:
        """Decide once, and compare with what the HPA's status says. Raises InputError if it is gone."""
        now = self._clock.now()
        try:
            obj = await self._client.get(HORIZONTALPODAUTOSCALERS, self._name, self._namespace)
        except ApiError as error:
            if error.code == 404:
                raise InputError(f"HPA {self._namespace}/{self._name} is gone") from None
            return ShadowRow(now, 0, 0, 0, True, "unusable", error=error.message)
        status: Mapping[str, Any] = obj.get("status") or {}
        current = status.get("currentReplicas")
        mine = obj if self._other is None else _merged(obj, self._other)
        try:
            begun = None if current is None else int(current)
            before = _scaling_began(status)
            seen = await observe(
                self._client, self._metrics, mine, self._options, current=begun, before=before
            )
        except (InputError, ApiError) as error:
            theirs = int(status.get("desiredReplicas") or 0)
            return ShadowRow(now, int(current or 0), theirs, theirs, True, "unusable", error=error.message)
        state = self._remembered(seen, now)
        inputs = decide_on(now, seen, state, self._options)
        self._state = inputs.decision.state
        ours = inputs.decision.desired
        if inputs.decision.unusable and not _active(status):
            ours = int(status.get("desiredReplicas") or 0)  # neither could decide: what was wanted stays
        row = compare(now, ours, status, inputs.decision.current)
        found = explain(inputs, self._options, recomputed=True)
        row.bound_by = found.bound_by
        if not row.agrees:
            row.why = found.lines
            row.inputs = _different_inputs(status, inputs.decision.metric_statuses)
        return row

    def _remembered(self, seen: Observation, now: float) -> HpaState:
        """Our memory, with the changes of size that were seen to happen."""
        current = seen.scale.spec_replicas
        state = self._state
        if state is None:
            state = guess_state(seen.hpa, seen.scale, now)
        elif self._last is not None and current != self._last and seen.hpa.behavior is not None:
            state = _scaled(state, seen.hpa, seen.hpa.behavior, current - self._last, now)
        self._last = current
        return state

    async def _wait(self) -> None:
        """Until the status is written, or for two sync periods."""
        tick = background(self._clock.sleep(2 * self._options.sync_period), "shadow tick")
        told = background(_set(self._written), "shadow watch")
        await asyncio.wait({tick, told}, return_when=asyncio.FIRST_COMPLETED)
        for task in (tick, told):
            task.cancel()
        await asyncio.gather(tick, told, return_exceptions=True)
        if self._written.is_set():
            self._written.clear()
            await self._clock.sleep(SETTLE_SECONDS)

    async def _watch(self) -> None:
        selector = f"metadata.name={self._name}"
        stream = self._client.watch(HORIZONTALPODAUTOSCALERS, self._namespace, field_selector=selector)
        before: Any = None
        async for event in stream:
            if event.type in (WatchType.ADDED, WatchType.MODIFIED):
                status = event.object.get("status")
                if status != before and event.type is WatchType.MODIFIED:
                    self._written.set()
                before = status


def _scaling_began(status: Mapping[str, Any]) -> float | None:
    """When the sync that the status tells of changed the size; None where it did not."""
    if status.get("currentReplicas") == status.get("desiredReplicas"):
        return None
    return parse_time(status.get("lastScaleTime"))


def _active(status: Mapping[str, Any]) -> bool:
    conditions = status.get("conditions") or ()
    return any(c.get("type") == "ScalingActive" and c.get("status") == "True" for c in conditions)


async def _set(event: asyncio.Event) -> None:
    await event.wait()


def compare(now: float, ours: int, status: Mapping[str, Any], current: int) -> ShadowRow:
    """A row for our decision beside a status."""
    theirs = int(status.get("desiredReplicas") or 0)
    return ShadowRow(now, current, ours, theirs, ours == theirs, "")


def _merged(obj: Object, other: Object) -> Object:
    """The other HPA's spec about this HPA's target and status."""
    spec = {**(other.get("spec") or {}), "scaleTargetRef": (obj.get("spec") or {}).get("scaleTargetRef")}
    return {**obj, "spec": spec}


def _scaled(state: HpaState, hpa: Hpa, behavior: Behavior, change: int, now: float) -> HpaState:
    if change > 0:
        return replace(state, ups=store_event(now, state.ups, change, behavior.up))
    return replace(state, downs=store_event(now, state.downs, -change, behavior.down))


def _different_inputs(status: Mapping[str, Any], ours: Any) -> list[str]:
    """Metrics whose current value differs between their status and our reading."""
    found = []
    theirs = status.get("currentMetrics") or ()
    for index, (their, our) in enumerate(zip(theirs, ours, strict=False)):
        if _current(their) != _current(our):
            found.append(f"metric {index}: they read {_current(their)}, we read {_current(our)}")
    return found


def _current(metric: Mapping[str, Any]) -> Any:
    for source in metric.values():
        if isinstance(source, Mapping) and "current" in source:
            return dict(source["current"])
    return None
