"""One request to a server, as ``--http.config.file`` says; without it, by the environment's proxies."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from wavetank.clock import RealClock
from wavetank.errors import InputError
from wavetank.limits import PROMTOOL_ANSWER_BYTES_MAX
from wavetank.monitoring.config.http import HTTPClientConfig
from wavetank.monitoring.http_client import FETCH_ERRORS, HTTPClient

__all__ = ["send"]

_PLAIN: Final = HTTPClientConfig(proxy_from_environment=True)


def send(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes | None = None,
    *,
    http: HTTPClientConfig | None = None,
    timeout_seconds: float = 120.0,
) -> tuple[int, bytes]:
    """Status and body. Blocks; not for use inside an event loop. Raises InputError if there is no answer."""
    try:
        return asyncio.run(_send(method, url, headers, body, http or _PLAIN, timeout_seconds))
    except FETCH_ERRORS as error:
        text = str(error) or type(error).__name__
        raise InputError(
            f"cannot reach {url.partition('?')[0]}: {text}", fix="check the URL and --http.config.file"
        ) from None


async def _send(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes | None,
    config: HTTPClientConfig,
    timeout_seconds: float,
) -> tuple[int, bytes]:
    client = HTTPClient(config, RealClock())
    try:
        async with client.request(
            method, url, headers=headers, data=body, timeout_seconds=timeout_seconds
        ) as response:
            parts = bytearray()
            async for part in response.content.iter_any():
                parts += part
                if len(parts) > PROMTOOL_ANSWER_BYTES_MAX:
                    raise ValueError(f"the answer is larger than {PROMTOOL_ANSWER_BYTES_MAX} bytes")
            return response.status, bytes(parts)
    finally:
        await client.close()
