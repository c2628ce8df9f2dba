"""A disk that is full: what was acknowledged stays, what was not is refused, and both go on afterwards.

The limit on file sizes (RLIMIT_FSIZE) makes the kernel write a part and then fail, as a full disk does.
"""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from wavetank.clock import RealClock
from wavetank.model.labels import METRIC_NAME, Labels, Matcher, MatchType
from wavetank.tsdb.chunks_head import HeadChunkFiles
from wavetank.tsdb.db import DB
from wavetank.tsdb.options import Options

EVERY = [Matcher(MatchType.REGEXP, METRIC_NAME, ".+")]


@contextlib.contextmanager
def files_end_at(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def append(db: DB, name: str, t: int, samples: int = 200) -> None:
    appender = db.appender()
    ref = db.series_ref(Labels.of(__name__=name))
    for i in range(samples):
        appender.append(ref, None, t + i, float(i * i) / 7)
    appender.commit()


def stored(db: DB) -> dict[str, int]:
    batch = db.select(EVERY, 0, 1 << 40)
    counts = (batch.offsets[1:] - batch.offsets[:-1]).tolist()
    return dict(zip((labels.name for labels in batch.labels), counts, strict=True))


@pytest.mark.parametrize("room", [0, 10, 100, 500, 1500])
def test_what_is_acknowledged_survives(tmp_path: Path, room: int) -> None:
    options = Options(wal_compression="none", head_chunks_in_memory=1)
    db = DB.open(tmp_path, options, RealClock())
    append(db, "before", 1000)
    assert stored(db) == {"before": 200}  # and the kernels are compiled, which writes files, too
    size = max(path.stat().st_size for path in (tmp_path / "wal").iterdir())
    with files_end_at(size + room):
        for name in ("before", "new"):
            with pytest.raises(OSError, match="too large"):
                append(db, name, 5000)
        assert stored(db) == {"before": 200}  # queries go on
    append(db, "before", 9000)
    append(db, "new", 9000)
    wanted = {"before": 400, "new": 200}
    assert stored(db) == wanted
    db.close()
    again = DB.open(tmp_path, options, RealClock())
    try:
        assert again.replays[0].damage == []
        assert stored(again) == wanted
    finally:
        again.close()


@pytest.mark.parametrize("room", [0, 3, 8, 20])
def test_a_file_of_chunks_that_could_not_be_begun_is_begun_again(tmp_path: Path, room: int) -> None:
    files = HeadChunkFiles(tmp_path / "chunks_head")
    files.load()

    def write(ref: int) -> int:
        chunk, place = np.arange(40, dtype=np.uint8), np.zeros(1, np.int64)
        times = np.array([[ref, ref + 1]], np.int64)
        return int(files.write(chunk, np.array([ref]), place, np.array([40]), times, np.ones(1, np.int64))[0])

    write(1)
    files.close_file()  # as at the end of a file: the next chunk needs another
    with files_end_at(room):
        for _ in range(2):
            with pytest.raises(OSError, match=r"too large|full"):
                write(2)
    places = {ref: write(ref) for ref in (2, 3)}
    files.close()
    again = HeadChunkFiles(tmp_path / "chunks_head")
    stored = again.load()
    assert stored.refs.tolist() == [1, 2, 3]
    assert stored.where.tolist()[1:] == [places[2], places[3]]
    assert again.deleted == []
