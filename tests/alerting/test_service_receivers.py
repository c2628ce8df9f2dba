"""Receivers of one vendor's service: what is asked, what is told, what their answers mean."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qs

import pytest
from alerting_rig import Sink
from delivery import ALERTS, NOW, deliver, notification
from msgspec.structs import replace

from wavetank.alerting.config import parse_config
from wavetank.alerting.config.services import WechatConfig
from wavetank.alerting.receivers.chat import slack
from wavetank.alerting.receivers.notification import NotifyError
from wavetank.alerting.receivers.rooms import Wechat
from wavetank.alerting.receivers.sigv4 import AwsKeys, signed_headers
from wavetank.alerting.receivers.web import WebAnswer, WebRequest

RESOLVED = notification(replace(ALERTS[0], ends_at=NOW - 1))


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ({"ok": False, "error": "channel_not_found"}, "error response from Slack: channel_not_found"),
        ("no_team", "received an error response from Slack: no_team"),
    ],
)
async def test_slack_says_in_a_200_what_went_wrong(sink: Sink, reply: object, error: str) -> None:
    sink.replies["/s"] = reply
    with pytest.raises(NotifyError, match=error) as caught:
        await deliver(f"slack_configs: [{{api_url: '{sink.url}/s'}}]")
    assert (caught.value.retry, caught.value.reason) == (False, "clientError")


async def test_slack_changes_the_message_it_posted() -> None:
    text = "api_url: 'https://slack.com/api/chat.postMessage', update_message: true, channel: '#c'"
    config = parse_config(f"route: {{receiver: r}}\nreceivers: [{{name: r, slack_configs: [{{{text}}}]}}]")
    sent: list[WebRequest] = []

    async def send(request: WebRequest) -> WebAnswer:
        sent.append(request)
        return WebAnswer(200, "application/json", b'{"ok":true,"ts":"1.2","channel":"C7"}')

    n = notification()
    section = config.receivers[0].slack_configs[0]
    await slack(section, n, send)
    assert n.remembered == {"threadTs": "1.2", "channelId": "C7"}
    await slack(section, n, send)
    assert [r.url.rpartition("/")[2] for r in sent] == ["chat.postMessage", "chat.update"]
    assert b'"channel":"#c"' in sent[0].body
    assert b'"channel":"C7"' in sent[1].body
    assert b'"ts":"1.2"' in sent[1].body


async def test_mattermost(sink: Sink) -> None:
    await deliver(
        f"mattermost_configs: [{{webhook_url: '{sink.url}/m', channel: c, "
        "fields: [{title: t, value: '{{ .Status }}', short: true}], "
        "priority: {priority: Important, requested_ack: true, persistent_notifications: true}}]"
    )
    (body,) = sink.bodies("/m")
    (attachment,) = body["attachments"]
    assert "Alerts Firing" in attachment["text"]
    assert attachment["fields"] == [{"title": "t", "value": "firing", "short": True}]
    assert body["priority"] == {"priority": "important", "requested_ack": True}
    assert "text" not in body


async def test_mattermost_with_attachments_of_ones_own(sink: Sink) -> None:
    await deliver(
        f"mattermost_configs: [{{webhook_url: '{sink.url}/m', text: '{'x' * 17000}', "
        "attachments: [{title: '{{ .Status }}'}]}]"
    )
    (body,) = sink.bodies("/m")
    assert len(body["text"]) == 16383
    assert body["attachments"] == [{"title": "firing"}]


async def test_rocketchat(sink: Sink) -> None:
    section = (
        f"rocketchat_configs: [{{api_url: '{sink.url}', token: t, token_id: i, channel: '#c', "
        "short_fields: true, fields: [{title: a, value: b}], actions: [{text: Go, url: 'http://x'}]}]"
    )
    sink.replies["/api/v1/chat.postMessage"] = {"success": True}
    await deliver(section)
    ((_, _, headers, body),) = sink.requests
    assert (headers["X-Auth-Token"], headers["X-User-Id"]) == ("t", "i")
    (attachment,) = body["attachments"]
    assert attachment["color"] == "red"
    assert attachment["fields"] == [{"title": "a", "value": "b", "short": True}]
    assert attachment["actions"][0]["type"] == "button"
    sink.replies["/api/v1/chat.postMessage"] = {"success": False, "error": "no room"}
    with pytest.raises(NotifyError, match="error response from Rocketchat: no room"):
        await deliver(section)


async def test_incidentio(sink: Sink) -> None:
    await deliver(f"incidentio_configs: [{{url: '{sink.url}/i', alert_source_token: t, max_alerts: 1}}]")
    ((_, _, headers, body),) = sink.requests
    assert headers["Authorization"] == "Bearer t"
    assert (body["version"], body["truncatedAlerts"], len(body["alerts"])) == ("1", 1, 1)
    assert body["groupKey"] == notification().key


JIRA = (
    "jira_configs: [{{api_url: '{url}/rest/api/2', project: P, issue_type: Bug, labels: [z], {more} "
    "reopen_transition: Again, reopen_duration: 1h, resolve_transition: Finish, fields: {{x: '{{{{ .Status }}}}'}}}}]"
)


def jira(sink: Sink, more: str = "") -> str:
    return JIRA.format(url=sink.url, more=more)


async def test_jira_makes_an_issue_once_it_fires(sink: Sink) -> None:
    sink.replies["/rest/api/2/search"] = {"issues": []}
    await deliver(jira(sink))
    search, create = sink.requests
    label = f"ALERT{{{notification().key_hash}}}"
    assert search[3]["jql"] == (
        "(resolutiondate is EMPTY OR resolutiondate >= -60m) and "
        f'project="P" and labels="{label}" order by status ASC,resolutiondate DESC'
    )
    assert create[:2] == ("POST", "/rest/api/2/issue")
    fields = create[3]["fields"]
    assert fields["summary"] == "[FIRING:1] Down (a)"
    assert fields["labels"] == [label, "z"]
    assert (fields["project"], fields["issuetype"], fields["x"]) == ({"key": "P"}, {"name": "Bug"}, "firing")
    await deliver(jira(sink), RESOLVED)
    assert len(sink.requests) == 3, "nothing is made for what is over"


@pytest.mark.parametrize(
    ("firing", "category", "moved"),
    [(True, "done", "31"), (True, "new", None), (False, "new", "41"), (False, "done", None)],
)
async def test_jira_changes_and_moves_the_issue(
    sink: Sink, firing: bool, category: str, moved: str | None
) -> None:
    own = "/rest/api/2/issue/P-1"
    status = {"name": "s", "statusCategory": {"key": category}}
    sink.replies["/rest/api/2/search"] = {"issues": [{"key": "P-1", "fields": {"status": status}}]}
    sink.replies[f"{own}/transitions"] = {
        "transitions": [{"id": "31", "name": "Again"}, {"id": "41", "name": "Finish"}]
    }
    more = "summary: {template: s, enable_update: false}, description: d, "
    await deliver(jira(sink, more), notification() if firing else RESOLVED)
    method, path, _, body = sink.requests[1]
    assert (method, path) == ("PUT", own)
    assert body["fields"]["description"] == "d"
    assert "summary" not in body["fields"]
    moves = [body for method, path, _, body in sink.requests[2:] if method == "POST"]
    assert moves == ([] if moved is None else [{"transition": {"id": moved}}])


async def test_jira_without_the_transition_says_so(sink: Sink) -> None:
    status = {"name": "s", "statusCategory": {"key": "done"}}
    sink.replies["/rest/api/2/search"] = {"issues": [{"key": "P-1", "fields": {"status": status}}]}
    sink.replies["/rest/api/2/issue/P-1/transitions"] = {"transitions": []}
    with pytest.raises(NotifyError, match="can't find transition Again for issue P-1"):
        await deliver(jira(sink))


async def test_wechat_fetches_a_token_and_again_when_it_has_expired() -> None:
    config = WechatConfig(api_url="http://w/", corp_id="c", message_type="markdown", message="m", to_user="u")
    answers: Iterator[bytes] = iter(
        [
            b'{"access_token":"one"}',
            b'{"errcode":0}',
            b'{"errcode":42001,"errmsg":"expired"}',
            b'{"access_token":"two"}',
            b'{"errcode":0}',
            b'{"errcode":7,"errmsg":"bad"}',
        ]
    )
    sent: list[WebRequest] = []

    async def send(request: WebRequest) -> WebAnswer:
        sent.append(request)
        return WebAnswer(200, "application/json", next(answers))

    wechat = Wechat()
    await wechat(config, notification(), send)
    assert b'"markdown":{"content":"m"}' in sent[1].body
    with pytest.raises(NotifyError, match="expired") as caught:
        await wechat(config, notification(), send)
    assert caught.value.retry
    await wechat(config, notification(), send)
    with pytest.raises(NotifyError, match="bad") as caught:
        await wechat(config, notification(), send)
    assert not caught.value.retry
    asked = [request.url.removeprefix("http://w/") for request in sent]
    one, two = (f"message/send?access_token={token}" for token in ("one", "two"))
    assert asked == ["gettoken?corpid=c&corpsecret=", one, one, asked[0], two, two]


async def test_sns(sink: Sink) -> None:
    keys = "sigv4: {region: eu-west-1, access_key: AK, secret_key: SK}"
    await deliver(
        f"sns_configs: [{{api_url: '{sink.url}/sns', topic_arn: 'arn:x.fifo', {keys}, message: '{'é' * 200_000}', "
        "attributes: {k: '{{ .Status }}'}}]"
    )
    ((_, _, headers, body),) = sink.requests
    fields = {name: value[0] for name, value in parse_qs(body).items()}
    assert (fields["Action"], fields["TopicArn"]) == ("Publish", "arn:x.fifo")
    assert fields["MessageGroupId"] == notification().key_hash
    assert len(fields["Message"].encode()) == 256 * 1024
    assert fields["MessageAttributes.entry.1.Value.StringValue"] == "firing"
    assert fields["MessageAttributes.entry.2.Name"] == "truncated"
    assert headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=AK/20231114/eu-west-1/sns/aws4")


# Of the test suite that AWS publishes for its signatures.
SIGNATURES = [
    ("GET", {}, b"", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    ("POST", {}, b"", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    (
        "POST",
        {"Content-Type": "application/x-www-form-urlencoded"},
        b"Param1=value1",
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    ),
]


@pytest.mark.parametrize(("method", "headers", "body", "signature"), SIGNATURES)
def test_signatures_are_those_aws_publishes(
    method: str, headers: dict[str, str], body: bytes, signature: str
) -> None:
    keys = AwsKeys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    signed = signed_headers(
        method,
        "https://example.amazonaws.com/",
        headers,
        body,
        keys=keys,
        region="us-east-1",
        service="service",
        now=1_440_938_160.0,
    )
    assert signed["Authorization"].endswith(f"Signature={signature}")
