"""The alerts that are known, by fingerprint. Mirrors provider/mem.

Resolved alerts stay until the garbage collection, so that their end is told. ``per_name_max`` bounds alerts
of one name; one more is refused and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from wavetank.alerting.alert import Alert, merge, overlaps
from wavetank.limits import ALERTS_MAX

__all__ = ["AlertStore"]


class AlertStore:
    """``put`` tells every listener what the alerts are now, and what was dropped."""

    def __init__(self, per_name_max: int = 0) -> None:
        self._alerts: dict[str, Alert] = {}
        self._names: Counter[str] = Counter()
        self._per_name_max = per_name_max
        self.limited = 0
        self.changed: list[Callable[[Sequence[Alert]], None]] = []
        self.dropped: list[Callable[[Alert], None]] = []

    def put(self, alerts: Iterable[Alert], now: float) -> int:
        """Take alerts in; the number of those for which there was no room."""
        refused = 0
        known = self._alerts
        taken = []
        for alert in alerts:
            old = known.get(alert.id)
            if old is None:
                if not self._room(alert):
                    refused += 1
                    continue
                self._names[alert.name] += 1
            elif overlaps(old, alert):
                alert = merge(old, alert, now)
            known[alert.id] = alert
            taken.append(alert)
        for listener in self.changed:
            listener(taken)
        self.limited += refused
        return refused

    def _room(self, alert: Alert) -> bool:
        if len(self._alerts) >= ALERTS_MAX:
            return False
        return self._per_name_max <= 0 or self._names[alert.name] < self._per_name_max

    def collect(self, now: float) -> int:
        """Forget what is resolved; how many that were."""
        gone = [alert for alert in self._alerts.values() if alert.resolved(now)]
        for alert in gone:
            del self._alerts[alert.id]
            self._names[alert.name] -= 1
            for listener in self.dropped:
                listener(alert)
        self._names += Counter()  # drops the names without alerts
        return len(gone)

    def all(self) -> list[Alert]:
        return list(self._alerts.values())

    def __len__(self) -> int:
        return len(self._alerts)
