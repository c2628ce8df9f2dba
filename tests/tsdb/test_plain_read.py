"""The short way from the head to a query's columns gives what the general way gives, to the last bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tsdb_model import BASE_MS, EVER, Model, matching

from wavetank.model.labels import Labels, Matcher, MatchType
from wavetank.model.series import SeriesBatch
from wavetank.model.value import STALE_NAN
from wavetank.promql.engine import Engine
from wavetank.promql.result_json import encode_result
from wavetank.tsdb import db as db_module
from wavetank.tsdb.chunkenc.xor import xor_chunk
from wavetank.tsdb.db import DB
from wavetank.tsdb.head_source import HeadSource
from wavetank.tsdb.plain_read import Copied, decoded

SELECTORS = [
    matching("job", "test"),
    matching("__name__", "metric_1"),
    [*matching("__name__", "metric_2"), *matching("series", "1.*", MatchType.REGEXP)],
    matching("series", "3|4|new-1", MatchType.REGEXP),
    [*matching("job", "test"), *matching("series", "", MatchType.EQUAL)],
    [*matching("job", "test"), *matching("series", "2|7|no", MatchType.NOT_REGEXP)],
]
QUERIES = [
    "sum by (job) (rate(metric_1[5m]))",
    "sum without (series) (increase(metric_2[3m]))",
    "count by (series) (last_over_time({job='test'}[10m]))",
    "rate(metric_0[4m])",
    "topk(3, metric_1)",
    "avg by (__name__, job) ({job='test'})",
    "max_over_time(metric_2[7m]) / on (series) metric_2",
]


def bits(values: npt.NDArray[np.float64]) -> list[int]:
    return np.asarray(values, np.float64).view(np.int64).tolist()


def same(one: SeriesBatch, other: SeriesBatch) -> None:
    assert list(one.labels) == list(other.labels)
    assert one.offsets.tolist() == other.offsets.tolist()
    assert one.timestamps_ms.tolist() == other.timestamps_ms.tolist()
    assert bits(one.values) == bits(other.values)


def compare(db: DB, low_ms: int, high_ms: int) -> None:
    """Everything asked twice, so that what is remembered answers too; then without the short way."""
    engine = Engine()
    step = max(1, (high_ms - low_ms) // 7)

    def ask() -> tuple[list[SeriesBatch], list[bytes]]:
        batches = [db.select(matchers, low_ms, high_ms) for matchers in SELECTORS]
        instants = [encode_result(engine.query_instant(db, text, high_ms)) for text in QUERIES]
        ranges = [encode_result(engine.query_range(db, text, low_ms, high_ms, step)) for text in QUERIES]
        return batches, instants + ranges

    answers = [ask(), ask()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HeadSource, "read", lambda *_: None)
        patch.setattr(db_module, "read_of_block", lambda *_: None)
        batches, results = ask()
    for found, shown in answers:
        assert shown == results
        for one, other in zip(found, batches, strict=True):
            same(one, other)


ODD = [0.0, -0.0, 1.5, -7.25, float("inf"), float("nan"), STALE_NAN, 1e300, 5e-324]


def write_odd(model: Model, random: np.random.Generator, first: int, count: int) -> None:
    """Counters with resets, gaps, irregular times and odd values, and a series that is new each time."""
    db = model.db
    fresh = Labels.of(__name__="metric_1", series=f"new-{first}", job="test")
    refs = np.append(model.refs(), db.series_ref(fresh))
    values = np.zeros(len(refs))
    time = BASE_MS + first * 15_000
    for step in range(first, first + count):
        time += int(random.choice([15_000, 15_000, 15_000, 14_999, 15_120, 200_000]))
        values = np.where(np.isfinite(values), values, 0.0) + random.integers(0, 5, len(refs))
        if random.random() < 0.1:
            values[random.integers(len(refs))] = random.choice(ODD)
        present = random.random(len(refs)) < 0.9
        appender = db.appender()
        appender.append_batch(refs[present], np.full(len(refs), time)[present], values[present])
        appender.commit()
        if step % 40 == 7:
            values[:] = 0


@pytest.mark.parametrize(
    "seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 6))]
)
def test_what_is_short_is_the_same(seed: int, open_db: Callable[..., DB]) -> None:
    random = np.random.default_rng(seed)
    model = Model(open_db(head_chunks_in_memory=8))
    now = BASE_MS
    for turn in range(5):
        write_odd(model, random, turn * 150, 60)
        now = model.db.store.head.maxt_ms
        compare(model.db, now - 600_000, now)
        compare(model.db, *sorted(random.integers(BASE_MS, now, 2).tolist()))
        if turn == 1:
            model.write_late(20, now - 900_000, now - 300_000)
            compare(model.db, now - 600_000, now)
        if turn == 2:
            model.db.delete(matching("series", "4"), now - 500_000, now - 100_000)
            model.db.delete(matching("series", "5"), *EVER)
            compare(model.db, now - 600_000, now)
        if turn == 3:
            model.db.compact()  # rows go, and others take their numbers
            compare(model.db, now - 600_000, now)
    model.db.flush()
    compare(model.db, now - 600_000, now)


def test_series_that_came_or_went_are_seen_at_once(open_db: Callable[..., DB]) -> None:
    model = Model(open_db(), series=4)
    model.write(0, 10)
    wanted = matching("job", "test")
    assert len(model.db.select(wanted, *EVER).labels) == 4
    ref = model.db.series_ref(Labels.of(__name__="metric_0", series="0a", job="test"))
    assert len(model.db.select(wanted, *EVER).labels) == 4  # it has no sample yet
    appender = model.db.appender()
    appender.append_batch(np.array([ref]), np.array([BASE_MS + 60_000]), np.array([1.0]))
    appender.commit()
    found = model.db.select(wanted, *EVER).labels
    assert [labels.get("series") for labels in found] == ["0", "0a", "3", "1", "2"]
    model.db.flush()  # all series leave the head
    assert len(model.db.select(wanted, *EVER).labels) == 5
    assert not len(model.db.select([Matcher(MatchType.EQUAL, "series", "none")], *EVER).labels)


@settings(max_examples=200)
@given(st.data())
def test_damaged_chunks_are_refused_or_read_within_bounds(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 40))
    random = np.random.default_rng(data.draw(st.integers(0, 1000)))
    times = BASE_MS + np.cumsum(random.integers(1, 100_000, count))
    chunk = bytearray(xor_chunk(times, random.normal(size=count)))
    for _ in range(data.draw(st.integers(0, 3))):
        chunk[data.draw(st.integers(2, len(chunk) - 1))] = data.draw(st.integers(0, 255))
    size = data.draw(st.integers(2, len(chunk)))
    padded = bytes(chunk[:size]) + bytes(-size % 8 + 64)
    words = np.frombuffer(padded, ">u8").astype(np.uint64)
    claimed = data.draw(st.integers(1, 60))
    chunks = np.array([[0, 0, size, claimed, 0]], np.int64)
    found = decoded(Copied(chunks, 1, claimed, words), 1, *EVER)
    assert found is None or (len(found.values) <= claimed and (np.diff(found.timestamps_ms) > 0).all())
