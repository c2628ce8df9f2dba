"""From a receiver's configuration to its integrations."""

from __future__ import annotations

from typing import Final, Protocol

from wavetank.alerting.config.receivers import ReceiverConfig, integrations
from wavetank.alerting.receivers import chat, paging, rooms, tickets
from wavetank.alerting.receivers.email import EmailIntegration
from wavetank.alerting.receivers.notification import Notification
from wavetank.alerting.receivers.sns import sns
from wavetank.alerting.receivers.web import Build, Talk, WebIntegration, one_way
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
    "incidentio": tickets.incidentio,
    "mattermost": rooms.mattermost,
    "msteams": chat.msteams,
    "msteamsv2": chat.msteamsv2,
    "opsgenie": paging.opsgenie,
    "pagerduty": paging.pagerduty,
    "pushover": paging.pushover,
    "rocketchat": rooms.rocketchat,
    "sns": sns,
    "telegram": chat.telegram,
    "victorops": paging.victorops,
    "webex": chat.webex,
    "webhook": paging.webhook,
}
_TALKS: Final[dict[str, Talk]] = {"jira": tickets.jira, "slack": chat.slack}


def build_integrations(receiver: ReceiverConfig, clock: Clock) -> list[Integration]:
    """All integrations of a receiver whose configuration is complete."""
    found: list[Integration] = []
    for name, index, section in integrations(receiver):
        if name == "email":
            found.append(EmailIntegration(index, section))
        else:
            found.append(WebIntegration(name, index, section, _talk(name), clock))
    return found


def _talk(name: str) -> Talk:
    if name == "wechat":
        return rooms.Wechat()  # it remembers a token
    return _TALKS[name] if name in _TALKS else one_way(_BUILDERS[name])
