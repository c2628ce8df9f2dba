"""Remote write: what is sent arrives, whatever the receiver does meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from wavetank.clock import RealClock
from wavetank.model.histogram import FloatHistogram
from wavetank.model.labels import METRIC_NAME, Labels, Matcher, MatchType
from wavetank.monitoring.config import parse_config
from wavetank.monitoring.config.model import RemoteWrite
from wavetank.monitoring.remote.codec import MetadataEntry, RemoteError, decode_v1, decode_v2, pack, unpack
from wavetank.monitoring.remote.fast_write import scan_v1, scan_v2
from wavetank.monitoring.remote.known_series import KnownSeries
from wavetank.monitoring.remote.payload import Item, metadata_request, request_v1, request_v2
from wavetank.monitoring.remote.receive import V1, V2, message_of, store_body
from wavetank.monitoring.remote.sender import Sender
from wavetank.tsdb.db import DB
from wavetank.tsdb.options import Options

HISTOGRAM = FloatHistogram(0, 3.0, 4.5, 0.001, 1.0, ((0, 2),), (1.0, 1.0))
FRACTIONS = FloatHistogram(0, 3.5, 4.5, 0.001, 1.5, ((0, 2),), (1.0, 1.0))


class Receiver:
    """Takes write requests, or answers what it is told to."""

    def __init__(self) -> None:
        self.status = 204
        self.hits = 0
        self.samples: dict[tuple[str, int], float] = {}
        self.histograms: list[tuple[int, FloatHistogram]] = []
        self.exemplars: list[str] = []
        self.metadata: dict[str, MetadataEntry] = {}
        self.labels: set[Labels] = set()
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        self.hits += 1
        body = await request.read()
        if self.status != 204:
            return web.Response(status=self.status, text="not now")
        if message_of(request.headers["Content-Type"]) == V2:
            assert request.headers["X-Prometheus-Remote-Write-Version"] == "2.0.0"
            series = decode_v2(unpack(body))
        else:
            assert request.headers["X-Prometheus-Remote-Write-Version"] == "0.1.0"
            series, metadata = decode_v1(unpack(body))
            self.metadata |= metadata
        for entry in series:
            self.labels.add(entry.labels)
            self.samples |= {(str(entry.labels), at): value for at, value in entry.samples}
            self.histograms += entry.histograms
            self.exemplars += [str(e.labels) for e in entry.exemplars]
            if entry.metadata is not None:
                self.metadata[entry.labels.name] = entry.metadata
        return web.Response(status=204)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    app = web.Application()
    app.router.add_post("/write", made.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/write"
    yield made
    await runner.cleanup()


@pytest.fixture
def db(tmp_path: Path) -> Any:
    opened = DB.open(tmp_path, Options(), RealClock())
    yield opened
    opened.close()


def section(url: str, extra: str = "") -> RemoteWrite:
    queue = "queue_config: {batch_send_deadline: 20ms, min_backoff: 5ms, max_backoff: 20ms}"
    (found,) = parse_config(f"remote_write: [{{url: '{url}', {queue}{extra}}}]").remote_write
    return found


def sender(config: RemoteWrite, directory: Path, **external: str) -> Sender:
    known = {"m": MetadataEntry("counter", "Help.", "")}
    made = Sender(config, external, directory, RealClock(), lambda: known)
    made.start()
    return made


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


def append(db: DB, first: int, count: int, series: int = 3) -> set[tuple[str, int]]:
    """``count`` samples of each series from time ``first`` on; what a receiver should get to see."""
    appender = db.appender()
    sent = set()
    for i in range(series):
        labels = Labels.of(__name__="m", i=str(i))
        ref = db.series_ref(labels)
        for t in range(first, first + count):
            appender.append(ref, None, t, float(t))
            sent.add((str(labels), t))
    appender.commit()
    return sent


async def test_outages_and_restarts_lose_nothing(db: DB, receiver: Receiver) -> None:
    config = section(receiver.url)
    append(db, 1, 5)  # before the queue exists: not sent, as upstream
    sending = sender(config, db.path)
    wanted: set[tuple[str, int]] = set()
    for i, status in enumerate((204, 503, 500, 204, 503)):
        wanted |= append(db, 1000 * (i + 1), 50)
        receiver.status = status
        hits = receiver.hits
        await until(lambda hits=hits: receiver.hits > hits)
        if i % 2:
            await sending.close(0.0)
            wanted |= append(db, 1000 * (i + 1) + 500, 20)
            sending = sender(config, db.path)
    receiver.status = 204
    await until(lambda: wanted <= set(receiver.samples))
    await sending.close(1.0)
    assert set(receiver.samples) == wanted
    assert all(value == t for (_, t), value in receiver.samples.items())
    assert sending.counts.failed == 0


async def test_a_refusal_is_final_and_the_queue_goes_on(db: DB, receiver: Receiver) -> None:
    sending = sender(section(receiver.url), db.path)
    receiver.status = 400
    append(db, 1, 4)
    await until(lambda: sending.counts.failed == 12)
    receiver.status = 204
    wanted = append(db, 100, 4)
    await until(lambda: set(receiver.samples) == wanted)
    await sending.close(1.0)
    assert sending.pending == 0
    assert "400" in sending.counts.last_error


async def test_full_queues_wait_and_segments_change(tmp_path: Path, receiver: Receiver) -> None:
    db = DB.open(tmp_path, Options(wal_segment_bytes=64 << 10, wal_compression="none"), RealClock())
    try:
        config = section(receiver.url)
        queue = msgspec.structs.replace(
            config.queue_config, capacity=10, max_samples_per_send=500, min_shards=3
        )
        sending = sender(msgspec.structs.replace(config, queue_config=queue), db.path)
        receiver.status = 503
        wanted = set()
        for i in range(8):
            wanted |= append(db, i * 1000, 300, series=5)
        receiver.status = 204
        await until(lambda: set(receiver.samples) == wanted)
        await sending.close(1.0)
        assert db.store.wal.segment > 0
    finally:
        db.close()


@pytest.mark.parametrize("message", [V1, V2])
async def test_everything_a_series_has_is_sent(db: DB, receiver: Receiver, message: str) -> None:
    extra = f""", protobuf_message: {message}, send_exemplars: true, send_native_histograms: true,
        metadata_config: {{send_interval: 50ms}},
        write_relabel_configs: [{{source_labels: [drop], regex: "y", action: drop}},
                                {{target_label: added, replacement: "1"}}]"""
    sending = sender(section(receiver.url, extra), db.path, region="eu", i="ours")
    appender = db.appender()
    labels = Labels.of(__name__="m", i="0")
    ref = appender.append(0, labels, 10, 1.5)
    appender.append(0, Labels.of(__name__="m", drop="y"), 10, 1.0)
    appender.append_exemplar(ref, labels, Labels.of(trace="abc"), 10, 0.5)
    native = db.series_ref(Labels.of(__name__="h"))
    appender.append_histogram(native, None, 11, HISTOGRAM)
    appender.append_histogram(native, None, 12, FRACTIONS)
    appender.commit()
    await until(lambda: len(receiver.histograms) == 2 and bool(receiver.exemplars) and bool(receiver.samples))
    await until(lambda: "m" in receiver.metadata)
    await sending.close(1.0)
    sent = Labels.of(__name__="m", i="0", region="eu", added="1")
    assert receiver.samples == {(str(sent), 10): 1.5}
    assert receiver.labels == {sent, Labels.of(__name__="h", i="ours", region="eu", added="1")}
    assert [
        (at, h.equals(w)) for (at, h), w in zip(receiver.histograms, (HISTOGRAM, FRACTIONS), strict=True)
    ] == [
        (11, True),
        (12, True),
    ]
    assert receiver.exemplars == ['{trace="abc"}']
    assert receiver.metadata == {"m": MetadataEntry("counter", "Help.", "")}


def items() -> list[Item]:
    labels = Labels.of(__name__="m", a="1")
    return [Item(labels, [(1, 1.0), (2, 2.0)], [(3, HISTOGRAM)], [(Labels.of(t="x"), 1.0, 2)])]


@pytest.mark.parametrize("message", [V1, V2])
def test_what_is_received_is_stored(db: DB, message: str) -> None:
    known = MetadataEntry("counter", "Help.", "seconds")
    body = request_v1(items()) if message == V1 else request_v2(items(), lambda name: known)
    written = store_body(db, pack(body), message)
    assert (written.samples, written.histograms, written.exemplars, written.problem) == (2, 1, 1, "")
    if message == V1:
        store_body(db, pack(metadata_request({"m": known})), message)
    batch = db.select([Matcher(MatchType.EQUAL, METRIC_NAME, "m")], 0, 10)
    assert batch.timestamps_ms.tolist() == [1, 2, 3]
    assert batch.histograms is not None
    assert batch.histograms[2].equals(HISTOGRAM)
    if message == V2:
        assert db.metadata("m")["m"][0].help == "Help."
    other = Labels.of(__name__="n")
    store_body(db, pack(request_v1([Item(other, [(2, 1.0)])])), V1)
    body = request_v1([Item(other, [(2, 9.0), (4, 4.0)])])
    written = store_body(db, pack(body), V1)
    assert (written.samples, written.problem) == (1, "1 samples were refused: out of order or duplicate")


BAD = [
    (b"\xff\xff\xff\xff\xff", V1, "snappy|larger"),
    (pack(b"\x0a\xff"), V1, "protobuf"),
    (pack(request_v1([Item(Labels((("a", "1"), ("a", "2"))), [(1, 1.0)])])), V1, "unique"),
    (pack(b"\x22\x01a\x2a\x04\x0a\x02\x00\x00"), V2, "first symbol"),
    (pack(b"\x22\x00\x2a\x04\x0a\x02\x00\x07"), V2, "beyond the 1 symbols"),
    (pack(b"\x22\x00\x2a\x03\x0a\x01\x00"), V2, "odd number"),
    (b"\x80\x80\x80\x80\x04" + b"\x00", V1, "larger than"),
]


@pytest.mark.parametrize(("body", "message", "problem"), BAD)
def test_bodies_that_are_not_requests(db: DB, body: bytes, message: str, problem: str) -> None:
    with pytest.raises(RemoteError, match=problem):
        store_body(db, body, message)


@settings(max_examples=30)
@given(st.binary(max_size=200), st.sampled_from([decode_v1, decode_v2]))
def test_any_bytes_decode_or_are_refused(data: bytes, decode: Callable[[bytes], Any]) -> None:
    try:
        decode(data)
    except RemoteError:
        pass
    try:
        unpack(data)
    except RemoteError:
        pass


def request(message: str, items: list[Item], describe: Callable[[str], Any] = lambda name: None) -> bytes:
    return pack(request_v1(items) if message == V1 else request_v2(items, describe))


@pytest.mark.parametrize("message", [V1, V2])
def test_the_short_way_stores_what_the_long_way_stores(db: DB, message: str) -> None:
    """Known series, new ones, and what sends a request the long way."""
    known = KnownSeries()
    a, b, c = (Labels.of(__name__="m", x=x) for x in ("1", "2", "3"))
    wanted: dict[str, list[tuple[int, float]]] = {}
    for turn, names in enumerate(([a, b], [b, a, c], [c], [a])):
        samples = [(turn * 10 + 1, turn + 0.5), (turn * 10 + 2, float("inf"))]
        body = request(message, [Item(labels, samples) for labels in names])
        written = store_body(db, body, message, known)
        assert (written.samples, written.problem) == (2 * len(names), "")
        for labels in names:
            wanted.setdefault(str(labels), []).extend(samples)
    batch = db.select([Matcher(MatchType.EQUAL, METRIC_NAME, "m")], 0, 1000)
    assert {
        str(labels): list(zip(batch.timestamps_ms[i:j].tolist(), batch.values[i:j].tolist(), strict=True))
        for labels, i, j in zip(
            batch.labels, batch.offsets.tolist(), batch.offsets[1:].tolist(), strict=False
        )
    } == wanted
    written = store_body(db, request(message, [Item(a, [(32, 9.0)])]), message, known)
    assert written.problem == "1 samples were refused: out of order or duplicate"
    whole, alone = store_body(db, request(message, items()), message, known), items()
    assert (whole.samples, whole.histograms, whole.exemplars) == (
        sum(len(item.samples) for item in alone),
        sum(len(item.histograms) for item in alone),
        sum(len(item.exemplars) for item in alone),
    )
    nameless = store_body(db, request(message, [Item(Labels.of(x="1"), [(1, 1.0)])]), message, known)
    assert nameless.problem == "1 series have no name"
    for broken in (
        b"\x05",
        b"\x02\x0a\x09",
        b"\x03\x12\x01\x10",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ):
        with pytest.raises(RemoteError):
            store_body(db, pack((b"\x0a" if message == V1 else b"\x2a") + broken), message, known)


def test_metadata_of_known_series_is_taken_up_when_it_changes(db: DB) -> None:
    known = KnownSeries()
    labels = Labels.of(__name__="m", x="1")
    told: list[str | None] = []
    for turn, help in enumerate(["one", "one", None, "two"]):
        entry = MetadataEntry("counter", help, "") if help else None
        body = request(V2, [Item(labels, [(turn, 1.0)])], lambda name, entry=entry: entry)
        assert store_body(db, body, V2, known).samples == 1
        told.append(db.metadata()["m"][0].help)
    assert told == ["one", "one", "one", "two"]


def test_symbols_stand_for_their_texts_not_for_their_numbers(db: DB) -> None:
    known = KnownSeries()
    for turn in range(3):
        order = ["a", "b", "c"][turn:] + ["a", "b", "c"][:turn]
        items = [Item(Labels.of(__name__="m", x=x), [(turn, float(ord(x)))]) for x in order]
        store_body(db, request(V2, items), V2, known)
    batch = db.select([Matcher(MatchType.EQUAL, METRIC_NAME, "m")], 0, 1000)
    assert [labels.get("x") for labels in batch.labels] == ["a", "b", "c"]
    assert batch.values.tolist() == [97.0] * 3 + [98.0] * 3 + [99.0] * 3


def test_many_series_are_remembered_and_forgotten() -> None:
    known = KnownSeries()
    highs = np.arange(1, 5001, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    refs = np.arange(1, 5001)
    known.learn(highs, highs[::-1].copy(), highs, refs)
    assert len(known) == 5000
    found, metadata = known.find(highs, highs[::-1].copy())
    assert found.tolist() == refs.tolist() and metadata.tolist() == highs.tolist()
    assert not known.find(highs, highs)[0].any()
    known.forget()
    assert not known.find(highs, highs[::-1].copy())[0].any()


@settings(max_examples=50)
@given(st.binary(max_size=60), st.sampled_from([scan_v1, scan_v2]))
def test_any_bytes_are_walked_or_left(data: bytes, scan: Callable[[Any], Any]) -> None:
    found = scan(np.frombuffer(bytearray(data), np.uint8))
    if found is not None:
        assert len(found.owners) == len(found.timestamps_ms) == len(found.values)
        assert found.owners.max(initial=-1) < len(found.spans)


@settings(max_examples=50)
@given(st.data(), st.sampled_from([V1, V2]))
def test_a_request_with_a_broken_byte_is_stored_or_refused(data: st.DataObject, message: str) -> None:
    """What the walk makes of it, the full decoder would make of it too."""
    plain = [Item(Labels.of(__name__="m", x=x), [(1, 2.0)]) for x in "ab"]
    whole = bytearray(request_v1(plain) if message == V1 else request_v2(plain, lambda name: None))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] = data.draw(st.integers(0, 255))
    scan = scan_v1 if message == V1 else scan_v2
    found = scan(np.frombuffer(whole, np.uint8))
    if found is None or not found.plain.all():
        return
    try:
        series = decode_v1(bytes(whole))[0] if message == V1 else decode_v2(bytes(whole))
    except RemoteError:
        return  # such labels are never known
    assert len(series) == len(found.spans)
    listed = [(i, t, repr(v)) for i, entry in enumerate(series) for t, v in entry.samples]
    columns = zip(found.owners.tolist(), found.timestamps_ms.tolist(), found.values.tolist(), strict=True)
    assert [(i, t, repr(v)) for i, t, v in columns] == listed
