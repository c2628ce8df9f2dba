"""A database may be used while its log is still being replayed.

Replay is held up by a progress callback that waits, so that these tests decide when it goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from tsdb_model import BASE_MS, EVER, Model, matching

from wavetank import limits
from wavetank.model.histogram import FloatHistogram
from wavetank.model.labels import Labels
from wavetank.tsdb import restore
from wavetank.tsdb.db import DB
from wavetank.tsdb.restore import HEAD_IS_NOT_WHOLE

SECONDS = 30.0


@contextmanager
def held_at(model: Model, phase: str) -> Iterator[threading.Event]:
    """Reopen the model's database in the background, replay waiting at a phase until the event is set."""
    model.db.close()
    go_on, reached = threading.Event(), threading.Event()

    def progress(now: str, fraction: float) -> None:
        if now == phase:
            reached.set()
            assert go_on.wait(SECONDS)

    model.db = DB.open(model.db.path, model.db.options, model.db.clock, progress=progress, background=True)
    assert reached.wait(SECONDS)
    try:
        yield go_on
    finally:
        go_on.set()
        if model.db.store.restore is not None:
            model.db.wait_until_whole(SECONDS)


def test_what_is_committed_meanwhile_is_seen_at_once_and_stays(model: Model) -> None:
    model.write(0, 300)
    with held_at(model, "head_chunks") as go_on:
        assert not model.db.is_whole
        before = [dict(own) for own in model.truth]
        model.write(300, 310)
        batch = model.db.select(matching("job", "test"), *EVER)
        assert list(batch.warnings) == [HEAD_IS_NOT_WHOLE]
        assert len(batch.timestamps_ms) == 10 * len(model.labels)
        go_on.set()
        assert model.db.wait_until_whole(SECONDS)
        assert [len(own) for own in model.truth] == [len(own) + 10 for own in before]
        assert not model.db.select(matching("job", "test"), *EVER).warnings
        model.check()
    assert model.db.counts.appended == 10 * len(model.labels)
    model.reopen()
    model.check()


def test_series_of_the_log_keep_their_refs_and_new_ones_get_their_own(model: Model) -> None:
    model.write(0, 20)
    old = model.refs().tolist()
    with held_at(model, "head_chunks"):
        assert model.refs().tolist() == old
        ref = model.db.series_ref(Labels.of(__name__="fresh"))
        assert ref not in old
        assert model.db.label_values("__name__", [], *EVER) == ["fresh", "metric_0", "metric_1", "metric_2"]
    model.check()


def test_late_samples_and_histograms_meanwhile(model: Model) -> None:
    model.write(0, 100)
    histogram = FloatHistogram(0, 3.0, 5.0, 0.001, 1.0, ((0, 1),), (2.0,), (), (), ())
    with held_at(model, "wal"):
        model.write_late(50, BASE_MS - 3_600_000, BASE_MS)
        appender = model.db.appender()
        appender.append_histogram(0, Labels.of(__name__="h"), BASE_MS, histogram)
        appender.update_metadata(model.refs()[0], "gauge", "of the test")
        appender.commit()
    for _ in range(2):
        model.check()
        batch = model.db.select(matching("__name__", "h"), *EVER)
        assert batch.histograms is not None
        assert [h.count for h in batch.histograms] == [3.0]
        assert [m[0].help for m in model.db.metadata().values()] == ["of the test"]
        model.reopen()


def test_histograms_committed_meanwhile_are_seen_at_once(model: Model) -> None:
    labels = Labels.of(__name__="h", job="other")
    samples = {BASE_MS + n * 15_000: FloatHistogram(0, n + 2.0, 5.0, 0.001, 1.0, ((0, 1),), (n + 1.0,))
               for n in range(30)}  # fmt: skip

    def write(times: list[int]) -> None:
        appender = model.db.appender()
        for t in times:
            appender.append_histogram(0, labels, t, samples[t])
        assert appender.commit().appended == len(times)

    def check(times: list[int]) -> None:
        batch = model.db.select(matching("__name__", "h"), *EVER)
        assert batch.timestamps_ms.tolist() == times
        assert batch.histograms is not None
        assert all(h.equals(samples[t]) for t, h in zip(times, batch.histograms, strict=True))

    times = list(samples)
    model.write(0, 100)
    write(times[:20])
    with held_at(model, "head_chunks") as go_on:
        write(times[20:])
        check(times[20:])
        go_on.set()
        assert model.db.wait_until_whole(SECONDS)
        check(times)
    assert model.db.counts.appended == 10
    model.reopen()
    check(times)
    model.check()


def test_closing_early_loses_nothing(model: Model) -> None:
    model.write(0, 400)
    model.db.close()
    held = threading.Event()
    db = DB.open(
        model.db.path,
        model.db.options,
        model.db.clock,
        progress=lambda phase, fraction: held.wait(0.01) and None,
        background=True,
    )
    model.db = db
    model.write(400, 402)
    db.close()
    model.reopen()
    model.check()


def test_upkeep_waits_for_the_head(model: Model) -> None:
    model.write(0, 1500)
    with held_at(model, "wal"):
        model.db.compact()
        assert model.db.blocks == []
    model.db.compact()
    assert len(model.db.blocks) == 2
    model.check()


def test_a_flush_waits_for_the_head(model: Model) -> None:
    model.write(0, 100)
    with held_at(model, "wal") as go_on:
        flushing = threading.Thread(target=model.db.flush)
        flushing.start()
        go_on.set()
        flushing.join(SECONDS)
    assert len(model.db.blocks) == 1
    model.check()


def test_what_waits_is_bounded(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restore, "REPLAY_PENDING_SAMPLES_MAX", 50)
    assert limits.REPLAY_PENDING_SAMPLES_MAX > 50
    model.write(0, 100)
    refs = model.refs()
    with held_at(model, "wal") as go_on:

        def write() -> None:
            for step in range(10):
                appender = model.db.appender()
                times = np.full(len(refs), BASE_MS + 10_000_000 + step)
                appender.append_batch(refs, times, np.ones(len(refs)))
                appender.commit()

        writing = threading.Thread(target=write)
        writing.start()
        writing.join(0.2)
        assert writing.is_alive()
        waiting = model.db.store.restore
        assert waiting is not None
        assert waiting.pending.count <= 50 + len(refs)
        go_on.set()
        writing.join(SECONDS)
    assert len(model.db.select(matching("job", "test"), BASE_MS + 10_000_000, EVER[1]).values) == 10 * len(
        refs
    )


def test_progress_names_phases_and_segments(tmp_path: Path, model: Model) -> None:
    model.write(0, 300)
    model.db.close()
    heard: list[tuple[str, float]] = []
    model.db = DB.open(
        model.db.path, model.db.options, model.db.clock, progress=lambda *now: heard.append(now)
    )
    assert next(phase for phase, _ in heard) == "head_chunks"
    assert heard[-1] == ("done", 1.0)
    fractions = [fraction for phase, fraction in heard if phase == "wal"]
    assert fractions == sorted(fractions)
    status = model.db.replay_status
    assert (status.phase, status.current_segment) == ("done", status.last_segment)
