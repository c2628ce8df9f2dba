"""``/rules`` and ``/alerts``."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from wavetank.model.labels import Labels, Matcher
from wavetank.model.quoting import format_float, quote
from wavetank.monitoring.api.answer import ApiFailure, answer, bad_data, endpoint
from wavetank.monitoring.api.params import Params, parse_integer, read_params
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
            "alerts": [alert_json(a) for a in sorted_alerts([entry.rule])] if with_alerts else None,
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
        sets = params.matcher_sets()
        kind = params.text("type").lower()
        if kind not in ("", "alert", "record"):
            raise bad_data(f'invalid parameter "type": not supported value {quote(kind)}')
        with_alerts = not _excludes_alerts(params)
        page = _Page.of(params)
        names, files = set(params.all("rule_group[]")), set(params.all("file[]"))
        shown = []
        groups = sorted(services.rules.groups.values(), key=lambda group: (group.file, group.name))
        for group in page.rest(groups):
            if (names and group.name not in names) or (files and group.file not in files):
                continue
            if found := wanted_rules(group, params, kind, sets):
                shown.append((group, found))
        data: dict[str, Any] = {}
        if page.limit and len(shown) > page.limit:
            data["groupNextToken"] = next_token(shown[page.limit][0])
            shown = shown[: page.limit]
        return answer({"groups": [group_json(group, found, with_alerts) for group, found in shown], **data})

    async def alerts(request: Request) -> Response:
        found = sorted_alerts(
            [rule for group in services.rules.groups.values() for rule in group.alert_rules]
        )
        return answer({"alerts": [alert_json(alert) for alert in found]})

    return [Route("/rules", endpoint(rules)), Route("/alerts", endpoint(alerts))]


def next_token(group: Group) -> str:
    """Where the next page begins."""
    return hashlib.sha256(group.key.encode()).hexdigest()


def _excludes_alerts(params: Params) -> bool:
    text = params.text("exclude_alerts").lower()
    try:
        return params.flag("exclude_alerts")
    except ApiFailure:
        said = f"error converting exclude_alerts: strconv.ParseBool: parsing {quote(text)}: invalid syntax"
        raise bad_data(f'invalid parameter "exclude_alerts": {said}') from None


@dataclass(frozen=True, slots=True)
class _Page:
    """At most ``limit`` groups (0: all) from the one on that ``token`` stands for."""

    limit: int = 0
    token: str = ""

    @classmethod
    def of(cls, params: Params) -> _Page:
        """Raises ApiFailure."""
        text, token = params.text("group_limit"), params.text("group_next_token")
        if not text:
            if token:
                said = "group_limit needs to be present in order to paginate over the groups"
                raise bad_data(f'invalid parameter "group_next_token": {said}')
            return cls()
        try:
            limit = parse_integer(text)
            if not -(1 << 31) <= limit < 1 << 31:
                raise ValueError(f"strconv.ParseInt: parsing {quote(text)}: value out of range")
        except ValueError as error:
            said = str(error).replace("strconv.Atoi", "strconv.ParseInt")
            raise bad_data(
                f'invalid parameter "group_limit": group_limit needs to be a valid number: {said}'
            ) from None
        if limit <= 0:
            raise bad_data('invalid parameter "group_limit": group_limit needs to be greater than 0')
        return cls(limit, token)

    def rest(self, groups: Sequence[Group]) -> Sequence[Group]:
        """The groups from the token on. Raises ApiFailure if none has it."""
        if not self.token:
            return groups
        for i, group in enumerate(groups):
            if next_token(group) == self.token:
                return groups[i:]
        said = f"invalid group_next_token '{self.token}'. were rule groups changed?"
        raise bad_data(f'invalid parameter "group_next_token": {said}')
