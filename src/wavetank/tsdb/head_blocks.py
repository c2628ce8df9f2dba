"""The memory of open chunks: blocks of 64 bytes, chained.

A chunk that grows takes one more block of the arena instead of moving to a larger place, so that nothing is
copied while appending, and what is not in use is at most most of one block a series. A block is 56 bytes of
the chunk and the number of the block after it, as a native int64. While a block is the last of its chain, the
bit writer may scribble zeros over that number; it is set when the next block is taken.

The arena is seen two ways: as bytes, and as the same memory in 64-bit words.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from wavetank.jit import kernel
from wavetank.tsdb.chunkenc.bits import Word, copy_bytes, put_bits

__all__ = [
    "PAYLOAD_BITS",
    "PAYLOAD_BYTES",
    "RESERVE_BLOCKS",
    "Arena",
    "copy_chains",
    "free_chains",
    "put_chained",
    "take_block",
]

Bytes = npt.NDArray[np.uint8]
Int64s = npt.NDArray[np.int64]

PAYLOAD_BYTES: Final = 56
PAYLOAD_BITS: Final = PAYLOAD_BYTES * 8
#: Blocks that must be free before a sample is appended: it takes less than two.
RESERVE_BLOCKS: Final = 4


@kernel(inline=True)
def take_block(words: Int64s, arena_state: Int64s) -> Word:
    """A zeroed block's number. arena_state: blocks in use so far, first block of the free list."""
    block = arena_state[1]
    if block >= 0:
        arena_state[1] = words[block * 8 + 7]
    else:
        block = arena_state[0]
        arena_state[0] = block + 1
    begin = np.uint64(block) * np.uint64(8)  # unsigned: no code for negative indexes
    for k in range(8):
        words[begin + np.uint64(k)] = 0
    return block


@kernel(inline=True)
def put_chained(
    arena: Bytes, words: Int64s, arena_state: Int64s, block: Word, inside: Word, value: Word, count: Word
) -> tuple[Word, Word]:
    """Write the low ``count`` bits of ``value`` at bit ``inside`` of the chain's last block, or the next.

    Returns the last block and the position in it.
    """
    left = PAYLOAD_BITS - inside
    if count <= left:
        put_bits(arena, block * 512 + inside, value, count)
        return block, inside + count
    if left > 0:
        put_bits(arena, block * 512 + inside, value >> np.uint64(count - left), left)
    following = take_block(words, arena_state)
    words[block * 8 + 7] = following
    put_bits(arena, following * 512, value, count - left)
    return following, count - left


@kernel("void(int64[::1], int64[::1], int64[::1], int64[::1], uint8[::1], int64[::1], uint8[::1])")
def copy_chains(
    firsts: Int64s, sizes: Int64s, counts: Int64s, targets: Int64s, arena: Bytes, words: Int64s, out: Bytes
) -> None:
    """Chunks of ``sizes`` bytes out of their chains, with their sample counts written into their heads."""
    for i in range(len(firsts)):
        block = firsts[i]
        at = targets[i]
        left = sizes[i]
        while left > 0:
            part = min(left, PAYLOAD_BYTES)
            copy_bytes(arena, block * 64, out, at, part)
            at += part
            left -= part
            block = words[block * 8 + 7]
        out[targets[i]] = counts[i] >> 8
        out[targets[i] + 1] = counts[i] & 0xFF


@kernel("void(int64[::1], int64[::1], int64[::1], int64[::1])")
def free_chains(firsts: Int64s, sizes: Int64s, words: Int64s, arena_state: Int64s) -> None:
    """Put the blocks of chunks of ``sizes`` bytes on the free list."""
    for i in range(len(firsts)):
        block = firsts[i]
        for _ in range((sizes[i] - 1) // PAYLOAD_BYTES):
            block = words[block * 8 + 7]
        words[block * 8 + 7] = arena_state[1]
        arena_state[1] = firsts[i]


class Arena:
    """Blocks by number, and the free list among them."""

    def __init__(self, blocks: int = 1024) -> None:
        self._allocate(blocks)
        self.state = np.array([0, -1], np.int64)

    def _allocate(self, blocks: int) -> None:
        # a block is a cache line: the first one begins where a line does
        raw = np.empty(blocks * 8 + 8, np.int64)
        shift = -(raw.ctypes.data // 8) % 8
        self.words = raw[shift : shift + blocks * 8]
        self.bytes: Any = self.words.view(np.uint8)

    def grow(self) -> None:
        """Half as large again, if few blocks are left."""
        used = int(self.state[0])
        if len(self.words) // 8 - used > RESERVE_BLOCKS:
            return
        old = self.words
        self._allocate(len(old) // 8 * 3 // 2 + 1024)
        self.words[: used * 8] = old[: used * 8]
