"""Start timestamps of remote write 2.0: kept, or made zeros of, as the storage is told."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from wavetank.clock import VirtualClock
from wavetank.model.histogram import FloatHistogram
from wavetank.model.labels import Labels, Matcher, MatchType
from wavetank.monitoring.remote.codec import pack
from wavetank.monitoring.remote.known_series import KnownSeries
from wavetank.monitoring.remote.messages import Request
from wavetank.monitoring.remote.payload import Item, request_v2
from wavetank.monitoring.remote.receive import V2, store_body
from wavetank.tsdb.db import DB
from wavetank.tsdb.options import Options

NOW_MS = 1_700_000_000_000
EVERY = [Matcher(MatchType.REGEXP, "__name__", ".+")]


def body() -> bytes:
    """A counter and a histogram that began a second before their first sample."""
    sample = FloatHistogram(0, 1.0, 1.0, 0.001, 0.0, ((0, 1),), (1.0,))
    items = [
        Item(Labels.of(__name__="c"), [(NOW_MS, 5.0), (NOW_MS + 1, 6.0)]),
        Item(Labels.of(__name__="h"), histograms=[(NOW_MS, sample)]),
    ]
    request: Any = Request.FromString(request_v2(items, lambda name: None))
    for series in request.timeseries:
        for each in (*series.samples, *series.histograms):
            each.start_timestamp = NOW_MS - 1000
    return pack(request.SerializeToString())


def stored(db: DB) -> tuple[list[int], list[int] | None]:
    batch = db.select(EVERY, NOW_MS - 10_000, NOW_MS + 10_000)
    starts = batch.start_timestamps_ms
    return (batch.timestamps_ms - NOW_MS).tolist(), None if starts is None else (starts - NOW_MS).tolist()


@pytest.mark.parametrize("known", [KnownSeries, lambda: None])
@pytest.mark.parametrize(
    ("options", "times", "starts"),
    [
        (Options(), [0, 1, 0], None),
        (Options(start_storage=True, float_chunks="xor2"), [0, 1, 0], [-1000, -1000, -1000]),
        (Options(created_zeros=True), [-1000, 0, 1, -1000, 0], None),
    ],
)
def test_what_becomes_of_start_timestamps(
    tmp_path: Path,
    options: Options,
    times: list[int],
    starts: list[int] | None,
    known: Callable[[], KnownSeries | None],
) -> None:
    with closing(DB.open(tmp_path, options, VirtualClock(1.7e9))) as db:
        written = store_body(db, body(), V2, known())
        assert (written.samples, written.histograms, written.problem) == (2, 1, "")
        assert stored(db) == (times, starts)
