"""Upkeep of a database: head to blocks, out-of-order samples to blocks, compaction, retention, snapshots.

Mirrors ``DB.Compact`` and its helpers in ``tsdb/db.go``. All of it runs in one thread at a time; the head's
lock is held only while chunks are copied out and while the head is truncated.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from wavetank.allocator import give_back
from wavetank.clock import pause
from wavetank.limits import HEAD_ROWS_AT_ONCE
from wavetank.tsdb import head_gc
from wavetank.tsdb.block_writer import write_block
from wavetank.tsdb.checkpoint import checkpoint
from wavetank.tsdb.compaction import (
    DamagedBlockError,
    block_ranges,
    compact_blocks,
    disentangled,
    plan,
    retired,
)
from wavetank.tsdb.decode import LooseSamples, joined
from wavetank.tsdb.errors import CorruptionError
from wavetank.tsdb.head import ChunkSet, Head
from wavetank.tsdb.meta import BlockMeta, Compaction, new_ulid, write_meta
from wavetank.tsdb.querier import without_deleted
from wavetank.tsdb.retention import actions, apply_actions, is_done, kept_longest_ms
from wavetank.tsdb.series_table import SeriesTable
from wavetank.tsdb.start_times import Starts
from wavetank.tsdb.uploads import without_pending
from wavetank.tsdb.wal.log import segments

if TYPE_CHECKING:
    from wavetank.tsdb.block import Block
    from wavetank.tsdb.db import DB
    from wavetank.tsdb.store import Store

__all__ = ["flush_all", "rewrite_deleted", "run", "snapshot"]

Int64s = npt.NDArray[np.int64]

_OUT_OF_ORDER_SAMPLES_MAX: Final = 2_000_000  # in memory; beyond, they are written without waiting
_OUT_OF_ORDER_BLOCKS: Final = 24  # a backfill over a longer time gets wider blocks
_FROM_OUT_OF_ORDER: Final = "from-out-of-order"
_EVER: Final = 1 << 62
_TURN_SECONDS: Final = 0.0002  # how long upkeep leaves the head to others, between two parts of its rows


def run(db: DB) -> None:
    """One round of upkeep."""
    before = db.blocks
    _all_due(db)
    if db.blocks != before:  # arrays as large as blocks were freed
        give_back()


def _all_due(db: DB) -> None:
    head = db.store.head
    idle = db.clock.monotonic() - db.last_append
    if db.options.idle_flush_ms and idle * 1000 >= db.options.idle_flush_ms and head.samples_appended:
        _flush_everything(db)
    while head.maxt_ms - head.mint_ms > head.chunk_range_ms * 3 // 2:
        start = head.mint_ms // head.chunk_range_ms * head.chunk_range_ms
        _flush_head(db, start + head.chunk_range_ms)
    late = len(db.store.out_of_order) + len(db.store.late_histograms)
    if late > _OUT_OF_ORDER_SAMPLES_MAX or _is_settled(db):
        _flush_out_of_order(db)
    ranges = block_ranges(db.options.min_block_ms, db.options.max_block_ms)
    while chosen := plan(without_pending([b.meta for b in db.blocks], db.options.uploads_file), ranges):
        ulids = {m.ulid for m in chosen}
        _merge(db, [b for b in db.blocks if b.meta.ulid in ulids])
    _apply_rules(db)
    log_bytes = sum(p.stat().st_size for _, p in segments(db.path / "wal"))
    longest_ms = kept_longest_ms(db.options.retention_rules, db.options.retention_ms)
    for block in retired(db.blocks, longest_ms, _bytes_max(db), log_bytes):
        db.remove_block(block)


def _merge(db: DB, blocks: Sequence[Block], hints: Sequence[str] = ()) -> None:
    """Put one block in the place of several, or set the one aside that turns out to be damaged."""
    try:
        new = compact_blocks(db.path, blocks, _ulid(db), hints)
    except DamagedBlockError as error:
        db.quarantine(error.block, error.reason)
    else:
        db.replace_blocks(blocks, new)


def _apply_rules(db: DB) -> None:
    """Retention and downsampling by matcher, of the blocks that have come of age."""
    rules = db.options.retention_rules
    if not rules or not db.blocks:
        return
    longest_ms = kept_longest_ms(rules, db.options.retention_ms)
    newest = max(block.meta.max_time for block in db.blocks)
    for block in db.blocks:
        age = newest - block.meta.max_time
        chosen = actions(rules, db.options.retention_ms, age)
        if (longest_ms and age >= longest_ms) or is_done(block.meta, chosen):
            continue
        try:
            made = apply_actions(db.path, block, chosen, _ulid(db))
        except CorruptionError as error:
            db.quarantine(block, str(error))
            continue
        if made == block.directory:
            write_meta(block.directory, block.meta)
        else:
            db.replace_blocks([block], made)


def _bytes_max(db: DB) -> int:
    """The smaller of the bounds by size and by share of the disk; 0 if there is none."""
    limits = [db.options.retention_bytes]
    if db.options.retention_percent:
        limits.append(int(shutil.disk_usage(db.path).total * db.options.retention_percent / 100))
    return min((n for n in limits if n > 0), default=0)


def _is_settled(db: DB) -> bool:
    """Whether the out-of-order samples lie before what the head holds, so that no more are likely."""
    store = db.store
    newest = max(store.out_of_order.maxt_ms, store.late_histograms.times_ms[1])
    return len(store.out_of_order) + len(store.late_histograms) > 0 and newest < store.head.mint_ms


def _ulid(db: DB) -> str:
    return new_ulid(int(db.clock.now() * 1000), db.clock.random("tsdb/ulid"))


def _new_meta(db: DB, mint_ms: int, end_ms: int, hints: list[str]) -> BlockMeta:
    ulid = _ulid(db)
    return BlockMeta(
        ulid=ulid, min_time=mint_ms, max_time=end_ms, compaction=Compaction(sources=[ulid], hints=hints)
    )


def _copied(db: DB, mint_ms: int, maxt_ms: int) -> tuple[SeriesTable, ChunkSet]:
    """The head's in-order chunks in the range, with their label sets in a table of their own."""
    store = db.store
    head = store.head
    rows = np.arange(len(head), dtype=np.int64)
    chunks = joined([_chunks_of(head, part, mint_ms, maxt_ms) for part in _turns(rows)])
    with head.lock:
        refs = head.ref_of_row[rows]
        more, loose = store.histograms.collect(refs, mint_ms, maxt_ms)
    chunks = joined([chunks, more])
    present = np.unique(np.concatenate([chunks.series, loose.series]))
    with head.lock:
        of = refs[present].tolist() if len(store.tombstones) else []
        deleted = [(i, store.tombstones.of(ref)) for i, ref in enumerate(of) if ref in store.tombstones]
        starts = store.source.starts(refs[present]) if db.options.start_storage else None
    table = head.table.subset(present)
    chunks = replace(chunks, series=np.searchsorted(present, chunks.series))
    loose = replace(loose, series=np.searchsorted(present, loose.series))
    chunks, loose = without_deleted(chunks, loose, deleted, mint_ms, maxt_ms)
    return table, _arranged(db, chunks, loose, len(table), starts)


def _turns(rows: Int64s) -> Iterator[Int64s]:
    """Rows in parts that are soon done, with a pause in between for those who wait for the head."""
    for first in range(0, len(rows), HEAD_ROWS_AT_ONCE):
        if first:
            pause(_TURN_SECONDS)
        yield rows[first : first + HEAD_ROWS_AT_ONCE]


def _chunks_of(head: Head, rows: Int64s, mint_ms: int, maxt_ms: int) -> ChunkSet:
    """Chunks of consecutive rows, ``series`` being rows of the head."""
    with head.lock:
        chunks = head.collect(rows, mint_ms, maxt_ms)
    return replace(chunks, series=chunks.series + rows[0])


def _arranged(db: DB, chunks: ChunkSet, loose: LooseSamples, rows: int, starts: Starts | None) -> ChunkSet:
    """Chunks for a block, in the encodings that the options ask for."""
    return disentangled(
        chunks,
        loose,
        rows,
        starts=starts,
        xor2=db.options.float_chunks == "xor2",
        histogram_starts=db.options.histogram_starts,
    )


def _flush_head(db: DB, end_ms: int) -> None:
    """Write the head's samples before ``end_ms`` as a block, then let the head and the log forget them."""
    head = db.store.head
    start = max(head.mint_ms // head.chunk_range_ms * head.chunk_range_ms, head.min_valid_ms)
    table, chunks = _copied(db, start, end_ms - 1)
    written = write_block(db.path, table, chunks, _new_meta(db, start, end_ms, []))
    if written is not None:
        db.add_block(written)
    _truncate(db, end_ms)


def _truncate(db: DB, end_ms: int) -> None:
    store = db.store
    head = store.head
    prepared = head_gc.prepared(head, end_ms)
    with head.lock:
        store.histograms.truncate(end_ms)
        # those that late samples need stay until these are in blocks
        deleted_from = min(end_ms, store.out_of_order.mint_ms, store.late_histograms.times_ms[0])
        store.tombstones.drop_before(deleted_from)
        pending, _, _ = store.out_of_order.columns()
        pending = np.union1d(pending, np.array(store.late_histograms.refs(), np.int64))
        head_gc.truncate(head, end_ms, lambda refs: np.isin(refs, pending), prepared)
        for ref in [r for r in store.metadata if head.row(r) < 0]:
            del store.metadata[ref]
        if store.starts:
            store.starts.drop_before(end_ms, head.known, late=not len(pending))
        if head.files is not None:
            head.files.truncate(end_ms)
        last = store.wal.next_segment() - 1
        if head.maxt_ms < end_ms:
            head.counters[2], head.counters[3] = 1 << 62, -(1 << 62)
            head.counters[1] = 0
            chosen = last
        else:
            first = segments(store.wal.directory)[0][0]
            chosen = first + (last - first) * 2 // 3
            if chosen <= first:
                return
    # Without the lock, for it reads and writes most of the log. Known refs may only shrink at the next
    # truncation, which waits for this one: upstream's invariant.
    checkpoint(
        store.wal,
        chosen,
        head.known,
        end_ms,
        db.options.wal_compression,
        with_starts=db.options.start_storage,
        deleted_from_ms=deleted_from,
    )


def flush_all(db: DB) -> None:
    """Write everything in memory as blocks."""
    with db.maintenance_lock:
        _flush_everything(db)


def _flush_everything(db: DB) -> None:
    head = db.store.head
    while head.samples_appended and head.maxt_ms >= head.mint_ms:
        start = head.mint_ms // head.chunk_range_ms * head.chunk_range_ms
        _flush_head(db, min(start + head.chunk_range_ms, head.maxt_ms + 1))
    _flush_out_of_order(db)


def _flush_out_of_order(db: DB) -> None:
    """Write late samples as blocks of their own; compaction merges them with the blocks they overlap.

    Those in the time that the head still holds wait for it: where blocks end, the replay of the log begins.
    """
    store = db.store
    head = store.head
    with head.lock:
        refs, times, _ = store.out_of_order.columns()
        bound = head.min_valid_ms
        if head.samples_appended:
            bound = max(bound, head.mint_ms // head.chunk_range_ms * head.chunk_range_ms)
        settled = times < bound
        written = (refs[settled], times[settled])
        histograms = [h for h in store.late_histograms if h.timestamp_ms < bound]
        if not settled.any() and not histograms:
            return
        present = np.union1d(written[0], np.array([h.ref for h in histograms], np.int64))
        late = _late_samples(store, present, bound)
        rows = head.rows_of(present)
        keys, offsets = head.table.keys(rows)
        deleted = [
            (i, store.tombstones.of(r)) for i, r in enumerate(present.tolist()) if r in store.tombstones
        ]
    table = SeriesTable(len(present))
    table.add(keys, offsets)
    nothing = head.collect(np.empty(0, np.int64), 0, 0)
    _, late = without_deleted(nothing, late, deleted, -_EVER, _EVER)
    if len(late):
        span = int(late.timestamps_ms.max()) - int(late.timestamps_ms.min()) + 1
        ranges = block_ranges(db.options.min_block_ms, db.options.max_block_ms)
        width = next((r for r in ranges if span // r <= _OUT_OF_ORDER_BLOCKS), ranges[-1])
        slot = late.timestamps_ms // width
        for number in np.unique(slot).tolist():
            chunks = _arranged(db, nothing, late.subset(slot == number), len(table), None)
            end = min((number + 1) * width, bound)
            meta = _new_meta(db, number * width, end, [_FROM_OUT_OF_ORDER])
            block = write_block(db.path, table, chunks, meta)
            if block is not None:
                db.add_block(block)
    with head.lock:
        store.out_of_order.forget(*written)
        gone = {(h.ref, h.timestamp_ms) for h in histograms}
        store.late_histograms.take(lambda h: (h.ref, h.timestamp_ms) in gone)
        store.restart_wbl()


def _late_samples(store: Store, refs: Int64s, bound_ms: int) -> LooseSamples:
    """Late samples of some series before ``bound_ms``, with their start timestamps."""
    loose = LooseSamples(*store.out_of_order.of(refs, -_EVER, bound_ms - 1))
    if store.options.start_storage and len(loose):
        starts = store.starts.exact(refs[loose.series], loose.timestamps_ms)
        loose = replace(loose, start_timestamps_ms=starts)
    return loose.extended(store.late_histograms.of(refs, -_EVER, bound_ms - 1))


def rewrite_deleted(db: DB) -> None:
    """Write blocks with tombstones anew; the maintenance lock must be held."""
    for block in [b for b in db.blocks if len(b.tombstones)]:
        _merge(db, [block], block.meta.compaction.hints)


def snapshot(db: DB, directory: Path, *, with_head: bool) -> Path:
    """Blocks by hard link (copied where the file system cannot), the head as a block of its own."""
    target = directory
    target.mkdir(parents=True, exist_ok=True)
    for block in db.blocks:
        for source in sorted(p for p in block.directory.rglob("*") if p.is_file()):
            place = target / block.directory.name / source.relative_to(block.directory)
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                # tombstones are replaced, never changed in place, so a link stays as it is now
                os.link(source, place)
            except OSError:
                shutil.copy2(source, place)
    head = db.store.head
    late = len(db.store.out_of_order) + len(db.store.late_histograms)
    if with_head and (head.samples_appended or late):
        _snapshot_head(db, target)
    return target


def _snapshot_head(db: DB, target: Path) -> None:
    store = db.store
    with store.head.lock:
        oldest, newest = store.late_histograms.times_ms
        low = min(store.head.mint_ms, store.out_of_order.mint_ms, oldest)
        high = max(store.head.maxt_ms, store.out_of_order.maxt_ms, newest)
        rows = np.arange(len(store.head), dtype=np.int64)
        chunks, loose = store.source.collect(rows, low, high)
        keys, offsets = store.head.table.keys(rows)
        refs = store.head.ref_of_row[rows].tolist()
        deleted = [(i, store.tombstones.of(r)) for i, r in enumerate(refs) if r in store.tombstones]
        starts = store.source.starts(store.head.ref_of_row[rows]) if db.options.start_storage else None
    table = SeriesTable(len(rows))
    table.add(keys, offsets)
    chunks, loose = without_deleted(chunks, loose, deleted, low, high)
    arranged = _arranged(db, chunks, loose, len(table), starts)
    write_block(target, table, arranged, _new_meta(db, low, high + 1, []))
