"""Protection against DNS rebinding: a server on loopback answers only to names of its own."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["HostCheck"]


class HostCheck:
    """Refuses requests whose Host is neither an address nor a name this server is known by."""

    def __init__(self, app: ASGIApp, loopback_only: bool, external_url: str) -> None:
        self._app = app
        self._loopback_only = loopback_only
        self._names = {"localhost", (urlsplit(external_url).hostname or "localhost").lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self.admits(scope["headers"]):
            await PlainTextResponse("unknown Host; set --web.external-url\n", 403)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def admits(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether a request with these headers may be answered."""
        if not self._loopback_only:
            return True
        raw = next((value for name, value in headers if name == b"host"), b"")
        host = raw.decode("latin-1").lower()
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        if name in self._names or name == "" or name.endswith(".localhost"):
            return True
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True
