"""From chunks to columns: all samples of a selection, decoded in one kernel call per buffer.

Stands where Prometheus has one iterator per series (``storage/merge.go``).
Chunks are laid out by series and time, decoded into place, and only series whose chunks overlap in time
are sorted and rid of repeated timestamps.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from wavetank.jit import kernel
from wavetank.tsdb.chunkenc import XOR
from wavetank.tsdb.chunkenc.bits import Word
from wavetank.tsdb.chunkenc.xor import decode_xor
from wavetank.tsdb.errors import CorruptionError
from wavetank.tsdb.head import ChunkSet

__all__ = ["Columns", "count_samples", "decode", "joined"]

Bytes = npt.NDArray[np.uint8]
Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]

_PARALLEL_SAMPLES_MIN: Final = 500_000  # below this, threads cost more than they save
_pool: ThreadPoolExecutor | None = None


def _threads() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(os.cpu_count() or 1, "decode")
    return _pool


@dataclass(frozen=True, slots=True)
class Columns:
    """Samples in columns; series ``i`` has ``offsets[i]:offsets[i + 1]``, in rising order of time."""

    offsets: Int64s
    timestamps_ms: Int64s
    values: Float64s


def joined(sets: Sequence[ChunkSet]) -> ChunkSet:
    """One set of all chunks; ``series`` must already mean the same selection in each."""
    if len(sets) == 1:
        return sets[0]
    buffers: list[Bytes] = []
    sources = []
    for each in sets:
        sources.append(each.source + len(buffers))
        buffers += each.buffers

    def together(name: str) -> Any:
        return np.concatenate([getattr(each, name) for each in sets]) if sets else np.empty(0, np.int64)

    return ChunkSet(
        together("series"),
        np.concatenate(sources) if sources else np.empty(0, np.int64),
        together("start"),
        together("length"),
        together("encoding"),
        together("mint"),
        together("maxt"),
        buffers,
    )


@kernel("void(uint8[::1], int64[::1], int64[::1], int64[::1])")
def _counts(buffer: Bytes, starts: Int64s, which: Int64s, out: Int64s) -> None:
    for k in which:
        out[k] = (np.int64(buffer[starts[k]]) << 8) | np.int64(buffer[starts[k] + 1])


def count_samples(chunks: ChunkSet) -> Int64s:
    """Samples of each chunk, from its first two bytes."""
    out = np.zeros(len(chunks.series), np.int64)
    for source, which in _by_source(chunks):
        _counts(chunks.buffers[source], chunks.start, which, out)
    return out


def _by_source(chunks: ChunkSet) -> list[tuple[int, Int64s]]:
    if len(chunks.buffers) == 1:
        return [(0, np.arange(len(chunks.series)))]
    order = np.argsort(chunks.source, kind="stable")
    present, begins = np.unique(chunks.source[order], return_index=True)
    return list(zip(present.tolist(), np.split(order, begins[1:]), strict=True))


@kernel("int64(int64[::1], int64[::1], int64, int64, int64[::1])")
def _disorder(offsets: Int64s, timestamps: Int64s, mint: Word, maxt: Word, flags: Int64s) -> Word:
    """Per series: 1 if times do not rise strictly, 2 if some are outside the range. Returns them or-ed."""
    every = 0
    for i in range(len(offsets) - 1):
        begin = offsets[i]
        end = offsets[i + 1]
        flag = 0
        for k in range(begin + 1, end):
            if timestamps[k] <= timestamps[k - 1]:
                flag = 1
                break
        if end > begin:
            if flag == 0:
                if timestamps[begin] < mint or timestamps[end - 1] > maxt:
                    flag = 2
            else:
                flag = 3
        flags[i] = flag
        every |= flag
    return every


@kernel("int64(int64[::1], int64[::1], int64, int64, int64[::1], boolean[::1], int64[::1])")
def _kept(
    offsets: Int64s,
    timestamps: Int64s,
    mint: Word,
    maxt: Word,
    flags: Int64s,
    keep: npt.NDArray[np.bool_],
    new_offsets: Int64s,
) -> Word:
    """Marks samples inside the range, and of equal times the first; series must be sorted."""
    total = 0
    for i in range(len(offsets) - 1):
        new_offsets[i] = total
        for k in range(offsets[i], offsets[i + 1]):
            good = mint <= timestamps[k] <= maxt
            if good and flags[i] & 1 and k > offsets[i] and timestamps[k] == timestamps[k - 1]:
                good = False
            keep[k] = good
            if good:
                total += 1
    new_offsets[len(offsets) - 1] = total
    return total


def decode(chunks: ChunkSet, series_count: int, mint_ms: int, maxt_ms: int) -> Columns:
    """All float samples of the chunks within the range, inclusive. Raises CorruptionError."""
    order = np.lexsort((chunks.mint, chunks.series))
    ordered = ChunkSet(
        chunks.series[order],
        chunks.source[order],
        chunks.start[order],
        chunks.length[order],
        chunks.encoding[order],
        chunks.mint[order],
        chunks.maxt[order],
        chunks.buffers,
    )
    counts = count_samples(ordered)
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    positions = ends - counts
    timestamps = np.empty(total, np.int64)
    values = np.empty(total, np.float64)
    _decode_into(ordered, counts, positions, timestamps, values)
    offsets = np.zeros(series_count + 1, np.int64)
    np.add.at(offsets, ordered.series + 1, counts)
    np.cumsum(offsets, out=offsets)
    return _trimmed(offsets, timestamps, values, mint_ms, maxt_ms)


def _decode_into(
    chunks: ChunkSet, counts: Int64s, positions: Int64s, timestamps: Int64s, values: Float64s
) -> None:
    for source, which in _by_source(chunks):
        whole = len(which) == len(counts)
        starts, lengths, sizes, targets = (
            (chunks.start, chunks.length, counts, positions)
            if whole
            else (chunks.start[which], chunks.length[which], counts[which], positions[which])
        )
        encodings = chunks.encoding if whole else chunks.encoding[which]
        if not np.all(encodings == XOR):
            raise CorruptionError(f"unknown chunk encoding {int(encodings[encodings != XOR][0])}")
        arguments = (chunks.buffers[source], starts, lengths, sizes, targets, timestamps, values)
        bad = _decode_slices(arguments, len(which), int(sizes.sum()))
        if bad >= 0:
            raise CorruptionError(
                f"chunk at offset {int(starts[bad])} ends before its {int(sizes[bad])} samples do"
            )


def _decode_slices(arguments: tuple[Any, ...], count: int, samples: int) -> int:
    workers = os.cpu_count() or 1
    read: Any = decode_xor
    if samples < _PARALLEL_SAMPLES_MIN or workers == 1:
        return int(read(*arguments, 0, count))
    cuts = [count * i // workers for i in range(workers + 1)]
    jobs = [_threads().submit(read, *arguments, a, b) for a, b in itertools.pairwise(cuts)]
    results = [job.result() for job in jobs]
    return next((bad for bad in results if bad >= 0), -1)


def _trimmed(offsets: Int64s, timestamps: Int64s, values: Float64s, mint_ms: int, maxt_ms: int) -> Columns:
    flags = np.zeros(len(offsets) - 1, np.int64)
    every = _disorder(offsets, timestamps, mint_ms, maxt_ms, flags)
    if every == 0:
        return Columns(offsets, timestamps, values)
    if every & 1:
        for i in np.flatnonzero(flags & 1):
            part = slice(offsets[i], offsets[i + 1])
            by_time = np.argsort(timestamps[part], kind="stable")
            timestamps[part] = timestamps[part][by_time]
            values[part] = values[part][by_time]
    keep = np.empty(len(timestamps), np.bool_)
    new_offsets = np.empty(len(offsets), np.int64)
    _kept(offsets, timestamps, mint_ms, maxt_ms, flags, keep, new_offsets)
    return Columns(new_offsets, timestamps[keep], values[keep])
