"""``/queries``: what is being asked now, and ending it. Beyond upstream.

``GET /api/v1/queries`` lists running queries with their cost so far; ``POST /api/v1/queries/<id>/cancel``
ends one, whose own answer is then an error of type "canceled".
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from wavetank.monitoring.api.answer import answer, endpoint, not_found
from wavetank.monitoring.api.services import Services
from wavetank.monitoring.rfc3339 import format_time

__all__ = ["routes"]


def routes(services: Services) -> list[Route]:
    """The endpoints, below ``/api/v1``."""
    queries = services.queries

    async def listed(request: Request) -> Response:
        now = services.clock.now()
        return answer(
            [
                {
                    "id": entry.id,
                    "query": entry.text,
                    "params": entry.params,
                    "startedAt": format_time(entry.started_at),
                    "runningSeconds": round(now - entry.started_at, 3),
                    "samplesRead": entry.context.samples_read,
                    "samplesHeld": entry.context.samples,
                    "bytesHeld": entry.context.bytes,
                    "bytesPeak": entry.context.bytes_peak,
                }
                for entry in queries.active.values()
            ]
        )

    async def cancel(request: Request) -> Response:
        number = request.path_params["id"]
        entry = queries.active.get(number)
        if entry is None:
            raise not_found(f"no running query has the id {number}")
        entry.context.cancel()
        return answer({"id": number})

    return [
        Route("/queries", endpoint(listed)),
        Route("/queries/{id:int}/cancel", endpoint(cancel), methods=["POST"]),
    ]
