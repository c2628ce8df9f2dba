"""Full chunks of the head, in files. Mirrors ``tsdb/chunks/head_chunks.go``.

A file is magic and version, then chunks: series ref, mint, maxt (u64 each), encoding (u8, its top bit set for
out-of-order chunks), length (uvarint), data, CRC-32C of all that. The log holds the same samples, so these
files only save memory, and time at replay; a damaged one is deleted with those after it, as upstream does.
"""

from __future__ import annotations

import errno
import mmap
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from wavetank.jit import kernel
from wavetank.tsdb.chunkenc.bits import (
    Word,
    copy_bytes,
    put_u32,
    put_u64,
    put_uvarint,
    u32_at,
    u64_at,
    uvarint_at,
)
from wavetank.tsdb.crc32c import crc32c

__all__ = ["HeadChunkFiles", "StoredChunks"]

Bytes = npt.NDArray[np.uint8]
Int64s = npt.NDArray[np.int64]

_HEADER: Final = bytes.fromhex("0130bc9101000000")
_FILE_BYTES_MAX: Final = 128 * 1024 * 1024
_OVERHEAD: Final = 8 * 3 + 1 + 5 + 4


@dataclass(frozen=True, slots=True)
class StoredChunks:
    """Chunks found in the files, by ref and time; ``where`` is file number << 32 | offset of the data."""

    refs: Int64s
    mint: Int64s
    maxt: Int64s
    where: Int64s
    lengths: Int64s
    encodings: Int64s
    counts: Int64s


@kernel(
    "int64(uint8[::1], int64[::1], int64[::1], int64[::1], int64[:, ::1], int64[::1], uint8[::1],"
    " int64[::1])",
    allocates=False,
)
def _put(
    chunks: Bytes,
    refs: Int64s,
    begins: Int64s,
    lengths: Int64s,
    times: npt.NDArray[np.int64],
    encodings: Int64s,
    out: Bytes,
    starts: Int64s,
) -> Word:
    at: Word = 0
    for i in range(len(refs)):
        begin = at
        at = put_u64(out, at, refs[i])
        at = put_u64(out, at, times[i, 0])
        at = put_u64(out, at, times[i, 1])
        out[at] = encodings[i]
        at = put_uvarint(out, at + 1, lengths[i])
        starts[i] = at
        copy_bytes(chunks, begins[i], out, at, lengths[i])
        at += lengths[i]
        at = put_u32(out, at, crc32c(out, begin, at))
    return at


@kernel("int64(uint8[::1], int64[:, ::1])", allocates=False)
def _scan(data: Bytes, out: npt.NDArray[np.int64]) -> Word:
    """ref, mint, maxt, offset, length, encoding, count per chunk; returns how many, or -1 - n at damage."""
    size = len(data)
    at: Word = 8
    n = 0
    while at < size:
        if at + 26 > size:
            return n if data[at] == 0 else -1 - n
        begin = at
        ref = np.int64(u64_at(data, at))
        if ref == 0:
            return n  # the rest was reserved and never written
        raw, after = uvarint_at(data, at + 25, size)
        length = np.int64(raw)
        if after < 0 or length < 2 or length > size - after - 4 or n >= len(out):
            return -1 - n
        if u32_at(data, after + length) != np.int64(crc32c(data, begin, after + length)):
            return -1 - n
        out[n, 0] = ref
        out[n, 1] = np.int64(u64_at(data, at + 8))
        out[n, 2] = np.int64(u64_at(data, at + 16))
        out[n, 3] = after
        out[n, 4] = length
        out[n, 5] = data[at + 24]
        out[n, 6] = (np.int64(data[after]) << 8) | np.int64(data[after + 1])
        n += 1
        at = after + length + 4
    return n


class HeadChunkFiles:
    """The directory ``chunks_head``. The head's lock is held around every call but ``buffer``'s use."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._file = -1
        self._number = 0
        self._size = 0
        self._maxt: dict[int, int] = {}
        self._maps: dict[int, Bytes] = {}
        self.deleted: list[Path] = []

    def _path(self, number: int) -> Path:
        return self.directory / f"{number:06d}"

    def load(self) -> StoredChunks:
        """Read what is there; from the first damaged file on, files are deleted and named in ``deleted``."""
        tables = []
        numbers = (
            sorted(int(p.name) for p in self.directory.glob("[0-9]*")) if self.directory.is_dir() else []
        )
        damaged = False
        for number in numbers:
            path = self._path(number)
            data = np.frombuffer(bytearray(path.read_bytes()), np.uint8)
            out = np.empty((len(data) // 30 + 1, 7), np.int64)
            run: Any = _scan
            found = run(data, out) if data[:5].tobytes() == _HEADER[:5] else -1
            if damaged or found < 0:
                damaged = True
                path.unlink()
                self.deleted.append(path)
                continue
            table = out[:found].copy()
            table[:, 3] |= number << 32
            tables.append(table)
            self._maxt[number] = int(table[:, 2].max()) if found else -(1 << 62)
        self._number = max(self._maxt, default=0)
        every = np.concatenate([np.empty((0, 7), np.int64), *tables])
        every = every[(every[:, 5] & 0x80) == 0]
        every = every[np.lexsort((every[:, 1], every[:, 0]))]
        return StoredChunks(*(np.ascontiguousarray(every[:, k]) for k in range(7)))

    def write(
        self,
        chunks: Bytes,
        refs: Int64s,
        begins: Int64s,
        lengths: Int64s,
        times: npt.NDArray[np.int64],
        encodings: Int64s,
    ) -> Int64s:
        """Append chunks, ``chunks[begins[i] : begins[i] + lengths[i]]`` each; returns their places."""
        out = np.empty(int(lengths.sum()) + len(refs) * _OVERHEAD, np.uint8)
        starts = np.empty(len(refs), np.int64)
        run: Any = _put
        size = run(chunks, refs, begins, lengths, times, encodings, out, starts)
        if self._file < 0 or self._size + size > _FILE_BYTES_MAX:
            self._next()
        place = (self._number << 32) | (self._size + starts)
        body: Any = out[:size]
        view = memoryview(body)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except OSError:  # the disk is full: take back the part that was written
            os.ftruncate(self._file, self._size)
            os.lseek(self._file, self._size, os.SEEK_SET)
            raise
        self._size += size
        self._maxt[self._number] = max(self._maxt[self._number], int(times[:, 1].max()))
        return place

    def _next(self) -> None:
        self.close_file()
        self.directory.mkdir(parents=True, exist_ok=True)
        number = self._number + 1
        path = self._path(number)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        try:
            if os.write(file, _HEADER) < len(_HEADER):
                raise OSError(errno.ENOSPC, "the disk is full", str(path))
        except OSError:  # what has no header cannot be read: begin again the next time
            os.close(file)
            path.unlink()
            raise
        self._file, self._number, self._size = file, number, len(_HEADER)
        self._maxt[number] = -(1 << 62)

    def buffer(self, number: int, size: int) -> Bytes:
        """A file's bytes, at least ``size`` of them."""
        found = self._maps.get(number)
        if found is None or len(found) < size:
            with self._path(number).open("rb") as file:
                found = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY), np.uint8)
            self._maps[number] = found
        return found

    def truncate(self, mint_ms: int) -> None:
        """Delete the oldest files as long as all their chunks end before ``mint_ms``."""
        for number in sorted(self._maxt):
            if self._maxt[number] >= mint_ms:
                return
            if number == self._number:
                self.close_file()
            self._path(number).unlink(missing_ok=True)
            self._maps.pop(number, None)
            del self._maxt[number]

    def close_file(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def close(self) -> None:
        self.close_file()
        self._maps.clear()
