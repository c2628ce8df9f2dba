"""Which native histograms share a chunk, in what layout, and what the chunk says of counter resets."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tsdb_model import BASE_MS, EVER, matching

from wavetank.model.histogram import STALE_HISTOGRAM, CounterResetHint, FloatHistogram, spans_of
from wavetank.model.labels import Labels
from wavetank.tsdb.chunkenc import FLOAT_HISTOGRAM, HISTOGRAM
from wavetank.tsdb.chunkenc.histogram import decode_histograms, encode_histograms
from wavetank.tsdb.chunkenc.histogram_run import HistogramRun, runs_of
from wavetank.tsdb.db import DB

UNKNOWN, RESET = CounterResetHint.UNKNOWN, CounterResetHint.RESET
NOT_RESET, GAUGE = CounterResetHint.NOT_RESET, CounterResetHint.GAUGE


def hist(buckets: dict[int, float], **changes: Any) -> FloatHistogram:
    """A histogram with these positive buckets, and the negative ones of ``negative``."""
    negative: dict[int, float] = changes.pop("negative", {})
    zero = changes.pop("zero_count", 0.0)
    total = sum(buckets.values()) + sum(negative.values()) + zero
    return FloatHistogram(
        changes.pop("schema", 0),
        changes.pop("count", total),
        total * 1.5,
        changes.pop("width", 0.001),
        zero,
        spans_of(sorted(buckets)),
        tuple(buckets[i] for i in sorted(buckets)),
        spans_of(sorted(negative)),
        tuple(negative[i] for i in sorted(negative)),
        **changes,
    )


def gauge(buckets: dict[int, float], **changes: Any) -> FloatHistogram:
    return hist(buckets, counter_reset_hint=GAUGE, **changes)


FIRST = hist({0: 1, 1: 0, 5: 2})
#: what follows FIRST, whether it stands in the same chunk, what a new one says, and the layout's indexes
CASES: dict[str, tuple[FloatHistogram, bool, CounterResetHint, list[int]]] = {
    "the same buckets": (hist({0: 2, 1: 0, 5: 2}), True, UNKNOWN, [0, 1, 5]),
    "more buckets": (hist({-1: 1, 0: 1, 1: 0, 3: 1, 5: 2}), True, UNKNOWN, [-1, 0, 1, 3, 5]),
    "an empty one missing": (hist({0: 2, 5: 2}), True, UNKNOWN, [0, 1, 5]),
    "both": (hist({0: 2, 5: 2, 6: 1}), True, UNKNOWN, [0, 1, 5, 6]),
    "negative ones": (hist({0: 1, 1: 0, 5: 2}, negative={2: 4}), True, UNKNOWN, [0, 1, 5]),
    "a used one missing": (hist({0: 2, 1: 5}), False, RESET, [0, 1]),
    "less in a bucket": (hist({0: 0, 1: 9, 5: 2}), False, RESET, [0, 1, 5]),
    "a smaller count": (hist({0: 1, 1: 0, 5: 1}), False, RESET, [0, 1, 5]),
    "said to be reset": (hist({0: 2, 1: 0, 5: 2}, counter_reset_hint=RESET), False, RESET, [0, 1, 5]),
    "another schema": (hist({0: 2, 1: 0, 5: 2}, schema=1), False, UNKNOWN, [0, 1, 5]),
    "another zero bucket": (hist({0: 2, 1: 0, 5: 2}, width=0.1), False, UNKNOWN, [0, 1, 5]),
    "a gauge": (gauge({0: 2, 1: 0, 5: 2}), False, GAUGE, [0, 1, 5]),
    "a stale marker": (STALE_HISTOGRAM, True, UNKNOWN, [0, 1, 5]),
    "parts of observations": (hist({0: 1.5, 1: 0, 5: 2}), False, UNKNOWN, [0, 1, 5]),
}


@pytest.mark.parametrize("name", CASES)
def test_a_second_counter_histogram(name: str) -> None:
    second, together, header, indexes = CASES[name]
    runs = runs_of([(0, FIRST), (15, second)])
    assert len(runs) == (1 if together else 2)
    assert runs[-1].header is header
    assert runs[-1].layout[0] == spans_of(indexes)
    chunks = encode_histograms([(0, FIRST), (15, second)])
    flags = {UNKNOWN: 0x00, RESET: 0x80, NOT_RESET: 0x40, GAUGE: 0xC0}
    assert chunks[-1][3][2] == flags[header]
    found = [h for _, _, encoding, data in chunks for _, h in decode_histograms(encoding, data)]
    assert [h.compact().equals(w.compact()) for h, w in zip(found, (FIRST, second), strict=True)] == [
        True
    ] * 2


@pytest.mark.parametrize(
    ("first", "second", "chunks"),
    [
        (gauge({0: 3, 2: 1}), gauge({0: 1, 4: 2}), 1),  # gauges fall, and lose buckets they used
        (gauge({0: 3}), gauge({0: 3}, width=0.5), 2),
        (gauge({0: 3}), hist({0: 4}), 2),
        (gauge({0: 3}), STALE_HISTOGRAM, 2),  # a marker is no gauge, as upstream has it
        (STALE_HISTOGRAM, STALE_HISTOGRAM, 1),
        (STALE_HISTOGRAM, hist({0: 1}), 2),
        (hist({0: 1.5}), hist({0: 2}), 1),  # whole numbers fit a chunk of floats
    ],
)
def test_other_pairs(first: FloatHistogram, second: FloatHistogram, chunks: int) -> None:
    made = encode_histograms([(0, first), (15, second)])
    assert len(made) == chunks
    found = [h for _, _, encoding, data in made for _, h in decode_histograms(encoding, data)]
    assert all(h.compact().equals(w.compact()) for h, w in zip(found, (first, second), strict=True))


def test_a_full_chunk_says_that_the_next_goes_on() -> None:
    run = HistogramRun.begun((0, FIRST), UNKNOWN)
    assert run.followed_by((15, hist({0: 2, 1: 0, 5: 2}))).header is NOT_RESET
    assert run.followed_by((15, hist({0: 2}))).header is RESET
    assert run.followed_by((15, gauge({0: 2}))).header is GAUGE


counts = st.dictionaries(st.integers(-5, 12), st.integers(0, 40), max_size=6)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(counts, counts, st.booleans()), min_size=1, max_size=30), st.booleans())
def test_any_histograms_read_back(
    steps: list[tuple[dict[int, int], dict[int, int], bool]], whole: bool
) -> None:
    scale = 1.0 if whole else 1.25
    samples = []
    positive: dict[int, float] = {}
    for i, (more, negative, restarted) in enumerate(steps):
        positive = {} if restarted else dict(positive)
        for index, count in more.items():
            positive[index] = positive.get(index, 0.0) + count * scale
        samples.append((15 * i, hist(positive, negative={k: float(v) for k, v in negative.items()})))
    made = encode_histograms(samples)
    assert all(encoding in (HISTOGRAM, FLOAT_HISTOGRAM) for _, _, encoding, _ in made)
    found = [sample for _, _, encoding, data in made for sample in decode_histograms(encoding, data)]
    assert [t for t, _ in found] == [t for t, _ in samples]
    assert all(a.compact().equals(b.compact()) for (_, a), (_, b) in zip(found, samples, strict=True))


def growing(n: int) -> FloatHistogram:
    """Counts of a service that now and then sees a latency it has not seen before."""
    return hist({i * 3 - 7: float(1 + n - i * 40) for i in range(1 + n // 40)}, negative={0: float(n // 100)})


LATENCY = Labels.of(__name__="latency", job="test")


def fill(db: DB, samples: list[FloatHistogram], step_ms: int = 15_000) -> None:
    appender = db.appender()
    for n, sample in enumerate(samples):
        appender.append_histogram(0, LATENCY, BASE_MS + n * step_ms, sample)
    assert appender.commit().appended == len(samples)


def block_chunks(db: DB) -> list[tuple[int, int, int]]:
    """Encoding, mint and maxt of the chunks in blocks."""
    found = []
    for block in db.blocks:
        chunks = block.chunks(block.index.entries(block.index.all_rows()), *EVER)
        for k, low, high in zip(chunks.encoding, chunks.mint, chunks.maxt, strict=True):
            assert block.meta.min_time <= low <= high < block.meta.max_time
            found.append((int(k), int(low), int(high)))
    return found


def test_new_buckets_do_not_cut_chunks(open_db: Callable[..., DB]) -> None:
    db = open_db()
    samples = [growing(n) for n in range(700)]
    fill(db, samples)
    db.flush()
    batch = db.select(matching("job", "test"), *EVER)
    assert batch.histograms is not None
    assert all(h.compact().equals(s.compact()) for h, s in zip(batch.histograms, samples, strict=True))
    # 18 layouts in 700 samples over three hours; chunks end at about a kilobyte, and with a block
    assert len(block_chunks(db)) < 12


def test_late_histograms_are_stored_and_merged(open_db: Callable[..., DB]) -> None:
    db = open_db()
    fill(db, [growing(n) for n in range(700)])
    wanted = {BASE_MS + n * 15_000: growing(n) for n in range(700)}
    appender = db.appender()
    for t in (BASE_MS - 50_000_000, BASE_MS + 7, BASE_MS + 600 * 15_000 + 3):
        appender.append_histogram(0, LATENCY, t, hist({3: 1}))
        wanted[t] = hist({3: 1})
    assert appender.commit().backfilled == 3
    appender.append_histogram(0, LATENCY, BASE_MS + 7, hist({3: 1}))
    appender.append_histogram(0, LATENCY, BASE_MS + 7, hist({3: 2}))
    counts = appender.commit()
    assert (counts.repeated, counts.duplicate) == (1, 1)

    def check() -> None:
        batch = db.select(matching("job", "test"), *EVER)
        assert batch.histograms is not None
        found = dict(zip(batch.timestamps_ms.tolist(), batch.histograms, strict=True))
        assert found.keys() == wanted.keys()
        assert all(h.compact().equals(wanted[t].compact()) for t, h in found.items())

    check()
    db.close()
    db = open_db()
    check()
    db.compact()
    check()
    db.delete(matching("job", "test"), BASE_MS - 50_000_000, BASE_MS + 7)
    wanted = {t: h for t, h in wanted.items() if t > BASE_MS + 7}
    check()
    db.close()
    db = open_db()
    check()
    db.flush()
    db.compact()
    check()
    assert block_chunks(db)


@pytest.mark.peer
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs prometheus on the PATH")
def test_prometheus_2_reads_recoded_chunks(open_db: Callable[..., DB], tmp_path: Path) -> None:
    from test_interop import prometheus  # the server over a directory

    db = open_db()
    samples = [growing(n) for n in range(500)]
    samples[300] = STALE_HISTOGRAM
    samples[350:] = [growing(n) for n in range(150)]
    fill(db, samples)
    db.flush()
    assert len(db.blocks) == 2
    path = db.path
    db.close()
    end = BASE_MS + 500 * 15_000
    with prometheus(path, "--enable-feature=native-histograms") as ask:
        (row,) = ask("/api/v1/query", query='{job="test"}[7h]', time=str(end / 1000))["result"]
        counters = ask("/api/v1/query", query="histogram_count(increase(latency[7h]))", time=str(end / 1000))
    assert json.dumps(counters["result"]) != "[]"
    wanted = {BASE_MS + n * 15_000: h for n, h in enumerate(samples) if not h.is_stale}
    found = {round(float(t) * 1000): h for t, h in row["histograms"]}
    assert found.keys() == wanted.keys()
    for t, theirs in found.items():
        ours = wanted[t]
        assert float(theirs["count"]) == ours.count
        assert float(theirs["sum"]) == ours.sum
        buckets = [(float(low), float(high), float(n)) for _, low, high, n in theirs.get("buckets", [])]
        mine = [(b.lower, b.upper, b.count) for b in ours.buckets() if b.count]
        assert len(buckets) == len(mine)
        for (low, high, n), (lower, upper, count) in zip(buckets, mine, strict=True):
            assert (low, high, n) == (pytest.approx(lower), pytest.approx(upper), count)
