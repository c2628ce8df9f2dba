"""What every request passes first: the limit on reading it, CORS, and the prefix.

Mirrors the router set-up of web/web.go: ``--web.read-timeout``, ``--web.cors.origin``,
``--web.route-prefix``. Without ``--web.cors.origin`` no CORS header is sent; upstream's default is to allow
every web page to read.
"""

from __future__ import annotations

import asyncio
import re
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wavetank.clock import Clock

__all__ = ["Cors", "Prefixed", "ReadTimeout"]

_CORS: Final = {
    "Access-Control-Allow-Headers": "Accept, Accept-Encoding, Authorization, Content-Type, Origin",
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Expose-Headers": "Date",
    "Vary": "Origin",
}
_LATE: Final = PlainTextResponse("the request was not read in time\n", 408, headers={"Connection": "close"})


class ReadTimeout:
    """A request whose body has not come within the time is answered with 408."""

    def __init__(self, app: ASGIApp, clock: Clock, seconds: float) -> None:
        self._app = app
        self._clock = clock
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        began = self._clock.monotonic()
        complete = started = given_up = False

        async def receiving() -> Message:
            nonlocal complete, given_up
            if complete:
                return await receive()
            left = self._seconds - (self._clock.monotonic() - began)
            try:
                async with asyncio.timeout(max(left, 0)):
                    message = await receive()
            except TimeoutError:
                if not started and not given_up:
                    await _LATE(scope, receive, send)
                complete = given_up = True
                return {"type": "http.disconnect"}
            complete = not message.get("more_body", False)
            return message

        async def sending(message: Message) -> None:
            nonlocal started
            started = True
            if not given_up:
                await send(message)

        await self._app(scope, receiving, sending)


class Cors:
    """Lets web pages of matching origins read answers."""

    def __init__(self, app: ASGIApp, origin: re.Pattern[str]) -> None:
        self._app = app
        self._origin = origin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        origin = "" if scope["type"] != "http" else _origin(scope)
        if not origin or self._origin.fullmatch(origin) is None:
            await self._app(scope, receive, send)
            return
        headers = {**_CORS, "Access-Control-Allow-Origin": origin}
        if scope["method"] == "OPTIONS":
            await Response(status_code=204, headers=headers)(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(headers)
            await send(message)

        await self._app(scope, receive, sending)


def _origin(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"origin":
            return str(value.decode("latin-1"))
    return ""


_NOT_IN_AGENTS: Final = (
    "/api/v1/query",
    "/api/v1/labels",
    "/api/v1/label/",
    "/api/v1/series",
    "/api/v1/search/",
    "/api/v1/read",
    "/api/v1/rules",
    "/api/v1/alerts",
    "/api/v1/alertmanagers",
    "/api/v1/admin/",
    "/api/v1/status/tsdb",
    "/federate",
)


class AgentOnly:
    """What an agent does not answer, as it keeps nothing."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(_NOT_IN_AGENTS):
            body = {
                "status": "error",
                "errorType": "execution",
                "error": "unavailable with Prometheus Agent",
            }
            await JSONResponse(body, 422)(scope, receive, send)
            return
        await self._app(scope, receive, send)


class Prefixed:
    """Serves an application below a path; everything else is redirected there or not found."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix.rstrip("/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        path, prefix = scope["path"], self._prefix
        if path.startswith(prefix + "/"):
            inner = {**scope, "path": path[len(prefix) :]}
            if "raw_path" in scope and scope["raw_path"] is not None:
                inner["raw_path"] = scope["raw_path"][len(prefix.encode()) :]
            await self._app(inner, receive, send)
        elif path in ("/", prefix):  # pages name what they load relative to the folder
            await RedirectResponse(prefix + "/", 302)(scope, receive, send)
        else:
            await PlainTextResponse("404 page not found\n", 404)(scope, receive, send)
