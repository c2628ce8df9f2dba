"""The common scrape: GET over HTTP/1.1 without TLS or proxy, one kept connection a target.

Does what the transport of Go's net/http does for Prometheus here. A scrape of a thousand series costs less
than a millisecond in all, of which a general HTTP client would take half; so the request is bytes made once,
and httptools (which uvicorn brings) reads the answer. What is less plain (redirects, TLS, proxies, user names
in addresses) is left to ``http_client``.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import httptools

from wavetank.limits import SCRAPE_HEAD_BYTES_MAX
from wavetank.monitoring.scrape.body import BodyReader, ScrapeFailed

__all__ = ["Answer", "PlainConnection", "Redirected", "address_of"]

# Visible ASCII and no user name: what can stand in a request line as it is.
_PLAIN_URL: Final = re.compile(r"http://[!-?A-~]+")
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_NEEDED: Final = frozenset((b"content-type", b"content-encoding", b"content-length", b"transfer-encoding"))


class Redirected(Exception):
    """The answer is elsewhere."""


class _Gone(OSError):
    """The connection ended before the answer began."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came. ``body`` is inflated, and empty unless the status is 200."""

    status: int
    reason: str
    content_type: str
    body: bytes


def address_of(url: str) -> tuple[str, int, str, str] | None:
    """``(host, port, Host header, request target)`` of a plain URL; None for any other."""
    if not _PLAIN_URL.fullmatch(url):
        return None
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host:
        return None
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return host, port or 80, parts.netloc, target


class PlainConnection:
    """Sends requests one after the other, on one connection while both sides keep it."""

    def __init__(self, host: str, port: int, limit: int) -> None:
        self._host = host
        self._port = port
        self._limit = limit
        self._open: _Exchange | None = None

    async def exchange(self, request: bytes) -> Answer:
        """Raises OSError, ScrapeFailed for a body that is too large or broken, and Redirected."""
        kept = self._open
        if kept is not None and kept.is_open:
            try:
                return await kept.exchange(request)
            except _Gone:
                pass  # closed by the other side while it was idle
        self._open = fresh = await self._connect()
        return await fresh.exchange(request)

    async def _connect(self) -> _Exchange:
        self.close()
        loop = asyncio.get_running_loop()
        made: _Exchange
        _, made = await loop.create_connection(lambda: _Exchange(self._limit), self._host, self._port)
        return made

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None


class _Exchange(asyncio.Protocol):
    """One connection; the methods ``on_...`` are httptools'."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._transport: Any = None
        self._parser: Any = httptools.HttpResponseParser(self)
        self._answered: asyncio.Future[Answer] | None = None
        self._headers: dict[bytes, bytes] = {}
        self._reason = b""
        self._body: BodyReader | None = None
        self._problem: Exception | None = None
        self._received = 0

    @property
    def is_open(self) -> bool:
        return self._transport is not None

    async def exchange(self, request: bytes) -> Answer:
        self._headers, self._reason, self._body, self._problem = {}, b"", None, None
        self._received = 0
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._answered = answered
        self._transport.write(request)
        try:
            return await answered
        except BaseException:
            self.close()  # also when cancelled: what comes later is not the next request's answer
            raise

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    # --- transport ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._answered is None or self._answered.done():
            self.close()  # nobody asked
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(self._problem or ScrapeFailed(f"malformed HTTP response: {error}"))
            return
        except httptools.HttpParserUpgrade:
            self._fail(ScrapeFailed("malformed HTTP response: the protocol changes"))
            return
        # A head without end, or chunks that are all extension: neither is body.
        most = SCRAPE_HEAD_BYTES_MAX + (0 if self._body is None else 2 * self._limit)
        if self._received > most:
            self._fail(ScrapeFailed("malformed HTTP response: too much that is not body"))

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._answered is None or self._answered.done():
            return
        if not self._received:
            self._fail(_Gone(str(error or "EOF")))
        elif self._body is not None and self._ends_with_connection():
            self.on_message_complete()
        else:
            self._fail(ScrapeFailed("unexpected EOF"))

    def _ends_with_connection(self) -> bool:
        return b"content-length" not in self._headers and b"transfer-encoding" not in self._headers

    def _fail(self, problem: Exception) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(problem)
        self.close()

    # --- parser -------------------------------------------------------------------------------------

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in _NEEDED:
            self._headers[name] = value

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status in _REDIRECTS:
            self._problem = Redirected()
        elif status == 200:
            encoding = self._headers.get(b"content-encoding", b"").decode("latin-1").lower()
            try:
                self._body = BodyReader(encoding, self._limit)
            except ScrapeFailed as error:
                self._problem = error
        if self._problem is not None:
            raise self._problem

    def on_body(self, part: bytes) -> None:
        if self._body is not None:
            try:
                self._body.add(part)
            except ScrapeFailed as error:
                self._problem = error
                raise

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if 100 <= status < 200:  # "go on": the answer follows
            self._headers, self._reason = {}, b""
            return
        answered = self._answered
        if answered is None or answered.done():
            return
        try:
            body = b"" if self._body is None else self._body.whole()
        except ScrapeFailed as error:
            answered.set_exception(error)
            return
        kind = self._headers.get(b"content-type", b"").decode("latin-1")
        answered.set_result(Answer(status, self._reason.decode("latin-1"), kind, body))
        if not self._parser.should_keep_alive():
            self.close()
