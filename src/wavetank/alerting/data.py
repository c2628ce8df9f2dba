"""What notification templates and webhooks see of a group of alerts.

Mirrors Data, Alert, Alerts, KV and Pairs of template/template.go: their fields, their methods, their JSON.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from wavetank.alerting.alert import Alert, status
from wavetank.gotemplate.gotime import GoTime

__all__ = ["KV", "AlertData", "Alerts", "Data", "Strings", "to_json"]


class Strings(list[str]):
    """A list of texts."""

    go_methods: Final[dict[str, Callable[..., Any]]] = {"Join": lambda texts, sep: sep.join(texts)}


class _Pairs(list[dict[str, str]]):
    go_methods: Final[dict[str, Callable[..., Any]]] = {
        "Names": lambda pairs: Strings(pair["Name"] for pair in pairs),
        "Values": lambda pairs: Strings(pair["Value"] for pair in pairs),
        "String": lambda pairs: ", ".join(f"{pair['Name']}={pair['Value']}" for pair in pairs),
    }


class KV(dict[str, str]):
    """Labels or annotations. ``alertname`` comes first in every order."""

    def sorted_pairs(self) -> _Pairs:
        names = sorted(self, key=lambda name: (name != "alertname", name))
        return _Pairs({"Name": name, "Value": self[name]} for name in names)

    def without(self, names: Iterable[str]) -> KV:
        gone = set(names)
        return KV((name, value) for name, value in self.items() if name not in gone)

    go_methods: Final[dict[str, Callable[..., Any]]] = {
        "Names": lambda kv: Strings(pair["Name"] for pair in kv.sorted_pairs()),
        "Remove": without,
        "SortedPairs": sorted_pairs,
        "String": lambda kv: _Pairs.go_methods["String"](kv.sorted_pairs()),
        "Values": lambda kv: Strings(pair["Value"] for pair in kv.sorted_pairs()),
    }


class AlertData:
    """One alert of a notification."""

    __slots__ = ("annotations", "ends_at", "fingerprint", "generator_url", "labels", "starts_at", "status")

    def __init__(self, alert: Alert, now: float) -> None:
        self.status = alert.status(now)
        self.labels = KV(alert.labels)
        self.annotations = KV(alert.annotations)
        self.starts_at = GoTime.of(alert.starts_at)
        self.ends_at = GoTime.of(alert.ends_at)
        self.generator_url = alert.generator_url
        self.fingerprint = alert.id

    go_methods: Final[dict[str, Callable[..., Any]]] = {
        "Status": lambda a: a.status,
        "Labels": lambda a: a.labels,
        "Annotations": lambda a: a.annotations,
        "StartsAt": lambda a: a.starts_at,
        "EndsAt": lambda a: a.ends_at,
        "GeneratorURL": lambda a: a.generator_url,
        "Fingerprint": lambda a: a.fingerprint,
    }

    def json(self) -> dict[str, Any]:
        return {
            "status": self.status,
            "labels": dict(sorted(self.labels.items())),
            "annotations": dict(sorted(self.annotations.items())),
            "startsAt": self.starts_at.rfc3339(),
            "endsAt": self.ends_at.rfc3339(),
            "generatorURL": self.generator_url,
            "fingerprint": self.fingerprint,
        }


class Alerts(list[AlertData]):
    """Alerts of a notification, in the order in which they are told."""

    go_methods: Final[dict[str, Callable[..., Any]]] = {
        "Firing": lambda alerts: Alerts(a for a in alerts if a.status == "firing"),
        "Resolved": lambda alerts: Alerts(a for a in alerts if a.status == "resolved"),
    }


class Data:
    """The dot of every notification template."""

    def __init__(
        self,
        receiver: str,
        alerts: list[Alert],
        group_labels: Mapping[str, str],
        route_labels: Mapping[str, str],
        reason: str,
        external_url: str,
        now: float,
    ) -> None:
        self.receiver = _quote_meta(receiver)
        self.status = status(alerts, now)
        self.alerts = Alerts(AlertData(alert, now) for alert in alerts)
        self.reason = reason
        self.group_labels = KV(group_labels)
        self.route_labels = KV(route_labels)
        self.labels_rendered = False
        self.common_labels = _common(alert.labels for alert in alerts)
        self.common_annotations = _common(alert.annotations for alert in alerts)
        self.external_url = external_url

    go_methods: Final[dict[str, Callable[..., Any]]] = {
        "Receiver": lambda d: d.receiver,
        "Status": lambda d: d.status,
        "Alerts": lambda d: d.alerts,
        "NotificationReason": lambda d: d.reason,
        "GroupLabels": lambda d: d.group_labels,
        "CommonLabels": lambda d: d.common_labels,
        "CommonAnnotations": lambda d: d.common_annotations,
        "RouteLabels": lambda d: d.route_labels,
        "ExternalURL": lambda d: d.external_url,
    }

    def json(self) -> dict[str, Any]:
        return {
            "receiver": self.receiver,
            "status": self.status,
            "alerts": [alert.json() for alert in self.alerts],
            "notification_reason": self.reason,
            "groupLabels": dict(sorted(self.group_labels.items())),
            "commonLabels": dict(sorted(self.common_labels.items())),
            "commonAnnotations": dict(sorted(self.common_annotations.items())),
            "routeLabels": dict(sorted(self.route_labels.items())),
            "externalURL": self.external_url,
        }


def _quote_meta(text: str) -> str:
    """As Go's ``regexp.QuoteMeta``: the name is put into the receiver filter of links."""
    return re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", text)


def _common(sets: Iterable[Mapping[str, str]]) -> KV:
    """The pairs that all have."""
    found: KV | None = None
    for entry in sets:
        if found is None:
            found = KV(entry)
        else:
            found = KV((name, value) for name, value in found.items() if entry.get(name) == value)
    return found or KV()


def to_json(value: Any) -> Any:
    """``value`` as plain dicts, lists and scalars with the names of Go's JSON."""
    if isinstance(value, AlertData | Data):
        return value.json()
    if isinstance(value, GoTime):
        return value.rfc3339()
    if isinstance(value, Mapping):
        return {str(key): to_json(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [to_json(entry) for entry in value]
    return value
