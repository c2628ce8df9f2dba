"""Start timestamps: in records and chunks as upstream lays them out, through the database, and in PromQL."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tsdb_model import BASE_MS, EVER, matching

from wavetank.model.histogram import STALE_HISTOGRAM, FloatHistogram
from wavetank.model.labels import Labels
from wavetank.model.value import STALE_NAN
from wavetank.promql.context import EngineOptions
from wavetank.promql.engine import Engine
from wavetank.promql.options import ParserOptions
from wavetank.tsdb.chunkenc import FLOAT_HISTOGRAM_ST, HISTOGRAM, HISTOGRAM_ST, XOR, XOR2
from wavetank.tsdb.chunkenc.histogram import decode_histograms_with_starts, encode_histograms
from wavetank.tsdb.chunkenc.xor2 import decode_xor2_with_starts, encode_xor2
from wavetank.tsdb.db import DB
from wavetank.tsdb.wal.rare_records import (
    HistogramRecord,
    decode_histograms_record,
    encode_histograms_records,
)
from wavetank.tsdb.wal.start_records import decode_samples_v2, encode_samples_v2

HOUR_MS = 3_600_000
COUNTER = Labels.of(__name__="requests_total", job="test")


# --- records ----------------------------------------------------------------------------------------------


def test_a_samples_v2_record_is_laid_out_as_upstreams() -> None:
    """Varints of the first sample, then differences; 0 no start, 1 the same as before, 2 explicit."""
    refs, times = np.array([5, 6, 4, 4]), np.array([1000, 1000, 1015, 1030])
    starts, values = np.array([400, 400, 0, 450]), np.array([1.0, 2.0, 3.0, 4.0])
    doubles = [struct.pack(">d", v) for v in values]
    wanted = (
        b"\x0b"
        b"\x0a\xd0\x0f\xa0\x06" + doubles[0] +  # 5, 1000, 400, zigzag
        b"\x02\x00\x01" + doubles[1] +
        b"\x03\x1e\x00" + doubles[2] +
        b"\x00\x3c\x02\x64" + doubles[3]
    )  # fmt: skip
    assert encode_samples_v2(refs, times, values, starts).tobytes() == wanted
    data = np.frombuffer(bytearray(wanted), np.uint8)
    found = decode_samples_v2(data, np.array([0]), np.array([len(data)]))
    assert [c.tolist() for c in found] == [c.tolist() for c in (refs, times, values, starts)]


def histogram(n: float, schema: int = 0) -> FloatHistogram:
    return FloatHistogram(schema, n, n * 2.0, 0.001, 0.0, ((0, 1), (1, 1)), (n, 0.0))


def test_histogram_v2_records_hold_exponential_and_custom_buckets_alike() -> None:
    custom = FloatHistogram(-53, 3, 4.5, 0, 0, ((0, 2),), (1.0, 2.0), custom_values=(0.5,))
    items = [
        HistogramRecord(7, 1000, histogram(3), 400),
        HistogramRecord(7, 1015, custom, 400),
        HistogramRecord(3, 1030, histogram(4), 0),
        HistogramRecord(3, 1045, histogram(5), 900),
        HistogramRecord(8, 1045, histogram(2.5), 12, floats=True),
    ]
    records = encode_histograms_records(items, with_starts=True)
    assert [r[0] for r in records] == [12, 13]
    assert [item for r in records for item in decode_histograms_record(r)] == items


def test_histograms_of_reserved_schemas_are_made_coarser_and_unknown_ones_left_out() -> None:
    items = [HistogramRecord(1, 1, histogram(3, 10)), HistogramRecord(1, 2, histogram(3, 60))]
    (record,) = encode_histograms_records(items, with_starts=True)
    assert [(i.timestamp_ms, i.histogram.schema) for i in decode_histograms_record(record)] == [(1, 8)]


# --- chunks -----------------------------------------------------------------------------------------------


def xor2(times: list[int], values: list[float], starts: list[int]) -> bytes:
    out, bounds = np.zeros(30 * len(times) + 64, np.uint8), np.zeros(2, np.int64)
    columns = (np.array(times, np.int64), np.array(values, np.float64), np.array(starts, np.int64))
    run: Any = encode_xor2
    size = run(*columns, np.array([0, len(times)], np.int64), out, bounds)
    return out[:size].tobytes()


def read_xor2(data: bytes, count: int) -> tuple[list[int], list[int], list[int]]:
    one = [np.array([n], np.int64) for n in (0, len(data), count, 0)]
    times, values, starts = np.zeros(count, np.int64), np.zeros(count), np.zeros(count, np.int64)
    run: Any = decode_xor2_with_starts
    fault = run(np.frombuffer(bytearray(data), np.uint8), *one, times, values, starts, 0, 1)
    assert fault == -1
    return times.tolist(), values.view(np.uint64).tolist(), starts.tolist()


def packed(bits: str) -> bytes:
    bits = bits.replace(" ", "")
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


@pytest.mark.parametrize(
    ("starts", "header", "first", "rest"),
    [
        # every sample since 400: t - start = 600 once
        ([400, 400, 400, 400], 0x80, b"\xb0\x09", "00001111 0  0  0"),
        # from sample 2 on since 1010: 1015 - 1010 = 5, then 1030 - 1010 = 20, that is 15 more
        ([0, 0, 1010, 1010], 0x02, b"", "00001111 0  0 110 000101  0 110 001111"),
        # the second began anew, at 1000 - 990 = 10; then 1015 - 990 = 25 (15 more), then 15 more
        ([400, 990, 990, 990], 0x81, b"\xb0\x09", "00001111 0 110 001010  0 110 001111  0 110 001111"),
    ],
)
def test_starts_stand_behind_the_samples_of_an_xor2_chunk(
    starts: list[int], header: int, first: bytes, rest: str
) -> None:
    times = [1000, 1015, 1030, 1045]
    wanted = struct.pack(">HB", 4, header) + b"\xd0\x0f" + struct.pack(">d", 1.0) + first + packed(rest)
    assert xor2(times, [1.0] * 4, starts) == wanted
    assert read_xor2(wanted, 4)[2] == starts


steps = st.integers(1, 1 << 40) | st.just(15_000)
floats = st.floats(width=64) | st.just(STALE_NAN) | st.just(1.0)
begins = st.integers(0, 1 << 41) | st.just(0) | st.just(77)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(steps, floats, begins), min_size=1, max_size=140))
def test_xor2_chunks_read_back(samples: list[tuple[int, float, int]]) -> None:
    times = np.cumsum([step for step, _, _ in samples]).tolist()
    values, starts = [v for _, v, _ in samples], [s for _, _, s in samples]
    found = read_xor2(xor2(times, values, starts) + b"\0", len(samples))
    assert found == (times, np.array(values).view(np.uint64).tolist(), starts)


@settings(max_examples=60, deadline=None)
@given(st.lists(begins, min_size=1, max_size=140), st.booleans())
def test_histogram_chunks_with_starts_read_back(starts: list[int], whole: bool) -> None:
    scale = 1.0 if whole else 1.5
    samples = [(1000 + 15 * i, histogram(scale * (i + 1))) for i in range(len(starts))]
    samples[-1] = (samples[-1][0], STALE_HISTOGRAM)
    found: list[Any] = []
    for _, _, encoding, data in encode_histograms(samples, starts):
        assert encoding == (HISTOGRAM_ST if whole or len(starts) == 1 else FLOAT_HISTOGRAM_ST)
        got, begun = decode_histograms_with_starts(encoding, data)
        found += zip(got, begun, strict=True)
    assert [start for _, start in found] == starts
    assert all(a[0] == b[0] and a[1].equals(b[1]) for (a, _), b in zip(found, samples, strict=True))


# --- the database -----------------------------------------------------------------------------------------


def start_of(step: int) -> int:
    """Counters that are begun anew every 100 steps; the first stretch is unknown."""
    return BASE_MS + step // 100 * 1_500_000 - 500 if step >= 100 else 0


def fill(db: DB, last: int = 700) -> dict[int, tuple[float, int]]:
    """A counter every 15 s, with a restart every 100 samples, and some late ones."""
    ref = db.series_ref(COUNTER)
    truth: dict[int, tuple[float, int]] = {}
    for first in range(0, last, 20):
        own = np.arange(first, first + 20)
        times = BASE_MS + own * 15_000
        starts = np.array([start_of(n) for n in own.tolist()], np.int64)
        values = (own % 100).astype(np.float64)
        appender = db.appender()
        appender.append_batch(np.full(20, ref), times, values, starts)
        assert appender.commit().appended == 20
        truth |= dict(zip(times.tolist(), zip(values.tolist(), starts.tolist(), strict=True), strict=True))
    appender = db.appender()
    late = np.array([BASE_MS + 7, BASE_MS + 120 * 15_000 + 7, BASE_MS + 600 * 15_000 + 7])
    appender.append_batch(np.full(3, ref), late, np.ones(3), np.array([0, 33, 44]))
    assert appender.commit().backfilled == 3
    return truth | {int(late[0]): (1.0, 0), int(late[1]): (1.0, 33), int(late[2]): (1.0, 44)}


def stored(db: DB) -> dict[int, tuple[float, int]]:
    batch = db.select(matching("job", "test"), *EVER)
    starts = batch.start_timestamps_ms
    assert starts is not None
    return dict(
        zip(
            batch.timestamps_ms.tolist(),
            zip(batch.values.tolist(), starts.tolist(), strict=True),
            strict=True,
        )
    )


KEEPING: dict[str, Any] = {"start_storage": True, "float_chunks": "xor2", "histogram_starts": True}


def encodings(db: DB) -> set[int]:
    found: set[int] = set()
    for block in db.blocks:
        ids = block.index.all_rows()
        found |= set(block.chunks(block.index.entries(ids), *EVER).encoding.tolist())
    return found


def test_starts_go_through_replay_flush_merge_and_snapshot(open_db: Callable[..., DB], tmp_path: Any) -> None:
    db = open_db(**KEEPING)
    wanted = fill(db)
    assert stored(db) == wanted
    db.close()
    db = open_db(**KEEPING)
    assert stored(db) == wanted
    db.snapshot(tmp_path / "copy")
    db.compact()  # a part of it is in a block now, and the log is shorter
    assert stored(db) == wanted
    db.close()
    db = open_db(**KEEPING)
    assert stored(db) == wanted
    db.flush()
    assert stored(db) == wanted
    assert encodings(db) == {XOR2}
    db.delete(matching("job", "test"), BASE_MS, BASE_MS + 15_000)
    wanted = {t: v for t, v in wanted.items() if t > BASE_MS + 15_000}
    assert stored(db) == wanted
    db.clean_tombstones()
    db.compact()
    assert stored(db) == wanted
    db.close()


def test_without_the_option_starts_are_not_kept(open_db: Callable[..., DB]) -> None:
    db = open_db()
    fill(db)
    assert db.select(matching("job", "test"), *EVER).start_timestamps_ms is None
    db.flush()
    assert encodings(db) == {XOR}


def test_a_log_with_starts_is_read_without_the_option(open_db: Callable[..., DB]) -> None:
    db = open_db(**KEEPING)
    wanted = fill(db)
    db.close()
    db = open_db()
    assert stored(db) == wanted
    db.flush()
    assert encodings(db) == {XOR}


def test_starts_of_native_histograms(open_db: Callable[..., DB]) -> None:
    db = open_db(**KEEPING)
    appender = db.appender()
    for n in range(600):
        appender.append_histogram(0, COUNTER, BASE_MS + n * 15_000, histogram(n % 100), start_of(n))
    appender.append_histogram(0, COUNTER, BASE_MS + 1, histogram(1), 55)
    counts = appender.commit()
    assert (counts.appended, counts.backfilled) == (600, 1)
    wanted = {BASE_MS + n * 15_000: start_of(n) for n in range(600)} | {BASE_MS + 1: 55}

    def check() -> None:
        found = stored(db)
        assert {t: start for t, (_, start) in found.items()} == wanted

    check()
    db.close()
    db = open_db(**KEEPING)
    check()
    db.flush()
    check()
    assert encodings(db) == {HISTOGRAM_ST}
    db.compact()
    check()
    db.close()
    db = open_db(start_storage=True, float_chunks="xor2")
    db.series_ref(COUNTER)
    appender = db.appender()
    appender.append_histogram(0, COUNTER, BASE_MS + 4 * HOUR_MS, histogram(1), 55)
    appender.commit()
    db.flush()
    assert encodings(db) == {HISTOGRAM_ST, HISTOGRAM}


def test_promql_sees_the_starts_of_the_database(open_db: Callable[..., DB]) -> None:
    db = open_db(**KEEPING)
    ref = db.series_ref(COUNTER)
    appender = db.appender()
    times = BASE_MS + np.array([0, 15_000, 30_000])
    # a restart that the values do not show: 10 before it, 12 after
    starts = np.array([BASE_MS - 60_000, BASE_MS - 60_000, BASE_MS + 20_000])
    appender.append_batch(np.full(3, ref), times, np.array([9.0, 10.0, 12.0]), starts)
    appender.commit()

    def ask(text: str, *, use: bool) -> float:
        engine = Engine(EngineOptions(parser=ParserOptions(functions=True), use_start_timestamps=use))
        return float(engine.query_instant(db, text, BASE_MS + 30_000).values[0, 0])

    for _ in range(2):
        assert ask("start_timestamp(requests_total)", use=True) == (BASE_MS + 20_000) / 1000
        assert ask("increase(requests_total[31s])", use=True) > 10
        assert ask("increase(requests_total[31s])", use=False) < 5
        db.flush()
