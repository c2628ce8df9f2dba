"""The append kernel: a batch of samples goes straight into the open chunks of their series.

Mirrors ``memSeries.append`` and ``computeChunkEndTime`` of ``tsdb/head_append.go``. What is known of a series
is one cache line of eight integers (``STATE_*``), its open chunk is a slab of an arena, and a full chunk
becomes a line in the table of closed chunks, linked to the one before it.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from wavetank.jit import kernel
from wavetank.tsdb.chunkenc.bits import Word
from wavetank.tsdb.chunkenc.xor import LEADING_UNSET, xor_put_first, xor_put_next, xor_put_second

__all__ = [
    "APPENDED",
    "DUPLICATE",
    "LAST_IS_HISTOGRAM",
    "OUT_OF_BOUNDS",
    "OUT_OF_ORDER",
    "REPEATED",
    "SLAB_SIZES",
    "STATE_WIDTH",
    "UNKNOWN_SERIES",
    "append_samples",
    "close_open_chunks",
    "free_slabs",
]

Bytes = npt.NDArray[np.uint8]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]

# Columns of a series' state
LAST_T, LAST_DELTA, LAST_VALUE, PACKED, SLAB, BIT, CHUNK_MIN_T, NEXT_AT = range(8)
STATE_WIDTH: Final = 8
# PACKED: samples in the open chunk (16 bits), leading (8), trailing (8), slab class (8), flags
HAS_SAMPLE: Final = 1 << 40
LAST_IS_HISTOGRAM: Final = 1 << 41

# Outcomes of one sample
APPENDED: Final = 0
REPEATED: Final = 1  # same time, same value: nothing to do
DUPLICATE: Final = 2
OUT_OF_ORDER: Final = 3
UNKNOWN_SERIES: Final = 4
OUT_OF_BOUNDS: Final = 5

SAMPLES_PER_CHUNK: Final = 120
CHUNK_BYTES_MAX: Final = 1005
SLAB_SIZES: Final = (64, 128, 192, 256, 384, 512, 768, 1152)
_ENCODING_XOR = 1


@kernel(inline=True)
def _slab_size(slab_class: Word) -> Word:
    return SLAB_SIZES[slab_class]


@kernel(inline=True)
def _take_slab(slab_class: Word, arena: Bytes, arena_state: Int64s) -> Word:
    """A zeroed slab's offset, or -1 if the arena must grow. arena_state: used, then a free list per class."""
    size = _slab_size(slab_class)
    offset: Word = arena_state[1 + slab_class]
    if offset >= 0:
        following = np.int64(0)
        for k in range(8):
            following = (following << 8) | np.int64(arena[offset + k])
        arena_state[1 + slab_class] = following
    else:
        offset = arena_state[0]
        if offset + size > len(arena):
            return -1
        arena_state[0] = offset + size
    for k in range(offset, offset + size):  # loops: a slice assignment takes seconds to compile
        arena[k] = 0
    return offset


@kernel(inline=True)
def _give_slab(offset: Word, slab_class: Word, arena: Bytes, arena_state: Int64s) -> None:
    following = arena_state[1 + slab_class]
    for k in range(8):
        arena[offset + k] = (following >> (56 - 8 * k)) & 0xFF
    arena_state[1 + slab_class] = offset


@kernel("void(int64[::1], uint8[::1], uint8[::1], int64[::1])")
def free_slabs(offsets: Int64s, classes: Bytes, arena: Bytes, arena_state: Int64s) -> None:
    """Give slabs back once their chunks are in a file."""
    for i in range(len(offsets)):
        _give_slab(offsets[i], np.int64(classes[i]), arena, arena_state)


@kernel(inline=True)
def _close(
    row: Word,
    state: npt.NDArray[np.int64],
    last_closed: Int32s,
    arena: Bytes,
    closed_rows: Int32s,
    closed_prev: Int32s,
    closed_times: npt.NDArray[np.int64],
    closed_where: Int64s,
    closed_sizes: npt.NDArray[np.int32],
    counters: Int64s,
) -> None:
    """Move the open chunk of a row to the table of closed chunks; it stays in its slab for now."""
    packed = state[row, PACKED]
    count = packed & 0xFFFF
    slab = state[row, SLAB]
    arena[slab] = count >> 8
    arena[slab + 1] = count & 0xFF
    index = counters[0]
    counters[0] = index + 1
    closed_rows[index] = row
    closed_prev[index] = last_closed[row]
    closed_times[index, 0] = state[row, CHUNK_MIN_T]
    closed_times[index, 1] = state[row, LAST_T]
    closed_where[index] = slab
    closed_sizes[index, 0] = (state[row, BIT] + 7) >> 3
    closed_sizes[index, 1] = count | (_ENCODING_XOR << 16) | (((packed >> 32) & 0xFF) << 24)
    last_closed[row] = index
    state[row, SLAB] = -1
    state[row, PACKED] = packed & ~np.int64(0xFFFF)


_TABLES = (
    "int64[:, ::1], int32[::1], uint8[::1], int64[::1], int32[::1], int32[::1], int64[:, ::1], int64[::1],"
    " int32[:, ::1], int64[::1]"
)


@kernel(
    f"int64(int64[::1], int64[::1], float64[::1], int64, uint8[::1], int32[::1], {_TABLES}, int64, int64)"
)
def append_samples(
    refs: Int64s,
    timestamps: Int64s,
    values: Float64s,
    first: Word,
    outcomes: Bytes,
    row_of_ref: Int32s,
    state: npt.NDArray[np.int64],
    last_closed: Int32s,
    arena: Bytes,
    arena_state: Int64s,
    closed_rows: Int32s,
    closed_prev: Int32s,
    closed_times: npt.NDArray[np.int64],
    closed_where: Int64s,
    closed_sizes: npt.NDArray[np.int32],
    counters: Int64s,
    min_valid: Word,
    chunk_range: Word,
) -> Word:
    """Append the samples ``first:``; returns the count done, less than all where a table must grow first.

    counters: closed chunks, samples appended, smallest time, largest time.
    """
    bits_in = values.view(np.uint64)
    for i in range(first, len(refs)):
        ref = refs[i]
        row: Word = np.int64(-1)
        if 0 <= ref < len(row_of_ref):
            row = np.int64(row_of_ref[ref])
        if row < 0:
            outcomes[i] = UNKNOWN_SERIES
            continue
        t = timestamps[i]
        bits = bits_in[i]
        packed: Word = state[row, PACKED]
        if packed & HAS_SAMPLE:
            last = state[row, LAST_T]
            if t <= last:
                if t < last:
                    outcomes[i] = OUT_OF_ORDER
                elif np.uint64(state[row, LAST_VALUE]) == bits and not packed & LAST_IS_HISTOGRAM:
                    outcomes[i] = REPEATED
                else:
                    outcomes[i] = DUPLICATE
                continue
        elif t < min_valid:
            outcomes[i] = OUT_OF_BOUNDS
            continue
        slab: Word = state[row, SLAB]
        count: Word = packed & 0xFFFF
        if slab >= 0 and (
            t >= state[row, NEXT_AT]
            or count >= 2 * SAMPLES_PER_CHUNK
            or (state[row, BIT] >> 3) > CHUNK_BYTES_MAX
        ):
            if counters[0] >= len(closed_rows):
                return i
            _close(
                row,
                state,
                last_closed,
                arena,
                closed_rows,
                closed_prev,
                closed_times,
                closed_where,
                closed_sizes,
                counters,
            )
            slab = np.int64(-1)
            count = np.int64(0)
        if slab < 0:
            slab = _take_slab(0, arena, arena_state)
            if slab < 0:
                return i
            state[row, SLAB] = slab
            position = xor_put_first(arena, slab, t, bits) - slab * 8
            state[row, LAST_DELTA] = 0
            state[row, CHUNK_MIN_T] = t
            remainder = t % chunk_range  # Python's modulo: never negative
            state[row, NEXT_AT] = t - remainder + chunk_range
            leading: Word = np.int64(LEADING_UNSET)
            trailing: Word = np.int64(0)
            slab_class: Word = np.int64(0)
        else:
            slab_class = (packed >> 32) & 0xFF
            position = state[row, BIT]
            # a sample takes 19 bytes at most, and the bit writer up to nine more
            if (position >> 3) + 30 > _slab_size(slab_class):
                moved = _take_slab(slab_class + 1, arena, arena_state)
                if moved < 0:
                    return i
                used = (position + 7) >> 3
                for k in range(used):
                    arena[moved + k] = arena[slab + k]
                _give_slab(slab, slab_class, arena, arena_state)
                slab = moved
                slab_class += 1
                state[row, SLAB] = slab
            leading = (packed >> 16) & 0xFF
            trailing = (packed >> 24) & 0xFF
            delta = t - state[row, LAST_T]
            previous = np.uint64(state[row, LAST_VALUE])
            if count == 1:
                position, leading, trailing = xor_put_second(
                    arena, slab * 8 + position, delta, previous, bits
                )
            else:
                position, leading, trailing = xor_put_next(
                    arena,
                    slab * 8 + position,
                    delta - state[row, LAST_DELTA],
                    previous,
                    bits,
                    leading,
                    trailing,
                )
            position -= slab * 8
            state[row, LAST_DELTA] = delta
            if count == SAMPLES_PER_CHUNK // 4:
                # A quarter full: spread the chunks of this range evenly instead of leaving a stub at its end.
                begin = state[row, CHUNK_MIN_T]
                until = state[row, NEXT_AT] - begin
                chunks = np.int64(until / ((t - begin + 1) * 4.0))
                if chunks > 1:
                    state[row, NEXT_AT] = begin + until // chunks
        state[row, LAST_T] = t
        state[row, LAST_VALUE] = np.int64(bits)
        state[row, BIT] = position
        state[row, PACKED] = (
            (count + 1) | (leading << 16) | (trailing << 24) | (slab_class << 32) | HAS_SAMPLE
        )
        outcomes[i] = APPENDED
        counters[1] += 1
        counters[2] = min(counters[2], t)
        counters[3] = max(counters[3], t)
    return len(refs)


@kernel(f"int64(int64[::1], {_TABLES})")
def close_open_chunks(
    rows: Int64s,
    state: npt.NDArray[np.int64],
    last_closed: Int32s,
    arena: Bytes,
    arena_state: Int64s,
    closed_rows: Int32s,
    closed_prev: Int32s,
    closed_times: npt.NDArray[np.int64],
    closed_where: Int64s,
    closed_sizes: npt.NDArray[np.int32],
    counters: Int64s,
) -> Word:
    """Close the open float chunks of the rows, which fit the table; returns how many there were."""
    done = 0
    for i in range(len(rows)):
        if state[rows[i], SLAB] >= 0:
            _close(
                rows[i],
                state,
                last_closed,
                arena,
                closed_rows,
                closed_prev,
                closed_times,
                closed_where,
                closed_sizes,
                counters,
            )
            done += 1
    return done
