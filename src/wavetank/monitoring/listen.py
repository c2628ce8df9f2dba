"""Serving an ASGI application on a TCP address or a unix socket, inside a running event loop.

``--web.listen-address`` of Prometheus, and beyond it port 0 and ``unix:/path``.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from wavetank.errors import InputError

__all__ = ["Doorway", "Listener", "bind", "is_loopback"]

_STOP_SECONDS = 1


class Doorway:
    """Answers while the application is still being made, and hands over to it when it is there."""

    def __init__(self) -> None:
        self.app: ASGIApp | None = None

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

    async def serve(self, app: ASGIApp, stop: asyncio.Event) -> None:
        """Answer until ``stop`` is set; open connections get a second to finish."""
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=_STOP_SECONDS,
            timeout_keep_alive=60,
            server_header=False,
        )
        server = _Quiet(config)
        task = asyncio.create_task(server.serve(sockets=[self.socket]))
        waiter = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
            server.should_exit = True
            await task
        finally:
            waiter.cancel()
            self.close()

    def close(self) -> None:
        self.socket.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)


class _Quiet(uvicorn.Server):
    """Leaves the signals to whoever runs the event loop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bind(address: str) -> Listener:
    """Listen on ``host:port``, ``:port`` or ``unix:/path``. Raises InputError with what to do."""
    if address.startswith("unix:"):
        return _bind_unix(Path(address.removeprefix("unix:").removeprefix("//")))
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise InputError(f"--web.listen-address {address!r} is not host:port", fix="e.g. 127.0.0.1:9090")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host or host == "" else socket.AF_INET
    try:
        return _bind_tcp(family, host or "::", int(port), any_host=host == "")
    except OSError as error:
        if host == "" and family == socket.AF_INET6:
            with contextlib.suppress(OSError):
                return _bind_tcp(socket.AF_INET, "0.0.0.0", int(port), any_host=True)
        raise InputError(
            f"cannot listen on {address}: {error.strerror}", fix="choose another --web.listen-address"
        ) from None


def _bind_tcp(family: socket.AddressFamily, host: str, port: int, *, any_host: bool) -> Listener:
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
    return Listener(sock, f"http://{shown}:{bound[1]}")


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
