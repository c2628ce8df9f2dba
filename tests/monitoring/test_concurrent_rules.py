"""Rules of a group at the same time: who waits for whom, and that results are as if none did."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from wavetank.clock import RealClock, VirtualClock
from wavetank.model.histogram import FloatHistogram
from wavetank.model.labels import METRIC_NAME, Labels, Matcher, MatchType
from wavetank.monitoring.querying import Queries
from wavetank.monitoring.rules.alert import Sample
from wavetank.monitoring.rules.engine import RuleEngine
from wavetank.monitoring.rules.file import RuleConfig, RuleGroupConfig
from wavetank.monitoring.rules.group import Group
from wavetank.monitoring.rules.load import RuleOptions
from wavetank.promql.context import EngineOptions
from wavetank.tsdb.db import DB
from wavetank.tsdb.options import Options


def record(name: str, expr: str) -> RuleConfig:
    return RuleConfig(record=name, expr=expr)


def alert(name: str, expr: str, **more: Any) -> RuleConfig:
    return RuleConfig(alert=name, expr=expr, **more)


def group(rules: Sequence[RuleConfig], **more: Any) -> Group:
    return Group.of(RuleGroupConfig(name="g", rules=list(rules), **more), "f", interval_ms=1000)


BATCHES = [
    ([record("a", "m"), record("b", "m"), record("c", "n")], [[0, 1, 2]]),
    ([record("a", "m"), record("b", "a"), record("c", "b")], [[0], [1], [2]]),
    ([record("a", "m"), record("b", "a"), record("c", "m"), record("d", "a + c")], [[0, 2], [1, 3]]),
    # what an earlier rule reads is stored after it has run
    ([record("a", "b"), record("b", "m")], [[0, 1]]),
    ([record("x", "m"), record("a", "x + b"), record("b", "m")], [[0], [1, 2]]),
    # names by a regular expression, and by none
    ([record("job:a", "m"), record("b", '{__name__=~"job:.*"}'), record("c", "m")], [[0, 2], [1]]),
    ([record("a", "m"), record("b", '{job="x"}'), record("c", "m")], [[0], [1, 2]]),
    # alerts, by their name or any
    ([alert("A", "m"), alert("B", "m"), record("c", 'ALERTS{alertname="A"}')], [[0, 1], [2]]),
    ([alert("A", "m"), record("c", 'ALERTS{alertname="B"}')], [[0, 1]]),
    ([alert("A", "m"), record("c", "ALERTS_FOR_STATE")], [[0], [1]]),
    # templates and info() may ask for anything
    ([record("a", "m"), alert("B", "m", annotations={"x": '{{ query "a" }}'})], [[0], [1]]),
    ([record("a", "m"), record("b", "info(m)")], [[0], [1]]),
    # two that may give the same series keep their order
    ([record("x", "m"), record("a", "x"), record("a", "m")], [[0], [1, 2]]),
    ([record("only", "m")], [[0]]),
    ([], []),
]

RUNS = [
    ([record("a", "m"), record("b", "m"), record("c", "n")], [[0, 1, 2]]),
    ([record("a", "m"), record("b", "a"), record("c", "m"), record("d", "a + c")], [[0], [1, 2], [3]]),
    ([record("a", "b"), record("b", "m")], [[0, 1]]),
    ([record("job:a", "m"), record("b", '{__name__=~"job:.*"}'), record("c", "m")], [[0], [1, 2]]),
    ([record("a", "m"), record("b", '{job="x"}'), record("c", "m")], [[0], [1, 2]]),
    ([alert("A", "m"), record("c", 'ALERTS{alertname="B"}')], [[0], [1]]),
    ([alert("A", "m"), alert("B", "m"), record("c", "ALERTS_FOR_STATE")], [[0, 1], [2]]),
    ([record("a", "m"), alert("B", "m", annotations={"x": '{{ query "a" }}'})], [[0], [1]]),
    ([record("only", "m")], [[0]]),
    ([], []),
]


@pytest.mark.parametrize(("rules", "wanted"), RUNS)
def test_parts_whose_results_may_be_stored_together(
    rules: Sequence[RuleConfig], wanted: list[list[int]]
) -> None:
    assert group(rules).runs() == wanted


@pytest.mark.parametrize(("rules", "expected"), BATCHES)
def test_who_waits_for_whom(rules: list[RuleConfig], expected: list[list[int]]) -> None:
    assert group(rules).batches() == expected


class Running:
    """An engine over a storage with the series ``m``."""

    def __init__(self, path: Path, concurrent: int) -> None:
        self.db = DB.open(path, Options(), VirtualClock(1000.0))
        self.queries = Queries(self.db, RealClock(), EngineOptions(), concurrency=8, threads=4)
        self.query = self.queries.vector
        self.engine = RuleEngine(
            self.db,
            RealClock(),
            lambda text, at_ms: self.query(text, at_ms),
            self.queries.executor,
            lambda alerts, expr: None,
            RuleOptions(concurrent_evals=concurrent),
        )
        appender = self.db.appender()
        for step in range(3):
            for n in range(4):
                appender.append(
                    0, Labels.of(__name__="m", n=str(n)), 1_000_000 + step * 1000, float(n + step)
                )
        histogram = FloatHistogram(0, 3.0, 4.5, 0.001, 1.0, ((0, 2),), (1.0, 1.0))
        appender.append_histogram(0, Labels.of(__name__="h"), 1_000_000, histogram)
        appender.commit()

    def stored(self) -> list[Any]:
        batch = self.db.select([Matcher(MatchType.REGEXP, METRIC_NAME, ".+")], 0, 1 << 50)
        values = [repr(value) for value in batch.values.tolist()]
        return [batch.labels, batch.offsets.tolist(), batch.timestamps_ms.tolist(), values]

    def close(self) -> None:
        self.queries.close()
        self.db.close()


RULES = [
    record("a", "2 * m"),
    record("b", "sum(a) or vector(0)"),
    record("c", "c + 1 or vector(1)"),
    record("d", "late or vector(-1)"),
    record("late", "sum(b) * 2"),
    record("a", "m * 3"),
    record("bad", "label_replace(m, 'x', '$1', 'y', '(')"),
    alert("High", "m > 2"),
    record("firing", "sum(ALERTS)"),
    record("copy", '{__name__=~"a|late"}'),
    record("gone", "m unless m > 3"),
]


async def test_results_are_those_of_one_after_another(tmp_path: Path) -> None:
    found = []
    for name, slots in (("in turn", 0), ("beside", 3)):
        running = Running(tmp_path / name, slots)
        one, other = group(RULES), group(RULES[::-1])
        for at_ms in (1_001_000, 1_002_000, 1_003_000):
            await running.engine.evaluate(one, at_ms)
            await running.engine.evaluate(other, at_ms + 500)
        found.append(
            (running.stored(), [rule.last_error for rule in (*one.rules, *other.rules)], one.failures)
        )
        running.close()
    assert found[0] == found[1]


async def test_rules_run_beside_each_other_up_to_the_limit(tmp_path: Path) -> None:
    running = Running(tmp_path, 1)
    together = threading.Barrier(2, timeout=30)

    def meet(text: str, at_ms: int) -> Sequence[Sample]:
        together.wait()
        return []

    running.query = meet  # type: ignore[assignment]
    # one beside, one in turn: two at a time, so four rules meet in pairs
    await running.engine.evaluate(group([record(f"r{i}", "m") for i in range(2)]), 1_001_000)
    running.close()
    assert not together.broken


async def test_histograms_are_recorded_and_markers_follow(tmp_path: Path) -> None:
    running = Running(tmp_path, 0)
    recording = group([record("copied", "h")])
    await running.engine.evaluate(recording, 1_001_000)
    batch = running.db.select([Matcher(MatchType.EQUAL, METRIC_NAME, "copied")], 0, 1 << 50)
    assert batch.histograms is not None
    assert batch.histograms[0] is not None
    assert batch.histograms[0].count == 3.0
    assert recording.rules[0].last_error == ""
    running.close()


async def test_samples_are_as_old_as_what_they_are_made_of(tmp_path: Path) -> None:
    running = Running(tmp_path, 0)
    await running.engine.evaluate(group([record("r", "sum(m)")], query_offset=1000), 1_002_000)
    batch = running.db.select([Matcher(MatchType.EQUAL, METRIC_NAME, "r")], 0, 1 << 50)
    assert (batch.timestamps_ms.tolist(), batch.values.tolist()) == ([1_001_000], [10.0])
    running.close()
