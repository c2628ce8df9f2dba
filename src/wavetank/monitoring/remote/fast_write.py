"""The common write request in one pass: series of plain floats, most of them known.

A kernel walks the bytes of a WriteRequest (1.0) and notes where each series' labels stand and what its
samples are; the bytes of the labels then lead straight to the series' reference. Anything else in the request
(histograms, exemplars, metadata, fields out of the usual order) leaves it to the full decoder.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from wavetank.jit import kernel
from wavetank.limits import REMOTE_SERIES_REMEMBERED_MAX
from wavetank.tsdb.chunkenc.bits import Word, uvarint_at

__all__ = ["KnownSeries", "scan_request"]

Bytes = npt.NDArray[np.uint8]
Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]

_SERIES_BYTES_MIN: Final = 4  # no series takes less; bounds the tables


@kernel("int64(uint8[::1], int64[:, ::1], int64[::1], int64[::1], float64[::1])")
def _walk(data: Bytes, labels: Any, owners: Int64s, times: Int64s, values: Float64s) -> Word:
    """Series found; their label bytes ``labels[i]``; samples' series, times, values. ``owners[0]`` of the
    last row is not used: the count of samples is in ``labels[-1, 0]``. -1 for what is not so plain."""
    size = np.int64(len(data))
    bits = values.view(np.uint64)
    at = np.int64(0)
    series = np.int64(0)
    samples = np.int64(0)
    while at < size:
        if data[at] != 0x0A:
            return np.int64(-1)
        raw, at = uvarint_at(data, at + 1, size)
        length = np.int64(raw)
        if at < 0 or length < 0 or length > size - at or series >= len(labels) - 1:
            return np.int64(-1)
        end = at + length
        labels[series, 0] = at
        while at < end and data[at] == 0x0A:
            raw, at = uvarint_at(data, at + 1, end)
            length = np.int64(raw)
            if at < 0 or length < 0 or length > end - at:
                return np.int64(-1)
            at += length
        labels[series, 1] = at
        while at < end:
            if data[at] != 0x12:
                return np.int64(-1)
            raw, at = uvarint_at(data, at + 1, end)
            length = np.int64(raw)
            if at < 0 or length < 0 or length > end - at or samples >= len(owners):
                return np.int64(-1)
            stop = at + length
            value = np.uint64(0)
            time = np.int64(0)
            while at < stop:
                tag = data[at]
                at += 1
                if tag == 0x09 and stop - at >= 8:
                    value = np.uint64(0)
                    for k in range(8):
                        value |= np.uint64(data[at + k]) << np.uint64(8 * k)
                    at += 8
                elif tag == 0x10:
                    raw, at = uvarint_at(data, at, stop)
                    time = np.int64(raw)
                    if at < 0:
                        return np.int64(-1)
                else:
                    return np.int64(-1)
            owners[samples] = series
            times[samples] = time
            bits[samples] = value
            samples += 1
        series += 1
    labels[len(labels) - 1, 0] = samples
    return series


def scan_request(data: bytes) -> tuple[list[bytes], Int64s, Int64s, Float64s] | None:
    """Label bytes of each series; series index, time and value of each sample. None for a request that is
    not plain, or not one at all."""
    size = len(data)
    labels = np.empty((size // _SERIES_BYTES_MIN + 2, 2), np.int64)
    most = size // 2 + 1
    owners, times = np.empty(most, np.int64), np.empty(most, np.int64)
    values = np.empty(most, np.float64)
    run: Any = _walk
    found = run(np.frombuffer(bytearray(data), np.uint8), labels, owners, times, values)
    if found < 0:
        return None
    count = int(labels[-1, 0])
    spans = [data[begin:end] for begin, end in labels[:found].tolist()]
    return spans, owners[:count], times[:count], values[:count]


class KnownSeries:
    """References of series by the bytes of their labels, as a sender repeats them."""

    def __init__(self) -> None:
        self._refs: dict[bytes, int] = {}

    def find(self, spans: list[bytes]) -> Int64s:
        """The reference of each; 0 where it is not known."""
        get = self._refs.get
        return np.array([get(span, 0) for span in spans], np.int64)

    def learn(self, spans: list[bytes], refs: list[int]) -> None:
        if len(self._refs) + len(spans) > REMOTE_SERIES_REMEMBERED_MAX:
            self._refs.clear()
        self._refs.update(zip(spans, refs, strict=True))

    def forget(self) -> None:
        self._refs.clear()
