"""Advice on rate() and increase(): asked for only, and about what was seen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wavetank.model.labels import Labels
from wavetank.promql.context import EngineOptions
from wavetank.promql.engine import Engine
from wavetank.promql.promqltest.memory import MemoryStorage

SECOND = 1000
MINUTE = 60 * SECOND


def storage() -> MemoryStorage:
    """Every 15 s but for jitter, and one series every minute."""
    out = MemoryStorage()
    for pod, width in (("a", 15), ("b", 15), ("slow", 60)):
        samples = [(i * width * SECOND + (i % 3), float(i)) for i in range(1800 // width)]
        out.add_series(Labels.of(__name__="c_total", pod=pod), samples)
    return out


SHORT = (
    'PromQL info: {0}() over {1} for metric name "c_total": samples of {2} series are {3} apart, so that one '
    "missed scrape leaves a gap or a wrong slope; use a range of at least {4} ({5})"
)
FEW = (
    'PromQL info: {0}() over {1} for metric name "c_total": {2} series have fewer than 2 samples in some window, '
    "which gives no result there; {3}, unless they begin or end there ({4})"
)
CASES = [
    ('rate(c_total{pod="a"}[1m])', []),
    ('rate(c_total{pod="a"}[45s])', [SHORT.format("rate", "45s", "1 of 1", "15s", "1m", "1:6")]),
    ("increase(c_total[4m])", []),
    ("increase(c_total[3m])", [SHORT.format("increase", "3m", "1 of 3", "1m", "4m", "1:10")]),
    (
        'sum(rate(c_total{pod="a"}[15s]))',
        [FEW.format("rate", "15s", "1 of 1", "use a wider range", "1:10")],
    ),
    (
        "rate(c_total[1m])",
        [FEW.format("rate", "1m", "1 of 3", "use a wider range", "1:6")],
    ),
    ("delta(c_total[15s])", []),
    ("rate(absent_total[1s])", []),
    ("rate(c_total[15s] anchored)", []),
]


@pytest.mark.parametrize(("query", "infos"), CASES, ids=[query for query, _ in CASES])
def test_advice_names_what_was_seen(query: str, infos: list[str]) -> None:
    options = EngineOptions(advise=True)
    options = replace(options, parser=replace(options.parser, extended_ranges=True))
    advised = Engine(options).query_instant(storage(), query, 20 * MINUTE)
    assert advised.infos == infos
    plain = Engine(replace(options, advise=False)).query_instant(storage(), query, 20 * MINUTE)
    assert plain.infos == []
    assert [plain.vector(), plain.warnings] == [advised.vector(), advised.warnings]


def test_a_step_over_the_range_skips_samples() -> None:
    query = 'rate(c_total{pod="a"}[1m])'
    engine = Engine(EngineOptions(advise=True))
    found = engine.query_range(storage(), query, 5 * MINUTE, 25 * MINUTE, 5 * MINUTE)
    assert found.infos == [
        'PromQL info: rate() over 1m for metric name "c_total": the query\'s step of 5m is longer, so that 80% of '
        "the time is not looked at; use a range of at least 5m (1:6)"
    ]
    assert engine.query_range(storage(), query, 5 * MINUTE, 25 * MINUTE, MINUTE).infos == []
