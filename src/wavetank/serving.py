"""The HTTP server of this package: uvicorn as a part of a process, not as its owner.

uvicorn installs signal handlers and, when it stops, leaves connections whose closing handshake is not over
to the event loop, which may end first. Here signals stay with whoever runs the loop, and when ``shutdown``
returns every connection is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator

import uvicorn

from wavetank.clock import next_turn

__all__ = ["EmbeddedServer", "loop_factory"]


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's event loop where it is installed, as it is on Linux and macOS: a third of asyncio's work a
    request. None is asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


class EmbeddedServer(uvicorn.Server):
    """One of several servers of a process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        # A connection accepted in the last turn of the loop gets its protocol in the next two.
        for _ in range(2):
            await next_turn()
        for connection in list(self.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()
        await next_turn()
