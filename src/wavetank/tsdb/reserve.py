"""Columns that grow where they are.

The head's columns are large and grow under its lock. A column that is copied into a larger one touches all
of both, which for a million series holds up everybody for a second where memory is slow to come. So addresses
are reserved for as many rows as anybody may have; memory comes with the first use of a page, and whole pages
that are no longer used go back. Where the system does not give that many addresses, columns are copied.
"""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Reserve"]


class Reserve:
    """One column. ``view`` is the part in use; beyond what was ever written it is zero."""

    def __init__(self, shape: tuple[int, ...], dtype: npt.DTypeLike, rows: int) -> None:
        """Reserves ``shape[0]`` rows, of which ``rows`` can be used to begin with."""
        self._dtype = np.dtype(dtype)
        self._inner = shape[1:]
        self._map: mmap.mmap | None = None
        self._whole = self._allocated(shape[0], at_least=rows)
        self.view: npt.NDArray[Any] = self._whole[:rows]

    def _allocated(self, rows: int, at_least: int) -> npt.NDArray[Any]:
        row_bytes = self._dtype.itemsize * int(np.prod(self._inner, dtype=np.int64))
        try:
            flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
            self._map = mmap.mmap(-1, rows * row_bytes, flags=flags)
        except (OSError, ValueError):
            self._map = None
            return np.zeros((at_least, *self._inner), self._dtype)
        flat: npt.NDArray[Any] = np.frombuffer(self._map, self._dtype)
        return flat.reshape(rows, *self._inner)

    def grow(self, rows: int) -> npt.NDArray[Any]:
        """Make so many rows usable; returns the view."""
        if rows > len(self._whole):
            old = self._whole
            self._whole = self._allocated(rows * 2, at_least=rows)
            self._whole[: len(old)] = old
        self.view = self._whole[:rows]
        return self.view

    def clear(self, first: int, end: int) -> None:
        """Zero rows, and give back the pages that they fill."""
        if first >= end:
            return
        page = mmap.PAGESIZE
        row_bytes = self._whole.strides[0]
        begin = -(-first * row_bytes // page) * page
        until = end * row_bytes // page * page
        if self._map is None or begin >= until:
            self._whole[first:end] = 0
            return
        self._whole[first : -(-begin // row_bytes)] = 0
        self._whole[until // row_bytes : end] = 0
        self._map.madvise(mmap.MADV_DONTNEED, begin, until - begin)
