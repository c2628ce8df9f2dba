"""The append kernel: a batch of samples goes straight into the open chunks of their series.

Mirrors ``memSeries.append`` and ``computeChunkEndTime`` of ``tsdb/head_append.go``. What is known of a series
is one cache line of eight integers, its open chunk a chain of blocks (``head_blocks``), and a full chunk
becomes a line in the table of closed chunks, linked to the one before it.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from wavetank.jit import kernel
from wavetank.tsdb.chunkenc.bits import Word, prefetch, put_uvarint
from wavetank.tsdb.chunkenc.xor import LEADING_UNSET, xor_put_first, xor_time_code, xor_value_code
from wavetank.tsdb.head_blocks import PAYLOAD_BITS, RESERVE_BLOCKS, put_chained, take_block

__all__ = [
    "APPENDED",
    "DUPLICATE",
    "LAST_IS_HISTOGRAM",
    "OUT_OF_BOUNDS",
    "OUT_OF_ORDER",
    "REPEATED",
    "STATE_WIDTH",
    "UNKNOWN_SERIES",
    "append_samples",
    "close_open_chunks",
]

Bytes = npt.NDArray[np.uint8]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]

# Columns of a series' state
LAST_T, LAST_DELTA, LAST_VALUE, PACKED, BLOCKS, BIT, CHUNK_MIN_T, NEXT_AT = range(8)
STATE_WIDTH: Final = 8
# PACKED: samples in the open chunk (16 bits), leading (8), trailing (8), flags
# BLOCKS: first (upper half) and last block of the open chunk, -1 if there is none; BIT: its length in bits
HAS_SAMPLE: Final = 1 << 40
LAST_IS_HISTOGRAM: Final = 1 << 41

# Outcomes of one sample
APPENDED: Final = 0
REPEATED: Final = 1  # same time, same value: nothing to do
DUPLICATE: Final = 2
OUT_OF_ORDER: Final = 3
UNKNOWN_SERIES: Final = 4
OUT_OF_BOUNDS: Final = 5

_AHEAD: Final = 16  # samples
SAMPLES_PER_CHUNK: Final = 120
CHUNK_BYTES_MAX: Final = 1005
_ENCODING_XOR = 1


@kernel(inline=True)
def _close(
    row: Word,
    state: npt.NDArray[np.int64],
    last_closed: Int32s,
    closed_rows: Int32s,
    closed_prev: Int32s,
    closed_times: npt.NDArray[np.int64],
    closed_where: Int64s,
    closed_sizes: npt.NDArray[np.int32],
    counters: Int64s,
) -> None:
    """Move the open chunk of a row to the table of closed chunks; it stays in its blocks for now."""
    packed = state[row, PACKED]
    count = packed & 0xFFFF
    index = counters[0]
    counters[0] = index + 1
    closed_rows[index] = row
    closed_prev[index] = last_closed[row]
    closed_times[index, 0] = state[row, CHUNK_MIN_T]
    closed_times[index, 1] = state[row, LAST_T]
    closed_where[index] = state[row, BLOCKS] >> 32
    closed_sizes[index, 0] = (state[row, BIT] + 7) >> 3
    closed_sizes[index, 1] = count | (_ENCODING_XOR << 16)
    last_closed[row] = index
    state[row, BLOCKS] = -1
    state[row, PACKED] = packed & ~np.int64(0xFFFF)


_TABLES = (
    "int64[:, ::1], int32[::1], uint8[::1], int64[::1], int64[::1], int32[::1], int32[::1], int64[:, ::1],"
    " int64[::1], int32[:, ::1], int64[::1]"
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
    words: Int64s,
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
    appended = 0
    low = counters[2]
    high = counters[3]
    blocks_max = len(words) // 8 - RESERVE_BLOCKS
    done = len(refs)
    for i in range(first, len(refs)):
        ref = refs[i]
        row: Word = np.int64(-1)
        if 0 <= ref < len(row_of_ref):
            row = np.int64(row_of_ref[ref])
        if row < 0:
            outcomes[i] = UNKNOWN_SERIES
            continue
        if i + _AHEAD < len(refs):
            # What the samples after this one touch is on its way while this one is written.
            soon = refs[i + _AHEAD]
            if 0 <= soon < len(row_of_ref):
                prefetch(state, np.int64(row_of_ref[soon]) * 8)
            next_ref = refs[i + _AHEAD // 2]
            if 0 <= next_ref < len(row_of_ref) and row_of_ref[next_ref] >= 0:
                prefetch(words, (state[row_of_ref[next_ref], BLOCKS] & 0xFFFFFFFF) * 8)
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
        if arena_state[0] > blocks_max or counters[0] >= len(closed_rows):
            done = i
            break
        chain: Word = state[row, BLOCKS]
        count: Word = packed & 0xFFFF
        if chain >= 0 and (
            t >= state[row, NEXT_AT]
            or count >= 2 * SAMPLES_PER_CHUNK
            or (state[row, BIT] >> 3) > CHUNK_BYTES_MAX
        ):
            _close(
                row,
                state,
                last_closed,
                closed_rows,
                closed_prev,
                closed_times,
                closed_where,
                closed_sizes,
                counters,
            )
            chain = np.int64(-1)
            count = np.int64(0)
        leading: Word = np.int64(LEADING_UNSET)
        trailing: Word = np.int64(0)
        if chain < 0:
            block: Word = take_block(words, arena_state)
            chain = block << 32
            position: Word = xor_put_first(arena, block * 64, t, bits) - block * 512
            state[row, LAST_DELTA] = 0
            state[row, CHUNK_MIN_T] = t
            remainder = t % chunk_range  # Python's modulo: never negative
            state[row, NEXT_AT] = t - remainder + chunk_range
        else:
            position = state[row, BIT]
            block = chain & 0xFFFFFFFF
            # a full block stays the last until more comes
            inside: Word = np.int64(np.uint64(position - 1) % np.uint64(PAYLOAD_BITS)) + 1
            delta = t - state[row, LAST_T]
            code: Word = np.uint64(0)
            size: Word = np.int64(0)
            if count == 1:
                at = put_uvarint(arena, block * 64 + (inside >> 3), np.uint64(delta))
                position += (at - block * 64) * 8 - inside
                inside = (at - block * 64) * 8
            else:
                leading = (packed >> 16) & 0xFF
                trailing = (packed >> 24) & 0xFF
                code, size = xor_time_code(delta - state[row, LAST_DELTA])
                position += size
                if size == 68:
                    block, inside = put_chained(
                        arena, words, arena_state, block, inside, np.uint64(15), np.int64(4)
                    )
                    block, inside = put_chained(arena, words, arena_state, block, inside, code, np.int64(64))
                    code = np.uint64(0)
                    size = np.int64(0)
            head, head_size, body, body_size, leading, trailing = xor_value_code(
                np.uint64(state[row, LAST_VALUE]), bits, leading, trailing
            )
            position += head_size + body_size
            head |= code << np.uint64(head_size)
            head_size += size
            if head_size + body_size <= 64:
                head = (head << np.uint64(body_size)) | body if body_size else head
                head_size += body_size
                body_size = np.int64(0)
            block, inside = put_chained(arena, words, arena_state, block, inside, head, head_size)
            if body_size:
                block, inside = put_chained(arena, words, arena_state, block, inside, body, body_size)
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
        state[row, BLOCKS] = (chain & ~np.int64(0xFFFFFFFF)) | block
        state[row, PACKED] = (count + 1) | (leading << 16) | (trailing << 24) | HAS_SAMPLE
        outcomes[i] = APPENDED
        appended += 1
        low = min(low, t)
        high = max(high, t)
    counters[1] += appended
    counters[2] = low
    counters[3] = high
    return done


@kernel(f"int64(int64[::1], {_TABLES})")
def close_open_chunks(
    rows: Int64s,
    state: npt.NDArray[np.int64],
    last_closed: Int32s,
    arena: Bytes,
    words: Int64s,
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
        if state[rows[i], BLOCKS] >= 0:
            _close(
                rows[i],
                state,
                last_closed,
                closed_rows,
                closed_prev,
                closed_times,
                closed_where,
                closed_sizes,
                counters,
            )
            done += 1
    return done
