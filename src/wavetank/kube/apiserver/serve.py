"""The server in this process: uvicorn on a loopback socket, with TLS unless told otherwise."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from typing import Any

import uvicorn

from wavetank.clock import next_turn
from wavetank.errors import InputError, InternalError
from wavetank.kube.apiserver.connection import Connection
from wavetank.kube.pki import Credentials
from wavetank.limits import KUBE_EXEC_MESSAGE_BYTES_MAX
from wavetank.serving import EmbeddedServer

__all__ = ["Listener"]


def _websocket(**arguments: Any) -> asyncio.Protocol:
    """A websocket connection. The library is imported when the first comes: most servers never see one."""
    from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

    protocol = WebSocketsSansIOProtocol(**arguments)
    # kubectl names a protocol with a slash in it, which the library refuses; the application chooses anyway.
    protocol.conn.process_subprotocol = lambda headers: None  # type: ignore[method-assign]
    # It would complain of every request that is refused before the upgrade; the application tells of faults.
    protocol.logger = logging.getLogger("wavetank.kube.websocket")
    protocol.logger.setLevel(logging.CRITICAL)
    return protocol


class Listener:
    """Serves an ASGI app on ``host``; port 0 takes a free one."""

    def __init__(self, app: Any, host: str, port: int, credentials: Credentials | None) -> None:
        self._socket = _bind(host, port)
        self.host, self.port = self._socket.getsockname()[:2]
        config = uvicorn.Config(
            app,
            interface="asgi3",
            proxy_headers=False,
            http=Connection,
            ws=_websocket,  # type: ignore[arg-type]
            ws_max_size=KUBE_EXEC_MESSAGE_BYTES_MAX,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=90,
            timeout_graceful_shutdown=1,
        )
        config.load()
        if credentials is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.load_cert_chain(credentials.certificate, credentials.key)
            config.ssl = context
        self._server = EmbeddedServer(config)
        self._task: asyncio.Task[None] | None = None
        self.secure = credentials is not None

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.secure else 'http'}://{host}:{self.port}"

    async def start(self) -> None:
        """Return when connections are accepted."""
        self._task = asyncio.get_running_loop().create_task(
            self._server.serve(sockets=[self._socket]), name="apiserver"
        )
        while not self._server.started:
            if self._task.done():
                raise InternalError(f"the API server ended at start: {self._task.exception()}")
            await next_turn()

    async def stop(self) -> None:
        if self._task is None:
            return
        self._server.should_exit = True
        self._server.force_exit = True
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named since asyncio turns Nagle's algorithm off only where it sees TCP.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        fix = "choose another port, or 0 for a free one"
        raise InputError(f"cannot listen on {host}:{port}: {error.strerror}", fix=fix) from None
    bound.listen(1024)
    bound.setblocking(False)
    return bound
