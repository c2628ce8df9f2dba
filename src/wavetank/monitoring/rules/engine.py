"""Runs rule groups: at their times, in a thread, with their results stored and their alerts sent.

Mirrors rules/manager.go. Queries run in the thread pool of the query API; samples are appended in the event
loop, where all writing happens. A reload keeps the alerts of groups that stay.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Final

import numpy as np

from wavetank.clock import Clock
from wavetank.model.labels import METRIC_NAME, Labels, Matcher, MatchType
from wavetank.model.value import STALE_NAN
from wavetank.monitoring.rules.alert import ALERTS_FOR_STATE, ActiveAlert, AlertRule, Sample
from wavetank.monitoring.rules.group import Group, Query, Rule
from wavetank.monitoring.rules.load import RuleOptions
from wavetank.monitoring.tracing import Tracer
from wavetank.tsdb.appender import AppendCounts
from wavetank.tsdb.db import DB
from wavetank.tsdb.series_table import key_of

__all__ = ["RuleEngine"]

_LOG = logging.getLogger(__name__)
_REFS_SPARE: Final = 1000  # series remembered beyond twice those written at once

# Alerts of a rule that the Alertmanagers must hear of now.
Notify = Callable[[Sequence[ActiveAlert], str], None]


def _looks_at(entry: Rule, held: Sequence[Sample]) -> bool:
    """Whether a rule may select what others gave and is not stored yet."""
    return entry.reads is None or any(labels.name in entry.reads for labels, _ in held)


class RuleEngine:
    """``apply`` fits the running groups to a set of them."""

    def __init__(
        self,
        db: DB,
        clock: Clock,
        query: Query,
        executor: Executor,
        notify: Notify,
        options: RuleOptions,
        observe: Callable[[Group, float], None] = lambda group, seconds: None,
        storage_failed: Callable[[OSError], None] = lambda error: None,
        tracer: Tracer | None = None,
    ) -> None:
        self._tracer = tracer or Tracer(clock)
        self._storage_failed = storage_failed
        self.groups: dict[str, Group] = {}
        self._db = db
        self._clock = clock
        self._query = query
        self._executor = executor
        self._notify = notify
        self._options = options
        self._observe = observe
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def apply(self, groups: dict[str, Group]) -> None:
        """Start, replace and end groups."""
        before, self.groups = self.groups, {}
        for key, old in before.items():
            new = groups.get(key)
            if new is not None and new.config == old.config and new.around == old.around:
                self.groups[key] = old
                continue
            await self._end(key)
            if new is None:
                self._write([(labels, STALE_NAN) for labels in sorted(old.series())], self._now_ms(), {})
            else:
                new.take_over(old)
        for key, group in groups.items():
            if key not in self.groups:
                self.groups[key] = group
                self._tasks[key] = asyncio.create_task(self._run(group))

    async def close(self) -> None:
        for key in list(self._tasks):
            await self._end(key)

    async def _end(self, key: str) -> None:
        task = self._tasks.pop(key, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _now_ms(self) -> int:
        return round(self._clock.now() * 1000)

    async def _run(self, group: Group) -> None:
        due = group.next_ms(self._now_ms())
        while True:
            await self._clock.sleep(due / 1000 - self._clock.now())
            try:
                with self._tracer.span("rule group", {"name": group.name, "file": group.file}, root=True):
                    await self.evaluate(group, due)
            except Exception:
                _LOG.exception("rule group %s failed in an unforeseen way", group.key)
            missed = max(0, math.floor((self._now_ms() - due) / group.interval_ms))
            group.missed += missed
            due += (missed + 1) * group.interval_ms

    async def evaluate(self, group: Group, now_ms: int) -> None:
        """One evaluation of all rules, in order. What they give is stored together, and before any rule that
        may look at it."""
        started = self._clock.monotonic()
        held: list[Sample] = []
        try:
            for index, entry in enumerate(group.rules):
                began = self._clock.monotonic()
                if held and _looks_at(entry, held):
                    self._write(held, now_ms, group.refs)
                    held = []
                with self._tracer.span("rule", {"group": group.name, "name": entry.config.name}) as span:
                    held += await self._step(group, index, now_ms)
                    if span is not None:
                        span.error = entry.last_error
                entry.duration_seconds = self._clock.monotonic() - began
        finally:
            self._write(held, now_ms, group.refs)
        group.last_evaluation_ms = now_ms
        group.iterations += 1
        group.duration_seconds = self._clock.monotonic() - started
        self._observe(group, group.duration_seconds)

    async def _step(self, group: Group, index: int, now_ms: int) -> list[Sample]:
        loop = asyncio.get_running_loop()
        samples = await loop.run_in_executor(self._executor, group.step, index, now_ms, self._query)
        entry = group.rules[index]
        if isinstance(entry.rule, AlertRule):
            if not entry.rule.restored:
                self._restore(entry.rule, now_ms)
            self._send(entry.rule, entry.expr, now_ms, group.interval_ms)
        return samples

    def _write(self, samples: Sequence[Sample], now_ms: int, refs: dict[Labels, int]) -> None:
        """Store samples together; ``refs`` remembers their series from one evaluation to the next."""
        if not samples:
            return
        try:
            counts = self._commit(samples, now_ms, refs)
            if counts.unknown_series:  # the storage has let go of some: look all up again
                refs.clear()
                counts = self._commit(samples, now_ms, refs)
        except OSError as error:  # the disk is full or broken: alerts go on
            self._storage_failed(error)
            return
        refused = counts.out_of_order + counts.duplicate
        if refused:
            _LOG.warning("%d samples of a rule were not stored: out of order or duplicate", refused)

    def _commit(self, samples: Sequence[Sample], now_ms: int, refs: dict[Labels, int]) -> AppendCounts:
        new = list({labels: None for labels, _ in samples if labels not in refs})
        if new:
            if len(refs) + len(new) > 2 * len(samples) + _REFS_SPARE:
                refs.clear()
                new = list({labels: None for labels, _ in samples})
            keys = [key_of(labels) for labels in new]
            offsets = np.cumsum([0, *map(len, keys)]).astype(np.int64)
            found = self._db.series_refs(np.frombuffer(bytearray(b"".join(keys)), np.uint8), offsets)
            refs.update({labels: ref for labels, ref in zip(new, found.tolist(), strict=True) if ref})
        stored = [(refs[labels], value) for labels, value in samples if labels in refs]
        appender = self._db.appender()
        appender.append_batch(
            np.array([ref for ref, _ in stored], np.int64),
            np.full(len(stored), now_ms, np.int64),
            np.array([value for _, value in stored], np.float64),
        )
        return appender.commit()

    def _send(self, rule: AlertRule, expr: str, now_ms: int, interval_ms: int) -> None:
        if alerts := rule.to_send(now_ms, self._options.resend_delay_ms, interval_ms):
            self._notify(alerts, expr)

    def _restore(self, rule: AlertRule, now_ms: int) -> None:
        """Take up ``for`` where it stood before a restart."""
        found = self._db.select(
            [
                Matcher(MatchType.EQUAL, METRIC_NAME, ALERTS_FOR_STATE),
                Matcher(MatchType.EQUAL, "alertname", rule.config.alert),
            ],
            now_ms - self._options.for_outage_tolerance_ms,
            now_ms,
        )
        last: dict[Labels, tuple[int, float]] = {}
        for i, labels in enumerate(found.labels):
            end = int(found.offsets[i + 1]) - 1
            value = float(found.values[end])
            if end >= found.offsets[i] and not math.isnan(value):
                last[labels.without(METRIC_NAME)] = (int(found.timestamps_ms[end]), value)
        rule.restore(now_ms, last, self._options.for_grace_period_ms)
