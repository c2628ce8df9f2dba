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
    """``seen`` hears of every alert, ``forget`` of those that are gone."""

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
        for alert in alerts:
            self.seen(alert)

    def __len__(self) -> int:
        return len(self._rules)

    def seen(self, alert: Alert) -> None:
        for rule in self._rules:
            if matches(rule.source, alert.labels):
                rule.sources.setdefault(rule.key(alert.labels), {})[alert.id] = alert

    def forget(self, alert: Alert) -> None:
        for rule in self._rules:
            key = rule.key(alert.labels)
            if (found := rule.sources.get(key)) is not None:
                found.pop(alert.id, None)
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
