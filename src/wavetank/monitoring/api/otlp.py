"""``/otlp/v1/metrics``: the HTTP side of OTLP, in protobuf or JSON.

The translation is in ``otlp.convert``. The messages are imported with the first request: most servers never
get one.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

from google.protobuf.message import DecodeError
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from wavetank.limits import REMOTE_WRITE_BYTES_MAX
from wavetank.monitoring.api.params import read_body
from wavetank.monitoring.api.services import Services
from wavetank.monitoring.otlp.convert import convert
from wavetank.monitoring.otlp.totals import Totals
from wavetank.monitoring.remote.receive import store

__all__ = ["otlp_metrics"]

_PROTOBUF: Final = "application/x-protobuf"
_JSON: Final = "application/json"
_REASONS_SHOWN: Final = 5


class _Unreadable(ValueError):
    """A body that is not an OTLP request."""


def otlp_metrics(services: Services) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint; only with ``--web.enable-otlp-receiver``."""
    totals = Totals(services.clock) if services.settings.otlp_deltas == "totals" else None

    async def receive(request: Request) -> Response:
        if not services.settings.enable_otlp_receiver:
            text = "otlp write receiver needs to be enabled with --web.enable-otlp-receiver\n"
            return PlainTextResponse(text, 404)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in (_PROTOBUF, _JSON):
            text = f"unsupported content type: {kind}, supported: [{_JSON}, {_PROTOBUF}]\n"
            return PlainTextResponse(text, 415)
        body = await read_body(request)
        encoding = request.headers.get("content-encoding", "").lower()
        try:
            response = await asyncio.to_thread(_store, services, body, kind, encoding, totals)
        except _Unreadable as error:
            return PlainTextResponse(f"{error}\n", 400)
        except OSError as error:
            return PlainTextResponse(f"the samples could not be stored: {error.strerror}\n", 503)
        if kind == _JSON:
            from google.protobuf import json_format

            return Response(json_format.MessageToJson(response), media_type=_JSON)
        return Response(response.SerializeToString(), media_type=_PROTOBUF)

    return receive


def _store(services: Services, body: bytes, kind: str, encoding: str, totals: Totals | None) -> Any:
    """Decode, convert and store; the answer."""
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

    request = _decoded(_inflated(body, encoding), kind)
    converted = convert(
        request,
        services.state.config.otlp,
        totals=totals,
        keep_deltas=services.settings.otlp_deltas == "keep",
        lookback_ms=services.queries.options.lookback_ms,
    )
    written = store(services.db, list(converted.series.values()), {})
    services.written(written.samples + written.histograms, len(body))
    response = ExportMetricsServiceResponse()
    problems = list(converted.reasons)[:_REASONS_SHOWN]
    if written.problem:
        problems.append(written.problem)
    if problems:
        response.partial_success.rejected_data_points = converted.refused
        response.partial_success.error_message = "; ".join(problems)
    return response


def _inflated(body: bytes, encoding: str) -> bytes:
    if encoding in ("", "identity"):
        return body
    if encoding != "gzip":
        raise _Unreadable(f'unsupported compression: {encoding}. Only "gzip" or no compression supported')
    inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        data = inflate.decompress(body, REMOTE_WRITE_BYTES_MAX)
    except zlib.error as error:
        raise _Unreadable(f"gzip: {error}") from None
    if inflate.unconsumed_tail:
        raise _Unreadable(f"the body is larger than {REMOTE_WRITE_BYTES_MAX} bytes")
    if not inflate.eof:
        raise _Unreadable("gzip: unexpected EOF")
    return data


def _decoded(data: bytes, kind: str) -> Any:
    from google.protobuf import json_format
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    try:
        if kind == _PROTOBUF:
            return ExportMetricsServiceRequest.FromString(data)
        made = ExportMetricsServiceRequest()
        return json_format.Parse(data, made, ignore_unknown_fields=True)
    except (DecodeError, json_format.ParseError, UnicodeDecodeError) as error:
        raise _Unreadable(str(error)) from None
