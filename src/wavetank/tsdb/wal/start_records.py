"""Samples V2 records: float samples with their start timestamps. Mirrors ``tsdb/record/record.go``.

Ref, time and start of the first sample as varints and its value; then per sample the ref's difference to the
one before, the time's to the first, a byte that says whether there is no start (0), the same as before (1) or
one that follows as its difference to the first (2), and eight value bytes. An unknown start is 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from wavetank.jit import kernel
from wavetank.tsdb.chunkenc.bits import Word, put_u64, put_varint, u64_at, varint_at
from wavetank.tsdb.errors import CorruptionError
from wavetank.tsdb.wal.records import SAMPLES_V2

__all__ = ["decode_samples_v2", "encode_samples_v2"]

Bytes = npt.NDArray[np.uint8]
Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]


@kernel("int64(int64[::1], int64[::1], float64[::1], int64[::1], uint8[::1])")
def _encode(refs: Int64s, timestamps: Int64s, values: Float64s, starts: Int64s, out: Bytes) -> Word:
    bits = values.view(np.uint64)
    at = 1
    for i in range(len(refs)):
        if i == 0:
            at = put_varint(out, at, refs[0])
            at = put_varint(out, at, timestamps[0])
            at = put_varint(out, at, starts[0])
        else:
            at = put_varint(out, at, refs[i] - refs[i - 1])
            at = put_varint(out, at, timestamps[i] - timestamps[0])
            if starts[i] == 0:
                out[at] = 0
                at += 1
            elif starts[i] == starts[i - 1]:
                out[at] = 1
                at += 1
            else:
                out[at] = 2
                at = put_varint(out, at + 1, starts[i] - starts[0])
        at = put_u64(out, at, bits[i])
    return at


def encode_samples_v2(
    refs: Int64s, timestamps_ms: Int64s, values: Float64s, start_timestamps_ms: Int64s
) -> Bytes:
    """One record of one or more samples."""
    out = np.empty(1 + 39 * len(refs), np.uint8)
    out[0] = SAMPLES_V2
    run: Any = _encode
    return out[: run(refs, timestamps_ms, values, start_timestamps_ms, out)]


@kernel("int64(uint8[::1], int64[::1], int64[::1], int64[::1], int64[::1], float64[::1], int64[::1])")
def _decode(
    data: Bytes,
    begins: Int64s,
    ends: Int64s,
    refs: Int64s,
    timestamps: Int64s,
    values: Float64s,
    starts: Int64s,
) -> Word:
    bits = values.view(np.uint64)
    n = 0
    for r in range(len(begins)):
        at = begins[r] + 1
        end = ends[r]
        first = n
        while at < end:
            ref, at = varint_at(data, at, end)
            if at < 0:
                return -1 - n
            time, at = varint_at(data, at, end)
            if at < 0 or at >= end:
                return -1 - n
            start = np.int64(0)
            if n == first:
                start, at = varint_at(data, at, end)
            else:
                ref += refs[n - 1]
                time += timestamps[first]
                mark = data[at]
                at += 1
                if mark == 1:
                    start = starts[n - 1]
                elif mark != 0:
                    start, at = varint_at(data, at, end)
                    start += starts[first]
            if at < 0 or end - at < 8:
                return -1 - n
            refs[n] = ref
            timestamps[n] = time
            starts[n] = start
            bits[n] = u64_at(data, at)
            at += 8
            n += 1
    return n


def decode_samples_v2(data: Bytes, begins: Int64s, ends: Int64s) -> tuple[Int64s, Int64s, Float64s, Int64s]:
    """Refs, times, values and starts of the records ``data[begins[i]:ends[i]]``. Raises CorruptionError."""
    bound = int((ends - begins).sum()) // 11 + len(begins) + 1
    refs, timestamps, starts = (np.empty(bound, np.int64) for _ in range(3))
    values = np.empty(bound, np.float64)
    run: Any = _decode
    n = run(data, begins, ends, refs, timestamps, values, starts)
    if n < 0:
        raise CorruptionError("a samples record with start timestamps is cut off")
    return refs[:n], timestamps[:n], values[:n], starts[:n]
