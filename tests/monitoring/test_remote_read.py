"""Remote read: what one server holds, another can query."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wavetank.clock import RealClock
from wavetank.errors import CheckFailed
from wavetank.model.histogram import FloatHistogram
from wavetank.model.labels import Labels
from wavetank.monitoring.remote.codec import RemoteError, pack
from wavetank.monitoring.remote.merge import Columns, batch_of, merged
from wavetank.monitoring.remote.messages import ReadRequest
from wavetank.monitoring.remote.payload import Item, request_v2
from wavetank.monitoring.remote.read_client import decode_frames, decode_samples_answer
from wavetank.monitoring.remote.read_server import (
    chunk_frames,
    decode_read,
    samples_response,
    wants_chunks,
)
from wavetank.monitoring.remote.receive import V2
from wavetank.monitoring.server import ServerOptions
from wavetank.tsdb.db import DB
from wavetank.tsdb.options import Options

HISTOGRAM = FloatHistogram(0, 3.0, 4.5, 0.001, 1.0, ((0, 2),), (1.0, 1.0))
EXTERNAL = {"region": "eu"}


@pytest.fixture
def db(tmp_path: Path) -> Iterator[DB]:
    opened = DB.open(tmp_path, Options(), RealClock())
    appender = opened.appender()
    for name in ("m", "n"):
        ref = opened.series_ref(Labels.of(__name__=name, a="1"))
        for t in range(300):
            appender.append(ref, None, t * 1000, math.sqrt(t))
    native = opened.series_ref(Labels.of(__name__="h"))
    appender.append(native, None, 1000, 1.0)
    appender.append_histogram(native, None, 2000, HISTOGRAM)
    appender.append_histogram(native, None, 3000, HISTOGRAM)
    appender.commit()
    yield opened
    opened.close()


def request(*matchers: tuple[int, str, str], start: int = 0, end: int = 1 << 40, kinds: Any = ()) -> Any:
    made = ReadRequest(accepted_response_types=kinds)
    query = made.queries.add(start_timestamp_ms=start, end_timestamp_ms=end)
    for kind, name, value in matchers:
        query.matchers.add(type=kind, name=name, value=value)
    return made


def both(db: DB, asked: Any) -> Iterator[dict[Labels, list[tuple[int, float, Any]]]]:
    """The answer in samples and in frames."""
    for found in (
        decode_samples_answer(samples_response(db, asked, EXTERNAL, 0)),
        decode_frames(b"".join(chunk_frames(db, asked, EXTERNAL, 200))),
    ):
        series: dict[Labels, list[tuple[int, float, Any]]] = {}
        for labels, part in found:
            native = part.histograms if part.histograms is not None else [None] * len(part.times_ms)
            series.setdefault(labels, []).extend(
                zip(part.times_ms.tolist(), part.values.tolist(), native, strict=True)
            )
        yield series


def test_both_kinds_of_answer_hold_the_same(db: DB) -> None:
    for series in both(db, request((2, "__name__", "m|n"), (0, "region", "eu"), start=5000, end=250_000)):
        assert set(series) == {Labels.of(__name__=n, a="1", region="eu") for n in "mn"}
        for samples in series.values():
            assert samples == [(t * 1000, math.sqrt(t), None) for t in range(5, 251)]
    for series in both(db, request((0, "__name__", "h"))):
        (samples,) = series.values()
        assert [s[0] for s in samples] == [1000, 2000, 3000]
        assert samples[0][1:] == (1.0, None)
        assert samples[2][2].equals(HISTOGRAM)


def test_limits_and_bad_requests(db: DB) -> None:
    with pytest.raises(CheckFailed, match=re.escape("exceeded sample limit (10)")):
        samples_response(db, request((0, "__name__", "m")), {}, 10)
    with pytest.raises(RemoteError, match="needs a matcher"):
        samples_response(db, request(), {}, 0)
    with pytest.raises(RemoteError, match="matcher type 9"):
        samples_response(db, request((9, "a", "b")), {}, 0)
    with pytest.raises(RemoteError, match="requested response types"):
        wants_chunks(request(kinds=[7]))
    with pytest.raises(RemoteError, match="protobuf"):
        decode_read(pack(b"\x0a\xff"))
    frame = next(chunk_frames(db, request((0, "__name__", "m")), {}, 1 << 20))
    for broken in (frame[:-1], frame[:9] + b"\0" + frame[10:], b"\x80\x80\x80\x80\x80\x80"):
        with pytest.raises(RemoteError):
            list(decode_frames(broken))


def test_merging_keeps_the_first_storages_samples() -> None:
    def columns(*times: int, value: float) -> Columns:
        return Columns(np.array(times, np.int64), np.full(len(times), value), None)

    a, b = Labels.of(__name__="a"), Labels.of(__name__="b")
    local = batch_of({b: [columns(3, 4, value=1.0)]})
    remote = batch_of({a: [columns(1, value=2.0)], b: [columns(1, 3, value=2.0)]}, ["slow"])
    found = merged([local, remote])
    assert list(found.labels) == [a, b]
    assert found.timestamps_ms.tolist() == [1, 1, 3, 4]
    assert found.values.tolist() == [2.0, 2.0, 1.0, 1.0]
    assert found.warnings == ("slow",)


@pytest.mark.slow
async def test_a_query_sees_what_the_other_server_has(start: Callable[..., Any]) -> None:
    """One server writes to the other and reads from it; only the other stores."""
    options = ServerOptions(enable_remote_write_receiver=True)
    async with start("global: {scrape_interval: 1s}\n", options, directory="other") as other:
        now = int(RealClock().now())  # not after the query
        item = Item(Labels.of(__name__="m", region="eu"), [((now - i) * 1000, 5.0) for i in (20, 10, 0)])
        body = pack(request_v2([item], lambda name: None))
        headers = {"Content-Type": f"application/x-protobuf;proto={V2}", "Content-Encoding": "snappy"}
        async with other.session.post(other.url + "/api/v1/write", data=body, headers=headers) as response:
            assert response.status == 204
            assert response.headers["X-Prometheus-Remote-Write-Samples-Written"] == "3"
        config = (
            "global: {external_labels: {region: eu}}\n"
            f"remote_read: [{{url: '{other.url}/api/v1/read', read_recent: true}},"
            " {url: 'http://127.0.0.1:1/read', required_matchers: {from: gone}, read_recent: true}]\n"
        )
        async with start(config) as server:
            assert await server.query("count_over_time(m[1m])") == [({}, "3")]
            answer = await server.get("/api/v1/query", query='m{from="gone"}')
            assert answer["data"]["result"] == []
            assert "127.0.0.1:1" in answer["warnings"][0]
