"""Reading decimal numbers inside a kernel, correctly rounded.

Small numbers are exact in floating point; the rest goes through the method of Eisel and Lemire ("Number
parsing at a gigabyte per second", 2021): multiply the digits by a 128-bit power of ten and see whether the
product rounds without doubt. Where it does not, or there are more than 19 digits, the caller asks Python.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from wavetank.jit import kernel

__all__ = ["DOUBTFUL", "MALFORMED", "READ", "read_float"]

Bytes = npt.NDArray[np.uint8]
Word = Any

READ: Final = 0
DOUBTFUL: Final = 1  # a number perhaps: let Python read it
MALFORMED: Final = 2

_EXPONENT_MIN: Final = -348
_EXPONENT_MAX: Final = 347


def _powers() -> npt.NDArray[np.uint64]:
    """For each exponent the top 128 bits of the power of ten, rounded down: high and low half."""
    rows = []
    for exponent in range(_EXPONENT_MIN, _EXPONENT_MAX + 1):
        value = 10**exponent if exponent >= 0 else (1 << 1400) // 10**-exponent
        bits = value.bit_length()
        top = value >> (bits - 128) if bits >= 128 else value << (128 - bits)
        rows.append((top >> 64, top & ((1 << 64) - 1)))
    return np.array(rows, np.uint64)


_POWERS: Final = _powers()
_EXACT: Final = np.array([10.0**e for e in range(23)])


@kernel(inline=True, allocates=False)
def _multiply(a: Word, b: Word) -> tuple[Word, Word]:
    """The 128-bit product as high and low half."""
    low = np.uint64(0xFFFFFFFF)
    s = np.uint64(32)
    a0, a1, b0, b1 = a & low, a >> s, b & low, b >> s
    w0 = a0 * b0
    t = a1 * b0 + (w0 >> s)
    w1 = (t & low) + a0 * b1
    return a1 * b1 + (t >> s) + (w1 >> s), a * b


@kernel(inline=True, allocates=False)
def _rounded(digits: Word, exponent: Word) -> tuple[Word, Word]:
    """``digits * 10 ** exponent`` as float64 bits, and whether that is beyond doubt."""
    zero = np.uint64(0)
    if exponent < -348 or exponent > 347:
        return zero, False
    shift = 0
    mantissa = digits
    while mantissa >> np.uint64(63) == zero:
        mantissa <<= np.uint64(1)
        shift += 1
    binary = ((217706 * exponent) >> 16) + 64 + 1023 - shift
    row = exponent + 348
    high, low = _multiply(mantissa, _POWERS[row, 0])
    mask = np.uint64(0x1FF)
    if high & mask == mask and low + mantissa < mantissa:
        more_high, more_low = _multiply(mantissa, _POWERS[row, 1])
        merged_low = low + more_high
        merged_high = high + np.uint64(1) if merged_low < low else high
        if (
            merged_high & mask == mask
            and merged_low + np.uint64(1) == zero
            and more_low + mantissa < mantissa
        ):
            return zero, False
        high, low = merged_high, merged_low
    top = high >> np.uint64(63)
    result = high >> (top + np.uint64(9))
    binary -= 1 - np.int64(top)
    if low == zero and high & mask == zero and result & np.uint64(3) == np.uint64(1):
        return zero, False
    result += result & np.uint64(1)
    result >>= np.uint64(1)
    if result >> np.uint64(53) > zero:
        result >>= np.uint64(1)
        binary += 1
    if binary < 1 or binary >= 0x7FF:
        return zero, False
    return (np.uint64(binary) << np.uint64(52)) | (result & np.uint64((1 << 52) - 1)), True


@kernel(inline=True, allocates=False)
def read_float(data: Bytes, start: Word, end: Word, bits_out: Word, index: Word) -> Word:
    """Read ``data[start:end]`` into ``bits_out[index]`` (uint64 view of floats); returns an outcome."""
    at = start
    negative = False
    if at < end and (data[at] == 43 or data[at] == 45):
        negative = data[at] == 45
        at += 1
    if at >= end:
        return 2
    digits = np.uint64(0)
    count = 0
    seen = 0
    exponent: Word = 0
    point = False
    while at < end:
        c = data[at]
        if 48 <= c <= 57:
            seen += 1
            if count > 0 or c != 48:
                count += 1
                if count > 19:
                    return 1
                digits = digits * np.uint64(10) + np.uint64(c - 48)
            if point:
                exponent -= 1
        elif c == 46 and not point:
            point = True
        else:
            break
        at += 1
    if seen == 0:
        return 1  # NaN, Inf or nonsense
    if at < end:
        if data[at] != 101 and data[at] != 69:
            return 1
        at += 1
        down = False
        if at < end and (data[at] == 43 or data[at] == 45):
            down = data[at] == 45
            at += 1
        if at >= end or end - at > 4:
            return 1
        given: Word = 0
        while at < end:
            c = data[at]
            if c < 48 or c > 57:
                return 1
            given = given * 10 + np.int64(c - 48)
            at += 1
        exponent += -given if down else given
    sign = np.uint64(1) << np.uint64(63) if negative else np.uint64(0)
    if digits == np.uint64(0):
        bits_out[index] = sign
        return 0
    if digits < np.uint64(1 << 53) and -22 <= exponent <= 22:
        value: Word = np.float64(digits)
        value = value * _EXACT[exponent] if exponent >= 0 else value / _EXACT[-exponent]
        bits_out[index] = np.float64(value).view(np.uint64) | sign
        return 0
    bits, certain = _rounded(digits, exponent)
    if not certain:
        return 1
    bits_out[index] = bits | sign
    return 0
