"""A span around every HTTP request, inside the caller's trace if it names one."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wavetank.monitoring.tracing.span import SERVER, Parent, Tracer, parent_of

__all__ = ["TraceRequests"]


class TraceRequests:
    """ASGI. Named by method and path, as web/web.go names them."""

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._tracer.is_on:
            await self._app(scope, receive, send)
            return
        method, path = scope["method"], scope["path"]
        attributes = {"http.request.method": method, "url.path": path, "url.scheme": scope.get("scheme", "")}
        with self._tracer.span(
            f"{method} {path}", attributes, kind=SERVER, root=True, caller=_caller(scope)
        ) as span:

            async def passed_on(message: Message) -> None:
                if span is not None and message["type"] == "http.response.start":
                    span.attributes["http.response.status_code"] = message["status"]
                    if message["status"] >= 500:
                        span.error = f"HTTP status {message['status']}"
                await send(message)

            await self._app(scope, receive, passed_on)


def _caller(scope: Scope) -> Parent | None:
    named = [value for name, value in scope["headers"] if name == b"traceparent"]
    return parent_of(named[0].decode("latin-1")) if len(named) == 1 else None
