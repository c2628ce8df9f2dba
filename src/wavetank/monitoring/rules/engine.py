"""Runs rule groups: at their times, in a thread, with their results stored and their alerts sent.

Mirrors rules/manager.go. Queries run in the thread pool of the query API; samples are appended in the event
loop, where all writing happens. A reload keeps the alerts of groups that stay. With slots for it, rules of a
group that do not depend on each other run at the same time.
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
from wavetank.limits import RULES_TURN_SECONDS
from wavetank.model.labels import METRIC_NAME, Labels, Matcher, MatchType
from wavetank.model.value import STALE_NAN
from wavetank.monitoring.rules.alert import ALERTS_FOR_STATE, ActiveAlert, AlertRule, Sample
from wavetank.monitoring.rules.group import Group, Outcome, Query, Rule
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
    names = entry.reads.names
    return names is None or any(labels.name in names for labels, _ in held)


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
        self._slots = options.concurrent_evals  # for rules that run beside others
        self.is_concurrent = options.concurrent_evals > 0
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
        """One evaluation of all rules. What they give is stored together, and before any rule that may look
        at it; rules that need not wait for each other run at the same time if that is wanted."""
        started = self._clock.monotonic()
        at_ms = group.sampled_ms(now_ms)
        held: list[Sample] = []
        batches = group.batches() if self.is_concurrent else group.runs()
        try:
            for batch in batches:
                if held and any(_looks_at(group.rules[index], held) for index in batch):
                    self._write(held, at_ms, group.refs)
                    held = []
                if self.is_concurrent:
                    held += await self._batch(group, batch, now_ms)
                else:
                    held += await self._run_of(group, batch, now_ms)
        finally:
            self._write(held, at_ms, group.refs)
        self._write(group.let_go(), at_ms, group.refs)
        group.last_evaluation_ms = now_ms
        group.iterations += 1
        group.duration_seconds = self._clock.monotonic() - started
        self._observe(group, group.duration_seconds)

    async def _batch(self, group: Group, batch: Sequence[int], now_ms: int) -> list[Sample]:
        """Evaluate some rules; their samples in the rules' order.

        As many as there are slots for, over all groups, run beside each other; further ones in turn.
        """
        if len(batch) == 1:
            return await self._rule(group, batch[0], now_ms)
        found: dict[int, list[Sample]] = {}

        async def beside(index: int) -> None:
            try:
                found[index] = await self._rule(group, index, now_ms)
            finally:
                self._slots += 1

        async with asyncio.TaskGroup() as tasks:
            for index in batch:
                if self._slots > 0:
                    self._slots -= 1
                    tasks.create_task(beside(index))
                else:
                    found[index] = await self._rule(group, index, now_ms)
        return [sample for index in batch for sample in found[index]]

    async def _run_of(self, group: Group, run: Sequence[int], now_ms: int) -> list[Sample]:
        """Evaluate some rules one after another; their samples.

        A rule takes about as long as handing it to a thread and back does, so that a thread takes as many as
        it can in a while.
        """
        if self._tracer.is_on or len(run) == 1:
            return [sample for index in run for sample in await self._rule(group, index, now_ms)]
        loop = asyncio.get_running_loop()
        samples: list[Sample] = []
        left = list(run)
        while left:
            outcomes = await loop.run_in_executor(self._executor, self._outcomes, group, left, now_ms)
            for index, (outcome, seconds) in zip(left, outcomes, strict=False):
                samples += self._taken(group, index, now_ms, outcome)
                group.rules[index].duration_seconds = seconds
            left = left[len(outcomes) :]
        return samples

    def _outcomes(self, group: Group, run: Sequence[int], now_ms: int) -> list[tuple[Outcome, float]]:
        """Of the first rules of the run, and how long each took; called in a thread."""
        found = []
        began = last = self._clock.monotonic()
        for index in run:
            outcome = group.outcome(index, now_ms, self._query)
            now = self._clock.monotonic()
            found.append((outcome, now - last))
            last = now
            if now - began > RULES_TURN_SECONDS:
                break
        return found

    async def _rule(self, group: Group, index: int, now_ms: int) -> list[Sample]:
        entry = group.rules[index]
        began = self._clock.monotonic()
        with self._tracer.span("rule", {"group": group.name, "name": entry.config.name}) as span:
            loop = asyncio.get_running_loop()
            outcome = await loop.run_in_executor(self._executor, group.outcome, index, now_ms, self._query)
            samples = self._taken(group, index, now_ms, outcome)
            if span is not None:
                span.error = entry.last_error
        entry.duration_seconds = self._clock.monotonic() - began
        return samples

    def _taken(self, group: Group, index: int, now_ms: int, outcome: Outcome) -> list[Sample]:
        """Note what a rule gave, and send its alerts."""
        entry = group.rules[index]
        samples = group.take(index, now_ms, outcome)
        if isinstance(entry.rule, AlertRule):
            if not entry.rule.restored:
                self._restore(entry.rule, now_ms)
            self._send(entry.rule, entry.expr, now_ms, group.interval_ms)
        return samples

    def _write(self, samples: Sequence[Sample], at_ms: int, refs: dict[Labels, int]) -> None:
        """Store samples together; ``refs`` remembers their series from one evaluation to the next."""
        if not samples:
            return
        try:
            counts = self._commit(samples, at_ms, refs)
            if counts.unknown_series:  # the storage has let go of some: look all up again
                refs.clear()
                counts = self._commit(samples, at_ms, refs)
        except OSError as error:  # the disk is full or broken: alerts go on
            self._storage_failed(error)
            return
        refused = counts.out_of_order + counts.duplicate
        if refused:
            _LOG.warning("%d samples of a rule were not stored: out of order or duplicate", refused)

    def _commit(self, samples: Sequence[Sample], at_ms: int, refs: dict[Labels, int]) -> AppendCounts:
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
        floats = [(ref, value) for ref, value in stored if isinstance(value, float)]
        appender = self._db.appender()
        appender.append_batch(
            np.array([ref for ref, _ in floats], np.int64),
            np.full(len(floats), at_ms, np.int64),
            np.array([value for _, value in floats], np.float64),
        )
        for ref, histogram in stored:
            if not isinstance(histogram, float):
                appender.append_histogram(ref, None, at_ms, histogram)
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
