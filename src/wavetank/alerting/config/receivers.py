# ruff: noqa: RUF012 -- msgspec gives every instance its own copy of an empty default
"""The receivers' sections: fields, defaults and what they must fulfil.

Mirrors config/notifiers.go and notify/*/config.go. A ``*_file`` field names a file that is read at each
notification. Fields without a value of their own take the one of ``global``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from wavetank.alerting.config.notifier import Notifier, one_of, template
from wavetank.alerting.config.services import (
    SERVICE_CHECKS,
    IncidentioConfig,
    JiraConfig,
    MattermostConfig,
    RocketchatConfig,
    SNSConfig,
    WechatConfig,
)
from wavetank.monitoring.config.http import TLSConfig
from wavetank.monitoring.config.values import Duration, Secret

__all__ = [
    "SLACK_POST_URL",
    "DiscordConfig",
    "EmailConfig",
    "MSTeamsConfig",
    "MSTeamsV2Config",
    "OpsGenieConfig",
    "PagerdutyConfig",
    "PushoverConfig",
    "ReceiverConfig",
    "SlackConfig",
    "TelegramConfig",
    "VictorOpsConfig",
    "WebexConfig",
    "WebhookConfig",
    "canonical_header",
    "check_receiver",
    "integrations",
]


class WebhookConfig(Notifier, forbid_unknown_fields=True, frozen=True, kw_only=True):
    url: Secret = Secret()
    url_file: str = ""
    max_alerts: int = 0
    timeout: Duration = Duration(0)
    payload: Any = None


class ThreadingConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    enabled: bool = False
    thread_by_date: str = ""


class EmailConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    send_resolved: bool = False
    to: str = ""
    from_: str = msgspec.field(name="from", default="")
    hello: str = ""
    smarthost: str = ""
    auth_username: str = ""
    auth_password: Secret = Secret()
    auth_password_file: str = ""
    auth_secret: Secret = Secret()
    auth_secret_file: str = ""
    auth_identity: str = ""
    headers: dict[str, str] = {}
    html: str = template("email.default.html")
    text: str = ""
    require_tls: bool | None = None
    tls_config: TLSConfig | None = None
    force_implicit_tls: bool | None = None
    threading: ThreadingConfig = ThreadingConfig()


class SlackConfirmation(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    text: str = ""
    title: str = ""
    ok_text: str = ""
    dismiss_text: str = ""


class SlackAction(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    type: str = ""
    text: str = ""
    url: str = ""
    style: str = ""
    name: str = ""
    value: str = ""
    confirm: SlackConfirmation | None = None


class SlackField(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    title: str = ""
    value: str = ""
    short: bool | None = None


class SlackConfig(Notifier, forbid_unknown_fields=True, frozen=True, kw_only=True):
    send_resolved: bool = False
    api_url: Secret = Secret()
    api_url_file: str = ""
    app_token: Secret = Secret()
    app_token_file: str = ""
    app_url: str = ""
    channel: str = ""
    username: str = template("slack.default.username")
    color: str = template("slack.default.color")
    title: str = template("slack.default.title")
    title_link: str = template("slack.default.titlelink")
    pretext: str = template("slack.default.pretext")
    text: str = template("slack.default.text")
    message_text: str = ""
    fields: list[SlackField] = []
    short_fields: bool = False
    footer: str = template("slack.default.footer")
    fallback: str = template("slack.default.fallback")
    callback_id: str = template("slack.default.callbackid")
    icon_emoji: str = template("slack.default.iconemoji")
    icon_url: str = template("slack.default.iconurl")
    image_url: str = ""
    thumb_url: str = ""
    link_names: bool = False
    mrkdwn_in: list[str] = []
    actions: list[SlackAction] = []
    update_message: bool = False
    timeout: Duration = Duration(0)


class PagerdutyLink(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    href: str = ""
    text: str = ""


class PagerdutyImage(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    src: str = ""
    alt: str = ""
    href: str = ""


class PagerdutyConfig(Notifier, forbid_unknown_fields=True, frozen=True, kw_only=True):
    service_key: Secret = Secret()
    service_key_file: str = ""
    routing_key: Secret = Secret()
    routing_key_file: str = ""
    url: str = ""
    client: str = template("pagerduty.default.client")
    client_url: str = template("pagerduty.default.clientURL")
    description: str = template("pagerduty.default.description")
    details: dict[str, Any] = {}
    images: list[PagerdutyImage] = []
    links: list[PagerdutyLink] = []
    source: str = ""
    severity: str = ""
    class_: str = msgspec.field(name="class", default="")
    component: str = ""
    group: str = ""
    timeout: Duration = Duration(0)


class OpsGenieResponder(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    id: str = ""
    name: str = ""
    username: str = ""
    type: str = ""


class OpsGenieConfig(Notifier, forbid_unknown_fields=True, frozen=True, kw_only=True):
    api_key: Secret = Secret()
    api_key_file: str = ""
    api_url: str = ""
    message: str = template("opsgenie.default.message")
    description: str = template("opsgenie.default.description")
    source: str = template("opsgenie.default.source")
    details: dict[str, str] = {}
    entity: str = ""
    responders: list[OpsGenieResponder] = []
    actions: str = ""
    tags: str = ""
    note: str = ""
    priority: str = ""
    update_alerts: bool = False


class TelegramConfig(Notifier, forbid_unknown_fields=True, frozen=True, kw_only=True):
    api_url: str = ""
    bot_token: Secret = Secret()
    bot_token_file: str = ""
    chat_id: int = 0
    chat_id_file: str = ""
    message_thread_id: int = 0
    message: str = template("telegram.default.message")
    disable_notifications: bool = False
    parse_mode: str = "HTML"


class DiscordConfig(Notifier, forbid_unknown_fields=True, frozen=True, kw_only=True):
    webhook_url: Secret = Secret()
    webhook_url_file: str = ""
    content: str = ""
    title: str = template("discord.default.title")
    message: str = template("discord.default.message")
    username: str = ""
    avatar_url: str = ""


class MSTeamsConfig(Notifier, forbid_unknown_fields=True, frozen=True, kw_only=True):
    webhook_url: Secret = Secret()
    webhook_url_file: str = ""
    title: str = template("msteams.default.title")
    summary: str = template("msteams.default.summary")
    text: str = template("msteams.default.text")


class MSTeamsV2Config(Notifier, forbid_unknown_fields=True, frozen=True, kw_only=True):
    webhook_url: Secret = Secret()
    webhook_url_file: str = ""
    title: str = template("msteamsv2.default.title")
    text: str = template("msteamsv2.default.text")


class VictorOpsConfig(Notifier, forbid_unknown_fields=True, frozen=True, kw_only=True):
    api_key: Secret = Secret()
    api_key_file: str = ""
    api_url: str = ""
    routing_key: str = ""
    message_type: str = "CRITICAL"
    state_message: str = template("victorops.default.state_message")
    entity_display_name: str = template("victorops.default.entity_display_name")
    monitoring_tool: str = template("victorops.default.monitoring_tool")
    custom_fields: dict[str, str] = {}


class PushoverConfig(Notifier, forbid_unknown_fields=True, frozen=True, kw_only=True):
    user_key: Secret = Secret()
    user_key_file: str = ""
    token: Secret = Secret()
    token_file: str = ""
    title: str = template("pushover.default.title")
    message: str = template("pushover.default.message")
    url: str = template("pushover.default.url")
    url_title: str = ""
    device: str = ""
    sound: str = ""
    priority: str = '{{ if eq .Status "firing" }}2{{ else }}0{{ end }}'
    retry: Duration = Duration(60_000)
    expire: Duration = Duration(3_600_000)
    ttl: Duration = Duration(0)
    html: bool = False
    monospace: bool = False


class WebexConfig(Notifier, forbid_unknown_fields=True, frozen=True, kw_only=True):
    api_url: str = ""
    message: str = template("webex.default.message")
    room_id: str = ""


class ReceiverConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A named receiver: every list is of integrations that each get every notification."""

    name: str = ""
    labels: dict[str, str] = {}
    discord_configs: list[DiscordConfig] = []
    email_configs: list[EmailConfig] = []
    pagerduty_configs: list[PagerdutyConfig] = []
    slack_configs: list[SlackConfig] = []
    webhook_configs: list[WebhookConfig] = []
    opsgenie_configs: list[OpsGenieConfig] = []
    pushover_configs: list[PushoverConfig] = []
    victorops_configs: list[VictorOpsConfig] = []
    telegram_configs: list[TelegramConfig] = []
    webex_configs: list[WebexConfig] = []
    msteams_configs: list[MSTeamsConfig] = []
    msteamsv2_configs: list[MSTeamsV2Config] = []
    incidentio_configs: list[IncidentioConfig] = []
    jira_configs: list[JiraConfig] = []
    mattermost_configs: list[MattermostConfig] = []
    rocketchat_configs: list[RocketchatConfig] = []
    sns_configs: list[SNSConfig] = []
    wechat_configs: list[WechatConfig] = []


SLACK_POST_URL: Final = "https://slack.com/api/chat.postMessage"
_RESPONDERS: Final = ("team", "teams", "user", "escalation", "schedule")
_RESERVED_FIELDS: Final = (
    "routing_key",
    "message_type",
    "state_message",
    "entity_display_name",
    "monitoring_tool",
    "entity_id",
    "entity_state",
)


def check_receiver(config: msgspec.Struct) -> None:
    """Raises ValueError, in upstream's words, for one integration's section."""
    if (check := _CHECKS.get(type(config))) is not None:
        check(config)


def _webhook(config: WebhookConfig) -> None:
    one_of(config, "url", "url_file", needed=True)
    if config.max_alerts < 0:
        raise ValueError(f"max_alerts cannot be negative, got {config.max_alerts}")


def _webhook_url(config: DiscordConfig | MSTeamsConfig | MSTeamsV2Config) -> None:
    one_of(config, "webhook_url", "webhook_url_file", needed=True)


def _email(config: EmailConfig) -> None:
    if not config.to:
        raise ValueError("missing to address in email config")
    seen = set()
    for name in config.headers:
        header = canonical_header(name)
        if header in seen:
            raise ValueError(f'duplicate header "{header}" in email config')
        seen.add(header)
    if config.threading.enabled:
        for header in ("References", "In-Reply-To"):
            if header in seen:
                raise ValueError(
                    f"conflicting configuration: threading.enabled conflicts with custom {header} header"
                )
        if config.threading.thread_by_date not in ("none", "daily"):
            raise ValueError("threading.thread_by_date must be either 'none' or 'daily'")


def canonical_header(name: str) -> str:
    """As Go writes header names: ``in-reply-to`` becomes ``In-Reply-To``."""
    return "-".join(part.capitalize() for part in name.split("-"))


def _slack(config: SlackConfig) -> None:
    one_of(config, "api_url", "api_url_file")
    one_of(config, "app_token", "app_token_file")
    if (config.api_url or config.api_url_file) and (config.app_token or config.app_token_file):
        raise ValueError("at most one of api_url/api_url_file & app_token/app_token_file must be configured")
    if config.update_message and config.api_url.reveal() != SLACK_POST_URL:
        raise ValueError(
            f"update_message can only be used with bot tokens. api_url must be set to {SLACK_POST_URL}"
        )
    for field in config.fields:
        if not field.title:
            raise ValueError("missing title in Slack field configuration")
        if not field.value:
            raise ValueError("missing value in Slack field configuration")
    for action in config.actions:
        _slack_action(action)


def _slack_action(action: SlackAction) -> None:
    if not action.type:
        raise ValueError("missing type in Slack action configuration")
    if not action.text:
        raise ValueError("missing text in Slack action configuration")
    if not action.url and not action.name:
        raise ValueError("missing name or url in Slack action configuration")
    if action.confirm is not None and not action.confirm.text:
        raise ValueError("missing text in Slack confirmation configuration")


def _pagerduty(config: PagerdutyConfig) -> None:
    keys = (config.routing_key, config.service_key, config.routing_key_file, config.service_key_file)
    if not any(keys):
        raise ValueError("missing service or routing key in PagerDuty config")
    one_of(config, "routing_key", "routing_key_file")
    one_of(config, "service_key", "service_key_file")


def _opsgenie(config: OpsGenieConfig) -> None:
    one_of(config, "api_key", "api_key_file")
    for responder in config.responders:
        shown = f"{{{responder.id} {responder.name} {responder.username} {responder.type}}}"
        if not (responder.id or responder.username or responder.name):
            raise ValueError(
                f"opsGenieConfig responder {shown} has to have at least one of id, username or name specified"
            )
        if "{{" not in responder.type and responder.type.lower() not in _RESPONDERS:
            raise ValueError(
                f"opsGenieConfig responder {shown} type does not match valid options "
                f"^({'|'.join(_RESPONDERS)})$"
            )


def _telegram(config: TelegramConfig) -> None:
    one_of(config, "bot_token", "bot_token_file")
    if not config.chat_id and not config.chat_id_file:
        raise ValueError("missing chat_id or chat_id_file on telegram_config")
    one_of(config, "chat_id", "chat_id_file")
    if config.parse_mode not in ("", "Markdown", "MarkdownV2", "HTML"):
        raise ValueError(
            "unknown parse_mode on telegram_config, must be Markdown, MarkdownV2, HTML or empty string"
        )


def _victorops(config: VictorOpsConfig) -> None:
    if not config.routing_key:
        raise ValueError("missing Routing key in VictorOps config")
    one_of(config, "api_key", "api_key_file")
    for name in _RESERVED_FIELDS:
        if name in config.custom_fields:
            raise ValueError(
                f"victorOps config contains custom field {name} which cannot be used as it conflicts "
                "with the fixed/static fields"
            )


def _pushover(config: PushoverConfig) -> None:
    one_of(config, "user_key", "user_key_file", needed=True)
    one_of(config, "token", "token_file", needed=True)
    if config.html and config.monospace:
        raise ValueError("at most one of monospace & html must be configured")


def _webex(config: WebexConfig) -> None:
    if not config.room_id:
        raise ValueError("missing room_id on webex_config")
    if config.http_config is None or config.http_config.authorization is None:
        raise ValueError("missing webex_configs.http_config.authorization")


_CHECKS: Final[dict[type, Callable[[Any], None]]] = {
    DiscordConfig: _webhook_url,
    EmailConfig: _email,
    MSTeamsConfig: _webhook_url,
    MSTeamsV2Config: _webhook_url,
    OpsGenieConfig: _opsgenie,
    PagerdutyConfig: _pagerduty,
    PushoverConfig: _pushover,
    SlackConfig: _slack,
    TelegramConfig: _telegram,
    VictorOpsConfig: _victorops,
    WebexConfig: _webex,
    WebhookConfig: _webhook,
    **SERVICE_CHECKS,
}


def integrations(receiver: ReceiverConfig) -> Sequence[tuple[str, int, Any]]:
    """(upstream's name of the integration, its index, its section) of all that a receiver has."""
    found = []
    for field in ReceiverConfig.__struct_fields__:
        if field.endswith("_configs"):
            name = field.removesuffix("_configs")
            found += [(name, index, section) for index, section in enumerate(getattr(receiver, field))]
    return found
