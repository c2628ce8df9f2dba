"""From chunks to columns: all samples of a selection, decoded in one kernel call per buffer.

Stands where Prometheus has one iterator per series (``storage/merge.go``). Chunks are laid out by series and
time, decoded into place, and only series whose chunks overlap in time are sorted and rid of repeated
timestamps. Native histograms are rare and decoded one by one.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from wavetank.jit import kernel
from wavetank.tsdb.chunkenc import (
    FLOAT_HISTOGRAM,
    FLOAT_HISTOGRAM_ST,
    HISTOGRAM,
    HISTOGRAM_ST,
    XOR,
    XOR2,
)
from wavetank.tsdb.chunkenc.bits import Word
from wavetank.tsdb.chunkenc.histogram import decode_histograms_with_starts
from wavetank.tsdb.chunkenc.xor import decode_xor
from wavetank.tsdb.chunkenc.xor2 import decode_xor2_with_starts
from wavetank.tsdb.errors import CorruptionError
from wavetank.tsdb.head import ChunkSet
from wavetank.tsdb.start_times import Starts, filled

__all__ = ["Columns", "LooseSamples", "count_samples", "decode", "joined", "subset", "verify"]

Bytes = npt.NDArray[np.uint8]
Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]

_PARALLEL_SAMPLES_MIN: Final = 500_000  # below this, threads cost more than they save
_SAMPLES_AT_ONCE: Final = 4_000_000  # decoded between two looks at the query's deadline: some 50 ms
_HISTOGRAM_CHUNKS_AT_ONCE: Final = 256
_WORKERS: Final = os.cpu_count() or 1
_ENCODINGS: Final = (XOR, HISTOGRAM, FLOAT_HISTOGRAM, XOR2, HISTOGRAM_ST, FLOAT_HISTOGRAM_ST)
_NO_STARTS: Final[Int64s] = np.empty(0, np.int64)
_pool: ThreadPoolExecutor | None = None


def _threads() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(_WORKERS, "decode")
    return _pool


@dataclass(frozen=True, slots=True)
class Columns:
    """Samples in columns; series ``i`` has ``offsets[i]:offsets[i + 1]``, in rising order of time.

    ``histograms`` is None, or object[m] with None where the sample is a float; ``start_timestamps_ms`` is
    None, or int64[m] with 0 where unknown.
    """

    offsets: Int64s
    timestamps_ms: Int64s
    values: Float64s
    histograms: npt.NDArray[Any] | None = None
    start_timestamps_ms: Int64s | None = None


@dataclass(slots=True)
class LooseSamples:
    """Samples that are in no chunk; ``series`` is an index into the selection."""

    series: Int64s = field(default_factory=lambda: np.empty(0, np.int64))
    timestamps_ms: Int64s = field(default_factory=lambda: np.empty(0, np.int64))
    values: Float64s = field(default_factory=lambda: np.empty(0, np.float64))
    histograms: npt.NDArray[Any] | None = None
    start_timestamps_ms: Int64s | None = None

    def __len__(self) -> int:
        return len(self.series)

    def extended(self, other: LooseSamples) -> LooseSamples:
        """With the samples of another after these."""
        if not len(other):
            return self
        if not len(self):
            return other
        histograms = None
        if self.histograms is not None or other.histograms is not None:
            histograms = np.concatenate([_objects(self), _objects(other)])
        starts = None
        if self.start_timestamps_ms is not None or other.start_timestamps_ms is not None:
            starts = np.concatenate([_known_starts(self), _known_starts(other)])
        return LooseSamples(
            np.concatenate([self.series, other.series]),
            np.concatenate([self.timestamps_ms, other.timestamps_ms]),
            np.concatenate([self.values, other.values]),
            histograms,
            starts,
        )

    def subset(self, which: npt.NDArray[Any]) -> LooseSamples:
        """Some of them, by mask or index."""
        return LooseSamples(
            self.series[which],
            self.timestamps_ms[which],
            self.values[which],
            None if self.histograms is None else self.histograms[which],
            None if self.start_timestamps_ms is None else self.start_timestamps_ms[which],
        )


def _known_starts(samples: LooseSamples) -> Int64s:
    starts = samples.start_timestamps_ms
    return np.zeros(len(samples), np.int64) if starts is None else starts


def _objects(samples: LooseSamples) -> npt.NDArray[Any]:
    return np.full(len(samples), None, object) if samples.histograms is None else samples.histograms


def joined(sets: Sequence[ChunkSet]) -> ChunkSet:
    """One set of all chunks; ``series`` must already mean the same selection in each."""
    if len(sets) == 1:
        return sets[0]
    buffers: list[Bytes] = []
    sources = []
    for each in sets:
        sources.append(each.source + len(buffers))
        buffers += each.buffers

    if not sets:
        none = np.empty(0, np.int64)
        return ChunkSet(none, none, none, none, none, none, none, buffers)
    return ChunkSet(
        np.concatenate([each.series for each in sets]),
        np.concatenate(sources),
        np.concatenate([each.start for each in sets]),
        np.concatenate([each.length for each in sets]),
        np.concatenate([each.encoding for each in sets]),
        np.concatenate([each.mint for each in sets]),
        np.concatenate([each.maxt for each in sets]),
        buffers,
    )


def subset(chunks: ChunkSet, which: npt.NDArray[Any]) -> ChunkSet:
    """Some of the chunks, by mask or index."""
    return ChunkSet(
        chunks.series[which],
        chunks.source[which],
        chunks.start[which],
        chunks.length[which],
        chunks.encoding[which],
        chunks.mint[which],
        chunks.maxt[which],
        chunks.buffers,
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
    if (chunks.encoding >= HISTOGRAM_ST).any():
        # these keep what is known of counter resets in the two bits above the count
        out[(chunks.encoding == HISTOGRAM_ST) | (chunks.encoding == FLOAT_HISTOGRAM_ST)] &= 0x3FFF
    return out


@kernel("boolean(int64[::1], int64[::1])")
def _is_ordered(series: Int64s, mint: Int64s) -> bool:
    """Whether chunks stand by series, and within one by time."""
    for k in range(1, len(series)):
        if series[k] < series[k - 1] or (series[k] == series[k - 1] and mint[k] < mint[k - 1]):
            return False
    return True


@kernel("int64(int64[::1], int64[::1], int64[::1], int64[::1])")
def _layout(series: Int64s, counts: Int64s, positions: Int64s, offsets: Int64s) -> Word:
    """Where each chunk's samples go, and each series' begin; chunks stand by series. Returns how many."""
    at = 0
    for k in range(len(series)):
        positions[k] = at
        at += counts[k]
        offsets[series[k] + 1] = at
    for i in range(1, len(offsets)):
        offsets[i] = max(offsets[i], offsets[i - 1])
    return at


def _by_source(chunks: ChunkSet) -> list[tuple[int, Int64s]]:
    if not len(chunks.series):
        return []
    if len(chunks.buffers) == 1:
        return [(0, np.arange(len(chunks.series)))]
    if len(chunks.buffers) <= 8:
        each = ((i, np.flatnonzero(chunks.source == i)) for i in range(len(chunks.buffers)))
        return [(i, which) for i, which in each if len(which)]
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


@kernel("int64(int64[::1], int64[::1], float64[::1], int64, int64, int64[::1], int64[::1])")
def _compress(
    offsets: Int64s,
    timestamps: Int64s,
    values: Float64s,
    mint: Word,
    maxt: Word,
    flags: Int64s,
    new_offsets: Int64s,
) -> Word:
    """Move what is inside the range, and of equal times the first, to the front of the columns."""
    total = 0
    for i in range(len(offsets) - 1):
        new_offsets[i] = total
        repeated = flags[i] & 1
        last = np.int64(0)
        for k in range(offsets[i], offsets[i + 1]):
            t = timestamps[k]
            if mint <= t <= maxt and not (repeated and k > offsets[i] and t == last):
                timestamps[total] = t
                values[total] = values[k]
                total += 1
            last = t
    new_offsets[len(offsets) - 1] = total
    return total


@dataclass(slots=True)
class _Target:
    """Columns being filled; those few selections have are made when the first chunk needs them."""

    timestamps: Int64s
    values: Float64s
    histograms: npt.NDArray[Any] | None = None
    starts: Int64s | None = None

    def objects(self) -> npt.NDArray[Any]:
        if self.histograms is None:
            self.histograms = np.full(len(self.timestamps), None, object)
        return self.histograms

    def begins(self) -> Int64s:
        if self.starts is None:
            self.starts = np.zeros(len(self.timestamps), np.int64)
        return self.starts


def decode(
    chunks: ChunkSet,
    series_count: int,
    mint_ms: int,
    maxt_ms: int,
    loose: LooseSamples | None = None,
    *,
    starts: Starts | None = None,
    check: Callable[[], None] = lambda: None,
) -> Columns:
    """All samples of the chunks, and the loose ones, within the inclusive range. Raises CorruptionError.

    ``starts`` are those of samples whose chunks have none. ``check`` is called every few million samples;
    what it raises ends the work.

    Of several samples at one time the one of the earlier chunk is kept, and loose ones come last.
    """
    ordered = chunks
    if not _is_ordered(chunks.series, chunks.mint):
        ordered = subset(chunks, np.lexsort((chunks.mint, chunks.series)))
    counts = count_samples(ordered)
    positions = np.empty(len(counts), np.int64)
    offsets = np.zeros(series_count + 1, np.int64)
    total = _layout(ordered.series, counts, positions, offsets)
    target = _Target(np.empty(total, np.int64), np.empty(total, np.float64))
    _decode_into(ordered, counts, positions, target, check)
    found = Columns(offsets, target.timestamps, target.values, target.histograms, target.starts)
    if loose is not None and len(loose):
        found = _with_loose(found, loose)
    found = _trimmed(found, mint_ms, maxt_ms)
    if starts is None or not len(starts):
        return found
    begins = filled(found.offsets, found.timestamps_ms, starts, found.start_timestamps_ms)
    return replace(found, start_timestamps_ms=begins)


def verify(chunks: ChunkSet) -> None:
    """Read all float chunks and forget them; of histograms, which cost far more, look at the encoding only.

    Raises CorruptionError for a chunk that does not hold what it says, although its checksum is right.
    """
    unknown = chunks.encoding[~np.isin(chunks.encoding, _ENCODINGS)]
    if len(unknown):
        raise CorruptionError(f"unknown chunk encoding {int(unknown[0])}")
    floats = np.flatnonzero((chunks.encoding == XOR) | (chunks.encoding == XOR2))
    for which in _pieces(floats, count_samples(chunks)):
        part = subset(chunks, which)
        counts = count_samples(part)
        total = int(counts.sum())
        target = _Target(np.empty(total, np.int64), np.empty(total, np.float64))
        _decode_into(part, counts, np.cumsum(counts) - counts, target, lambda: None)


def _with_loose(columns: Columns, loose: LooseSamples) -> Columns:
    series_count = len(columns.offsets) - 1
    own = LooseSamples(
        np.repeat(np.arange(series_count), np.diff(columns.offsets)),
        columns.timestamps_ms,
        columns.values,
        columns.histograms,
        columns.start_timestamps_ms,
    )
    every = own.extended(loose)
    every = every.subset(np.lexsort((every.timestamps_ms, every.series)))
    offsets = np.searchsorted(every.series, np.arange(series_count + 1))
    return Columns(offsets, every.timestamps_ms, every.values, every.histograms, every.start_timestamps_ms)


def _decode_into(
    chunks: ChunkSet,
    counts: Int64s,
    positions: Int64s,
    target: _Target,
    check: Callable[[], None],
) -> None:
    for source, which in _by_source(chunks):
        encodings = chunks.encoding[which]
        first_encoding = int(encodings[0])
        uniform = bool((encodings == first_encoding).all())
        for encoding in [first_encoding] if uniform else np.unique(encodings).tolist():
            part = which if uniform else which[encodings == encoding]
            if encoding in (XOR, XOR2):
                for piece in _pieces(part, counts):
                    check()
                    _decode_floats(chunks, encoding, source, piece, counts, positions, target)
            elif encoding in (HISTOGRAM, FLOAT_HISTOGRAM, HISTOGRAM_ST, FLOAT_HISTOGRAM_ST):
                for first in range(0, len(part), _HISTOGRAM_CHUNKS_AT_ONCE):
                    check()
                    piece = part[first : first + _HISTOGRAM_CHUNKS_AT_ONCE]
                    _decode_histograms(chunks, encoding, source, piece, positions, target)
            else:
                raise CorruptionError(f"unknown chunk encoding {encoding}")


def _pieces(which: Int64s, counts: Int64s) -> list[Int64s]:
    """Chunks in groups of about ``_SAMPLES_AT_ONCE`` samples."""
    if len(which) * 64 <= _SAMPLES_AT_ONCE:
        return [which]
    group = np.cumsum(counts[which]) // _SAMPLES_AT_ONCE
    return np.split(which, np.flatnonzero(np.diff(group)) + 1)


def _decode_floats(
    chunks: ChunkSet,
    encoding: int,
    source: int,
    which: Int64s,
    counts: Int64s,
    positions: Int64s,
    target: _Target,
) -> None:
    buffer, starts, sizes = chunks.buffers[source], chunks.start[which], counts[which]
    arguments: tuple[Any, ...] = (
        buffer,
        starts,
        chunks.length[which],
        sizes,
        positions[which],
        target.timestamps,
        target.values,
    )
    read: Any = decode_xor
    if encoding == XOR2:
        read = decode_xor2_with_starts
        has_starts = bool((buffer[starts + 2] != 0).any())  # its third byte says what the chunk has of them
        arguments += (target.begins() if has_starts or target.starts is not None else _NO_STARTS,)
    workers = _WORKERS
    if int(sizes.sum()) < _PARALLEL_SAMPLES_MIN or workers == 1:
        results = [read(*arguments, 0, len(which))]
    else:
        cuts = [len(which) * i // workers for i in range(workers + 1)]
        submit: Any = _threads().submit
        jobs = [submit(read, *arguments, a, b) for a, b in itertools.pairwise(cuts)]
        results = [job.result() for job in jobs]
    for bad in results:
        if bad >= 0:
            raise CorruptionError(
                f"chunk at offset {int(starts[bad])} ends before its {int(sizes[bad])} samples do"
            )


def _decode_histograms(
    chunks: ChunkSet,
    encoding: int,
    source: int,
    which: Int64s,
    positions: Int64s,
    target: _Target,
) -> None:
    buffer = chunks.buffers[source]
    histograms = target.objects()
    for k in which.tolist():
        start = int(chunks.start[k])
        data = buffer[start : start + int(chunks.length[k])].tobytes()
        at = int(positions[k])
        samples, starts = decode_histograms_with_starts(encoding, data)
        for i, (t, histogram) in enumerate(samples):
            target.timestamps[at + i] = t
            target.values[at + i] = histogram.sum
            histograms[at + i] = histogram
        if any(starts):
            target.begins()[at : at + len(starts)] = starts


def _trimmed(columns: Columns, mint_ms: int, maxt_ms: int) -> Columns:
    offsets, timestamps, values = columns.offsets, columns.timestamps_ms, columns.values
    rare: list[npt.NDArray[Any]] = [
        c for c in (columns.histograms, columns.start_timestamps_ms) if c is not None
    ]
    flags = np.zeros(len(offsets) - 1, np.int64)
    every = _disorder(offsets, timestamps, mint_ms, maxt_ms, flags)
    if every == 0:
        return columns
    if every & 1:
        for i in np.flatnonzero(flags & 1):
            part = slice(offsets[i], offsets[i + 1])
            by_time = np.argsort(timestamps[part], kind="stable")
            for column in (timestamps, values, *rare):
                column[part] = column[part][by_time]
    new_offsets = np.empty(len(offsets), np.int64)
    if not rare:
        total = _compress(offsets, timestamps, values, mint_ms, maxt_ms, flags, new_offsets)
        return Columns(new_offsets, timestamps[:total], values[:total])
    keep = np.empty(len(timestamps), np.bool_)
    _kept(offsets, timestamps, mint_ms, maxt_ms, flags, keep, new_offsets)
    return Columns(
        new_offsets,
        timestamps[keep],
        values[keep],
        None if columns.histograms is None else columns.histograms[keep],
        None if columns.start_timestamps_ms is None else columns.start_timestamps_ms[keep],
    )
