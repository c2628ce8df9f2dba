"""One scrape over HTTP: what is asked for, and reading the answer within its bounds.

Mirrors acceptHeader and targetScraper of scrape/scrape.go.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import aiohttp

from wavetank.limits import SCRAPE_BODY_BYTES_MAX
from wavetank.monitoring.config.model import ScrapeConfig
from wavetank.monitoring.http_client import FETCH_ERRORS, HTTPClient
from wavetank.monitoring.scrape.target import Target

__all__ = ["BodyTooLarge", "Fetched", "ScrapeFailed", "accept_header", "fetch"]

_MEDIA_TYPES: Final = {
    "PrometheusProto": (
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
    ),
    "PrometheusText0.0.4": "text/plain;version=0.0.4",
    "PrometheusText1.0.0": "text/plain;version=1.0.0",
    "OpenMetricsText0.0.1": "application/openmetrics-text;version=0.0.1",
    "OpenMetricsText1.0.0": "application/openmetrics-text;version=1.0.0",
}
_ESCAPED: Final = ("PrometheusText1.0.0", "OpenMetricsText1.0.0")
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS


class ScrapeFailed(Exception):
    """A scrape brought nothing; the text is what ``lastError`` shows."""


class BodyTooLarge(ScrapeFailed):
    def __init__(self) -> None:
        super().__init__("body size limit exceeded")


@dataclass(frozen=True, slots=True)
class Fetched:
    body: bytes
    content_type: str


def accept_header(protocols: Sequence[str], escaping: str) -> str:
    """The Accept header: the protocols by falling weight, then anything."""
    return _accept_header(tuple(protocols), escaping)


@lru_cache(maxsize=256)
def _accept_header(protocols: tuple[str, ...], escaping: str) -> str:
    parts = []
    weight = len(_MEDIA_TYPES) + 1
    for protocol in protocols:
        media = _MEDIA_TYPES[protocol]
        if protocol in _ESCAPED and escaping:
            media += f";escaping={escaping}"
        parts.append(f"{media};q=0.{weight}")
        weight -= 1
    parts.append(f"*/*;q=0.{weight}")
    return ",".join(parts)


async def fetch(client: HTTPClient, target: Target, config: ScrapeConfig) -> Fetched:
    """Scrape once. Raises ScrapeFailed."""
    seconds = target.timeout.seconds
    headers = {
        "Accept": accept_header(config.scrape_protocols, config.metric_name_escaping_scheme),
        "Accept-Encoding": "gzip" if config.enable_compression else "identity",
        "User-Agent": "Prometheus/3.14.0",
        "X-Prometheus-Scrape-Timeout-Seconds": f"{seconds:g}",
    }
    limit = min(config.body_size_limit or SCRAPE_BODY_BYTES_MAX, SCRAPE_BODY_BYTES_MAX)
    try:
        async with asyncio.timeout(seconds):
            async with client.request(
                "GET", target.url, headers=headers, unix_socket=target.unix_socket
            ) as response:
                if response.status != 200:
                    raise ScrapeFailed(f"server returned HTTP status {response.status} {response.reason}")
                body = await _read(response, limit)
                return Fetched(body, response.headers.get("Content-Type", ""))
    except TimeoutError:
        raise ScrapeFailed(f'Get "{target.url}": context deadline exceeded') from None
    except FETCH_ERRORS as error:
        raise ScrapeFailed(f'Get "{target.url}": {str(error) or type(error).__name__}') from None


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body, decompressed, and never more than ``limit`` bytes of it in memory."""
    encoding = response.headers.get("Content-Encoding", "").lower()
    if encoding not in ("", "identity", "gzip"):
        raise ScrapeFailed(f"unsupported Content-Encoding {encoding!r}")
    inflate = zlib.decompressobj(_GZIP_WINDOW) if encoding == "gzip" else None
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        if inflate is not None:
            try:
                part = inflate.decompress(part, limit - size + 1)
            except zlib.error as error:
                raise ScrapeFailed(f"gzip: {error}") from None
        size += len(part)
        if size > limit or (inflate is not None and inflate.unconsumed_tail):
            raise BodyTooLarge
        parts.append(part)
    if inflate is not None and not inflate.eof:
        raise ScrapeFailed("unexpected EOF")
    return b"".join(parts)
