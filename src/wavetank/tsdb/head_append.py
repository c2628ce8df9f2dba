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
from wavetank.tsdb.chunkenc.bits import Word, prefetch
from wavetank.tsdb.chunkenc.xor import LEADING_UNSET, xor_time_code, xor_value_code
from wavetank.tsdb.head_blocks import RESERVE_BLOCKS, put_chained, put_uvarint_chained, take_block

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


@kernel(inline=True, allocates=False)
def _close(
    row: Word,
    state: Int64s,
    last_closed: Int32s,
    closed_rows: Int32s,
    closed_prev: Int32s,
    closed_times: npt.NDArray[np.int64],
    closed_where: Int64s,
    closed_sizes: npt.NDArray[np.int32],
    counters: Int64s,
) -> None:
    """Move the open chunk of a row to the table of closed chunks; it stays in its blocks for now."""
    packed = state[row * 8 + PACKED]
    count = packed & 0xFFFF
    index = counters[0]
    counters[0] = index + 1
    closed_rows[index] = row
    closed_prev[index] = last_closed[row]
    closed_times[index, 0] = state[row * 8 + CHUNK_MIN_T]
    closed_times[index, 1] = state[row * 8 + LAST_T]
    closed_where[index] = state[row * 8 + BLOCKS] >> 32
    closed_sizes[index, 0] = (state[row * 8 + BIT] + 7) >> 3
    closed_sizes[index, 1] = count | (_ENCODING_XOR << 16)
    last_closed[row] = index
    state[row * 8 + BLOCKS] = -1
    state[row * 8 + PACKED] = packed & ~np.int64(0xFFFF)


_TABLES = (
    "int64[::1], int32[::1], uint64[::1], int32[::1], int64[::1], int32[::1], int32[::1], int64[:, ::1],"
    " int64[::1], int32[:, ::1], int64[::1]"
)


@kernel(
    f"int64(int64[::1], int64[::1], float64[::1], int64, uint8[::1], int32[::1], {_TABLES}, int64, int64)",
    allocates=False,
)
def append_samples(
    refs: Int64s,
    timestamps: Int64s,
    values: Float64s,
    first: Word,
    outcomes: Bytes,
    row_numbers: Int32s,
    state: Int64s,
    last_closed: Int32s,
    words: npt.NDArray[np.uint64],
    links: Int32s,
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
    blocks_max = len(links) - RESERVE_BLOCKS
    known = np.uint64(len(row_numbers))
    total = len(refs)
    done = total
    for i in range(first, total):
        # Unsigned, a negative ref is a large one; and no code for negative indexes is made.
        at = np.uint64(i)
        ref = np.uint64(refs[at])
        row = np.int64(-1)
        if ref < known:
            row = np.int64(row_numbers[ref]) - 1
        if row < 0:
            outcomes[at] = UNKNOWN_SERIES
            continue
        if i + _AHEAD < total:
            # What the samples after this one touch is on its way while this one is written.
            soon = np.uint64(refs[at + np.uint64(_AHEAD)])
            if soon < known:
                prefetch(state, np.int64(row_numbers[soon]) * 8 - 8)
            following = np.uint64(refs[at + np.uint64(_AHEAD // 2)])
            if following < known and row_numbers[following] > 0:
                where = np.uint64(row_numbers[following] - 1) * np.uint64(8)
                prefetch(words, (state[where + np.uint64(BLOCKS)] & 0xFFFFFFFF) * 8)
        of = np.uint64(row) * np.uint64(8)
        t = timestamps[at]
        bits = bits_in[at]
        packed: Word = state[of + np.uint64(PACKED)]
        last = state[of + np.uint64(LAST_T)]
        previous = np.uint64(state[of + np.uint64(LAST_VALUE)])
        if packed & HAS_SAMPLE:
            if t <= last:
                if t < last:
                    outcomes[at] = OUT_OF_ORDER
                elif previous == bits and not packed & LAST_IS_HISTOGRAM:
                    outcomes[at] = REPEATED
                else:
                    outcomes[at] = DUPLICATE
                continue
        elif t < min_valid:
            outcomes[at] = OUT_OF_BOUNDS
            continue
        if arena_state[0] > blocks_max or counters[0] >= len(closed_rows):
            done = i
            break
        chain: Word = state[of + np.uint64(BLOCKS)]
        position: Word = state[of + np.uint64(BIT)]
        count: Word = packed & 0xFFFF
        if chain >= 0 and (
            t >= state[of + np.uint64(NEXT_AT)]
            or count >= 2 * SAMPLES_PER_CHUNK
            or (position >> 3) > CHUNK_BYTES_MAX
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
            block: Word = take_block(words, links, arena_state)
            chain = block << 32
            # two bytes stay for the count
            zigzag = (np.uint64(t) << np.uint64(1)) ^ np.uint64(t >> np.int64(63))
            block, inside = put_uvarint_chained(words, links, arena_state, block, np.int64(16), zigzag)
            block, inside = put_chained(words, links, arena_state, block, inside, bits, np.int64(64))
            position = inside
            state[of + np.uint64(LAST_DELTA)] = 0
            state[of + np.uint64(CHUNK_MIN_T)] = t
            remainder = t % chunk_range  # Python's modulo: never negative
            state[of + np.uint64(NEXT_AT)] = t - remainder + chunk_range
        else:
            block = chain & 0xFFFFFFFF
            # a full block stays the last until more comes
            inside = ((position - 1) & 511) + 1
            before = inside
            delta = t - last
            code: Word = np.uint64(0)
            size: Word = np.int64(0)
            if count == 1:
                block, inside = put_uvarint_chained(
                    words, links, arena_state, block, inside, np.uint64(delta)
                )
                position += (inside - before) & 511
            else:
                leading = (packed >> 16) & 0xFF
                trailing = (packed >> 24) & 0xFF
                code, size = xor_time_code(delta - state[of + np.uint64(LAST_DELTA)])
                position += size
                if size == 68:
                    block, inside = put_chained(
                        words, links, arena_state, block, inside, np.uint64(15), np.int64(4)
                    )
                    block, inside = put_chained(words, links, arena_state, block, inside, code, np.int64(64))
                    code = np.uint64(0)
                    size = np.int64(0)
            head, head_size, body, body_size, leading, trailing = xor_value_code(
                previous, bits, leading, trailing
            )
            position += head_size + body_size
            head |= code << np.uint64(head_size)
            head_size += size
            if head_size + body_size <= 64:
                # a shift by 64 does nothing, so by one less and one
                head = ((head << np.uint64(1)) << np.uint64(body_size - 1)) | body if body_size else head
                head_size += body_size
                body_size = np.int64(0)
            block, inside = put_chained(words, links, arena_state, block, inside, head, head_size)
            if body_size:
                block, inside = put_chained(words, links, arena_state, block, inside, body, body_size)
            state[of + np.uint64(LAST_DELTA)] = delta
            if count == SAMPLES_PER_CHUNK // 4:
                # A quarter full: spread the chunks of this range evenly instead of leaving a stub at its end.
                begin = state[of + np.uint64(CHUNK_MIN_T)]
                until = state[of + np.uint64(NEXT_AT)] - begin
                chunks = np.int64(until / ((t - begin + 1) * 4.0))
                if chunks > 1:
                    state[of + np.uint64(NEXT_AT)] = begin + until // chunks
        state[of + np.uint64(LAST_T)] = t
        state[of + np.uint64(LAST_VALUE)] = np.int64(bits)
        state[of + np.uint64(BIT)] = position
        state[of + np.uint64(BLOCKS)] = (chain & ~np.int64(0xFFFFFFFF)) | block
        state[of + np.uint64(PACKED)] = (count + 1) | (leading << 16) | (trailing << 24) | HAS_SAMPLE
        outcomes[at] = APPENDED
        appended += 1
        low = min(low, t)
        high = max(high, t)
    counters[1] += appended
    counters[2] = low
    counters[3] = high
    return done


@kernel(f"int64(int64[::1], {_TABLES})", allocates=False)
def close_open_chunks(
    rows: Int64s,
    state: Int64s,
    last_closed: Int32s,
    words: npt.NDArray[np.uint64],
    links: Int32s,
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
        if state[rows[i] * 8 + BLOCKS] >= 0:
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
