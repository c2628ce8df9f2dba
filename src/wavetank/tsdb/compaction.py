"""Which blocks to merge, and merging them. Mirrors ``tsdb/compact.go``.

Planning is a pure function of metas: overlapping blocks first, then the leveled plan, then blocks of which
much is deleted. Merging copies chunks as they are; only series whose chunks overlap in time, or that have
tombstones, are decoded and written anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from wavetank.tsdb.block import Block
from wavetank.tsdb.block_writer import write_block
from wavetank.tsdb.chunkenc import XOR
from wavetank.tsdb.decode import LooseSamples, count_samples, decode, joined, subset, verify
from wavetank.tsdb.errors import CorruptionError
from wavetank.tsdb.head import ChunkSet
from wavetank.tsdb.meta import BlockDescription, BlockMeta, Compaction
from wavetank.tsdb.querier import without_deleted
from wavetank.tsdb.rechunk import rechunked
from wavetank.tsdb.series_table import SeriesTable
from wavetank.tsdb.start_times import Starts

__all__ = ["DamagedBlockError", "block_ranges", "compact_blocks", "disentangled", "plan", "retired"]

Int64s = npt.NDArray[np.int64]
_ALL: Final = 1 << 62
_STEP: Final = 3
_TOMBSTONES_RATIO: Final = 0.05
_REWRITTEN_AT_ONCE: Final = 4_000_000  # samples


class DamagedBlockError(Exception):
    """A block cannot be merged because of what is in it."""

    def __init__(self, block: Block, reason: str) -> None:
        super().__init__(f"block {block.meta.ulid}: {reason}")
        self.block = block
        self.reason = reason


def block_ranges(min_block_ms: int, max_block_ms: int) -> list[int]:
    """Block durations: the smallest, and each three times the one before, up to the largest."""
    ranges = [min_block_ms]
    while ranges[-1] * _STEP <= max_block_ms:
        ranges.append(ranges[-1] * _STEP)
    return ranges


def plan(metas: Sequence[BlockMeta], ranges: Sequence[int]) -> list[BlockMeta]:
    """The blocks to merge next, none if all is well."""
    ordered = sorted(metas, key=lambda m: (m.min_time, m.max_time))
    overlapping = _overlapping(ordered)
    if overlapping:
        return overlapping
    # The newest block is left alone: it may still get neighbours, and backups may be reading it.
    settled = [m for m in ordered[:-1] if not m.compaction.failed]
    leveled = _leveled(settled, ranges)
    if leveled:
        return leveled
    for meta in reversed(ordered[:-1]):
        if meta.max_time - meta.min_time < ranges[len(ranges) // 2]:
            break
        if meta.stats.num_tombstones / (meta.stats.num_series + 1) > _TOMBSTONES_RATIO:
            return [meta]
    return []


def _overlapping(ordered: Sequence[BlockMeta]) -> list[BlockMeta]:
    group: list[BlockMeta] = []
    end = -_ALL
    for meta in ordered:
        if group and meta.min_time < end:
            group.append(meta)
        elif len(group) > 1:
            return group
        else:
            group = [meta]
        end = max(end, meta.max_time) if len(group) > 1 else meta.max_time
    return group if len(group) > 1 else []


def _leveled(ordered: Sequence[BlockMeta], ranges: Sequence[int]) -> list[BlockMeta]:
    if not ordered:
        return []
    newest = ordered[-1].min_time
    for duration in ranges[1:]:
        for start, part in _aligned(ordered, duration):
            complete = part[-1].max_time - part[0].min_time == duration
            if len(part) > 1 and (complete or start + duration <= newest):
                return part
    return []


def _aligned(ordered: Sequence[BlockMeta], duration: int) -> list[tuple[int, list[BlockMeta]]]:
    """Blocks that fit into one aligned range each, by range."""
    parts: dict[int, list[BlockMeta]] = {}
    for meta in ordered:
        start = meta.min_time // duration * duration
        if meta.max_time <= start + duration:
            parts.setdefault(start, []).append(meta)
    return sorted(parts.items())


def retired(blocks: Sequence[Block], retention_ms: int, retention_bytes: int, log_bytes: int) -> list[Block]:
    """Blocks beyond retention by time or size: whole blocks only, oldest first to go."""
    newest_first = sorted(blocks, key=lambda b: -b.meta.max_time)
    gone = []
    total = log_bytes
    for block in newest_first:
        too_old = retention_ms > 0 and newest_first[0].meta.max_time - block.meta.max_time >= retention_ms
        total += block.bytes_on_disk if retention_bytes > 0 else 0
        too_much = retention_bytes > 0 and total > retention_bytes
        if too_old or too_much:
            gone.append(block)
    return gone


def _rows_of(block: Block, table: SeriesTable) -> tuple[Int64s, ChunkSet, LooseSamples]:
    """Every series of a block, added to the table; its chunks and loose samples by row."""
    ids = block.index.all_rows()
    entries = block.index.entries(ids)
    keys, offsets = block.index.keys(entries)
    rows = table.add(keys, offsets)
    rows = np.where(rows <= -2, -2 - rows, rows)
    chunks = block.chunks(entries, -_ALL, _ALL)
    chunks, loose = without_deleted(chunks, LooseSamples(), block.deleted(ids), -_ALL, _ALL)
    return rows, replace(chunks, series=rows[chunks.series]), replace(loose, series=rows[loose.series])


def compact_blocks(
    parent: Path, blocks: Sequence[Block], ulid: str, hints: Sequence[str] = ()
) -> Path | None:
    """Write one block with all samples of the blocks; None if nothing is left of them.

    Raises DamagedBlockError: what is wrong with one block must not come into a wider one.
    """
    ordered = sorted(blocks, key=lambda b: b.meta.min_time)
    table = SeriesTable()
    sets = []
    loose = LooseSamples()
    for block in ordered:
        try:
            _, chunks, rest = _rows_of(block, table)
            verify(chunks)
        except CorruptionError as error:
            raise DamagedBlockError(block, str(error)) from None
        sets.append(chunks)
        loose = loose.extended(rest)
    metas = [b.meta for b in ordered]
    meta = BlockMeta(
        ulid=ulid,
        min_time=min(m.min_time for m in metas),
        max_time=max(m.max_time for m in metas),
        compaction=Compaction(
            level=max(m.compaction.level for m in metas) + 1,
            sources=sorted({s for m in metas for s in m.compaction.sources or [m.ulid]}),
            parents=[BlockDescription(m.ulid, m.min_time, m.max_time) for m in metas],
            hints=list(hints),
        ),
    )
    return write_block(parent, table, disentangled(joined(sets), loose, len(table)), meta)


def disentangled(
    chunks: ChunkSet,
    loose: LooseSamples,
    rows: int,
    *,
    starts: Starts | None = None,
    xor2: bool = False,
    histogram_starts: bool = True,
) -> ChunkSet:
    """Chunks of the same samples of which no two of one series overlap.

    Series with ``starts`` are written anew with them, and with ``xor2`` all that have XOR chunks.
    """
    order = np.lexsort((chunks.mint, chunks.series))
    chunks = subset(chunks, order)
    again = np.zeros(rows, np.bool_)
    again[loose.series] = True
    if len(chunks.series) > 1:
        same = chunks.series[1:] == chunks.series[:-1]
        touching = same & (chunks.mint[1:] <= chunks.maxt[:-1])
        # A long chunk may reach over several short ones, but it then touches the next one first.
        again[chunks.series[1:][touching]] = True
    if starts is not None:
        again[starts.series] = True
    if xor2:
        again[chunks.series[chunks.encoding == XOR]] = True
    if not again.any():
        return chunks
    redo = again[chunks.series]
    sets = [subset(chunks, ~redo)]
    for touched in _slices(chunks, again):
        inside = np.zeros(rows, np.bool_)
        inside[touched] = True
        where = np.where(inside, np.cumsum(inside) - 1, -1)
        part = subset(chunks, inside[chunks.series])
        part = replace(part, series=where[part.series])
        own = loose.subset(inside[loose.series])
        own = replace(own, series=where[own.series])
        begins = None if starts is None else starts.placed(where)
        columns = decode(part, len(touched), -_ALL, _ALL, own, starts=begins)
        sets.append(rechunked(columns, touched, xor2=xor2, histogram_starts=histogram_starts))
    return joined(sets)


def _slices(chunks: ChunkSet, again: npt.NDArray[np.bool_]) -> list[Int64s]:
    """Rows to be written anew, in groups of some million samples, so that memory stays bounded."""
    touched = np.flatnonzero(again)
    sizes = np.bincount(chunks.series, count_samples(chunks), len(again))[touched]
    group = np.cumsum(sizes) // _REWRITTEN_AT_ONCE
    return np.split(touched, np.flatnonzero(np.diff(group)) + 1)
