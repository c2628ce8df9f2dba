"""``POST /api/v2/alerts``: alerts as Prometheus sends them each minute, most of them known already.

A body is read in one typed pass that leaves labels as text, for `LabelSets`. A body that does not fit is read
once more to say where and in which words upstream refuses it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from wavetank.alerting.alert import Alert
from wavetank.alerting.api.times import BadRequest, parse_time, read_body
from wavetank.alerting.labelsets import LabelSets, invalid_pairs
from wavetank.alerting.service import Alertmanager

__all__ = ["Intake"]

_TIMES: Final = 4096  # texts of times remembered: a batch shares its ends, a rule's alerts their start
_URLS: Final = 4096


class _Posted(msgspec.Struct, gc=False):
    labels: msgspec.Raw
    annotations: dict[str, str] | None = None
    startsAt: str | None = None
    endsAt: str | None = None
    generatorURL: str | None = None


_DECODER: Final = msgspec.json.Decoder(list[_Posted])
_parse_time = lru_cache(maxsize=_TIMES)(parse_time)


class Intake:
    """Takes requests with alerts for an Alertmanager."""

    def __init__(self) -> None:
        self._sets = LabelSets()

    async def post(self, am: Alertmanager, request: Request) -> Response:
        posted = _read(await read_body(request))
        now = am.clock.now()
        ends_by_itself = now + am.config.globals.resolve_timeout / 1000
        valid, faults, firing = [], [], 0
        self._sets.keep(len(am.store))
        for index, entry in enumerate(posted):
            alert, fault = self._alert(entry, index, now, ends_by_itself)
            firing += alert.ends_at > now
            if fault:
                faults.append(fault)
            else:
                valid.append(alert)
        am.metrics.received.inc(firing, "firing", "v2")
        am.metrics.received.inc(len(posted) - firing, "resolved", "v2")
        am.metrics.invalid.inc(len(faults), "v2")
        refused = am.put(valid)
        if faults:
            raise BadRequest("\n".join(faults))
        if refused and refused == len(valid):
            raise BadRequest(f"{refused} alerts are refused: there is no room for more", 500)
        return Response(status_code=200, headers={"Cache-Control": "no-store"})

    def _alert(self, posted: _Posted, index: int, now: float, ends_by_itself: float) -> tuple[Alert, str]:
        """The alert, and what makes it invalid in upstream's words, or "". Raises BadRequest."""
        try:
            labels = self._sets.read(bytes(posted.labels))
        except ValueError:
            raise _unreadable_labels(posted.labels, index) from None
        starts_at = _parse_time(posted.startsAt, f"{index}.startsAt") if posted.startsAt else 0.0
        ends_at = _parse_time(posted.endsAt, f"{index}.endsAt") if posted.endsAt else 0.0
        url = posted.generatorURL or ""
        if url and not _is_uri(url):
            raise BadRequest(f"{index}.generatorURL in body must be of type uri: {url[:80]!r}", 422, 601)
        annotations = posted.annotations or {}
        alert = Alert(
            labels.labels,
            annotations,
            starts_at or ends_at or now,
            ends_at or ends_by_itself,
            now,
            url,
            ends_at == 0,
            labels.id,
        )
        if alert.ends_at < alert.starts_at:
            return alert, "start time must be before end time"
        return alert, labels.fault or invalid_pairs("annotation", annotations)


def _read(body: bytes) -> list[_Posted]:
    """Raises BadRequest."""
    try:
        return _DECODER.decode(body)
    except (msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        raise _explained(body, error) from None
    except msgspec.DecodeError as error:
        raise BadRequest(f"parsing body failed, because {error}", 400, 400) from None


def _explained(body: bytes, error: Exception) -> BadRequest:
    """Upstream's answer to JSON that is no list of alerts."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as unreadable:
        return BadRequest(f"parsing body failed, because {unreadable}", 400, 400)
    if not isinstance(value, list):
        return BadRequest("alerts in body must be of type array", 422, 601)
    for index, entry in enumerate(value):
        if not isinstance(entry, dict):
            return BadRequest(f"alerts.{index} in body must be of type object", 422, 601)
        if entry.get("labels") is None:
            return _missing_labels(index)
        if not _are_texts(entry.get("annotations") or {}):
            return _no_texts(f"{index}.annotations")
        for name in ("startsAt", "endsAt"):
            if not isinstance(entry.get(name, ""), str | None):
                text = f"{index}.{name} in body must be of type date-time: {str(entry[name])[:80]!r}"
                return BadRequest(text, 422, 601)
        url = entry.get("generatorURL")
        if not isinstance(url, str | None):
            text = f"{index}.generatorURL in body must be of type uri: {str(url)[:80]!r}"
            return BadRequest(text, 422, 601)
    return BadRequest(f"parsing body failed, because {error}", 400, 400)


def _missing_labels(index: int) -> BadRequest:
    return BadRequest(f"validation failure list:\n{index}.labels in body is required", 422, 602)


def _no_texts(field: str) -> BadRequest:
    return BadRequest(f"{field} in body must be of type object with texts", 422, 601)


def _unreadable_labels(text: msgspec.Raw, index: int) -> BadRequest:
    try:
        value: Any = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return BadRequest(f"parsing body failed, because {error}", 400, 400)
    return _missing_labels(index) if value is None else _no_texts(f"{index}.labels")


def _are_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


@lru_cache(maxsize=_URLS)
def _is_uri(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    # An address that a mail or a chat makes a link of must not run a script.
    return parts.scheme in ("http", "https") or (not parts.scheme and text.startswith("/"))
