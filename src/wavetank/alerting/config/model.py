"""The sections of ``alertmanager.yml`` but for the receivers' own."""

from __future__ import annotations

from typing import Any

import msgspec

from wavetank.alerting.config.receivers import ReceiverConfig
from wavetank.alerting.intervals import IntervalConfig
from wavetank.monitoring.config.http import HTTPClientConfig, TLSConfig
from wavetank.monitoring.config.model import Tracing
from wavetank.monitoring.config.values import Duration, Secret

__all__ = ["AlertmanagerConfig", "GlobalConfig", "InhibitRuleConfig", "NamedIntervals", "RouteConfig"]


class GlobalConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    resolve_timeout: Duration = Duration(300_000)
    http_config: HTTPClientConfig | None = None
    jira_api_url: str = ""
    smtp_from: str = ""
    smtp_hello: str = "localhost"
    smtp_smarthost: str = ""
    smtp_auth_username: str = ""
    smtp_auth_password: Secret = Secret()
    smtp_auth_password_file: str = ""
    smtp_auth_secret: Secret = Secret()
    smtp_auth_secret_file: str = ""
    smtp_auth_identity: str = ""
    smtp_require_tls: bool = True
    smtp_tls_config: TLSConfig | None = None
    smtp_force_implicit_tls: bool | None = None
    slack_api_url: Secret = Secret()
    slack_api_url_file: str = ""
    slack_app_token: Secret = Secret()
    slack_app_token_file: str = ""
    slack_app_url: str = "https://slack.com/api/chat.postMessage"
    pagerduty_url: str = "https://events.pagerduty.com/v2/enqueue"
    opsgenie_api_url: str = "https://api.opsgenie.com/"
    opsgenie_api_key: Secret = Secret()
    opsgenie_api_key_file: str = ""
    wechat_api_url: str = "https://qyapi.weixin.qq.com/cgi-bin/"
    wechat_api_secret: Secret = Secret()
    wechat_api_secret_file: str = ""
    wechat_api_corp_id: str = ""
    victorops_api_url: str = "https://alert.victorops.com/integrations/generic/20131114/alert/"
    victorops_api_key: Secret = Secret()
    victorops_api_key_file: str = ""
    telegram_api_url: str = "https://api.telegram.org"
    telegram_bot_token: Secret = Secret()
    telegram_bot_token_file: str = ""
    webex_api_url: str = "https://webexapis.com/v1/messages"
    rocketchat_api_url: str = "https://open.rocket.chat/"
    rocketchat_token: Secret = Secret()
    rocketchat_token_file: str = ""
    rocketchat_token_id: Secret = Secret()
    rocketchat_token_id_file: str = ""
    mattermost_webhook_url: Secret = Secret()
    mattermost_webhook_url_file: str = ""


class RouteConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    receiver: str = ""
    group_by: list[str] | None = None
    match: dict[str, str] = {}
    match_re: dict[str, str] = {}
    matchers: list[str] = []
    mute_time_intervals: list[str] = []
    active_time_intervals: list[str] = []
    continue_: bool = msgspec.field(name="continue", default=False)
    routes: list[RouteConfig] = []
    group_wait: Duration | None = None
    group_interval: Duration | None = None
    repeat_interval: Duration | None = None
    labels: dict[str, str] = {}


class InhibitRuleConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    name: str = ""
    source_match: dict[str, str] = {}
    source_match_re: dict[str, str] = {}
    source_matchers: list[str] = []
    target_match: dict[str, str] = {}
    target_match_re: dict[str, str] = {}
    target_matchers: list[str] = []
    equal: list[str] = []


class NamedIntervals(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    name: str = ""
    time_intervals: list[IntervalConfig] = []


class AlertmanagerConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    globals: GlobalConfig = msgspec.field(name="global", default=GlobalConfig())
    route: RouteConfig | None = None
    inhibit_rules: list[InhibitRuleConfig] = []
    receivers: list[ReceiverConfig] = []
    templates: list[str] = []
    mute_time_intervals: list[NamedIntervals] = []
    time_intervals: list[NamedIntervals] = []
    tracing: Tracing | None = None
    event_recorder: dict[str, Any] = {}
