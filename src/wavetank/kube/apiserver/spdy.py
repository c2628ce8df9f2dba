"""Frames of SPDY/3.1 as port forwarding uses them: bytes in, frames out, and back.

Mirrors what moby/spdystream reads and writes. Spec: draft-mbelshe-httpbis-spdy-00. Left out: flow control
(spdystream ignores windows too), settings, server push, priorities.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from wavetank.errors import InputError
from wavetank.limits import KUBE_SPDY_FRAME_BYTES_MAX, KUBE_SPDY_HEADER_BYTES_MAX

__all__ = ["DataFrame", "GoAway", "Ping", "Reset", "SpdyCodec", "SynStream"]

_VERSION: Final = 0x8003
_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _PING, _GOAWAY = 1, 2, 3, 6, 7
_FIN: Final = 1


def _dictionary() -> bytes:
    """The zlib dictionary of the spec, section 2.6.10.1: words with their lengths, then bare text."""
    words = (
        "options head post put delete trace accept accept-charset accept-encoding accept-language "
        "accept-ranges age allow authorization cache-control connection content-base content-encoding "
        "content-language content-length content-location content-md5 content-range content-type date etag "
        "expect expires from host if-match if-modified-since if-none-match if-range if-unmodified-since "
        "last-modified location max-forwards pragma proxy-authenticate proxy-authorization range referer "
        "retry-after server te trailer transfer-encoding upgrade user-agent vary via warning "
        "www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie keep-alive origin"
    )
    listed = b"".join(
        struct.pack(">I", len(word)) + word.replace("_", " ").encode() for word in words.split(" ")
    )
    tail = (
        "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
        "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
        "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
        "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
        "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
        "text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
    )
    return listed + tail.encode()


_DICTIONARY: Final = _dictionary()


@dataclass(frozen=True, slots=True)
class SynStream:
    """The peer opens a stream. Header names are in lower case."""

    stream: int
    headers: Mapping[str, str]
    fin: bool


@dataclass(frozen=True, slots=True)
class DataFrame:
    stream: int
    data: bytes
    fin: bool


@dataclass(frozen=True, slots=True)
class Reset:
    stream: int


@dataclass(frozen=True, slots=True)
class Ping:
    number: int


@dataclass(frozen=True, slots=True)
class GoAway:
    """The peer opens no more streams."""


Frame = SynStream | DataFrame | Reset | Ping | GoAway


@dataclass(slots=True)
class SpdyCodec:
    """One connection: header compression has a state in each direction, so frames must not be reordered."""

    _buffer: bytearray = field(default_factory=bytearray)
    _inflate: zlib._Decompress = field(default_factory=lambda: zlib.decompressobj(zdict=_DICTIONARY))
    _deflate: zlib._Compress = field(default_factory=lambda: zlib.compressobj(zdict=_DICTIONARY))

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete. Raises InputError where the bytes are no SPDY."""
        self._buffer += data
        while len(self._buffer) >= 8:
            length = int.from_bytes(self._buffer[5:8], "big")
            if length > KUBE_SPDY_FRAME_BYTES_MAX:
                raise InputError(f"a SPDY frame of {length} bytes; at most {KUBE_SPDY_FRAME_BYTES_MAX}")
            if len(self._buffer) < 8 + length:
                return
            head, body = bytes(self._buffer[:8]), bytes(self._buffer[8 : 8 + length])
            del self._buffer[: 8 + length]
            frame = self._control(head, body) if head[0] & 0x80 else _data(head, body)
            if frame is not None:
                yield frame

    def _control(self, head: bytes, body: bytes) -> Frame | None:
        version, kind = struct.unpack(">HH", head[:4])
        if version != _VERSION:
            raise InputError(f"SPDY version {version & 0x7FFF}; only 3 is spoken")
        try:
            if kind == _SYN_STREAM:
                return SynStream(_word(body, 0), self._headers(body[10:]), bool(head[4] & _FIN))
            if kind == _RST_STREAM:
                return Reset(_word(body, 0))
            if kind == _PING:
                return Ping(int.from_bytes(body[:4], "big"))
        except (struct.error, zlib.error, UnicodeDecodeError) as error:
            raise InputError(f"a SPDY frame of type {kind} cannot be read: {error}") from None
        return GoAway() if kind == _GOAWAY else None

    def _headers(self, block: bytes) -> dict[str, str]:
        plain = self._inflate.decompress(block, KUBE_SPDY_HEADER_BYTES_MAX)
        if self._inflate.unconsumed_tail:
            raise InputError(f"SPDY headers of more than {KUBE_SPDY_HEADER_BYTES_MAX} bytes")
        (count,) = struct.unpack_from(">I", plain)
        texts: list[str] = []
        place = 4
        while len(texts) < 2 * count:
            (size,) = struct.unpack_from(">I", plain, place)
            texts.append(plain[place + 4 : place + 4 + size].decode())
            place += 4 + size
        return {name.lower(): value for name, value in zip(texts[::2], texts[1::2], strict=True)}

    def reply(self, stream: int) -> bytes:
        """SYN_REPLY without headers: the stream is open."""
        block = self._deflate.compress(struct.pack(">I", 0)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        return _frame(_SYN_REPLY, struct.pack(">I", stream) + block)


def data_frame(stream: int, data: bytes, *, fin: bool = False) -> bytes:
    return struct.pack(">II", stream, (_FIN if fin else 0) << 24 | len(data)) + data


def ping_frame(number: int) -> bytes:
    return _frame(_PING, struct.pack(">I", number))


def _frame(kind: int, body: bytes) -> bytes:
    return struct.pack(">HHI", _VERSION, kind, len(body)) + body


def _data(head: bytes, body: bytes) -> DataFrame:
    return DataFrame(_word(head, 0), body, bool(head[4] & _FIN))


def _word(data: bytes, place: int) -> int:
    """A stream's number."""
    (value,) = struct.unpack_from(">I", data, place)
    return int(value) & 0x7FFFFFFF
