"""Remote write follows a log whose records have start timestamps as it follows any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from wavetank.clock import VirtualClock
from wavetank.model.histogram import FloatHistogram
from wavetank.model.labels import Labels
from wavetank.monitoring.remote.wal_tail import Position, WalTail
from wavetank.tsdb.db import DB
from wavetank.tsdb.options import Options


def test_records_with_start_timestamps_are_followed(tmp_path: Path) -> None:
    db = DB.open(tmp_path, Options(start_storage=True, float_chunks="xor2"), VirtualClock(1.7e9))
    ref = np.array([db.series_ref(Labels.of(__name__="c"))])
    appender = db.appender()
    appender.append_batch(ref, ref * 0 + 1000, np.array([5.0]), ref * 0 + 400)
    sample = FloatHistogram(0, 1.0, 1.0, 0.001, 0.0, ((0, 1),), (1.0,))
    appender.append_histogram(0, Labels.of(__name__="h"), 2000, sample, 400)
    appender.commit()
    tail = WalTail(tmp_path / "wal", Position(0, 0))
    found = []
    while (piece := tail.read()) is not None:
        found.append(piece)
    db.close()
    floats = [row for p in found for row in zip(p.refs, p.times_ms, p.values, strict=True)]
    assert floats == [(int(ref[0]), 1000, 5.0)]
    assert [(r.timestamp_ms, r.start_ms, r.histogram) for p in found for r in p.histograms] == [
        (2000, 400, sample)
    ]
    assert tail.skipped == []
