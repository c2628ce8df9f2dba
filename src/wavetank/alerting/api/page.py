"""The browser's side: alerts, silences and the status, made by scripts in ``alerting/ui`` from the API v2.

Mirrors the addresses of upstream's ui, which notifications link to: ``/#/alerts?receiver=...&filter=...``,
``/#/silences/new?filter=...``, ``/#/silences/ID``, ``/#/status``. The page loads nothing from elsewhere.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

__all__ = ["get_file", "get_page"]

_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".html": "text/html"}
_SERVED: Final = ("page.css", "main.js", "dom.js", "alerts.js", "silences.js")
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


@cache
def _content(name: str) -> bytes:
    return files("wavetank.alerting").joinpath("ui", name).read_bytes()


def _answer(name: str) -> Response:
    kind = _TYPES["." + name.rpartition(".")[2]]
    return Response(_content(name), media_type=kind, headers=_HEADERS)


async def get_page(request: Request) -> Response:
    return _answer("index.html")


async def get_file(request: Request) -> Response:
    name = request.path_params["name"]
    return _answer(name) if name in _SERVED else PlainTextResponse("404 page not found\n", 404)
