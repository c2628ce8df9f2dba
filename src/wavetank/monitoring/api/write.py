"""``/write``: the HTTP side of receiving remote write. What is done with a body is in ``remote.receive``."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from wavetank.limits import REQUEST_BODY_BYTES_MAX
from wavetank.monitoring.api.params import read_body
from wavetank.monitoring.api.services import Services
from wavetank.monitoring.remote.codec import RemoteError
from wavetank.monitoring.remote.known_series import KnownSeries
from wavetank.monitoring.remote.receive import V2, Written, message_of, store_body

__all__ = ["receive"]

_WRITTEN = "X-Prometheus-Remote-Write-"


async def receive(services: Services, request: Request, known: KnownSeries) -> Response:
    """Store what was sent; ``known`` is kept from request to request."""
    kind = request.headers.get("content-type", "application/x-protobuf")
    message = message_of(kind)
    if message is None or message not in services.settings.accepted_messages:
        return PlainTextResponse(f"{message or kind} protobuf message is not accepted by this server\n", 415)
    encoding = request.headers.get("content-encoding", "snappy")
    if encoding != "snappy":
        text = f"{encoding} encoding (compression) is not accepted by this server; only snappy is\n"
        return PlainTextResponse(text, 415)
    body = await read_body(request, REQUEST_BODY_BYTES_MAX)
    written = Written()
    try:
        written = await asyncio.to_thread(store_body, services.db, body, message, known)
    except RemoteError as error:
        written.problem = str(error)
    except OSError as error:
        return PlainTextResponse(f"the samples could not be stored: {error.strerror}\n", 500)
    services.written(written.samples + written.histograms, len(body))
    response: Response = (
        PlainTextResponse(f"{written.problem}\n", 400) if written.problem else Response(status_code=204)
    )
    if message == V2:
        for name in ("samples", "histograms", "exemplars"):
            response.headers[f"{_WRITTEN}{name.title()}-Written"] = str(getattr(written, name))
    return response
