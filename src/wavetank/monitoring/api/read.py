"""``/read``: the HTTP side of remote read. What is answered is in ``remote.read_server``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from wavetank.errors import CheckFailed
from wavetank.monitoring.api.params import read_body
from wavetank.monitoring.api.services import Services
from wavetank.monitoring.remote.codec import RemoteError, pack
from wavetank.monitoring.remote.read_server import (
    STREAMED_TYPE,
    chunk_frames,
    decode_read,
    samples_response,
    wants_chunks,
)

__all__ = ["reader"]


def reader(services: Services) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint; ``--storage.remote.read-concurrent-limit`` requests are answered at a time."""
    settings = services.settings
    limit = settings.read_concurrent_limit
    slots = asyncio.Semaphore(limit) if limit else None

    async def read(request: Request) -> Response:
        body = await read_body(request)
        external = services.state.config.globals.external_labels
        async with AsyncExitStack() as stack:
            if slots is not None:
                await stack.enter_async_context(slots)
            try:
                asked = decode_read(body)
                if not wants_chunks(asked):
                    data = await asyncio.to_thread(
                        samples_response, services.db, asked, external, settings.read_sample_limit
                    )
                    return Response(
                        pack(data),
                        media_type="application/x-protobuf",
                        headers={"Content-Encoding": "snappy"},
                    )
                frames = chunk_frames(services.db, asked, external, settings.read_frame_bytes)
                first = await asyncio.to_thread(next, frames, b"")
            except (RemoteError, CheckFailed) as error:
                return PlainTextResponse(f"{error}\n", 400)
            held = stack.pop_all()

        async def body_parts() -> AsyncIterator[bytes]:
            async with held:
                part = first
                while part:
                    yield part
                    part = await asyncio.to_thread(next, frames, b"")

        return StreamingResponse(body_parts(), media_type=STREAMED_TYPE)

    return read
