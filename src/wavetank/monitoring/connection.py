"""An HTTP connection on which small queries are answered as soon as they are read.

uvicorn's protocol makes a scope, a task and an ASGI conversation of every request: more work than a small
query itself is. A request for ``/api/v1/query`` or ``/api/v1/query_range`` that came in one piece, and whose
header block is byte for byte one that was parsed and admitted before, is offered to a ``Shortcut`` first.
Whatever is unusual in any way, or is not answered there, takes the ordinary way: uvicorn's parser, the
application. Nothing can be answered here that would not be answered there.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from wavetank.limits import AT_ONCE_HEADS_MAX

__all__ = ["Connection", "Heads", "Shortcut"]

_REQUEST: Final = re.compile(rb'(GET|POST) (/api/v1/query(?:_range)?)(?:\?([!"$-~]*))? HTTP/1\.1\r\n')
_END: Final = b"\r\n\r\n"
_HEAD_BYTES_MAX: Final = 8192
_OK: Final = b"HTTP/1.1 200 OK\r\n"
_JSON: Final = b"content-type: application/json\r\ncontent-length: %d\r\n\r\n"
_FORM: Final = b"application/x-www-form-urlencoded"
_UNUSUAL: Final = frozenset((b"transfer-encoding", b"expect", b"upgrade", b"content-encoding"))
_REFUSED: Final = -1

Headers = Sequence[tuple[bytes, bytes]]


class Shortcut(Protocol):
    """Answers some requests without a task."""

    def admits(self, headers: Headers) -> bool:
        """Whether requests with these headers may be answered here."""

    def answer(self, path: str, fields: bytes) -> bytes | None:
        """The body of a good answer, which is JSON; ``fields`` are those of the query or of the form."""


class Heads:
    """Header blocks that were seen: the length of the body they announce, or that they are refused."""

    def __init__(self) -> None:
        self._lengths: dict[tuple[bytes, bytes], int] = {}

    def length(self, method: bytes, head: bytes) -> int | None:
        return self._lengths.get((method, head))

    def learn(self, method: bytes, head: bytes, headers: Headers, shortcut: Shortcut) -> None:
        """``headers`` is what the parser found in ``head``."""
        if len(head) > _HEAD_BYTES_MAX:
            return
        if len(self._lengths) >= AT_ONCE_HEADS_MAX:
            self._lengths.clear()
        length = _body_length(method, headers)
        if length != _REFUSED and not shortcut.admits(headers):
            length = _REFUSED
        self._lengths[method, head] = length


def _body_length(method: bytes, headers: Headers) -> int:
    """Of an ordinary form or of no body at all."""
    values = dict(headers)
    if len(values) != len(headers) or not _UNUSUAL.isdisjoint(values):
        return _REFUSED
    if values.get(b"connection", b"keep-alive").lower() != b"keep-alive":
        return _REFUSED
    length = values.get(b"content-length", b"0")
    if not length.isdigit() or len(length) > 7:
        return _REFUSED
    if method == b"GET":
        return 0 if int(length) == 0 else _REFUSED
    kind = values.get(b"content-type", b"").partition(b";")[0].strip()
    return int(length) if kind == _FORM else _REFUSED


class Connection(HttpToolsProtocol):
    """uvicorn's protocol with a way around it."""

    def __init__(self, *, shortcut: Callable[[], Shortcut | None], heads: Heads, **more: Any) -> None:
        super().__init__(**more)
        self._shortcut = shortcut
        self._heads = heads
        self._inside = False  # a request has begun and not ended
        self._begun = 0

    def on_message_begin(self) -> None:
        self._inside = True
        self._begun += 1
        super().on_message_begin()

    def on_message_complete(self) -> None:
        self._inside = False
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        request = None if self._inside else _REQUEST.match(data)
        shortcut = None if request is None else self._shortcut()
        if request is None or shortcut is None:
            super().data_received(data)
            return
        method, path, query = request.groups()
        end = data.find(_END, request.end() - 2) + len(_END)
        head = data[request.end() : end]
        length = self._heads.length(method, head)
        if length == len(data) - end and self._is_free():
            body = None
            if method == b"GET":
                body = shortcut.answer(path.decode(), query or b"")
            elif query is None:
                body = shortcut.answer(path.decode(), data[end:])
            if body is not None:
                self._respond(body)
                return
        before = self._begun
        super().data_received(data)
        if length is None and self._begun == before + 1 and end > len(_END) and not self._is_closing():
            self._heads.learn(method, head, self.headers, shortcut)

    def _is_closing(self) -> bool:
        return self.parser is None or self.transport.is_closing()

    def _is_free(self) -> bool:
        """Whether nothing else is being answered, and the client takes what is written."""
        busy = self.cycle is not None and not self.cycle.response_complete
        return not busy and not self.pipeline and not self.flow.write_paused and not self._is_closing()

    def _respond(self, body: bytes) -> None:
        always = b"".join(b"%b: %b\r\n" % header for header in self.server_state.default_headers)
        transport: asyncio.Transport = self.transport
        transport.write(b"".join((_OK, always, _JSON % len(body), body)))
        self.on_response_complete()
