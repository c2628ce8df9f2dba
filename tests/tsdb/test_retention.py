"""Retention and downsampling by matcher: what queries give before and after."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from wavetank.clock import VirtualClock
from wavetank.model.histogram import FloatHistogram
from wavetank.model.labels import Labels, Matcher, MatchType
from wavetank.model.value import STALE_NAN, is_stale_nan
from wavetank.promql.context import EngineOptions
from wavetank.promql.engine import Engine
from wavetank.tsdb.bulk import BulkWriter
from wavetank.tsdb.db import DB
from wavetank.tsdb.options import HOUR_MS, Downsample, Options, RetentionRule

DAY = 24 * HOUR_MS
MINUTE = 60_000
BASE = 1_700_006_400_000 // DAY * DAY
CLOCK = VirtualClock(1.7e9)


def rule(name: str, time_ms: int = 0, *stages: Downsample) -> RetentionRule:
    return RetentionRule((Matcher(MatchType.EQUAL, "job", name),), time_ms, stages)


def series(name: str, job: str) -> Labels:
    return Labels.of(__name__=name, job=job)


def database(path: Path, samples: dict[Labels, tuple[list[int], list[float]]], *rules: RetentionRule) -> DB:
    """Blocks of a day each; retention of 10 days but for what the rules say."""
    path.mkdir(exist_ok=True)
    writer = BulkWriter(path, CLOCK, width_ms=DAY)
    for labels, (times, values) in samples.items():
        row = writer.rows([labels])
        writer.add(np.full(len(times), row[0]), np.array(times, np.int64), np.array(values, np.float64))
    writer.finish()
    return DB.open(path, Options(retention_ms=10 * DAY, max_block_ms=DAY, retention_rules=rules), CLOCK)


def found(db: DB, job: str) -> list[tuple[int, float]]:
    batch = db.select([Matcher(MatchType.EQUAL, "job", job)], -(1 << 62), 1 << 62)
    return list(zip(batch.timestamps_ms.tolist(), batch.values.tolist(), strict=True))


def value(db: DB, query: str, at_ms: int) -> list[float]:
    result = Engine(EngineOptions()).query_instant(db, query, at_ms)
    return [float(v) for v in result.values.ravel()]


def hourly(days: int) -> list[int]:
    return [BASE + k * HOUR_MS for k in range(1, days * 24)]


def test_each_rule_keeps_its_time_and_the_rest_the_databases(tmp_path: Path) -> None:
    times = hourly(30)
    data = {series("m", job): (times, [1.0] * len(times)) for job in ("short", "long", "other")}
    db = database(tmp_path / "d", data, rule("short", 3 * DAY), rule("long", 20 * DAY))
    db.compact()
    oldest = {job: (BASE + 30 * DAY - found(db, job)[0][0]) // DAY for job in ("short", "long", "other")}
    # whole blocks of a day go when their end is that much older than the newest block's
    assert oldest == {"short": 3, "other": 10, "long": 20}
    names = [b.meta.ulid for b in db.blocks]
    db.compact()
    assert [b.meta.ulid for b in db.blocks] == names, "nothing is due twice"
    db.close()


def test_the_first_rule_that_matches_decides(tmp_path: Path) -> None:
    times = hourly(6)
    everything = RetentionRule((), DAY)  # written {}
    data = {series("m", job): (times, [1.0] * len(times)) for job in ("a", "b")}
    db = database(tmp_path / "d", data, rule("a", 5 * DAY), everything)
    db.compact()
    assert len(found(db, "a")) > 4 * 24
    assert len(found(db, "b")) <= 24
    db.close()


def test_without_rules_nothing_is_written_anew(tmp_path: Path) -> None:
    db = database(tmp_path / "d", {series("m", "a"): (hourly(4), [1.0] * 95)})
    names = [b.meta.ulid for b in db.blocks]
    db.compact()
    assert [b.meta.ulid for b in db.blocks] == names
    assert all("wavetank" not in b.meta.extra for b in db.blocks)
    db.close()


def test_the_last_sample_of_a_window_is_what_evaluations_at_its_end_saw(tmp_path: Path) -> None:
    times = [BASE + k * 15_000 for k in range(1, 4 * 86_400 // 15)]
    values = [float(np.sin(k / 300) * 50) for k in range(len(times))]
    five = Downsample(2 * DAY, 5 * MINUTE)
    db = database(tmp_path / "d", {series("temperature", "a"): (times, values)}, rule("a", 0, five))
    moments = [BASE + k * 5 * MINUTE for k in range(1, 600, 37)]
    before = [value(db, "temperature", at) for at in moments]
    db.compact()
    assert [value(db, "temperature", at) for at in moments] == before
    day = [t for t, _ in found(db, "a") if t <= BASE + DAY]
    assert len(day) == 288 + 1  # a window that ends with the day is cut by the block's end
    assert len([t for t, _ in found(db, "a") if t > BASE + 3 * DAY]) > 5000
    db.close()


def increments(samples: list[tuple[int, float]]) -> float:
    """What a counter rose by, as increase() counts it without extrapolation."""
    pairs = itertools.pairwise(v for _, v in samples)
    return sum(b - a if b >= a else b for a, b in pairs)


@pytest.mark.parametrize("falls", [0.0, 0.001, 0.05])
def test_no_increase_and_no_reset_of_a_counter_is_lost(tmp_path: Path, falls: float) -> None:
    times = [BASE + k * 15_000 for k in range(1, 4 * 86_400 // 15)]
    values, total = [], 0.0
    random = np.random.default_rng(7)
    for _ in times:
        total = 0.0 if random.random() < falls else total + float(random.integers(0, 9))
        values.append(total)
    data = {series("requests_total", "a"): (times, values)}
    db = database(tmp_path / "d", data, rule("a", 0, Downsample(2 * DAY, 5 * MINUTE)))
    at = BASE + 18 * HOUR_MS
    queries = ("increase(requests_total[12h])", "rate(requests_total[12h])")
    before = [value(db, query, at) for query in queries]
    resets = value(db, "resets(requests_total[12h])", at)
    db.compact()
    kept = [sample for sample in found(db, "a") if sample[0] <= BASE + DAY]
    assert len(kept) < (1 - falls) * 1500
    raw = [s for s in zip(times, values, strict=True) if kept[0][0] <= s[0] <= kept[-1][0]]
    assert increments(kept) == increments(raw)
    assert value(db, "resets(requests_total[12h])", at) == resets
    # what rate() gives differs by the ends of the range alone, which it extrapolates
    assert np.allclose([value(db, query, at) for query in queries], before, rtol=0.02)
    db.close()


@pytest.mark.parametrize(
    ("keep", "query"), [("min", "min_over_time"), ("max", "max_over_time"), ("avg", "avg_over_time")]
)
def test_kept_extremes_are_those_of_all_samples(tmp_path: Path, keep: str, query: str) -> None:
    times = [BASE + k * 15_000 for k in range(1, 4 * 86_400 // 15)]
    values = np.random.default_rng(3).normal(size=len(times)).tolist()
    stage = Downsample(2 * DAY, 5 * MINUTE, keep)  # type: ignore[arg-type]
    db = database(tmp_path / "d", {series("load", "a"): (times, values)}, rule("a", 0, stage))
    before = value(db, f"{query}(load[1h])", BASE + 6 * HOUR_MS)
    db.compact()
    assert value(db, f"{query}(load[1h])", BASE + 6 * HOUR_MS) == pytest.approx(before, rel=1e-9)
    assert len([t for t, _ in found(db, "a") if t <= BASE + DAY]) == 289
    db.close()


def test_staleness_markers_and_what_was_before_them_stay(tmp_path: Path) -> None:
    times = [BASE + k * 15_000 for k in range(1, 9)]
    values = [1.0, 2.0, 3.0, STALE_NAN, 5.0, 6.0, 7.0, 8.0]
    data = {series("m", "a"): ([*times, BASE + 3 * DAY], [*values, 0.0])}
    db = database(tmp_path / "d", data, rule("a", 0, Downsample(DAY, 5 * MINUTE)))
    db.compact()
    kept = found(db, "a")
    assert [t - BASE for t, _ in kept[:3]] == [45_000, 60_000, 120_000]
    assert (kept[0][1], is_stale_nan(kept[1][1]), kept[2][1]) == (3.0, True, 8.0)
    db.close()


def test_stages_follow_one_another_and_survive_compaction(tmp_path: Path) -> None:
    times = [BASE + k * MINUTE for k in range(1, 9 * 1440)]
    stages = (Downsample(2 * DAY, 5 * MINUTE), Downsample(5 * DAY, HOUR_MS))
    db = database(tmp_path / "d", {series("m", "a"): (times, times)}, rule("a", 0, *stages))  # type: ignore[dict-item]
    db.compact()
    per_day = np.bincount([(t - 1 - BASE) // DAY for t, _ in found(db, "a")]).tolist()
    assert per_day == [25, 25, 25, 25, 289, 289, 289, 1440, 1439]
    db.options = replace(db.options, max_block_ms=3 * DAY)
    db.compact()  # merged blocks lose the note, and are looked at again
    merged = np.bincount([(t - 1 - BASE) // DAY for t, _ in found(db, "a")]).tolist()
    assert all(b - 1 <= a <= b for a, b in zip(merged, per_day, strict=True))
    db.close()


def test_native_histograms_keep_the_last_and_both_sides_of_a_reset(tmp_path: Path) -> None:
    db = DB.open(tmp_path / "d", Options(retention_ms=0), CLOCK)
    appender = db.appender()
    for k in range(1, 21):
        count = float(k if k < 12 else k - 10)
        h = FloatHistogram(
            schema=0, count=count, sum=1.0, positive_spans=((0, 1),), positive_buckets=(count,)
        )
        appender.append_histogram(0, series("h", "a"), BASE + k * 15_000, h)
    appender.append(0, series("m", "b"), BASE + 3 * DAY, 0.0)
    appender.commit()
    db.flush()
    db.options = replace(db.options, retention_rules=(rule("a", 0, Downsample(DAY, 5 * MINUTE)),))
    db.compact()
    batch = db.select([Matcher(MatchType.EQUAL, "job", "a")], 0, 1 << 62)
    assert batch.histograms is not None
    kept = [
        (int(t - BASE) // 15_000, h.count) for t, h in zip(batch.timestamps_ms, batch.histograms, strict=True)
    ]
    assert kept == [(11, 11.0), (12, 2.0), (20, 10.0)]
    db.close()


@pytest.mark.peer
@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_reads_the_blocks(tmp_path: Path) -> None:
    times = [BASE + k * MINUTE for k in range(1, 4 * 1440)]
    data = {series("m", job): (times, [1.0] * len(times)) for job in ("a", "b")}
    db = database(tmp_path / "d", data, rule("a", 0, Downsample(2 * DAY, 5 * MINUTE)))
    db.compact()
    expected = len(found(db, "a")) + len(found(db, "b"))
    db.close()
    listed = subprocess.run(["promtool", "tsdb", "list", tmp_path / "d"], capture_output=True, text=True)
    assert sum(int(line.split()[4]) for line in listed.stdout.splitlines()[1:]) == expected
    dumped = subprocess.run(["promtool", "tsdb", "dump", tmp_path / "d"], capture_output=True, text=True)
    assert len(dumped.stdout.splitlines()) == expected
