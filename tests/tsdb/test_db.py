"""A database holds what was committed, through every upkeep and across restarts."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tsdb_model import BASE_MS, EVER, Model, matching

from wavetank.clock import VirtualClock
from wavetank.model.histogram import STALE_HISTOGRAM, FloatHistogram
from wavetank.model.labels import Labels, Matcher, MatchType
from wavetank.model.series import SelectHints
from wavetank.model.value import STALE_NAN, is_stale_nan
from wavetank.tsdb import decode as decode_module
from wavetank.tsdb import maintenance, plain_read, querier
from wavetank.tsdb.db import DB
from wavetank.tsdb.decode import LooseSamples
from wavetank.tsdb.errors import LockedError, NotHistogram, QueryLimitExceeded
from wavetank.tsdb.head import ChunkSet
from wavetank.tsdb.options import Options
from wavetank.tsdb.postings import literal_set, plain_test

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS


def test_memory_replay_flush_and_compaction_hold_the_same(model: Model) -> None:
    model.write(0, 1500)
    model.check()
    model.check(BASE_MS + 10 * MINUTE_MS, BASE_MS + 3 * HOUR_MS)
    model.reopen()
    assert model.db.replays[0].samples == 1500 * 20
    model.check()
    model.db.compact()
    assert len(model.db.blocks) == 2
    model.check()
    model.reopen()
    model.check()
    model.db.flush()
    assert model.db.head_stats().series == 0
    model.check()
    model.reopen()
    model.write(1501, 1800)
    model.check(BASE_MS + 5 * HOUR_MS, BASE_MS + 7 * HOUR_MS)


def test_backfill_of_any_age_is_kept(model: Model) -> None:
    model.write(0, 1200)
    model.write_late(400, BASE_MS - 400 * HOUR_MS, BASE_MS + 4 * HOUR_MS)
    model.check()
    model.reopen()
    model.check()
    model.db.compact()
    model.check()
    model.reopen()
    model.check()
    model.db.flush()
    model.db.compact()
    model.check()
    blocks = model.db.blocks
    assert all(a.meta.max_time <= b.meta.min_time for a, b in itertools.pairwise(blocks))
    model.write_late(100, BASE_MS, BASE_MS + 2 * HOUR_MS)
    model.reopen()
    model.check()


def test_deletes_hide_at_once_and_free_later(model: Model) -> None:
    model.write(0, 1500)
    model.db.compact()
    model.delete(3, BASE_MS + HOUR_MS, BASE_MS + 2 * HOUR_MS)
    model.delete(4, *EVER)
    model.check()
    model.reopen()
    model.check()
    model.db.clean_tombstones()
    assert not any(len(b.tombstones) for b in model.db.blocks)
    model.check()
    model.db.flush()
    model.check()
    assert "4" not in model.db.label_values("series", [], *EVER)


def test_snapshot_opens_as_a_database(model: Model, tmp_path: Path) -> None:
    model.write(0, 1500)
    model.db.compact()
    model.write_late(50, BASE_MS, BASE_MS + 5 * HOUR_MS)
    model.delete(2, BASE_MS, BASE_MS + HOUR_MS)
    copy = Model(DB.open(model.db.snapshot(tmp_path / "snap"), Options(), VirtualClock(1.7e9)))
    copy.truth = model.truth
    copy.check()
    copy.db.close()
    model.check()


def test_retention_by_share_of_the_disk(open_db: Callable[..., DB], monkeypatch: pytest.MonkeyPatch) -> None:
    db = open_db(retention_ms=0, retention_percent=50.0, max_block_ms=2 * HOUR_MS)
    model = Model(db, series=3)
    model.write(0, 60 * 12, step_ms=MINUTE_MS)
    size = 0

    def usage(path: Path) -> SimpleNamespace:
        return SimpleNamespace(total=2 * size)

    monkeypatch.setattr(maintenance.shutil, "disk_usage", usage)
    size = 1 << 40
    db.compact()
    assert len(db.blocks) == 5
    newest = db.blocks[-1]
    log = sum(p.stat().st_size for p in (db.path / "wal").iterdir() if p.is_file())
    size = newest.bytes_on_disk + log + 1
    db.compact()
    assert db.blocks == [newest]


def test_retention_by_time_and_size(open_db: Callable[..., DB]) -> None:
    db = open_db(retention_ms=4 * HOUR_MS, max_block_ms=2 * HOUR_MS)
    model = Model(db, series=3)
    model.write(0, 60 * 12, step_ms=MINUTE_MS)
    db.compact()
    assert [b.meta.min_time - BASE_MS for b in db.blocks] == [n * HOUR_MS for n in (6, 8)]
    db.close()
    small = open_db(retention_ms=0, retention_bytes=1, max_block_ms=2 * HOUR_MS)
    small.compact()
    assert small.blocks == []


def test_an_idle_head_flushes_itself(tmp_path: Path) -> None:
    clock = VirtualClock(1.7e9)
    db = DB.open(tmp_path, Options(idle_flush_ms=5 * MINUTE_MS), clock)
    model = Model(db)
    model.write(0, 10)
    db.compact()
    assert db.blocks == []
    clock.run_until(clock.now() + 301)
    db.compact()
    assert len(db.blocks) == 1
    model.check()
    model.write(11, 20)
    model.check()
    db.close()


def test_flush_on_close(tmp_path: Path) -> None:
    model = Model(DB.open(tmp_path, Options(flush_on_close=True), VirtualClock(1.7e9)))
    model.write(0, 10)
    model.reopen()
    assert len(model.db.blocks) == 1
    assert model.db.replays[0].samples == 0
    model.check()
    model.db.close()


def test_what_cannot_be_stored_is_counted(open_db: Callable[..., DB]) -> None:
    db = open_db(out_of_order_window_ms=MINUTE_MS)
    ref = db.series_ref(Labels.of(__name__="a"))
    refs = np.array([ref] * 6 + [99], np.int64)
    times = BASE_MS + np.array([0, 600_000, 600_000, 600_000, 590_000, 100_000, 0])
    appender = db.appender()
    appender.append_batch(refs, times, np.array([1.0, 2.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
    counts = appender.commit()
    assert (counts.appended, counts.repeated, counts.duplicate) == (2, 1, 1)
    assert (counts.backfilled, counts.out_of_order, counts.unknown_series) == (1, 1, 1)
    assert db.counts == counts
    with pytest.raises(ValueError, match="columns of 1, 2 and 1"):
        db.appender().append_batch(refs[:1], times[:2], np.ones(1))


def test_the_soft_cap_drops_the_newest_series(
    open_db: Callable[..., DB], caplog: pytest.LogCaptureFixture
) -> None:
    db = open_db(series_max=2)
    refs = [db.series_ref(Labels.of(__name__="a", i=str(i))) for i in range(4)]
    assert refs == [1, 2, 0, 0]
    assert db.series_ref(Labels.of(__name__="a", i="1")) == 2
    assert db.counts.series_dropped == 2
    assert [r.getMessage() for r in caplog.records] == [
        "the head holds 2 series, its soft cap: samples of further new series are dropped"
    ]


def test_staleness_markers_come_back_bit_for_bit(open_db: Callable[..., DB]) -> None:
    db = open_db()
    appender = db.appender()
    ref = appender.append(0, Labels.of(__name__="a"), BASE_MS, 1.0)
    appender.append(ref, None, BASE_MS + 1, STALE_NAN)
    appender.commit()
    batch = db.select(matching("__name__", "a"), *EVER)
    assert is_stale_nan(batch.values[1])


def histogram(n: int) -> FloatHistogram:
    return FloatHistogram(1, 3.0 + n, n * 1.5, 0.001, 1.0, ((0, 2), (3, 1)), (1.0, 1.0 + n, 0.0))


def test_native_histograms_through_replay_flush_and_merge(model: Model) -> None:
    labels = Labels.of(__name__="latency", job="other")
    samples = [histogram(n) for n in range(300)]
    samples[100] = STALE_HISTOGRAM
    samples[200] = FloatHistogram(1, 0.25, 1.0, 0.001, 0.25)

    def check() -> None:
        batch = model.db.select(matching("__name__", "latency"), *EVER)
        assert list(batch.labels) == [labels]
        assert batch.histograms is not None
        # a chunk may give samples buckets that only others of it use
        assert all(a.compact().equals(b.compact()) for a, b in zip(batch.histograms, samples, strict=True))

    model.write(0, 300, step_ms=30_000)
    for n, sample in enumerate(samples):
        appender = model.db.appender()
        appender.append_histogram(0, labels, BASE_MS + n * 30_000, sample)
        assert appender.commit().appended == 1
    check()
    model.reopen()
    check()
    model.db.flush()
    check()
    model.db.compact()
    check()
    model.check()
    stats = [b.meta.stats for b in model.db.blocks]
    assert sum(s.num_histogram_samples for s in stats) == 300
    with pytest.raises(NotHistogram):
        model.db.appender().append_histogram(0, labels, 0, FloatHistogram(positive_spans=((0, 3),)))


def test_a_series_may_hold_floats_and_histograms_in_turn(open_db: Callable[..., DB]) -> None:
    db = open_db()
    labels = Labels.of(__name__="mixed")
    ref = db.series_ref(labels)
    for n in range(40):
        appender = db.appender()
        if n % 7 < 3:
            appender.append(ref, None, BASE_MS + n, float(n))
        else:
            appender.append_histogram(ref, None, BASE_MS + n, histogram(n))
        assert appender.commit().appended == 1
    for nth in range(3):
        batch = db.select(matching("__name__", "mixed"), *EVER)
        assert batch.timestamps_ms.tolist() == [BASE_MS + n for n in range(40)]
        assert batch.histograms is not None
        assert [h is None for h in batch.histograms] == [n % 7 < 3 for n in range(40)]
        if nth == 0:
            db.close()
            db = open_db()
        db.flush()


def test_a_marker_after_histograms_is_one_of_them(open_db: Callable[..., DB]) -> None:
    """As scrapes append it: a float, whatever the series was."""
    db = open_db()
    labels = Labels.of(__name__="latency", job="test")
    ref = db.series_ref(labels)
    for n in range(30):
        appender = db.appender()
        if n % 10 == 9:
            appender.append(ref, None, BASE_MS + n, STALE_NAN)
        else:
            appender.append_histogram(ref, None, BASE_MS + n, histogram(n))
        assert appender.commit().appended == 1
    for nth in range(3):
        batch = db.select(matching("__name__", "latency"), *EVER)
        assert batch.histograms is not None
        assert [h.is_stale for h in batch.histograms] == [n % 10 == 9 for n in range(30)]
        if nth == 0:
            db.close()
            db = open_db()
        db.flush()


def test_whole_and_broken_counts_in_one_commit_stay_in_order(open_db: Callable[..., DB]) -> None:
    """The log has other records for each; read in order, they give the samples in order."""
    db = open_db()
    appender = db.appender()
    wanted = [1.0, 1.0, 2.5, 3.0, 4.0, 5.5]
    for n, count in enumerate(wanted):
        sample = FloatHistogram(0, count, 1.0, 0.001, 0.0, ((0, 1),), (count,))
        appender.append_histogram(0, Labels.of(job="test"), BASE_MS + n, sample)
    assert appender.commit().appended == 6
    db.close()
    db = open_db()
    batch = db.select(matching("job", "test"), *EVER)
    assert batch.histograms is not None
    assert [h.count for h in batch.histograms] == wanted


def test_exemplars_and_metadata_survive_a_restart(model: Model) -> None:
    labels = Labels.of(__name__="requests_total", job="api")
    appender = model.db.appender()
    ref = appender.append(0, labels, BASE_MS, 1.0)
    appender.append_exemplar(ref, labels, Labels.of(trace_id="a"), BASE_MS, 0.5)
    appender.append_exemplar(ref, labels, Labels.of(trace_id="a"), BASE_MS, 0.5)
    appender.append_exemplar(ref, labels, Labels.of(trace_id="x" * 200), BASE_MS + 1, 0.5)
    appender.update_metadata(ref, "counter", "Requests.", "")
    appender.commit()
    for _ in range(2):
        ((series, found),) = model.db.exemplars([matching("job", "api")], *EVER)
        assert series == labels
        assert [(e.labels, e.value, e.timestamp_ms) for e in found] == [
            (Labels.of(trace_id="a"), 0.5, BASE_MS)
        ]
        assert model.db.exemplars([matching("job", "other")], *EVER) == []
        ((entry,),) = model.db.metadata("requests_total").values()
        assert (entry.type, entry.help) == ("counter", "Requests.")
        model.reopen()


MATCHERS = [
    ([], {"0", "1", "2", "3", "4", "5"}),
    ([(MatchType.EQUAL, "series", "3")], {"3"}),
    ([(MatchType.EQUAL, "series", "")], set()),
    ([(MatchType.EQUAL, "absent", "")], {"0", "1", "2", "3", "4", "5"}),
    ([(MatchType.NOT_EQUAL, "series", "3")], {"0", "1", "2", "4", "5"}),
    ([(MatchType.NOT_EQUAL, "absent", "")], set()),
    ([(MatchType.REGEXP, "series", "1|4|9")], {"1", "4"}),
    ([(MatchType.REGEXP, "series", "[0-2]")], {"0", "1", "2"}),
    ([(MatchType.REGEXP, "series", ".*")], {"0", "1", "2", "3", "4", "5"}),
    ([(MatchType.REGEXP, "absent", ".+")], set()),
    ([(MatchType.NOT_REGEXP, "series", "[0-2]")], {"3", "4", "5"}),
    ([(MatchType.NOT_REGEXP, "series", ".*")], set()),
    ([(MatchType.REGEXP, "series", "")], set()),
    ([(MatchType.REGEXP, "series", "1|")], {"1"}),
    ([(MatchType.NOT_REGEXP, "series", "1|4")], {"0", "2", "3", "5"}),
    ([(MatchType.NOT_REGEXP, "series", "")], {"0", "1", "2", "3", "4", "5"}),
    ([(MatchType.NOT_REGEXP, "absent", ".+")], {"0", "1", "2", "3", "4", "5"}),
    ([(MatchType.EQUAL, "__name__", "metric_1"), (MatchType.NOT_EQUAL, "series", "4")], {"1"}),
    ([(MatchType.EQUAL, "__name__", "metric_1"), (MatchType.REGEXP, "series", "4|1|2")], {"1", "4"}),
]


@pytest.mark.parametrize(("matchers", "expected"), MATCHERS)
def test_matchers_in_head_and_block(
    open_db: Callable[..., DB], matchers: list[tuple[MatchType, str, str]], expected: set[str]
) -> None:
    db = open_db()
    Model(db, series=6).write(0, 2)
    made = [Matcher(*m) for m in matchers]
    for _ in range(2):
        assert {labels.get("series") for labels in db.series(made, *EVER)} == expected
        assert set(db.label_values("series", made, *EVER)) == expected
        db.flush()


@pytest.mark.parametrize(
    "pattern",
    ["", "a", "a|b", "x(a|b)y", "(a|b)", "a.*", "a.+", ".*a", ".+a", ".*a.*", ".+a.+", ".+a.*", ".*a.+", ".*", ".+",
     "a|b.*", "(a|b.*)c", "x(a|b)", "a?", "[ab]", "(a|b)+"],
)  # fmt: skip
def test_shortcuts_match_what_the_expression_matches(pattern: str) -> None:
    matcher = Matcher(MatchType.REGEXP, "l", pattern)
    words = [
        "",
        "a",
        "b",
        "ab",
        "ba",
        "aa",
        "xay",
        "xby",
        "xa",
        "xy",
        "bab",
        "a\nb",
        "\na",
        "abc",
        "ac",
        "bxc",
    ]
    literals, test = literal_set(pattern), plain_test(pattern)
    for word in words:
        if literals is not None:
            assert (word in literals) == matcher.matches(word), word
        if test is not None:
            assert test(word) == matcher.matches(word), word


def test_a_query_that_asks_for_too_much_fails_with_its_estimate(model: Model) -> None:
    model.write(0, 100)
    with pytest.raises(QueryLimitExceeded, match=r"2000 samples of 20 series .* limit of 1999"):
        model.db.select(matching("job", "test"), *EVER, SelectHints(samples_max=1999))
    late = SelectHints(deadline=model.db.clock.monotonic() - 1)
    with pytest.raises(QueryLimitExceeded, match="timed out"):
        model.db.select(matching("job", "test"), *EVER, late)
    model.check()


def test_memory_is_estimated_before_anything_is_decoded(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.write(0, 100)
    monkeypatch.setattr(querier, "decode", lambda *_, **__: pytest.fail("decoded"))
    said = r"about 0 MiB of memory for 2000 samples of 20 series, more than the 0 MiB left"
    with pytest.raises(QueryLimitExceeded, match=said):
        model.db.select(matching("job", "test"), *EVER, SelectHints(bytes_max=2000 * 16))
    monkeypatch.undo()
    model.db.select(matching("job", "test"), *EVER, SelectHints(bytes_max=2000 * 16 + 20 * 1000))


def test_a_long_selection_can_be_ended_in_the_middle(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    model.write(0, 300)
    monkeypatch.setattr(decode_module, "_SAMPLES_AT_ONCE", 500)
    monkeypatch.setattr(plain_read, "SAMPLES_MAX", 0)  # as if there were too many for the short way
    asked = 0

    def check() -> None:
        nonlocal asked
        asked += 1
        if asked > 6:
            raise QueryLimitExceeded("cancelled")

    with pytest.raises(QueryLimitExceeded, match="cancelled"):
        model.db.select(matching("job", "test"), *EVER, SelectHints(check=check))
    assert asked == 7
    monkeypatch.undo()
    model.check()


class Claiming:
    """A source whose chunks claim a million samples and hold none: nobody may come to decode them."""

    asked = 0

    def find(
        self, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int, budget: querier.Budget
    ) -> querier.Found | None:
        self.asked += 1
        series = np.arange(16)
        start = np.zeros(16, np.int64)
        full = np.frombuffer(bytearray(b"\xff\xff"), np.uint8)
        chunks = ChunkSet(series, start, start, start + 2, start + 1, start, start, [full])
        budget.admit(16, chunks, LooseSamples())
        return querier.Found([Labels.of(i=str(i)) for i in series.tolist()], chunks)


def test_a_query_over_a_billion_samples_is_refused_with_the_number() -> None:
    sources = [Claiming() for _ in range(1000)]
    with pytest.raises(QueryLimitExceeded, match=r"load 5\d{7} samples of \d+ series .* limit of 50000000"):
        querier.select(sources, matching("job", "test"), *EVER, samples_max=50_000_000)
    assert sum(source.asked for source in sources) == 48  # it gave up where the limit was passed


def test_a_second_process_is_refused(open_db: Callable[..., DB], tmp_path: Path) -> None:
    open_db()
    with pytest.raises(LockedError, match="locked by another process"):
        DB.open(tmp_path / "data", Options(), VirtualClock())


def test_the_log_is_shortened(tmp_path: Path) -> None:
    model = Model(DB.open(tmp_path, Options(wal_segment_bytes=64 * 1024), VirtualClock(1.7e9)))
    gone = model.db.appender()
    gone.append(0, Labels.of(__name__="gone", job="old"), BASE_MS, 1.0)
    gone.commit()
    for first in range(0, 3000, 500):
        model.write(first, first + 500)
        model.db.compact()
    assert list((tmp_path / "wal").glob("checkpoint.*"))
    first_segment = min(int(p.name) for p in (tmp_path / "wal").glob("[0-9]*"))
    assert first_segment > 5
    model.check()
    model.reopen()
    model.check()
    assert model.db.head_stats().series == 20  # the series that ended is in blocks only
    assert len(model.db.series(matching("job", "old"), *EVER)) == 1
    model.db.close()


def test_refs_outlive_the_loss_of_other_series(model: Model) -> None:
    short = model.db.appender()
    dead = short.append(0, Labels.of(__name__="a_dead", job="x"), BASE_MS, 1.0)
    short.commit()
    refs = model.refs()
    model.write(0, 1600)
    model.db.compact()
    assert model.db.known_refs(np.array([dead, *refs])).tolist() == [False] + [True] * len(refs)
    assert model.refs().tolist() == refs.tolist()
    model.write(1600, 1700)
    model.check()


def test_head_stats(model: Model) -> None:
    model.write(0, 3)
    stats = model.db.head_stats(limit=2)
    assert stats.series == 20
    assert stats.series_by_metric == [("metric_0", 7), ("metric_1", 7)]
    assert stats.values_by_label[0] == ("series", 20)
    assert stats.series_by_pair[0] == ("job=test", 20)


def test_full_chunks_move_to_files_and_come_back(model: Model) -> None:
    model.write(0, 700)
    files = sorted((model.db.path / "chunks_head").iterdir())
    assert files
    model.check()
    model.reopen()
    model.check()
    model.write(700, 720)
    model.reopen()
    model.check()
    model.db.close()
    damaged = bytearray(files[0].read_bytes())
    damaged[5000] ^= 1
    files[0].write_bytes(damaged)
    model.reopen()
    model.check()
    model.db.flush()
    assert list((model.db.path / "chunks_head").iterdir()) == []
    model.check()


@pytest.mark.parametrize(
    "bits", [0x7FF8000000000001, 0xFFF8000000000000, 0x7FF0000000000001, 0x7FFDEADBEEF00042]
)
def test_payloads_of_nan_come_back_bit_for_bit(model: Model, bits: int) -> None:
    ref = model.db.series_ref(Labels.of(__name__="nan", job="nan"))
    values = np.array([1.0, 0.0, 2.0, 0.0, 0.0])
    values.view(np.uint64)[[1, 3, 4]] = bits
    appender = model.db.appender()
    appender.append_batch(np.full(5, ref), BASE_MS + np.arange(5) * 1000, values)
    # the same payload again is the same value; another one is not
    assert appender.commit().appended == 5
    appender.append_batch(np.full(1, ref), np.array([BASE_MS + 4000]), values[4:])
    assert appender.commit().repeated == 1
    for upkeep in (lambda: None, model.reopen, lambda: model.db.flush()):
        upkeep()
        batch = model.db.select(matching("job", "nan"), *EVER)
        assert batch.values.view(np.uint64).tolist() == values.view(np.uint64).tolist()


def test_deleted_late_samples_stay_deleted_when_the_head_is_flushed(model: Model) -> None:
    model.write(0, 1500)
    model.write_late(60, BASE_MS - 40 * 3_600_000, BASE_MS)
    model.delete(3, BASE_MS - 40 * 3_600_000, BASE_MS - 1)
    model.db.compact()  # the head is cut and the log shortened
    model.check()
    model.reopen()
    model.check()
    model.db.flush()
    model.check()
    model.reopen()
    model.check()


def test_names_and_values_of_any_letters(open_db: Callable[..., DB]) -> None:
    """UTF-8 in names and values, quotes and newlines: log, head, index, matchers."""
    db = open_db()
    wanted = sorted(
        [
            Labels.of({"__name__": "größe.总", "Ort/straße": "Zürich", "job": "ü"}),
            Labels.of({"__name__": "größe.总", "Ort/straße": 'a"b\nc', "job": "ü"}),
            Labels.of({"__name__": "😀", "job": "ü"}),
        ]
    )
    appender = db.appender()
    for labels in wanted:
        appender.append(0, labels, BASE_MS, 1.0)
    assert appender.commit().appended == 3
    for nth in range(3):
        assert db.series(matching("job", "ü"), *EVER) == wanted
        assert db.series(matching("Ort/straße", "Z.rich", MatchType.REGEXP), *EVER) == [wanted[0]]
        assert db.label_names([], *EVER) == sorted({"__name__", "Ort/straße", "job"})
        assert db.label_values("__name__", [], *EVER) == ["größe.总", "😀"]
        if nth == 0:
            db.close()
            db = open_db()
        db.flush()
    # the third version of the index differs in nothing that is read
    index = db.blocks[0].directory / "index"
    db.close()
    raw = bytearray(index.read_bytes())
    raw[4] = 3
    index.write_bytes(raw)
    db = open_db()
    assert db.blocks[0].index.version == 3
    assert db.series(matching("job", "ü"), *EVER) == wanted
