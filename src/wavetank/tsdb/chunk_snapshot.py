"""What is in memory, written at shutdown, so that the next start need not read the log. Mirrors
``ChunkSnapshot`` and ``loadChunkSnapshot`` of ``tsdb/head_wal.go``.

The directory ``chunk_snapshot.<segment>.<offset>`` is framed as the log is and says up to where it stands for
it. Records: each series with its labels and the chunk that was being filled, then the tombstones, then the
exemplars. Full chunks are in ``chunks_head``. One that is damaged is not used: the log holds the same.
"""

from __future__ import annotations

import logging
import re
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from wavetank.jit import kernel
from wavetank.tsdb.block_writer import sync_directory
from wavetank.tsdb.chunkenc import XOR
from wavetank.tsdb.chunkenc.bits import Word, copy_bytes, u64_at, uvarint_at
from wavetank.tsdb.chunkenc.histogram import encode_run
from wavetank.tsdb.decode import Columns, decode
from wavetank.tsdb.errors import CorruptionError
from wavetank.tsdb.head import ChunkSet
from wavetank.tsdb.options import Compression
from wavetank.tsdb.series_table import key_of
from wavetank.tsdb.tombstones import Tombstones
from wavetank.tsdb.wal import rare_records as rare
from wavetank.tsdb.wal.log import Batch, Damage, Log, read_segment, segments
from wavetank.tsdb.wal.records import EXEMPLARS, Reader, uvarint, varint

if TYPE_CHECKING:
    from wavetank.tsdb.store import Store

__all__ = ["Snapshot", "newest_snapshot", "read_snapshot", "save_snapshot", "usable_snapshot"]

Bytes = npt.NDArray[np.uint8]
Int64s = npt.NDArray[np.int64]

_LOG = logging.getLogger(__name__)
_NAME: Final = re.compile(r"chunk_snapshot\.(\d+)\.(\d+)\Z")
_SERIES, _TOMBSTONES, _EXEMPLARS = 1, 2, 3
_OLD_SAMPLES: Final = bytes(16 * 3 + 8)  # the last four samples, once; only the last value is still used
_EXEMPLARS_PER_RECORD: Final = 10_000
_RECORDS_AT_ONCE: Final = 2_000
_EVER: Final = 1 << 62


def save_snapshot(store: Store, segment: int, offset: int) -> None:
    """Write what is in memory, where the log ends at an offset; say it where that cannot be."""
    if store.starts:
        _LOG.warning("no memory snapshot: start timestamps of full chunks are in the log only")
        remove_snapshots(store.root)
        return
    try:
        spill_all(store)
        path = write_snapshot(store, segment, offset, store.options.wal_compression)
    except OSError as error:
        _LOG.error("no memory snapshot, the log has all: %s", error)
    else:
        _LOG.info("memory snapshot %s: %d series", path.name, len(store.head))


def usable_snapshot(store: Store) -> Snapshot | None:
    """The newest snapshot, if there is one that is whole and not behind the log; says what is wrong."""
    found = newest_snapshot(store.root)
    if found is None:
        return None
    segment, offset, path = found
    last = segments(store.root / "wal")
    if not last or last[-1][0] < segment:
        _LOG.warning("the log ends before %s, which is removed", path.name)
        remove_snapshots(store.root)
        return None
    try:
        snapshot = read_snapshot(path)
    except CorruptionError as error:
        _LOG.error("%s; reading the log instead", error)
        return None
    if store.head.files is not None:
        store.head.files.load()
        if store.head.files.deleted:
            _LOG.error("chunks of the head are damaged; reading the log instead of %s", path.name)
            return None
    _LOG.info("%s: %d series", path.name, snapshot.series_count)
    snapshot.reaches = (segment, offset)
    return snapshot


def newest_snapshot(root: Path) -> tuple[int, int, Path] | None:
    """Segment and offset that the newest snapshot stands for, and its directory."""
    found = [
        (int(m.group(1)), int(m.group(2)), p)
        for p in root.iterdir()
        if (m := _NAME.match(p.name)) and p.is_dir()
    ]
    return max(found, default=None)


def remove_snapshots(root: Path, keep: Path | None = None) -> None:
    """Delete all, but for one."""
    for path in root.iterdir():
        if _NAME.match(path.name) and path != keep:
            shutil.rmtree(path, ignore_errors=True)


# --- writing ----------------------------------------------------------------------------------------------


def write_snapshot(store: Store, segment: int, offset: int, compression: Compression) -> Path:
    """Write what is in memory; the log up to ``offset`` of ``segment`` holds the same. Others are deleted.

    Full chunks must be in their files already. The head's lock must be held.
    """
    final = store.root / f"chunk_snapshot.{segment:06d}.{offset:010d}"
    temporary = final.with_name(final.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    log = Log(temporary, 128 * 1024 * 1024, compression)
    batch: list[bytes] = []
    for record in _records(store):
        batch.append(record)
        if len(batch) >= _RECORDS_AT_ONCE:
            log.log(batch)
            batch = []
    log.log(batch)
    log.close()
    sync_directory(temporary)
    shutil.rmtree(final, ignore_errors=True)
    temporary.rename(final)
    sync_directory(store.root)
    remove_snapshots(store.root, keep=final)
    return final


def spill_all(store: Store) -> None:
    """Write all full chunks to their files. The head's lock must be held."""
    head = store.head
    head.spill(1)
    files = head.files
    with_floats = set(head.ref_of_row[head.open_chunks().series].tolist())
    for ref in [r for r in store.histograms.open_runs() if r in with_floats]:
        store.histograms.end(ref)
    full = store.histograms.full_chunks()
    if files is None or not full:
        return
    lengths = np.array([len(data) for _, (_, _, _, data) in full], np.int64)
    files.write(
        np.frombuffer(bytearray(b"".join(data for _, (_, _, _, data) in full)), np.uint8),
        np.array([ref for ref, _ in full], np.int64),
        np.cumsum(lengths) - lengths,
        lengths,
        np.array([(mint, maxt) for _, (mint, maxt, _, _) in full], np.int64),
        np.array([encoding for _, (_, _, encoding, _) in full], np.int64),
    )


def _records(store: Store) -> Iterator[bytes]:
    head = store.head
    keys, offsets = head.table.keys(np.arange(len(head), dtype=np.int64))
    raw, bounds = keys.tobytes(), offsets.tolist()
    chunks = dict(_open_chunks(store))
    for row, ref in enumerate(head.ref_of_row[: len(head)].tolist()):
        key = raw[bounds[row] : bounds[row + 1]]
        chunk = chunks.get(ref, b"\0")
        yield bytes((_SERIES,)) + ref.to_bytes(8, "big") + key + bytes(8) + chunk
    body = b"\1" + b"".join(
        uvarint(ref) + varint(low) + varint(high) for ref, ranges in store.tombstones for low, high in ranges
    )
    yield bytes((_TOMBSTONES,)) + uvarint(len(body)) + body
    yield from _exemplar_records(store)


def _open_chunks(store: Store) -> Iterator[tuple[int, bytes]]:
    """The chunks being filled, by ref, as a series record has them."""
    for ref, run in store.histograms.open_runs().items():
        mint, maxt, encoding, data = encode_run(run)
        last = rare.encode_histogram(run.aligned()[-1][1], run.integer)
        yield ref, _chunk(mint, maxt, encoding, data) + last
    head = store.head
    found = head.open_chunks()
    every = replace(found, series=np.arange(len(found.series)))
    columns = decode(every, len(found.series), -_EVER, _EVER)
    values = columns.values[columns.offsets[1:] - 1].tolist()
    for k, row in enumerate(found.series.tolist()):
        buffer = found.buffers[int(found.source[k])]
        data = buffer[int(found.start[k]) : int(found.start[k] + found.length[k])].tobytes()
        chunk = _chunk(int(found.mint[k]), int(found.maxt[k]), XOR, data)
        yield int(head.ref_of_row[row]), chunk + _OLD_SAMPLES + struct.pack(">d", values[k])


def _chunk(mint: int, maxt: int, encoding: int, data: bytes) -> bytes:
    return b"\1" + struct.pack(">qqB", mint, maxt, encoding) + uvarint(len(data)) + data


def _exemplar_records(store: Store) -> Iterator[bytes]:
    found = []
    for exemplar in store.exemplars:
        key = key_of(exemplar.series)
        flat = np.frombuffer(bytearray(key), np.uint8)
        row = int(store.head.table.find(flat, np.array([0, len(key)], np.int64))[0])
        if row >= 0:
            ref = int(store.head.ref_of_row[row])
            found.append(rare.ExemplarRecord(ref, exemplar.timestamp_ms, exemplar.value, exemplar.labels))
    for first in range(0, len(found), _EXEMPLARS_PER_RECORD):
        record = rare.encode_exemplars(found[first : first + _EXEMPLARS_PER_RECORD])
        yield bytes((_EXEMPLARS,)) + record[1:]


# --- reading ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Snapshot:
    """What a snapshot holds: series with their refs, samples by those refs, tombstones, exemplars."""

    series: list[tuple[Int64s, Bytes, Int64s]] = field(default_factory=list)  # refs, keys, offsets
    floats: list[tuple[Int64s, Int64s, npt.NDArray[np.float64], Int64s | None]] = field(default_factory=list)
    histograms: list[rare.HistogramRecord] = field(default_factory=list)
    tombstones: Tombstones = field(default_factory=Tombstones)
    exemplars: list[rare.ExemplarRecord] = field(default_factory=list)
    reaches: tuple[int, int] = (0, 0)  # segment of the log, and offset in it

    @property
    def series_count(self) -> int:
        return sum(len(refs) for refs, _, _ in self.series)


@kernel("int64(uint8[::1], int64[::1], int64[::1], int64[::1], uint8[::1], int64[::1], int64[:, ::1])")
def _split(
    data: Bytes,
    begins: Int64s,
    ends: Int64s,
    refs: Int64s,
    keys: Bytes,
    offsets: Int64s,
    chunks: npt.NDArray[np.int64],
) -> Word:
    """Series records: ref, key, and mint, maxt, encoding, place (-1: none) and length of the chunk.

    Returns how many, or -1 - n at damage.
    """
    used = 0
    for n in range(len(begins)):
        at = begins[n] + 1
        end = ends[n]
        if end - at < 9:
            return -1 - n
        refs[n] = np.int64(u64_at(data, at))
        at += 8
        key = at
        count, at = uvarint_at(data, at, end)
        for _ in range(2 * np.int64(count)):
            if at < 0:
                return -1 - n
            size, at = uvarint_at(data, at, end)
            if at < 0 or np.int64(size) < 0 or np.int64(size) > end - at:
                return -1 - n
            at += np.int64(size)
        if at < 0 or end - at < 9:
            return -1 - n
        copy_bytes(data, key, keys, used, at - key)
        used += at - key
        offsets[n + 1] = used
        has, at = uvarint_at(data, at + 8, end)
        chunks[n, 3] = -1
        if at < 0:
            return -1 - n
        if has == np.uint64(0):
            continue
        if end - at < 18:
            return -1 - n
        chunks[n, 0] = np.int64(u64_at(data, at))
        chunks[n, 1] = np.int64(u64_at(data, at + 8))
        chunks[n, 2] = data[at + 16]
        size, at = uvarint_at(data, at + 17, end)
        if at < 0 or np.int64(size) < 2 or np.int64(size) > end - at:
            return -1 - n
        chunks[n, 3] = at
        chunks[n, 4] = np.int64(size)
    return len(begins)


def read_snapshot(directory: Path) -> Snapshot:
    """All of it. Raises CorruptionError, naming the directory, if any part of it is damaged."""
    found = Snapshot()
    damage: list[Damage] = []
    for _, path in segments(directory):
        for batch in read_segment(path, damage):
            try:
                _read_batch(batch, found)
            except CorruptionError as error:
                raise CorruptionError(f"snapshot is damaged: {error}", at=directory) from None
        if damage:
            raise CorruptionError(f"snapshot is damaged: {damage[0]}", at=directory)
    return found


def _read_batch(batch: Batch, found: Snapshot) -> None:
    kinds = batch.types()
    where = np.flatnonzero(kinds == _SERIES)
    if len(where):
        _read_series(batch, where, found)
    for i in np.flatnonzero(kinds != _SERIES).tolist():
        record = batch.record(i)
        if kinds[i] == _TOMBSTONES:
            _read_tombstones(record, found.tombstones)
        elif kinds[i] == _EXEMPLARS:
            found.exemplars += rare.decode_exemplars(bytes((EXEMPLARS,)) + record[1:])
        else:
            raise CorruptionError(f"unknown kind of record, {int(kinds[i])}")


def _read_series(batch: Batch, where: Int64s, found: Snapshot) -> None:
    begins, ends = batch.begins[where], batch.ends[where]
    refs = np.empty(len(where), np.int64)
    keys = np.empty(max(1, int((ends - begins).sum())), np.uint8)
    offsets = np.zeros(len(where) + 1, np.int64)
    table = np.zeros((len(where), 5), np.int64)
    run: Any = _split
    if run(batch.data, begins, ends, refs, keys, offsets, table) < 0:
        raise CorruptionError("a series record is cut off")
    found.series.append((refs, keys, offsets))
    has = np.flatnonzero(table[:, 3] >= 0)
    mint, maxt, encoding, place, length = (np.ascontiguousarray(table[has, k]) for k in range(5))
    nth = np.arange(len(has))
    chunks = ChunkSet(nth, np.zeros_like(nth), place, length, encoding, mint, maxt, [batch.data])
    _take_samples(decode(chunks, len(has), -_EVER, _EVER), refs[has], found)


def _take_samples(columns: Columns, refs: Int64s, found: Snapshot) -> None:
    own = np.repeat(refs, np.diff(columns.offsets))
    times, values, starts = columns.timestamps_ms, columns.values, columns.start_timestamps_ms
    if columns.histograms is None:
        found.floats.append((own, times, values, starts))
        return
    floats = np.array([h is None for h in columns.histograms], np.bool_)
    begins = None if starts is None else starts[floats]
    found.floats.append((own[floats], times[floats], values[floats], begins))
    for k in np.flatnonzero(~floats).tolist():
        start = 0 if starts is None else int(starts[k])
        found.histograms.append(
            rare.HistogramRecord(int(own[k]), int(times[k]), columns.histograms[k], start)
        )


def _read_tombstones(record: bytes, into: Tombstones) -> None:
    body = Reader(record, 1)
    inner = Reader(body.take(body.uvarint()))
    if inner.byte() != 1:
        raise CorruptionError("tombstones of an unknown format")
    while inner:
        into.add(inner.uvarint(), inner.varint(), inner.varint())
