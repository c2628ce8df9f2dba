"""Serving an ASGI application on TCP addresses and unix sockets, inside a running event loop.

``--web.listen-address`` of Prometheus, and beyond it port 0 and ``unix:/path``. Connections are accepted
here, not by uvicorn, so that each gets the certificate that is on disk at that moment, and so that no more
are accepted than ``--web.max-connections``; further ones wait in the kernel's queue, as upstream's do.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import ssl
import stat
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

import uvicorn
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from wavetank.clock import Clock
from wavetank.errors import InputError
from wavetank.limits import WEB_HANDSHAKE_SECONDS
from wavetank.monitoring.connection import Connection, Heads, Shortcut

__all__ = ["Doorway", "Listener", "bind", "is_loopback", "serve"]

_STOP_SECONDS = 1
_ACCEPT_PAUSE_SECONDS = 0.1
_LOG = logging.getLogger(__name__)

Context = Callable[[], ssl.SSLContext]
Admits = Callable[[Any], bool]


class Doorway:
    """Answers while the application is still being made, and hands over to it when it is there."""

    def __init__(self) -> None:
        self.app: ASGIApp | None = None
        self.shortcut: Shortcut | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.app is not None:
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            healthy = scope["path"] == "/-/healthy"
            text = "Prometheus Server is Healthy.\n" if healthy else "Service Unavailable"
            await PlainTextResponse(text, 200 if healthy else 503)(scope, receive, send)


class Listener:
    """A bound socket and where it can be reached."""

    def __init__(self, sock: socket.socket, url: str, path: Path | None = None) -> None:
        self.socket = sock
        self.url = url
        self._path = path

    def close(self) -> None:
        self.socket.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)


async def serve(
    listeners: Sequence[Listener],
    app: ASGIApp,
    clock: Clock,
    stop: asyncio.Event,
    *,
    context: Context | None = None,
    admits: Admits = lambda certificate: True,
    connections_max: int = 512,
    idle_seconds: float = 300.0,
    shortcut: Callable[[], Shortcut | None] = lambda: None,
) -> None:
    """Answer until ``stop`` is set; open connections get a second to finish.

    ``context`` gives the TLS context of the next connection, and raises InputError to refuse it; ``admits``
    decides by the client's certificate.
    ``shortcut`` gives what may answer a request before the application is asked.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=_STOP_SECONDS,
        timeout_keep_alive=max(1, round(idle_seconds)),
        server_header=False,
    )
    server = _Server(config, clock, context, admits, connections_max, shortcut)
    sockets = [listener.socket for listener in listeners]
    task = asyncio.create_task(server.serve(sockets=sockets))
    waiter = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        await task
    finally:
        waiter.cancel()
        for listener in listeners:
            listener.close()


class _Server(uvicorn.Server):
    """Accepts connections itself, and leaves the signals to whoever runs the event loop."""

    def __init__(
        self,
        config: uvicorn.Config,
        clock: Clock,
        context: Context | None,
        admits: Admits,
        connections_max: int,
        shortcut: Callable[[], Shortcut | None],
    ) -> None:
        super().__init__(config)
        self._clock = clock
        self._context = context
        self._admits = admits
        self._room = asyncio.Semaphore(connections_max)
        self._shortcut = shortcut
        self._heads = Heads()
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self.lifespan.startup()
        self.servers = []
        for sock in sockets or ():
            sock.setblocking(False)
            self._keep(self._accept(sock))
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await super().shutdown(sockets)

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._room.acquire()
            try:
                connection, _ = await loop.sock_accept(sock)
            except OSError as error:  # too many open files, or the peer left already
                self._room.release()
                _LOG.warning("cannot accept a connection: %s", error)
                await self._clock.sleep(_ACCEPT_PAUSE_SECONDS)
                continue
            except BaseException:
                self._room.release()
                raise
            self._keep(self._connect(connection))

    async def _connect(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        released = False

        def release() -> None:
            nonlocal released
            if not released:
                released = True
                self._room.release()

        try:
            context = self._context() if self._context is not None else None
            await loop.connect_accepted_socket(
                lambda: _counted(self._protocol(), release, None if context is None else self._admits),
                connection,
                ssl=context,
                ssl_handshake_timeout=WEB_HANDSHAKE_SECONDS if context is not None else None,
            )
        except (OSError, InputError) as error:  # includes failed handshakes
            _LOG.debug("a connection failed: %s", error)
            release()
            connection.close()
        except BaseException:
            release()
            connection.close()
            raise

    def _protocol(self) -> asyncio.Protocol:
        return Connection(
            shortcut=self._shortcut,
            heads=self._heads,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
            _loop=asyncio.get_running_loop(),
        )


class _Refused(asyncio.Protocol):
    """A connection that is being ended; what still comes is passed over."""

    def __init__(self, release: Callable[[], None]) -> None:
        self._release = release

    def connection_lost(self, error: Exception | None) -> None:
        self._release()


def _counted(
    protocol: asyncio.Protocol, release: Callable[[], None], admits: Admits | None
) -> asyncio.Protocol:
    """The protocol, which says when its connection has ended, and ends one that is not admitted."""
    if admits is not None:
        made = protocol.connection_made

        def connection_made(transport: Any) -> None:
            if admits(transport.get_extra_info("ssl_object").getpeercert()):
                made(transport)
                return
            _LOG.warning("a client is refused: its certificate has none of client_allowed_sans")
            transport.set_protocol(_Refused(release))
            transport.abort()

        protocol.connection_made = connection_made  # type: ignore[method-assign]
    lost = protocol.connection_lost

    def connection_lost(error: Exception | None) -> None:
        release()
        lost(error)

    protocol.connection_lost = connection_lost  # type: ignore[method-assign, assignment]
    return protocol


def bind(address: str, *, secure: bool = False) -> Listener:
    """Listen on ``host:port``, ``:port`` or ``unix:/path``. Raises InputError with what to do."""
    if address.startswith("unix:"):
        return _bind_unix(Path(address.removeprefix("unix:").removeprefix("//")))
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise InputError(f"--web.listen-address {address!r} is not host:port", fix="e.g. 127.0.0.1:9090")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host or host == "" else socket.AF_INET
    try:
        return _bind_tcp(family, host or "::", int(port), any_host=host == "", secure=secure)
    except OSError as error:
        if host == "" and family == socket.AF_INET6:
            with contextlib.suppress(OSError):
                return _bind_tcp(socket.AF_INET, "0.0.0.0", int(port), any_host=True, secure=secure)
        raise InputError(
            f"cannot listen on {address}: {error.strerror}", fix="choose another --web.listen-address"
        ) from None


def _bind_tcp(
    family: socket.AddressFamily, host: str, port: int, *, any_host: bool, secure: bool
) -> Listener:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and any_host:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind((host, port))
        sock.listen(512)
    except OSError:
        sock.close()
        raise
    bound = sock.getsockname()
    shown = "localhost" if any_host else f"[{bound[0]}]" if family == socket.AF_INET6 else bound[0]
    return Listener(sock, f"{'https' if secure else 'http'}://{shown}:{bound[1]}")


def _bind_unix(path: Path) -> Listener:
    if path.exists():
        if not stat.S_ISSOCK(path.stat().st_mode) or _answers(path):
            raise InputError(f"cannot listen on {path}: it is in use", fix="choose another path")
        path.unlink()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(str(path))
        path.chmod(0o600)
        sock.listen(512)
    except OSError as error:
        sock.close()
        raise InputError(f"cannot listen on {path}: {error.strerror or error}") from None
    return Listener(sock, f"unix:{path}", path)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            sock.connect(str(path))
        except OSError:
            return False
    return True


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach the address."""
    if address.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
