"""Receivers that people read: Slack, Discord, Microsoft Teams, Telegram, Webex.

Mirrors notify/{slack,discord,msteams,msteamsv2,telegram,webex}: what is sent, and what is cut off.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from wavetank.alerting.config.receivers import (
    DiscordConfig,
    MSTeamsConfig,
    MSTeamsV2Config,
    SlackAction,
    SlackConfig,
    TelegramConfig,
    WebexConfig,
)
from wavetank.alerting.receivers.notification import Notification, NotifyError, secret, truncate
from wavetank.alerting.receivers.web import Send, WebAnswer, WebRequest, json_request

__all__ = ["discord", "msteams", "msteamsv2", "slack", "telegram", "webex"]

_SLACK_TITLE: Final = 1024
_SLACK_THREAD: Final = "threadTs"
_SLACK_CHANNEL: Final = "channelId"
_ANSWER_SHOWN: Final = 200
_DISCORD: Final = {"title": 256, "description": 4096, "content": 2000}
_DISCORD_COLORS: Final = {"firing": 0x992D22, "resolved": 0x2ECC71}
_TEAMS_COLORS: Final = {"firing": "8C1A1A", "resolved": "2DC72D"}
_CARD_COLORS: Final = {"firing": "Attention", "resolved": "Good"}
_TELEGRAM_TEXT: Final = 4096
_TELEGRAM_TOO_LONG: Final = (
    "Alertmanager notification could not be sent: message length exceeds Telegram limits.\n"
    "Please check the template used for producing the message content."
)


def _filled(**values: Any) -> dict[str, Any]:
    """Without what is empty, as Go leaves it out."""
    return {name: value for name, value in values.items() if value not in ("", None, [], {})}


async def slack(config: SlackConfig, n: Notification, send: Send) -> None:
    """Post a message; with ``update_message``, change the one that was posted for the group."""
    url = secret(config.api_url, config.api_url_file, "api_url")
    message = _slack_message(config, n)
    known = n.remembered if config.update_message else {}
    if known.get(_SLACK_THREAD) and known.get(_SLACK_CHANNEL):
        url = url.replace("chat.postMessage", "chat.update")
        message |= {"ts": known[_SLACK_THREAD], "channel": known[_SLACK_CHANNEL]}
    answer = await send(json_request(url, message, retry_codes=(429,), check=_slack_check))
    if config.update_message:
        made = answer.decode(_SlackAnswer)
        if made.ts and made.channel:
            n.remembered.update({_SLACK_THREAD: made.ts, _SLACK_CHANNEL: made.channel})


class _SlackAnswer(msgspec.Struct):
    ok: bool = False
    error: str = ""
    ts: str = ""
    channel: str = ""


def _slack_check(answer: WebAnswer) -> None:
    """Slack says in the body of a 200 what went wrong: ``ok`` from webhooks, JSON from its API."""
    if answer.media_type == "application/json":
        said = answer.decode(_SlackAnswer)
        if not said.ok:
            raise NotifyError(f"error response from Slack: {said.error}", retry=False, reason="clientError")
    elif answer.body.strip() != b"ok":
        shown = answer.text()[:_ANSWER_SHOWN]
        text = f"received an error response from Slack: {shown}"
        raise NotifyError(text, retry=False, reason="clientError")


def _slack_message(config: SlackConfig, n: Notification) -> dict[str, Any]:
    text = n.text
    attachment: dict[str, Any] = {
        "text": text(config.text),
        "fallback": text(config.fallback),
        "callback_id": text(config.callback_id),
        "footer": text(config.footer),
        **_filled(
            title=truncate(text(config.title), _SLACK_TITLE),
            title_link=text(config.title_link),
            pretext=text(config.pretext),
            image_url=text(config.image_url),
            thumb_url=text(config.thumb_url),
            color=text(config.color),
            mrkdwn_in=config.mrkdwn_in or ["fallback", "pretext", "text"],
        ),
    }
    if config.fields:
        attachment["fields"] = [
            {
                "title": text(field.title),
                "value": text(field.value),
                "short": config.short_fields if field.short is None else field.short,
            }
            for field in config.fields
        ]
    if config.actions:
        attachment["actions"] = [_slack_action(action, n) for action in config.actions]
    message = _filled(
        channel=text(config.channel),
        username=text(config.username),
        icon_emoji=text(config.icon_emoji),
        icon_url=text(config.icon_url),
        link_names=config.link_names or None,
        text=text(config.message_text),
    )
    return {**message, "attachments": [attachment]}


def _slack_action(action: SlackAction, n: Notification) -> dict[str, Any]:
    made = _filled(type=n.text(action.type), text=n.text(action.text), style=n.text(action.style))
    if action.url:
        return {**made, "url": n.text(action.url)}
    made |= _filled(name=n.text(action.name), value=n.text(action.value))
    if (confirm := action.confirm) is not None:
        made["confirm"] = {
            name: n.text(value) for name, value in msgspec.to_builtins(confirm).items() if value
        }
    return made


def discord(config: DiscordConfig, n: Notification) -> Sequence[WebRequest]:
    embed = {
        "title": truncate(n.text(config.title), _DISCORD["title"]),
        "description": truncate(n.text(config.message), _DISCORD["description"]),
        "color": _DISCORD_COLORS[n.data.status],
    }
    body = {
        "content": truncate(n.text(config.content), _DISCORD["content"]),
        "embeds": [embed],
        **_filled(username=config.username, avatar_url=config.avatar_url),
    }
    return [json_request(secret(config.webhook_url, config.webhook_url_file, "webhook_url"), body)]


def msteams(config: MSTeamsConfig, n: Notification) -> Sequence[WebRequest]:
    body = {
        "@context": "http://schema.org/extensions",
        "type": "MessageCard",
        "title": n.text(config.title),
        "summary": n.text(config.summary),
        "text": n.text(config.text),
        "themeColor": _TEAMS_COLORS[n.data.status],
    }
    return [json_request(secret(config.webhook_url, config.webhook_url_file, "webhook_url"), body)]


def msteamsv2(config: MSTeamsV2Config, n: Notification) -> Sequence[WebRequest]:
    heading = {
        "type": "TextBlock",
        "text": n.text(config.title),
        "weight": "Bolder",
        "size": "Medium",
        "wrap": True,
        "style": "heading",
        "color": _CARD_COLORS[n.data.status],
    }
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.2",
        "body": [heading, {"type": "TextBlock", "text": n.text(config.text), "wrap": True}],
        "msteams": {"width": "full"},
    }
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card,
    }
    url = secret(config.webhook_url, config.webhook_url_file, "webhook_url")
    return [json_request(url, {"type": "message", "attachments": [attachment]})]


def telegram(config: TelegramConfig, n: Notification) -> Sequence[WebRequest]:
    if config.parse_mode == "HTML":
        text = n.html(config.message)
        text = _TELEGRAM_TOO_LONG if len(text) > _TELEGRAM_TEXT else text
    else:
        text = truncate(n.text(config.message), _TELEGRAM_TEXT)
    token = secret(config.bot_token, config.bot_token_file, "bot_token")
    chat = str(config.chat_id)
    if config.chat_id_file:
        chat = secret(type(config.bot_token)(), config.chat_id_file, "chat_id")
        if not chat.lstrip("-").isdigit():
            raise NotifyError(f"chat_id_file does not hold a number: {chat[:40]!r}", retry=False)
    body: dict[str, Any] = {"chat_id": chat, "text": text, "disable_web_page_preview": "true"}
    body |= _filled(parse_mode=config.parse_mode)
    if config.disable_notifications:
        body["disable_notification"] = "true"
    if config.message_thread_id:
        body["message_thread_id"] = str(config.message_thread_id)
    return [json_request(f"{config.api_url.rstrip('/')}/bot{token}/sendMessage", body, retry_codes=(429,))]


def webex(config: WebexConfig, n: Notification) -> Sequence[WebRequest]:
    body = {"markdown": truncate(n.text(config.message), 7439), "roomId": n.text(config.room_id)}
    return [json_request(config.api_url, body)]
