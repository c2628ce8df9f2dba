"""Which rules of a group must wait for which, so that the others may run at the same time.

The relation is that of buildDependencyMap in rules/group.go of prometheus/prometheus: a rule depends on an
earlier one whose series it may select. Upstream makes three batches of it; here a rule waits for as many
batches as its longest chain of dependencies has, and what it writes also waits for earlier rules that must
not see it yet: so results are those of rules run one after another, to the last sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from wavetank.model.labels import METRIC_NAME, Matcher, MatchType
from wavetank.promql.ast import Call, Expr, VectorSelector, walk

__all__ = ["ALERTS", "ALERTS_FOR_STATE", "Reads", "Writes", "batches", "reads_of", "runs"]

ALERTS: Final = "ALERTS"
ALERTS_FOR_STATE: Final = "ALERTS_FOR_STATE"
ALERT_NAME: Final = "alertname"


@dataclass(frozen=True, slots=True)
class Writes:
    """What a rule gives: a metric, or the alerts of a name."""

    name: str
    alerts: bool = False


@dataclass(frozen=True, slots=True)
class Reads:
    """What a rule selects: pairs of a matcher of metric names and, if there is one, of alert names.

    ``whole`` says that this is all; a selector without a name, ``info()`` and a template that queries may
    select anything.
    """

    selected: Sequence[tuple[Matcher, Matcher | None]] = ()
    whole: bool = True

    @property
    def names(self) -> frozenset[str] | None:
        """The metrics, if they are all named."""
        if not self.whole or any(metric.type is not MatchType.EQUAL for metric, _ in self.selected):
            return None
        return frozenset(metric.value for metric, _ in self.selected)

    def may_see(self, written: Writes) -> bool:
        """Whether the series of a rule may be among those selected."""
        if not self.whole:
            return True
        for metric, alert in self.selected:
            if metric.matches(written.name):
                return True
            of_alerts = metric.matches(ALERTS) or metric.matches(ALERTS_FOR_STATE)
            if written.alerts and of_alerts and (alert is None or alert.matches(written.name)):
                return True
        return False


def reads_of(expr: Expr, texts: Sequence[str] = ()) -> Reads:
    """What an expression selects, and whatever the templates ``texts`` may ask for."""
    selected = []
    whole = not any("query" in text for text in texts)
    for node in walk(expr):
        if isinstance(node, Call) and node.func.name == "info":
            whole = False  # it selects by itself
        if isinstance(node, VectorSelector):
            metric = _matcher(node, METRIC_NAME)
            if metric is None:
                whole = False
            else:
                selected.append((metric, _matcher(node, ALERT_NAME)))
    return Reads(tuple(selected), whole)


def _matcher(node: VectorSelector, name: str) -> Matcher | None:
    return next((matcher for matcher in node.matchers if matcher.name == name), None)


def batches(rules: Sequence[tuple[Reads, Writes]]) -> Sequence[Sequence[int]]:
    """The rules' places in batches, each in order: those of a batch may run at the same time, if what they
    give is stored after the last of them."""
    levels: list[int] = []
    for i, (reads, writes) in enumerate(rules):
        level = 0
        for j in range(i):
            earlier_reads, earlier_writes = rules[j]
            if reads.may_see(earlier_writes):
                level = max(level, levels[j] + 1)
            elif earlier_reads.may_see(writes) or _meet(earlier_writes, writes):
                level = max(level, levels[j])
        levels.append(level)
    return [
        [i for i, own in enumerate(levels) if own == level] for level in range(max(levels, default=-1) + 1)
    ]


def runs(rules: Sequence[tuple[Reads, Writes]]) -> Sequence[Sequence[int]]:
    """The rules' places in order, cut before each that may see what one before it in the same part gives:
    those of a part need nothing stored before the last of them has run."""
    found: list[list[int]] = []
    written: set[str] = set()
    for i, (reads, writes) in enumerate(rules):
        names = reads.names
        if names is None:
            sees = bool(found) and any(reads.may_see(rules[j][1]) for j in found[-1])
        else:
            sees = not names.isdisjoint(written)
        if sees or not found:
            found.append([])
            written = set()
        found[-1].append(i)
        written |= {writes.name, ALERTS, ALERTS_FOR_STATE} if writes.alerts else {writes.name}
    return found


def _meet(a: Writes, b: Writes) -> bool:
    """Whether two rules may write the same series; of two samples the first is kept."""
    return a.alerts == b.alerts and a.name == b.name
