"""Times and bodies of the API v2."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from wavetank.limits import ALERT_BODY_BYTES_MAX

__all__ = [
    "BadRequest",
    "flag",
    "json_answer",
    "json_bytes",
    "parse_time",
    "problem",
    "read_body",
    "read_json",
    "show_time",
]

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_ZERO = dt.datetime(1, 1, 1, tzinfo=dt.UTC)


class BadRequest(Exception):
    """The request is at fault; the body is a JSON text, or upstream's object for what its schema refuses."""

    def __init__(self, message: str, status: int = 400, code: int = 0) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def show_time(seconds: float) -> str:
    """UTC with milliseconds; Go's zero time for 0."""
    at = _ZERO if seconds == 0 else _EPOCH + dt.timedelta(milliseconds=round(seconds * 1000))
    return f"{at.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def parse_time(value: Any, field: str) -> float:
    """RFC 3339 to Unix seconds; 0 for nothing and for Go's zero time. Raises BadRequest."""
    if value is None or value == "":
        return 0.0
    try:
        at = msgspec.convert(value, dt.datetime)
    except msgspec.ValidationError:
        shown = str(value)[:80]
        raise BadRequest(f"{field} in body must be of type date-time: {shown!r}", 422, 601) from None
    if at.tzinfo is None:
        raise BadRequest(f"{field} in body must be of type date-time: {value!r}", 422, 601)
    return 0.0 if at.year <= 1 else (at - _EPOCH).total_seconds()


def flag(request: Request, name: str, default: bool = True) -> bool:
    """A boolean parameter. Raises BadRequest."""
    text = request.query_params.get(name)
    if text is None or text == "":
        return default
    if text.lower() not in ("true", "false", "1", "0", "t", "f"):
        raise BadRequest(f"{name} in query must be of type boolean: {text!r}", 422, 601)
    return text.lower() in ("true", "1", "t")


async def read_body(request: Request) -> bytes:
    """All of a JSON body. Raises BadRequest, with 413 where it is too large.

    What is not declared as JSON is refused as upstream refuses it: a page of another site can send anything
    else without asking the browser first.
    """
    declared = request.headers.get("content-type", "application/octet-stream")
    kind = declared.partition(";")[0].strip().lower()
    if kind != "application/json":
        text = f'unsupported media type "{kind[:80]}", only [application/json] are allowed'
        raise BadRequest(text, 415, 415)
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > ALERT_BODY_BYTES_MAX:
            raise BadRequest(f"the body is larger than {ALERT_BODY_BYTES_MAX} bytes", 413)
        chunks.append(chunk)
    return b"".join(chunks)


async def read_json(request: Request) -> Any:
    """The body's value. Raises BadRequest."""
    body = await read_body(request)
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BadRequest(f"parsing body failed, because {error}", 400, 400) from None


def json_answer(value: Any, status: int = 200) -> Response:
    return json_bytes(msgspec.json.encode(value), status)


def json_bytes(value: bytes, status: int = 200) -> Response:
    """An answer that is JSON already."""
    return Response(
        value,
        status,
        media_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def problem(error: BadRequest) -> Response:
    text = str(error)
    return json_answer({"code": error.code, "message": text} if error.code else text, error.status)
