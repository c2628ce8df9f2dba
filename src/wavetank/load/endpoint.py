"""A ``/metrics`` endpoint for a load generator, small enough to live in its event loop.

HTTP/1.1, one answer a connection, GET of one path; anything else is refused. A scraper is the only client
it is made for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from wavetank.exposition.render import CONTENT_TYPE_TEXT, render_text
from wavetank.load.exporter import families
from wavetank.load.results import Snapshot

__all__ = ["metrics_endpoint"]

_REQUEST_SECONDS = 5.0
_HEADERS_BYTES_MAX = 16 * 1024


@asynccontextmanager
async def metrics_endpoint(
    snapshot: Callable[[], Snapshot], host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[int]:
    """Serve ``http://host:port/metrics`` while inside; yields the port. Raises OSError if it is taken."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _REQUEST_SECONDS)
            writer.write(_response(head, snapshot))
            await writer.drain()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(answer, host, port, limit=_HEADERS_BYTES_MAX)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await server.wait_closed()


def _response(head: bytes, snapshot: Callable[[], Snapshot]) -> bytes:
    target = head.split(b"\r\n", 1)[0].split(b" ")[:2]
    if len(target) == 2 and target[0] == b"GET" and target[1].split(b"?")[0] == b"/metrics":
        status, kind, body = "200 OK", CONTENT_TYPE_TEXT, render_text(families(snapshot()))
    else:
        status, kind, body = "404 Not Found", "text/plain", b"only GET /metrics is served here\n"
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body
