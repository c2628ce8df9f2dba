"""Columns to records and back. Mirrors ``tsdb/record/record.go``.

A record's first byte is its type. Float samples are the bulk: a base ref and a base time, then per sample
the differences to them as varints (upstream's own documentation says uvarint, its code does not) and eight
value bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from wavetank.jit import kernel
from wavetank.tsdb.chunkenc.bits import (
    Word,
    copy_bytes,
    put_u64,
    put_varint,
    u64_at,
    uvarint_at,
    varint_at,
)
from wavetank.tsdb.errors import CorruptionError

__all__ = [
    "EXEMPLARS",
    "FLOAT_HISTOGRAMS",
    "FLOAT_HISTOGRAMS_CUSTOM",
    "FLOAT_HISTOGRAMS_V2",
    "HISTOGRAMS",
    "HISTOGRAMS_CUSTOM",
    "HISTOGRAMS_V2",
    "HISTOGRAM_KINDS",
    "METADATA",
    "MMAP_MARKERS",
    "SAMPLES",
    "SAMPLES_V2",
    "SERIES",
    "TOMBSTONES",
    "Reader",
    "decode_samples",
    "encode_samples",
    "encode_series",
    "split_series",
    "uvarint",
    "varint",
]

Bytes = npt.NDArray[np.uint8]
Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]

SERIES: Final = 1
SAMPLES: Final = 2
TOMBSTONES: Final = 3
EXEMPLARS: Final = 4
MMAP_MARKERS: Final = 5
METADATA: Final = 6
HISTOGRAMS: Final = 7
FLOAT_HISTOGRAMS: Final = 8
HISTOGRAMS_CUSTOM: Final = 9
FLOAT_HISTOGRAMS_CUSTOM: Final = 10
SAMPLES_V2: Final = 11
HISTOGRAMS_V2: Final = 12
FLOAT_HISTOGRAMS_V2: Final = 13


HISTOGRAM_KINDS: Final = frozenset(
    (
        HISTOGRAMS,
        FLOAT_HISTOGRAMS,
        HISTOGRAMS_CUSTOM,
        FLOAT_HISTOGRAMS_CUSTOM,
        HISTOGRAMS_V2,
        FLOAT_HISTOGRAMS_V2,
    )
)

# --- Python's own varints, for the rare records ---------------------------------------------------------


def uvarint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def varint(value: int) -> bytes:
    return uvarint(value << 1 if value >= 0 else (~value << 1) | 1)


class Reader:
    """Walks over a record; any read past its end raises CorruptionError."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at

    def __bool__(self) -> bool:
        return self.at < len(self.data)

    def take(self, size: int) -> bytes:
        if size < 0 or size > len(self.data) - self.at:
            raise CorruptionError(f"record ends {size - len(self.data) + self.at} bytes too early")
        self.at += size
        return self.data[self.at - size : self.at]

    def byte(self) -> int:
        return self.take(1)[0]

    def uvarint(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & 0xFFFF_FFFF_FFFF_FFFF
            shift += 7
            if shift > 63:
                raise CorruptionError("varint longer than 64 bits")

    def varint(self) -> int:
        raw = self.uvarint()
        return (raw >> 1) ^ -(raw & 1)

    def u64(self) -> int:
        return int.from_bytes(self.take(8), "big")

    def i64(self) -> int:
        return int.from_bytes(self.take(8), "big", signed=True)

    def float(self) -> float:
        return float(struct.unpack(">d", self.take(8))[0])

    def text(self) -> str:
        return self.take(self.uvarint()).decode("utf-8", "surrogateescape")

    def pairs(self) -> Iterator[tuple[str, str]]:
        for _ in range(self.uvarint()):
            yield self.text(), self.text()


# --- series ---------------------------------------------------------------------------------------------


@kernel("int64(int64[::1], uint8[::1], int64[::1], boolean[::1], uint8[::1])", allocates=False)
def _encode_series(
    refs: Int64s, keys: Bytes, offsets: Int64s, keep: npt.NDArray[np.bool_], out: Bytes
) -> Word:
    out[0] = 1
    at: Word = np.int64(1)
    for i in range(len(refs)):
        if keep[i]:
            at = put_u64(out, at, refs[i])
            size = offsets[i + 1] - offsets[i]
            copy_bytes(keys, offsets[i], out, at, size)
            at += size
    return at


def encode_series(
    refs: Int64s, keys: Bytes, offsets: Int64s, keep: npt.NDArray[np.bool_] | None = None
) -> Bytes:
    """Series keys, ``keys[offsets[i]:offsets[i + 1]]`` each, are written as they are: a record's labels."""
    out = np.empty(1 + 8 * len(refs) + int(offsets[-1] - offsets[0]), np.uint8)
    run: Any = _encode_series
    wanted = np.ones(len(refs), np.bool_) if keep is None else keep
    return out[: run(refs, keys, offsets, wanted, out)]


@kernel("int64(uint8[::1], int64[::1], int64[::1], int64[::1], uint8[::1], int64[::1])")
def _split_series(
    data: Bytes, begins: Int64s, ends: Int64s, refs: Int64s, keys: Bytes, key_offsets: Int64s
) -> Word:
    n = 0
    used = 0
    for r in range(len(begins)):
        at = begins[r] + 1
        end = ends[r]
        while at < end:
            if end - at < 9 or n >= len(refs):
                return -1 - n
            refs[n] = np.int64(u64_at(data, at))
            at += 8
            start = at
            count, at = uvarint_at(data, at, end)
            for _ in range(2 * np.int64(count)):
                if at < 0:
                    return -1 - n
                size, at = uvarint_at(data, at, end)
                if at < 0 or np.int64(size) < 0 or np.int64(size) > end - at:
                    return -1 - n
                at += np.int64(size)
            if at < 0:
                return -1 - n
            copy_bytes(data, start, keys, used, at - start)
            used += at - start
            n += 1
            key_offsets[n] = used
    return n


def split_series(data: Bytes, begins: Int64s, ends: Int64s) -> tuple[Int64s, Bytes, Int64s]:
    """Refs and keys of series records: ``(refs, key bytes, offsets)``. Raises CorruptionError."""
    total = int((ends - begins).sum())
    refs = np.empty(total // 9 + 1, np.int64)
    keys = np.empty(max(1, total), np.uint8)
    offsets = np.zeros(len(refs) + 1, np.int64)
    run: Any = _split_series
    n = run(data, begins, ends, refs, keys, offsets)
    if n < 0:
        raise CorruptionError("a series record is cut off")
    return refs[:n], keys, offsets[: n + 1]


# --- float samples --------------------------------------------------------------------------------------


@kernel("int64(int64[::1], int64[::1], float64[::1], uint8[::1])", allocates=False)
def _encode_samples(refs: Int64s, timestamps: Int64s, values: Float64s, out: Bytes) -> Word:
    bits = values.view(np.uint64)
    out[0] = 2
    base_ref = refs[0]
    base_time = timestamps[0]
    at = put_u64(out, 1, base_ref)
    at = put_u64(out, at, base_time)
    for i in range(len(refs)):
        at = put_varint(out, at, refs[i] - base_ref)
        shift = timestamps[i] - base_time
        if shift == 0:  # nearly always: a scrape has one time
            out[np.uint64(at)] = 0
            at += 1
        else:
            at = put_varint(out, at, shift)
        at = put_u64(out, at, bits[i])
    return at


def encode_samples(refs: Int64s, timestamps_ms: Int64s, values: Float64s) -> Bytes:
    """One record of one or more samples."""
    out = np.empty(17 + 28 * len(refs), np.uint8)
    run: Any = _encode_samples
    return out[: run(refs, timestamps_ms, values, out)]


@kernel("int64(uint8[::1], int64[::1], int64[::1], int64[::1], int64[::1], float64[::1])", allocates=False)
def _decode_samples(
    data: Bytes, begins: Int64s, ends: Int64s, refs: Int64s, timestamps: Int64s, values: Float64s
) -> Word:
    bits = values.view(np.uint64)
    n = 0
    for r in range(len(begins)):
        at = begins[r] + 1
        end = ends[r]
        if at == end:
            continue
        if end - at < 16:
            return -1 - n
        base_ref = np.int64(u64_at(data, at))
        base_time = np.int64(u64_at(data, at + 8))
        at += 16
        while at < end:
            delta, at = varint_at(data, at, end)
            if at < 0:
                return -1 - n
            shift: Word = np.int64(0)
            if at < end and data[np.uint64(at)] == 0:  # nearly always: a scrape has one time
                at += 1
            else:
                shift, at = varint_at(data, at, end)
            if at < 0 or end - at < 8:
                return -1 - n
            refs[n] = base_ref + delta
            timestamps[n] = base_time + shift
            bits[n] = u64_at(data, at)
            at += 8
            n += 1
    return n


def decode_samples(data: Bytes, begins: Int64s, ends: Int64s) -> tuple[Int64s, Int64s, Float64s]:
    """Columns of all samples records, ``data[begins[i]:ends[i]]`` being one. Raises CorruptionError."""
    bound = int((ends - begins).sum()) // 10 + 1
    refs = np.empty(bound, np.int64)
    timestamps = np.empty(bound, np.int64)
    values = np.empty(bound, np.float64)
    run: Any = _decode_samples
    n = run(data, begins, ends, refs, timestamps, values)
    if n < 0:
        raise CorruptionError("a samples record is cut off")
    return refs[:n], timestamps[:n], values[:n]
