"""The one page of the console, and where Prometheus' own addresses lead in it.

The content security policy allows the server's own scripts and styles and nothing else; the nonce is for the
style sheet that the query editor makes for itself. Addresses in the page are relative, so that it works below
any path of a reverse proxy.
"""

from __future__ import annotations

import html
import secrets
from typing import Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from wavetank.web.bundle import SECURITY_HEADERS

__all__ = ["PAGES", "page", "redirect"]

#: Prometheus' paths of pages (3.x and 2.x) and the page of the console that shows the same.
PAGES: Final = {
    "/graph": "query",
    "/query": "query",
    "/alerts": "alerts",
    "/rules": "rules",
    "/targets": "targets",
    "/service-discovery": "service-discovery",
    "/status": "status",
    "/tsdb-status": "tsdb",
    "/config": "config",
    "/flags": "flags",
}

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="style-nonce" content="{nonce}">
<title>{title}</title>
<link rel="icon" type="image/svg+xml" href="assets/icon.svg">
<link rel="stylesheet" href="assets/console.css">
<script type="module" src="assets/console.js"></script>
</head>
<body>
<div id="console"><noscript>The console needs JavaScript; the HTTP API is below /api/v1.</noscript></div>
</body>
</html>
"""


def page(title: str) -> Response:
    """The page with a policy and a nonce of its own."""
    nonce = secrets.token_urlsafe(16)
    policy = (
        "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data: blob:; "
        "font-src 'self'; "
        f"style-src 'self' 'nonce-{nonce}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = {"Content-Security-Policy": policy, "Cache-Control": "no-store", **SECURITY_HEADERS}
    return HTMLResponse(_PAGE.format(nonce=nonce, title=html.escape(title)), headers=headers)


async def redirect(request: Request) -> Response:
    """From one of Prometheus' paths into the page, with its parameters; relative, for proxies."""
    query = request.url.query
    path = "/" + request.url.path.rstrip("/").rpartition("/")[2]
    where = f"./#/{PAGES[path]}" + (f"?{query}" if query else "")
    return Response(status_code=302, headers={"Location": quote(where, safe="./#?&=%:+,;@!$'()*~-_")})
