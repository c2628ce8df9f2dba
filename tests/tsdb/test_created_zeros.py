"""created-timestamp-zero-ingestion: a zero where a counter began, if that is news."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tsdb_model import BASE_MS, EVER, matching

from wavetank.model.histogram import CounterResetHint, FloatHistogram
from wavetank.model.labels import Labels
from wavetank.tsdb.db import DB

COUNTER = Labels.of(__name__="requests_total", job="test")
HOUR_MS = 3_600_000
#: samples as (time, value, began) in commits, and what is stored then
CASES: dict[str, tuple[list[tuple[int, float, int]], list[tuple[int, float]]]] = {
    "the first sample": ([(1000, 5, 400)], [(400, 0), (1000, 5)]),
    "the same beginning again": ([(1000, 5, 400), (2000, 6, 400)], [(400, 0), (1000, 5), (2000, 6)]),
    "a restart": (
        [(1000, 5, 400), (2000, 1, 1500)],
        [(400, 0), (1000, 5), (1500, 0), (2000, 1)],
    ),
    "unknown": ([(1000, 5, 0)], [(1000, 5)]),
    "not before the sample": ([(1000, 5, 1000), (2000, 6, 3000)], [(1000, 5), (2000, 6)]),
    "as old as the last sample": ([(1000, 5, 0), (2000, 1, 1000)], [(1000, 5), (2000, 1)]),
    "after a gap": (
        [(1000, 5, 0), (3 * HOUR_MS, 9, 2000)],
        [(1000, 5), (2000, 0), (3 * HOUR_MS, 9)],
    ),
}


def stored(db: DB) -> list[tuple[int, float]]:
    batch = db.select(matching("job", "test"), *EVER)
    return list(zip((batch.timestamps_ms - BASE_MS).tolist(), batch.values.tolist(), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_float_counters(open_db: Callable[..., DB], name: str) -> None:
    samples, wanted = CASES[name]
    db = open_db(created_zeros=True)
    for t, value, began in samples:
        appender = db.appender()
        ref = np.array([db.series_ref(COUNTER)])
        appender.append_batch(
            ref, ref * 0 + BASE_MS + t, np.array([float(value)]), ref * 0 + (BASE_MS + began if began else 0)
        )
        counts = appender.commit()
        assert (counts.appended, counts.backfilled, counts.out_of_order) == (1, 0, 0)
    assert stored(db) == wanted
    db.close()
    db = open_db()
    assert stored(db) == wanted


def test_zeros_do_not_reach_far_behind_the_newest_sample(open_db: Callable[..., DB]) -> None:
    """A new series of a process that has run for days gets no zero days ago."""
    db = open_db(created_zeros=True)
    for labels, t, began in ((COUNTER, 10 * HOUR_MS, 0), (Labels.of(job="test"), 10 * HOUR_MS, HOUR_MS)):
        appender = db.appender()
        ref = np.array([db.series_ref(labels)])
        appender.append_batch(
            ref, ref * 0 + BASE_MS + t, np.ones(1), ref * 0 + (BASE_MS + began) * (began > 0)
        )
        appender.commit()
    assert stored(db) == [(10 * HOUR_MS, 1.0)] * 2


def test_without_the_option_there_are_none(open_db: Callable[..., DB]) -> None:
    db = open_db()
    appender = db.appender()
    ref = np.array([db.series_ref(COUNTER)])
    appender.append_batch(ref, ref * 0 + BASE_MS, np.ones(1), ref * 0 + BASE_MS - 5)
    appender.commit()
    assert stored(db) == [(0, 1.0)]


def test_native_histograms(open_db: Callable[..., DB]) -> None:
    db = open_db(created_zeros=True)
    for t, count, began in ((1000, 5.0, 400), (2000, 7.0, 400), (3000, 1.0, 2500)):
        sample = FloatHistogram(2, count, count, 0.01, 0.0, ((1, 1),), (count,))
        appender = db.appender()
        appender.append_histogram(0, COUNTER, BASE_MS + t, sample, BASE_MS + began)
        assert appender.commit().out_of_order == 0
    for _ in range(2):
        batch = db.select(matching("job", "test"), *EVER)
        assert batch.histograms is not None
        found = [(t - BASE_MS, h.count) for t, h in zip(batch.timestamps_ms, batch.histograms, strict=True)]
        assert found == [(400, 0), (1000, 5), (2000, 7), (2500, 0), (3000, 1)]
        assert {(h.schema, h.zero_threshold) for h in batch.histograms} == {(2, 0.01)}
        assert batch.histograms[1].counter_reset_hint in (
            CounterResetHint.NOT_RESET,
            CounterResetHint.UNKNOWN,
        )
        db.flush()


def test_many_histograms_of_one_series_in_one_commit(open_db: Callable[..., DB]) -> None:
    db = open_db(created_zeros=True)
    appender = db.appender()
    for t, count, began in ((1000, 5.0, 400), (2000, 7.0, 400), (3000, 1.0, 2500)):
        sample = FloatHistogram(2, count, count, 0.01, 0.0, ((1, 1),), (count,))
        appender.append_histogram(0, COUNTER, BASE_MS + t, sample, BASE_MS + began)
    counts = appender.commit()
    assert (counts.appended, counts.backfilled) == (3, 0)
    batch = db.select(matching("job", "test"), *EVER)
    assert (batch.timestamps_ms - BASE_MS).tolist() == [400, 1000, 2000, 2500, 3000]


def test_many_floats_of_one_series_in_one_commit(open_db: Callable[..., DB]) -> None:
    """Each zero stands before its sample, between the others."""
    db = open_db(created_zeros=True, start_storage=True, float_chunks="xor2")
    ref = db.series_ref(COUNTER)
    other = db.series_ref(Labels.of(__name__="other"))
    appender = db.appender()
    refs = np.array([ref, other, ref, ref, ref])
    times = BASE_MS + np.array([1000, 1000, 2000, 3000, 4000])
    starts = BASE_MS + np.array([400, 500, 400, 2500, 2500])
    appender.append_batch(refs, times, np.array([5.0, 1.0, 7.0, 1.0, 2.0]), starts)
    counts = appender.commit()
    assert (counts.appended, counts.backfilled, counts.duplicate) == (5, 0, 0)
    for _ in range(2):
        assert stored(db) == [(400, 0), (1000, 5), (2000, 7), (2500, 0), (3000, 1), (4000, 2)]
        begun = db.select(matching("job", "test"), *EVER).start_timestamps_ms
        assert begun is not None
        assert begun.tolist() == [0, BASE_MS + 400, BASE_MS + 400, 0, BASE_MS + 2500, BASE_MS + 2500]
        db.flush()
