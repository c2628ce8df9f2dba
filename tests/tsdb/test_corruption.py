"""Damaged files: an error or a quarantine that names them; the rest is served, and nothing crashes."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tsdb_model import BASE_MS, EVER, Model, matching

from wavetank.clock import VirtualClock
from wavetank.model.labels import Labels, MatchType
from wavetank.tsdb.block import Block
from wavetank.tsdb.chunkenc.histogram import decode_histograms
from wavetank.tsdb.chunkenc.xor import decode_xor, xor_chunk
from wavetank.tsdb.chunkenc.xor2 import decode_xor2
from wavetank.tsdb.crc32c import checksum
from wavetank.tsdb.db import DB
from wavetank.tsdb.decode import decode
from wavetank.tsdb.errors import CorruptionError
from wavetank.tsdb.options import Options
from wavetank.tsdb.tombstones import read_tombstones
from wavetank.tsdb.wal import rare_records as rare
from wavetank.tsdb.wal.log import Damage, Log, read_segment, segments
from wavetank.tsdb.wal.records import Reader, decode_samples, encode_samples, split_series
from wavetank.tsdb.wal.start_records import decode_samples_v2

DATA = Path(__file__).parent / "data"


def flip(path: Path, offset: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[offset] ^= 0x55
    path.write_bytes(raw)


@pytest.mark.parametrize(
    ("file", "offset"),
    [("index", 2), ("index", 30), ("index", -3), ("index", -60), ("meta.json", 0), ("chunks/000001", 1),
     ("tombstones", 6), ("chunks/000001", 40), ("index", "series")],
)  # fmt: skip
def test_a_damaged_block_is_set_aside_and_named(model: Model, file: str, offset: int | str) -> None:
    model.write(0, 1500)
    model.db.flush()
    damaged, *_, last = model.db.blocks
    model.db.close()
    if isinstance(offset, str):  # inside the first series: its section's start is in the table of contents
        offset = int.from_bytes((damaged.directory / file).read_bytes()[-44:-36], "big") + 20
    flip(damaged.directory / file, offset)
    db = DB.open(model.db.path, model.db.options, model.db.clock)
    batch = db.select(matching("job", "test"), *EVER)
    assert len(batch.labels) == 20
    assert int(batch.timestamps_ms.max()) == last.meta.max_time - 1
    (aside,) = db.quarantined
    assert aside.directory.name == f"{damaged.meta.ulid}.quarantined"
    assert aside.directory.is_dir()
    assert aside.reason
    db.close()


@pytest.mark.parametrize("size", [0, 3, 100])
@pytest.mark.parametrize("file", ["index", "chunks/000001", "meta.json"])
def test_a_truncated_block_is_set_aside(model: Model, file: str, size: int) -> None:
    model.write(0, 10)
    model.db.flush()
    (block,) = model.db.blocks
    model.db.close()
    path = block.directory / file
    path.write_bytes(path.read_bytes()[:size])
    db = DB.open(model.db.path, model.db.options, model.db.clock)
    assert len(db.select(matching("job", "test"), *EVER).labels) == 0
    assert len(db.quarantined) == 1
    db.close()


def rewrite_chunk(block: Block, *, encoding: int | None = None, flipped: int | None = None) -> None:
    """Change the first chunk and make its checksum right again."""
    path = block.directory / "chunks" / "000001"
    raw = bytearray(path.read_bytes())
    reader = Reader(bytes(raw), 8)
    length, at = reader.uvarint(), reader.at
    if encoding is not None:
        raw[at] = encoding
    if flipped is not None:
        raw[at + 1 + flipped] ^= 0xFF
    end = at + 1 + length
    raw[end : end + 4] = checksum(bytes(raw[at:end])).to_bytes(4, "big")
    path.write_bytes(raw)


@pytest.mark.parametrize("how", ["checksum", "encoding", "content"])
def test_damage_stays_in_its_block_when_blocks_are_merged(model: Model, how: str) -> None:
    """What is wrong with one of three blocks costs that one, and upkeep goes on."""
    model.write(0, 2500)
    model.db.flush()
    damaged = model.db.blocks[0]
    before = len(model.db.blocks)
    model.db.close()
    if how == "checksum":
        flip(damaged.directory / "chunks" / "000001", 40)
    else:
        rewrite_chunk(
            damaged, encoding=77 if how == "encoding" else None, flipped=0 if how == "content" else None
        )
    model.db = DB.open(model.db.path, model.db.options, model.db.clock)
    model.db.compact()
    (aside,) = model.db.quarantined
    assert aside.directory.name == f"{damaged.meta.ulid}.quarantined"
    assert len(model.db.blocks) < before
    model.truth = [{t: v for t, v in own.items() if t >= damaged.meta.max_time} for own in model.truth]
    model.check()


def test_bytes_of_an_index_are_checked(tmp_path: Path) -> None:
    """Any one changed: the answers are right, or the block says that it is damaged."""
    model = Model(DB.open(tmp_path / "data", Options(), VirtualClock(1.7e9)), series=5)
    model.write(0, 2)
    model.db.flush()
    directory = model.db.blocks[0].directory
    model.db.close()
    index = (directory / "index").read_bytes()
    wanted = asked(Block(directory))
    found = 0
    offsets = range(0, len(index), 3)  # a third of them is enough for every day
    for offset in offsets:
        raw = bytearray(index)
        raw[offset] ^= 0x55
        (directory / "index").write_bytes(raw)
        try:
            assert asked(Block(directory)) == wanted, offset
        except CorruptionError:
            found += 1
    assert found > len(offsets) * 0.7


def asked(block: Block) -> object:
    answers: list[object] = [[(n, sorted(block.index.values(n))) for n in block.index.names()]]
    for matchers in (
        matching("job", "test"),
        matching("series", "3", MatchType.NOT_EQUAL),
        matching("__name__", "metric_[01]", MatchType.REGEXP),
        [],
    ):
        ids, entries = block.find(matchers)
        columns = decode(block.chunks(entries, *EVER), len(ids), *EVER)
        answers.append((block.labels(entries), columns.timestamps_ms.tolist(), columns.values.tolist()))
    return answers


def test_values_keep_every_bit(model: Model) -> None:
    """NaNs with payloads, negative zero, subnormals, infinities: through log, head and block."""
    bits = np.array(
        [0x7FF8000000000001, 0x7FF800000000BEEF, 0xFFF8000000000001, 0x7FF0000000000002, 1 << 63, 1,
         0x7FF0000000000000, 0xFFF0000000000000, 0x7FF0000000000001], np.uint64
    )  # fmt: skip
    ref = model.db.series_ref(Labels.of(__name__="odd"))
    for n, value in enumerate(bits.view(np.float64)):
        appender = model.db.appender()
        appender.append_batch(np.array([ref]), np.array([BASE_MS + n]), np.array([value]))
        assert appender.commit().appended == 1
    for _ in range(3):
        batch = model.db.select(matching("__name__", "odd"), *EVER)
        assert batch.values.view(np.uint64).tolist() == bits.tolist()
        model.reopen()
        model.db.flush()


def test_a_clock_that_goes_back(model: Model) -> None:
    """Samples older than the newest are late, none is lost; blocks keep distinct names."""
    model.write(500, 520)
    model.write_late(50, BASE_MS, BASE_MS + 500 * 15_000)
    model.check()
    model.reopen()
    model.db.flush()
    model.check()
    assert len({b.meta.ulid for b in model.db.blocks}) == len(model.db.blocks)


def test_labels_of_any_size(model: Model) -> None:
    """Megabytes in one label, a thousand labels: stored, and the log's segments stay readable."""
    wide = Labels.of({f"label_{n:04}": "v" * 50 for n in range(1000)} | {"job": "wide"})
    long = Labels.of({"job": "wide", "text": "x" * 3_000_000})
    appender = model.db.appender()
    for labels in (wide, long):
        appender.append(0, labels, BASE_MS, 1.0)
    assert appender.commit().appended == 2
    for _ in range(2):
        assert model.db.series(matching("job", "wide"), *EVER) == sorted([wide, long])
        model.reopen()
        model.db.flush()


def test_a_duplicate_block_is_merged(model: Model) -> None:
    model.write(0, 100)
    model.db.flush()
    (block,) = model.db.blocks
    copy = block.directory.with_name("01AAAAAAAAAAAAAAAAAAAAAAAA")
    shutil.copytree(block.directory, copy)
    meta = copy / "meta.json"
    meta.write_text(meta.read_text().replace(block.meta.ulid, copy.name))
    model.reopen()
    model.check()
    model.db.compact()
    assert len(model.db.blocks) == 1
    model.check()


def test_a_torn_tail_is_cut_and_reported(model: Model) -> None:
    model.write(0, 50)
    model.db.close()
    (_, segment) = segments(model.db.path / "wal")[-1]
    with segment.open("ab") as file:
        file.write(b"\x01\x10\x00torn")
    model.reopen()
    (damage,) = model.db.replays[0].damage
    assert damage.reason == "the last record is cut off"
    assert damage.lost_bytes == 7
    model.check()
    model.write(50, 60)
    model.reopen()
    assert model.db.replays[0].damage == []
    model.check()


def test_damage_inside_a_segment_costs_one_page_only(tmp_path: Path) -> None:
    model = Model(DB.open(tmp_path, Options(wal_compression="none"), VirtualClock(1.7e9)))
    model.write(0, 1000)
    model.db.close()
    (_, segment) = segments(tmp_path / "wal")[0]
    flip(segment, 200_000)
    db = DB.open(tmp_path, Options(), VirtualClock(1.7e9))
    (damage,) = db.replays[0].damage
    assert damage.reason == "checksum mismatch"
    assert 0 < damage.lost_bytes <= 3 * 32768
    assert db.replays[0].samples > 1000 * 20 - 32768 * 2 // 11
    db.close()


@pytest.mark.parametrize("name", ["index_format_v1", "repair_index_version/01BZJ9WJQPWHGNC2W4J9TA62KC"])
def test_old_blocks_are_read(name: str) -> None:
    if not (DATA / name / "chunks").exists():
        with pytest.raises(CorruptionError):
            Block(DATA / name)
        return
    block = Block(DATA / name)
    assert block.index.version == 1
    ids, entries = block.find(matching("bar", "7"))
    columns = decode(block.chunks(entries, *EVER), len(ids), *EVER)
    assert [str(labels) for labels in block.labels(entries)] == ['{bar="7"}']
    assert len(columns.values) == 1


# --- fuzzing ----------------------------------------------------------------------------------------------


def chunk_arguments(data: bytes, count: int) -> tuple[object, ...]:
    one = [np.array([n], np.int64) for n in (0, len(data), count, 0)]
    buffer = np.frombuffer(bytearray(data), np.uint8)
    return buffer, *one, np.zeros(count, np.int64), np.zeros(count), 0, 1


@settings(max_examples=300, deadline=None)
@given(st.binary(min_size=3, max_size=80), st.integers(0, 300))
def test_float_chunks_of_any_bytes(data: bytes, count: int) -> None:
    for read in (decode_xor, decode_xor2):
        assert read(*chunk_arguments(data, count)) in (-1, 0)  # type: ignore[arg-type, call-arg]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 2**40), st.floats(width=64)), max_size=130))
def test_float_chunks_read_back(steps: list[tuple[int, float]]) -> None:
    times = np.cumsum([0, *(d for d, _ in steps)])[1:].astype(np.int64)
    values = np.array([v for _, v in steps], np.float64)
    data = xor_chunk(times, values)
    arguments = chunk_arguments(data + b"\0", len(steps))
    assert decode_xor(*arguments) == -1  # type: ignore[arg-type, call-arg]
    assert np.array_equal(arguments[5], times)  # type: ignore[arg-type]
    assert np.array_equal(arguments[6].view(np.uint64), values.view(np.uint64))  # type: ignore[attr-defined]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=120), st.sampled_from([2, 3, 5, 6]))
def test_histogram_chunks_of_any_bytes(data: bytes, encoding: int) -> None:
    try:
        decode_histograms(encoding, data[:1] + data)
    except CorruptionError:
        pass


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 13), st.binary(max_size=60))
def test_records_of_any_bytes(kind: int, body: bytes) -> None:
    record = bytes((kind,)) + body
    data = np.frombuffer(bytearray(record), np.uint8)
    begins, ends = np.array([0]), np.array([len(record)])
    readers: list[Callable[[], object]] = [
        lambda: split_series(data, begins, ends),
        lambda: decode_samples(data, begins, ends),
        lambda: list(rare.decode_tombstones(record)),
        lambda: list(rare.decode_exemplars(record)),
        lambda: list(rare.decode_metadata(record)),
        lambda: list(rare.decode_histograms_record(record)),
        lambda: decode_samples_v2(data, begins, ends),
    ]
    for read in readers:
        try:
            read()
        except CorruptionError:
            pass


@pytest.fixture(scope="module")
def segment_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    directory = tmp_path_factory.mktemp("wal")
    log = Log(directory, 1 << 27, "snappy")
    rng = np.random.default_rng(0)
    for n in (1, 3000, 5000, 10):
        refs = np.sort(rng.integers(1, 999, n))
        log.log([encode_samples(refs, rng.integers(0, 1 << 40, n), rng.normal(size=n)), b"\x01odd"])
    log.close()
    return (directory / "00000000").read_bytes()


@pytest.mark.parametrize("seed", range(60))
def test_segments_with_random_damage(segment_bytes: bytes, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    raw = bytearray(segment_bytes[: chance.randrange(len(segment_bytes))] if seed % 3 == 0 else segment_bytes)
    for _ in range(chance.randrange(1, 20)):
        if raw:
            raw[chance.randrange(len(raw))] = chance.randrange(256)
    path = tmp_path / "00000000"
    path.write_bytes(raw)
    damage: list[Damage] = []
    records = sum(len(batch.begins) for batch in read_segment(path, damage))
    assert records <= 8
    assert records == 8 or damage


@pytest.mark.parametrize("seed", range(40))
def test_indexes_and_chunks_with_random_damage(open_db: Callable[..., DB], tmp_path: Path, seed: int) -> None:
    model = Model(open_db(), series=5)
    model.write(0, 130)
    model.db.flush()
    (block,) = model.db.blocks
    chance = random.Random(seed)
    path = block.directory / chance.choice(["index", "index", "chunks/000001", "tombstones"])
    raw = bytearray(path.read_bytes())
    for _ in range(chance.randrange(1, 6)):
        raw[chance.randrange(len(raw))] = chance.randrange(256)
    path.write_bytes(raw[: chance.randrange(1, len(raw))] if seed % 4 == 0 else raw)
    try:
        found = Block(block.directory)
        ids, entries = found.find(matching("job", "test"))
        found.labels(entries)
        decode(found.chunks(entries, *EVER), len(ids), *EVER)
    except CorruptionError:
        pass
    try:
        read_tombstones(path)
    except CorruptionError:
        pass


def test_time_going_backwards_is_no_damage(model: Model) -> None:
    model.write(100, 110)
    model.write_late(10, BASE_MS, BASE_MS + 100 * 15_000)
    model.check()
