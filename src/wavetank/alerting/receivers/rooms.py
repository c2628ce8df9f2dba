"""Receivers of chat servers that people run themselves, and WeChat: Mattermost, Rocket.Chat.

Mirrors notify/{mattermost,rocketchat,wechat}: what is sent, what is cut off, what answers mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from wavetank.alerting.config.services import (
    MattermostAttachment,
    MattermostConfig,
    RocketchatConfig,
    WechatConfig,
)
from wavetank.alerting.receivers.notification import Notification, NotifyError, secret, truncate
from wavetank.alerting.receivers.web import Send, WebAnswer, WebRequest, json_request

__all__ = ["Wechat", "mattermost", "rocketchat"]

_MATTERMOST_TEXT: Final = 16_383
_MATTERMOST_PRIORITIES: Final = ("urgent", "important", "standard")
_ROCKETCHAT_TITLE: Final = 1024
_WECHAT_TOKEN_SECONDS: Final = 7200.0
_WECHAT_TOKEN_EXPIRED: Final = 42001


def _filled(values: dict[str, Any]) -> dict[str, Any]:
    """Without what is empty, as Go leaves it out."""
    return {name: value for name, value in values.items() if value not in ("", None, [], {}, False)}


def mattermost(config: MattermostConfig, n: Notification) -> Sequence[WebRequest]:
    url = secret(config.webhook_url, config.webhook_url_file, "webhook_url")
    if not url:
        raise NotifyError("webhook url missing", retry=False)
    text = n.text(config.text)
    own = MattermostAttachment(
        **{name: getattr(config, name) for name in MattermostAttachment.__struct_fields__}
    )
    body = {
        "text": truncate(text, _MATTERMOST_TEXT) if config.attachments else "",
        "channel": n.text(config.channel),
        "username": n.text(config.username),
        "icon_url": n.text(config.icon_url),
        "icon_emoji": n.text(config.icon_emoji),
        "attachments": [_attachment(part, n) for part in config.attachments or [own]],
        "type": n.text(config.type),
        "props": _filled({"card": n.text(config.props.card)}),
        "priority": _mattermost_priority(config, n),
    }
    return [json_request(url, _filled(body))]


def _attachment(part: MattermostAttachment, n: Notification) -> dict[str, Any]:
    texts = {
        name: n.text(getattr(part, name))
        for name in MattermostAttachment.__struct_fields__
        if name != "fields"
    }
    fields = [
        {"title": n.text(field.title), "value": n.text(field.value)}
        | ({} if field.short is None else {"short": field.short})
        for field in part.fields
    ]
    return _filled({**texts, "fields": fields})


def _mattermost_priority(config: MattermostConfig, n: Notification) -> dict[str, Any]:
    """An acknowledgement can be asked for above standard, repeated notifications only when urgent."""
    if not config.priority.priority:
        return {}
    level = n.text(config.priority.priority).lower()
    level = level if level in _MATTERMOST_PRIORITIES else "standard"
    return _filled(
        {
            "priority": level,
            "requested_ack": config.priority.requested_ack and level != "standard",
            "persistent_notifications": config.priority.persistent_notifications and level == "urgent",
        }
    )


def rocketchat(config: RocketchatConfig, n: Notification) -> Sequence[WebRequest]:
    text = n.text
    attachment = {
        "title": truncate(text(config.title), _ROCKETCHAT_TITLE),
        "title_link": text(config.title_link),
        "text": text(config.text),
        "image_url": text(config.image_url),
        "thumb_url": text(config.thumb_url),
        "color": text(config.color),
        "fields": [
            {
                **_filled({"title": text(field.title), "value": text(field.value)}),
                "short": config.short_fields if field.short is None else field.short,
            }
            for field in config.fields
        ],
        "actions": [
            {
                **_filled({"text": text(action.text), "url": text(action.url), "msg": text(action.msg)}),
                "type": "button",  # there is no other kind
                "is_webview": False,
                "msg_in_chat_window": False,
            }
            for action in config.actions
        ],
    }
    body = {
        "channel": text(config.channel),
        "emoji": text(config.emoji),
        "avatar": text(config.icon_url),
        "attachments": [_filled(attachment)],
    }
    headers = {
        "X-Auth-Token": secret(config.token, config.token_file, "token"),
        "X-User-Id": secret(config.token_id, config.token_id_file, "token_id"),
    }
    url = f"{config.api_url}api/v1/chat.postMessage"
    return [json_request(url, _filled(body), check=_rocketchat_check, headers=headers)]


class _RocketchatAnswer(msgspec.Struct):
    success: bool = False
    error: str = ""


def _rocketchat_check(answer: WebAnswer) -> None:
    said = answer.decode(_RocketchatAnswer)
    if not said.success:
        text = f"error response from Rocketchat: {said.error}"
        raise NotifyError(text, retry=False, reason="clientError")


class _WechatToken(msgspec.Struct):
    access_token: str = ""


class _WechatAnswer(msgspec.Struct):
    errcode: int = 0
    errmsg: str = ""


class Wechat:
    """Sends to WeChat's work API, with a token that is fetched when there is none of the last two hours."""

    def __init__(self) -> None:
        self._token = ""
        self._token_at = 0.0

    async def __call__(self, config: WechatConfig, n: Notification, send: Send) -> None:
        if not self._token or n.now - self._token_at > _WECHAT_TOKEN_SECONDS:
            self._token = await self._fetch_token(config, n, send)
            self._token_at = n.now
        url = f"{config.api_url}message/send?{urlencode({'access_token': self._token})}"
        answer = await send(json_request(url, _wechat_message(config, n)))
        said = answer.decode(_WechatAnswer)
        if said.errcode == 0:
            return
        expired = said.errcode == _WECHAT_TOKEN_EXPIRED
        if expired:
            self._token = ""
        raise NotifyError(f"error response from WeChat: {said.errmsg}", retry=expired, reason="clientError")

    async def _fetch_token(self, config: WechatConfig, n: Notification, send: Send) -> str:
        query = {
            "corpid": n.text(config.corp_id),
            "corpsecret": n.text(secret(config.api_secret, config.api_secret_file, "api_secret")),
        }
        url = f"{config.api_url}gettoken?{urlencode(query)}"
        answer = await send(WebRequest(url, b"", "GET", {"Content-Type": "application/json"}))
        token = answer.decode(_WechatToken).access_token
        if not token:
            raise NotifyError(f"invalid APISecret for CorpID: {config.corp_id}", retry=False)
        return token


def _wechat_message(config: WechatConfig, n: Notification) -> dict[str, Any]:
    content = {"content": n.text(config.message)}
    return {
        **_filled(
            {
                "touser": n.text(config.to_user),
                "toparty": n.text(config.to_party),
                "totag": n.text(config.to_tag),
                "agentid": n.text(config.agent_id),
            }
        ),
        "safe": "0",
        "msgtype": config.message_type,
        "text": {"content": ""},
        "markdown": {"content": ""},
        config.message_type: content,
    }
