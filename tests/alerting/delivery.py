"""One notification, and a way to deliver it to the receiver of a section."""

from __future__ import annotations

from wavetank.alerting.alert import Alert
from wavetank.alerting.config import parse_config
from wavetank.alerting.data import Data
from wavetank.alerting.receivers.build import build_integrations
from wavetank.alerting.receivers.notification import Notification
from wavetank.alerting.templates import Templates
from wavetank.clock import RealClock

NOW = 1_700_000_000.0
ALERTS = (
    Alert(
        {"alertname": "Down", "job": "a", "i": "<1>"},
        {"summary": "s & t"},
        NOW - 60,
        0,
        NOW,
        "http://p/g?a=1",
    ),
    Alert({"alertname": "Down", "job": "a", "i": "2"}, {}, NOW - 60, NOW - 1, NOW),
)


def notification(*alerts: Alert, patterns: tuple[str, ...] = (), **route_labels: str) -> Notification:
    shown = alerts or ALERTS
    data = Data(
        "team.x", list(shown), {"alertname": "Down"}, route_labels, "first notification", "http://am", NOW
    )
    return Notification('{}:{alertname="Down"}', shown, data, Templates(RealClock(), patterns), NOW)


async def deliver(section: str, n: Notification | None = None, globals_: str = "") -> None:
    config = parse_config(
        f"global: {{{globals_}}}\nroute: {{receiver: r}}\nreceivers:\n- name: r\n  {section}\n"
    )
    for integration in build_integrations(config.receivers[0], RealClock()):
        try:
            await integration.notify(n or notification(), 30.0)
        finally:
            await integration.close()
