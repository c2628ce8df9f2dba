"""``/series``, ``/labels``, ``/label/<name>/values``: what is stored.

Mirrors series, labelNames and labelValues of web/api/v1/api.go. The work runs in the query threads.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from wavetank.model.labels import Labels, Matcher
from wavetank.model.quoting import quote
from wavetank.monitoring.api.answer import answer, bad_data, endpoint
from wavetank.monitoring.api.params import no_selector, read_params
from wavetank.monitoring.api.services import Services

__all__ = ["routes"]

T = TypeVar("T", str, Labels)
_TRUNCATED: Final = "results truncated due to limit"
_ESCAPE: Final = re.compile(r"__|_([0-9A-Fa-f]{1,6})_")


def unescape_name(name: str) -> str:
    """A name in the ``U__`` form of values escaping; others as they are."""
    if not name.startswith("U__"):
        return name
    return _ESCAPE.sub(lambda m: "_" if m[0] == "__" else chr(int(m[1], 16)), name[3:])


def routes(services: Services) -> list[Route]:
    """The endpoints, below ``/api/v1``."""
    db, run = services.db, services.queries.run

    def limited(found: list[T], limit: int) -> tuple[list[T], list[str]]:
        return (found[:limit], [_TRUNCATED]) if limit and len(found) > limit else (found, [])

    def union(find: Callable[[Sequence[Matcher]], Sequence[T]], sets: list[list[Matcher]]) -> list[T]:
        return sorted({entry for matchers in sets for entry in find(matchers)})

    async def series(request: Request) -> Response:
        params = await read_params(request)
        if not params.all("match[]"):
            raise no_selector()
        limit = params.limit()
        start, end = params.span_ms()
        sets = params.matcher_sets(named=True)
        found = await run(lambda: union(lambda matchers: db.series(matchers, start, end), sets))
        shown, warnings = limited(found, limit)
        return answer([labels.to_dict() for labels in shown], warnings=warnings)

    async def names(request: Request) -> Response:
        params = await read_params(request)
        limit = params.limit()
        start, end = params.span_ms()
        sets = params.matcher_sets() or [[]]
        found = await run(lambda: union(lambda matchers: db.label_names(matchers, start, end), sets))
        shown, warnings = limited(found, limit)
        return answer(shown, warnings=warnings)

    async def values(request: Request) -> Response:
        params = await read_params(request)
        name = unescape_name(request.path_params["name"])
        if not name:
            raise bad_data(f"invalid label name: {quote(name)}")
        limit = params.limit()
        start, end = params.span_ms()
        sets = params.matcher_sets() or [[]]
        found = await run(lambda: union(lambda matchers: db.label_values(name, matchers, start, end), sets))
        shown, warnings = limited(found, limit)
        return answer(shown, warnings=warnings)

    return [
        Route("/series", endpoint(series), methods=["GET", "POST"]),
        Route("/labels", endpoint(names), methods=["GET", "POST"]),
        Route("/label/{name:path}/values", endpoint(values), methods=["GET"]),
    ]
