"""The float chunk of Prometheus: delta-of-delta timestamps and XORed values. Mirrors ``chunkenc/xor.go``.

Layout: sample count (u16), then a bit stream. Sample 0 is a varint time and 64 value bits, sample 1 a
uvarint delta and a value code, every later one a code for the change of the delta and a value code.
Chunks of many series are read in one call, since starting a kernel costs more than reading a chunk.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wavetank.jit import kernel
from wavetank.tsdb.chunkenc.bits import (
    Word,
    leading_zeros,
    put_bits,
    put_u64,
    put_uvarint,
    put_varint,
    trailing_zeros,
)

__all__ = [
    "LEADING_UNSET",
    "decode_xor",
    "xor_chunk",
    "xor_put_first",
    "xor_put_next",
    "xor_put_second",
    "xor_time_code",
    "xor_value_code",
]

Bytes = npt.NDArray[np.uint8]
Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]

LEADING_UNSET = 0xFF
_LEADING_MAX = 31


@kernel(inline=True, allocates=False)
def xor_time_code(dod: Word) -> tuple[Word, Word]:
    """The code for a change of the time delta: bits and their count; count 68 means ``1111`` and 64 bits."""
    if dod == 0:
        return np.uint64(0), np.int64(1)
    if -8191 <= dod <= 8192:
        return np.uint64((2 << 14) | (dod & 0x3FFF)), np.int64(16)
    if -65535 <= dod <= 65536:
        return np.uint64((6 << 17) | (dod & 0x1FFFF)), np.int64(20)
    if -524287 <= dod <= 524288:
        return np.uint64((14 << 20) | (dod & 0xFFFFF)), np.int64(24)
    return np.uint64(dod), np.int64(68)


@kernel(inline=True, allocates=False)
def xor_value_code(
    previous: Word, bits: Word, leading: Word, trailing: Word
) -> tuple[Word, Word, Word, Word, Word, Word]:
    """One value's code: control bits and their count, significant bits and theirs, the window in force."""
    delta = bits ^ previous
    if delta == np.uint64(0):
        return np.uint64(0), np.int64(1), np.uint64(0), np.int64(0), leading, trailing
    lead: Word = min(np.int64(leading_zeros(delta)), _LEADING_MAX)
    trail: Word = np.int64(trailing_zeros(delta))
    if leading != LEADING_UNSET and lead >= leading and trail >= trailing:
        size = 64 - leading - trailing
        return np.uint64(2), np.int64(2), delta >> np.uint64(trailing), size, leading, trailing
    size = 64 - lead - trail
    # 64 significant bits are written as 0: the field has six bits.
    head = np.uint64((3 << 11) | (lead << 6) | (size & 63))
    return head, np.int64(13), delta >> np.uint64(trail), size, lead, trail


@kernel(inline=True, allocates=False)
def put_xor_value(
    buffer: Bytes, position: Word, previous: Word, bits: Word, leading: Word, trailing: Word
) -> tuple[Word, Word, Word]:
    """Write one value code; returns ``(bit position, leading, trailing)`` of the window now in force."""
    head, head_size, body, body_size, leading, trailing = xor_value_code(previous, bits, leading, trailing)
    position = put_bits(buffer, position, head, head_size)
    if body_size:
        position = put_bits(buffer, position, body, body_size)
    return position, leading, trailing


@kernel(inline=True, allocates=False)
def xor_put_first(buffer: Bytes, start: Word, timestamp: Word, bits: Word) -> Word:
    """Sample 0 into a zeroed chunk at byte ``start``; returns the bit position relative to ``buffer``."""
    at = put_varint(buffer, start + 2, timestamp)
    at = put_u64(buffer, at, bits)
    return at * 8


@kernel(inline=True, allocates=False)
def xor_put_second(
    buffer: Bytes, position: Word, delta: Word, previous: Word, bits: Word
) -> tuple[Word, Word, Word]:
    """Sample 1; returns as ``put_xor_value``."""
    at = put_uvarint(buffer, position >> 3, np.uint64(delta))
    return put_xor_value(buffer, at * 8, previous, bits, LEADING_UNSET, 0)


@kernel(inline=True, allocates=False)
def xor_put_next(
    buffer: Bytes, position: Word, dod: Word, previous: Word, bits: Word, leading: Word, trailing: Word
) -> tuple[Word, Word, Word]:
    """Any later sample, ``dod`` being the change of the time delta; returns as ``put_xor_value``."""
    code, size = xor_time_code(dod)
    if size == 68:
        position = put_bits(buffer, position, np.uint64(15), 4)
        size = np.int64(64)
    position = put_bits(buffer, position, code, size)
    return put_xor_value(buffer, position, previous, bits, leading, trailing)


@kernel("int64(int64[::1], float64[::1], uint8[::1])", allocates=False)
def _encode(timestamps: Int64s, values: Float64s, out: Bytes) -> Word:
    bits = values.view(np.uint64)
    count = len(timestamps)
    out[0] = count >> 8
    out[1] = count & 0xFF
    if count == 0:
        return 2
    position = xor_put_first(out, 0, timestamps[0], bits[0])
    delta: Word = 0
    leading: Word = LEADING_UNSET
    trailing: Word = 0
    for i in range(1, count):
        now = timestamps[i] - timestamps[i - 1]
        if i == 1:
            position, leading, trailing = xor_put_second(out, position, now, bits[0], bits[1])
        else:
            position, leading, trailing = xor_put_next(
                out, position, now - delta, bits[i - 1], bits[i], leading, trailing
            )
        delta = now
    return (position + 7) >> 3


def xor_chunk(timestamps_ms: Int64s, values: Float64s) -> bytes:
    """The chunk of up to 65535 samples, in rising order of time."""
    assert len(timestamps_ms) == len(values) <= 0xFFFF
    out = np.zeros(len(values) * 19 + 32, np.uint8)
    size = _encode(np.ascontiguousarray(timestamps_ms), np.ascontiguousarray(values), out)
    return out[:size].tobytes()


_SIGNATURE = (
    "int64(uint8[::1], int64[::1], int64[::1], int64[::1], int64[::1], int64[::1], float64[::1],"
    " int64, int64)"
)


@kernel(_SIGNATURE, allocates=False)
def decode_xor(
    buffer: Bytes,
    starts: Int64s,
    lengths: Int64s,
    counts: Int64s,
    positions: Int64s,
    timestamps: Int64s,
    values: Float64s,
    first: Word,
    last: Word,
) -> Word:
    """Read the chunks ``first:last``, chunk ``k`` being ``buffer[starts[k]:starts[k] + lengths[k]]``.

    Its ``counts[k]`` samples go to ``positions[k]`` of the columns. Returns -1, or the index of the first
    chunk that ends before its samples do. The bit reservoir is refilled a byte at a time, so that nothing
    is read past the chunk's end.
    """
    bits_out = values.view(np.uint64)
    one = np.uint64(1)
    for k in range(first, last):
        at = starts[k] + 2
        end = starts[k] + lengths[k]
        count = counts[k]
        out = positions[k]
        if count == 0:
            continue
        # sample 0: varint time, eight value bytes
        raw = np.uint64(0)
        shift = 0
        while at < end and shift < 70:
            byte = np.uint64(buffer[at])
            at += 1
            raw |= (byte & np.uint64(0x7F)) << np.uint64(shift)
            if byte < np.uint64(0x80):
                break
            shift += 7
        t = np.int64(raw >> one)
        if raw & one:
            t = ~t
        if at + 8 > end:
            return k
        value = np.uint64(0)
        for j in range(8):
            value = (value << np.uint64(8)) | np.uint64(buffer[at + j])
        at += 8
        timestamps[out] = t
        bits_out[out] = value
        delta = np.int64(0)
        if count > 1:
            raw = np.uint64(0)
            shift = 0
            while at < end and shift < 70:
                byte = np.uint64(buffer[at])
                at += 1
                raw |= (byte & np.uint64(0x7F)) << np.uint64(shift)
                if byte < np.uint64(0x80):
                    break
                shift += 7
            delta = np.int64(raw)
        # `have` valid bits stand at the top of `pool`
        pool = np.uint64(0)
        have = 0
        lead: Word = 0
        size: Word = 0
        for i in range(1, count):
            if i > 1:
                while have <= 56:
                    pool |= (np.uint64(buffer[at]) if at < end else np.uint64(0)) << np.uint64(56 - have)
                    at += 1
                    have += 8
                dod = np.int64(0)
                if pool >> np.uint64(63) == 0:
                    pool <<= one
                    have -= 1
                else:
                    prefix = pool >> np.uint64(60)
                    if prefix < np.uint64(12):
                        skip = 2
                        width = 14
                    elif prefix < np.uint64(14):
                        skip = 3
                        width = 17
                    elif prefix < np.uint64(15):
                        skip = 4
                        width = 20
                    else:
                        skip = 4
                        width = 64
                    pool <<= np.uint64(skip)
                    have -= skip
                    if width < 64:
                        field = np.int64(pool >> np.uint64(64 - width))
                        pool <<= np.uint64(width)
                        have -= width
                        if field > (1 << (width - 1)):
                            field -= 1 << width
                        dod = field
                    else:
                        high = pool >> np.uint64(32)
                        pool <<= np.uint64(32)
                        have -= 32
                        while have <= 56:
                            pool |= (np.uint64(buffer[at]) if at < end else np.uint64(0)) << np.uint64(
                                56 - have
                            )
                            at += 1
                            have += 8
                        low = pool >> np.uint64(32)
                        pool <<= np.uint64(32)
                        have -= 32
                        dod = np.int64((high << np.uint64(32)) | low)
                delta += dod
            t += delta
            while have <= 56:
                pool |= (np.uint64(buffer[at]) if at < end else np.uint64(0)) << np.uint64(56 - have)
                at += 1
                have += 8
            if pool >> np.uint64(63) == 0:
                pool <<= one
                have -= 1
            else:
                if pool >> np.uint64(62) == np.uint64(3):
                    lead = np.int64((pool >> np.uint64(57)) & np.uint64(31))
                    size = np.int64((pool >> np.uint64(51)) & np.uint64(63))
                    if size == 0:
                        size = 64
                    pool <<= np.uint64(13)
                    have -= 13
                else:
                    pool <<= np.uint64(2)
                    have -= 2
                if size == 0 or lead + size > 64:
                    return k
                if size <= 32:
                    while have <= 56:
                        pool |= (np.uint64(buffer[at]) if at < end else np.uint64(0)) << np.uint64(56 - have)
                        at += 1
                        have += 8
                    field_bits = pool >> np.uint64(64 - size)
                    pool <<= np.uint64(size)
                    have -= size
                else:
                    rest = size - 32
                    while have <= 56:
                        pool |= (np.uint64(buffer[at]) if at < end else np.uint64(0)) << np.uint64(56 - have)
                        at += 1
                        have += 8
                    field_bits = pool >> np.uint64(32)
                    pool <<= np.uint64(32)
                    have -= 32
                    while have <= 56:
                        pool |= (np.uint64(buffer[at]) if at < end else np.uint64(0)) << np.uint64(56 - have)
                        at += 1
                        have += 8
                    field_bits = (field_bits << np.uint64(rest)) | (pool >> np.uint64(64 - rest))
                    pool <<= np.uint64(rest)
                    have -= rest
                value ^= field_bits << np.uint64(64 - lead - size)
            timestamps[out + i] = t
            bits_out[out + i] = value
        if at - (have >> 3) > end:
            return k
    return -1
