"""Rule groups over a real storage: what later rules see of earlier ones, and what is stored when."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from wavetank.clock import RealClock, VirtualClock
from wavetank.model.labels import METRIC_NAME, Labels, Matcher, MatchType
from wavetank.monitoring.querying import Queries
from wavetank.monitoring.rules.engine import RuleEngine
from wavetank.monitoring.rules.file import RuleConfig, RuleGroupConfig
from wavetank.monitoring.rules.group import Group
from wavetank.monitoring.rules.load import RuleOptions
from wavetank.promql.context import EngineOptions
from wavetank.tsdb.appender import AppendCounts, Gathered
from wavetank.tsdb.db import DB
from wavetank.tsdb.options import Options


class Running:
    """An engine over a storage with the series ``m``, one and two."""

    def __init__(self, path: Path) -> None:
        self.db = DB.open(path, Options(), VirtualClock(1000.0))
        self.commits = 0
        committing = self.db.commit

        def commit(gathered: Gathered) -> AppendCounts:
            self.commits += 1
            return committing(gathered)

        self.db.commit = commit  # type: ignore[method-assign]
        self.queries = Queries(self.db, RealClock(), EngineOptions(), concurrency=2, threads=2)
        self.engine = RuleEngine(
            self.db,
            RealClock(),
            self.queries.vector,
            self.queries.executor,
            lambda alerts, expr: None,
            RuleOptions(),
        )
        appender = self.db.appender()
        for value in (1.0, 2.0):
            appender.append(0, Labels.of(__name__="m", n=str(value)), 1_000_000, value)
        appender.commit()
        self.commits = 0

    def stored(self, name: str) -> list[tuple[str, int, float]]:
        batch = self.db.select([Matcher(MatchType.EQUAL, METRIC_NAME, name)], 0, 1 << 50)
        owners = [
            labels
            for labels, i in zip(batch.labels, range(len(batch.labels)), strict=True)
            for _ in range(int(batch.offsets[i + 1] - batch.offsets[i]))
        ]
        return [
            (labels.get("n"), at, value)
            for labels, at, value in zip(
                owners, batch.timestamps_ms.tolist(), batch.values.tolist(), strict=True
            )
        ]


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    made = Running(tmp_path)
    yield made
    made.queries.close()
    made.db.close()


def group(*rules: RuleConfig) -> Group:
    return Group.of(RuleGroupConfig(name="g", rules=list(rules)), "f", interval_ms=1000)


async def test_a_rule_sees_what_the_one_before_it_gave(running: Running) -> None:
    chain = group(RuleConfig(record="doubled", expr="2 * m"), RuleConfig(record="again", expr="doubled + 1"))
    await running.engine.evaluate(chain, 1_001_000)
    assert running.stored("again") == [("1.0", 1_001_000, 3.0), ("2.0", 1_001_000, 5.0)]
    assert running.commits == 2


@pytest.mark.parametrize("expr", ['{__name__=~"dou.*"} + 1', 'max by (n) ({n!=""}) * 1'])
async def test_so_does_one_that_selects_without_a_name(running: Running, expr: str) -> None:
    chain = group(RuleConfig(record="doubled", expr="2 * m"), RuleConfig(record="again", expr=expr))
    await running.engine.evaluate(chain, 1_001_000)
    assert running.commits == 2
    assert len(running.stored("again")) == 2


async def test_rules_that_do_not_look_at_each_other_are_stored_together(running: Running) -> None:
    apart = group(
        RuleConfig(record="doubled", expr="2 * m"),
        RuleConfig(record="total", expr="sum(m)"),
        RuleConfig(alert="High", expr="m > 1"),
    )
    for at_ms in (1_001_000, 1_002_000):
        await running.engine.evaluate(apart, at_ms)
    assert running.commits == 2
    assert [value for _, _, value in running.stored("total")] == [3.0, 3.0]
    assert len(running.stored("ALERTS")) == 2


async def test_series_the_storage_forgot_are_made_again(running: Running) -> None:
    recording = group(RuleConfig(record="doubled", expr="2 * m"))
    await running.engine.evaluate(recording, 1_001_000)
    recording.refs = dict.fromkeys(recording.refs, 99_999)
    await running.engine.evaluate(recording, 1_002_000)
    assert [at for _, at, _ in running.stored("doubled")] == [1_001_000, 1_002_000] * 2
