"""A directory of log segments: appending to it, reading it back. Mirrors ``tsdb/wlog/wlog.go``.

Records handed to ``log`` are with the operating system when it returns, so they survive the death of this
process; segments are synced when they are complete and at ``close``, as upstream does.
"""

from __future__ import annotations

import mmap
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cramjam
import numpy as np
import numpy.typing as npt

from wavetank.tsdb.errors import CorruptionError
from wavetank.tsdb.options import Compression
from wavetank.tsdb.wal.framing import PAGE_BYTES, SNAPPY, ZSTD, frame, framed_size_max, scan

__all__ = ["Batch", "Damage", "Log", "checkpoint_of", "expanded", "read_segment", "repair", "segments"]

Bytes = npt.NDArray[np.uint8]
Int64s = npt.NDArray[np.int64]

_SEGMENT: Final = re.compile(r"\d{8,}\Z")
_CHECKPOINT: Final = re.compile(r"checkpoint\.(\d{8,})\Z")
_SLICE_BYTES: Final = 8 * 1024 * 1024  # how much of a segment is in memory at a time
_RECORD_BYTES_MAX: Final = 256 * 1024 * 1024  # a compressed record that claims more is corrupt
_FAULTS: Final = {
    1: "the last record is cut off",
    2: "unknown fragment type",
    3: "a fragment longer than its page",
    4: "checksum mismatch",
    5: "fragments out of sequence",
    6: "non-zero byte in padding",
}


@dataclass(frozen=True, slots=True)
class Damage:
    """Where a segment stops making sense."""

    path: Path
    offset: int
    reason: str
    lost_bytes: int

    def __str__(self) -> str:
        return f"{self.path}: {self.reason} at offset {self.offset}, {self.lost_bytes} bytes not read"


@dataclass(frozen=True, slots=True)
class Batch:
    """Some records of a segment; record ``i`` is ``data[begins[i]:ends[i]]``, its type the first byte.

    ``reached`` is how far into the segment they go, in bytes.
    """

    data: Bytes
    begins: Int64s
    ends: Int64s
    reached: int = 0

    def types(self) -> Bytes:
        kinds = np.zeros(len(self.begins), np.uint8)
        filled = self.ends > self.begins
        kinds[filled] = self.data[self.begins[filled]]
        return kinds

    def record(self, index: int) -> bytes:
        return self.data[self.begins[index] : self.ends[index]].tobytes()


def segments(directory: Path) -> list[tuple[int, Path]]:
    """Segment files in order."""
    if not directory.is_dir():
        return []
    return sorted((int(p.name), p) for p in directory.iterdir() if _SEGMENT.match(p.name) and p.is_file())


def checkpoint_of(directory: Path) -> tuple[int, Path] | None:
    """The newest checkpoint: which segment it reaches to, and its directory."""
    if not directory.is_dir():
        return None
    found = [
        (int(m.group(1)), p) for p in directory.iterdir() if (m := _CHECKPOINT.match(p.name)) and p.is_dir()
    ]
    return max(found, default=None)


def read_segment(path: Path, damage: list[Damage]) -> Iterator[Batch]:
    """Records of a segment in batches. Where it is damaged, reading goes on at the next page that can be
    read, and ``damage`` gets a line."""
    size = path.stat().st_size
    if size == 0:
        return
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    data = np.frombuffer(mapped, np.uint8)
    at = 0
    window = _SLICE_BYTES
    while at < size:
        until = min(size, (at + window) // PAGE_BYTES * PAGE_BYTES + PAGE_BYTES)
        out, ends, flags, following, fault, where = scan(data, at, until)
        if len(ends):
            yield expanded(out, ends, flags, following)
        if fault == 1 and until < size and not len(ends):
            window *= 2  # one record longer than the window
            continue
        if following > at or (fault == 0 and following == until):
            at = following
            if fault in (0, 1) and at < until and (until < size or fault == 0):
                window = _SLICE_BYTES
                continue
        if at >= size:
            return
        if fault == 0 or (fault == 1 and until < size):
            continue
        resumed = _next_start(data, where, size)
        damage.append(Damage(path, at, _FAULTS[fault], resumed - at))
        at = resumed


def _next_start(data: Bytes, at: int, size: int) -> int:
    """The next page whose first fragment begins a record, or the end."""
    page = (at // PAGE_BYTES + 1) * PAGE_BYTES
    while page < size:
        if int(data[page]) & 7 in (1, 2):
            return page
        page += PAGE_BYTES
    return size


def expanded(out: Bytes, ends: Int64s, flags: Int64s, reached: int) -> Batch:
    """Uncompress what is compressed; a record that does not uncompress is left out (its CRC was right)."""
    begins = np.concatenate([np.zeros(1, np.int64), ends[:-1]])
    if not flags.any():
        return Batch(out, begins, ends, reached)
    parts: list[Any] = []
    for begin, end, flag in zip(begins.tolist(), ends.tolist(), flags.tolist(), strict=True):
        piece = out[begin:end]
        parts.append(_uncompressed(piece, flag) if flag else piece)
    sizes = np.array([len(p) for p in parts], np.int64)
    new_ends = np.cumsum(sizes)
    joined = np.empty(max(1, int(new_ends[-1])), np.uint8)
    for part, end, length in zip(parts, new_ends.tolist(), sizes.tolist(), strict=True):
        joined[end - length : end] = np.frombuffer(part, np.uint8) if length else 0
    return Batch(joined, new_ends - sizes, new_ends, reached)


def _uncompressed(piece: Any, flag: int) -> Any:
    try:
        if flag & SNAPPY:
            if cramjam.snappy.decompress_raw_len(piece) > _RECORD_BYTES_MAX:
                return b""
            return cramjam.snappy.decompress_raw(piece)
        return cramjam.zstd.decompress(piece)
    except (cramjam.DecompressionError, ValueError, OverflowError):
        return b""


class Log:
    """Appends records. Opening always starts a new segment, as upstream does."""

    def __init__(self, directory: Path, segment_bytes: int, compression: Compression) -> None:
        self.directory = directory
        self._segment_bytes = max(PAGE_BYTES, segment_bytes // PAGE_BYTES * PAGE_BYTES)
        self._compression = compression
        directory.mkdir(parents=True, exist_ok=True)
        found = segments(directory)
        checkpoint = checkpoint_of(directory)
        self.segment = max(found[-1][0] if found else -1, checkpoint[0] if checkpoint else -1) + 1
        self._file = -1
        self._size = 0
        self._open_segment()

    def _open_segment(self) -> None:
        path = self.directory / f"{self.segment:08d}"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        self._size = os.fstat(self._file).st_size

    def next_segment(self) -> int:
        """Close the current segment, padded to a page, and start the next; returns its number."""
        self.end_page()
        os.fsync(self._file)
        before = self._file
        self.segment += 1
        try:
            self._open_segment()
        except OSError:
            self.segment -= 1
            raise
        os.close(before)
        return self.segment

    def log(self, records: Iterable[bytes | Bytes]) -> None:
        """Append records in order; on return they are with the operating system.

        Each is written before the next is asked for. Where the disk is full none stays, unless a segment
        was filled on the way.
        """
        segment, begin = self.segment, self._size
        try:
            for record in records:
                self._log_one(record)
        except OSError:
            if self.segment == segment and self._size > begin:
                os.ftruncate(self._file, begin)
                self._size = begin
            raise

    def _log_one(self, record: bytes | Bytes) -> None:
        raw = np.frombuffer(bytearray(record), np.uint8) if isinstance(record, bytes) else record
        body, flag = self._compressed(raw)
        room = framed_size_max(len(body))
        if self._size + room > self._segment_bytes and self._size > 0:
            self.next_segment()
        framed = np.empty(room, np.uint8)
        end = frame(body, flag, self._size % PAGE_BYTES, framed, 0)
        self._write(framed[:end].data)

    def _compressed(self, raw: Any) -> tuple[Bytes, int]:
        if self._compression == "none" or not len(raw):
            return raw, 0
        if self._compression == "snappy":
            packed, flag = cramjam.snappy.compress_raw(raw), SNAPPY
        else:
            packed, flag = cramjam.zstd.compress(raw), ZSTD
        if len(packed) >= len(raw):
            return raw, 0
        return np.frombuffer(bytearray(packed), np.uint8), flag

    def _write(self, data: bytes | memoryview) -> None:
        """All of it or nothing: a disk that is full may take a part, after which no reader could go on."""
        begin = self._size
        view = memoryview(data)
        try:
            while view:
                written = os.write(self._file, view)
                self._size += written
                view = view[written:]
        except OSError:
            os.ftruncate(self._file, begin)
            self._size = begin
            raise

    def end_page(self) -> tuple[int, int]:
        """Fill the page up, as readers from an offset on expect; returns the segment's number and size."""
        padding = -self._size % PAGE_BYTES
        if padding:
            self._write(bytes(padding))
        return self.segment, self._size

    def sync(self) -> None:
        os.fsync(self._file)

    def close(self) -> None:
        if self._file >= 0:
            os.fsync(self._file)
            os.close(self._file)
            self._file = -1

    def truncate_before(self, segment: int) -> None:
        """Delete segments and checkpoints older than ``segment``; checkpoints that reach just there stay."""
        for number, path in segments(self.directory):
            if number < segment:
                path.unlink()
        newest = checkpoint_of(self.directory)
        for path in self.directory.iterdir():
            found = _CHECKPOINT.match(path.name)
            if found and newest and int(found.group(1)) < newest[0]:
                shutil.rmtree(path)


def repair(path: Path, damage: Damage) -> None:
    """Cut a segment where it was damaged, so that later segments can be read by upstream too."""
    if not 0 <= damage.offset <= path.stat().st_size:
        raise CorruptionError(f"{path}: cannot be cut at {damage.offset}")
    os.truncate(path, damage.offset)
