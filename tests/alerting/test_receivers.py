"""What each receiver is sent, over a real socket; when it is tried again."""

from __future__ import annotations

import asyncio
import contextlib
import email
import email.policy
import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from alerting_rig import Sink
from delivery import ALERTS, NOW, deliver, notification
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from wavetank.alerting.config import parse_config
from wavetank.alerting.receivers import paging
from wavetank.alerting.receivers.notification import NotifyError, truncate
from wavetank.gotemplate import TemplateError


async def test_webhook_payload_version_4(sink: Sink) -> None:
    await deliver(f"webhook_configs: [{{url: '{sink.url}/{{{{ .GroupLabels.alertname }}}}'}}]")
    assert sink.bodies("/Down") == [
        {
            "version": "4",
            "groupKey": '{}:{alertname="Down"}',
            "truncatedAlerts": 0,
            "receiver": r"team\.x",
            "status": "firing",
            "notification_reason": "first notification",
            "groupLabels": {"alertname": "Down"},
            "commonLabels": {"alertname": "Down", "job": "a"},
            "commonAnnotations": {},
            "routeLabels": {},
            "externalURL": "http://am",
            "alerts": [
                {
                    "status": "firing",
                    "labels": {"alertname": "Down", "i": "<1>", "job": "a"},
                    "annotations": {"summary": "s & t"},
                    "startsAt": "2023-11-14T22:12:20Z",
                    "endsAt": "0001-01-01T00:00:00Z",
                    "generatorURL": "http://p/g?a=1",
                    "fingerprint": ALERTS[0].id,
                },
                {
                    "status": "resolved",
                    "labels": {"alertname": "Down", "i": "2", "job": "a"},
                    "annotations": {},
                    "startsAt": "2023-11-14T22:12:20Z",
                    "endsAt": "2023-11-14T22:13:19Z",
                    "generatorURL": "",
                    "fingerprint": ALERTS[1].id,
                },
            ],
        }
    ]


async def test_webhook_with_a_payload_of_its_own_and_few_alerts(sink: Sink) -> None:
    section = (
        "payload: {n: '{{ len .Alerts }}', l: ['{{ .Status }}', 3], x: 'a: {{ .Status }}'}, max_alerts: 1"
    )
    await deliver(
        f"webhook_configs: [{{url: '{sink.url}/p', {section}}}, {{url: '{sink.url}/q', max_alerts: 1}}]"
    )
    assert sink.bodies("/p") == [{"n": 1, "l": ["firing", 3], "x": {"a": "firing"}}]
    assert sink.bodies("/q")[0]["truncatedAlerts"] == 1


async def test_slack(sink: Sink) -> None:
    sink.replies["/s"] = "ok"
    await deliver(
        f"slack_configs: [{{api_url: '{sink.url}/s', channel: '#c', fields: [{{title: t, value: '{{{{ .Status }}}}'}}], "
        "actions: [{type: button, text: Go, url: 'http://x'}]}]"
    )
    (body,) = sink.bodies("/s")
    (attachment,) = body["attachments"]
    assert body["channel"] == "#c"
    assert body["username"] == "Alertmanager"
    assert attachment["title"] == "[FIRING:1] Down (a)"
    assert attachment["title_link"] == "http://am/#/alerts?receiver=team%5C.x"
    assert attachment["color"] == "danger"
    assert attachment["fields"] == [{"title": "t", "value": "firing", "short": False}]
    assert attachment["actions"] == [{"type": "button", "text": "Go", "url": "http://x"}]


async def test_slack_with_an_app_token(sink: Sink) -> None:
    sink.replies["/app"] = {"ok": True}
    await deliver(f"slack_configs: [{{app_url: '{sink.url}/app', app_token: tok, channel: c}}]")
    assert sink.requests[0][2]["Authorization"] == "Bearer tok"


async def test_pagerduty_triggers_and_resolves_by_one_key(sink: Sink) -> None:
    section = f"pagerduty_configs: [{{routing_key: k, url: '{sink.url}/pd', links: [{{href: 'http://l', text: x}}]}}]"
    await deliver(section)
    await deliver(section, notification(replace(ALERTS[0], ends_at=NOW - 1)))
    trigger, resolve = sink.bodies("/pd")
    assert (trigger["event_action"], resolve["event_action"]) == ("trigger", "resolve")
    assert trigger["dedup_key"] == resolve["dedup_key"] == notification().key_hash
    assert trigger["payload"]["summary"] == "[FIRING:1] Down (a)"
    assert trigger["payload"]["severity"] == "error"
    assert trigger["payload"]["custom_details"]["num_firing"] == 1
    assert trigger["payload"]["custom_details"]["firing"][0]["labels"]["alertname"] == "Down"
    assert trigger["links"] == [{"href": "http://l", "text": "x"}]


async def test_pagerduty_leaves_details_out_where_they_are_too_large(sink: Sink) -> None:
    await deliver(
        f"pagerduty_configs: [{{routing_key: k, url: '{sink.url}/pd', details: {{x: '{'y' * 600_000}'}}}}]"
    )
    assert "Custom details have been removed" in sink.bodies("/pd")[0]["payload"]["custom_details"]["error"]


async def test_opsgenie(sink: Sink) -> None:
    section = (
        f"opsgenie_configs: [{{api_key: k, api_url: '{sink.url}', tags: 'a,,b', update_alerts: true, "
        "responders: [{name: 'x,y', type: teams}, {name: u, type: user}]}]"
    )
    await deliver(section)
    create, message, _ = sink.requests
    assert create[1] == "/v2/alerts"
    assert create[2]["Authorization"] == "GenieKey k"
    assert create[3]["tags"] == ["a", "b"]
    assert create[3]["responders"] == [
        {"name": "x", "type": "team"},
        {"name": "y", "type": "team"},
        {"name": "u", "type": "user"},
    ]
    assert message[:2] == ("PUT", f"/v2/alerts/{notification().key_hash}/message?identifierType=alias")
    await deliver(section, notification(ALERTS[1]))
    assert sink.requests[-1][1] == f"/v2/alerts/{notification().key_hash}/close?identifierType=alias"


async def test_telegram_escapes_html(sink: Sink, tmp_path: Path) -> None:
    (tmp_path / "t").write_text("tok\n")
    await deliver(
        f"telegram_configs: [{{api_url: '{sink.url}', bot_token_file: '{tmp_path}/t', chat_id: -5}}]"
    )
    (body,) = sink.bodies("/bottok/sendMessage")
    assert body["chat_id"] == "-5"
    assert body["parse_mode"] == "HTML"
    assert "i = &lt;1&gt;" in body["text"]


async def test_discord_teams_victorops_webex(sink: Sink) -> None:
    await deliver(f"discord_configs: [{{webhook_url: '{sink.url}/d'}}]")
    await deliver(f"msteams_configs: [{{webhook_url: '{sink.url}/t1'}}]")
    await deliver(f"msteamsv2_configs: [{{webhook_url: '{sink.url}/t2'}}]")
    await deliver(
        f"victorops_configs: [{{api_url: '{sink.url}/v', api_key: k, routing_key: 'r/1', custom_fields: {{f: x}}}}]"
    )
    await deliver(
        f"webex_configs: [{{api_url: '{sink.url}/w', room_id: r, http_config: {{authorization: {{credentials: c}}}}}}]"
    )
    (discord,), (teams,), (card,), (victor,), (webex,) = (
        sink.bodies(path) for path in ("/d", "/t1", "/t2", "/v/k/r%2F1", "/w")
    )
    assert discord["embeds"][0]["color"] == 0x992D22
    assert teams["themeColor"] == "8C1A1A"
    assert card["attachments"][0]["content"]["body"][0]["color"] == "Attention"
    assert (victor["message_type"], victor["entity_id"], victor["f"]) == (
        "CRITICAL",
        notification().key_hash,
        "x",
    )
    assert webex["roomId"] == "r"


def test_pushover() -> None:
    config = parse_config(
        "route: {receiver: r}\nreceivers: [{name: r, pushover_configs: [{token: t, user_key: u}]}]"
    )
    (request,) = paging.pushover(config.receivers[0].pushover_configs[0], notification())
    fields = parse_qs(request.body.decode())
    assert fields["priority"] == ["2"]
    assert (fields["retry"], fields["expire"]) == (["60"], ["3600"])
    assert fields["title"] == ["[FIRING:1] Down (a)"]


@pytest.mark.parametrize(
    ("status", "retry"), [(500, True), (503, True), (429, True), (404, False), (301, False)]
)
async def test_what_is_tried_again(sink: Sink, status: int, retry: bool) -> None:
    sink.answers = [status]
    with pytest.raises(NotifyError, match=f"unexpected status code {status}") as caught:
        await deliver(f"slack_configs: [{{api_url: '{sink.url}/s'}}]")
    assert caught.value.retry is retry


async def test_errors_do_not_show_the_url() -> None:
    with pytest.raises(NotifyError) as caught:
        await deliver("webhook_configs: [{url: 'http://127.0.0.1:1/mysecret'}]")
    assert caught.value.retry
    assert "mysecret" not in str(caught.value)


async def test_a_template_that_fails_is_not_tried_again(sink: Sink) -> None:
    with pytest.raises(NotifyError, match="failed to template") as caught:
        await deliver(f"slack_configs: [{{api_url: '{sink.url}/s', title: '{{{{ .Nope.Nope }}}}'}}]")
    assert not caught.value.retry


def test_truncates_as_upstream() -> None:
    assert [truncate("abcdef", n) for n in (6, 5, 3)] == ["abcdef", "abcd…", "abc"]


TEMPLATES = [
    ("{{ .Alerts.Firing | len }}/{{ .Alerts.Resolved | len }}", "1/1"),
    ("{{ .CommonLabels.Remove (stringSlice `job`) }}", "alertname=Down"),
    ("{{ range .Alerts.Firing }}{{ .Labels.SortedPairs }}{{ end }}", "alertname=Down, i=<1>, job=a"),
    ("{{ .GroupLabels.Values.Join `,` }}{{ .CommonLabels.Names | join `;` }}", "Downalertname;job"),
    ("{{ (index .Alerts 0).StartsAt.Format `2006-01-02T15:04:05Z07:00` }}", "2023-11-14T22:12:20Z"),
    ("{{ date `Mon, 02 Jan 06 3:04PM -0700` (tz `Asia/Kolkata` (index .Alerts 0).StartsAt) }}", "Wed, 15 Nov 23 3:42AM +0530"),
    ("{{ (index .Alerts 1).EndsAt.Sub (index .Alerts 1).StartsAt }}", "59s"),
    ("{{ toUpper `a` }}{{ toLower `B` }}{{ title `hello wORLD` }}{{ trimSpace ` x ` }}", "AbHello Worldx"),
    ("{{ reReplaceAll `(D)own` `$1!` .GroupLabels.alertname }}{{ match `^D` .GroupLabels.alertname }}", "D!true"),
    ("{{ humanizeDuration 3700 }} {{ urlUnescape `a%20b+c` }} {{ base64encode `a?>` }} {{ base64decode `YT8-` }}", "1h 1m 40s a b c YT8- a?>"),
    ("{{ $d := dict `a` 1 `b` (list 1 2) }}{{ toJson $d }}{{ len (append (list 1) 2 3) }}", '{"a":1,"b":[1,2]}3'),
    ("{{ routeLabels `team` }}", "Down-team"),
    ("{{ template `__subject` . }}", "[FIRING:1] Down (a)"),
    ("{{ (toDate `2006-01-02` `2020-02-29`).Unix }} {{ .NotificationReason }}", "1582934400 first notification"),
]  # fmt: skip


@pytest.mark.parametrize(("template", "text"), TEMPLATES)
def test_templates(template: str, text: str) -> None:
    assert notification(team="{{ .GroupLabels.alertname }}-team").text(template) == text


def test_route_labels_that_name_each_other_are_told_apart_from_loops() -> None:
    n = notification(a="{{ routeLabels `b` }}", b="{{ routeLabels `a` }}")
    with pytest.raises(ValueError, match="route label cycle detected: a -> b -> a"):
        n.text("{{ routeLabels `a` }}")


def test_users_definitions_replace_the_built_in_ones(tmp_path: Path) -> None:
    (tmp_path / "a.tmpl").write_text('{{ define "__subject" }}own {{ .Status }}{{ end }}')
    n = notification(patterns=(f"{tmp_path}/*.tmpl",))
    assert n.text('{{ template "slack.default.title" . }}') == "own firing"


# --- email


class _Mails(socketserver.ThreadingTCPServer):
    """As much of SMTP as a client needs; every message with its envelope."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.messages: list[tuple[list[str], bytes]] = []
        self.auth: list[str] = []


class _Conversation(socketserver.StreamRequestHandler):
    server: _Mails

    def handle(self) -> None:
        self.wfile.write(b"220 hi\r\n")
        recipients: list[str] = []
        while line := self.rfile.readline().decode().strip():
            verb = line.split(" ")[0].upper()
            answer = "250 ok"
            if verb == "EHLO":
                answer = "250-here\r\n250 AUTH PLAIN"
            elif verb == "AUTH":
                self.server.auth.append(line)
                answer = "235 ok"
            elif verb == "RCPT":
                recipients.append(line)
            elif verb == "DATA":
                self.wfile.write(b"354 go\r\n")
                lines = []
                while (data := self.rfile.readline()) != b".\r\n":
                    lines.append(data)
                self.server.messages.append((recipients, b"".join(lines)))
            elif verb == "QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            self.wfile.write(answer.encode() + b"\r\n")


@pytest.fixture
def mails() -> Iterator[_Mails]:
    with _Mails() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


async def test_email(mails: _Mails) -> None:
    port = mails.server_address[1]
    await deliver(
        "email_configs: [{to: 'a@x, b@x', text: 'plain {{ .Status }}', headers: {X-Team: é}, auth_username: u, "
        "auth_password: p, threading: {enabled: true, thread_by_date: daily}}]",
        globals_=f"smtp_smarthost: '127.0.0.1:{port}', smtp_from: am@x, smtp_require_tls: false",
    )
    ((recipients, content),) = mails.messages
    assert len(recipients) == 2
    assert mails.auth == ["AUTH PLAIN AHUAcA=="]
    message: Any = email.message_from_bytes(content, policy=email.policy.default)
    assert message["Subject"] == "[FIRING:1] Down (a)"
    assert message["X-Team"] == "é"
    assert message["References"].startswith("<alert-")
    assert message.get_body(("plain",)).get_content().strip() == "plain firing"
    html = message.get_body(("html",)).get_content()
    assert "&lt;1&gt;" in html
    assert "s &amp; t" in html


async def test_email_that_needs_tls_is_not_sent_without(mails: _Mails) -> None:
    port = mails.server_address[1]
    with pytest.raises(NotifyError, match="does not advertise the STARTTLS extension"):
        await deliver(
            "email_configs: [{to: a@x}]", globals_=f"smtp_smarthost: '127.0.0.1:{port}', smtp_from: am@x"
        )
    assert mails.messages == []


async def test_a_line_break_in_a_header_is_no_second_header() -> None:
    with pytest.raises(NotifyError, match="the message cannot be made"):
        await deliver(
            'email_configs: [{to: a@x, headers: {Subject: "a\\nBcc: evil@x"}}]',
            globals_="smtp_smarthost: '127.0.0.1:1', smtp_from: am@x",
        )


async def test_a_mail_server_that_hangs_can_be_left_behind() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        sending = asyncio.create_task(
            deliver(
                "email_configs: [{to: a@x}]", globals_=f"smtp_smarthost: '127.0.0.1:{port}', smtp_from: am@x"
            )
        )
        connection, _ = await asyncio.to_thread(silent.accept)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        connection.close()


HOSTILE = [
    '{{ define "a" }}{{ template "a" . }}{{ end }}{{ template "a" . }}',
    "{{ range .Alerts }}" * 60,
    "{{ printf `%999999999d` 1 }}" * 10,
    "{{ range $i, $e := .Alerts }}{{ $e.Nope }}{{ end }}",
    "{{ .Alerts.Firing.Nope }}",
    "{{ (index .Alerts 99).Status }}",
    "{{ reReplaceAll `(` `` `x` }}",
    "{{ .CommonLabels.Remove }}",
    "{{ toJson . }}{{ join . . }}",
    "{{ (now).Format 3 }}",
    "{{ tz `../../etc/passwd` now }}",
    "{{ base64decode `%%%` }}",
    "{{ dict `a` }}",
    "{{ .GroupLabels.alertname.x }}",
]


@pytest.mark.parametrize("template", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_templates_fail_as_templates(template: str) -> None:
    with contextlib.suppress(TemplateError):
        notification().text(template)


@given(st.text(alphabet='{}.$|()`" ABCaeinrtulgdjoswhp01', max_size=80))
@settings(max_examples=100)
def test_any_template_renders_or_fails_as_one(template: str) -> None:
    with contextlib.suppress(TemplateError):
        SHARED.text("{{" + template + "}}")


SHARED = notification()


@pytest.mark.parametrize(
    ("pattern", "replacement", "text", "wanted"),
    [
        ("(a)(b)?", "<$1${2}$$$9>", "abxa", "<ab$>x<a$>"),
        ("(?P<n>x+)", "${n}-", "axxb", "axx-b"),
        ("^", "\\1", "a", "\\1a"),
    ],
)
def test_replacements_are_gos(pattern: str, replacement: str, text: str, wanted: str) -> None:
    template = f"{{{{ reReplaceAll `{pattern}` `{replacement}` `{text}` }}}}"
    assert SHARED.text(template) == wanted
