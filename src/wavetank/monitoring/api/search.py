"""``/search/metric_names``, ``/search/label_names``, ``/search/label_values``: names and values as one types.

Mirrors web/api/v1/search.go. The answer is a stream of JSON lines: batches of results, the first one even if
it is empty, then a line that says whether there would be more. Only with ``--enable-feature=search-api``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from wavetank.clock import next_turn
from wavetank.limits import SEARCH_TERM_CHARS_MAX, SEARCH_TERMS_MAX
from wavetank.model.labels import METRIC_NAME, Matcher
from wavetank.model.quoting import quote
from wavetank.monitoring.api.answer import ApiFailure, bad_data, endpoint
from wavetank.monitoring.api.params import Params, parse_integer, read_params
from wavetank.monitoring.api.scoring import ALGORITHMS, Filter, Found, Ordering, search
from wavetank.monitoring.api.services import Services
from wavetank.promql.context import QueryContext

__all__ = ["routes"]

# All sorted values of some kind that series with these matchers have, from start to end in ms.
Find = Callable[[Sequence[Matcher], int, int], Sequence[str]]

_LIMIT: Final = 100
_BATCH: Final = 100
_HOUR_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """The parameters that all three have."""

    sets: Sequence[Sequence[Matcher]]
    accept: Filter
    ordering: Ordering
    include_score: bool
    start_ms: int
    end_ms: int
    limit: int
    batch: int

    @classmethod
    def of(cls, params: Params, kind: str, now_ms: int, limit_max: int) -> Wanted:
        """Raises ApiFailure. ``limit_max`` 0 is none."""
        start, end = (
            params.time_ms("start", now_ms - _HOUR_MS, named=False),
            params.time_ms("end", now_ms, named=False),
        )
        if end < start:
            raise bad_data("end timestamp must not be before start timestamp")
        sets = params.matcher_sets()
        accept = _filter(params)
        include_score = _switch(params, "include_score", False)
        return cls(
            sets=sets or [[]],
            accept=accept,
            ordering=_ordering(params, kind),
            include_score=include_score,
            start_ms=start,
            end_ms=end,
            limit=_limit(params, limit_max),
            batch=_positive(params, "batch_size", _BATCH),
        )


def _filter(params: Params) -> Filter:
    terms = params.all("search[]")
    if len(terms) > SEARCH_TERMS_MAX:
        raise bad_data(f"too many search[] terms: got {len(terms)}, maximum is {SEARCH_TERMS_MAX}")
    if terms and (longest := max(map(len, terms))) > SEARCH_TERM_CHARS_MAX:
        raise bad_data(f"a search[] term has {longest} characters, maximum is {SEARCH_TERM_CHARS_MAX}")
    text = params.text("fuzz_threshold")
    threshold = _integer(text) if text else 0
    if threshold is None or not 0 <= threshold <= 100:
        raise bad_data(f"invalid fuzz_threshold {quote(text)}: must be 0-100")
    algorithm = params.text("fuzz_alg") or ALGORITHMS[0]
    if algorithm not in ALGORITHMS:
        raise bad_data(f"unsupported fuzz_alg {quote(algorithm)}: must be one of [{' '.join(ALGORITHMS)}]")
    return Filter.of(terms, algorithm, threshold / 100, _switch(params, "case_sensitive", True))


def _ordering(params: Params, kind: str) -> Ordering:
    by, direction = params.text("sort_by"), params.text("sort_dir")
    if direction and not by:
        raise bad_data("sort_dir is only valid when sort_by is set")
    if direction and by == "score":
        raise bad_data("sort_dir is not supported for sort_by=score")
    if direction not in ("", "asc", "dsc"):
        raise bad_data(f'invalid sort_dir {quote(direction)}: must be "asc" or "dsc"')
    if by == "score" and not params.all("search[]"):
        raise bad_data("sort_by=score requires search[] to be set")
    if by not in ("", "alpha", "score"):
        raise bad_data(f'invalid sort_by {quote(by)} for {kind}: must be "alpha" or "score"')
    if by == "score":
        return "score"
    return "descending" if direction == "dsc" else "ascending"


def _limit(params: Params, limit_max: int) -> int:
    limit = _positive(params, "limit", min(_LIMIT, limit_max) if limit_max else _LIMIT)
    if limit_max and limit > limit_max:
        raise bad_data(
            f"limit {limit} exceeds the configured maximum ({limit_max}, see --web.search.max-limit)"
        )
    return limit


def _positive(params: Params, name: str, default: int) -> int:
    text = params.text(name)
    value = _integer(text) if text else default
    if value is None or value <= 0:
        raise bad_data(f"invalid {name} {quote(text)}: must be a positive integer")
    return value


def _switch(params: Params, name: str, default: bool) -> bool:
    text = params.text(name)
    try:
        return params.flag(name) if text else default
    except ApiFailure:
        raise bad_data(f"invalid {name} {quote(text)}: must be boolean") from None


def _integer(text: str) -> int | None:
    try:
        return parse_integer(text)
    except ValueError:
        return None


def _lines(
    found: Sequence[Found], wanted: Wanted, show: Callable[[Found], dict[str, Any]]
) -> Iterator[bytes]:
    """The answer's lines."""
    shown = found[: wanted.limit]
    for begin in range(0, max(1, len(shown)), wanted.batch):
        yield _line({"results": [show(entry) for entry in shown[begin : begin + wanted.batch]]})
    yield _line({"status": "success", "has_more": len(found) > wanted.limit})


def _line(entry: dict[str, Any]) -> bytes:
    return msgspec.json.encode(entry) + b"\n"


def _shown(key: str, wanted: Wanted, entry: Found) -> dict[str, Any]:
    value, score = entry
    return {key: value, "score": score if score % 1 else int(score)} if wanted.include_score else {key: value}


def routes(services: Services) -> list[Route]:
    """The endpoints, below ``/api/v1``."""
    db, queries, settings = services.db, services.queries, services.settings

    async def read(request: Request, kind: str) -> tuple[Params, Wanted]:
        if not settings.enable_search:
            raise ApiFailure("unavailable", "search API disabled")
        params = await read_params(request)
        now_ms = round(services.clock.now() * 1000)
        return params, Wanted.of(params, kind, now_ms, settings.search_limit_max)

    async def found(find: Find, wanted: Wanted) -> Sequence[Found]:
        """One more than wanted, to know whether there are more."""
        context = QueryContext.of(queries.options, services.clock)
        check = partial(context.check, "search")

        def work() -> list[Found]:
            check()
            parts = [find(matchers, wanted.start_ms, wanted.end_ms) for matchers in wanted.sets]
            values = parts[0] if len(parts) == 1 else sorted(set().union(*parts))
            return search(values, wanted.accept, wanted.ordering, wanted.limit + 1, check)

        try:
            return await queries.run(work)
        except asyncio.CancelledError:
            context.cancel()
            raise

    def streamed(
        entries: Sequence[Found], wanted: Wanted, show: Callable[[Found], dict[str, Any]]
    ) -> Response:
        kind = "application/x-ndjson; charset=utf-8"
        return StreamingResponse(_in_turns(_lines(entries, wanted, show)), headers={"Content-Type": kind})

    def described(wanted: Wanted, entry: Found) -> dict[str, Any]:
        shown = _shown("name", wanted, entry)
        for pool in services.pools.pools.values():
            for loop in pool.loops.values():
                known = loop.store.metadata.get(entry[0])
                if known is not None:
                    said = {"type": known.type, "help": known.help, "unit": known.unit}
                    return shown | {key: text for key, text in said.items() if text}
        return shown

    async def metric_names(request: Request) -> Response:
        params, wanted = await read(request, "metric_names")
        describe = _switch(params, "include_metadata", False)
        show = partial(described, wanted) if describe else partial(_shown, "name", wanted)
        return streamed(await found(partial(db.label_values, METRIC_NAME), wanted), wanted, show)

    async def label_names(request: Request) -> Response:
        _, wanted = await read(request, "label_names")
        return streamed(await found(db.label_names, wanted), wanted, partial(_shown, "name", wanted))

    async def label_values(request: Request) -> Response:
        params, wanted = await read(request, "label_values")
        label = params.text("label")
        if not label:
            raise bad_data('missing required parameter "label"')
        values = await found(partial(db.label_values, label), wanted)
        return streamed(values, wanted, partial(_shown, "value", wanted))

    searches: dict[str, Callable[[Request], Awaitable[Response]]] = {
        "metric_names": metric_names,
        "label_names": label_names,
        "label_values": label_values,
    }
    return [
        Route(f"/search/{name}", endpoint(handle), methods=["GET", "POST"])
        for name, handle in searches.items()
    ]


async def _in_turns(lines: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Other requests have their turn between two batches."""
    for line in lines:
        yield line
        await next_turn()
