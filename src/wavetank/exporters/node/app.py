"""``/metrics`` of a node exporter, with ``collect[]`` and ``exclude[]``; a page that links there."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from wavetank import __version__
from wavetank.exporters.families import Families
from wavetank.exporters.node.collectors import Settings, collect
from wavetank.exporters.node.host import Host
from wavetank.exposition.process import process_families
from wavetank.exposition.render import (
    CONTENT_TYPE_OPENMETRICS,
    CONTENT_TYPE_TEXT,
    MetricFamily,
    render_openmetrics,
    render_text,
)

__all__ = ["create_app"]


def create_app(
    names: Sequence[str],
    host: Host,
    settings: Settings,
    *,
    path: str = "/metrics",
    own_metrics: bool = True,
    requests_max: int = 40,
) -> ASGIApp:
    """The application of an exporter that runs these collectors; no more than ``requests_max`` at a time."""
    room = asyncio.Semaphore(requests_max) if requests_max > 0 else None

    async def metrics(request: Request) -> Response:
        wanted = request.query_params.getlist("collect[]")
        unwanted = request.query_params.getlist("exclude[]")
        if wanted and unwanted:
            return PlainTextResponse("Combined collect and exclude queries are not allowed.\n", 400)
        for name in wanted:
            if name not in names:
                return PlainTextResponse(
                    f"Couldn't create filtered metrics handler: disabled collector: {name}\n", 400
                )
        chosen = [name for name in wanted or names if name not in unwanted]
        if room is not None and room.locked():
            return PlainTextResponse("Limit of concurrent requests reached, try again later.\n", 503)
        async with room or asyncio.Lock():
            families = await asyncio.to_thread(collect, chosen, host, settings)
        families = [*families, _build(), *(process_families() if own_metrics else ())]
        if "application/openmetrics-text" in request.headers.get("accept", ""):
            return Response(render_openmetrics(families), media_type=CONTENT_TYPE_OPENMETRICS)
        return Response(render_text(families), media_type=CONTENT_TYPE_TEXT)

    async def page(request: Request) -> Response:
        return HTMLResponse(
            "<!doctype html><html lang=en><meta charset=utf-8><title>Node Exporter</title>"
            f"<h1>Node Exporter</h1><p><a href='{path.lstrip('/')}'>Metrics</a></p></html>"
        )

    return Starlette(routes=[Route(path, metrics), Route("/", page)])


def _build() -> MetricFamily:
    found = Families()
    labels = {
        "branch": "",
        "goarch": platform.machine(),
        "goos": platform.system().lower(),
        "goversion": f"python{platform.python_version()}",
        "revision": "wavetank",
        "tags": "",
        "version": __version__,
    }
    found.gauge("node_exporter_build_info", labels, 1)
    return found.finish()[0]
