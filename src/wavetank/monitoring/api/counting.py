"""Counting the requests of the HTTP API, as web/web.go does: by handler, and by status code."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wavetank.clock import Clock
from wavetank.exposition.registry import Registry
from wavetank.monitoring.api.openapi.catalogue import PATHS

__all__ = ["CountRequests", "handler_of"]

_SECONDS: Final = (0.1, 0.2, 0.4, 1.0, 3.0, 8.0, 20.0, 60.0, 120.0)
_BYTES: Final = tuple(100.0 * 10**i for i in range(8))

#: First parts of a path that are a handler by themselves; below them, names are the client's.
_WHOLE: Final = ("/-/healthy", "/-/ready", "/-/reload", "/-/quit", "/metrics", "/federate", "/")
_API: Final = "/api/v1/"


class CountRequests:
    """ASGI: counts what it passes on. Streams are counted when they end."""

    def __init__(self, app: ASGIApp, registry: Registry, clock: Clock) -> None:
        self._app = app
        self._clock = clock
        self._requests = registry.counter(
            "prometheus_http_requests_total", "Counter of HTTP requests.", ("handler", "code")
        )
        self._seconds = registry.histogram(
            "prometheus_http_request_duration_seconds",
            "Histogram of latencies for HTTP requests.",
            ("handler",),
            _SECONDS,
        )
        self._bytes = registry.histogram(
            "prometheus_http_response_size_bytes",
            "Histogram of response size for HTTP requests.",
            ("handler",),
            _BYTES,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, code, size = self._clock.monotonic(), 0, 0

        async def passed_on(message: Message) -> None:
            nonlocal code, size
            if message["type"] == "http.response.start":
                code = message["status"]
            elif message["type"] == "http.response.body":
                size += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, passed_on)
        finally:
            handler = handler_of(scope["path"])
            self.count(handler, code or 499, self._clock.monotonic() - began, size)

    def count(self, handler: str, code: int, seconds: float, size: int) -> None:
        """One request that has been answered."""
        self._requests.inc(1, handler, code)
        self._seconds.observe(seconds, handler)
        self._bytes.observe(size, handler)


def handler_of(path: str) -> str:
    """The handler of a path, with the client's own words taken out, so that their number is bounded."""
    if path in _WHOLE:
        return path
    if not path.startswith(_API):
        return "/static/*filepath" if path.rpartition("/")[2].count(".") else "/*path"
    below = path[len(_API) - 1 :]
    if below in PATHS:
        return path
    if below.startswith("/label/") and below.endswith("/values"):
        return "/api/v1/label/:name/values"
    return "/api/v1/queries/:id/cancel" if below.startswith("/queries/") else "/api/v1/*path"
