"""A connection that sends what one turn of the event loop makes in one piece.

uvicorn writes the head of an answer and its body one by one; with TLS each is a record and a system call of
its own, which for small answers is a tenth of all the work.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from wavetank.kube.apiserver.spdy_upgrade import SpdyConnection

__all__ = ["Connection"]


class _Gathering:
    """A transport in front of another: writes wait for the end of the turn."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> None:
        if not self._pieces:
            self._loop.call_soon(self.flush)
        self._pieces.append(data)

    def flush(self) -> None:
        pieces, self._pieces = self._pieces, []
        if pieces and not self._transport.is_closing():
            self._transport.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Connection(HttpToolsProtocol):
    """uvicorn's HTTP protocol over a gathering transport."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(_Gathering(transport, self.loop))  # type: ignore[arg-type]

    def _should_upgrade(self) -> bool:
        return super()._should_upgrade() or self._get_upgrade() == b"spdy/3.1"

    def handle_websocket_upgrade(self) -> None:
        if self._get_upgrade() != b"spdy/3.1":
            super().handle_websocket_upgrade()
            return
        self.connections.discard(self)
        # The client sends nothing more before it is answered.
        taken_over: Any = SpdyConnection(self)
        self.transport.set_protocol(taken_over)
