"""Sorting series by their labels, as numbers: a merge sort of rows that makes no label set.

Two label sets differ in few pairs, and equal pairs have equal numbers: most of a comparison is a few
integers, and only the first pair that differs is compared by its bytes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wavetank.jit import kernel
from wavetank.tsdb.chunkenc.bits import Word

__all__ = ["sort_rows"]

Bytes = npt.NDArray[np.uint8]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]


@kernel(inline=True, allocates=False)
def _compared(a: Word, b: Word, text: Bytes, text_ends: Int64s) -> Word:
    """Below, at or above zero as text ``a`` stands before, at or after text ``b``."""
    if a == b:
        return 0
    begin_a, begin_b = text_ends[a], text_ends[b]
    size_a, size_b = text_ends[a + 1] - begin_a, text_ends[b + 1] - begin_b
    for k in range(min(size_a, size_b)):
        one, other = text[begin_a + k], text[begin_b + k]
        if one != other:
            return np.int64(one) - np.int64(other)
    return size_a - size_b


@kernel(inline=True, allocates=False)
def _is_after(
    a: Word,
    b: Word,
    label_pairs: Int32s,
    label_ends: Int64s,
    names: Int32s,
    values: Int32s,
    text: Bytes,
    text_ends: Int64s,
) -> bool:
    """Whether the labels of row ``a`` come after those of row ``b``."""
    begin_a, begin_b = label_ends[a], label_ends[b]
    size_a, size_b = label_ends[a + 1] - begin_a, label_ends[b + 1] - begin_b
    for k in range(min(size_a, size_b)):
        one, other = label_pairs[begin_a + k], label_pairs[begin_b + k]
        if one != other:
            order = _compared(names[one], names[other], text, text_ends)
            if order == 0:
                order = _compared(values[one], values[other], text, text_ends)
            if order != 0:
                return bool(order > 0)
    return bool(size_a > size_b)


@kernel(
    "void(int32[::1], int32[::1], int32[::1], int64[::1], int32[::1], int32[::1], uint8[::1], int64[::1])",
    allocates=False,
)
def sort_rows(
    rows: Int32s,
    other: Int32s,
    label_pairs: Int32s,
    label_ends: Int64s,
    names: Int32s,
    values: Int32s,
    text: Bytes,
    text_ends: Int64s,
) -> None:
    """Sort ``rows`` by their labels in place; ``other`` is as long, for use meanwhile.

    Texts compare by their bytes, which for UTF-8 is by code points, as Python's strings do.
    """
    count = len(rows)
    width = 1
    while width < count:
        for begin in range(0, count, 2 * width):
            middle = min(begin + width, count)
            end = min(begin + 2 * width, count)
            if middle == end or not _is_after(
                rows[middle - 1], rows[middle], label_pairs, label_ends, names, values, text, text_ends
            ):
                continue  # in order already, as series of one target mostly are
            for k in range(begin, middle):
                other[k] = rows[k]
            i = begin
            j = middle
            at = begin
            while i < middle:
                if j < end and _is_after(
                    other[i], rows[j], label_pairs, label_ends, names, values, text, text_ends
                ):
                    rows[at] = rows[j]
                    j += 1
                else:
                    rows[at] = other[i]
                    i += 1
                at += 1
        width *= 2
