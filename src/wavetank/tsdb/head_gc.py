"""Dropping from the head what blocks now hold. Mirrors ``Head.truncateMemory`` and ``Head.gc``.

Columns are compressed with masks; series without a chunk left are forgotten, and the label tables are built
anew from those that stay. Refs never change; rows do.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from wavetank.tsdb.head import Head
from wavetank.tsdb.head_append import BIT, BLOCKS, LAST_T, PACKED
from wavetank.tsdb.head_blocks import free_chains
from wavetank.tsdb.head_index import HeadIndex
from wavetank.tsdb.series_table import SeriesTable

__all__ = ["truncate"]

Int64s = npt.NDArray[np.int64]


def truncate(head: Head, mint_ms: int, is_needed: Callable[[Int64s], npt.NDArray[np.bool_]]) -> int:
    """Forget chunks that end before ``mint_ms`` and series left with none; returns how many series went.

    ``is_needed`` says of refs whether something else still needs the series. The lock must be held.
    """
    head.min_valid_ms = max(head.min_valid_ms, mint_ms)
    _drop_closed(head, mint_ms)
    rows = len(head)
    state = head.state[:rows]
    old = np.flatnonzero((state[:, BLOCKS] >= 0) & (state[:, LAST_T] < mint_ms))
    if len(old):
        sizes = (state[old, BIT] + 7) >> 3
        free_chains(state[old, BLOCKS] >> 32, sizes, head.arena.links, head.arena.state)
        state[old, BLOCKS] = -1
        state[old, PACKED] &= ~np.int64(0xFFFF)
    head.counters[2] = max(int(head.counters[2]), mint_ms)
    empty = (state[:, BLOCKS] < 0) & (head.last_closed[:rows] < 0) & (state[:, LAST_T] < mint_ms)
    keep = ~empty
    keep[empty] = is_needed(head.ref_of_row[:rows][empty])
    gone = int(np.count_nonzero(~keep))
    if gone:
        _drop_rows(head, keep)
    return gone


def _drop_closed(head: Head, mint_ms: int) -> None:
    count = head.closed_count
    keep = head.closed_times[:count, 1] >= mint_ms
    if keep.all():
        return
    gone = np.flatnonzero(~keep)
    gone = gone[head.closed_where[gone] >= 0]
    sizes = head.closed_sizes[gone, 0].astype(np.int64)
    free_chains(head.closed_where[gone], sizes, head.arena.links, head.arena.state)
    renumbered = np.where(keep, np.cumsum(keep) - 1, -1).astype(np.int32)
    renumbered = np.append(renumbered, np.int32(-1))  # -1 stays -1
    left = int(np.count_nonzero(keep))
    previous = renumbered[head.closed_prev[:count][keep]]
    head.closed_rows[:left] = head.closed_rows[:count][keep]
    head.closed_prev[:left] = previous
    head.closed_times[:left] = head.closed_times[:count][keep]
    head.closed_where[:left] = head.closed_where[:count][keep]
    head.closed_sizes[:left] = head.closed_sizes[:count][keep]
    head.last_closed[:] = renumbered[head.last_closed]
    head.counters[0] = left
    head.closed_were_dropped()


def _drop_rows(head: Head, keep: npt.NDArray[np.bool_]) -> None:
    kept = np.flatnonzero(keep)
    rows = len(keep)
    head.row_of_ref[head.ref_of_row[:rows][~keep]] = -1
    keys, offsets = head.table.keys(kept)
    table = SeriesTable(len(kept))
    table.add(keys, offsets)
    head.table = table
    head.index = HeadIndex(table)
    left = len(kept)
    for columns in (head.state, head.last_closed, head.ref_of_row):
        columns[:left] = columns[:rows][keep]
    head.state[left:] = 0
    head.state[left:, BLOCKS] = -1
    head.last_closed[left:] = -1
    aliases = np.flatnonzero(head.row_of_ref >= 0)
    renumbered = np.where(keep, np.cumsum(keep) - 1, -1).astype(np.int32)
    head.row_of_ref[aliases] = renumbered[head.row_of_ref[aliases]]
    count = head.closed_count
    head.closed_rows[:count] = renumbered[head.closed_rows[:count]]
