"""Dropping from the head what blocks now hold. Mirrors ``Head.truncateMemory`` and ``Head.gc``.

Columns are compressed with masks; series without a chunk left are forgotten, and the label tables are built
anew from those that stay. Refs never change; rows do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wavetank.tsdb.head import Head
from wavetank.tsdb.head_append import BIT, BLOCKS, LAST_T, PACKED
from wavetank.tsdb.head_blocks import BLOCK_BYTES, free_chains
from wavetank.tsdb.head_index import HeadIndex
from wavetank.tsdb.series_table import SeriesTable

__all__ = ["Prepared", "prepared", "truncate"]

Int64s = npt.NDArray[np.int64]

_BLOCKS_UNUSED_MIN = 16_384  # a megabyte: fewer are not worth the move


@dataclass(frozen=True, slots=True)
class Prepared:
    """The table of the rows that will stay, ``rows`` of the head, as far as could be told before the lock was
    taken; ``seen`` is how many rows there were."""

    rows: Int64s
    seen: int
    table: SeriesTable


def prepared(head: Head, mint_ms: int) -> Prepared:
    """Make the new table before ``truncate`` holds up others: for a million series that takes seconds."""
    with head.lock:
        seen = len(head)
        newest = head.state[:seen, LAST_T].copy()
    rows = np.flatnonzero(newest >= mint_ms)
    return Prepared(rows, seen, head.table if len(rows) == seen else head.table.subset(rows))


def truncate(
    head: Head, mint_ms: int, is_needed: Callable[[Int64s], npt.NDArray[np.bool_]], made: Prepared
) -> int:
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
    keep[made.rows] = True
    keep[made.seen :] = True  # made a moment ago: their samples are on the way
    gone = int(np.count_nonzero(~keep))
    if gone:
        _drop_rows(head, keep, made)
    _pack(head)
    return gone


def _pack(head: Head) -> None:
    """Move what is left of the open chunks together once most blocks are unused, so that their memory goes
    back: a free block in every page keeps them all."""
    state = head.state[: len(head)]
    rows = np.flatnonzero(state[:, BLOCKS] >= 0)
    waiting = np.flatnonzero(head.closed_where[: head.closed_count] >= 0)
    firsts = np.concatenate((state[rows, BLOCKS] >> 32, head.closed_where[waiting]))
    sizes = np.concatenate(((state[rows, BIT] + 7) >> 3, head.closed_sizes[waiting, 0].astype(np.int64)))
    used = int(((sizes - 1) // BLOCK_BYTES + 1).sum())
    if int(head.arena.state[0]) < 2 * used + _BLOCKS_UNUSED_MIN:
        return
    head.arena, firsts, lasts = head.arena.packed(firsts, sizes)
    state[rows, BLOCKS] = firsts[: len(rows)] << 32 | lasts[: len(rows)]
    head.closed_where[waiting] = firsts[len(rows) :]


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
    rows = len(head)
    head.last_closed[:rows] = renumbered[head.last_closed[:rows]]
    head.counters[0] = left
    head.forget_closed(left, count)
    head.closed_were_dropped()


def _drop_rows(head: Head, keep: npt.NDArray[np.bool_], made: Prepared) -> None:
    """Keep these rows: those of the prepared table, then the others."""
    rows = len(keep)
    gone = head.ref_of_row[:rows][~keep]
    rest = keep.copy()
    rest[made.rows] = False
    others = np.flatnonzero(rest)
    order = np.concatenate((made.rows, others))
    made.table.add(*head.table.keys(others))
    head.table = made.table
    head.index = HeadIndex(made.table)
    left = len(order)
    for columns in (head.state, head.last_closed, head.ref_of_row):
        columns[:left] = columns[:rows][order]
    head.forget_rows(left, rows)
    renumbered = np.full(rows, -1, np.int32)
    renumbered[order] = np.arange(left)
    head.renumber(gone, renumbered)
    count = head.closed_count
    head.closed_rows[:count] = renumbered[head.closed_rows[:count]]
