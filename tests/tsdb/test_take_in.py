"""Blocks put into the directory of an open database are served, and cost no sample of the log."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from wavetank.clock import VirtualClock
from wavetank.model.labels import METRIC_NAME, Labels, Matcher, MatchType
from wavetank.tsdb.bulk import BulkWriter
from wavetank.tsdb.db import DB
from wavetank.tsdb.options import HOUR_MS, Options

BASE = 1_700_006_400_000
CLOCK = VirtualClock(BASE / 1000 + 24 * 3600)
OPTIONS = Options(retention_ms=0)
EVERY = [Matcher(MatchType.REGEXP, METRIC_NAME, ".+")]


def block(path: Path, first_hour: int, hours: int) -> list[Path]:
    writer = BulkWriter(path, CLOCK)
    row = int(writer.rows([Labels.of(__name__="old")])[0])
    times = BASE + np.arange(first_hour * HOUR_MS, (first_hour + hours) * HOUR_MS, 60_000)
    writer.add(np.full(len(times), row), times, np.arange(len(times), dtype=np.float64))
    return writer.finish()


def append(db: DB, name: str, hour: float) -> None:
    appender = db.appender()
    appender.append(0, Labels.of(__name__=name), BASE + int(hour * HOUR_MS), 1.0)
    appender.commit()


def count(db: DB) -> dict[str, int]:
    batch = db.select(EVERY, 0, 1 << 62)
    sizes = np.diff(batch.offsets).tolist()
    return {labels.name: size for labels, size in zip(batch.labels, sizes, strict=True)}


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    (tmp_path / "new").mkdir()
    return tmp_path / "new"


def put(made: list[Path], path: Path) -> None:
    for each in made:
        shutil.move(each, path)


def test_blocks_are_served_from_the_next_round_on(tmp_path: Path, elsewhere: Path) -> None:
    with closing(DB.open(tmp_path / "data", OPTIONS, CLOCK)) as db:
        append(db, "own", 20)
        put(block(elsewhere, 0, 6), db.path)
        assert count(db) == {"own": 1}
        db.compact()
        assert count(db) == {"own": 1, "old": 360}
        db.compact()
        assert count(db) == {"own": 1, "old": 360}
    with closing(DB.open(tmp_path / "data", OPTIONS, CLOCK)) as db:
        assert count(db) == {"own": 1, "old": 360}


def test_late_samples_of_that_time_survive_a_restart(tmp_path: Path, elsewhere: Path) -> None:
    with closing(DB.open(tmp_path / "data", OPTIONS, CLOCK)) as db:
        append(db, "own", 20)
        put(block(elsewhere, 0, 6), db.path)
        db.compact()
        append(db, "late", 3)
        append(db, "old", 3.001)
    with closing(DB.open(tmp_path / "data", OPTIONS, CLOCK)) as db:
        assert count(db) == {"own": 1, "old": 361, "late": 1}


def test_a_block_in_the_time_of_the_log_waits(tmp_path: Path, elsewhere: Path) -> None:
    with closing(DB.open(tmp_path / "data", OPTIONS, CLOCK)) as db:
        append(db, "own", 2.5)
        put(block(elsewhere, 2, 2), db.path)
        db.compact()
        assert count(db) == {"own": 1}
        append(db, "own", 20)  # the head moves on
        db.compact()
        db.compact()
        assert count(db) == {"own": 2, "old": 120}


def test_what_is_no_block_is_left_alone(tmp_path: Path) -> None:
    with closing(DB.open(tmp_path / "data", OPTIONS, CLOCK)) as db:
        broken = db.path / "01HF0000000000000000000000"
        broken.mkdir()
        (broken / "meta.json").write_text("{")
        db.compact()
        assert broken.is_dir()
        assert count(db) == {}
