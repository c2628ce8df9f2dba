"""Alerts as the API shows them, encoded once for as long as they do not change.

An alert is a value, so its JSON is too, but for who hears of it and what mutes it: those parts are put
between when the alert is shown. The memory is of what was shown last, and goes with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from wavetank.alerting.alert import Alert
from wavetank.alerting.api.times import show_time
from wavetank.alerting.service import AlertStatus

__all__ = ["ShownAlerts"]

_encode = msgspec.json.encode


class ShownAlerts:
    """Encodes alerts; ``keep`` bounds the memory to those that still are."""

    def __init__(self) -> None:
        self._fixed: dict[str, tuple[Alert, bytes]] = {}
        self._receivers: dict[tuple[str, ...], bytes] = {}

    def keep(self, count: int) -> None:
        """Forget all when what is remembered is more than twice the ``count`` alerts that there are."""
        if len(self._fixed) > 2 * count + 1000:
            self._fixed.clear()

    def encode(
        self, alert: Alert, status: AlertStatus, receivers: Sequence[str], muted_by: Sequence[str]
    ) -> bytes:
        """The JSON object of one alert."""
        known = self._fixed.get(alert.id)
        if known is None or known[0] is not alert:
            known = self._fixed[alert.id] = (alert, _fixed(alert))
        if not (status.silenced_by or status.inhibited_by or muted_by):
            state = _ACTIVE
        else:
            state = _state(status, muted_by)
        return known[1] + self._receivers_of(tuple(receivers)) + state

    def _receivers_of(self, names: tuple[str, ...]) -> bytes:
        found = self._receivers.get(names)
        if found is None:
            if len(self._receivers) >= 1000:
                self._receivers.clear()
            found = self._receivers[names] = _encode([{"name": name} for name in names])
        return found


def _fixed(alert: Alert) -> bytes:
    """What does not depend on the moment, up to the receivers."""
    shown = {
        "annotations": alert.annotations,
        "endsAt": show_time(alert.ends_at),
        "fingerprint": alert.id,
        "startsAt": show_time(alert.starts_at),
        "updatedAt": show_time(alert.updated_at),
        "generatorURL": alert.generator_url,
        "labels": alert.labels,
    }
    return _encode(shown)[:-1] + b',"receivers":'


def _state(status: AlertStatus, muted_by: Sequence[str]) -> bytes:
    shown = {
        "inhibitedBy": status.inhibited_by,
        "mutedBy": list(muted_by),
        "silencedBy": status.silenced_by,
        "state": "suppressed" if muted_by else status.state,
    }
    return b',"status":' + _encode(shown) + b"}"


_ACTIVE = _state(AlertStatus([], []), ())
