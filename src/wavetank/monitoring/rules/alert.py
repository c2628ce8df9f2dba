"""Alerting rules: the state machine of each alert.

Mirrors rules/alerting.go of prometheus/prometheus: inactive, pending, firing; ``for``, ``keep_firing_for``,
the fifteen minutes for which a resolved alert is kept, and the restoring of ``for`` after a restart. Times
are milliseconds. The machine is a pure step from (now, what the expression gave) to alerts and samples.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from wavetank.model.histogram import FloatHistogram
from wavetank.model.labels import METRIC_NAME, Labels
from wavetank.monitoring.rules.dependencies import ALERTS, ALERTS_FOR_STATE
from wavetank.monitoring.rules.file import RuleConfig

__all__ = ["ALERTS", "ALERTS_FOR_STATE", "ActiveAlert", "AlertRule", "AlertState", "RuleError", "Sample"]

RESOLVED_RETENTION_MS: Final = 15 * 60_000

Sample = tuple[Labels, float | FloatHistogram]
# text, labels, value -> expanded text
Expand = Callable[[str, Mapping[str, str], float], str]


class RuleError(ValueError):
    """A rule's evaluation failed; its output is discarded."""


class AlertState(enum.IntEnum):
    INACTIVE = 0
    PENDING = 1
    FIRING = 2

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(slots=True)
class ActiveAlert:
    """One alert; times are 0 while not reached."""

    labels: Labels
    annotations: dict[str, str]
    value: float
    active_at_ms: int
    state: AlertState = AlertState.PENDING
    fired_at_ms: int = 0
    resolved_at_ms: int = 0
    last_sent_at_ms: int = 0
    valid_until_ms: int = 0
    keep_firing_since_ms: int = 0

    def needs_sending(self, now_ms: int, resend_delay_ms: int) -> bool:
        if self.state is AlertState.PENDING:
            return False
        if not self.last_sent_at_ms or self.resolved_at_ms > self.last_sent_at_ms:
            return True
        return self.last_sent_at_ms + resend_delay_ms < now_ms


@dataclass(slots=True)
class AlertRule:
    """An alerting rule with its alerts. ``restored`` is false until ``for`` was restored after a start; no
    series are written before, lest they hide the ones to restore from."""

    config: RuleConfig
    labels: Mapping[str, str]  # the group's and the rule's own
    restored: bool = True
    active: dict[Labels, ActiveAlert] = field(default_factory=dict)

    @property
    def state(self) -> AlertState:
        return max((alert.state for alert in self.active.values()), default=AlertState.INACTIVE)

    def step(self, now_ms: int, result: Iterable[Sample], expand: Expand, limit: int = 0) -> list[Sample]:
        """Take the expression's result at ``now_ms``; returns ALERTS and ALERTS_FOR_STATE samples.

        Raises RuleError if two results make the same alert or there are more alerts than ``limit``.
        """
        found = self._found(now_ms, result, expand)
        for labels, alert in found.items():
            known = self.active.get(labels)
            if known is not None and known.state is not AlertState.INACTIVE:
                known.value, known.annotations = alert.value, alert.annotations
            else:
                self.active[labels] = alert
        samples: list[Sample] = []
        count = 0
        for labels, alert in list(self.active.items()):
            if labels not in found and not self._vanished(alert, now_ms):
                continue
            if labels in found:
                alert.keep_firing_since_ms = 0
            count += 1
            self._age(alert, now_ms)
            if self.restored:
                samples += self._series(alert)
        if limit and count > limit:
            self.active.clear()
            raise RuleError(f"exceeded limit of {limit} with {count} alerts")
        return samples

    def _found(self, now_ms: int, result: Iterable[Sample], expand: Expand) -> dict[Labels, ActiveAlert]:
        found: dict[Labels, ActiveAlert] = {}
        for metric, given in result:
            value = given if isinstance(given, float) else 0.0  # a histogram has no value, and is an alert
            shown = metric.to_dict()
            own = {name: expand(text, shown, value) for name, text in self.labels.items()}
            labels = Labels.of(metric.without(METRIC_NAME).pairs, **{**own, "alertname": self.config.alert})
            if labels in found:
                raise RuleError("vector contains metrics with the same labelset after applying alert labels")
            annotations = {name: expand(text, shown, value) for name, text in self.config.annotations.items()}
            found[labels] = ActiveAlert(labels, annotations, value, now_ms)
        return found

    def _vanished(self, alert: ActiveAlert, now_ms: int) -> bool:
        """What becomes of an alert the expression no longer gives; true if it goes on firing."""
        keeps = False
        if alert.state is AlertState.FIRING and self.config.keep_firing_for > 0:
            alert.keep_firing_since_ms = alert.keep_firing_since_ms or now_ms
            keeps = now_ms - alert.keep_firing_since_ms < self.config.keep_firing_for
        long_resolved = alert.resolved_at_ms and now_ms - alert.resolved_at_ms > RESOLVED_RETENTION_MS
        if alert.state is AlertState.PENDING or long_resolved:
            del self.active[alert.labels]
        elif alert.state is not AlertState.INACTIVE and not keeps:
            alert.state = AlertState.INACTIVE
            alert.resolved_at_ms = now_ms
        return keeps

    def _age(self, alert: ActiveAlert, now_ms: int) -> None:
        due = now_ms - alert.active_at_ms >= self.config.hold
        if alert.state is AlertState.PENDING and due:
            alert.state = AlertState.FIRING
            alert.fired_at_ms = now_ms
        elif alert.state is AlertState.FIRING and not due:
            # ``for`` grew with a reload
            alert.state = AlertState.PENDING
            alert.fired_at_ms = 0

    def _series(self, alert: ActiveAlert) -> list[Sample]:
        pairs = alert.labels.pairs
        return [
            (Labels.of(pairs, **{METRIC_NAME: ALERTS, "alertstate": str(alert.state)}), 1.0),
            (Labels.of(pairs, **{METRIC_NAME: ALERTS_FOR_STATE}), float(alert.active_at_ms // 1000)),
        ]

    def restore(self, now_ms: int, last: Mapping[Labels, tuple[int, float]], grace_period_ms: int) -> None:
        """Shift ``active_at`` by the downtime. ``last`` has the newest ALERTS_FOR_STATE sample (its time, the
        unix seconds it holds) by alert labels."""
        for labels, alert in self.active.items():
            if labels not in last or self.config.hold < grace_period_ms:
                continue
            down_at_ms, seconds = last[labels]
            active_at_ms = int(seconds * 1000)
            left_ms = self.config.hold - (down_at_ms - active_at_ms)
            if left_ms <= 0:
                pass  # it was firing already
            elif left_ms < grace_period_ms:
                active_at_ms = now_ms + grace_period_ms - self.config.hold
            else:
                active_at_ms += now_ms - down_at_ms
            alert.active_at_ms = active_at_ms
        self.restored = True

    def to_send(self, now_ms: int, resend_delay_ms: int, interval_ms: int) -> list[ActiveAlert]:
        """The alerts the Alertmanagers must hear of now, marked as sent."""
        due = [alert for alert in self.active.values() if alert.needs_sending(now_ms, resend_delay_ms)]
        for alert in due:
            alert.last_sent_at_ms = now_ms
            alert.valid_until_ms = now_ms + 4 * max(interval_ms, resend_delay_ms)
        return due


def sorted_alerts(rules: Sequence[AlertRule]) -> list[ActiveAlert]:
    """All alerts that are pending or firing, by labels."""
    alerts = [alert for rule in rules for alert in rule.active.values() if alert.state]
    return sorted(alerts, key=lambda alert: alert.labels.pairs)
