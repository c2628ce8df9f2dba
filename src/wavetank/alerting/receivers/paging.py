"""Receivers that wake people: PagerDuty, Opsgenie, VictorOps, Pushover; and the webhook.

Mirrors notify/{webhook,pagerduty,opsgenie,victorops,pushover}: what is sent, and what is cut off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from wavetank.alerting.config.receivers import (
    OpsGenieConfig,
    OpsGenieResponder,
    PagerdutyConfig,
    PushoverConfig,
    VictorOpsConfig,
    WebhookConfig,
)
from wavetank.alerting.data import Data
from wavetank.alerting.receivers.notification import (
    Notification,
    NotifyError,
    deep_text,
    secret,
    truncate,
)
from wavetank.alerting.receivers.web import WebRequest, json_request

__all__ = ["opsgenie", "pagerduty", "pushover", "victorops", "webhook", "with_alerts_max"]

_PAGERDUTY_BYTES: Final = 512_000
_PAGERDUTY_SUMMARY: Final = 1024
_PAGERDUTY_V1: Final = "https://events.pagerduty.com/generic/2010-04-15/create_event.json"
_PUSHOVER: Final = "https://api.pushover.net/1/messages.json"


def webhook(config: WebhookConfig, n: Notification) -> Sequence[WebRequest]:
    """Payload version 4."""
    n, left_out = with_alerts_max(n, config.max_alerts)
    body: Any = {**n.data.json(), "version": "4", "groupKey": n.key, "truncatedAlerts": left_out}
    if config.payload is not None:
        body = deep_text(config.payload, n)
    url = n.text(secret(config.url, config.url_file, "url_file"))
    if not url:
        raise NotifyError("webhook URL is empty after templating", retry=False)
    return [json_request(url, body)]


def with_alerts_max(n: Notification, alerts_max: int) -> tuple[Notification, int]:
    """The notification with its first alerts, and how many were left out; 0 for no limit."""
    left_out = len(n.alerts) - alerts_max
    if not alerts_max or left_out <= 0:
        return n, 0
    alerts, data = n.alerts[:alerts_max], n.data
    shown = Data(
        "", list(alerts), data.group_labels, data.route_labels, data.reason, data.external_url, n.now
    )
    shown.receiver = data.receiver
    return replace(n, alerts=alerts, data=shown), left_out


def pagerduty(config: PagerdutyConfig, n: Notification) -> Sequence[WebRequest]:
    action = "trigger" if n.firing else "resolve"
    details = deep_text(config.details, n)
    summary = truncate(n.text(config.description), _PAGERDUTY_SUMMARY)
    if config.service_key or config.service_key_file:
        return [_pagerduty_v1(config, n, action, details, summary)]
    key = n.text(secret(config.routing_key, config.routing_key_file, "routing key"))
    if not key:
        raise NotifyError("routing key cannot be empty", retry=False)
    payload: dict[str, Any] = {
        "summary": summary,
        "source": n.text(config.source),
        "severity": n.text(config.severity or "error"),
        **_filled(
            {
                "class": n.text(config.class_),
                "component": n.text(config.component),
                "group": n.text(config.group),
                "custom_details": details,
            }
        ),
    }
    images = [{k: n.text(v) for k, v in msgspec.to_builtins(image).items()} for image in config.images]
    links = [{k: n.text(v) for k, v in msgspec.to_builtins(link).items()} for link in config.links]
    body = {
        "routing_key": key,
        "dedup_key": n.key_hash,
        "event_action": action,
        "payload": payload,
        **_filled(
            {
                "client": n.text(config.client),
                "client_url": n.text(config.client_url),
                "images": [image for image in images if image["src"]],
                "links": [link for link in links if link["href"]],
            }
        ),
    }
    request = json_request(config.url, body, retry_codes=(429,))
    if len(request.body) > _PAGERDUTY_BYTES:
        payload["custom_details"] = {"error": _TOO_LARGE}
        request = json_request(config.url, body, retry_codes=(429,))
    return [request]


_TOO_LARGE: Final = (
    "Custom details have been removed because the original event exceeds the maximum size of 512KB"
)


def _pagerduty_v1(
    config: PagerdutyConfig, n: Notification, action: str, details: Any, summary: str
) -> WebRequest:
    key = n.text(secret(config.service_key, config.service_key_file, "service key"))
    if not key:
        raise NotifyError("service key cannot be empty", retry=False)
    body = {
        "service_key": key,
        "incident_key": n.key_hash,
        "event_type": action,
        "event_action": "",
        "payload": None,
        "description": summary,
        "details": details,
    }
    if n.firing:
        body |= {"client": n.text(config.client), "client_url": n.text(config.client_url)}
    request = json_request(_PAGERDUTY_V1, body, retry_codes=(403,))
    if len(request.body) > _PAGERDUTY_BYTES:
        body["details"] = {"error": _TOO_LARGE}
        request = json_request(_PAGERDUTY_V1, body, retry_codes=(403,))
    return request


def _filled(values: dict[str, Any]) -> dict[str, Any]:
    """Without what is empty, as Go leaves it out."""
    return {name: value for name, value in values.items() if value not in ("", None, [], {})}


def _split(text: str) -> list[str]:
    return [part for part in text.strip().split(",") if part]


def opsgenie(config: OpsGenieConfig, n: Notification) -> Sequence[WebRequest]:
    key = n.text(secret(config.api_key, config.api_key_file, "api_key"))
    headers = {"Authorization": f"GenieKey {key.strip()}"}
    alerts = f"{config.api_url}v2/alerts"
    own = f"{alerts}/{n.key_hash}"
    if not n.firing:
        body: dict[str, Any] = {"source": n.text(config.source)}
        return [json_request(f"{own}/close?identifierType=alias", body, retry_codes=(429,), headers=headers)]
    body = {
        "alias": n.key_hash,
        "message": truncate(n.text(config.message), 130),
        "details": {**n.data.common_labels, **{k: n.text(v) for k, v in config.details.items()}},
        "source": n.text(config.source),
        **_filled(
            {
                "description": n.text(config.description),
                "responders": [made for r in config.responders for made in _responders(r, n)],
                "tags": _split(n.text(config.tags)),
                "note": n.text(config.note),
                "priority": n.text(config.priority),
                "entity": n.text(config.entity),
                "actions": _split(n.text(config.actions)),
            }
        ),
    }
    requests = [json_request(alerts, body, retry_codes=(429,), headers=headers)]
    if config.update_alerts:
        for field in ("message", "description"):
            url = f"{own}/{field}?identifierType=alias"
            update = {field: body.get(field, "")}
            requests.append(json_request(url, update, method="PUT", retry_codes=(429,), headers=headers))
    return requests


def _responders(responder: OpsGenieResponder, n: Notification) -> list[dict[str, str]]:
    made = {name: n.text(value) for name, value in msgspec.to_builtins(responder).items()}
    if made["type"] == "teams":
        return [{"name": team, "type": "team"} for team in _split(made["name"])]
    return [{name: value for name, value in made.items() if value or name == "type"}]


def victorops(config: VictorOpsConfig, n: Notification) -> Sequence[WebRequest]:
    kind = n.text(config.message_type)
    if not n.firing:
        kind = "RECOVERY"
    elif kind not in ("INFO", "WARNING", "CRITICAL"):
        kind = "CRITICAL"
    body = {
        "message_type": kind,
        "entity_id": n.key_hash,
        "entity_display_name": n.text(config.entity_display_name),
        "state_message": truncate(n.text(config.state_message), 20_480),
        "monitoring_tool": n.text(config.monitoring_tool),
        **{name: n.text(value) for name, value in config.custom_fields.items()},
    }
    key = secret(config.api_key, config.api_key_file, "api_key")
    return [json_request(f"{config.api_url}{key}/{quote(n.text(config.routing_key), safe='')}", body)]


def pushover(config: PushoverConfig, n: Notification) -> Sequence[WebRequest]:
    message = truncate((n.html if config.html else n.text)(config.message), 1024)
    fields = {
        "token": n.text(secret(config.token, config.token_file, "token")),
        "user": n.text(secret(config.user_key, config.user_key_file, "user_key")),
        "title": truncate(n.text(config.title), 250),
        # An empty message is refused by Pushover.
        "message": message.strip() or "(no details)",
        "url": truncate(n.text(config.url), 512),
        "url_title": n.text(config.url_title),
        "device": n.text(config.device),
        "sound": n.text(config.sound),
        "priority": n.text(config.priority),
        "retry": str(config.retry // 1000),
        "expire": str(config.expire // 1000),
        "ttl": str(config.ttl // 1000) if config.ttl else "",
        "html": "1" if config.html else "",
        "monospace": "1" if config.monospace else "",
    }
    needed = ("token", "user", "title", "message", "priority", "retry", "expire")
    query = urlencode({name: value for name, value in fields.items() if value or name in needed})
    return [
        WebRequest(
            _PUSHOVER, query.encode(), headers={"Content-Type": "application/x-www-form-urlencoded"},
            retry_codes=(429,),
        )
    ]  # fmt: skip
