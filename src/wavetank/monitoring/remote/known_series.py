"""Series a sender repeats, known by fingerprints of their labels.

Stands where upstream's write handler parses and hashes the labels of every series of every request. A
fingerprint has 128 bits, so that two series never meet in one by chance (2e-27 for a million of them); the
labels themselves are not kept: 32 bytes and some air a series.
"""

from __future__ import annotations

import threading
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from wavetank.jit import kernel
from wavetank.limits import REMOTE_SERIES_REMEMBERED_MAX
from wavetank.tsdb.chunkenc.bits import Word, u64_at

__all__ = ["KnownSeries", "fingerprint", "mix"]

Bytes = npt.NDArray[np.uint8]
Int64s = npt.NDArray[np.int64]
UInt64s = npt.NDArray[np.uint64]

_SLOTS_MIN: Final = 1024


@kernel(inline=True)
def mix(high: Word, low: Word, one: Word, other: Word) -> tuple[Word, Word]:
    """Take a word into each half of a fingerprint; each half is a hash of its own."""
    high = (high ^ one) * np.uint64(0x9E3779B97F4A7C15)
    low = (low + other) * np.uint64(0xD6E8FEB86659FD93)
    return high ^ (high >> np.uint64(32)), low ^ (low >> np.uint64(29))


@kernel(inline=True)
def fingerprint(data: Bytes, begin: Word, end: Word, high: Word, low: Word) -> tuple[Word, Word]:
    """Of ``data[begin:end]``, going on from ``(high, low)``."""
    high, low = mix(high, low, np.uint64(end - begin), np.uint64(end - begin))
    at = begin
    while at + 8 <= end:
        word = u64_at(data, at)
        high, low = mix(high, low, word, word)
        at += 8
    if at < end:
        rest = np.uint64(0)
        while at < end:
            rest = (rest << np.uint64(8)) | np.uint64(data[at])
            at += 1
        high, low = mix(high, low, rest, rest)
    return high, low


@kernel("void(uint64[::1], uint64[::1], uint64[:, ::1], int64[::1], int64[::1])")
def _find(highs: UInt64s, lows: UInt64s, keys: Any, refs: Int64s, found: Int64s) -> None:
    """The slot of each fingerprint, -1 for one that is not there. Few slots are looked at: who makes
    fingerprints meet on purpose only makes his own series unknown."""
    mask = np.uint64(len(refs) - 1)
    for i in range(len(highs)):
        slot = lows[i] & mask
        found[i] = -1
        for _ in range(64):
            if refs[slot] == 0:
                break
            if keys[slot, 0] == highs[i] and keys[slot, 1] == lows[i]:
                found[i] = np.int64(slot)
                break
            slot = (slot + np.uint64(1)) & mask


@kernel("int64(uint64[:, ::1], int64[::1], uint64[:, ::1], int64[::1])")
def _insert(new_keys: Any, new_refs: Int64s, keys: Any, refs: Int64s) -> Word:
    """Note references (those of 0 are left out); returns how many slots were taken."""
    mask = np.uint64(len(refs) - 1)
    taken = 0
    for i in range(len(new_refs)):
        if new_refs[i] == 0:
            continue
        slot = new_keys[i, 1] & mask
        for _ in range(64):
            same = keys[slot, 0] == new_keys[i, 0] and keys[slot, 1] == new_keys[i, 1]
            if refs[slot] == 0 or same:
                taken += refs[slot] == 0
                keys[slot, 0] = new_keys[i, 0]
                keys[slot, 1] = new_keys[i, 1]
                keys[slot, 2] = new_keys[i, 2]
                refs[slot] = new_refs[i]
                break
            slot = (slot + np.uint64(1)) & mask
    return taken


class KnownSeries:
    """References by fingerprint, and what was last said of each series. For any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.forget()

    def forget(self) -> None:
        """As at the start: references may no longer be what they were."""
        with self._lock:
            self._reset(_SLOTS_MIN)

    def _reset(self, slots: int) -> None:
        self._keys = np.zeros((slots, 3), np.uint64)  # both halves, and a hash of the metadata
        self._refs = np.zeros(slots, np.int64)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def find(self, highs: UInt64s, lows: UInt64s) -> tuple[Int64s, UInt64s]:
        """The reference of each fingerprint, 0 where it is not known, and the hash of its metadata."""
        found = np.empty(len(highs), np.int64)
        run: Any = _find
        with self._lock:
            run(highs, lows, self._keys, self._refs, found)
            # slot -1 stands for any: what is read there is not used
            return np.where(found >= 0, self._refs[found], 0), self._keys[found, 2]

    def learn(self, highs: UInt64s, lows: UInt64s, metadata: UInt64s, refs: Int64s) -> None:
        """Note what series are stored as."""
        keys = np.ascontiguousarray(np.stack((highs, lows, metadata), axis=1))
        run: Any = _insert
        with self._lock:
            if self._count + len(refs) > REMOTE_SERIES_REMEMBERED_MAX:
                self._reset(_SLOTS_MIN)
            slots = len(self._refs)
            while slots < 2 * (self._count + len(refs)):
                slots *= 2
            if slots > len(self._refs):
                old_keys, old_refs = self._keys, self._refs
                self._reset(slots)
                self._count = int(run(old_keys, old_refs, self._keys, self._refs))
            self._count += int(run(keys, refs, self._keys, self._refs))
