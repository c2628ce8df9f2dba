"""The body of a scrape's answer as it arrives: inflated, and bounded all the while.

Mirrors the reading half of targetScraper of scrape/scrape.go.
"""

from __future__ import annotations

import zlib
from typing import Final

import cramjam
import numpy as np

__all__ = ["BodyReader", "BodyTooLarge", "ScrapeFailed"]

_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS


class ScrapeFailed(Exception):
    """A scrape brought nothing; the text is what ``lastError`` shows."""


class BodyTooLarge(ScrapeFailed):
    def __init__(self) -> None:
        super().__init__("body size limit exceeded")


class BodyReader:
    """Takes a body in parts; never keeps more than ``limit`` bytes of it. All methods raise ScrapeFailed."""

    __slots__ = ("_inflate", "_is_zstd", "_limit", "_parts", "_size")

    def __init__(self, encoding: str, limit: int) -> None:
        self._inflate = zlib.decompressobj(_GZIP_WINDOW) if encoding == "gzip" else None
        self._is_zstd = encoding == "zstd"
        if encoding and not self._is_zstd and encoding not in ("gzip", "identity"):
            raise ScrapeFailed(f"unsupported Content-Encoding {encoding!r}")
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, part: bytes) -> None:
        inflate = self._inflate
        if inflate is not None:
            try:
                part = inflate.decompress(part, self._limit - self._size + 1)
            except zlib.error as error:
                raise ScrapeFailed(f"gzip: {error}") from None
        self._size += len(part)
        if self._size > self._limit or (inflate is not None and inflate.unconsumed_tail):
            raise BodyTooLarge
        self._parts.append(part)

    def whole(self) -> bytes:
        """The body, once all parts are there."""
        if self._inflate is not None and not self._inflate.eof:
            raise ScrapeFailed("unexpected EOF")
        body = b"".join(self._parts)
        return _unpacked(body, self._limit) if self._is_zstd else body


def _unpacked(body: bytes, limit: int) -> bytes:
    """zstd undone into a buffer of the limit, of which the system gives only what is written to."""
    buffer = np.empty(limit + 1, np.uint8)
    try:
        size = cramjam.zstd.decompress_into(body, buffer.data)
    except cramjam.DecompressionError as error:
        if "whole buffer" in str(error):  # it is full
            raise BodyTooLarge from None
        raise ScrapeFailed(f"zstd: {error}") from None
    if size > limit:
        raise BodyTooLarge
    return buffer[:size].tobytes()
