"""``/api/v2/silences`` and ``/api/v2/silence/{id}``."""

from __future__ import annotations

import uuid
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from wavetank.alerting.api.alerts import filters
from wavetank.alerting.api.times import BadRequest, flag, json_answer, parse_time, read_json, show_time
from wavetank.alerting.matchers import matches_filter
from wavetank.alerting.service import Alertmanager
from wavetank.alerting.silences import Silence, SilenceMatcher, SilenceNotFound

__all__ = ["delete_silence", "get_silence", "get_silences", "post_silence"]

_ORDER = {"active": 1, "pending": 2, "expired": 3}


def _show(silence: Silence, now: float) -> dict[str, Any]:
    return {
        "id": silence.id,
        "status": {"state": silence.state(now)},
        "updatedAt": show_time(silence.updated_at),
        "comment": silence.comment,
        "createdBy": silence.created_by,
        "endsAt": show_time(silence.ends_at),
        "matchers": msgspec.to_builtins(silence.matchers),
        "startsAt": show_time(silence.starts_at),
        "annotations": silence.annotations,
    }


def _order(silence: Silence, now: float) -> tuple[int, float]:
    state = silence.state(now)
    time = {"active": silence.ends_at, "pending": silence.starts_at, "expired": -silence.ends_at}[state]
    return _ORDER[state], time


async def get_silences(am: Alertmanager, request: Request) -> Response:
    matchers = filters(request)
    now = am.clock.now()
    states = {name for name in _ORDER if flag(request, name)}
    found = [
        silence
        for silence in am.silences.all()
        if silence.state(now) in states
        and matches_filter(matchers, {matcher.name: matcher.value for matcher in silence.matchers})
    ]
    return json_answer([_show(silence, now) for silence in sorted(found, key=lambda s: _order(s, now))])


def _id(request: Request) -> str:
    text: str = request.path_params["silenceID"]
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise BadRequest(f"silenceID in path must be of type uuid: {text[:80]!r}", 422, 601) from None


async def get_silence(am: Alertmanager, request: Request) -> Response:
    try:
        return json_answer(_show(am.silences.get(_id(request)), am.clock.now()))
    except SilenceNotFound:
        return Response(status_code=404)


async def delete_silence(am: Alertmanager, request: Request) -> Response:
    try:
        am.silences.expire(_id(request))
    except SilenceNotFound:
        return Response(status_code=404)
    except OSError as error:
        raise BadRequest(f"the silence cannot be stored: {error.strerror or error}", 500) from None
    return Response(status_code=200)


class _Postable(msgspec.Struct, rename="camel"):
    matchers: list[SilenceMatcher]
    starts_at: Any
    ends_at: Any
    created_by: str
    comment: str
    id: str = ""
    annotations: dict[str, str] | None = None


async def post_silence(am: Alertmanager, request: Request) -> Response:
    body = await read_json(request)
    try:
        posted = msgspec.convert(body, _Postable)
    except msgspec.ValidationError as error:
        raise BadRequest(f"validation failure list:\n{error}", 422, 602) from None
    if not posted.matchers:
        raise BadRequest("validation failure list:\nmatchers in body should have at least 1 items", 422, 612)
    starts_at = parse_time(posted.starts_at, "startsAt")
    ends_at = parse_time(posted.ends_at, "endsAt")
    if starts_at >= ends_at:
        raise BadRequest("Failed to create silence: start time must be before end time")
    if ends_at < am.clock.now():
        raise BadRequest("Failed to create silence: end time can't be in the past")
    silence = Silence(
        matchers=tuple(posted.matchers),
        starts_at=starts_at,
        ends_at=ends_at,
        created_by=posted.created_by,
        comment=posted.comment,
        annotations=posted.annotations or {},
        id=posted.id,
    )
    try:
        stored = am.silences.set(silence)
    except SilenceNotFound as error:
        raise BadRequest(str(error), 404) from None
    except ValueError as error:
        raise BadRequest(str(error)) from None
    except OSError as error:
        raise BadRequest(f"the silence cannot be stored: {error.strerror or error}", 500) from None
    return json_answer({"silenceID": stored.id})
