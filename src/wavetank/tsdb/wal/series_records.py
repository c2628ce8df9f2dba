"""The series records of a log, without the rest of it: the first pass of a replay.

Series are a few percent of a log, samples the rest. A record's type is its first byte, and a snappy block
begins with a literal, so the type can be seen without uncompressing: this pass only follows the fragment
headers and reads what is a series. After it every ref of the log is known, so that scrapes may make new
series, and queries find old ones, while the samples are still being read.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wavetank.jit import kernel
from wavetank.tsdb.chunkenc.bits import Word, u32_at
from wavetank.tsdb.crc32c import crc32c
from wavetank.tsdb.wal import records
from wavetank.tsdb.wal.framing import scan
from wavetank.tsdb.wal.log import Batch, Damage, expanded, read_segment

__all__ = ["series_batches"]

Bytes = npt.NDArray[np.uint8]
Int64s = npt.NDArray[np.int64]


@kernel(inline=True, allocates=False)
def _type_of(data: Bytes, at: Word, size: Word, flags: Word) -> Word:
    """The first byte of a record whose first fragment's data is here; 1 (series) where it cannot be seen."""
    end = at + size
    if flags & 16 or size == 0:
        return 1
    if flags & 8:
        while at < end and data[at] & 0x80:  # the uncompressed length
            at += 1
        at += 1
        if at >= end or data[at] & 3:
            return 1
        tag = np.int64(data[at]) >> 2
        at += 1
        if tag >= 60:
            at += tag - 59
        if at >= end:
            return 1
    return np.int64(data[at])


@kernel("int64(uint8[::1], boolean, int64[:, ::1])")
def _runs(data: Bytes, check: bool, out: npt.NDArray[np.int64]) -> Word:
    """Runs of neighbouring series records as begin and end; how many, or -1 where the framing is not whole.

    With ``check`` every checksum is tested, else only the headers are looked at.
    """
    size = len(data)
    at: Word = 0
    n = 0
    inside = False
    wanted = False
    begin = 0
    while at < size:
        left = 32768 - at % 32768
        kind = data[at] & 7
        if kind == 0:
            if inside or data[at] != 0:
                return -1
            at += left
            continue
        if left < 7 or kind > 4 or at + 7 > size or (kind == 1 or kind == 2) == inside:
            return -1
        length = (np.int64(data[at + 1]) << 8) | np.int64(data[at + 2])
        if length > left - 7 or at + 7 + length > size:
            return -1
        if check and u32_at(data, at + 3) != np.int64(crc32c(data, at + 7, at + 7 + length)):
            return -1
        if not inside:
            begin = at
            wanted = _type_of(data, at + 7, length, np.int64(data[at]) & 24) == 1
        inside = kind == 2 or kind == 3
        at += 7 + length
        if not inside and wanted:
            if n > 0 and out[n - 1, 1] == begin:
                out[n - 1, 1] = at
            else:
                if n == len(out):
                    return -1
                out[n, 0] = begin
                out[n, 1] = at
                n += 1
    return -1 if inside else n


def series_batches(path: Path, damage: list[Damage], *, check: bool) -> Iterator[Batch]:
    """Batches that hold all series records of a segment, and others where they cannot be told apart.

    A segment whose framing is not whole is read in full, and ``damage`` says where.
    """
    if path.stat().st_size == 0:
        return
    with path.open("rb") as file:
        data = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY), np.uint8)
    found = np.empty((len(data) // 64 + 16, 2), np.int64)
    run: Any = _runs
    count = run(data, check, found)
    if count < 0:
        for batch in read_segment(path, damage):
            kinds = batch.types() == records.SERIES
            yield Batch(batch.data, batch.begins[kinds], batch.ends[kinds], batch.reached)
        return
    for begin, end in found[:count].tolist():
        at = begin
        while at < end:
            out, ends, flags, following, fault, _ = scan(data, at, end)
            if fault or following <= at:
                break  # its checksum is wrong: the second pass reports that
            batch = expanded(out, ends, flags, following)
            kinds = batch.types() == records.SERIES
            yield Batch(batch.data, batch.begins[kinds], batch.ends[kinds], following)
            at = following
