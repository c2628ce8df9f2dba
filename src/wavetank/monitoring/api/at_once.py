"""Small queries, answered by the event loop itself as soon as they are read.

Only plain ones: a query and its times. Parameters that change how a query is run or shown, a query not known
to be small, and every failure take the ordinary way, which then also words the error.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final
from urllib.parse import unquote_plus

from wavetank.clock import Clock
from wavetank.limits import PROMQL_CACHED_QUERIES, PROMQL_CACHED_TEXT_MAX
from wavetank.monitoring.api.answer import ApiFailure, envelope
from wavetank.monitoring.api.counting import CountRequests
from wavetank.monitoring.api.params import Params, range_of
from wavetank.monitoring.connection import Headers
from wavetank.monitoring.querying import Queries
from wavetank.monitoring.web.hosts import HostCheck

__all__ = ["AtOnce"]

_FIELDS_BYTES_MAX: Final = 4 * PROMQL_CACHED_TEXT_MAX
_NOT_PLAIN: Final = frozenset(("timeout", "lookback_delta", "limit", "stats", "advice"))


class AtOnce:
    """Implements ``connection.Shortcut`` over the queries of a server."""

    def __init__(self, queries: Queries, clock: Clock, counted: CountRequests, hosts: HostCheck) -> None:
        self._queries = queries
        self._clock = clock
        self._counted = counted
        self._hosts = hosts

    def admits(self, headers: Headers) -> bool:
        """As the application would: a Host of ours."""
        return self._hosts.admits(headers)

    def answer(self, path: str, fields: bytes) -> bytes | None:
        """The whole answer, or None if it takes the ordinary way."""
        if len(fields) > _FIELDS_BYTES_MAX:
            return None  # decoding alone would hold up the loop
        began = self._clock.monotonic()
        try:
            values = _plain_fields(fields.decode("ascii"))
            params = Params(values)
            if not _NOT_PLAIN.isdisjoint(values):
                return None
            if path.endswith("_range"):
                start, end, step = range_of(params)
            else:
                start = end = params.time_ms("time", round(self._clock.now() * 1000))
                step = 0
        except (ApiFailure, ValueError):
            return None
        found = self._queries.at_once(params.text("query"), start, end, step)
        if found is None:
            return None
        body = envelope(found.data, found.warnings, found.infos)
        self._counted.count(path, 200, self._clock.monotonic() - began, len(body))
        return body


def _plain_fields(text: str) -> dict[str, tuple[str]]:
    """Fields by name, each given once. Raises ValueError otherwise."""
    found: dict[str, tuple[str]] = {}
    for part in text.split("&"):
        name, _, value = part.partition("=")
        if name in found or "%" in name or "+" in name:
            raise ValueError(name)
        if "%" in value or "+" in value:
            value = _unquoted(value) if len(value) <= PROMQL_CACHED_TEXT_MAX else unquote_plus(value)
        found[name] = (value,)
    return found


_unquoted = lru_cache(maxsize=PROMQL_CACHED_QUERIES)(unquote_plus)
