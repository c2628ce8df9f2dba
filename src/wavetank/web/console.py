"""The console: one web app over a monitoring server, and over a tank where there is one.

It lives in the monitoring process, not in the control plane: most of what it shows are queries, which then
need no second hop, and a heavy page can slow no kubelet down. It stands where Prometheus has its own pages;
``PAGES`` leads from their addresses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from wavetank import __version__
from wavetank.monitoring.api.answer import answer, endpoint, not_found
from wavetank.monitoring.api.services import Services
from wavetank.web import query_tree
from wavetank.web.bundle import asset_response
from wavetank.web.page import PAGES, page, redirect

__all__ = ["Console", "routes"]


@dataclass(frozen=True, slots=True)
class Console:
    """What a console is put together from. ``title`` names it in the browser's tab."""

    title: str = "Wavetank"
    extra_routes: Sequence[BaseRoute] = field(default_factory=tuple)


def routes(services: Services, console: Console | None = None) -> list[BaseRoute]:
    """The page, its files and ``/api/wavetank``."""
    console = console or Console()

    async def home(request: Request) -> Response:
        return page(console.title)

    async def info(request: Request) -> Response:
        return answer(
            {
                "kind": "prometheus",
                "title": console.title,
                "version": __version__,
                "startedAt": services.state.started_at,
                "ready": services.state.ready,
            }
        )

    async def unknown(request: Request) -> Response:
        raise not_found(f"no endpoint {request.url.path}")

    api: list[BaseRoute] = [
        Route("/info", endpoint(info)),
        *query_tree.routes(services),
        Route("/{path:path}", endpoint(unknown)),
    ]
    return [
        *console.extra_routes,
        Mount("/api/wavetank", routes=api),
        Route("/assets/{name}", asset_response),
        *(Route(path, redirect) for path in PAGES),
        Route("/", home),
    ]
