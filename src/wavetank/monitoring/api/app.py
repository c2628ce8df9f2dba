"""The web application: all routes, and who may call them.

Mirrors web/web.go of prometheus/prometheus. A server that listens on loopback only answers requests whose
Host names a loopback address, so that no web page can reach it through a DNS name of its own; CORS headers
are sent where ``--web.cors.origin`` asks for them.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from wavetank.errors import InputError
from wavetank.model.quoting import quote
from wavetank.monitoring.api import notifications, queries, query, rules, search, series, status, targets
from wavetank.monitoring.api.answer import ApiFailure, answer, bad_data, endpoint, failure
from wavetank.monitoring.api.at_once import AtOnce
from wavetank.monitoring.api.consoles import console_page
from wavetank.monitoring.api.counting import CountRequests
from wavetank.monitoring.api.disconnect import CancelOnDisconnect
from wavetank.monitoring.api.federate import federate
from wavetank.monitoring.api.openapi import document as openapi
from wavetank.monitoring.api.otlp import otlp_metrics
from wavetank.monitoring.api.params import no_selector, read_params
from wavetank.monitoring.api.read import reader
from wavetank.monitoring.api.services import Services
from wavetank.monitoring.api.write import receive
from wavetank.monitoring.remote.known_series import KnownSeries
from wavetank.monitoring.rfc3339 import format_time
from wavetank.monitoring.tracing.requests import TraceRequests
from wavetank.monitoring.web.front import AgentOnly, Cors, Prefixed
from wavetank.monitoring.web.hosts import HostCheck
from wavetank.monitoring.web.packing import Packing

__all__ = ["Application", "create_app"]

_LOG = logging.getLogger(__name__)
_LIFECYCLE_OFF = "Lifecycle API is not enabled."


@dataclass(frozen=True, slots=True)
class Application:
    """The ASGI application of a running server, and the shorter way to it, if its settings allow one."""

    asgi: ASGIApp
    at_once: AtOnce | None


def create_app(services: Services, pages: Sequence[BaseRoute] = ()) -> Application:
    """``pages`` are routes of whoever composes the server, such as a UI."""
    api = [
        *query.routes(services),
        *series.routes(services),
        *search.routes(services),
        *targets.routes(services),
        *rules.routes(services),
        *status.routes(services),
        *notifications.routes(services),
        *queries.routes(services),
        *openapi.routes(services.settings.external_url, status.VERSION, services.settings.search_limit_max),
        *_admin(services),
        Route("/write", endpoint(_writer(services)), methods=["POST"]),
        Route("/otlp/v1/metrics", endpoint(otlp_metrics(services)), methods=["POST"]),
        Route("/read", endpoint(reader(services)), methods=["POST"]),
        Route("/{path:path}", _options, methods=["OPTIONS"]),
        Route("/{path:path}", endpoint(_unknown)),
    ]
    app = Starlette(
        routes=[Mount("/api/v1", routes=api), *pages, *_pages(services)],
        exception_handlers={Exception: _fault},
    )
    settings = services.settings
    traced = TraceRequests(Packing(CancelOnDisconnect(app)), services.queries.tracer)
    counted = CountRequests(traced, services.registry, services.clock)
    served: ASGIApp = counted
    if settings.agent:
        served = AgentOnly(served)
    if settings.cors_origin is not None:
        served = Cors(served, settings.cors_origin)
    if settings.route_prefix:
        served = Prefixed(served, settings.route_prefix)
    hosts = HostCheck(served, settings.loopback_only, settings.external_url)
    plain = not settings.agent and settings.cors_origin is None and not settings.route_prefix
    return Application(hosts, AtOnce(services.queries, services.clock, counted, hosts) if plain else None)


async def _options(request: Request) -> Response:
    return Response(status_code=204)


async def _unknown(request: Request) -> Response:
    raise ApiFailure("not_found", f"no endpoint {request.url.path}")


async def _fault(request: Request, error: Exception) -> Response:
    if isinstance(error, ClientDisconnect):
        return Response(status_code=400)  # nobody reads it
    _LOG.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return failure(ApiFailure("internal", f"{type(error).__name__}: {error}"))


def _writer(services: Services) -> Callable[[Request], Awaitable[Response]]:
    known = KnownSeries()

    async def write(request: Request) -> Response:
        if not services.settings.enable_remote_write_receiver:
            return PlainTextResponse(
                "remote write receiver needs to be enabled with --web.enable-remote-write-receiver\n", 404
            )
        return await receive(services, request, known)

    return write


def _admin(services: Services) -> list[Route]:
    """``/admin/tsdb/*``: only with ``--web.enable-admin-api``."""

    storage = services.db

    def guard() -> None:
        if not services.settings.enable_admin_api:
            raise ApiFailure("unavailable", "admin APIs disabled")

    async def delete_series(request: Request) -> Response:
        guard()
        params = await read_params(request)
        if not params.all("match[]"):
            raise no_selector()
        start, end = params.span_ms()
        sets = params.matcher_sets(named=True, may_match_all=True)
        for matchers in sets:
            await services.queries.run(partial(storage.delete, matchers, start, end))
        return Response(status_code=204)

    async def snapshot(request: Request) -> Response:
        guard()
        params = await read_params(request)
        text = params.text("skip_head")
        try:
            skip_head = params.flag("skip_head")
        except ApiFailure:
            said = f"unable to parse boolean: strconv.ParseBool: parsing {quote(text)}: invalid syntax"
            raise bad_data(f'invalid parameter "skip_head": {said}') from None
        moment = format_time(services.clock.now()).replace("-", "").replace(":", "")
        name = f"{moment.rstrip('Z')}Z-{services.clock.random('snapshot').getrandbits(64):016x}"
        where = storage.path / "snapshots" / name
        await services.queries.run(partial(storage.snapshot, where, with_head=not skip_head))
        return answer({"name": name})

    async def clean_tombstones(request: Request) -> Response:
        guard()
        await services.queries.run(storage.clean_tombstones)
        return Response(status_code=204)

    changing = ["POST", "PUT"]
    return [
        Route("/admin/tsdb/delete_series", endpoint(delete_series), methods=changing),
        Route("/admin/tsdb/snapshot", endpoint(snapshot), methods=changing),
        Route("/admin/tsdb/clean_tombstones", endpoint(clean_tombstones), methods=changing),
    ]


def _pages(services: Services) -> list[BaseRoute]:
    """What is not below ``/api/v1``."""
    enabled = services.settings.enable_lifecycle

    async def healthy(request: Request) -> Response:
        return PlainTextResponse("Prometheus Server is Healthy.\n")

    async def ready(request: Request) -> Response:
        if services.state.ready:
            return PlainTextResponse("Prometheus Server is Ready.\n")
        return PlainTextResponse("Service Unavailable", 503, headers={"X-Prometheus-Stopping": "false"})

    async def reload(request: Request) -> Response:
        if not enabled:
            return PlainTextResponse(_LIFECYCLE_OFF, 403)
        try:
            await services.reload()
        except InputError as error:
            return PlainTextResponse(f"failed to reload config: {error}\n", 500)
        return PlainTextResponse("")

    async def leave(request: Request) -> Response:
        if not enabled:
            return PlainTextResponse(_LIFECYCLE_OFF, 403)
        services.quit()
        return PlainTextResponse("Requesting termination... Goodbye!")

    async def metrics(request: Request) -> Response:
        accept = request.headers.get("accept", "")
        if "application/openmetrics-text" in accept:
            return Response(
                services.registry.openmetrics(),
                media_type="application/openmetrics-text; version=1.0.0; charset=utf-8",
            )
        return Response(services.registry.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def federated(request: Request) -> Response:
        return await federate(services, request)

    async def home(request: Request) -> Response:
        return PlainTextResponse(
            f"{services.settings.page_title}\n\n"
            "Wavetank's Prometheus server. The HTTP API is below /api/v1, see docs/monitoring.md.\n"
        )

    changing = ["POST", "PUT"]
    assets = services.settings.user_assets
    return [
        *([] if assets is None else [Mount("/user", app=StaticFiles(directory=assets))]),
        Route("/consoles/{path:path}", console_page(services)),
        Route("/-/healthy", healthy, methods=["GET", "HEAD"]),
        Route("/-/ready", ready, methods=["GET", "HEAD"]),
        Route("/-/reload", reload, methods=changing),
        Route("/-/quit", leave, methods=changing),
        Route("/metrics", metrics),
        Route("/federate", federated),
        Route("/", home),
    ]
