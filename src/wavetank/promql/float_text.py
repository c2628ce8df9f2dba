"""Floats as text, shortest digits that read back the same, many at a time.

The digits are found as in R. Giulietti, "The Schubfach way to render doubles" (2020): scale the rounding
interval by a power of ten kept in 128 bits, and take the shortest decimal inside. The layout is that of
Prometheus' HTTP API: plain digits, with an exponent below 1e-6 and from 1e21 on. ``wavetank.model.quoting``
does the same for one float at a time, and the tests compare the two.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from wavetank.jit import kernel
from wavetank.promql.vector import Bools, Floats, Ints

__all__ = ["FLOAT_BYTES_MAX", "STAMP_BYTES", "power_table", "write_matrix", "write_stamps"]

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]
Word = np.uint64

FLOAT_BYTES_MAX: Final = 34  # "-0.0000012345678901234567", and room for the digits before they are cut
STAMP_BYTES: Final = 24  # room for one ``[time,"``
_POWER_MIN: Final = -292
_POWER_MAX: Final = 324


@lru_cache(maxsize=1)
def power_table() -> Words:
    """uint64[617, 2]: 10**k scaled to 128 bits and rounded up, high and low word, for k from -292."""
    out = np.empty((_POWER_MAX - _POWER_MIN + 1, 2), np.uint64)
    for k in range(_POWER_MIN, _POWER_MAX + 1):
        shift = ((k * 1741647) >> 19) - 127
        numerator, denominator = (10**k, 1) if k >= 0 else (1, 10**-k)
        if shift <= 0:
            numerator <<= -shift
        else:
            denominator <<= shift
        scaled = numerator // denominator + 1
        out[k - _POWER_MIN] = scaled >> 64, scaled & (2**64 - 1)
    return out


@kernel(inline=True)
def _high(a: Word, b: Word) -> Word:
    """The upper half of a 64 x 64 bit product."""
    low32 = np.uint64(0xFFFFFFFF)
    s32 = np.uint64(32)
    a0, a1 = a & low32, a >> s32
    b0, b1 = b & low32, b >> s32
    middle = a1 * b0 + ((a0 * b0) >> s32)
    other = a0 * b1 + (middle & low32)
    return a1 * b1 + (middle >> s32) + (other >> s32)


@kernel(inline=True)
def _round_to_odd(high: Word, low: Word, factor: Word) -> Word:
    """factor * (high, low) / 2**128, its last bit set if anything was cut off."""
    y0 = high * factor
    y1 = _high(high, factor)
    added = y0 + _high(low, factor)
    if added < y0:
        y1 += np.uint64(1)
    return y1 | np.uint64(1) if added > np.uint64(1) else y1


@kernel(inline=True)
def _shortest(bits: Word, powers: Words) -> tuple[Word, int]:
    """Digits and exponent of a finite positive float: its value is digits * 10**exponent."""
    one, two, four = np.uint64(1), np.uint64(2), np.uint64(4)
    fraction = bits & np.uint64(0xFFFFFFFFFFFFF)
    biased = int(bits >> np.uint64(52))
    if biased:
        c = fraction | np.uint64(1 << 52)
        q = biased - 1075
        if -53 < q <= 0 and c & ((one << np.uint64(-q)) - one) == np.uint64(0):
            return c >> np.uint64(-q), 0
    else:
        c = fraction
        q = -1074
    closer = fraction == np.uint64(0) and biased > 1
    k = (q * 1262611 - (524031 if closer else 0)) >> 22
    h = np.uint64(q + ((-k * 1741647) >> 19) + 1)
    high, low = powers[-k + 292, 0], powers[-k + 292, 1]
    below = _round_to_odd(high, low, (four * c - (one if closer else two)) << h)
    value = _round_to_odd(high, low, (four * c) << h)
    above = _round_to_odd(high, low, (four * c + two) << h)
    if c & one:
        below += one
        above -= one
    s = value >> two
    if s >= np.uint64(10):
        tens = s // np.uint64(10)
        down = below <= np.uint64(40) * tens
        up = np.uint64(40) * tens + np.uint64(40) <= above
        if down != up:
            return tens + (one if up else np.uint64(0)), k + 1
    down = below <= four * s
    up = four * s + four <= above
    if down != up:
        return s + (one if up else np.uint64(0)), k
    middle = four * s + two
    if value > middle or (value == middle and s & one):
        s += one
    return s, k


@kernel(inline=True)
def _write_padded(out: Bytes, at: int, digits: Word) -> int:
    """Seventeen digits at ``at``; how many there are before the zeros at the end, one at least.

    Eight digits at a time, in pairs; divisions are multiplications by a reciprocal, right below 2**32.
    """
    group = np.uint64(100000000)
    end = at + 17
    while end > at + 1:
        rest = digits // group
        part = digits - rest * group
        digits = rest
        for _ in range(4):
            hundredth = (part * np.uint64(1374389535)) >> np.uint64(37)
            pair = part - hundredth * np.uint64(100)
            tens = (pair * np.uint64(103)) >> np.uint64(10)
            out[end - 2] = np.uint8(np.uint64(48) + tens)
            out[end - 1] = np.uint8(np.uint64(48) + pair - tens * np.uint64(10))
            end -= 2
            part = hundredth
    out[at] = np.uint8(np.uint64(48) + digits)
    length = 17
    while length > 1 and out[at + length - 1] == 48:
        length -= 1
    return length


@kernel(inline=True)
def _write_special(out: Bytes, at: int, x: float) -> int:
    """NaN, infinities and zeros."""
    if x != x:
        out[at], out[at + 1], out[at + 2] = 78, 97, 78
        return at + 3
    if x == 0:
        if math.copysign(1.0, x) < 0:
            out[at] = 45
            at += 1
        out[at] = 48
        return at + 1
    out[at] = 43 if x > 0 else 45
    out[at + 1], out[at + 2], out[at + 3] = 73, 110, 102
    return at + 4


@kernel(inline=True)
def _write_thousandths(out: Bytes, at: int, thousandths: Word) -> int:
    """A whole number of thousandths, the zeros at its end left out."""
    ten = np.uint64(10)
    whole = thousandths // np.uint64(1000)
    rest = thousandths - whole * np.uint64(1000)
    count = 1
    bound = ten
    while whole >= bound:
        bound *= ten
        count += 1
    end = at + count
    for i in range(count):
        tenth = whole // ten
        out[end - 1 - i] = np.uint8(np.uint64(48) + whole - tenth * ten)
        whole = tenth
    if rest == np.uint64(0):
        return end
    hundreds = rest // np.uint64(100)
    rest -= hundreds * np.uint64(100)
    tens = rest // ten
    ones = rest - tens * ten
    out[end] = 46
    out[end + 1] = np.uint8(np.uint64(48) + hundreds)
    if tens == np.uint64(0) and ones == np.uint64(0):
        return end + 2
    out[end + 2] = np.uint8(np.uint64(48) + tens)
    if ones == np.uint64(0):
        return end + 3
    out[end + 3] = np.uint8(np.uint64(48) + ones)
    return end + 4


@kernel(inline=True)
def _write_float(out: Bytes, at: int, x: float, bits: Word, powers: Words) -> int:
    """The text of a float at ``at``; where it ends."""
    size = abs(x)
    if x != x or size == 0 or size == np.inf:
        return _write_special(out, at, x)
    if x < 0:
        out[at] = 45
        at += 1
    if 1e-3 <= size < 1e12:
        # At most three decimals, as most measurements have: under 16 digits, what reads back is shortest.
        scaled = size * 1000.0
        thousandths = np.uint64(scaled)
        if np.float64(thousandths) == scaled and scaled / 1000.0 == size:
            return _write_thousandths(out, at, thousandths)
    digits, exponent = _shortest(bits & np.uint64(0x7FFFFFFFFFFFFFFF), powers)
    point = 17 + exponent  # digits before the decimal point
    while digits < np.uint64(10000000000000000):
        digits *= np.uint64(10)
        point -= 1
    plain = 1e-6 <= size < 1e21
    if plain and point <= 0:
        out[at], out[at + 1] = 48, 46
        for i in range(2, 2 - point):
            out[at + i] = 48
        return at + 2 - point + _write_padded(out, at + 2 - point, digits)
    length = _write_padded(out, at + 1, digits)
    if not plain:
        return _write_exponent(out, at, length, point - 1)
    for i in range(min(point, 17)):
        out[at + i] = out[at + i + 1]
    if length > point:
        out[at + point] = 46
        return at + length + 1
    for i in range(17, point):
        out[at + i] = 48
    return at + point


@kernel(inline=True)
def _write_exponent(out: Bytes, at: int, length: int, exponent: int) -> int:
    """Makes ``?ddd`` at ``at`` to ``d.dde-7`` or ``d.dde+21``."""
    out[at] = out[at + 1]
    at += 1
    if length > 1:
        out[at] = 46
        at += length
    out[at] = 101
    out[at + 1] = 45 if exponent < 0 else 43
    at += 2
    size = abs(exponent)
    if size >= 100:
        out[at] = 48 + size // 100
        at += 1
    if size >= 10:
        out[at] = 48 + size // 10 % 10
        at += 1
    out[at] = 48 + size % 10
    return at + 1


@kernel("void(int64[::1], uint8[:, ::1], int64[::1])")
def write_stamps(times_ms: Ints, out: Bytes, lengths: Ints) -> None:
    """``[time,"`` of each time, in seconds, with three decimals where they are not whole; uint8[k, 24]."""
    for i in range(len(times_ms)):
        t = times_ms[i]
        out[i, 0] = 91
        at = 1
        if t < 0:
            out[i, 1] = 45
            at = 2
            t = -t
        seconds, rest = t // 1000, t % 1000
        digits = 1
        bound = seconds // 10
        while bound > 0:
            digits += 1
            bound //= 10
        for k in range(digits):
            out[i, at + digits - 1 - k] = 48 + seconds % 10
            seconds //= 10
        at += digits
        if rest:
            out[i, at] = 46
            out[i, at + 1] = 48 + rest // 100
            out[i, at + 2] = 48 + rest // 10 % 10
            out[i, at + 3] = 48 + rest % 10
            at += 4
        out[i, at] = 44
        out[i, at + 1] = 34
        lengths[i] = at + 2


@kernel(
    "int64(float64[:, ::1], boolean[:, ::1], uint8[::1], int64[::1], uint8[:, ::1], int64[::1], "
    "uint64[:, ::1], uint8[::1])"
)
def write_matrix(
    values: Floats,
    mask: Bools,
    heads: Bytes,
    head_ends: Ints,
    stamps: Bytes,
    lengths: Ints,
    powers: Words,
    out: Bytes,
) -> int:
    """The rows of a matrix as JSON, ``head [[time,"value"],...] }`` each, with commas between; the length.

    ``heads`` are the rows' texts up to and with the first bracket, each ending where ``head_ends`` says;
    ``stamps`` the steps' texts ``[time,"``, uint8[k, 24], of the given lengths. Every row must have a sample.
    """
    bits = values.view(np.uint64)
    at = 0
    for i in range(values.shape[0]):
        if i:
            out[at] = 44
            at += 1
        first = head_ends[i - 1] if i else 0
        for s in range(first, head_ends[i]):
            out[at] = heads[s]
            at += 1
        started = False
        for j in range(values.shape[1]):
            if not mask[i, j]:
                continue
            if started:
                out[at] = 44
                at += 1
            started = True
            for s in range(24):  # of fixed length, so that it becomes a few wide moves
                out[at + s] = stamps[j, s]
            at = _write_float(out, at + lengths[j], values[i, j], bits[i, j], powers)
            out[at], out[at + 1] = 34, 93
            at += 2
        out[at], out[at + 1] = 93, 125
        at += 2
    return at
