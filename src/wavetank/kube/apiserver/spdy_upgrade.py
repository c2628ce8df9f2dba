"""Connections that leave HTTP for SPDY/3.1: how clients older than websockets run commands and forward ports.

The application sees a scope of type ``spdy`` with the fields of an HTTP one. It answers with an ordinary
response, or accepts and then sends and receives bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import unquote

__all__ = ["PROTOCOL_HEADER", "SpdyConnection"]

PROTOCOL_HEADER = "x-stream-protocol-version"
_QUEUE_MAX = 64  # pieces received and not yet looked at; then the client waits


class _Uvicorn(Protocol):
    """What is needed of the HTTP protocol that hands over."""

    app: Any
    transport: asyncio.Transport
    scope: Any
    url: bytes
    connections: set[Any]
    tasks: set[asyncio.Task[None]]


class SpdyConnection(asyncio.Protocol):
    """Takes over a connection after its request's head."""

    def __init__(self, http: _Uvicorn) -> None:
        self.transport = http.transport
        self._connections = http.connections
        self._connections.add(self)
        self._received: asyncio.Queue[bytes] = asyncio.Queue()
        self._writable = asyncio.Event()
        self._writable.set()
        self._lost = False
        raw_path, _, query = http.url.partition(b"?")
        path = unquote(raw_path.decode("ascii", "replace"))
        scope = {**http.scope, "type": "spdy", "path": path, "raw_path": raw_path, "query_string": query}
        task = asyncio.get_running_loop().create_task(self._run(http.app, scope), name="spdy")
        http.tasks.add(task)
        task.add_done_callback(http.tasks.discard)

    async def _run(self, app: Any, scope: Mapping[str, Any]) -> None:
        try:
            await app({**scope, "connection": self}, None, None)
        finally:
            self.transport.close()
            self._connections.discard(self)

    # What the application does

    def accept(self, protocol: str) -> None:
        head = (
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
            f"{PROTOCOL_HEADER}: {protocol}\r\n\r\n"
        )
        self.transport.write(head.encode("ascii"))

    def refuse(self, code: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        """An ordinary answer; the connection ends."""
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        self.transport.write(b"HTTP/1.1 %d Refused\r\nConnection: close\r\n%s\r\n%s" % (code, lines, body))

    async def send(self, data: bytes) -> None:
        """Raises ConnectionResetError where the client is gone."""
        await self._writable.wait()
        if self._lost:
            raise ConnectionResetError("the client is gone")
        self.transport.write(data)

    async def receive(self) -> bytes:
        """The next piece; b"" when the client is gone."""
        data = await self._received.get()
        if self._received.qsize() < _QUEUE_MAX // 2 and not self._lost:
            self.transport.resume_reading()
        return data

    # What the transport tells

    def data_received(self, data: bytes) -> None:
        self._received.put_nowait(data)
        if self._received.qsize() >= _QUEUE_MAX:
            self.transport.pause_reading()

    def eof_received(self) -> None:
        self._received.put_nowait(b"")

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._writable.set()
        self._received.put_nowait(b"")
        self._connections.discard(self)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def shutdown(self) -> None:
        """The server ends."""
        self.transport.close()
