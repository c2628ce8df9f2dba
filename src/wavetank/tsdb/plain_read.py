"""Reading plain float series of one source: to columns in three passes, without anything in between.

The general way (``querier``, ``decode``) joins the chunks of all sources, whatever they hold. Nearly every
query of a rule or a dashboard is about the last minutes of series that are in the head alone and have floats
alone, in order: those are read here, and so are those of a single block. Of the head the first two passes run
under its lock and are short: which chunks overlap the range, and a copy of their words. The third decodes the
copy, and keeps only what lies in the range. Where anything is unusual the answer is None, and the general way
gives it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from wavetank.jit import kernel
from wavetank.model.interned import InternedLabels
from wavetank.model.series import SeriesBatch, empty_batch
from wavetank.tsdb.chunkenc import XOR
from wavetank.tsdb.chunkenc.bits import Word, prefetch, u64_at
from wavetank.tsdb.head import Head
from wavetank.tsdb.head_append import BIT, BLOCKS, CHUNK_MIN_T, LAST_T, PACKED
from wavetank.tsdb.head_blocks import BLOCK_BYTES

__all__ = ["Chosen", "Copied", "batch_of", "chunks_of", "copied_from", "copy_of", "decoded"]

Bytes = npt.NDArray[np.uint8]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]
Words = npt.NDArray[np.uint64]

#: Columns of a chunk: index of its series, where it is (as ``closed_where``), bytes, samples, its first word
SERIES, WHERE, LENGTH, COUNT, WORD = range(5)
SAMPLES_MAX: Final = 500_000  # of whole chunks; more are decoded by several threads, in the general way
_PAD_WORDS: Final = 8  # behind the last chunk: a damaged one is read a little beyond its end
_CHUNKS_AHEAD: Final = 4
_NEVER: Final = int(np.iinfo(np.int64).min)


@kernel(
    "void(int32[::1], int64, int64, int64[:, ::1], int32[::1], int32[::1], int64[:, ::1], int64[::1],"
    " int32[:, ::1], int64[:, ::1], int64[::1])",
    allocates=False,
)
def _find(
    rows: Int32s,
    mint: Word,
    maxt: Word,
    state: Int64s,
    last_closed: Int32s,
    closed_prev: Int32s,
    closed_times: Int64s,
    closed_where: Int64s,
    closed_sizes: Int32s,
    out: Int64s,
    totals: Int64s,
) -> None:
    """The chunks of the rows that overlap the range, each row's oldest first.

    ``totals`` get: chunks, samples, words, chunks in files, chunks that are not XOR. Those that do not fit
    into ``out`` are counted only.
    """
    n: Word = 0
    samples: Word = 0
    words: Word = 0
    in_files: Word = 0
    others: Word = 0
    for i in range(len(rows)):
        row = rows[i]
        first = last_closed[row]
        count: Word = 0
        chunk = first
        while chunk >= 0 and closed_times[chunk, 1] >= mint:
            if closed_times[chunk, 0] <= maxt:
                count += 1
            chunk = closed_prev[chunk]
        n += count
        at = n - 1
        chunk = first
        while count > 0:
            if closed_times[chunk, 0] <= maxt:
                packed = np.int64(closed_sizes[chunk, 1])
                if at < len(out):
                    out[at, SERIES] = i
                    out[at, WHERE] = closed_where[chunk]
                    out[at, LENGTH] = closed_sizes[chunk, 0]
                    out[at, COUNT] = packed & 0xFFFF
                samples += packed & 0xFFFF
                words += (np.int64(closed_sizes[chunk, 0]) + 7) >> 3
                if closed_where[chunk] < 0:
                    in_files += 1
                if (packed >> 16) & 0xFF != XOR:
                    others += 1
                at -= 1
                count -= 1
            chunk = closed_prev[chunk]
        if (
            state[row, BLOCKS] >= 0
            and state[row, PACKED] & 0xFFFF
            and state[row, CHUNK_MIN_T] <= maxt
            and state[row, LAST_T] >= mint
        ):
            length = (state[row, BIT] + 7) >> 3
            if n < len(out):
                out[n, SERIES] = i
                out[n, WHERE] = state[row, BLOCKS] >> 32
                out[n, LENGTH] = length
                out[n, COUNT] = state[row, PACKED] & 0xFFFF
            samples += state[row, PACKED] & 0xFFFF
            words += (length + 7) >> 3
            n += 1
    totals[0] = n
    totals[1] = samples
    totals[2] = words
    totals[3] = in_files
    totals[4] = others


@kernel("void(int64[:, ::1], int64, uint64[::1], int32[::1], uint64[::1])", allocates=False)
def _copy(chunks: Int64s, count: Word, words: Words, links: Int32s, out: Words) -> None:
    """The words of the chunks in blocks, one chunk after the other; those of chunks in files are left out.
    Gives all chunks their places."""
    place: Word = 0
    for k in range(-_CHUNKS_AHEAD, count):
        soon = k + _CHUNKS_AHEAD
        if soon < count and chunks[soon, WHERE] >= 0:
            # Blocks lie anywhere: ask for those of a later chunk while this one is copied.
            block = np.uint64(chunks[soon, WHERE])
            for _ in range((chunks[soon, LENGTH] - 1) // BLOCK_BYTES):
                prefetch(words, np.int64(block) * 8)
                block = np.uint64(links[block])
            prefetch(words, np.int64(block) * 8)
        if k < 0:
            continue
        chunks[k, WORD] = place
        size = (chunks[k, LENGTH] + 7) >> 3
        if chunks[k, WHERE] >= 0:
            block = np.uint64(chunks[k, WHERE])
            for i in range(size):
                if i > 0 and i & 7 == 0:
                    block = np.uint64(links[block])
                out[np.uint64(place + i)] = words[block * np.uint64(8) + np.uint64(i & 7)]
        place += size


@kernel("void(int64[:, ::1], int64, int64, uint8[::1], uint64[::1])", allocates=False)
def _copy_from_file(chunks: Int64s, count: Word, number: Word, data: Bytes, out: Words) -> None:
    """The words of the chunks that are in the file of this number."""
    for k in range(count):
        where = -1 - chunks[k, WHERE]
        if where < 0 or where >> 32 != number:
            continue
        begin = where & 0xFFFF_FFFF
        length = chunks[k, LENGTH]
        place = chunks[k, WORD]
        whole = length >> 3
        for i in range(whole):
            out[place + i] = np.uint64(u64_at(data, begin + 8 * i))
        rest = np.uint64(0)
        for i in range(length & 7):
            rest |= np.uint64(data[begin + 8 * whole + i]) << np.uint64(56 - 8 * i)
        if length & 7:
            out[place + whole] = rest


@kernel(inline=True, always=True, allocates=False)
def _bits_at(words: Words, base: Word, position: Word) -> Word:
    """The 64 bits from ``position`` on."""
    index = base + (position >> np.uint64(6))
    shift = position & np.uint64(63)
    # in two steps: a shift by 64 does nothing
    following = (words[index + np.uint64(1)] >> np.uint64(1)) >> (np.uint64(63) - shift)
    return (words[index] << shift) | following


@kernel(
    "int64(int64[:, ::1], int64, uint64[::1], int64, int64, int64[::1], float64[::1], int64[::1])",
    allocates=False,
)
def _decode(
    chunks: Int64s,
    count: Word,
    words: Words,
    mint: Word,
    maxt: Word,
    times: Int64s,
    values: Float64s,
    offsets: Int64s,
) -> Word:
    """The samples in the range, as columns; returns how many series have none, or -1 for what is damaged or
    not in order. The format is that of ``chunkenc.xor``."""
    bits_out = values.view(np.uint64)
    one = np.uint64(1)
    total: Word = 0
    series: Word = -1
    empty: Word = 0
    last: Word = _NEVER
    for k in range(count):
        while series < chunks[k, SERIES]:
            series += 1
            offsets[series] = total
            if series > 0 and offsets[series - 1] == total:
                empty += 1
            last = _NEVER
        base = np.uint64(chunks[k, WORD])
        end = np.uint64(chunks[k, LENGTH] * 8)
        position = np.uint64(16)
        raw = np.uint64(0)
        shift = 0
        while shift < 70:
            byte = _bits_at(words, base, position) >> np.uint64(56)
            position += np.uint64(8)
            raw |= (byte & np.uint64(0x7F)) << np.uint64(shift)
            if byte < np.uint64(0x80):
                break
            shift += 7
        t = np.int64(raw >> one)
        if raw & one:
            t = ~t
        value = _bits_at(words, base, position)
        position += np.uint64(64)
        delta = np.int64(0)
        lead = np.uint64(0)
        size = np.uint64(0)
        for i in range(chunks[k, COUNT]):
            if i == 1:
                raw = np.uint64(0)
                shift = 0
                while shift < 70:
                    byte = _bits_at(words, base, position) >> np.uint64(56)
                    position += np.uint64(8)
                    raw |= (byte & np.uint64(0x7F)) << np.uint64(shift)
                    if byte < np.uint64(0x80):
                        break
                    shift += 7
                delta = np.int64(raw)
            if i > 0:
                if position > end:
                    return -1
                here = _bits_at(words, base, position)
                used = np.uint64(0)
                if i > 1:
                    if here >> np.uint64(63) == np.uint64(0):
                        used = one
                    else:
                        prefix = here >> np.uint64(60)
                        if prefix == np.uint64(15):
                            delta += np.int64(_bits_at(words, base, position + np.uint64(4)))
                            position += np.uint64(68)
                            here = _bits_at(words, base, position)
                        else:
                            skip = np.uint64(2)
                            width = np.uint64(14)
                            if prefix >= np.uint64(14):
                                skip = np.uint64(4)
                                width = np.uint64(20)
                            elif prefix >= np.uint64(12):
                                skip = np.uint64(3)
                                width = np.uint64(17)
                            change = np.int64((here << skip) >> (np.uint64(64) - width))
                            if change > np.int64(one << (width - one)):
                                change -= np.int64(one << width)
                            delta += change
                            used = skip + width
                t += delta
                code = here << used
                if code >> np.uint64(63) == np.uint64(0):
                    used += one
                else:
                    if code >> np.uint64(62) == np.uint64(3):
                        lead = (code >> np.uint64(57)) & np.uint64(31)
                        size = (code >> np.uint64(51)) & np.uint64(63)
                        if size == np.uint64(0):
                            size = np.uint64(64)
                        used += np.uint64(13)
                    else:
                        used += np.uint64(2)
                    if size == np.uint64(0) or lead + size > np.uint64(64):
                        return -1
                    if used + size <= np.uint64(64):
                        field = (here << used) >> (np.uint64(64) - size)
                    else:
                        field = _bits_at(words, base, position + used) >> (np.uint64(64) - size)
                    used += size
                    value ^= field << (np.uint64(64) - lead - size)
                position += used
            if mint <= t <= maxt:
                if t <= last:
                    return -1
                last = t
                times[total] = t
                bits_out[total] = value
                total += 1
        if position > end:
            return -1
    while series < len(offsets) - 1:
        series += 1
        offsets[series] = total
        if series > 0 and offsets[series - 1] == total:
            empty += 1
    return empty


@dataclass(frozen=True, slots=True)
class Copied:
    """Chunks as of one moment: int64[count, 5], and their words."""

    chunks: Int64s
    count: int
    samples: int
    words: Words


@dataclass(frozen=True, slots=True)
class Read:
    """Samples in columns; ``empty`` says how many series have none."""

    offsets: Int64s
    timestamps_ms: Int64s
    values: Float64s
    empty: int


@dataclass(frozen=True, slots=True)
class Chosen:
    """The chunks a query will read, not yet copied. ``samples`` are those of whole chunks."""

    chunks: Int64s
    count: int
    samples: int
    words: int
    in_files: int = 0


def chunks_of(head: Head, rows: Int32s, mint_ms: int, maxt_ms: int) -> Chosen | None:
    """The chunks of the rows in the range; None if they must be read in the general way. The lock must be
    held until they are copied."""
    totals = np.zeros(5, np.int64)
    out = np.empty((len(rows) * 2 + 4, 5), np.int64)
    tables = (
        head.state,
        head.last_closed,
        head.closed_prev,
        head.closed_times,
        head.closed_where,
        head.closed_sizes,
    )
    _find(rows, mint_ms, maxt_ms, *tables, out, totals)
    count, samples, words, in_files, others = totals.tolist()
    if others or samples > SAMPLES_MAX:
        return None
    if count > len(out):
        out = np.empty((count, 5), np.int64)
        _find(rows, mint_ms, maxt_ms, *tables, out, totals)
    return Chosen(out, count, samples, words, in_files)


def copy_of(head: Head, chosen: Chosen) -> Copied:
    """Their words. The lock must be held."""
    chunks, count = chosen.chunks, chosen.count
    words = np.empty(chosen.words + _PAD_WORDS, np.uint64)
    _copy(chunks, count, head.arena.words, head.arena.links, words)
    if chosen.in_files:
        assert head.files is not None
        where = -1 - chunks[:count, WHERE]
        stored = where >= 0
        numbers = where >> 32
        ends = (where & 0xFFFF_FFFF) + chunks[:count, LENGTH]
        for number in np.unique(numbers[stored]).tolist():
            data = head.files.buffer(number, int(ends[stored & (numbers == number)].max()))
            _copy_from_file(chunks, count, number, data, words)
    return Copied(chunks, count, chosen.samples, words)


def copied_from(data: Bytes, chosen: Chosen) -> Copied:
    """The words of chunks that lie in ``data``, one after the other."""
    words = np.empty(chosen.words + _PAD_WORDS, np.uint64)
    _copy_from_file(chosen.chunks, chosen.count, 0, data, words)
    return Copied(chosen.chunks, chosen.count, chosen.samples, words)


def batch_of(copied: Copied, labels: InternedLabels, mint_ms: int, maxt_ms: int) -> SeriesBatch | None:
    """The samples in the range of the series that have any; None as ``decoded``."""
    found = decoded(copied, len(labels), mint_ms, maxt_ms)
    if found is None:
        return None
    offsets = found.offsets
    if found.empty:
        if found.empty == len(labels):
            return empty_batch()
        has = offsets[1:] > offsets[:-1]
        labels = labels.part(has)
        offsets = np.append(offsets[:-1][has], offsets[-1])
    return SeriesBatch(labels, offsets, found.timestamps_ms, found.values)


def decoded(copied: Copied, series_count: int, mint_ms: int, maxt_ms: int) -> Read | None:
    """Their samples in the range; None if a chunk is damaged or samples are not in order."""
    times, values = np.empty(copied.samples, np.int64), np.empty(copied.samples)
    offsets = np.empty(series_count + 1, np.int64)
    run: Any = _decode
    empty = run(copied.chunks, copied.count, copied.words, mint_ms, maxt_ms, times, values, offsets)
    if empty < 0:
        return None
    total = int(offsets[-1])
    return Read(offsets, times[:total], values[:total], empty)
