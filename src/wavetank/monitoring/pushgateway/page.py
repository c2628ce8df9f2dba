"""The browser's side: groups with a button to delete one, flags and build; scripts over the API v1."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

__all__ = ["get_file", "get_page"]

_SERVED: Final = {"page.css": "text/css", "page.js": "text/javascript"}
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


@cache
def _content(name: str) -> bytes:
    return files("wavetank.monitoring.pushgateway").joinpath("ui", name).read_bytes()


async def get_page(request: Request) -> Response:
    return Response(_content("index.html"), media_type="text/html", headers=_HEADERS)


async def get_file(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _SERVED:
        return PlainTextResponse("404 page not found\n", 404)
    return Response(_content(name), media_type=_SERVED[name], headers=_HEADERS)
