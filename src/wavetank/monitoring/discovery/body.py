"""Reads the answer of a discovery server within the room's bound."""

from __future__ import annotations

from wavetank.limits import SD_BODY_BYTES_MAX
from wavetank.monitoring.http_client import Response

__all__ = ["read_body"]


async def read_body(response: Response) -> bytes:
    """The whole body. Raises ValueError for one larger than SD_BODY_BYTES_MAX."""
    body = await response.content.read(SD_BODY_BYTES_MAX + 1)
    while len(body) <= SD_BODY_BYTES_MAX and (more := await response.content.readany()):
        body += more
    if len(body) > SD_BODY_BYTES_MAX:
        raise ValueError(f"body is larger than {SD_BODY_BYTES_MAX} bytes")
    return body
