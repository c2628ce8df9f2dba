"""``http_sd_configs``: target groups from a URL.

Mirrors discovery/http: JSON over GET every ``refresh_interval``; a failed refresh keeps the old targets.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Final

import msgspec

from wavetank.clock import Clock
from wavetank.monitoring.config.discovery import HTTPSD
from wavetank.monitoring.discovery.body import read_body
from wavetank.monitoring.discovery.files import parse_groups
from wavetank.monitoring.discovery.group import Publish, TargetGroup
from wavetank.monitoring.discovery.metrics import Took
from wavetank.monitoring.http_client import FETCH_ERRORS, HTTPClient

__all__ = ["HTTPDiscovery"]

_JSON: Final = re.compile(r"application/json(;\s*charset=(\"utf-8\"|utf-8))?", re.IGNORECASE)
_LOG = logging.getLogger(__name__)


class HTTPDiscovery:
    """Asks one URL again and again."""

    def __init__(
        self,
        config: HTTPSD,
        clock: Clock,
        count_failure: Callable[[], None],
        took: Took = lambda seconds: None,
    ) -> None:
        self._took = took
        self._config = config
        self._clock = clock
        self._count_failure = count_failure
        self._client = HTTPClient(config, clock)
        self._known = 0

    async def run(self, publish: Publish) -> None:
        try:
            while True:
                began = self._clock.monotonic()
                try:
                    publish(await self.refresh())
                except FETCH_ERRORS as error:
                    self._count_failure()
                    _LOG.error("http discovery of %s keeps the old targets: %s", self._config.url, error)
                self._took(self._clock.monotonic() - began)
                await self._clock.sleep(self._config.refresh_interval.seconds)
        finally:
            await self._client.close()

    async def refresh(self) -> list[TargetGroup]:
        """One request. Raises one of FETCH_ERRORS."""
        seconds = self._config.refresh_interval.seconds
        headers = {
            "Accept": "application/json",
            "User-Agent": "Prometheus/3.14.0",
            "X-Prometheus-Refresh-Interval-Seconds": f"{seconds:g}",
        }
        async with self._client.request(
            "GET", self._config.url, headers=headers, timeout_seconds=seconds
        ) as response:
            if response.status != 200:
                raise ValueError(f"server returned HTTP status {response.status} {response.reason}")
            kind = response.headers.get("Content-Type", "").strip()
            if _JSON.fullmatch(kind) is None:
                raise ValueError(f'unsupported content type "{kind}"')
            body = await read_body(response)
        url = self._config.url
        groups = parse_groups(msgspec.json.decode(body), url, {"__meta_url": url})
        gone = [TargetGroup(f"{url}:{i}") for i in range(len(groups), self._known)]
        self._known = len(groups)
        return groups + gone
