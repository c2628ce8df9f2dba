"""The built files over HTTP: compressed once, revalidated by ETag, never guessed at.

Names carry no hash, so that the committed bundle has a history; a browser asks each time and gets 304.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

__all__ = ["SECURITY_HEADERS", "asset", "asset_response"]

_STATIC: Final = Path(__file__).parent / "static"
_TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
SECURITY_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is sent: plain and compressed."""

    plain: bytes
    zipped: bytes
    etag: str
    media_type: str


def asset(name: str) -> Asset | None:
    """A built file by its name; None for a name that the bundle does not have."""
    suffix = name[name.rfind(".") :] if "." in name else ""
    if "/" in name or "\\" in name or suffix not in _TYPES:
        return None
    file = _STATIC / name
    return _compressed(file, file.stat().st_mtime_ns, _TYPES[suffix]) if file.is_file() else None


@lru_cache(32)
def _compressed(file: Path, changed_ns: int, media_type: str) -> Asset:
    """The file as of its change, so that a bundle built meanwhile is seen."""
    plain = file.read_bytes()
    etag = f'"{hashlib.sha256(plain).hexdigest()[:20]}"'
    return Asset(plain, gzip.compress(plain, 9, mtime=0), etag, media_type)


async def asset_response(request: Request) -> Response:
    """``/assets/{name}``."""
    name = request.path_params["name"]
    found = asset(name) if len(name) < 100 else None
    if found is None:
        return PlainTextResponse("no such file\n", 404)
    headers = {
        "ETag": found.etag,
        "Cache-Control": "no-cache",
        "Vary": "Accept-Encoding",
        **SECURITY_HEADERS,
    }
    if request.headers.get("if-none-match") == found.etag:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(found.zipped, headers=headers, media_type=found.media_type)
    return Response(found.plain, headers=headers, media_type=found.media_type)
