"""The body of a scrape's answer as it arrives: inflated, and bounded all the while.

Mirrors the reading half of targetScraper of scrape/scrape.go.
"""

from __future__ import annotations

import zlib
from typing import Final

__all__ = ["BodyReader", "BodyTooLarge", "ScrapeFailed"]

_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS


class ScrapeFailed(Exception):
    """A scrape brought nothing; the text is what ``lastError`` shows."""


class BodyTooLarge(ScrapeFailed):
    def __init__(self) -> None:
        super().__init__("body size limit exceeded")


class BodyReader:
    """Takes a body in parts; never keeps more than ``limit`` bytes of it. All methods raise ScrapeFailed."""

    __slots__ = ("_inflate", "_limit", "_parts", "_size")

    def __init__(self, encoding: str, limit: int) -> None:
        if encoding not in ("", "identity", "gzip"):
            raise ScrapeFailed(f"unsupported Content-Encoding {encoding!r}")
        self._inflate = zlib.decompressobj(_GZIP_WINDOW) if encoding == "gzip" else None
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
        return b"".join(self._parts)
