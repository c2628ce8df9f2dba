"""Envoy's metrics for Prometheus, with Istio's names.

Envoy prefixes everything with ``envoy_``; Istio's metrics lose that. Labels that Envoy could not fill become
``unknown``, as the ``istio.stats`` filter writes them; ``grpc_response_status`` is left out where there is
none. Everything else is passed on as it is.
"""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from wavetank.mesh.admin import Admin, AdminError

__all__ = ["STATS_PATH", "envoy_metrics", "istio_names", "stats_app"]

STATS_PATH = "/stats/prometheus"
_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_OURS = (b"envoy_istio_", b"# TYPE envoy_istio_")


def istio_names(exposition: bytes) -> bytes:
    """The exposition with Istio's metrics renamed. A label value cannot contain an unescaped quote, so an
    empty value is the only place where ``=""`` can stand."""
    lines = exposition.split(b"\n")
    for index, line in enumerate(lines):
        if line.startswith(_OURS):
            line = line.replace(b"envoy_istio_", b"istio_", 1).replace(b',grpc_response_status=""', b"")
            lines[index] = line.replace(b'=""', b'="unknown"')
    return b"\n".join(lines)


async def envoy_metrics(admin: Admin) -> bytes:
    """What Prometheus should see of an Envoy now; only metrics that were ever touched.

    Raises AdminError if Envoy does not answer.
    """
    return istio_names(await admin.get(f"{STATS_PATH}?usedonly"))


def stats_app(admin: Admin) -> Starlette:
    """An HTTP application that serves ``/stats/prometheus`` and ``/metrics`` of an Envoy; 503 while it does
    not answer."""

    async def metrics(request: Request) -> Response:
        try:
            return Response(await envoy_metrics(admin), media_type=_CONTENT_TYPE)
        except AdminError as error:
            return PlainTextResponse(f"{error}\n", 503)

    return Starlette(routes=[Route(STATS_PATH, metrics), Route("/metrics", metrics)])
