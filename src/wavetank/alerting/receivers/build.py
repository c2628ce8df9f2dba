"""From a receiver's configuration to its integrations."""

from __future__ import annotations

from typing import Final, Protocol

from wavetank.alerting.config.receivers import ReceiverConfig, integrations
from wavetank.alerting.receivers import chat, paging
from wavetank.alerting.receivers.email import EmailIntegration
from wavetank.alerting.receivers.notification import Notification
from wavetank.alerting.receivers.web import Build, WebIntegration
from wavetank.clock import Clock

__all__ = ["Integration", "build_integrations"]


class Integration(Protocol):
    """One way to deliver; ``name`` and ``index`` are upstream's, as in the metrics."""

    name: str
    index: int
    send_resolved: bool

    async def notify(self, notification: Notification, seconds: float) -> None: ...

    async def close(self) -> None: ...


_BUILDERS: Final[dict[str, Build]] = {
    "discord": chat.discord,
    "msteams": chat.msteams,
    "msteamsv2": chat.msteamsv2,
    "opsgenie": paging.opsgenie,
    "pagerduty": paging.pagerduty,
    "pushover": paging.pushover,
    "slack": chat.slack,
    "telegram": chat.telegram,
    "victorops": paging.victorops,
    "webex": chat.webex,
    "webhook": paging.webhook,
}


def build_integrations(receiver: ReceiverConfig, clock: Clock) -> list[Integration]:
    """All integrations of a receiver whose configuration is complete."""
    found: list[Integration] = []
    for name, index, section in integrations(receiver):
        if name == "email":
            found.append(EmailIntegration(index, section))
        else:
            found.append(WebIntegration(name, index, section, _BUILDERS[name], clock))
    return found
