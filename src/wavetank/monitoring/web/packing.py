"""Answers packed with gzip for clients that ask for it.

Mirrors util/httputil/compression.go. Clients on this machine get answers as they are: copying is cheaper than
packing. So do those who read an answer while it is made: only bodies that are sent in one piece are packed.
"""

from __future__ import annotations

import asyncio
import zlib
from ipaddress import ip_address

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wavetank.limits import PACKED_ANSWER_BYTES_MIN

__all__ = ["Packing"]

_FASTEST = 1
_GZIP = 16 + zlib.MAX_WBITS


class Packing:
    """Around the application that answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _is_local(scope) or not _takes_gzip(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        held: Message | None = None  # the head, until it is known what follows

        async def sending(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start":
                held = message
                return
            if held is not None:
                head, held = held, None
                headers = MutableHeaders(scope=head)
                headers.add_vary_header("Accept-Encoding")
                body = message.get("body", b"")
                whole = message["type"] == "http.response.body" and not message.get("more_body", False)
                if whole and len(body) >= PACKED_ANSWER_BYTES_MIN and "content-encoding" not in headers:
                    body = await asyncio.get_running_loop().run_in_executor(None, _packed, body)
                    headers["Content-Encoding"] = "gzip"
                    headers["Content-Length"] = str(len(body))
                    message = {**message, "body": body}
                await send(head)
            await send(message)

        await self._app(scope, receive, sending)


def _is_local(scope: Scope) -> bool:
    """Whether the client is on this machine: on a loopback address or a unix socket."""
    client = scope.get("client")
    if not client:
        return True
    try:
        return ip_address(client[0]).is_loopback
    except ValueError:
        return True


def _takes_gzip(headers: Headers) -> bool:
    for part in headers.get("Accept-Encoding", "").split(","):
        coding, _, parameters = part.partition(";")
        if coding.strip().lower() == "gzip":
            return parameters.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def _packed(body: bytes) -> bytes:
    packer = zlib.compressobj(_FASTEST, wbits=_GZIP)
    return packer.compress(body) + packer.flush()
