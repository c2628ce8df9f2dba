"""Amazon SNS: a message to a topic, an endpoint or a phone.

Mirrors notify/sns over SNS' query API of 2010-03-31. Keys come from the section, or from AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN; the region also from AWS_REGION.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode

from wavetank.alerting.config.services import SNSConfig
from wavetank.alerting.receivers.notification import Notification, NotifyError
from wavetank.alerting.receivers.sigv4 import AwsKeys, signed_headers
from wavetank.alerting.receivers.web import WebRequest

__all__ = ["sns"]

_MESSAGE_BYTES: Final = 256 * 1024
_SMS_BYTES: Final = 1600
_FORM: Final = "application/x-www-form-urlencoded; charset=utf-8"


def sns(config: SNSConfig, n: Notification) -> Sequence[WebRequest]:
    region = config.sigv4.region or os.environ.get("AWS_REGION", "")
    if not region:
        text = "region not configured in sns.sigv4.region or in AWS_REGION"
        raise NotifyError(text, retry=False, reason="clientError")
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    url = n.text(config.api_url) or f"https://sns.{region}.{domain}/"
    body = urlencode(_fields(config, n)).encode()
    headers = signed_headers(
        "POST",
        url,
        {"Content-Type": _FORM},
        body,
        keys=_keys(config),
        region=region,
        service="sns",
        now=n.now,
    )
    return [WebRequest(url, body, headers=headers)]


def _keys(config: SNSConfig) -> AwsKeys:
    if config.sigv4.access_key:
        return AwsKeys(config.sigv4.access_key, config.sigv4.secret_key.reveal())
    found = [os.environ.get(f"AWS_{name}", "") for name in _VARIABLES]
    if not found[0] or not found[1]:
        text = "no AWS keys: neither in sns.sigv4 nor in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        raise NotifyError(text, retry=False, reason="clientError")
    return AwsKeys(*found)


_VARIABLES: Final = ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN")


def _fields(config: SNSConfig, n: Notification) -> dict[str, str]:
    found = {"Action": "Publish", "Version": "2010-03-31"}
    limit = _MESSAGE_BYTES
    if config.topic_arn:
        topic = found["TopicArn"] = n.text(config.topic_arn)
        if topic.endswith(".fifo"):
            found |= {"MessageDeduplicationId": n.key_hash, "MessageGroupId": n.key_hash}
    if config.phone_number:
        found["PhoneNumber"] = n.text(config.phone_number)
        limit = _SMS_BYTES
    if config.target_arn:
        found["TargetArn"] = n.text(config.target_arn)
    attributes = {n.text(name): n.text(value) for name, value in config.attributes.items()}
    message = n.text(config.message)
    if len(message.encode()) > limit:
        message = message.encode()[:limit].decode("utf-8", "ignore")
        attributes["truncated"] = "true"
    found["Message"] = message
    if config.subject:
        found["Subject"] = n.text(config.subject)
    for i, (name, value) in enumerate(attributes.items(), 1):
        entry = f"MessageAttributes.entry.{i}"
        found[f"{entry}.Name"] = name
        found[f"{entry}.Value.DataType"] = "String"
        found[f"{entry}.Value.StringValue"] = value
    return found
