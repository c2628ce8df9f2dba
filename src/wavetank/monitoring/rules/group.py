"""A group of rules and its evaluation.

Mirrors rules/group.go of prometheus/prometheus: rules one after another, each seeing what the ones before it
wrote; samples and staleness markers at the evaluation's timestamp, less the query offset; a phase of its own
for every group.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from wavetank.model.histogram import FloatHistogram
from wavetank.model.labels import METRIC_NAME, Labels
from wavetank.model.value import STALE_NAN
from wavetank.monitoring.rules.alert import AlertRule, RuleError, Sample
from wavetank.monitoring.rules.dependencies import Reads, Writes, batches, reads_of, runs
from wavetank.monitoring.rules.file import RuleConfig, RuleGroupConfig
from wavetank.monitoring.rules.functions import expand
from wavetank.promql.options import EXPERIMENTAL
from wavetank.promql.parser import parse_expr
from wavetank.promql.printer import print_expr

__all__ = ["Group", "Outcome", "RecordingRule", "Rule", "Surroundings"]

# An instant query; raises for a query that fails.
Query = Callable[[str, int], Sequence[Sample]]
_ERRORS_SHOWN_MAX: Final = 2000


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What templates may ask."""

    external_labels: Mapping[str, str] = field(default_factory=dict)
    external_url: str = ""


@dataclass(slots=True)
class RecordingRule:
    """``record``: the expression's result under a new name."""

    config: RuleConfig
    labels: Mapping[str, str]

    def step(self, result: Sequence[Sample], limit: int = 0) -> list[Sample]:
        """Raises RuleError for two results of the same labels, or more than ``limit``."""
        seen: dict[Labels, float | FloatHistogram] = {}
        for metric, value in result:
            labels = Labels.of(metric.pairs, **{**self.labels, METRIC_NAME: self.config.record})
            if labels in seen:
                raise RuleError("vector contains metrics with the same labelset after applying rule labels")
            seen[labels] = value
        if limit and len(seen) > limit:
            raise RuleError(f"exceeded limit of {limit} with {len(seen)} series")
        return list(seen.items())


@dataclass(slots=True)
class Rule:
    """A rule, how its last evaluation went, and the series it wrote then."""

    rule: RecordingRule | AlertRule
    expr: str
    reads: Reads
    health: str = "unknown"
    last_error: str = ""
    last_evaluation_ms: int = 0
    duration_seconds: float = 0.0
    written: set[Labels] = field(default_factory=set)

    @property
    def config(self) -> RuleConfig:
        return self.rule.config

    @property
    def writes(self) -> Writes:
        return Writes(self.config.name, alerts=isinstance(self.rule, AlertRule))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What evaluating one rule gave: samples, or the error that took their place."""

    samples: Sequence[Sample] = ()
    error: str = ""


@dataclass(slots=True)
class Group:
    """A group as it runs."""

    name: str
    file: str
    interval_ms: int
    limit: int
    query_offset_ms: int
    rules: list[Rule]
    config: RuleGroupConfig
    around: Surroundings
    last_evaluation_ms: int = 0
    duration_seconds: float = 0.0
    iterations: int = 0
    missed: int = 0
    evaluations: int = 0  # of single rules
    failures: int = 0
    orphans: set[Labels] = field(default_factory=set)  # series of rules a reload took away
    refs: dict[Labels, int] = field(default_factory=dict)  # what the storage calls the series written
    parts: Sequence[Sequence[int]] | None = None  # of ``runs``, once somebody asked

    @classmethod
    def of(
        cls,
        config: RuleGroupConfig,
        file: str,
        *,
        interval_ms: int,
        query_offset_ms: int = 0,
        around: Surroundings | None = None,
        restored: bool = True,
    ) -> Group:
        """A group that has not run yet. ``interval_ms`` and ``query_offset_ms`` are the global ones."""
        rules = []
        for rule in config.rules:
            labels = {**config.labels, **rule.labels}
            made: RecordingRule | AlertRule = (
                RecordingRule(rule, labels) if rule.record else AlertRule(rule, labels, restored=restored)
            )
            expr = parse_expr(rule.expr, EXPERIMENTAL)  # the file was checked when it was loaded
            texts = (*rule.annotations.values(), *labels.values())
            rules.append(Rule(made, print_expr(expr), reads_of(expr, texts)))
        offset = config.query_offset
        return cls(
            name=config.name,
            file=file,
            interval_ms=config.interval or interval_ms,
            limit=config.limit,
            query_offset_ms=query_offset_ms if offset is None else offset,
            rules=rules,
            config=config,
            around=around or Surroundings(),
        )

    @property
    def key(self) -> str:
        return f"{self.file};{self.name}"

    @property
    def alert_rules(self) -> list[AlertRule]:
        return [entry.rule for entry in self.rules if isinstance(entry.rule, AlertRule)]

    def phase_ms(self) -> int:
        """Where in its interval the group runs, so that groups do not all run at once."""
        digest = hashlib.md5(self.key.encode(), usedforsecurity=False).digest()
        return int.from_bytes(digest[:8], "big") % self.interval_ms

    def next_ms(self, now_ms: int) -> int:
        """The first evaluation time at or after ``now_ms``."""
        phase = self.phase_ms()
        return -((phase - now_ms) // self.interval_ms) * self.interval_ms + phase

    def take_over(self, old: Group) -> None:
        """Continue with the alerts and series of the group this one replaces."""
        left = list(old.rules)
        for entry in self.rules:
            for candidate in left:
                if candidate.config.name == entry.config.name and candidate.rule.labels == entry.rule.labels:
                    left.remove(candidate)
                    entry.written = candidate.written
                    if isinstance(entry.rule, AlertRule) and isinstance(candidate.rule, AlertRule):
                        entry.rule.active = candidate.rule.active
                        entry.rule.restored = candidate.rule.restored
                    break
        self.orphans = old.orphans.union(*(entry.written for entry in left))

    def series(self) -> set[Labels]:
        """All series that the last evaluation wrote."""
        return self.orphans.union(*(entry.written for entry in self.rules))

    def step(self, index: int, now_ms: int, query: Query) -> list[Sample]:
        """Evaluate one rule at ``now_ms``: its samples, and markers for the series that vanished."""
        return self.take(index, now_ms, self.outcome(index, now_ms, query))

    def outcome(self, index: int, now_ms: int, query: Query) -> Outcome:
        """Evaluate one rule. Changes nothing but the alerts of that rule: others may run meanwhile."""
        try:
            return Outcome(self._evaluate(self.rules[index].rule, now_ms, query))
        except Exception as error:
            # Whatever the query or a template raised is this rule's own failure.
            return Outcome(error=str(error)[:_ERRORS_SHOWN_MAX] or type(error).__name__)

    def take(self, index: int, now_ms: int, outcome: Outcome) -> list[Sample]:
        """Note an outcome; its samples, and markers for the series that vanished.

        A failing rule writes nothing; its error is kept in ``last_error``.
        """
        entry = self.rules[index]
        entry.last_evaluation_ms = now_ms
        self.evaluations += 1
        if outcome.error:
            entry.health, entry.last_error = "err", outcome.error
            self.failures += 1
            return []
        entry.health, entry.last_error = "ok", ""
        written = {labels for labels, _ in outcome.samples}
        gone = [(labels, STALE_NAN) for labels in sorted(entry.written - written)]
        entry.written = written
        return [*outcome.samples, *gone]

    def let_go(self) -> list[Sample]:
        """Markers for the series of rules that a reload took away, unless another rule writes them now."""
        gone = self.orphans.difference(*(entry.written for entry in self.rules))
        self.orphans = set()
        return [(labels, STALE_NAN) for labels in sorted(gone)]

    def sampled_ms(self, now_ms: int) -> int:
        """The time of the samples of an evaluation."""
        return now_ms - self.query_offset_ms

    def runs(self) -> Sequence[Sequence[int]]:
        """The rules in order, in parts whose results may be stored together."""
        if self.parts is None:
            self.parts = runs([(entry.reads, entry.writes) for entry in self.rules])
        return self.parts

    def batches(self) -> Sequence[Sequence[int]]:
        """Which rules may run at the same time, in the order of the batches."""
        return batches([(entry.reads, entry.writes) for entry in self.rules])

    def _evaluate(self, rule: RecordingRule | AlertRule, now_ms: int, query: Query) -> list[Sample]:
        result = query(rule.config.expr, self.sampled_ms(now_ms))
        if isinstance(rule, RecordingRule):
            return rule.step(result, self.limit)

        def fill(text: str, labels: Mapping[str, str], value: float) -> str:
            return expand(
                text,
                labels,
                value,
                external_labels=self.around.external_labels,
                external_url=self.around.external_url,
                timestamp_ms=now_ms,
                query=lambda q, t: [(found.to_dict(), v) for found, v in query(q, t) if isinstance(v, float)],
            )

        return rule.step(now_ms, result, fill, self.limit)
