"""Memory snapshots: written at shutdown, read at the start instead of the log, never trusted when damaged."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_histogram_chunks import growing
from tsdb_model import BASE_MS, EVER, Model, matching

from wavetank.clock import VirtualClock
from wavetank.model.labels import Labels
from wavetank.tsdb.chunk_snapshot import newest_snapshot, read_snapshot
from wavetank.tsdb.db import DB
from wavetank.tsdb.options import Options

WITH_SNAPSHOT = Options(snapshot_on_close=True, head_chunks_in_memory=8)
LATENCY = Labels.of(__name__="latency", job="other")
TRACE = Labels.of(trace_id="abc")


def open_db(path: Path, options: Options = WITH_SNAPSHOT) -> DB:
    return DB.open(path, options, VirtualClock(1.7e9))


def filled(path: Path) -> Model:
    """Floats with late and deleted ones, histograms, a series that changes between both, exemplars."""
    model = Model(open_db(path))
    model.write(0, 300)
    model.write_late(20, BASE_MS - 1_000_000, BASE_MS + 500_000)
    model.delete(4, BASE_MS + 100_000, BASE_MS + 900_000)
    appender = model.db.appender()
    for n in range(130):
        appender.append_histogram(0, LATENCY, BASE_MS + n * 15_000, growing(n))
    mixed = model.db.series_ref(Labels.of(__name__="mixed", job="other"))
    appender.commit()
    for n in range(40):
        if n % 7 < 3:
            appender.append(mixed, None, BASE_MS + n, float(n))
        else:
            appender.append_histogram(mixed, None, BASE_MS + n, growing(n))
        appender.commit()
    appender.append_exemplar(mixed, Labels.of(__name__="mixed", job="other"), TRACE, BASE_MS + 5, 0.25)
    appender.commit()
    return model


def others(db: DB) -> Any:
    batch = db.select(matching("job", "other"), *EVER)
    assert batch.histograms is not None
    shown = [str(h.compact()) if h is not None else float(v)
             for h, v in zip(batch.histograms, batch.values, strict=True)]  # fmt: skip
    exemplars = db.exemplars([matching("job", "other")], *EVER)
    return list(batch.labels), batch.offsets.tolist(), batch.timestamps_ms.tolist(), shown, exemplars


def forget_log(path: Path) -> None:
    """Make the log useless: what a start finds can only be from the snapshot."""
    for segment in (path / "wal").iterdir():
        segment.write_bytes(bytes(segment.stat().st_size))


def test_a_start_with_a_snapshot_needs_no_log(tmp_path: Path) -> None:
    model = filled(tmp_path / "data")
    wanted = others(model.db)
    model.db.close()
    found = newest_snapshot(tmp_path / "data")
    assert found is not None
    segment, offset, path = found
    assert path.name == f"chunk_snapshot.{segment:06d}.{offset:010d}"
    assert (tmp_path / "data" / "wal" / f"{segment:08d}").stat().st_size == offset
    assert offset % 32768 == 0
    forget_log(tmp_path / "data")
    model.db = open_db(tmp_path / "data")
    model.check()
    assert others(model.db) == wanted
    # it goes on: more samples, and another snapshot that stands for this one too
    model.write(300, 320)
    model.check()
    model.db.close()
    assert [p.name for p in (tmp_path / "data").glob("chunk_snapshot.*")] != [path.name]
    forget_log(tmp_path / "data")
    model.db = open_db(tmp_path / "data")
    model.check()
    assert others(model.db) == wanted
    model.db.flush()
    model.check()
    assert others(model.db) == wanted
    model.db.close()


def test_what_came_after_a_snapshot_is_in_the_log(tmp_path: Path) -> None:
    model = filled(tmp_path / "data")
    wanted = others(model.db)
    model.db.close()
    # without the option: as after a crash, no snapshot of this
    model.db = open_db(tmp_path / "data", Options(head_chunks_in_memory=8))
    model.write(300, 330)
    model.db.close()
    model.db = open_db(tmp_path / "data")
    model.check()
    assert others(model.db) == wanted
    model.db.close()


def break_chunk(path: Path) -> None:
    segment = path / "00000000"
    raw = bytearray(segment.read_bytes())
    raw[200] ^= 0xFF
    segment.write_bytes(raw)


def cut_off(path: Path) -> None:
    segment = path / "00000000"
    segment.write_bytes(segment.read_bytes()[:-100])


def unknown_record(path: Path) -> None:
    segment = path / "00000000"
    raw = bytearray(segment.read_bytes())
    body = b"\x09what is this"
    from wavetank.tsdb.crc32c import checksum

    raw = bytearray(struct.pack(">BHI", 1, len(body), checksum(body)) + body) + raw[:0]
    segment.write_bytes(raw)


@pytest.mark.parametrize("damage", [break_chunk, cut_off, unknown_record])
def test_a_damaged_snapshot_is_said_and_the_log_read(
    tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    model = filled(tmp_path / "data")
    wanted = others(model.db)
    model.db.close()
    found = newest_snapshot(tmp_path / "data")
    assert found is not None
    damage(found[2])
    model.db = open_db(tmp_path / "data")
    assert found[2].name in caplog.text
    assert "reading the log instead" in caplog.text
    model.check()
    assert others(model.db) == wanted
    model.db.close()


def test_damaged_head_chunks_make_the_snapshot_useless(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = filled(tmp_path / "data")
    model.db.close()
    chunks = min((tmp_path / "data" / "chunks_head").iterdir())
    raw = bytearray(chunks.read_bytes())
    raw[100] ^= 0xFF
    chunks.write_bytes(raw)
    model.db = open_db(tmp_path / "data")
    assert "chunks of the head are damaged" in caplog.text
    model.check()
    model.db.close()


def test_a_snapshot_ahead_of_the_log_is_removed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    filled(tmp_path / "data").db.close()
    shutil.rmtree(tmp_path / "data" / "wal")
    open_db(tmp_path / "data").close()
    assert "the log ends before" in caplog.text


def test_start_timestamps_are_in_the_log_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = Options(snapshot_on_close=True, start_storage=True, float_chunks="xor2")
    db = open_db(tmp_path / "data", options)
    ref = db.series_ref(LATENCY)
    appender = db.appender()
    appender.append_batch(np.array([ref]), np.array([BASE_MS]), np.ones(1), np.array([BASE_MS - 5]))
    appender.commit()
    db.close()
    assert "no memory snapshot" in caplog.text
    assert newest_snapshot(tmp_path / "data") is None
    db = open_db(tmp_path / "data", options)
    assert db.select(matching("job", "other"), *EVER).start_timestamps_ms.tolist() == [BASE_MS - 5]  # type: ignore[union-attr]
    db.close()


@pytest.mark.peer
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs prometheus on the PATH")
def test_prometheus_reads_our_snapshot_and_we_read_theirs(tmp_path: Path) -> None:
    """Floats, deletions and exemplars; 2.42 has no snapshots of native histograms."""
    from test_interop import prometheus

    flags = ("--enable-feature=memory-snapshot-on-shutdown,exemplar-storage",)
    data = tmp_path / "data"
    model = Model(open_db(data))
    model.write(0, 300)
    model.delete(4, BASE_MS + 100_000, BASE_MS + 900_000)
    appender = model.db.appender()
    appender.append_exemplar(int(model.refs()[0]), model.labels[0], TRACE, BASE_MS + 5, 0.25)
    appender.commit()
    model.db.close()
    forget_log(data)
    end = BASE_MS + 300 * 15_000
    with prometheus(data, *flags) as ask:
        rows = ask("/api/v1/query", query='{job="test"}[7h]', time=str(end / 1000))["result"]
        traces = ask(
            "/api/v1/query_exemplars", query='{job="test"}', start=str(BASE_MS / 1000), end=str(end / 1000)
        )
    found = {
        Labels.of(row["metric"]): {round(float(t) * 1000): float(v) for t, v in row["values"]} for row in rows
    }
    assert found == dict(zip(model.labels, model.truth, strict=True))
    assert [each["exemplars"][0]["labels"] for each in traces] == [{"trace_id": "abc"}]
    # their own snapshot, made as they were ended, over a log that nobody can read
    theirs = newest_snapshot(data)
    assert theirs is not None
    assert read_snapshot(theirs[2]).series_count == 20
    forget_log(data)
    model.db = open_db(data)
    model.check()
    ((labels, (exemplar,)),) = model.db.exemplars([matching("job", "test")], *EVER)
    assert (labels, exemplar.labels, exemplar.value) == (model.labels[0], TRACE, 0.25)
    model.db.close()
