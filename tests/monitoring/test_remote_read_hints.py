"""What hints of a remote read change: the times, and whether there are samples at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wavetank.clock import RealClock
from wavetank.model.labels import Labels
from wavetank.monitoring.remote.messages import ReadRequest, ReadResponse
from wavetank.monitoring.remote.read_client import decode_frames, decode_samples_answer
from wavetank.monitoring.remote.read_server import chunk_frames, samples_response
from wavetank.tsdb.db import DB
from wavetank.tsdb.options import Options


def asked(**hints: Any) -> Any:
    made = ReadRequest()
    query = made.queries.add(start_timestamp_ms=0, end_timestamp_ms=100_000)
    query.matchers.add(type=0, name="__name__", value="m")
    for name, value in hints.items():
        setattr(query.hints, name, value)
    return made


def test_hints(tmp_path: Path) -> None:
    db = DB.open(tmp_path, Options(), RealClock())
    try:
        appender = db.appender()
        ref = db.series_ref(Labels.of(__name__="m"))
        for t in range(10):
            appender.append(ref, None, t * 1000, 1.0)
        appender.commit()

        def times(request: Any) -> list[list[int]]:
            return [
                [at_ms for _, part in found for at_ms in part.times_ms.tolist()]
                for found in (
                    decode_samples_answer(samples_response(db, request, {}, 0)),
                    decode_frames(b"".join(chunk_frames(db, request, {}, 1000))),
                )
            ]

        assert times(asked(start_ms=3000, end_ms=5000)) == [[3000, 4000, 5000]] * 2
        assert times(asked(start_ms=-5000, end_ms=1000)) == [[0, 1000]] * 2
        assert times(asked()) == [[t * 1000 for t in range(10)]] * 2
        answer = ReadResponse.FromString(samples_response(db, asked(func="series"), {"region": "eu"}, 1))
        (series,) = answer.results[0].timeseries
        assert [(label.name, label.value) for label in series.labels] == [("__name__", "m"), ("region", "eu")]
        assert len(series.samples) == 0
        assert b"".join(chunk_frames(db, asked(func="series"), {}, 1000)) == b""
    finally:
        db.close()
