"""``/query_range`` for the console's graph: numbers as a block that a typed array can be laid over.

Upstream's JSON writes each sample as a pair of a time and a text; for 50 series of 2,000 points a browser
then parses 2.5 MB and makes 200,000 small arrays, which takes longer than to draw them. Here all series share
the steps of the query. The answer is, in this order:

    8 bytes        little-endian length of the block in bytes
    block          float64, little-endian, [series][step]; NaN where there is no finite number
    the rest       JSON: ``resultType``, ``columns`` with one label set a series, ``startMs``, ``stepMs``,
                   ``points``, ``total`` (series there were before the limit), ``stats``, ``warnings``,
                   ``infos``

Results with native histograms have no block: their JSON is the one of ``/api/v1/query_range``.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from wavetank.monitoring.api.answer import bad_data, endpoint
from wavetank.monitoring.api.params import read_params
from wavetank.monitoring.api.services import Services
from wavetank.promql.result import Result
from wavetank.promql.result_json import encode_result

__all__ = ["encode_columns", "routes"]

_POINTS_MAX: Final = 11_000  # as upstream's query_range


def encode_columns(result: Result, step_ms: int, limit: int) -> bytes:
    """The answer without warnings; at most ``limit`` series, 0 for all."""
    total = len(result.labels) or 1
    if result.histograms is not None:
        return (0).to_bytes(8, "little") + encode_result(result)
    shown = slice(limit or None)
    values, mask = result.values[shown], result.mask[shown]
    block = np.where(mask & np.isfinite(values), values, np.nan).astype("<f8", copy=False).tobytes()
    labels = [dict(found.pairs) for found in result.labels[shown]] or [{}]
    told = {
        "resultType": "matrix",
        "columns": labels if values.size else [],
        "startMs": int(result.steps[0]) if len(result.steps) else 0,
        "stepMs": step_ms,
        "points": len(result.steps),
        "total": total if values.size else 0,
    }
    return len(block).to_bytes(8, "little") + block + msgspec.json.encode(told)


def routes(services: Services) -> list[Route]:
    """``/query_range``, below ``/api/wavetank``; parameters as those of ``/api/v1/query_range``."""

    async def ranged(request: Request) -> Response:
        params = await read_params(request)
        start, end, step = params.time_ms("start"), params.time_ms("end"), params.duration_ms("step")
        if end < start or step <= 0 or (end - start) // step > _POINTS_MAX:
            raise bad_data(f"no steps of {step} ms between {start} and {end}, or more than {_POINTS_MAX}")
        limit = params.limit()
        found = await services.queries.range(
            params.text("query"),
            start,
            end,
            step,
            stats="all",
            encode=lambda result: encode_columns(result, step, limit),
        )
        told = msgspec.json.encode({"warnings": found.warnings, "infos": found.infos})
        body = found.data[:-1] + b"," + told[1:]
        return Response(body, media_type="application/octet-stream")

    return [Route("/query_range", endpoint(ranged), methods=["GET", "POST"])]
