"""``alertmanager.yml``: what loads, and upstream's text for what does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from wavetank.alerting.config import load_config, parse_config, show_config
from wavetank.cli.alertmanager import command
from wavetank.errors import InputError

HOOK = "receivers: [{name: a, webhook_configs: [{url: 'http://h/x'}]}]\n"
ROUTE = "route: {receiver: a}\n"


def receiver(text: str) -> str:
    return f"{ROUTE}receivers:\n- name: a\n  {text}\n"


BAD = [
    ("", "no route provided in config"),
    ("receivers: []", "no route provided in config"),
    ("route:\n" + HOOK, "no routes provided"),
    ("route: {}\n" + HOOK, "root route must specify a default receiver"),
    ("route: {receiver: b}\n" + HOOK, 'undefined receiver "b" used in route'),
    ("route: {receiver: a, continue: true}\n" + HOOK, "cannot have continue in root route"),
    ("route: {receiver: a, matchers: ['a=b']}\n" + HOOK, "root route must not have any matchers"),
    ("route: {receiver: a, mute_time_intervals: [x]}\n" + HOOK, "root route must not have any mute time intervals"),
    ("route: {receiver: a, active_time_intervals: [x]}\n" + HOOK, "root route must not have any active time intervals"),
    ("route: {receiver: a, routes: [{mute_time_intervals: [x]}]}\n" + HOOK, 'undefined time interval "x" used in route'),
    ("route: {receiver: a, routes: [{receiver: z}]}\n" + HOOK, 'undefined receiver "z" used in route'),
    ("route: {receiver: a, group_by: [x, x]}\n" + HOOK, 'duplicated label "x" in group_by'),
    ("route: {receiver: a, group_by: [x, ...]}\n" + HOOK, "cannot have wildcard group_by (`...`) and other labels at the same time"),
    ("route: {receiver: a, group_interval: 0s}\n" + HOOK, "group_interval cannot be zero"),
    ("route: {receiver: a, repeat_interval: 0s}\n" + HOOK, "repeat_interval cannot be zero"),
    ("route: {receiver: a, group_wait: 3x}\n" + HOOK, 'unknown unit "x" in duration "3x"'),
    ("route: {receiver: a, routes: [{matchers: ['a']}]}\n" + HOOK, "bad matcher format: a"),
    ("route: {receiver: a, routes: [{match_re: {a: '('}}]}\n" + HOOK, "missing )"),
    ("route: {receiver: a, routes: [{match: {a-b: c}}]}\n" + HOOK, 'invalid label name "a-b"'),
    ("route: {receiver: a, group_wiat: 3s}\n" + HOOK, "did you mean 'group_wait'?"),
    (ROUTE + "receivers: [{name: a}, {name: a}]", 'notification config name "a" is not unique'),
    (ROUTE + "receivers: [{name: a}, {}]", "missing name in receiver"),
    (ROUTE + HOOK + "time_intervals: [{time_intervals: []}]", "missing name in time interval"),
    (ROUTE + HOOK + "mute_time_intervals: [{name: d}, {name: d}]", 'mute time interval "d" is not unique'),
    (ROUTE + HOOK + "inhibit_rules: [{equal: ['']}]", 'invalid label name "" in equal list'),
    (ROUTE + HOOK + "tracing: {}", "tracing endpoint must be set"),
    (ROUTE + HOOK + "tracing: {endpont: x}", "did you mean 'endpoint'?"),
    (ROUTE + HOOK + "event_recorder: {x: y}", "event_recorder is not built in"),
    ("route: {receiver: a, routes: [{match_re: {b: }}]}\n" + HOOK, 'invalid regexp value for "b"'),
    (ROUTE + HOOK + "inhibit_rules: [{target_match_re: {c: }}]", 'invalid regexp value for "c"'),
    ("global: {smtp_auth_password: x, smtp_auth_password_file: y}\n" + ROUTE + HOOK, "at most one of smtp_auth_password & smtp_auth_password_file must be configured"),
    ("global: {pagerduty_url: 'ftp://x'}\n" + ROUTE + HOOK, 'unsupported scheme "ftp" for URL'),
    (receiver("webhook_configs: [{}]"), "one of url or url_file must be configured"),
    (receiver("webhook_configs: [{url: 'http://a', url_file: b}]"), "at most one of url & url_file must be configured"),
    (receiver("webhook_configs: [null]"), "missing webhook config"),
    (receiver("webhook_configs: [{url: 'http:///x'}]"), "missing host for URL"),
    (receiver("webhook_configs: [{url: 'http://a', http_config: {bearer_token: a, bearer_token_file: b}}]"), "at most one of bearer_token & bearer_token_file must be configured"),
    (receiver("email_configs: [{}]"), "missing to address in email config"),
    (receiver("email_configs: [{to: a}]"), "no global SMTP smarthost set"),
    (receiver("email_configs: [{to: a, smarthost: 'h:25'}]"), "no global SMTP from set"),
    (receiver("email_configs: [{to: a, from: b, smarthost: 'h:'}]"), 'address "h:": port cannot be empty'),
    (receiver("email_configs: [{to: a, headers: {subject: a, Subject: b}}]"), 'duplicate header "Subject" in email config'),
    (receiver("slack_configs: [{}]"), "no Slack API URL nor App token set either inline or in a file"),
    (receiver("slack_configs: [{api_url: 'http://s', fields: [{value: a}]}]"), "missing title in Slack field configuration"),
    (receiver("slack_configs: [{api_url: 'http://s', actions: [{type: button, text: x}]}]"), "missing name or url in Slack action configuration"),
    (receiver("pagerduty_configs: [{}]"), "missing service or routing key in PagerDuty config"),
    (receiver("opsgenie_configs: [{}]"), "no global OpsGenie API Key set either inline or in a file"),
    (receiver("opsgenie_configs: [{api_key: x, responders: [{type: team}]}]"), "has to have at least one of id, username or name specified"),
    (receiver("telegram_configs: [{bot_token: x}]"), "missing chat_id or chat_id_file on telegram_config"),
    (receiver("telegram_configs: [{bot_token: x, chat_id: 1, parse_mode: X}]"), "unknown parse_mode on telegram_config"),
    (receiver("discord_configs: [{}]"), "one of webhook_url or webhook_url_file must be configured"),
    (receiver("victorops_configs: [{}]"), "missing Routing key in VictorOps config"),
    (receiver("victorops_configs: [{api_key: x, routing_key: x, custom_fields: {entity_state: x}}]"), "custom field entity_state which cannot be used"),
    (receiver("pushover_configs: [{token: x}]"), "one of user_key or user_key_file must be configured"),
    (receiver("sns_configs: [{}]"), "must provide either a Target ARN, Topic ARN, or Phone Number for SNS config"),
    (receiver("sns_configs: [{topic_arn: a, sigv4: {role_arn: r}}]"), "sigv4: role_arn is not built in"),
    (receiver("sns_configs: [{topic_arn: a, sigv4: {access_key: r}}]"), "must provide a AWS SigV4 Access key and Secret Key"),
    (receiver("wechat_configs: [{message_type: x}]"), 'weChat message type "x" does not match valid options ^(text|markdown)$'),
    (receiver("wechat_configs: [{}]"), "no global Wechat Api Secret set either inline or in a file"),
    (receiver("wechat_configs: [{api_secret: x}]"), "no global Wechat CorpID set"),
    (receiver("jira_configs: [{project: p, issue_type: t}]"), "no global Jira Cloud URL set"),
    (receiver("jira_configs: [{issue_type: t}]"), "missing project in jira_config"),
    (receiver("jira_configs: [{project: p}]"), "missing issue_type in jira_config"),
    (receiver("jira_configs: [{project: p, issue_type: t, api_type: x}]"), "unknown api_type on jira_config"),
    (receiver("rocketchat_configs: [{token: t}]"), "no global Rocketchat TokenID set either inline or in a file"),
    (receiver("rocketchat_configs: [{token_id: t}]"), "no global Rocketchat Token set either inline or in a file"),
    (receiver("rocketchat_configs: [{token: t, token_file: x}]"), "at most one of token & token_file must be configured"),
    (receiver("mattermost_configs: [{}]"), "missing webhook_url or webhook_url_file on mattermost_config"),
    (receiver("mattermost_configs: [{webhook_url: 'http://x', fields: [{title: x}]}]"), "missing value in Mattermost field configuration"),
    (receiver("incidentio_configs: [{url: 'http://x', http_config: {}}]"), "at least one of alert_source_token, alert_source_token_file or http_config.authorization"),
    (receiver("incidentio_configs: [{url: 'http://x', alert_source_token: a, alert_source_token_file: b}]"), "at most one of alert_source_token & alert_source_token_file"),
    (receiver("slack_configs: [{api_url: 'http://x', update_message: true}]"), "update_message can only be used with bot tokens"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), BAD, ids=[message[:50] for _, message in BAD])
def test_refuses_with_upstreams_text(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_config(text)
    assert message in str(caught.value)


GOOD = """
global:
  resolve_timeout: 1m
  smtp_smarthost: mail:587
  smtp_from: am@x
  smtp_auth_password: mysecret
  slack_api_url: http://mysecret.example/
  opsgenie_api_key: mysecret
route:
  receiver: all
  group_by: [...]
  labels: {team: x}
  routes:
  - matchers: ['severity=~"a|b"', '{x!="1"}', "naïve=☃"]
    mute_time_intervals: [night]
    continue: true
  - match_re: {service: '^(foo|bar)$'}
    group_wait: 0s
time_intervals:
- name: night
  time_intervals:
  - {times: [{start_time: "22:00", end_time: "24:00"}], weekdays: [monday:friday], location: Europe/Berlin}
inhibit_rules:
- {source_matchers: [a=b], target_match: {c: d}, equal: [e]}
receivers:
- name: all
  email_configs: [{to: a@x}]
  slack_configs: [{channel: '#c'}]
  opsgenie_configs: [{}]
  webhook_configs: [{url: 'http://user:mysecret@h:1/mysecret', payload: {a: ['{{ .Status }}']}}]
"""


def test_hands_global_values_down_and_hides_secrets() -> None:
    config = parse_config(GOOD)
    receiver = config.receivers[0]
    assert receiver.email_configs[0].smarthost == "mail:587"
    assert receiver.email_configs[0].require_tls is True
    assert receiver.slack_configs[0].api_url.reveal() == "http://mysecret.example/"
    assert receiver.opsgenie_configs[0].api_url == "https://api.opsgenie.com/"
    shown = show_config(config)
    assert "mysecret" not in shown
    assert "http://h:1/<secret>" in shown
    again = parse_config(shown)
    assert again.route == config.route


def test_names_file_line_and_the_nearest_field(tmp_path: Path) -> None:
    path = tmp_path / "am.yml"
    path.write_text(ROUTE + "receivers:\n- name: a\n  webhook_configs:\n  - ulr: x\n")
    with pytest.raises(InputError) as caught:
        load_config(path)
    assert str(caught.value).startswith(f"{path}:5: unknown field 'ulr'")
    assert "did you mean 'url'?" in str(caught.value)


def test_check_config_says_what_it_found_and_fails_for_bad_templates(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yml", tmp_path / "bad.yml"
    good.write_text(ROUTE + HOOK)
    bad.write_text(ROUTE + HOOK + "templates: ['*.tmpl']\n")
    (tmp_path / "x.tmpl").write_text("{{ nofunction }}")
    result = CliRunner().invoke(command, ["check-config", str(good)])
    assert result.exit_code == 0
    assert "SUCCESS" in result.output
    result = CliRunner().invoke(command, ["check-config", str(bad)])
    assert result.exit_code != 0
    assert 'function "nofunction" not defined' in result.output


@given(st.text(max_size=200))
@settings(max_examples=60)
def test_any_text_loads_or_is_refused(text: str) -> None:
    for config in (text, ROUTE + "receivers:\n- " + text, f"route: {text!r}"):
        try:
            parse_config(config)
        except InputError:
            pass
