"""Aggregation groups: alerts of one route and one set of group labels are told together.

Mirrors dispatch/dispatch.go as a pure step. Timers run on the monotonic clock, so that a jump of the wall
clock neither delays nor hurries a notification; whether an alert is resolved is asked of the wall clock.
A group is flushed ``group_wait`` after its first alert and every ``group_interval`` from then on; never
twice at a time.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final

import msgspec

from wavetank.alerting.alert import Alert
from wavetank.alerting.matchers import label_text
from wavetank.alerting.route import Route
from wavetank.limits import ALERT_FLUSH_SECONDS_MIN, ALERT_GROUPS_MAX

__all__ = ["Dispatcher", "Flush", "Group"]

_MATCHES_KEPT: Final = 10_000
_GONE: Final = attrgetter("gone")


@dataclass(slots=True)
class Group:
    """``alerts`` by fingerprint. ``next_flush`` is monotonic. ``muted_by`` names the intervals of the last
    flush that muted it. ``gone`` once it was empty and swept up."""

    key: str
    route: Route
    labels: dict[str, str]
    next_flush: float
    alerts: dict[str, Alert] = field(default_factory=dict)
    flushed: bool = False
    busy: bool = False
    gone: bool = False
    muted_by: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Flush:
    """What is due to be told. ``seconds`` is how long that may take."""

    group: Group
    alerts: tuple[Alert, ...]
    now: float
    seconds: float


class Dispatcher:
    """``insert`` alerts, take what is due from ``step``, and say how it went with ``done``; ``forget`` what
    no longer exists."""

    def __init__(self, route: Route, *, starts_at: float = 0.0, maintenance_seconds: float = 30.0) -> None:
        """No group is flushed before ``starts_at``, on the monotonic clock."""
        self.route = route
        self.groups: dict[tuple[str, tuple[tuple[str, str], ...]], Group] = {}
        self.refused = 0
        self._starts_at = starts_at
        self._maintenance = maintenance_seconds
        self._next_sweep = 0.0
        # Every alert comes again each minute, and its labels lead to the same groups each time.
        self._places: dict[str, tuple[Group, ...]] = {}
        # What the tree asks of labels are the values of a few names, and those hardly differ.
        self._names = sorted({matcher.name for part in route.walk() for matcher in part.matchers})
        self._routes: dict[tuple[str, ...], list[Route]] = {}
        # (when, a number to break ties, group); an entry that is not its group's ``next_flush`` is void.
        self._due: list[tuple[float, int, Group]] = []
        self._entries = 0

    def insert(self, alert: Alert, now: float, monotonic: float) -> None:
        """Put an alert into the groups of all its routes."""
        places = self._places.get(alert.id)
        if places is None or any(map(_GONE, places)):
            places = self._place(alert, monotonic)
        for group in places:
            group.alerts[alert.id] = alert
            if not group.flushed and alert.starts_at + group.route.group_wait < now:
                # It has waited elsewhere, as after a restart of ours.
                due = max(monotonic, self._starts_at)
                if due < group.next_flush:
                    self._schedule(group, due)

    def _place(self, alert: Alert, monotonic: float) -> tuple[Group, ...]:
        routes = self._match(alert.labels)
        found = []
        for route in routes:
            labels = route.group_labels(alert.labels)
            key = (route.id, tuple(sorted(labels.items())))
            group = self.groups.get(key)
            if group is None:
                if len(self.groups) >= ALERT_GROUPS_MAX:
                    self.refused += 1
                    continue
                group = self.groups[key] = Group(f"{route.key}:{label_text(labels)}", route, labels, 0.0)
                self._schedule(group, max(monotonic + route.group_wait, self._starts_at))
            found.append(group)
        places = tuple(found)
        if len(found) == len(routes):
            self._places[alert.id] = places
        return places

    def _match(self, labels: Mapping[str, str]) -> list[Route]:
        values = tuple([labels.get(name, "") for name in self._names])
        routes = self._routes.get(values)
        if routes is None:
            if len(self._routes) >= _MATCHES_KEPT:
                self._routes.clear()
            routes = self._routes[values] = self.route.match(labels)
        return routes

    def _schedule(self, group: Group, due: float) -> None:
        group.next_flush = due
        self._entries += 1
        heapq.heappush(self._due, (due, self._entries, group))

    def forget(self, alert: Alert) -> None:
        """The alert is known no more; a group that has yet to tell its end keeps it."""
        self._places.pop(alert.id, None)

    def receivers(self, alert: Alert) -> list[str]:
        """Who is told of the alert, in the order of the routes."""
        places = self._places.get(alert.id)
        if places is None:
            return [route.receiver for route in self._match(alert.labels)]
        return [group.route.receiver for group in places]

    def step(self, now: float, monotonic: float) -> list[Flush]:
        """The groups that are due, with their alerts as they are now."""
        if monotonic >= self._next_sweep:
            self._next_sweep = monotonic + self._maintenance
            self._sweep()
        due = []
        while self._due and self._due[0][0] <= monotonic:
            when, _, group = heapq.heappop(self._due)
            if group.busy or group.gone or when != group.next_flush:
                continue
            self._schedule(group, monotonic + group.route.group_interval)
            group.flushed = True
            if group.alerts:
                group.busy = True
                seconds = max(group.route.group_interval, ALERT_FLUSH_SECONDS_MIN)
                due.append(Flush(group, _snapshot(group.alerts.values(), now), now, seconds))
        return due

    def _sweep(self) -> None:
        for key in [k for k, g in self.groups.items() if not g.alerts and not g.busy]:
            self.groups.pop(key).gone = True

    def done(self, flush: Flush, *, told: bool) -> None:
        """A flush has ended; alerts whose end was told are forgotten."""
        group = flush.group
        group.busy = False
        self._schedule(group, group.next_flush)  # it may have come due meanwhile
        if not told:
            return
        for alert in flush.alerts:
            kept = group.alerts.get(alert.id)
            if alert.resolved(flush.now) and kept is not None and kept.updated_at == alert.updated_at:
                del group.alerts[alert.id]

    def next_due(self) -> float | None:
        """When ``step`` has something to do next, on the monotonic clock; None while there is nothing."""
        while self._due:
            when, _, group = self._due[0]
            if when == group.next_flush and not group.busy and not group.gone:
                return min(when, self._next_sweep)
            heapq.heappop(self._due)
        return None


def _snapshot(alerts: Iterable[Alert], now: float) -> tuple[Alert, ...]:
    """In upstream's order. Ends that lie ahead are guesses, and not told."""
    shown = [
        alert if alert.resolved(now) else msgspec.structs.replace(alert, ends_at=0.0) for alert in alerts
    ]
    return tuple(sorted(shown, key=_order))


def _order(alert: Alert) -> tuple[str, str, list[tuple[str, str]]]:
    labels = alert.labels
    return labels.get("job", ""), labels.get("instance", ""), sorted(labels.items())
