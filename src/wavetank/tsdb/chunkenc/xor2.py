"""The second float encoding of Prometheus 3.14. Mirrors ``chunkenc/xor2.go``.

Sample count (u16), a header byte for start timestamps, then as XOR, except that from sample 2 on one prefix
code says both how the time goes on and whether the value changes, and a staleness marker costs five bits and
leaves the baseline of later values alone. The start timestamp of the first sample follows it if the header's
top bit says so; from the sample on that its low bits name, the first one whose start differs, each sample has
its own, as the time of the sample before it less the start, and then the change of that.

Written only on demand: readers of Prometheus 2 do not know it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from wavetank.jit import kernel
from wavetank.tsdb.chunkenc.bits import (
    Word,
    get_bits,
    leading_zeros,
    put_bits,
    put_u64,
    put_uvarint,
    put_varint,
    trailing_zeros,
    u64_at,
    uvarint_at,
    varint_at,
)
from wavetank.tsdb.chunkenc.start_codes import CHANGE_MAX
from wavetank.tsdb.chunkenc.xor import LEADING_UNSET

__all__ = ["XOR2_SAMPLE_BYTES_MAX", "decode_xor2", "decode_xor2_with_starts", "encode_xor2"]

Bytes = npt.NDArray[np.uint8]
Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]

XOR2_SAMPLE_BYTES_MAX = 30  # the longest codes of time, value and start together
_STALE = 0x7FF0000000000002
_LEADING_MAX = 31


@kernel(inline=True)
def _window(buffer: Bytes, at: Word, end: Word) -> tuple[Word, Word, Word]:
    """A new window of significant bits: ``(lead, size, next)``."""
    lead = np.int64(get_bits(buffer, at, 5, end))
    size = np.int64(get_bits(buffer, at + 5, 6, end))
    return lead, size if size > 0 else np.int64(64), at + 11


@kernel(inline=True)
def _varbit(buffer: Bytes, at: Word, end: Word) -> tuple[Word, Word]:
    """A signed integer of variable width: ``(value, next)``."""
    ones = 0
    while ones < 8 and get_bits(buffer, at, 1, end) == np.uint64(1):
        ones += 1
        at += 1
    if ones < 8:
        at += 1
    widths = (0, 3, 6, 9, 12, 18, 25, 56, 64)
    width = widths[ones]
    value = np.int64(get_bits(buffer, at, width, end))
    # half the range and one more is positive, as the delta codes of XOR have it
    if 0 < width < 64 and value > (np.int64(1) << (width - 1)):
        value -= np.int64(1) << width
    return value, at + width


@kernel(
    "int64(uint8[::1], int64[::1], int64[::1], int64[::1], int64[::1], int64[::1], float64[::1],"
    " int64[::1], int64, int64)"
)
def decode_xor2_with_starts(
    buffer: Bytes,
    starts: Int64s,
    lengths: Int64s,
    counts: Int64s,
    positions: Int64s,
    timestamps: Int64s,
    values: Float64s,
    begins: Int64s,
    first: Word,
    last: Word,
) -> Word:
    """As ``decode_xor``; start timestamps go to ``begins``, 0 if unknown, unless it is empty."""
    wanted = len(begins) > 0
    out_bits = values.view(np.uint64)
    stale = np.uint64(0x7FF0000000000002)
    for k in range(first, last):
        count = counts[k]
        if count == 0:
            continue
        end = starts[k] + lengths[k]
        byte = starts[k] + 3
        if byte + 9 > end:
            return k
        header = np.int64(buffer[starts[k] + 2])
        out = positions[k]
        t, byte = varint_at(buffer, byte, end)
        if byte < 0 or byte + 8 > end:
            return k
        value = u64_at(buffer, byte)
        byte += 8
        timestamps[out] = t
        out_bits[out] = value
        base = np.uint64(0) if value == stale else value
        start = np.int64(0)
        if header & 0x80:
            back, byte = varint_at(buffer, byte, end)
            if byte < 0:
                return k
            start = t - back
        if wanted:
            begins[out] = start
        before = np.int64(0)  # the time of the sample before, less the start
        changes = header & 0x7F
        delta = np.int64(0)
        lead = np.int64(0)
        size = np.int64(0)
        at = byte * 8
        for i in range(1, count):
            form = 1  # 0 unchanged, 1 a code for the value follows, 2 changed, 3 stale
            if i == 1:
                raw, byte = uvarint_at(buffer, byte, end)
                if byte < 0:
                    return k
                delta = np.int64(raw)
                at = byte * 8
            else:
                ones = 0
                while ones < 5 and get_bits(buffer, at + ones, 1, end) == np.uint64(1):
                    ones += 1
                at += ones if ones == 5 else ones + 1
                if ones == 0:
                    form = 0
                elif ones == 1:
                    form = 2
                elif ones == 5:
                    form = 3
                else:
                    width = 13 if ones == 2 else 20 if ones == 3 else 64
                    dod = np.int64(get_bits(buffer, at, width, end))
                    if width < 64 and dod >= (1 << (width - 1)):
                        dod -= 1 << width
                    at += width
                    delta += dod
            previous = t
            t += delta
            if form == 1:
                if get_bits(buffer, at, 1, end) == np.uint64(0):
                    at += 1
                    form = 0
                elif get_bits(buffer, at, 2, end) == np.uint64(2):
                    at += 2
                    form = 4  # reuse the window
                elif get_bits(buffer, at, 3, end) == np.uint64(6):
                    lead, size, at = _window(buffer, at + 3, end)
                    form = 4
                else:
                    at += 3
                    form = 3
            elif form == 2:
                if get_bits(buffer, at, 1, end) == np.uint64(1):
                    lead, size, at = _window(buffer, at + 1, end)
                else:
                    at += 1
                form = 4
            if form == 4:
                if size == 0 or lead + size > 64:
                    return k
                base ^= get_bits(buffer, at, size, end) << np.uint64(64 - lead - size)
                at += size
            timestamps[out + i] = t
            out_bits[out + i] = stale if form == 3 else base
            if changes > 0 and i >= changes:
                change, at = _varbit(buffer, at, end)
                before += change
                start = previous - before
            if wanted:
                begins[out + i] = start
            if (at + 7) // 8 > end:
                return k
    return -1


def decode_xor2(*arguments: Any) -> int:
    """As ``decode_xor``; start timestamps are passed over."""
    run: Any = decode_xor2_with_starts
    return int(run(*arguments[:-2], np.empty(0, np.int64), *arguments[-2:]))


@kernel(inline=True)
def _put_varbit(out: Bytes, position: Word, value: Word) -> Word:
    """A signed integer of variable width; returns the new bit position."""
    if value == 0:
        return put_bits(out, position, np.uint64(0), 1)
    widths = (3, 6, 9, 12, 18, 25, 56)
    ones = 1
    for width in widths:
        limit = np.int64(1) << (width - 1)
        if -limit < value <= limit:
            # as many ones as the width's place says, and a zero
            prefix = (np.uint64(1) << np.uint64(ones + 1)) - np.uint64(2)
            position = put_bits(out, position, prefix, ones + 1)
            return put_bits(out, position, np.uint64(value), width)
        ones += 1
    position = put_bits(out, position, np.uint64(0xFF), 8)
    return put_bits(out, position, np.uint64(value), 64)


@kernel(inline=True)
def _put_change(
    out: Bytes,
    position: Word,
    delta: Word,
    leading: Word,
    trailing: Word,
    reuse: Word,
    fresh: Word,
    size: Word,
) -> tuple[Word, Word, Word]:
    """A changed value: the code for the window in force or for a new one, then the bits inside it."""
    lead: Word = min(np.int64(leading_zeros(delta)), _LEADING_MAX)
    trail: Word = np.int64(trailing_zeros(delta))
    if leading != LEADING_UNSET and lead >= leading and trail >= trailing:
        position = put_bits(out, position, np.uint64(reuse), size)
        width = 64 - leading - trailing
        position = put_bits(out, position, delta >> np.uint64(trailing), width)
        return position, leading, trailing
    width = 64 - lead - trail
    position = put_bits(out, position, np.uint64(fresh), size + (fresh > 1))
    position = put_bits(out, position, np.uint64((lead << 6) | (width & 63)), 11)
    position = put_bits(out, position, delta >> np.uint64(trail), width)
    return position, lead, trail


@kernel(inline=True)
def _put_value(
    out: Bytes, position: Word, bits: Word, base: Word, leading: Word, trailing: Word
) -> tuple[Word, Word, Word]:
    """A value where the time's code says nothing of it."""
    if bits == np.uint64(_STALE):
        return put_bits(out, position, np.uint64(7), 3), leading, trailing
    if bits == base:
        return put_bits(out, position, np.uint64(0), 1), leading, trailing
    return _put_change(out, position, bits ^ base, leading, trailing, 2, 6, 2)


@kernel(inline=True)
def _put_next(
    out: Bytes, position: Word, dod: Word, bits: Word, base: Word, leading: Word, trailing: Word
) -> tuple[Word, Word, Word]:
    """Time and value of a sample after the second."""
    if dod == 0:
        if bits == np.uint64(_STALE):
            return put_bits(out, position, np.uint64(31), 5), leading, trailing
        if bits == base:
            return put_bits(out, position, np.uint64(0), 1), leading, trailing
        position = put_bits(out, position, np.uint64(2), 2)
        return _put_change(out, position, bits ^ base, leading, trailing, 0, 1, 1)
    if -4096 <= dod <= 4095:
        position = put_bits(out, position, np.uint64((6 << 13) | (dod & 0x1FFF)), 16)
    elif -524288 <= dod <= 524287:
        position = put_bits(out, position, np.uint64((14 << 20) | (dod & 0xFFFFF)), 24)
    else:
        position = put_bits(out, position, np.uint64(30), 5)
        position = put_bits(out, position, np.uint64(dod), 64)
    return _put_value(out, position, bits, base, leading, trailing)


@kernel("int64(int64[::1], float64[::1], int64[::1], int64[::1], uint8[::1], int64[::1])")
def encode_xor2(
    timestamps: Int64s, values: Float64s, begins: Int64s, cuts: Int64s, out: Bytes, starts: Int64s
) -> Word:
    """Chunks of the samples ``cuts[k]:cuts[k + 1]``, one after the other into zeroed ``out``.

    ``begins`` are their start timestamps, 0 if unknown, or empty; ``starts[k]`` becomes where chunk ``k`` is.
    """
    known = len(begins) > 0
    all_bits = values.view(np.uint64)
    at: Word = np.int64(0)
    for k in range(len(cuts) - 1):
        first = cuts[k]
        count = cuts[k + 1] - first
        starts[k] = at
        out[at] = count >> 8
        out[at + 1] = count & 0xFF
        head = at + 2
        t = timestamps[first]
        bits = all_bits[first]
        base = np.uint64(0) if bits == np.uint64(_STALE) else bits
        start = begins[first] if known else np.int64(0)
        byte = put_u64(out, put_varint(out, head + 1, t), bits)
        if start != 0:
            byte = put_varint(out, byte, t - start)
            out[head] = 0x80
        position: Word = byte * 8
        delta = np.int64(0)
        back = np.int64(0)
        change = 0
        leading: Word = np.int64(LEADING_UNSET)
        trailing: Word = np.int64(0)
        for i in range(1, count):
            now = timestamps[first + i] - t
            bits = all_bits[first + i]
            if i == 1:
                position = put_uvarint(out, position >> 3, np.uint64(now)) * 8
                position, leading, trailing = _put_value(out, position, bits, base, leading, trailing)
            else:
                position, leading, trailing = _put_next(
                    out, position, now - delta, bits, base, leading, trailing
                )
            begin = begins[first + i] if known else np.int64(0)
            if change > 0:
                position = _put_varbit(out, position, t - begin - back)
                back = t - begin
            elif begin != start or i == CHANGE_MAX:
                change = i
                out[head] |= np.uint8(i)
                back = t - begin
                position = _put_varbit(out, position, back)
            start = begin
            if bits != np.uint64(_STALE):
                base = bits
            delta = now
            t += now
        at = (position + 7) >> 3
    starts[len(cuts) - 1] = at
    return at
