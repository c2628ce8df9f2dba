"""The engine as a library: results as columns, limits, cancel, deadline, and what it asks of a storage."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wavetank.clock import VirtualClock
from wavetank.errors import CheckFailed, InputError
from wavetank.model.labels import Labels, Matcher
from wavetank.model.value import STALE_NAN
from wavetank.promql import range_functions
from wavetank.promql.context import EngineOptions, QueryContext
from wavetank.promql.engine import Engine, QueryCanceled, QueryError, QueryTimeout, QueryTooBig
from wavetank.promql.options import EXPERIMENTAL
from wavetank.promql.parser import ParseError
from wavetank.promql.promqltest.memory import MemoryStorage
from wavetank.promql.result_json import encode_result
from wavetank.promql.storage import SelectHints, SeriesBatch

MINUTE = 60_000
DATA = Path(__file__).parent / "data"


def storage(series: int = 3, samples: int = 10) -> MemoryStorage:
    out = MemoryStorage()
    for i in range(series):
        labels = Labels.of(__name__="requests_total", pod=f"p{i}")
        out.add_series(labels, [(s * MINUTE, float(i + s * (i + 1))) for s in range(samples)])
    return out


def test_range_result_is_columns() -> None:
    result = Engine().query_range(storage(), "rate(requests_total[2m])", 0, 5 * MINUTE, MINUTE)
    assert result.type == "matrix"
    assert [str(lb) for lb in result.labels] == ['{pod="p0"}', '{pod="p1"}', '{pod="p2"}']
    assert result.steps.tolist() == [0, 60_000, 120_000, 180_000, 240_000, 300_000]
    assert result.values.shape == result.mask.shape == (3, 6)
    assert not result.mask[:, 0].any()
    assert result.mask[:, 1:].all()
    np.testing.assert_allclose(result.values[:, 2:], np.array([[1], [2], [3]]) / 60 * np.ones(4))


def test_instant_results_by_type() -> None:
    engine = Engine()
    vector = engine.query_instant(storage(), "sum by (pod) (requests_total)", MINUTE)
    assert vector.vector() == [
        (Labels.of(pod="p0"), MINUTE, 1.0),
        (Labels.of(pod="p1"), MINUTE, 3.0),
        (Labels.of(pod="p2"), MINUTE, 5.0),
    ]
    assert engine.query_instant(storage(), "time() + 1", MINUTE).scalar == 61
    assert engine.query_instant(storage(), '("text")', MINUTE).text == "text"


def test_raw_matrix_keeps_each_series_own_times() -> None:
    store = MemoryStorage()
    store.add_series(Labels.of(__name__="m", a="1"), [(1000, 1.0), (2000, STALE_NAN), (3000, 3.0)])
    store.add_series(Labels.of(__name__="m", a="2"), [(1500, 4.0)])
    result = Engine().query_instant(store, "m[10s]", 5000)
    assert [(t.tolist(), v.tolist()) for _, t, v, _ in result.series()] == [
        ([1000, 3000], [1.0, 3.0]),
        ([1500], [4.0]),
    ]
    dense = result.dense()
    assert dense.steps.tolist() == [1000, 1500, 3000]
    assert dense.mask.tolist() == [[True, False, True], [False, True, False]]


def test_arrow_table() -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is an optional dependency")
    table = Engine().query_range(storage(2), "requests_total", 0, MINUTE, MINUTE).to_arrow()
    assert table.column_names == ["series", "time", "value"]
    assert table.column("value").to_pylist() == [0.0, 1.0, 1.0, 3.0]
    assert dict(table.column("series")[3].as_py())["pod"] == "p1"


def test_unsorted_results_of_a_range_are_sorted_by_labels() -> None:
    result = Engine().query_range(storage(), "sort_desc(requests_total)", 0, MINUTE, MINUTE)
    assert [lb.get("pod") for lb in result.labels] == ["p0", "p1", "p2"]
    assert result.warnings == [
        "PromQL warning: sort is ineffective for range queries since results are always ordered by labels (1:1)"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("requests_total[5m]", 'invalid expression type "range vector" for range query'),
        ('"x"', 'invalid expression type "string" for range query'),
    ],
)
def test_ranges_must_be_of_vectors_or_scalars(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Engine().query_range(storage(), text, 0, MINUTE, MINUTE)


def test_step_must_be_positive() -> None:
    with pytest.raises(InputError, match="step of 0 ms"):
        Engine().query_range(storage(), "up", 0, MINUTE, 0)


def test_end_before_start_is_empty() -> None:
    assert list(Engine().query_range(storage(), "requests_total", MINUTE, 0, MINUTE).labels) == []


def test_experimental_parts_are_off_by_default() -> None:
    with pytest.raises(ParseError, match="is not enabled"):
        Engine().query_instant(storage(), "info(requests_total)", 0)
    Engine(EngineOptions(parser=EXPERIMENTAL)).query_instant(storage(), "info(requests_total)", 0)


def test_names_drop_at_once_unless_delayed() -> None:
    text = 'sum by (__name__) (rate({__name__=~"requests_total"}[5m]))'
    at_once = Engine().query_instant(storage(), text, 5 * MINUTE)
    delayed = Engine(EngineOptions(delayed_name_removal=True)).query_instant(storage(), text, 5 * MINUTE)
    assert [lb.pairs for lb in at_once.labels] == [()]
    assert [lb.pairs for lb in delayed.labels] == [()]
    kept = Engine().query_instant(storage(), "last_over_time(requests_total[5m])", 5 * MINUTE)
    assert kept.labels[0].name == "requests_total"


class Endless(MemoryStorage):
    """Pretends to hold a billion samples; refuses as a real storage does, before it reads them."""

    def select(
        self, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int, hints: SelectHints | None = None
    ) -> SeriesBatch:
        assert hints is not None
        if hints.samples_max and hints.samples_max < 10**9:
            raise CheckFailed("selecting about 1000000000 samples, 50000000 allowed")
        raise AssertionError("the engine must pass its limit on")


def test_a_billion_samples_are_a_clear_error() -> None:
    with pytest.raises(QueryTooBig, match="1000000000"):
        Engine().query_instant(Endless(), "sum(rate(m[30d]))", 0)


def test_sample_limit_says_what_was_needed() -> None:
    engine = Engine(EngineOptions(samples_max=100))
    with pytest.raises(QueryTooBig) as caught:
        engine.query_range(storage(20), "requests_total", 0, 9 * MINUTE, MINUTE)
    assert caught.value.message == (
        "query processing would load too many samples into memory in query execution"
    )
    assert "needs about 200 at once and may hold 100" in str(caught.value)
    engine.query_range(storage(2), "requests_total", 0, 9 * MINUTE, MINUTE)


def test_memory_budget_is_checked_before_allocating() -> None:
    engine = Engine(EngineOptions(memory_bytes_max=50 << 20))
    with pytest.raises(QueryTooBig, match=r"about \d+ MiB of memory, over its budget of 50 MiB"):
        engine.query_range(storage(3), "requests_total", 0, 10_000_000_000, 1000)


def test_too_many_steps_are_refused() -> None:
    with pytest.raises(QueryTooBig, match="steps"):
        Engine().query_range(storage(), "1", 0, 10**13, 1)
    with pytest.raises(QueryTooBig, match="subquery of"):
        Engine().query_instant(storage(), "sum_over_time(requests_total[100y:1ms])", 0)


def test_budget_is_what_is_held_at_once() -> None:
    context = QueryContext.of(EngineOptions())
    chain = " + ".join(["sum(requests_total)"] * 20)
    Engine().query_range(storage(50), chain, 0, 9 * MINUTE, MINUTE, context)
    assert context.samples_peak < 2 * 50 * 10


def test_cancel() -> None:
    context = QueryContext.of(EngineOptions())
    context.cancel()
    with pytest.raises(QueryCanceled, match="query was canceled"):
        Engine().query_instant(storage(), "requests_total", 0, context)


def test_deadline_by_the_clock() -> None:
    clock = VirtualClock()
    context = QueryContext.of(EngineOptions(timeout_seconds=10), clock)
    clock.run_until(11)
    with pytest.raises(QueryTimeout, match="query timed out"):
        Engine(clock=clock).query_instant(storage(), "requests_total", 0, context)


def test_one_failing_query_leaves_the_engine_as_it_was() -> None:
    engine = Engine(EngineOptions(samples_max=25))
    before = engine.query_instant(storage(), "requests_total", MINUTE).vector()
    with pytest.raises(QueryError):
        engine.query_range(storage(), "requests_total", 0, 9 * MINUTE, MINUTE)
    assert engine.query_instant(storage(), "requests_total", MINUTE).vector() == before


class Spy(MemoryStorage):
    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[int, int, SelectHints | None]] = []

    def select(
        self, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int, hints: SelectHints | None = None
    ) -> SeriesBatch:
        self.asked.append((mint_ms, maxt_ms, hints))
        return super().select(matchers, mint_ms, maxt_ms, hints)


@pytest.mark.parametrize(
    ("text", "mint", "maxt"),
    [
        ("m", 1_000_000 - 300_000 + 1, 1_060_000),
        ("m offset 1m", 940_000 - 300_000 + 1, 1_000_000),
        ("m @ 500", 500_000 - 300_000 + 1, 500_000),
        ("rate(m[2m])", 1_000_000 - 120_000 + 1, 1_060_000),
        ("rate(m[2m] offset -1m)", 1_060_000 - 120_000 + 1, 1_120_000),
        ("rate(m[2m] anchored)", 1_000_000 - 120_000 - 300_000 + 1, 1_060_000),
        ("rate(m[2m] smoothed)", 1_000_000 - 120_000 - 300_000 + 1, 1_360_000),
        ("sum_over_time(m[10m:1m])", 420_000 - 300_000 + 1, 1_020_000),
    ],
)
def test_asks_the_storage_for_no_more_than_it_needs(text: str, mint: int, maxt: int) -> None:
    spy = Spy()
    Engine(EngineOptions(parser=EXPERIMENTAL)).query_range(spy, text, 1_000_000, 1_060_000, 60_000)
    [(got_mint, got_maxt, hints)] = spy.asked
    assert (got_mint, got_maxt) == (mint, maxt)
    assert hints is not None
    assert hints.samples_max == 50_000_000


class ReadOnly(MemoryStorage):
    """Columns as a memory-mapped storage may give them."""

    def select(
        self, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int, hints: SelectHints | None = None
    ) -> SeriesBatch:
        batch = super().select(matchers, mint_ms, maxt_ms, hints)
        for column in (batch.offsets, batch.timestamps_ms, batch.values):
            column.flags.writeable = False
        return batch


def test_read_only_columns_are_fine() -> None:
    store: Any = ReadOnly()
    store._series = storage()._series
    assert len(Engine().query_instant(store, "rate(requests_total[5m])", 5 * MINUTE).labels) == 3


def test_parsing_does_not_import_numpy() -> None:
    check = (
        "import sys; import wavetank.promql.parser, wavetank.promql.printer; "
        "sys.exit(1 if {'numpy', 'numba'} & set(sys.modules) else 0)"
    )
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


PARSED = [
    case["input"]
    for case in json.loads((DATA / "parse_test_inputs.json").read_text(encoding="utf-8"))
    if not case["fail"] and isinstance(case["input"], str)
]


@pytest.mark.parametrize("series", [0, 3])
def test_every_query_of_the_parser_table_runs_or_fails_as_a_query(series: int) -> None:
    engine = Engine(EngineOptions(parser=EXPERIMENTAL, memory_bytes_max=256 << 20))
    store = MemoryStorage()
    for i in range(series):
        for name in ("foo", "bar", "some_metric", "test", "a", "b"):
            store.add_series(Labels.of(__name__=name, a=str(i)), [(s * MINUTE, 1.5) for s in range(5)])
    for text in PARSED:
        for start, end in ((0, 0), (0, 4 * MINUTE), (-MINUTE, 0)):
            try:
                encode_result(engine.query_instant(store, text, end))
                encode_result(engine.query_range(store, text, start, end, MINUTE))
            except (QueryError, InputError):
                pass


@pytest.mark.parametrize(
    "text",
    [
        "abs(" * 115 + "foo" + ")" * 115,
        "sum(" * 115 + "foo" + ")" * 115,
        "(" * 115 + "foo" + ")" * 115,
        "-(" * 55 + "foo" + ")" * 55,
        " or ".join(["foo"] * 190),
        " + ".join(["foo"] * 190),
        "sum_over_time(" * 30 + "foo" + "[2m:1m])" * 30,
        "label_replace(" * 110 + "foo" + ', "x", "", "", "")' * 110,
    ],
    ids=lambda t: t[:20],
)
def test_the_deepest_queries_that_parse_also_run(text: str) -> None:
    store = MemoryStorage()
    store.add_series(Labels.of(__name__="foo"), [(0, 1.0)])
    assert len(Engine().query_instant(store, text, 0).labels) == 1
    assert len(Engine().query_range(store, text, 0, MINUTE, MINUTE).labels) == 1


def test_count_values_is_refused_before_its_result_is_made() -> None:
    engine = Engine(EngineOptions(memory_bytes_max=300_000))
    distinct, steps = storage(20, 100), 99 * MINUTE
    assert len(engine.query_range(distinct, "sum(requests_total)", 0, steps, MINUTE).labels) == 1
    with pytest.raises(QueryTooBig, match="would use about"):
        engine.query_range(distinct, 'count_values("v", requests_total)', 0, steps, MINUTE)


def test_long_walks_over_windows_stop_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    text, many = "quantile_over_time(0.5, requests_total[50m])", storage(50, 100)
    whole = Engine().query_range(many, text, 0, 99 * MINUTE, MINUTE)
    monkeypatch.setattr(range_functions, "PROMQL_WALKED_SAMPLES", 1000)
    parts = Engine().query_range(many, text, 0, 99 * MINUTE, MINUTE)
    assert np.array_equal(parts.values, whole.values) and np.array_equal(parts.mask, whole.mask)
    context = QueryContext()
    looks = 0

    def check(stage: str = "") -> None:
        nonlocal looks
        looks += 1

    monkeypatch.setattr(context, "check", check)
    Engine().query_range(many, text, 0, 99 * MINUTE, MINUTE, context)
    assert looks > 50
