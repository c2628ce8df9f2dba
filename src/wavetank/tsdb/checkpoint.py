"""Shortening the log. Mirrors ``tsdb/wlog/checkpoint.go``.

After blocks were written from the head, the oldest two thirds of the segments are rewritten into one
checkpoint that holds only what the head still needs: series that are still known, and records from
``mint_ms`` on. It is made beside its place and renamed, and only then are the segments deleted, so that at
any moment of a crash the log is complete.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wavetank.tsdb.block_writer import sync_directory
from wavetank.tsdb.options import Compression
from wavetank.tsdb.wal import rare_records as rare
from wavetank.tsdb.wal import records
from wavetank.tsdb.wal.log import Batch, Damage, Log, checkpoint_of, read_segment, segments
from wavetank.tsdb.wal.start_records import decode_samples_v2, encode_samples_v2

__all__ = ["checkpoint"]

Int64s = npt.NDArray[np.int64]
Known = Callable[[Int64s], npt.NDArray[np.bool_]]


def checkpoint(
    log: Log,
    last: int,
    known: Known,
    mint_ms: int,
    compression: Compression,
    *,
    with_starts: bool = False,
    deleted_from_ms: int | None = None,
) -> Path | None:
    """Rewrite segments up to ``last`` (inclusive) and the checkpoint before them; returns the new one.

    Start timestamps are kept ``with_starts`` only, as they need records that older readers do not know; and
    deletions from ``deleted_from_ms`` on, where that is before ``mint_ms``.
    ``known`` says which refs the head still has; its answer must not change to no meanwhile.
    """
    directory = log.directory
    older = checkpoint_of(directory)
    paths = [p for _, p in segments(older[1])] if older else []
    mine = [p for n, p in segments(directory) if n <= last and (older is None or n > older[0])]
    if not mine:
        return None
    final = directory / f"checkpoint.{last:08d}"
    temporary = directory / f"checkpoint.{last:08d}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    deleted_from = mint_ms if deleted_from_ms is None else deleted_from_ms
    try:
        out = Log(temporary, 128 * 1024 * 1024, compression)
        try:
            _write(out, [*paths, *mine], known, mint_ms, deleted_from, with_starts)
        finally:
            out.close()
        sync_directory(temporary)
        temporary.rename(final)
    except OSError:  # the disk is full: what was written is of no use to anybody
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_directory(directory)
    log.truncate_before(last + 1)
    return final


def _write(
    out: Log, paths: list[Path], known: Known, mint_ms: int, deleted_from_ms: int, with_starts: bool
) -> None:
    damage: list[Damage] = []
    metadata: dict[int, rare.MetadataRecord] = {}
    for path in paths:
        for batch in read_segment(path, damage):
            out.log(_kept(batch, known, mint_ms, metadata, with_starts))
            out.log(_kept_tombstones(batch, deleted_from_ms))
    if metadata:
        out.log([rare.encode_metadata(list(metadata.values()))])


def _kept(
    batch: Batch,
    known: Known,
    mint_ms: int,
    metadata: dict[int, rare.MetadataRecord],
    with_starts: bool,
) -> list[Any]:
    out: list[Any] = []
    kinds = batch.types()
    for i in range(len(kinds)):
        part = slice(i, i + 1)
        kind = int(kinds[i])
        if kind == records.SERIES:
            refs, keys, offsets = records.split_series(batch.data, batch.begins[part], batch.ends[part])
            keep = known(refs)
            if keep.any():
                out.append(records.encode_series(refs, keys, offsets, keep))
        elif kind == records.SAMPLES:
            refs, times, values = records.decode_samples(batch.data, batch.begins[part], batch.ends[part])
            mask = (times >= mint_ms) & known(refs)
            if mask.any():
                out.append(records.encode_samples(refs[mask], times[mask], values[mask]))
        elif kind == records.SAMPLES_V2:
            refs, times, values, starts = decode_samples_v2(batch.data, batch.begins[part], batch.ends[part])
            mask = (times >= mint_ms) & known(refs)
            if mask.any() and with_starts:
                out.append(encode_samples_v2(refs[mask], times[mask], values[mask], starts[mask]))
            elif mask.any():
                out.append(records.encode_samples(refs[mask], times[mask], values[mask]))
        else:
            out += _kept_rare(kind, batch.record(i), known, mint_ms, metadata, with_starts)
    return out


def _kept_tombstones(batch: Batch, mint_ms: int) -> list[bytes]:
    out = []
    for i in np.flatnonzero(batch.types() == records.TOMBSTONES).tolist():
        stones = [r for r in rare.decode_tombstones(batch.record(i)) if r.maxt_ms >= mint_ms]
        if stones:
            out.append(rare.encode_tombstones(stones))
    return out


def _kept_rare(
    kind: int,
    record: bytes,
    known: Known,
    mint_ms: int,
    metadata: dict[int, rare.MetadataRecord],
    with_starts: bool,
) -> list[bytes]:
    def alive(ref: int) -> bool:
        return bool(known(np.array([ref], np.int64))[0])

    if kind == records.EXEMPLARS:
        kept = [r for r in rare.decode_exemplars(record) if r.timestamp_ms >= mint_ms]
        return [rare.encode_exemplars(kept)] if kept else []
    if kind == records.METADATA:
        metadata.update({r.ref: r for r in rare.decode_metadata(record) if alive(r.ref)})
        return []
    if kind in records.HISTOGRAM_KINDS:
        samples = [
            r for r in rare.decode_histograms_record(record) if r.timestamp_ms >= mint_ms and alive(r.ref)
        ]
        # a record's own kind says whether there is a start in it to be kept
        v2 = with_starts and kind in (records.HISTOGRAMS_V2, records.FLOAT_HISTOGRAMS_V2)
        return rare.encode_histograms_records(samples, with_starts=v2) if samples else []
    return []
