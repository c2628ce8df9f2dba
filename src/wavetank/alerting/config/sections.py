"""What a receiver's section takes from ``global``. Mirrors UnmarshalYAML of config/config.go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from wavetank.alerting.config.model import GlobalConfig
from wavetank.alerting.config.receivers import (
    EmailConfig,
    MSTeamsV2Config,
    OpsGenieConfig,
    PagerdutyConfig,
    SlackConfig,
    TelegramConfig,
    VictorOpsConfig,
    WebexConfig,
)
from wavetank.alerting.config.services import (
    IncidentioConfig,
    JiraConfig,
    MattermostConfig,
    RocketchatConfig,
    WechatConfig,
)
from wavetank.monitoring.config.http import Authorization, HTTPClientConfig, TLSConfig
from wavetank.monitoring.config.values import Secret

__all__ = ["complete"]

_replace = msgspec.structs.replace
_DETAILS: Final = {
    "firing": "{{ .Alerts.Firing | toJson }}",
    "resolved": "{{ .Alerts.Resolved | toJson }}",
    "num_firing": "{{ .Alerts.Firing | len }}",
    "num_resolved": "{{ .Alerts.Resolved | len }}",
}


def complete(section: Any, globals_: GlobalConfig) -> Any:
    """A copy with all values. Raises ValueError, in upstream's words, for what nobody gives."""
    if isinstance(section, EmailConfig):
        return _email(section, globals_)
    http = section.http_config
    if http is None:
        http = globals_.http_config or HTTPClientConfig()
    elif isinstance(section, MSTeamsV2Config) and not http.proxy_url and globals_.http_config is not None:
        http = _replace(http, proxy_url=globals_.http_config.proxy_url)
    section = _replace(section, http_config=http)
    finish = _FINISH.get(type(section))
    return section if finish is None else finish(section, globals_)


def _slashed(url: str) -> str:
    return url if url.endswith("/") else url + "/"


def _email(section: EmailConfig, g: GlobalConfig) -> EmailConfig:
    smarthost = section.smarthost or g.smtp_smarthost
    if not smarthost:
        raise ValueError("no global SMTP smarthost set")
    host, colon, port = smarthost.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")):
        raise ValueError(f"address {smarthost}: missing port in address")
    if not port:
        raise ValueError(f'address "{smarthost}": port cannot be empty')
    sender = section.from_ or g.smtp_from
    if not sender:
        raise ValueError("no global SMTP from set")
    own_password = bool(section.auth_password or section.auth_password_file)
    own_secret = bool(section.auth_secret or section.auth_secret_file)
    tls_first = section.force_implicit_tls
    return _replace(
        section,
        smarthost=smarthost,
        from_=sender,
        hello=section.hello or g.smtp_hello,
        tls_config=section.tls_config or g.smtp_tls_config or TLSConfig(),
        auth_username=section.auth_username or g.smtp_auth_username,
        auth_identity=section.auth_identity or g.smtp_auth_identity,
        auth_password=section.auth_password if own_password else g.smtp_auth_password,
        auth_password_file=section.auth_password_file if own_password else g.smtp_auth_password_file,
        auth_secret=section.auth_secret if own_secret else g.smtp_auth_secret,
        auth_secret_file=section.auth_secret_file if own_secret else g.smtp_auth_secret_file,
        require_tls=g.smtp_require_tls if section.require_tls is None else section.require_tls,
        force_implicit_tls=g.smtp_force_implicit_tls if tls_first is None else tls_first,
    )


def _slack(section: SlackConfig, g: GlobalConfig) -> SlackConfig:
    http = section.http_config or HTTPClientConfig()
    token, token_file = section.app_token, section.app_token_file
    if not token and not token_file and http.authorization is None and not section.api_url:
        token, token_file = g.slack_app_token, g.slack_app_token_file
    url, url_file = section.api_url, section.api_url_file
    if not url and not url_file:
        url, url_file = g.slack_api_url, g.slack_api_url_file
    if not (url or url_file or token or token_file):
        raise ValueError("no Slack API URL nor App token set either inline or in a file")
    if token or token_file:
        if http.authorization is not None:
            raise ValueError("http authorization can't be set when using Slack App tokens")
        http = _replace(http, authorization=Authorization(credentials=token, credentials_file=token_file))
        url, url_file = Secret(section.app_url or g.slack_app_url), ""
    return _replace(section, api_url=url, api_url_file=url_file, http_config=http)


def _pagerduty(section: PagerdutyConfig, g: GlobalConfig) -> PagerdutyConfig:
    return _replace(
        section,
        url=section.url or g.pagerduty_url,
        source=section.source or section.client,
        details={**_DETAILS, **section.details},
    )


def _opsgenie(section: OpsGenieConfig, g: GlobalConfig) -> OpsGenieConfig:
    key, key_file = section.api_key or g.opsgenie_api_key, section.api_key_file or g.opsgenie_api_key_file
    if not key and not key_file:
        raise ValueError("no global OpsGenie API Key set either inline or in a file")
    url = _slashed(section.api_url or g.opsgenie_api_url)
    return _replace(section, api_url=url, api_key=key, api_key_file=key_file)


def _victorops(section: VictorOpsConfig, g: GlobalConfig) -> VictorOpsConfig:
    key, key_file = section.api_key or g.victorops_api_key, section.api_key_file or g.victorops_api_key_file
    if not key and not key_file:
        raise ValueError("no global VictorOps API Key set")
    url = _slashed(section.api_url or g.victorops_api_url)
    return _replace(section, api_url=url, api_key=key, api_key_file=key_file)


def _telegram(section: TelegramConfig, g: GlobalConfig) -> TelegramConfig:
    token, token_file = section.bot_token, section.bot_token_file
    if not token and not token_file:
        token, token_file = g.telegram_bot_token, g.telegram_bot_token_file
    if not token and not token_file:
        raise ValueError("missing bot_token or bot_token_file on telegram_config")
    url = section.api_url or g.telegram_api_url
    return _replace(section, api_url=url, bot_token=token, bot_token_file=token_file)


def _webex(section: WebexConfig, g: GlobalConfig) -> WebexConfig:
    return _replace(section, api_url=section.api_url or g.webex_api_url)


def _incidentio(section: IncidentioConfig, g: GlobalConfig) -> IncidentioConfig:
    if not section.alert_source_token and not section.alert_source_token_file:
        return section
    token = Authorization(
        credentials=section.alert_source_token, credentials_file=section.alert_source_token_file
    )
    return _replace(
        section, http_config=_replace(section.http_config or HTTPClientConfig(), authorization=token)
    )


def _jira(section: JiraConfig, g: GlobalConfig) -> JiraConfig:
    url = section.api_url or g.jira_api_url
    if not url:
        raise ValueError("no global Jira Cloud URL set")
    return _replace(section, api_url=url.rstrip("/"))


def _mattermost(section: MattermostConfig, g: GlobalConfig) -> MattermostConfig:
    url, file = section.webhook_url, section.webhook_url_file
    if not url and not file:
        url, file = g.mattermost_webhook_url, g.mattermost_webhook_url_file
    if not url and not file:
        raise ValueError("missing webhook_url or webhook_url_file on mattermost_config")
    return _replace(section, webhook_url=url, webhook_url_file=file)


def _rocketchat(section: RocketchatConfig, g: GlobalConfig) -> RocketchatConfig:
    id_, id_file = section.token_id, section.token_id_file
    if not id_ and not id_file:
        id_, id_file = g.rocketchat_token_id, g.rocketchat_token_id_file
    token, token_file = section.token, section.token_file
    if not token and not token_file:
        token, token_file = g.rocketchat_token, g.rocketchat_token_file
    if not id_ and not id_file:
        raise ValueError("no global Rocketchat TokenID set either inline or in a file")
    if not token and not token_file:
        raise ValueError("no global Rocketchat Token set either inline or in a file")
    return _replace(
        section,
        api_url=_slashed(section.api_url or g.rocketchat_api_url),
        token_id=id_,
        token_id_file=id_file,
        token=token,
        token_file=token_file,
    )


def _wechat(section: WechatConfig, g: GlobalConfig) -> WechatConfig:
    key, key_file = section.api_secret, section.api_secret_file
    if not key and not key_file:
        key, key_file = g.wechat_api_secret, g.wechat_api_secret_file
    if not key and not key_file:
        raise ValueError("no global Wechat Api Secret set either inline or in a file")
    corp_id = section.corp_id or g.wechat_api_corp_id
    if not corp_id:
        raise ValueError("no global Wechat CorpID set")
    url = _slashed(section.api_url or g.wechat_api_url)
    return _replace(section, api_url=url, api_secret=key, api_secret_file=key_file, corp_id=corp_id)


_FINISH: Final[dict[type, Callable[[Any, GlobalConfig], Any]]] = {
    IncidentioConfig: _incidentio,
    JiraConfig: _jira,
    MattermostConfig: _mattermost,
    OpsGenieConfig: _opsgenie,
    PagerdutyConfig: _pagerduty,
    RocketchatConfig: _rocketchat,
    SlackConfig: _slack,
    TelegramConfig: _telegram,
    VictorOpsConfig: _victorops,
    WebexConfig: _webex,
    WechatConfig: _wechat,
}
