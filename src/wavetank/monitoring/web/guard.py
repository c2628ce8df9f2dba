"""TLS and passwords as the web configuration has them now.

Mirrors exporter-toolkit's web handler: the file and the certificates are looked at again for every
connection and request, so that rotated secrets need no reload. A file that has become unusable shuts the
door (500, failed handshakes) instead of opening it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import logging
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import bcrypt
from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wavetank.clock import Clock
from wavetank.errors import InputError
from wavetank.limits import WEB_PASSWORDS_REMEMBERED_MAX
from wavetank.monitoring.web.config import RateLimit, WebConfig, load_web_config, server_context

__all__ = ["Guard", "GuardedApp"]

_LOG = logging.getLogger(__name__)
# Compared for users that do not exist, so that they take as long as a wrong password. Cost 10.
_NOBODY: Final = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi"
_PASSWORD_BYTES: Final = 72  # bcrypt looks at no more


class Guard:
    """The web configuration of a server, as it stands on disk."""

    def __init__(self, path: Path) -> None:
        """Raises InputError for a file that cannot be used."""
        self._path = path
        self._stamp: object = None
        self._config: WebConfig | None = None
        self._context: ssl.SSLContext | None = None
        self.with_tls = self._read() is not None and self._context is not None

    def current(self) -> WebConfig | None:
        """The configuration; None while the file cannot be used."""
        if self._stamp != self._stamps():
            try:
                self._read()
            except InputError as error:
                self._config, self._context = None, None
                _LOG.error("the web configuration cannot be used, nobody is let in: %s", error)
        return self._config

    def context(self) -> ssl.SSLContext:
        """For the next connection. Raises InputError: nobody can connect."""
        self.current()
        if self._context is None:
            raise InputError(f"{self._path} has no usable tls_server_config")
        return self._context

    def admits(self, certificate: Mapping[str, Any] | None) -> bool:
        """Whether a client with this certificate, as ``getpeercert`` gives it, may connect: one of its names
        must be among ``client_allowed_sans``. One without a certificate is not asked for names."""
        tls = None if self._config is None else self._config.tls_server_config
        if tls is None or not tls.client_allowed_sans or not certificate:
            return True
        return any(value in tls.client_allowed_sans for _, value in certificate.get("subjectAltName", ()))

    def _read(self) -> WebConfig:
        self._config = None
        self._stamp = self._stamps()
        config = load_web_config(self._path)
        tls = config.tls_server_config
        self._config = config
        self._context = None if tls is None else server_context(tls)
        self._stamp = self._stamps()
        return config

    def _stamps(self) -> object:
        """Modification times and sizes of the file and of the certificates it names."""
        config = self._config
        tls = config.tls_server_config if config is not None else None
        names = [str(self._path), *(tls.files if tls is not None else ())]
        return [_stamp(Path(name)) for name in names]


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_size, found.st_ino)


class GuardedApp:
    """Asks for a password where the web configuration wants one, and adds its headers."""

    def __init__(self, app: ASGIApp, guard: Guard, clock: Clock) -> None:
        self._app = app
        self._guard = guard
        self._clock = clock
        self._limit = RateLimit()
        self._tokens = self._filled_at = 0.0
        self._known: dict[bytes, bool] = {}
        self._one_check = asyncio.Semaphore(2)  # bcrypt is slow on purpose: it must not take all threads
        self._salt = clock.random("web.guard").randbytes(16)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        config = self._guard.current()
        if config is None:
            await PlainTextResponse("Internal Server Error\n", 500)(scope, receive, send)
            return
        if not self._has_token(config.rate_limit):
            await PlainTextResponse("Too Many Requests\n", 429)(scope, receive, send)
            return
        extra = {n: v for n, v in config.http_server_config.headers.items() if v}
        sending = _with_headers(send, extra) if extra else send
        if config.basic_auth_users and not await self._allowed(scope, config.basic_auth_users):
            answer = PlainTextResponse("Unauthorized\n", 401, headers={"WWW-Authenticate": "Basic"})
            await answer(scope, receive, sending)
            return
        await self._app(scope, receive, sending)

    def _has_token(self, limit: RateLimit) -> bool:
        """Takes one of the bucket, which is full when a limit is new (golang.org/x/time/rate)."""
        if not limit.interval:
            return True
        now = self._clock.monotonic()
        if limit != self._limit:
            self._limit, self._tokens, self._filled_at = limit, float(limit.burst), now
        filled = self._tokens + (now - self._filled_at) / limit.interval.seconds
        self._tokens, self._filled_at = min(filled, float(limit.burst)), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    async def _allowed(self, scope: Scope, users: dict[str, str]) -> bool:
        raw = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        given = _credentials(raw)
        if given is None:
            return False
        name, password = given
        hashed = users.get(name, "")
        wanted = (hashed or _NOBODY).encode()
        material = b"\0".join((name.encode(), wanted, password))
        key = hmac.digest(self._salt, material, hashlib.sha256)
        known = self._known.get(key)
        if known is None:
            async with self._one_check:
                known = await asyncio.to_thread(_matches, password, wanted)
            if len(self._known) >= WEB_PASSWORDS_REMEMBERED_MAX:
                self._known.pop(next(iter(self._known)))
            self._known[key] = known
        return known and bool(hashed)


def _matches(password: bytes, hashed: bytes) -> bool:
    try:
        return bcrypt.checkpw(password[:_PASSWORD_BYTES], hashed)
    except ValueError:
        return False


def _credentials(header: bytes) -> tuple[str, bytes] | None:
    """User and password of a Basic header."""
    scheme, _, encoded = header.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        return (name.decode(), password) if colon else None
    except (binascii.Error, UnicodeDecodeError):
        return None


def _with_headers(send: Send, extra: dict[str, str]) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in extra.items():
                headers[name] = value
        await send(message)

    return sending
