"""The envelope around every answer, and the errors.

Mirrors respond and respondError of web/api/v1/api.go.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from wavetank.errors import WavetankError

__all__ = ["ApiFailure", "Endpoint", "answer", "bad_data", "endpoint", "envelope", "not_found", "raw_answer"]

_CODES: Final = {
    "bad_data": 400,
    "execution": 422,
    "canceled": 499,
    "timeout": 503,
    "internal": 500,
    "unavailable": 500,
    "forbidden": 403,
    "not_found": 404,
    "not_acceptable": 406,
}
Endpoint = Callable[[Request], Awaitable[Response]]


class ApiFailure(WavetankError):
    """An error of the API: upstream's ``errorType`` and text."""

    def __init__(self, kind: str, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.data = data


def bad_data(message: str) -> ApiFailure:
    return ApiFailure("bad_data", message)


def not_found(message: str) -> ApiFailure:
    return ApiFailure("not_found", message)


def answer(data: Any, *, warnings: Sequence[str] = (), infos: Sequence[str] = ()) -> Response:
    """Success with ``data`` as JSON."""
    return raw_answer(msgspec.json.encode(data), warnings=warnings, infos=infos)


def raw_answer(data: bytes, *, warnings: Sequence[str] = (), infos: Sequence[str] = ()) -> Response:
    """Success with ``data`` that is JSON already."""
    return Response(envelope(data, warnings, infos), media_type="application/json")


def envelope(data: bytes, warnings: Sequence[str], infos: Sequence[str]) -> bytes:
    """The body of such an answer."""
    tail = b"".join(
        b',"' + name + b'":' + msgspec.json.encode(list(texts))
        for name, texts in ((b"warnings", warnings), (b"infos", infos))
        if texts
    )
    return b"".join((b'{"status":"success","data":', data, tail, b"}"))


def failure(error: ApiFailure) -> Response:
    body: dict[str, Any] = {"status": "error", "errorType": error.kind, "error": error.message}
    if error.data is not None:
        body["data"] = error.data
    return Response(msgspec.json.encode(body), _CODES[error.kind], media_type="application/json")


def endpoint(handle: Endpoint) -> Endpoint:
    """Turn an ``ApiFailure`` into its answer; anything else that is raised is a fault of ours."""

    async def guarded(request: Request) -> Response:
        try:
            return await handle(request)
        except ApiFailure as error:
            return failure(error)

    return guarded
