# ruff: noqa: RUF012 -- msgspec gives every instance its own copy of an empty default
"""The sections of the receivers that came to Alertmanager later or speak to one vendor's service:
incident.io, Jira, Mattermost, Rocket.Chat, Amazon SNS, WeChat.

Mirrors notify/{incidentio,jira,mattermost,rocketchat,sns}/config.go and WechatConfig. Of SNS, assumed roles
and profiles are left out: keys are given in the section or in AWS' environment variables.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from wavetank.alerting.config.notifier import Notifier, one_of, template
from wavetank.monitoring.config.values import Duration, Secret

__all__ = [
    "SERVICE_CHECKS",
    "IncidentioConfig",
    "JiraConfig",
    "JiraField",
    "MattermostAttachment",
    "MattermostConfig",
    "RocketchatConfig",
    "SNSConfig",
    "WechatConfig",
]


class IncidentioConfig(Notifier, forbid_unknown_fields=True, frozen=True, kw_only=True):
    url: str = ""
    url_file: str = ""
    alert_source_token: Secret = Secret()
    alert_source_token_file: str = ""
    max_alerts: int = 0
    timeout: Duration = Duration(0)


class JiraField(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    template: str = ""
    enable_update: bool = True


class JiraConfig(Notifier, forbid_unknown_fields=True, frozen=True, kw_only=True):
    api_url: str = ""
    api_type: str = "auto"
    project: str = ""
    summary: str | JiraField = template("jira.default.summary")
    description: str | JiraField = template("jira.default.description")
    labels: list[str] = []
    priority: str = template("jira.default.priority")
    issue_type: str = ""
    reopen_transition: str = ""
    resolve_transition: str = ""
    wont_fix_resolution: str = ""
    reopen_duration: Duration = Duration(0)
    fields: dict[str, Any] = {}


class MattermostField(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    title: str = ""
    value: str = ""
    short: bool | None = None


class MattermostAttachment(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    fallback: str = ""
    color: str = ""
    pretext: str = ""
    text: str = ""
    author_name: str = ""
    author_link: str = ""
    author_icon: str = ""
    title: str = ""
    title_link: str = ""
    fields: list[MattermostField] = []
    thumb_url: str = ""
    footer: str = ""
    footer_icon: str = ""
    image_url: str = ""


class MattermostProps(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    card: str = ""


class MattermostPriority(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    priority: str = ""
    requested_ack: bool = False
    persistent_notifications: bool = False


class MattermostConfig(Notifier, forbid_unknown_fields=True, frozen=True, kw_only=True):
    webhook_url: Secret = Secret()
    webhook_url_file: str = ""
    channel: str = ""
    username: str = template("mattermost.default.username")
    text: str = template("mattermost.default.text")
    fallback: str = template("mattermost.default.fallback")
    color: str = template("mattermost.default.color")
    pretext: str = ""
    author_name: str = ""
    author_link: str = ""
    author_icon: str = ""
    title: str = template("mattermost.default.title")
    title_link: str = template("mattermost.default.titlelink")
    fields: list[MattermostField] = []
    thumb_url: str = ""
    footer: str = ""
    footer_icon: str = ""
    image_url: str = ""
    icon_url: str = ""
    icon_emoji: str = ""
    attachments: list[MattermostAttachment] = []
    type: str = ""
    props: MattermostProps = MattermostProps()
    priority: MattermostPriority = MattermostPriority()


class RocketchatField(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    title: str = ""
    value: str = ""
    short: bool | None = None


class RocketchatAction(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    type: str = ""
    text: str = ""
    url: str = ""
    msg: str = ""
    image_url: str = ""
    is_webview: bool = False
    webview_height_ratio: str = ""
    msg_in_chat_window: bool = False
    msg_processing_type: str = ""


class RocketchatConfig(Notifier, forbid_unknown_fields=True, frozen=True, kw_only=True):
    send_resolved: bool = False
    api_url: str = ""
    token_id: Secret = Secret()
    token_id_file: str = ""
    token: Secret = Secret()
    token_file: str = ""
    channel: str = ""
    color: str = '{{ if eq .Status "firing" }}red{{ else }}green{{ end }}'
    title: str = template("rocketchat.default.title")
    title_link: str = template("rocketchat.default.titlelink")
    text: str = template("rocketchat.default.text")
    fields: list[RocketchatField] = []
    short_fields: bool = False
    emoji: str = template("rocketchat.default.emoji")
    icon_url: str = template("rocketchat.default.iconurl")
    image_url: str = ""
    thumb_url: str = ""
    link_names: bool = False
    actions: list[RocketchatAction] = []


class SigV4Config(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    region: str = ""
    access_key: str = ""
    secret_key: Secret = Secret()
    profile: str = ""
    role_arn: str = ""
    external_id: str = ""
    use_fips_sts_endpoint: bool = False


class SNSConfig(Notifier, forbid_unknown_fields=True, frozen=True, kw_only=True):
    api_url: str = ""
    sigv4: SigV4Config = SigV4Config()
    topic_arn: str = ""
    phone_number: str = ""
    target_arn: str = ""
    subject: str = template("sns.default.subject")
    message: str = template("sns.default.message")
    attributes: dict[str, str] = {}
    use_aws_http_client: bool = False


class WechatConfig(Notifier, forbid_unknown_fields=True, frozen=True, kw_only=True):
    send_resolved: bool = False
    api_secret: Secret = Secret()
    api_secret_file: str = ""
    corp_id: str = ""
    message: str = template("wechat.default.message")
    api_url: str = ""
    to_user: str = template("wechat.default.to_user")
    to_party: str = template("wechat.default.to_party")
    to_tag: str = template("wechat.default.to_tag")
    agent_id: str = template("wechat.default.agent_id")
    message_type: str = "text"


def _incidentio(config: IncidentioConfig) -> None:
    one_of(config, "url", "url_file", needed=True)
    one_of(config, "alert_source_token", "alert_source_token_file")
    if config.max_alerts < 0:
        raise ValueError(f"max_alerts cannot be negative, got {config.max_alerts}")
    token = config.alert_source_token or config.alert_source_token_file
    authorized = config.http_config is not None and config.http_config.authorization is not None
    if authorized and token:
        raise ValueError(
            "cannot specify alert_source_token or alert_source_token_file when using "
            "http_config.authorization"
        )
    if config.http_config is not None and not authorized and not token:
        raise ValueError(
            "at least one of alert_source_token, alert_source_token_file or http_config.authorization must "
            "be configured"
        )


def _jira(config: JiraConfig) -> None:
    if not config.project:
        raise ValueError("missing project in jira_config")
    if not config.issue_type:
        raise ValueError("missing issue_type in jira_config")
    if config.api_type not in ("auto", "cloud", "datacenter"):
        raise ValueError("unknown api_type on jira_config, must be auto, cloud or datacenter")


def _mattermost(config: MattermostConfig) -> None:
    one_of(config, "webhook_url", "webhook_url_file")
    for field in [*config.fields, *(f for part in config.attachments for f in part.fields)]:
        if not field.title:
            raise ValueError("missing title in Mattermost field configuration")
        if not field.value:
            raise ValueError("missing value in Mattermost field configuration")


def _rocketchat(config: RocketchatConfig) -> None:
    one_of(config, "token", "token_file")
    one_of(config, "token_id", "token_id_file")


def _sns(config: SNSConfig) -> None:
    # Upstream's words and its condition, which lets all three pass.
    given = [bool(name) for name in (config.target_arn, config.topic_arn, config.phone_number)]
    if sum(given) % 2 == 0:
        raise ValueError("must provide either a Target ARN, Topic ARN, or Phone Number for SNS config")
    keys = config.sigv4
    if bool(keys.access_key) != bool(keys.secret_key):
        raise ValueError("must provide a AWS SigV4 Access key and Secret Key if credentials are specified")
    for name in ("profile", "role_arn", "external_id"):
        if getattr(keys, name):
            raise ValueError(f"sigv4: {name} is not built in: give access_key and secret_key")


def _wechat(config: WechatConfig) -> None:
    if config.message_type not in ("text", "markdown"):
        raise ValueError(
            f'weChat message type "{config.message_type}" does not match valid options ^(text|markdown)$'
        )
    one_of(config, "api_secret", "api_secret_file")


SERVICE_CHECKS: Final[dict[type, Callable[[Any], None]]] = {
    IncidentioConfig: _incidentio,
    JiraConfig: _jira,
    MattermostConfig: _mattermost,
    RocketchatConfig: _rocketchat,
    SNSConfig: _sns,
    WechatConfig: _wechat,
}
