"""A query ends when nobody waits for its answer any more.

Mirrors what Go's request context does for the query endpoints of Prometheus: closing the connection is how a
client cancels. ASGI only tells it to whoever listens, so this listens while the application works.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["CancelOnDisconnect"]

_PATHS: Final = ("/api/v1/query", "/api/v1/search/", "/api/wavetank/query")


class CancelOnDisconnect:
    """Cancels the work on a query when the client goes; other requests pass through."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(_PATHS):
            await self._app(scope, receive, send)
            return
        # One message at a time, so that a body waits outside until the application reads on.
        messages: asyncio.Queue[Message] = asyncio.Queue(1)
        work = asyncio.ensure_future(self._app(scope, messages.get, send))
        listening = asyncio.create_task(_listen(receive, messages, work))
        try:
            await work
        except asyncio.CancelledError:
            if not (listening.done() and not listening.cancelled()):
                work.cancel()
                raise
        finally:
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening


async def _listen(receive: Receive, messages: asyncio.Queue[Message], work: asyncio.Future[None]) -> None:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            work.cancel()
            return
        await messages.put(message)
