"""A database in a temporary directory, on a clock that stands still."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tsdb_model import Model

from wavetank.clock import VirtualClock
from wavetank.tsdb.db import DB
from wavetank.tsdb.options import Options


@pytest.fixture
def open_db(tmp_path: Path) -> Iterator[Callable[..., DB]]:
    opened: list[DB] = []

    def open_(**options: Any) -> DB:
        db = DB.open(tmp_path / "data", Options(**options), VirtualClock(1.7e9))
        opened.append(db)
        return db

    yield open_
    for db in opened:
        db.close()


@pytest.fixture
def model(open_db: Callable[..., DB]) -> Iterator[Model]:
    # few chunks in memory, so that most tests read from files of the head too
    made = Model(open_db(head_chunks_in_memory=8))
    yield made
    made.db.close()
