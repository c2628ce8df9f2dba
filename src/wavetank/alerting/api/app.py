"""All routes of an Alertmanager."""

from __future__ import annotations

import logging
import platform
from collections.abc import Awaitable, Callable
from functools import partial

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from wavetank import __version__
from wavetank.alerting.api import alerts, silences
from wavetank.alerting.api.intake import Intake
from wavetank.alerting.api.limited import Limited
from wavetank.alerting.api.page import get_file, get_page
from wavetank.alerting.api.shown import ShownAlerts
from wavetank.alerting.api.times import BadRequest, json_answer, problem, show_time
from wavetank.alerting.config import show_config
from wavetank.alerting.service import Alertmanager
from wavetank.errors import InputError
from wavetank.exposition.render import CONTENT_TYPE_OPENMETRICS, CONTENT_TYPE_TEXT

__all__ = ["create_app"]

_LOG = logging.getLogger(__name__)
Endpoint = Callable[[Alertmanager, Request], Awaitable[Response]]


def create_app(am: Alertmanager, *, concurrency: int = 0, timeout_seconds: float = 0.0) -> ASGIApp:
    """The ASGI application; limits as in `Limited`."""
    shown, intake = ShownAlerts(), Intake()

    def route(path: str, method: str, endpoint: Endpoint) -> BaseRoute:
        async def handle(request: Request) -> Response:
            start = am.clock.monotonic()
            code = 500
            try:
                response = await endpoint(am, request)
                code = response.status_code
                return response
            except BadRequest as error:
                code = error.status
                return problem(error)
            finally:
                seconds = am.clock.monotonic() - start
                am.metrics.http_seconds.observe(seconds, path, method.lower(), code)

        return Route(path, handle, methods=[method])

    app = Starlette(
        routes=[
            route("/api/v2/status", "GET", _status),
            route("/api/v2/receivers", "GET", alerts.get_receivers),
            route("/api/v2/alerts", "GET", partial(alerts.get_alerts, shown=shown)),
            route("/api/v2/alerts", "POST", intake.post),
            route("/api/v2/alerts/groups", "GET", partial(alerts.get_groups, shown=shown)),
            route("/api/v2/silences", "GET", silences.get_silences),
            route("/api/v2/silences", "POST", silences.post_silence),
            route("/api/v2/silence/{silenceID}", "GET", silences.get_silence),
            route("/api/v2/silence/{silenceID}", "DELETE", silences.delete_silence),
            Route("/api/v1/{path:path}", _gone, methods=["GET", "POST", "DELETE", "PUT"]),
            route("/-/healthy", "GET", _healthy),
            route("/-/ready", "GET", _healthy),
            route("/-/reload", "POST", _reload),
            route("/metrics", "GET", _metrics),
            Route("/", get_page, methods=["GET"]),
            Route("/ui/{name}", get_file, methods=["GET"]),
        ],
        exception_handlers={Exception: _fault},
    )
    return Limited(app, am.metrics, concurrency=concurrency, timeout_seconds=timeout_seconds)


async def _fault(request: Request, error: Exception) -> Response:
    if isinstance(error, ClientDisconnect):
        return Response(status_code=400)  # nobody reads it
    _LOG.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return json_answer(f"{type(error).__name__}: {error}", 500)


async def _gone(request: Request) -> Response:
    text = "The Alertmanager v1 API was deprecated in version 0.16.0 and is removed as of version 0.27.0"
    body = {"status": "deprecated", "error": f"{text} - please use the equivalent route in the v2 API"}
    return json_answer(body, 410)


async def _healthy(am: Alertmanager, request: Request) -> Response:
    return PlainTextResponse("OK")


async def _reload(am: Alertmanager, request: Request) -> Response:
    try:
        await am.reload()
    except InputError as error:
        return PlainTextResponse(f"failed to reload config: {error}\n", 500)
    return PlainTextResponse("")


async def _metrics(am: Alertmanager, request: Request) -> Response:
    if "application/openmetrics-text" in request.headers.get("accept", ""):
        return Response(am.registry.openmetrics(), media_type=CONTENT_TYPE_OPENMETRICS)
    return Response(am.registry.text(), media_type=CONTENT_TYPE_TEXT)


async def _status(am: Alertmanager, request: Request) -> Response:
    return json_answer(
        {
            "cluster": {"status": "disabled", "peers": []},
            "config": {"original": show_config(am.config)},
            "uptime": show_time(am.started_at),
            "versionInfo": {
                "branch": "",
                "buildDate": "",
                "buildUser": "",
                "goVersion": f"python{platform.python_version()}",
                "revision": "wavetank",
                "version": __version__,
            },
        }
    )
