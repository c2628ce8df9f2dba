"""Blocks that others put into the directory of an open database: ``promtool``, an import, a copy by hand.

Stands for the reload of blocks of ``tsdb/db.go``. A block is served from the next round of upkeep on. One
that reaches into the time the head holds waits until the head has moved on: where blocks end, the replay of
the log begins, and what the log holds of that time would be passed over.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from wavetank.tsdb.errors import CorruptionError
from wavetank.tsdb.meta import read_meta

if TYPE_CHECKING:
    from wavetank.tsdb.db import DB

__all__ = ["ULID_LENGTH", "head_begin_ms", "take_in"]

ULID_LENGTH = 26
_LOG = logging.getLogger(__name__)


def head_begin_ms(db: DB) -> int:
    """From when on samples belong to the head; blocks that end before may be added."""
    head = db.store.head
    begin = head.mint_ms if head.samples_appended else int(db.clock.now() * 1000)
    return max(head.min_valid_ms, begin // head.chunk_range_ms * head.chunk_range_ms)


def take_in(db: DB) -> int:
    """Serve the blocks that came into the directory, and count them; the maintenance lock must be held."""
    known = {block.directory.name for block in db.blocks}
    count = 0
    for path in sorted(db.path.glob("*/meta.json")):
        directory = path.parent
        if len(directory.name) == ULID_LENGTH and directory.name not in known:
            count += _taken(db, directory)
    return count


def _taken(db: DB, directory: Path) -> bool:
    head = db.store.head
    try:
        with head.lock:
            end, begin = read_meta(directory).max_time, head_begin_ms(db)
            if end > begin:
                _LOG.info(
                    "block %s ends at %d, in the time of the log, which begins at %d: it waits",
                    directory.name,
                    end,
                    begin,
                )
                return False
            db.add_block(directory)
            # Samples of that time are late from now on: the replay of the log will begin after it
            head.min_valid_ms = max(head.min_valid_ms, end)
    except (CorruptionError, OSError) as error:
        _LOG.warning("block %s cannot be read yet: %s", directory.name, error)
        return False
    _LOG.info("block %s was taken in", directory.name)
    return True
