"""Inhibition: an alert is mute while another one is firing.

Mirrors inhibit/inhibit.go. Each rule keeps the sources it has seen, by the values of its ``equal`` labels. An
alert that matches both sides of a rule is not muted by one that does too: none mutes itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from wavetank.alerting.alert import Alert
from wavetank.alerting.config.model import InhibitRuleConfig
from wavetank.alerting.config.routes import all_matchers
from wavetank.alerting.matchers import matches
from wavetank.model.labels import Matcher

__all__ = ["Inhibitor"]


@dataclass(slots=True)
class _Rule:
    name: str
    source: tuple[Matcher, ...]
    target: tuple[Matcher, ...]
    equal: tuple[str, ...]
    sources: dict[tuple[str, ...], dict[str, Alert]] = field(default_factory=dict)

    def key(self, labels: Mapping[str, str]) -> tuple[str, ...]:
        return tuple(labels.get(name, "") for name in self.equal)


class Inhibitor:
    """``seen`` hears of all alerts, ``forget`` of each that is gone."""

    def __init__(self, rules: Iterable[InhibitRuleConfig] = (), alerts: Iterable[Alert] = ()) -> None:
        self._rules = [
            _Rule(
                rule.name,
                all_matchers(rule.source_match, rule.source_match_re, rule.source_matchers),
                all_matchers(rule.target_match, rule.target_match_re, rule.target_matchers),
                tuple(rule.equal),
            )
            for rule in rules
        ]
        # A fingerprint names labels for ever, so what rules they are a source of is asked once.
        self._places: dict[str, tuple[tuple[_Rule, tuple[str, ...]], ...]] = {}
        self.seen(alerts)

    def __len__(self) -> int:
        return len(self._rules)

    def seen(self, alerts: Iterable[Alert]) -> None:
        if not self._rules:
            return
        for alert in alerts:
            places = self._places.get(alert.id)
            if places is None:
                labels = alert.labels
                found = [(r, r.key(labels)) for r in self._rules if matches(r.source, labels)]
                places = self._places[alert.id] = tuple(found)
            for rule, key in places:
                rule.sources.setdefault(key, {})[alert.id] = alert

    def forget(self, alert: Alert) -> None:
        for rule, key in self._places.pop(alert.id, ()):
            found = rule.sources[key]
            del found[alert.id]
            if not found:
                del rule.sources[key]

    def muted_by(self, labels: Mapping[str, str], now: float) -> list[str]:
        """Fingerprints of the alerts that mute these labels: of each rule, one."""
        found = []
        for rule in self._rules:
            if not matches(rule.target, labels):
                continue
            both = matches(rule.source, labels)
            for alert in rule.sources.get(rule.key(labels), {}).values():
                if not alert.resolved(now) and not (both and matches(rule.target, alert.labels)):
                    found.append(alert.id)
                    break
        return found
