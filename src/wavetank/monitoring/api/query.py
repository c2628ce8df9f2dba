"""``/query``, ``/query_range``, ``/query_exemplars``, ``/format_query``, ``/parse_query``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from wavetank.model.labels import Labels, Matcher
from wavetank.model.quoting import format_float, quote
from wavetank.monitoring.api.answer import ApiFailure, answer, bad_data, endpoint, raw_answer
from wavetank.monitoring.api.params import Params, range_of, read_params
from wavetank.monitoring.api.services import Services
from wavetank.monitoring.api.tree import tree
from wavetank.monitoring.tracing.span import Value
from wavetank.promql.ast import Expr, selectors
from wavetank.promql.parser import ParseError, parse_expr
from wavetank.promql.printer import pretty
from wavetank.tsdb.exemplars import Exemplar

__all__ = ["routes"]

T = TypeVar("T")


def _exemplars_of(series: Labels, exemplars: Sequence[Exemplar]) -> dict[str, Any]:
    """One series as upstream's ``query_exemplars`` shows it; times in seconds."""
    found = [
        {
            "labels": exemplar.labels.to_dict(),
            "value": format_float(exemplar.value),
            "timestamp": exemplar.timestamp_ms / 1000,
        }
        for exemplar in exemplars
    ]
    return {"seriesLabels": series.to_dict(), "exemplars": found}


def _selected(expr: Expr) -> list[list[Matcher]]:
    return [list(node.matchers) for node in selectors(expr)]


def _lookback_ms(params: Params) -> int:
    try:
        return params.duration_ms("lookback_delta", 0)
    except ApiFailure as error:
        said = error.message.removeprefix('invalid parameter "lookback_delta": ')
        raise bad_data(f"error parsing lookback delta duration: {said}") from None


def _said_of(params: Params) -> list[str]:
    """A warning for statistics asked for with a word of the client's own."""
    text = params.text("stats")
    if text in ("", "true", "all"):
        return []
    return [
        f'value {quote(text)} for parameter "stats" is deprecated and will be rejected in the next major '
        'release, use "true" or "all"'
    ]


def routes(services: Services) -> list[Route]:
    """The endpoints, below ``/api/v1``."""
    queries = services.queries

    async def instant(request: Request) -> Response:
        params = await read_params(request)
        now_ms = round(services.clock.now() * 1000)
        query, limit = params.text("query"), params.limit()
        ts = params.time_ms("time", now_ms)
        timeout_ms, lookback_ms = params.duration_ms("timeout", 0), _lookback_ms(params)
        with queries.tracer.span("promqlInstantQuery", {"query": query, "time": ts / 1000}):
            result = await queries.instant(
                query,
                ts,
                timeout_ms=timeout_ms,
                lookback_ms=lookback_ms,
                limit=limit,
                stats=params.text("stats"),
                advise=params.flag("advice"),
            )
        return raw_answer(result.data, warnings=[*result.warnings, *_said_of(params)], infos=result.infos)

    async def ranged(request: Request) -> Response:
        params = await read_params(request)
        query, limit = params.text("query"), params.limit()
        start, end, step = range_of(params)
        timeout_ms, lookback_ms = params.duration_ms("timeout", 0), _lookback_ms(params)
        said: dict[str, Value] = {
            "query": query,
            "start": start / 1000,
            "end": end / 1000,
            "step": step / 1000,
        }
        with queries.tracer.span("promqlRangeQuery", said):
            result = await queries.range(
                query,
                start,
                end,
                step,
                timeout_ms=timeout_ms,
                lookback_ms=lookback_ms,
                limit=limit,
                stats=params.text("stats"),
                advise=params.flag("advice"),
            )
        return raw_answer(result.data, warnings=[*result.warnings, *_said_of(params)], infos=result.infos)

    async def parsed(text: str, then: Callable[[Expr], T]) -> T:
        """In a thread, as a long text takes its time. Raises ParseError."""
        return await queries.run(lambda: then(parse_expr(text, queries.options.parser)))

    async def exemplars(request: Request) -> Response:
        params = await read_params(request)
        start, end = params.span_ms()
        if end < start:
            raise bad_data("end timestamp must not be before start timestamp")
        try:
            sets = await parsed(params.text("query"), _selected)
        except ParseError as error:
            raise bad_data(error.message) from None
        if not sets:
            return Response(status_code=204)
        found = await queries.run(lambda: services.db.exemplars(sets, start, end))
        return answer([_exemplars_of(series, exemplars) for series, exemplars in found])

    async def format_query(request: Request) -> Response:
        params = await read_params(request)
        try:
            return answer(await parsed(params.text("query"), pretty))
        except ParseError as error:
            raise bad_data(f'invalid parameter "query": {error.message}') from None

    async def parse_query(request: Request) -> Response:
        params = await read_params(request)
        try:
            return answer(await parsed(params.text("query"), tree))
        except ParseError as error:
            raise bad_data(f'invalid parameter "query": {error.message}') from None

    both = ["GET", "POST"]
    return [
        Route("/query", endpoint(instant), methods=both),
        Route("/query_range", endpoint(ranged), methods=both),
        Route("/query_exemplars", endpoint(exemplars), methods=both),
        Route("/format_query", endpoint(format_query), methods=both),
        Route("/parse_query", endpoint(parse_query), methods=both),
    ]
