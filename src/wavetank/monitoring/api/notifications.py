"""``/notifications`` and ``/notifications/live``, a stream of server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from wavetank.monitoring.api.answer import answer, endpoint
from wavetank.monitoring.api.services import Services
from wavetank.monitoring.notifications import Notification
from wavetank.monitoring.rfc3339 import format_time

__all__ = ["routes"]


def routes(services: Services) -> list[Route]:
    """The endpoints, below ``/api/v1``."""
    notifications = services.notifications

    async def listed(request: Request) -> Response:
        return answer([_shown(found) for found in notifications.active])

    async def live(request: Request) -> Response:
        queue = notifications.subscribe()
        if queue is None:
            return Response(status_code=204)

        async def events() -> AsyncIterator[bytes]:
            try:
                yield b": connected\n\n"
                while True:
                    yield b"data: " + msgspec.json.encode(_shown(await queue.get())) + b"\n\n"
            finally:
                notifications.unsubscribe(queue)

        return StreamingResponse(
            events(), media_type="text/event-stream", headers={"Cache-Control": "no-cache"}
        )

    return [
        Route("/notifications", endpoint(listed)),
        Route("/notifications/live", endpoint(live)),
    ]


def _shown(found: Notification) -> dict[str, Any]:
    return {"text": found.text, "date": format_time(found.date), "active": found.active}
