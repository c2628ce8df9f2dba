"""The console: one web app over a monitoring server, and over a tank where there is one.

It lives in the monitoring process, not in the control plane: most of what it shows are queries, which then
need no second hop, and a heavy page can slow no kubelet down. It stands where Prometheus has its own pages;
``PAGES`` leads from their addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from wavetank import __version__
from wavetank.monitoring.api.answer import answer, endpoint, not_found
from wavetank.monitoring.api.services import Services
from wavetank.web import columns, events, query_tree, tank_api
from wavetank.web.bundle import SECURITY_HEADERS, asset_response
from wavetank.web.page import PAGES, page, redirect
from wavetank.web.session import Sessions
from wavetank.web.tank import Tank

__all__ = ["Console", "routes"]

_SPENT = "This address was used before: `wavetank status` prints a fresh one. It opens one browser once.\n"


@dataclass(frozen=True, slots=True)
class Console:
    """What a console is put together from. A tank comes with its sessions. ``extra`` gives whole routes of
    other rooms, such as the dashboards'."""

    title: str = "Wavetank"
    tank: Tank | None = None
    sessions: Sessions | None = None
    extra: Callable[[Services], Sequence[BaseRoute]] | None = None


def routes(services: Services, console: Console | None = None) -> list[BaseRoute]:
    """The page, its files and ``/api/wavetank``."""
    console = console or Console()
    tank, sessions = console.tank, console.sessions
    extra = console.extra(services) if console.extra is not None else ()

    async def home(request: Request) -> Response:
        token = request.query_params.get("token")
        if token is None or sessions is None:
            return page(console.title)
        to = RedirectResponse("./", 303, headers={"Cache-Control": "no-store", **SECURITY_HEADERS})
        if sessions.sign_in(token, to) or sessions.knows(request):
            return to
        return PlainTextResponse(_SPENT, 403, headers=SECURITY_HEADERS)

    async def info(request: Request) -> Response:
        return answer(_info(services, console, request, dashboards=bool(extra)))

    async def unknown(request: Request) -> Response:
        raise not_found(f"no endpoint {request.url.path}")

    api: list[BaseRoute] = [
        Route("/info", endpoint(info)),
        *columns.routes(services),
        *query_tree.routes(services),
        *events.routes(services, tank, sessions),
        *(tank_api.routes(tank, sessions) if tank is not None and sessions is not None else ()),
        Route("/{path:path}", endpoint(unknown)),
    ]
    return [
        *extra,
        Mount("/api/wavetank", routes=api),
        Route("/assets/{name}", asset_response),
        *(Route(path, redirect) for path in PAGES),
        Route("/", home),
    ]


def _info(services: Services, console: Console, request: Request, *, dashboards: bool) -> dict[str, Any]:
    """What the page must know before it draws anything."""
    tank, sessions = console.tank, console.sessions
    signed_in = tank is not None and sessions is not None and sessions.knows(request)
    return {
        "kind": tank.kind if tank is not None else "prometheus",
        "title": f"{tank.name} · {console.title}" if tank is not None else console.title,
        "subtitle": f"{tank.kind} {tank.name}" if tank is not None else "Prometheus server",
        "version": __version__,
        "startedAt": services.state.started_at,
        "ready": services.state.ready,
        "dashboards": dashboards,
        "signedIn": signed_in,
        "load": tank is not None and tank.load is not None,
    }
