"""``/rules`` and ``/alerts``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from wavetank.model.labels import Labels, Matcher
from wavetank.model.quoting import format_float
from wavetank.monitoring.api.answer import answer, bad_data, endpoint
from wavetank.monitoring.api.params import Params, read_params
from wavetank.monitoring.api.services import Services
from wavetank.monitoring.rfc3339 import format_time
from wavetank.monitoring.rules.alert import ActiveAlert, AlertRule, sorted_alerts
from wavetank.monitoring.rules.group import Group, Rule

__all__ = ["routes"]


def alert_json(alert: ActiveAlert) -> dict[str, Any]:
    """An alert as ``/alerts`` shows it."""
    shown: dict[str, Any] = {
        "labels": alert.labels.to_dict(),
        "annotations": alert.annotations,
        "state": str(alert.state),
        "activeAt": format_time(alert.active_at_ms / 1000),
        "value": exponent(alert.value),
    }
    if alert.keep_firing_since_ms:
        shown["keepFiringSince"] = format_time(alert.keep_firing_since_ms / 1000)
    return shown


def exponent(value: float) -> str:
    """The shortest digits in Go's ``e`` form: 1 is ``1e+00``."""
    if value != value or value in (float("inf"), float("-inf")):
        return format_float(value)
    return next(text for precision in range(18) if float(text := f"{value:.{precision}e}") == value)


def rule_json(entry: Rule, with_alerts: bool) -> dict[str, Any]:
    """A rule as ``/rules`` shows it."""
    shown: dict[str, Any] = {
        "name": entry.config.name,
        "query": entry.expr,
        "labels": dict(entry.rule.labels),
        "health": entry.health,
        "evaluationTime": entry.duration_seconds,
        "lastEvaluation": format_time(entry.last_evaluation_ms / 1000),
        "type": "recording",
    }
    if entry.last_error:
        shown["lastError"] = entry.last_error
    if isinstance(entry.rule, AlertRule):
        shown |= {
            "type": "alerting",
            "state": str(entry.rule.state),
            "duration": entry.config.hold / 1000,
            "keepFiringFor": entry.config.keep_firing_for / 1000,
            "annotations": entry.config.annotations,
            "alerts": [alert_json(a) for a in sorted_alerts([entry.rule])] if with_alerts else [],
        }
    return shown


def group_json(group: Group, rules: Sequence[Rule], with_alerts: bool) -> dict[str, Any]:
    """A group as ``/rules`` shows it."""
    return {
        "name": group.name,
        "file": group.file,
        "interval": group.interval_ms / 1000,
        "limit": group.limit,
        "rules": [rule_json(entry, with_alerts) for entry in rules],
        "evaluationTime": group.duration_seconds,
        "lastEvaluation": format_time(group.last_evaluation_ms / 1000),
    }


def wanted_rules(group: Group, params: Params, kind: str, sets: list[list[Matcher]]) -> list[Rule]:
    """The rules of a group that the parameters ask for."""
    names = set(params.all("rule_name[]"))
    found = []
    for entry in group.rules:
        is_alert = isinstance(entry.rule, AlertRule)
        if (names and entry.config.name not in names) or (kind == "alert" and not is_alert):
            continue
        if (kind == "record" and is_alert) or not _matches(Labels.of(entry.rule.labels), sets):
            continue
        found.append(entry)
    return found


def _matches(labels: Labels, sets: list[list[Matcher]]) -> bool:
    return not sets or any(all(m.matches(labels.get(m.name)) for m in matchers) for matchers in sets)


def routes(services: Services) -> list[Route]:
    """The endpoints, below ``/api/v1``."""

    async def rules(request: Request) -> Response:
        params = await read_params(request)
        kind = params.text("type").lower()
        if kind not in ("", "alert", "record"):
            raise bad_data(f'invalid parameter "type": not supported value "{kind}"')
        names, files = set(params.all("rule_group[]")), set(params.all("file[]"))
        sets, with_alerts = params.matcher_sets(), not params.flag("exclude_alerts")
        filtered = bool(kind or sets or params.all("rule_name[]"))
        shown = []
        for group in sorted(services.rules.groups.values(), key=lambda group: group.key):
            if (names and group.name not in names) or (files and group.file not in files):
                continue
            found = wanted_rules(group, params, kind, sets)
            if found or not filtered:
                shown.append((group, found))
        return answer(_page(shown, params, with_alerts))

    async def alerts(request: Request) -> Response:
        found = sorted_alerts(
            [rule for group in services.rules.groups.values() for rule in group.alert_rules]
        )
        return answer({"alerts": [alert_json(alert) for alert in found]})

    return [Route("/rules", endpoint(rules)), Route("/alerts", endpoint(alerts))]


def _page(shown: list[tuple[Group, list[Rule]]], params: Params, with_alerts: bool) -> dict[str, Any]:
    """The groups, or a page of them with the token of the next."""
    token, limit = params.text("group_next_token"), params.limit("group_limit")
    if token and not limit:
        raise bad_data("group_limit needs to be set in order to paginate over the groups")
    if token:
        keys = [group.key for group, _ in shown]
        if token not in keys:
            raise bad_data(f"invalid group_next_token '{token}'. were rule groups changed?")
        shown = shown[keys.index(token) :]
    data: dict[str, Any] = {}
    if limit and len(shown) > limit:
        data["groupNextToken"] = shown[limit][0].key
        shown = shown[:limit]
    return {"groups": [group_json(group, rules, with_alerts) for group, rules in shown], **data}
