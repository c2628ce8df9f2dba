"""One scrape over HTTP: what is asked for, and reading the answer within its bounds.

Mirrors acceptHeader and targetScraper of scrape/scrape.go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from wavetank.limits import SCRAPE_BODY_BYTES_MAX
from wavetank.monitoring.config.model import ScrapeConfig
from wavetank.monitoring.http_client import FETCH_ERRORS, HTTPClient, Response
from wavetank.monitoring.scrape.body import BodyReader, ScrapeFailed
from wavetank.monitoring.scrape.plain_http import PlainConnection, Redirected, address_of
from wavetank.monitoring.scrape.target import Target

__all__ = ["Fetched", "Fetcher", "ScrapeFailed", "accept_header"]

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


class Fetcher:
    """Fetches one target again and again, on a connection of its own where that is plain HTTP."""

    def __init__(self, client: HTTPClient, target: Target, config: ScrapeConfig) -> None:
        self._client = client
        self._target = target
        self._seconds = target.timeout.seconds
        self._limit = min(config.body_size_limit or SCRAPE_BODY_BYTES_MAX, SCRAPE_BODY_BYTES_MAX)
        self._headers = {
            "Accept": accept_header(config.scrape_protocols, config.metric_name_escaping_scheme),
            # Upstream asks for gzip alone; a target that has both is to answer as it answers upstream.
            "Accept-Encoding": "gzip, zstd;q=0.9" if config.enable_compression else "identity",
            "User-Agent": "Prometheus/3.14.0",
            "X-Prometheus-Scrape-Timeout-Seconds": f"{self._seconds:g}",
        }
        self._connection: PlainConnection | None = None
        self._start: tuple[str, str] = ("", "")  # Host header and request target
        self._request = b""  # as it is sent each time, unless something is added to it
        address = address_of(target.url) if client.is_direct and not target.unix_socket else None
        if address is not None:
            host, port, *start = address
            self._connection = PlainConnection(host, port, self._limit)
            self._start = (start[0], start[1])
            self._request = self._rendered({})

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    async def fetch(self) -> Fetched:
        """Scrape once. Raises ScrapeFailed."""
        url = self._target.url
        try:
            async with asyncio.timeout(self._seconds):
                if self._connection is not None:
                    try:
                        return await self._plain(self._connection)
                    except Redirected:
                        self.close()
                        self._connection = None
                return await self._general()
        except TimeoutError:
            raise ScrapeFailed(f'Get "{url}": context deadline exceeded') from None
        except FETCH_ERRORS as error:
            raise ScrapeFailed(f'Get "{url}": {str(error) or type(error).__name__}') from None

    async def _plain(self, connection: PlainConnection) -> Fetched:
        client = self._client
        request = self._rendered(await client.headers()) if client.adds_headers else self._request
        answer = await connection.exchange(request)
        if answer.status != 200:
            raise ScrapeFailed(f"server returned HTTP status {answer.status} {answer.reason}")
        return Fetched(answer.body, answer.content_type)

    def _rendered(self, more: Mapping[str, str]) -> bytes:
        """The request's bytes. Raises ValueError for a header that would be two."""
        host, target = self._start
        headers = {"Host": host, **self._headers, **more}
        lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        if any("\r" in line or "\n" in line for line in lines):
            raise ValueError("a header must not contain line breaks")
        return "\r\n".join([*lines, "", ""]).encode()

    async def _general(self) -> Fetched:
        async with self._client.request(
            "GET", self._target.url, headers=self._headers, unix_socket=self._target.unix_socket
        ) as response:
            if response.status != 200:
                raise ScrapeFailed(f"server returned HTTP status {response.status} {response.reason}")
            body = await _read(response, self._limit)
            return Fetched(body, response.headers.get("Content-Type", ""))


async def _read(response: Response, limit: int) -> bytes:
    """The body, decompressed, and never more than ``limit`` bytes of it in memory."""
    reader = BodyReader(response.headers.get("Content-Encoding", "").lower(), limit)
    async for part in response.content.iter_any():
        reader.add(part)
    return reader.whole()
