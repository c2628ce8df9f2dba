"""The second float encoding of Prometheus 3.14, read only. Mirrors ``chunkenc/xor2.go``.

Sample count (u16), a header byte for start timestamps, then as XOR, except that from sample 2 on one prefix
code says both how the time goes on and whether the value changes, and a staleness marker costs five bits and
leaves the baseline of later values alone. Start timestamps are passed over. XOR is what is written, because
other readers know it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wavetank.jit import kernel
from wavetank.tsdb.chunkenc.bits import Word, get_bits, u64_at, uvarint_at, varint_at

__all__ = ["decode_xor2"]

Bytes = npt.NDArray[np.uint8]
Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]


@kernel(inline=True)
def _window(buffer: Bytes, at: Word, end: Word) -> tuple[Word, Word, Word]:
    """A new window of significant bits: ``(lead, size, next)``."""
    lead = np.int64(get_bits(buffer, at, 5, end))
    size = np.int64(get_bits(buffer, at + 5, 6, end))
    return lead, size if size > 0 else np.int64(64), at + 11


@kernel(inline=True)
def _skip_varbit(buffer: Bytes, at: Word, end: Word) -> Word:
    ones = 0
    while ones < 8 and get_bits(buffer, at, 1, end) == np.uint64(1):
        ones += 1
        at += 1
    if ones < 8:
        at += 1
    widths = (0, 3, 6, 9, 12, 18, 25, 56, 64)
    return at + widths[ones]


@kernel(
    "int64(uint8[::1], int64[::1], int64[::1], int64[::1], int64[::1], int64[::1], float64[::1],"
    " int64, int64)"
)
def decode_xor2(
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
    """As ``decode_xor``."""
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
        if header & 0x80:
            _, byte = varint_at(buffer, byte, end)
            if byte < 0:
                return k
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
                at = _skip_varbit(buffer, at, end)
            if (at + 7) // 8 > end:
                return k
    return -1
