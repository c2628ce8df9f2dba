"""The common write request in one pass: series of plain floats, most of them known.

A kernel walks the bytes of a request and notes of each series where it stands, a fingerprint of its labels
and what its samples are; the fingerprint then leads straight to the series' reference. In 2.0 every text of
the request is hashed once, and a series' fingerprint is made from those of its texts. Series with histograms
or exemplars are left to the full decoder, and so is a request that is unusual altogether (metadata of 1.0,
fields out of the usual order).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from wavetank.jit import kernel
from wavetank.monitoring.remote.known_series import fingerprint, mix
from wavetank.tsdb.chunkenc.bits import Word, u64_at, uvarint_at

__all__ = ["Bytes", "Scanned", "scan_v1", "scan_v2"]

Bytes = npt.NDArray[np.uint8]
Int64s = npt.NDArray[np.int64]
UInt64s = npt.NDArray[np.uint64]
Float64s = npt.NDArray[np.float64]

# A table has a row for so many bytes of the request: what is usual, then what is possible. Small tables come
# from memory that was touched before; fresh pages would cost as much as the walk.
_BYTES_PER_ROW: Final = (12, 2)


@dataclass(frozen=True, slots=True)
class Scanned:
    """A request in columns.

    spans       int64[n, 2]: where each series' message stands in the body
    highs, lows  uint64[n]: fingerprints of the labels
    metadata    uint64[n]: a hash of what is said of it; 0 for nothing
    plain       bool[n]: it has samples only; those of others are not in the columns below
    owners, timestamps_ms, values  of each sample: index of the series, time, value
    symbols_end  where the texts of a 2.0 request end
    """

    spans: npt.NDArray[np.int64]
    highs: UInt64s
    lows: UInt64s
    metadata: UInt64s
    plain: npt.NDArray[np.bool_]
    owners: Int64s
    timestamps_ms: Int64s
    values: Float64s
    symbols_end: int = 0


@kernel(inline=True)
def _length_at(data: Bytes, at: Word, end: Word) -> tuple[Word, Word]:
    """A field's length and where its bytes begin; ``(0, -1)`` if they do not fit before ``end``."""
    if at < end and data[at] < 0x80:  # nearly always one byte
        length = np.int64(data[at])
        at += 1
    else:
        raw, at = uvarint_at(data, at, end)
        length = np.int64(raw)
    if at < 0 or length < 0 or length > end - at:
        return np.int64(0), np.int64(-1)
    return length, at


@kernel(inline=True)
def _swapped(value: Word) -> Word:
    """The bytes of a uint64 the other way round."""
    value = ((value >> np.uint64(8)) & np.uint64(0x00FF00FF00FF00FF)) | (
        (value & np.uint64(0x00FF00FF00FF00FF)) << np.uint64(8)
    )
    value = ((value >> np.uint64(16)) & np.uint64(0x0000FFFF0000FFFF)) | (
        (value & np.uint64(0x0000FFFF0000FFFF)) << np.uint64(16)
    )
    return (value >> np.uint64(32)) | (value << np.uint64(32))


@kernel(inline=True)
def _sample(data: Bytes, at: Word, stop: Word, bits: Any, times: Int64s, index: Word) -> Word:
    """A Sample message into the columns; -1 if it is none. A start timestamp (2.0) is passed over."""
    value = np.uint64(0)
    time = np.int64(0)
    while at < stop:
        tag = data[at]
        at += 1
        if tag == 0x09 and stop - at >= 8:
            # Little-endian here; the shuffle is one instruction.
            value = _swapped(u64_at(data, at))
            at += 8
        elif tag == 0x10 or tag == 0x18:
            raw, at = uvarint_at(data, at, stop)
            if at < 0:
                return np.int64(-1)
            if tag == 0x10:
                time = np.int64(raw)
        else:
            return np.int64(-1)
    bits[index] = value
    times[index] = time
    return at


_TOO_SHORT: Final = -2
_SIGNATURE: Final = (
    "int64(uint8[::1], uint64[:, ::1], int64[:, ::1], uint64[:, ::1], boolean[::1], int64[::1], int64[::1],"
    " float64[::1], int64[::1])"
)


@kernel(_SIGNATURE)
def _walk_v1(
    data: Bytes,
    symbols: Any,
    spans: Any,
    prints: Any,
    plain: Any,
    owners: Int64s,
    times: Int64s,
    values: Float64s,
    found: Int64s,
) -> Word:
    """Series found; -1 for what is not so plain, -2 where the tables are too short."""
    size = np.int64(len(data))
    bits = values.view(np.uint64)
    at = np.int64(0)
    series = np.int64(0)
    samples = np.int64(0)
    while at < size:
        if series >= len(spans):
            return np.int64(-2)
        if data[at] != 0x0A:
            return np.int64(-1)
        length, at = _length_at(data, at + 1, size)
        if at < 0:
            return np.int64(-1)
        end = at + length
        begin = at
        while at < end and data[at] == 0x0A:
            length, at = _length_at(data, at + 1, end)
            if at < 0:
                return np.int64(-1)
            at += length
        high, low = fingerprint(data, begin, at, np.uint64(0x51), np.uint64(0x8A5CD789635D2DFF))
        spans[series, 0] = begin
        spans[series, 1] = end
        prints[0, series] = high
        prints[1, series] = low
        prints[2, series] = 0
        plain[series] = True
        before = samples
        while at < end:
            if data[at] != 0x12:
                plain[series] = False
                samples = before
                at = end
                break
            length, at = _length_at(data, at + 1, end)
            if at < 0:
                return np.int64(-1)
            if samples >= len(owners):
                return np.int64(-2)
            at = _sample(data, at, at + length, bits, times, samples)
            if at < 0:
                return np.int64(-1)
            owners[samples] = series
            samples += 1
        series += 1
    found[0] = samples
    return series


@kernel(_SIGNATURE)
def _walk_v2(
    data: Bytes,
    symbols: Any,
    spans: Any,
    prints: Any,
    plain: Any,
    owners: Int64s,
    times: Int64s,
    values: Float64s,
    found: Int64s,
) -> Word:
    """As ``_walk_v1``. ``found``: samples, end of the symbols."""
    size = np.int64(len(data))
    bits = values.view(np.uint64)
    at = np.int64(0)
    known = np.int64(0)
    while at < size and data[at] == 0x22:
        length, at = _length_at(data, at + 1, size)
        if at < 0 or (known == 0 and length > 0):
            return np.int64(-1)
        if known >= len(symbols):
            return np.int64(-2)
        high, low = fingerprint(data, at, at + length, np.uint64(0x52), np.uint64(0x8A5CD789635D2DFF))
        symbols[known, 0] = high
        symbols[known, 1] = low
        known += 1
        at += length
    found[1] = at
    series = np.int64(0)
    samples = np.int64(0)
    while at < size:
        if series >= len(spans):
            return np.int64(-2)
        if data[at] != 0x2A:
            return np.int64(-1)
        length, at = _length_at(data, at + 1, size)
        if at < 0 or length == 0 or data[at] != 0x0A:
            return np.int64(-1)
        end = at + length
        spans[series, 0] = at
        spans[series, 1] = end
        length, at = _length_at(data, at + 1, end)
        if at < 0:
            return np.int64(-1)
        stop = at + length
        high = np.uint64(0x53)
        low = np.uint64(0x2545F4914F6CDD1D)
        while at < stop:
            raw = np.uint64(data[at])
            if raw < np.uint64(0x80):
                at += 1
            else:
                raw, at = uvarint_at(data, at, stop)
            if at < 0 or raw >= np.uint64(known):
                return np.int64(-1)
            high, low = mix(high, low, symbols[np.int64(raw), 0], symbols[np.int64(raw), 1])
        prints[0, series] = high
        prints[1, series] = low
        prints[2, series] = 0
        plain[series] = True
        before = samples
        while at < end:
            tag = data[at]
            if tag == 0x30:  # created timestamp
                _, at = uvarint_at(data, at + 1, end)
                if at < 0:
                    return np.int64(-1)
                continue
            if tag != 0x12 and tag != 0x2A:
                plain[series] = False
                samples = before
                at = end
                break
            length, at = _length_at(data, at + 1, end)
            if at < 0:
                return np.int64(-1)
            if samples >= len(owners):
                return np.int64(-2)
            stop = at + length
            if tag == 0x12:
                at = _sample(data, at, stop, bits, times, samples)
                if at < 0:
                    return np.int64(-1)
                owners[samples] = series
                samples += 1
                continue
            # Metadata: type, help, unit; a hash of its texts, nothing for nothing.
            high = np.uint64(0x54)
            low = np.uint64(0x2545F4914F6CDD1D)
            said = False
            while at < stop:
                field = data[at]
                raw, at = uvarint_at(data, at + 1, stop)
                if at < 0 or (field != 0x08 and field != 0x18 and field != 0x20):
                    return np.int64(-1)
                said |= raw != np.uint64(0)
                word = raw
                if field != 0x08:
                    if raw >= np.uint64(known):
                        return np.int64(-1)
                    word = symbols[np.int64(raw), 0]
                high, low = mix(high, low, word, np.uint64(field))
            if said:
                prints[2, series] = (high ^ low) | np.uint64(1)
        series += 1
    found[0] = samples
    return series


class _Tables:
    """Room for what a walk finds."""

    def __init__(self, rows: int) -> None:
        self.spans = np.empty((rows, 2), np.int64)
        self.prints = np.empty((3, rows), np.uint64)
        self.plain = np.empty(rows, np.bool_)
        self.owners = np.empty(rows, np.int64)
        self.times = np.empty(rows, np.int64)
        self.values = np.empty(rows, np.float64)
        self.found = np.zeros(2, np.int64)

    def scanned(self, series: int) -> Scanned:
        samples, symbols_end = self.found.tolist()
        return Scanned(
            self.spans[:series],
            self.prints[0, :series],
            self.prints[1, :series],
            self.prints[2, :series],
            self.plain[:series],
            self.owners[:samples],
            self.times[:samples],
            self.values[:samples],
            symbols_end,
        )


def scan_v1(data: Bytes) -> Scanned | None:
    """A WriteRequest in columns. None for a request that is not plain, or not one at all."""
    return _scan(_walk_v1, data)


def scan_v2(data: Bytes) -> Scanned | None:
    """An io.prometheus.write.v2.Request in columns. None as for ``scan_v1``."""
    return _scan(_walk_v2, data)


def _scan(walk: Any, data: Bytes) -> Scanned | None:
    for size in _BYTES_PER_ROW:
        rows = len(data) // size + 1
        tables = _Tables(rows)
        symbols = np.empty((rows, 2), np.uint64)
        found = walk(
            data,
            symbols,
            tables.spans,
            tables.prints,
            tables.plain,
            tables.owners,
            tables.times,
            tables.values,
            tables.found,
        )
        if found != _TOO_SHORT:
            return tables.scanned(found) if found >= 0 else None
    raise AssertionError("no field takes less than two bytes")
