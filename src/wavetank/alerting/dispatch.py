"""Aggregation groups: alerts of one route and one set of group labels are told together.

Mirrors dispatch/dispatch.go as a pure step. Timers run on the monotonic clock, so that a jump of the wall
clock neither delays nor hurries a notification; whether an alert is resolved is asked of the wall clock.
A group is flushed ``group_wait`` after its first alert and every ``group_interval`` from then on; never
twice at a time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from wavetank.alerting.alert import Alert
from wavetank.alerting.matchers import label_text
from wavetank.alerting.route import Route
from wavetank.limits import ALERT_FLUSH_SECONDS_MIN, ALERT_GROUPS_MAX

__all__ = ["Dispatcher", "Flush", "Group"]


@dataclass(slots=True)
class Group:
    """``alerts`` by fingerprint. ``next_flush`` is monotonic. ``muted_by`` names the intervals of the last
    flush that muted it."""

    key: str
    route: Route
    labels: dict[str, str]
    next_flush: float
    alerts: dict[str, Alert] = field(default_factory=dict)
    flushed: bool = False
    busy: bool = False
    muted_by: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Flush:
    """What is due to be told. ``seconds`` is how long that may take."""

    group: Group
    alerts: tuple[Alert, ...]
    now: float
    seconds: float


class Dispatcher:
    """``insert`` alerts, take what is due from ``step``, and say how it went with ``done``."""

    def __init__(self, route: Route, *, starts_at: float = 0.0, maintenance_seconds: float = 30.0) -> None:
        """No group is flushed before ``starts_at``, on the monotonic clock."""
        self.route = route
        self.groups: dict[tuple[str, str], Group] = {}
        self.refused = 0
        self._starts_at = starts_at
        self._maintenance = maintenance_seconds
        self._next_sweep = 0.0

    def insert(self, alert: Alert, now: float, monotonic: float) -> None:
        """Put an alert into the groups of all its routes."""
        for route in self.route.match(alert.labels):
            labels = route.group_labels(alert.labels)
            key = (route.id, label_text(labels))
            group = self.groups.get(key)
            if group is None:
                if len(self.groups) >= ALERT_GROUPS_MAX:
                    self.refused += 1
                    continue
                due = max(monotonic + route.group_wait, self._starts_at)
                group = self.groups[key] = Group(f"{route.key}:{key[1]}", route, labels, due)
            group.alerts[alert.id] = alert
            if not group.flushed and alert.starts_at + route.group_wait < now:
                # It has waited elsewhere, as after a restart of ours.
                group.next_flush = max(monotonic, self._starts_at)

    def step(self, now: float, monotonic: float) -> list[Flush]:
        """The groups that are due, with their alerts as they are now."""
        if monotonic >= self._next_sweep:
            self._next_sweep = monotonic + self._maintenance
            for key in [k for k, g in self.groups.items() if not g.alerts and not g.busy]:
                del self.groups[key]
        due = []
        for group in self.groups.values():
            if group.busy or group.next_flush > monotonic:
                continue
            group.next_flush = monotonic + group.route.group_interval
            group.flushed = True
            if group.alerts:
                group.busy = True
                seconds = max(group.route.group_interval, ALERT_FLUSH_SECONDS_MIN)
                due.append(Flush(group, _snapshot(group.alerts.values(), now), now, seconds))
        return due

    def done(self, flush: Flush, *, told: bool) -> None:
        """A flush has ended; alerts whose end was told are forgotten."""
        group = flush.group
        group.busy = False
        if not told:
            return
        for alert in flush.alerts:
            kept = group.alerts.get(alert.id)
            if alert.resolved(flush.now) and kept is not None and kept.updated_at == alert.updated_at:
                del group.alerts[alert.id]

    def next_due(self) -> float | None:
        """When ``step`` has something to do next, on the monotonic clock; None while there is nothing."""
        waiting = [group.next_flush for group in self.groups.values() if not group.busy]
        return min([*waiting, self._next_sweep]) if waiting else None


def _snapshot(alerts: Iterable[Alert], now: float) -> tuple[Alert, ...]:
    """In upstream's order. Ends that lie ahead are guesses, and not told."""
    shown = [alert if alert.resolved(now) else replace(alert, ends_at=0.0) for alert in alerts]
    return tuple(sorted(shown, key=_order))


def _order(alert: Alert) -> tuple[str, str, list[tuple[str, str]]]:
    labels = alert.labels
    return labels.get("job", ""), labels.get("instance", ""), sorted(labels.items())
