"""TLS connections that let the server choose HTTP/2, directly or through a proxy.

What net/http's Transport does with ``h2`` among the protocols of ALPN. A server that chooses HTTP/1.1 is
remembered, and left to the HTTP/1.1 client from then on.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from wavetank.clock import Clock
from wavetank.limits import HTTP2_ORIGINS_MAX, PROXY_HEAD_BYTES_MAX, WEB_HANDSHAKE_SECONDS
from wavetank.monitoring.http2 import HTTP2Connection

__all__ = ["Origin", "SecureOrigins"]

_PROTOCOLS: Final = ["h2", "http/1.1"]
_CONNECTED: Final = range(200, 300)

# Addresses to try for a host and port, in this order.
Resolve = Callable[[str, int], Any]


@dataclass(frozen=True, slots=True)
class Origin:
    """A server, and the proxy that leads there; ``name`` is what its certificate must be for."""

    host: str
    port: int
    name: str
    proxy: str = ""


class SecureOrigins:
    """Connections by origin. One client's: they share its TLS context."""

    def __init__(
        self,
        clock: Clock,
        context: ssl.SSLContext,
        idle_seconds: float,
        proxy_headers: Mapping[str, Sequence[str]],
        resolve: Resolve | None = None,
    ) -> None:
        context.set_alpn_protocols(_PROTOCOLS)
        self._clock = clock
        self._context = context
        self._idle_seconds = idle_seconds
        self._proxy_headers = proxy_headers
        self._resolve = resolve
        self._open: dict[Origin, list[HTTP2Connection]] = {}
        self._older: set[Origin] = set()
        self._dialing: dict[Origin, asyncio.Lock] = {}

    async def connection(self, origin: Origin) -> HTTP2Connection | None:
        """One with room for another request; None if the server speaks HTTP/1.1. Raises OSError."""
        if origin in self._older:
            return None
        if (found := self._with_room(origin)) is not None:
            return found
        if len(self._dialing) >= HTTP2_ORIGINS_MAX:
            self._forget_gone()
        async with self._dialing.setdefault(origin, asyncio.Lock()):
            if origin in self._older:
                return None
            if (found := self._with_room(origin)) is not None:
                return found
            made = await self._dial(origin)
            if made is None:
                self._older.add(origin)
            else:
                self._open.setdefault(origin, []).append(made)
            return made

    def _with_room(self, origin: Origin) -> HTTP2Connection | None:
        kept = self._open.get(origin)
        if not kept:
            return None
        kept[:] = [connection for connection in kept if connection.is_open]
        return next((connection for connection in kept if connection.has_room), None)

    def _forget_gone(self) -> None:
        """Targets come and go for months: what is only remembered is forgotten, what is in use stays."""
        self._older.clear()
        self._open = {o: kept for o, kept in self._open.items() if any(c.is_open for c in kept)}
        self._dialing = {o: lock for o, lock in self._dialing.items() if lock.locked()}

    def forget(self, origin: Origin) -> None:
        """HTTP/1.1 did not work: ask again what the server speaks."""
        self._older.discard(origin)

    def close(self) -> None:
        for kept in self._open.values():
            for connection in kept:
                connection.close()
        self._open.clear()

    async def _dial(self, origin: Origin) -> HTTP2Connection | None:
        chooser = _Chooser(lambda: HTTP2Connection(self._clock, self._idle_seconds))
        if origin.proxy:
            await self._tunnel(origin, chooser)
        else:
            loop = asyncio.get_running_loop()
            last: OSError | None = None
            for host in await self._hosts(origin):
                try:
                    await loop.create_connection(
                        lambda: chooser,
                        host,
                        origin.port,
                        ssl=self._context,
                        server_hostname=origin.name,
                        ssl_handshake_timeout=WEB_HANDSHAKE_SECONDS,
                    )
                    break
                except OSError as error:
                    last = error
            else:
                raise last or OSError(f"no address for {origin.host}")
        if chooser.chosen is not None:
            try:
                async with asyncio.timeout(WEB_HANDSHAKE_SECONDS):
                    await chooser.chosen.agreed()
            except BaseException:
                chooser.chosen.close()
                raise
        return chooser.chosen

    async def _hosts(self, origin: Origin) -> Sequence[str]:
        if self._resolve is None:
            return [origin.host]
        found: Sequence[str] = await self._resolve(origin.host, origin.port)
        return found

    async def _tunnel(self, origin: Origin, chooser: _Chooser) -> None:
        """CONNECT, then TLS inside. Raises OSError."""
        proxy = urlsplit(origin.proxy)
        if proxy.scheme not in ("http", "https") or not proxy.hostname:
            raise OSError(f"proxy {proxy.scheme}://{proxy.hostname} is neither http nor https")
        secure = proxy.scheme == "https"
        loop = asyncio.get_running_loop()
        tunnel = _Tunnel()
        plain, _ = await loop.create_connection(
            lambda: tunnel,
            proxy.hostname,
            proxy.port or (443 if secure else 80),
            ssl=True if secure else None,
        )
        try:
            plain.write(_connect_request(origin, proxy.username, proxy.password, self._proxy_headers))
            words = (await tunnel.answer).split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
            if len(words) < 2 or not words[1].isdigit() or int(words[1]) not in _CONNECTED:
                raise OSError(words[-1] or "malformed answer of the proxy")
            transport = await loop.start_tls(
                plain,
                chooser,
                self._context,
                server_hostname=origin.name,
                ssl_handshake_timeout=WEB_HANDSHAKE_SECONDS,
            )
        except BaseException:
            plain.abort()
            raise
        assert transport is not None
        chooser.connection_made(transport)


def _connect_request(
    origin: Origin, user: str | None, password: str | None, headers: Mapping[str, Sequence[str]]
) -> bytes:
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    lines = [f"CONNECT {host}:{origin.port} HTTP/1.1", f"Host: {host}:{origin.port}"]
    if user is not None:
        pair = f"{unquote(user)}:{unquote(password or '')}".encode()
        lines.append(f"Proxy-Authorization: Basic {base64.b64encode(pair).decode()}")
    lines += [f"{name}: {value}" for name, values in headers.items() for value in values]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a header must not contain line breaks")
    return "\r\n".join([*lines, "", ""]).encode()


class _Tunnel(asyncio.Protocol):
    """A proxy's answer to CONNECT, up to its empty line."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._head = bytearray()

    def data_received(self, data: bytes) -> None:
        self._head += data
        if self.answer.done():
            return
        if b"\r\n\r\n" in self._head:
            self.answer.set_result(bytes(self._head))
        elif len(self._head) > PROXY_HEAD_BYTES_MAX:
            self.answer.set_exception(OSError("the proxy's answer to CONNECT is too large"))

    def connection_lost(self, error: Exception | None) -> None:
        if not self.answer.done():
            self.answer.set_exception(OSError("the proxy did not answer CONNECT"))
            self.answer.exception()  # seen: whoever waited may be gone


class _Chooser(asyncio.Protocol):
    """Becomes what ALPN chose: HTTP/2, or nothing."""

    def __init__(self, make: Callable[[], HTTP2Connection]) -> None:
        self.chosen: HTTP2Connection | None = None
        self._make = make
        self._early: list[bytes] = []  # in a tunnel bytes can come before we are told of the transport

    def connection_made(self, transport: Any) -> None:
        if transport.get_extra_info("ssl_object").selected_alpn_protocol() != "h2":
            transport.abort()
            return
        self.chosen = self._make()
        transport.set_protocol(self.chosen)
        self.chosen.connection_made(transport)
        for data in self._early:
            self.chosen.data_received(data)

    def data_received(self, data: bytes) -> None:
        self._early.append(data)
