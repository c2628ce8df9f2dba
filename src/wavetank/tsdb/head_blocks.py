"""The memory of open chunks: blocks of 64 bytes, chained.

A chunk that grows takes one more block of the arena instead of moving to a larger place, so that nothing is
copied while appending, and what is not in use is at most most of one block a series. Which block follows
which stands in a table of its own, four bytes a block.

Inside a block the chunk's bit stream stands as eight 64-bit words, the first bit the highest of the first
word, so that a code is written with shifts alone; chunks become bytes when they are copied out.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from wavetank.jit import kernel
from wavetank.limits import ARENA_BLOCKS_RESERVED
from wavetank.tsdb.chunkenc.bits import Word, prefetch, put_u64
from wavetank.tsdb.reserve import Reserve

__all__ = [
    "BLOCK_BITS",
    "BLOCK_BYTES",
    "RESERVE_BLOCKS",
    "Arena",
    "copy_chains",
    "free_chains",
    "put_chained",
    "put_uvarint_chained",
    "take_block",
]

Bytes = npt.NDArray[np.uint8]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

BLOCK_BYTES: Final = 64
BLOCK_BITS: Final = BLOCK_BYTES * 8
_CHAINS_AHEAD: Final = 4
#: Blocks that must be free before a sample is appended: it takes less than two.
RESERVE_BLOCKS: Final = 4


@kernel(inline=True, allocates=False)
def take_block(words: Words, links: Int32s, arena_state: Int64s) -> Word:
    """A zeroed block's number. arena_state: blocks in use so far, first block of the free list."""
    block = arena_state[1]
    if block >= 0:
        arena_state[1] = links[np.uint64(block)]
    else:
        block = arena_state[0]
        arena_state[0] = block + 1
    begin = np.uint64(block) * np.uint64(8)  # unsigned: no code for negative indexes
    for k in range(8):
        words[begin + np.uint64(k)] = np.uint64(0)
    return block


@kernel(inline=True, allocates=False)
def put_chained(
    words: Words, links: Int32s, arena_state: Int64s, block: Word, inside: Word, value: Word, count: Word
) -> tuple[Word, Word]:
    """Write the low ``count`` (1 to 64) bits of ``value`` at bit ``inside`` of the chain's last block.

    What does not fit goes to a new block. Returns the last block and the position in it.
    """
    index = np.uint64(inside) >> np.uint64(6)
    shift = np.uint64(inside) & np.uint64(63)
    aligned = np.uint64(value) << np.uint64(64 - count)
    at = np.uint64(block) * np.uint64(8) + index
    if index < np.uint64(7):
        words[at] |= aligned >> shift
        # in two steps: a shift by 64 does nothing
        words[at + np.uint64(1)] |= (aligned << np.uint64(1)) << (np.uint64(63) - shift)
        return block, inside + count
    rest = aligned  # index 8: a full block stays the last until more comes
    if index == np.uint64(7):
        words[at] |= aligned >> shift
        if np.int64(shift) + count <= 64:
            return block, inside + count
        rest = aligned << (np.uint64(64) - shift)
    following = take_block(words, links, arena_state)
    links[np.uint64(block)] = following
    words[np.uint64(following) * np.uint64(8)] = rest
    return following, inside + count - 512


@kernel(inline=True, allocates=False)
def put_uvarint_chained(
    words: Words, links: Int32s, arena_state: Int64s, block: Word, inside: Word, value: Word
) -> tuple[Word, Word]:
    """Write an unsigned LEB128 integer; returns as ``put_chained``."""
    rest = np.uint64(value)
    while rest >= np.uint64(0x80):
        byte = (rest & np.uint64(0x7F)) | np.uint64(0x80)
        block, inside = put_chained(words, links, arena_state, block, inside, byte, np.int64(8))
        rest >>= np.uint64(7)
    return put_chained(words, links, arena_state, block, inside, rest, np.int64(8))


@kernel(
    "void(int64[::1], int64[::1], int64[::1], int64[::1], uint64[::1], int32[::1], uint8[::1])",
    allocates=False,
)
def copy_chains(
    firsts: Int64s,
    sizes: Int64s,
    counts: Int64s,
    targets: Int64s,
    words: Words,
    links: Int32s,
    out: Bytes,
) -> None:
    """Chunks of ``sizes`` bytes out of their chains, with their sample counts written into their heads."""
    for i in range(-_CHAINS_AHEAD, len(firsts)):
        soon = i + _CHAINS_AHEAD
        if soon < len(firsts):
            # Blocks lie anywhere: ask for those of a later chunk while this one is copied.
            block = np.uint64(firsts[soon])
            for _ in range((sizes[soon] - 1) // BLOCK_BYTES):
                prefetch(words, np.int64(block) * 8)
                block = np.uint64(links[block])
            prefetch(words, np.int64(block) * 8)
        if i < 0:
            continue
        at = np.uint64(firsts[i]) * np.uint64(8)
        target = targets[i]
        whole = sizes[i] >> 3
        for k in range(whole + 1):
            if k > 0 and k & 7 == 0 and k * 8 < sizes[i]:
                at = np.uint64(links[at >> np.uint64(3)]) * np.uint64(8)
            word = words[at + np.uint64(k & 7)]
            if k < whole:
                put_u64(out, target + k * 8, word)
            else:
                for j in range(sizes[i] & 7):
                    out[target + k * 8 + j] = np.uint8(word >> np.uint64(56 - 8 * j))
        out[target] = counts[i] >> 8
        out[target + 1] = counts[i] & 0xFF


@kernel("void(int64[::1], int64[::1], int32[::1], int64[::1])", allocates=False)
def free_chains(firsts: Int64s, sizes: Int64s, links: Int32s, arena_state: Int64s) -> None:
    """Put the blocks of chunks of ``sizes`` bytes on the free list."""
    for i in range(len(firsts)):
        block = firsts[i]
        for _ in range((sizes[i] - 1) // BLOCK_BYTES):
            block = np.int64(links[block])
        links[block] = arena_state[1]
        arena_state[1] = firsts[i]


@kernel(
    "void(int64[::1], int64[::1], uint64[::1], int32[::1], uint64[::1], int32[::1], int64[::1], int64[::1])",
    allocates=False,
)
def _move_chains(
    firsts: Int64s,
    sizes: Int64s,
    words: Words,
    links: Int32s,
    new_words: Words,
    new_links: Int32s,
    new_firsts: Int64s,
    new_lasts: Int64s,
) -> None:
    """Copy the chains of chunks of ``sizes`` bytes to the beginning of another arena, one after the other."""
    to = np.int64(0)
    for i in range(len(firsts)):
        block = firsts[i]
        new_firsts[i] = to
        for k in range((sizes[i] - 1) // BLOCK_BYTES + 1):
            if k > 0:
                block = np.int64(links[block])
                new_links[to - 1] = to
            for j in range(8):
                new_words[to * 8 + j] = words[block * 8 + j]
            to += 1
        new_lasts[i] = to - 1


class Arena:
    """Blocks by number, the block after each, and the free list among them."""

    def __init__(self, blocks: int = 1024) -> None:
        # a block is a cache line; pages, where a reserve begins, begin with one
        self._words = Reserve((ARENA_BLOCKS_RESERVED * 8,), np.uint64, blocks * 8)
        self._links = Reserve((ARENA_BLOCKS_RESERVED,), np.int32, blocks)
        self.words: Words = self._words.view
        self.links: Int32s = self._links.view
        self.state = np.array([0, -1], np.int64)

    def grow(self) -> None:
        """Half as large again, if few blocks are left."""
        if len(self.links) - int(self.state[0]) > RESERVE_BLOCKS:
            return
        blocks = len(self.links) * 3 // 2 + 1024
        self.words, self.links = self._words.grow(blocks * 8), self._links.grow(blocks)

    def packed(self, firsts: Int64s, sizes: Int64s) -> tuple[Arena, Int64s, Int64s]:
        """An arena with these chunks of ``sizes`` bytes alone, without holes; their first and last blocks."""
        blocks = int(((sizes - 1) // BLOCK_BYTES + 1).sum())
        made = Arena(blocks + 1024)
        new_firsts, new_lasts = np.empty(len(firsts), np.int64), np.empty(len(firsts), np.int64)
        _move_chains(firsts, sizes, self.words, self.links, made.words, made.links, new_firsts, new_lasts)
        made.state[0] = blocks
        return made, new_firsts, new_lasts
