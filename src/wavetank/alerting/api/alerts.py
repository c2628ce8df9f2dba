"""``/api/v2/alerts``, ``/api/v2/alerts/groups`` and ``/api/v2/receivers``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from functools import cmp_to_key
from typing import Final

import msgspec
import re2
from starlette.requests import Request
from starlette.responses import Response

from wavetank.alerting.alert import Alert
from wavetank.alerting.api.shown import ShownAlerts
from wavetank.alerting.api.times import BadRequest, flag, json_answer, json_bytes
from wavetank.alerting.dispatch import Group
from wavetank.alerting.matchers import matches_filter, parse_matcher
from wavetank.alerting.service import Alertmanager, AlertStatus
from wavetank.clock import next_turn
from wavetank.model.labels import Matcher, compile_regex

__all__ = ["get_alerts", "get_groups", "get_receivers"]

_ALERTS_A_TURN: Final = 500


def filters(request: Request, name: str = "filter") -> list[Matcher]:
    """The matchers of a parameter. Raises BadRequest."""
    try:
        return [parse_matcher(text) for text in request.query_params.getlist(name)]
    except ValueError as error:
        prefix = "" if name == "filter" else f"failed to parse {name} param: "
        raise BadRequest(f"{prefix}{error}") from None


def _receiver_filter(am: Alertmanager, request: Request) -> Callable[[str], bool]:
    pattern = request.query_params.get("receiver")
    regex: re2._Regexp | None = None
    if pattern is not None:
        try:
            regex = compile_regex(pattern)
        except ValueError as error:
            raise BadRequest(f"failed to parse receiver param: {error}") from None
    matchers = filters(request, "receiver_matchers")
    labels = {receiver.name: receiver.labels for receiver in am.config.receivers}

    def passes(name: str) -> bool:
        if regex is not None and regex.search(name) is None:
            return False
        return not matchers or (name in labels and matches_filter(matchers, labels[name]))

    return passes


def _alert_filter(am: Alertmanager, request: Request) -> Callable[[Alert], AlertStatus | None]:
    """An alert's status where the request asks for it, else None."""
    matchers = filters(request)
    active, silenced, inhibited = (flag(request, name) for name in ("active", "silenced", "inhibited"))
    now = am.clock.now()

    def passes(alert: Alert) -> AlertStatus | None:
        if alert.resolved(now) or not matches_filter(matchers, alert.labels):
            return None
        status = am.status(alert)
        hidden = (
            (not active and status.state == "active")
            or (not silenced and status.silenced_by)
            or (not inhibited and status.inhibited_by)
        )
        return None if hidden else status

    return passes


async def get_alerts(am: Alertmanager, request: Request, shown: ShownAlerts) -> Response:
    passes, wanted = _alert_filter(am, request), _receiver_filter(am, request)
    found = []
    every = sorted(am.store.all(), key=lambda a: a.id)
    shown.keep(len(every))
    async for alert in _in_turns(every):
        receivers = am.dispatcher.receivers(alert)
        if any(map(wanted, receivers)) and (status := passes(alert)) is not None:
            found.append(shown.encode(alert, status, receivers, ()))
    return json_bytes(b"[" + b",".join(found) + b"]")


async def _in_turns(alerts: Sequence[Alert]) -> AsyncIterator[Alert]:
    """The alerts, letting other requests and notifications go on now and then."""
    for i, alert in enumerate(alerts):
        if i % _ALERTS_A_TURN == _ALERTS_A_TURN - 1:
            await next_turn()
        yield alert


async def get_groups(am: Alertmanager, request: Request, shown: ShownAlerts) -> Response:
    passes, wanted = _alert_filter(am, request), _receiver_filter(am, request)
    muted = flag(request, "muted")
    shown.keep(len(am.store))
    listed = []
    ordered = sorted(am.dispatcher.groups.values(), key=cmp_to_key(_before))
    for group in ordered:
        if not wanted(group.route.receiver) or (group.muted_by and not muted):
            continue
        alerts = []
        async for alert in _in_turns(sorted(group.alerts.values(), key=lambda a: a.id)):
            if (status := passes(alert)) is not None:
                told = sorted(am.dispatcher.receivers(alert))
                alerts.append(shown.encode(alert, status, told, group.muted_by))
        await next_turn()
        if alerts:
            listed.append(_group(am, group, alerts))
    return json_bytes(b"[" + b",".join(listed) + b"]")


def _group(am: Alertmanager, group: Group, alerts: Sequence[bytes]) -> bytes:
    rest = {
        "labels": group.labels,
        "receiver": {"name": group.route.receiver},
        "routeLabels": am.route_labels(group),
    }
    return b'{"alerts":[' + b",".join(alerts) + b"]," + msgspec.json.encode(rest)[1:]


def _before(a: Group, b: Group) -> int:
    """Upstream's order of groups: fewer labels first, then by the first label that differs."""
    if len(a.labels) != len(b.labels):
        return len(a.labels) - len(b.labels)
    for name in sorted({*a.labels, *b.labels}):
        if name not in a.labels or name not in b.labels:
            return -1 if name not in a.labels else 1
        if a.labels[name] != b.labels[name]:
            return -1 if a.labels[name] < b.labels[name] else 1
    return -1 if a.route.receiver < b.route.receiver else int(a.route.receiver > b.route.receiver)


async def get_receivers(am: Alertmanager, request: Request) -> Response:
    matchers = filters(request, "receiver_matchers")
    return json_answer(
        [
            {"name": receiver.name, "labels": receiver.labels}
            for receiver in am.config.receivers
            if matches_filter(matchers, receiver.labels)
        ]
    )
