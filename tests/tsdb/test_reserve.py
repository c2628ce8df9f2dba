"""Columns grow where they are, and what vanished series held goes back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from wavetank.clock import VirtualClock
from wavetank.model.labels import Labels, Matcher, MatchType
from wavetank.tsdb import reserve
from wavetank.tsdb.db import DB
from wavetank.tsdb.options import HOUR_MS, Options
from wavetank.tsdb.reserve import Reserve
from wavetank.tsdb.series_table import key_of


@pytest.mark.parametrize("refused", [False, True])
def test_growth_keeps_what_was_written(refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if refused:

        def no_addresses(*arguments: object, **named: object) -> None:
            raise OSError("no addresses")

        monkeypatch.setattr(reserve.mmap, "mmap", no_addresses)
    column = Reserve((100_000, 2), np.int64, 10)
    column.view[:] = 7
    before = column.view.ctypes.data
    view = column.grow(50_000)
    assert view.shape == (50_000, 2)
    assert (view[:10] == 7).all()
    assert not view[10:].any()
    assert refused or view.ctypes.data == before
    view[:] = 3
    column.clear(777, 50_000)
    assert (view[:777] == 3).all()
    assert not view[777:].any()
    column.clear(5, 6)
    assert view[4:7].tolist() == [[3, 3], [0, 0], [3, 3]]
    assert (column.grow(200_000)[:5] == 3).all()


def test_what_vanished_series_held_goes_back(tmp_path: Path) -> None:
    clock = VirtualClock(1_700_000_000.0)
    db = DB.open(tmp_path, Options(), clock)
    start = 1_700_000_000_000 // (2 * HOUR_MS) * (2 * HOUR_MS)
    keys = [key_of(Labels.of(__name__="m", i=str(i))) for i in range(20_000)]
    flat = np.frombuffer(bytearray(b"".join(keys)), np.uint8)
    many = db.series_refs(flat, np.cumsum([0, *map(len, keys)]))
    few = many[::1000]
    draw = np.random.default_rng(1)
    for minute in range(0, 240, 5):
        refs = many if minute < 60 else few
        appender = db.appender()
        appender.append_batch(refs, np.full(len(refs), start + minute * 60_000), draw.random(len(refs)))
        appender.commit()
    matchers = [Matcher(MatchType.EQUAL, "__name__", "m")]
    want = db.select(matchers, 0, start + 100 * HOUR_MS)
    blocks = int(db.store.head.arena.state[0])
    db.compact()
    assert len(db.store.head) == 20
    assert int(db.store.head.arena.state[0]) < blocks / 20
    got = db.select(matchers, 0, start + 100 * HOUR_MS)
    assert np.array_equal(got.values, want.values)
    appender = db.appender()
    appender.append_batch(few, np.full(len(few), start + 5 * HOUR_MS), np.arange(20.0))
    assert appender.commit().appended == 20
    back = np.array([db.series_ref(Labels.of(__name__="m", i=str(i))) for i in range(2_000)], np.int64)
    appender.append_batch(back, np.full(len(back), start + 5 * HOUR_MS + 1), np.arange(2_000.0))
    assert appender.commit().appended == 2_000
    got = db.select(matchers, start + 5 * HOUR_MS, start + 6 * HOUR_MS)
    assert sorted(got.values.tolist()) == sorted([*map(float, range(20)), *map(float, range(2_000))])
    db.close()


def test_refs_are_never_used_again_and_cost_nothing_once_gone(tmp_path: Path) -> None:
    clock = VirtualClock(1_700_000_000.0)
    start = 1_700_000_000_000 // (2 * HOUR_MS) * (2 * HOUR_MS)
    matchers = [Matcher(MatchType.EQUAL, "__name__", "m")]
    db = DB.open(tmp_path, Options(), clock)
    stays = db.series_ref(Labels.of(__name__="m", i="stays"))
    for turn in range(6):
        db.store.head.next_ref = (1 << 28) * (turn + 1)  # as after so many that came and went
        refs = [db.series_ref(Labels.of(__name__="m", turn=str(turn), i=str(i))) for i in range(50)]
        assert min(refs) >= (1 << 28) * (turn + 1)
        appender = db.appender()
        for ref in [stays, *refs]:
            appender.append(ref, None, start + turn * HOUR_MS, float(turn))
        assert appender.commit().appended == 51
        db.compact()
    assert db.store.head.row(stays) >= 0
    assert len(db.store.head) < 6 * 50
    assert db.store.head.known(np.array([stays, 1 << 28, (1 << 28) * 6, 7])).tolist() == [
        True,
        False,
        True,
        False,
    ]
    want = db.select(matchers, 0, start + 9 * HOUR_MS)
    db.close()
    again = DB.open(tmp_path, Options(), clock)
    got = again.select(matchers, 0, start + 9 * HOUR_MS)
    assert list(got.labels) == list(want.labels)
    assert np.array_equal(got.values, want.values)
    assert sum(report.unknown_refs for report in again.replays) == 0
    assert again.series_ref(Labels.of(__name__="m", i="new")) > (1 << 28) * 6
    again.close()
