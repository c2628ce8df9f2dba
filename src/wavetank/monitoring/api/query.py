"""``/query``, ``/query_range``, ``/query_exemplars``, ``/format_query``, ``/parse_query``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from wavetank.model.labels import Labels
from wavetank.model.quoting import format_float
from wavetank.monitoring.api.answer import answer, bad_data, endpoint, raw_answer
from wavetank.monitoring.api.params import range_of, read_params
from wavetank.monitoring.api.services import Services
from wavetank.monitoring.api.tree import tree
from wavetank.monitoring.tracing.span import Value
from wavetank.promql.ast import selectors
from wavetank.promql.parser import ParseError, parse_expr
from wavetank.promql.printer import pretty
from wavetank.tsdb.exemplars import Exemplar

__all__ = ["routes"]


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


def routes(services: Services) -> list[Route]:
    """The endpoints, below ``/api/v1``."""
    queries = services.queries

    async def instant(request: Request) -> Response:
        params = await read_params(request)
        now_ms = round(services.clock.now() * 1000)
        query = params.text("query")
        ts = params.time_ms("time", now_ms)
        with queries.tracer.span("promqlInstantQuery", {"query": query, "time": ts / 1000}):
            result = await queries.instant(
                query,
                ts,
                timeout_ms=params.duration_ms("timeout", 0),
                lookback_ms=params.duration_ms("lookback_delta", 0),
                limit=params.limit(),
                stats=params.text("stats"),
                advise=params.flag("advice"),
            )
        return raw_answer(result.data, warnings=result.warnings, infos=result.infos)

    async def ranged(request: Request) -> Response:
        params = await read_params(request)
        start, end, step = range_of(params)
        query = params.text("query")
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
                timeout_ms=params.duration_ms("timeout", 0),
                lookback_ms=params.duration_ms("lookback_delta", 0),
                limit=params.limit(),
                stats=params.text("stats"),
                advise=params.flag("advice"),
            )
        return raw_answer(result.data, warnings=result.warnings, infos=result.infos)

    async def exemplars(request: Request) -> Response:
        params = await read_params(request)
        start, end = params.time_ms("start"), params.time_ms("end")
        if end < start:
            raise bad_data('invalid parameter "end": end timestamp must not be before start timestamp')
        try:
            expr = parse_expr(params.text("query"), queries.options.parser)
        except ParseError as error:
            raise bad_data(f'invalid parameter "query": {error.message}') from None
        sets = [list(node.matchers) for node in selectors(expr)]
        found = await queries.run(lambda: services.db.exemplars(sets, start, end))
        return answer([_exemplars_of(series, exemplars) for series, exemplars in found])

    async def format_query(request: Request) -> Response:
        params = await read_params(request)
        try:
            return answer(pretty(parse_expr(params.text("query"), queries.options.parser)))
        except ParseError as error:
            raise bad_data(f'invalid parameter "query": {error.message}') from None

    async def parse_query(request: Request) -> Response:
        params = await read_params(request)
        try:
            return answer(tree(parse_expr(params.text("query"), queries.options.parser)))
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
