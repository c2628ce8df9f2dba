"""Rule files, templates, and the state machine of alerts."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavetank.errors import InputError
from wavetank.gotemplate.template import Template, TemplateError
from wavetank.model.labels import Labels
from wavetank.model.value import is_stale_nan
from wavetank.monitoring.rules.alert import AlertRule, AlertState, RuleError, Sample
from wavetank.monitoring.rules.file import RuleConfig, load_rule_file, parse_rule_file
from wavetank.monitoring.rules.functions import expand
from wavetank.monitoring.rules.group import Group

DATA = Path(__file__).parent / "data" / "rulefmt"
MINUTE = 60_000

BAD = {
    "record_and_alert.bad.yaml": "only one of 'record' and 'alert' must be set",
    "no_rec_alert.bad.yaml": "one of 'record' or 'alert' must be set",
    "noexpr.bad.yaml": "field 'expr' must be set in rule",
    "bad_expr.bad.yaml": "parse error",
    "duplicate_grp.bad.yaml": 'groupname: "yolo" is repeated in the same file',
    "bad_field.bad.yaml": "unknown field 'annotation'",
    "record_and_for.bad.yaml": "invalid field 'for' in recording rule",
    "record_and_keep_firing_for.bad.yaml": "invalid field 'keep_firing_for' in recording rule",
    "invalid_record_name.bad.yaml": "invalid recording rule name",
    "invalid_label_name.bad.yaml": "invalid label name",
    "legacy_validation_annotation.bad.yaml": "invalid annotation name",
}


@pytest.mark.parametrize("path", sorted(DATA.glob("*.yaml")), ids=lambda p: p.name)
def test_rule_file(path: Path) -> None:
    if ".bad." not in path.name:
        assert load_rule_file(path).groups
        return
    with pytest.raises(InputError, match=BAD[path.name]) as caught:
        load_rule_file(path, legacy="legacy" in path.name or "invalid" in path.name)
    assert str(caught.value).startswith(f"{path}:")


TEMPLATES = [
    ("plain", "plain"),
    ("{{ $labels.instance }} is {{ $value }}", "a:9090 is 1e+06"),
    ("{{ .Labels.missing }}|{{ $externalLabels.cluster }}", "|eu"),
    ("{{ $value | humanize }} {{ humanize1024 $value }}", "1M 976.6ki"),
    ("{{ humanizeDuration 3661.5 }} {{ humanizeDuration 0.005 }}", "1h 1m 1s 5ms"),
    ("{{ humanizePercentage 0.123456 }}", "12.35%"),
    ("{{ humanizeTimestamp 1435065584.128 }}", "2015-06-23 13:19:44.128 +0000 UTC"),
    ('{{ printf "%.2f|%5s|%-3d|%q" 3.14159 "ab" 7 "x" }}', '3.14|   ab|7  |"x"'),
    ("{{ if gt $value 5.0 }}high{{ else }}low{{ end }}", "high"),
    ("{{ with query `up` }}{{ . | first | value }}{{ end }}", "1"),
    ('{{ range query "up" }}{{ .Labels.instance }}={{ .Value }};{{ end }}', "a=1;b=0;"),
    ('{{ range $i, $s := query "up" }}{{ $i }}{{ $s.Labels.instance }}{{ end }}', "0a1b"),
    ("{{ query `up` | sortByLabel `instance` | len }}", "2"),
    ("a {{- 1 -}} b {{/* c */}}d", "a1b d"),
    ('{{ define "t" }}<{{ . }}>{{ end }}{{ template "t" "x" }}', "<x>"),
    ('{{ $x := "a" }}{{ if true }}{{ $x = "b" }}{{ end }}{{ $x }}', "b"),
    ('{{ reReplaceAll "(.*):(.*)" "$2" $labels.instance }} {{ toUpper "x" }}', "9090 X"),
    ('{{ stripPort "h:1" }} {{ stripDomain "h.example.com:1" }} {{ title "ab cd" }}', "h h:1 Ab Cd"),
    ('{{ eq "a" "b" "a" }} {{ not true }} {{ and 1 0 }} {{ or 0 "x" }}', "true false 0 x"),
    ("{{ externalURL }}{{ pathPrefix }}", "http://x/y/y"),
    ("{{ range 3 }}{{ if eq . 1 }}{{ continue }}{{ end }}{{ . }}{{ end }}", "02"),
    ("{{ nosuch 1 }}", '<error expanding template: function "nosuch" not defined>'),
    ('{{ define "t" }}{{ .arg0 }}|{{ .arg1 }}{{ end }}{{ template "t" (args 1) }}', "1|<no value>"),
    (
        '{{ (toTime 1435065584.1289).Format "02 Jan 2006" }} {{ toTime 0.5 }}',
        "23 Jun 2015 1970-01-01 00:00:00.5 +0000 UTC",
    ),
    ("{{ (toDuration 90).Minutes }} {{ toDuration 3723.5 }}", "1.5 1h2m3.5s"),
    ('{{ parseDuration "-5m" }}', "-300"),
    *(
        (text, f"<error expanding template: {error}>")
        for text, error in (
            ("{{ first (query `none`) }}", "error calling first: first() called on vector with no elements"),
            ('{{ humanize "x" }}', 'error calling humanize: strconv.ParseFloat: parsing "x": invalid syntax'),
            ("{{ humanize true }}", "error calling humanize: can't convert bool to float"),
            ('{{ toTime "NaN" }}', "error calling toTime: value is NaN or Inf"),
            ("{{ index $labels 1 2 }}", "error calling index: index out of range: 2"),
        )
    ),
]


@pytest.mark.parametrize(("text", "expected"), TEMPLATES)
def test_template(text: str, expected: str) -> None:
    shown = expand(
        text,
        {"instance": "a:9090"},
        1e6,
        external_labels={"cluster": "eu"},
        external_url="http://x/y",
        timestamp_ms=0,
        query=lambda query, _t: [({"instance": "a"}, 1.0), ({"instance": "b"}, 0.0)] if query == "up" else [],
    )
    assert shown == expected


@given(st.text(alphabet="{}|.$()\"`'-abif end0 \n:=,", max_size=60))
def test_any_template_parses_or_is_refused(text: str) -> None:
    try:
        Template(text).render({}, {}, {})
    except TemplateError:
        pass


def rule(**fields: object) -> AlertRule:
    config = parse_rule_file(
        "groups:\n- name: g\n  rules:\n  - {alert: A, expr: up == 0, "
        + ", ".join(f"{'for' if k == 'hold' else k}: {v}" for k, v in fields.items())
        + "}\n"
    )
    return AlertRule(config.groups[0].rules[0], {"severity": "page"})


DOWN: list[Sample] = [(Labels.of(__name__="up", instance="a"), 0.0)]


def step(alert: AlertRule, minute: float, result: list[Sample]) -> list[str]:
    samples = alert.step(int(minute * MINUTE), result, lambda text, labels, value: text)
    return [labels.get("alertstate") for labels, _ in samples if labels.name == "ALERTS"]


def test_pending_then_firing_then_resolved() -> None:
    alert = rule(hold="2m")
    assert step(alert, 0, DOWN) == ["pending"]
    assert step(alert, 1, DOWN) == ["pending"]
    assert step(alert, 2, DOWN) == ["firing"]
    assert step(alert, 3, []) == []
    (resolved,) = alert.active.values()
    assert (resolved.state, resolved.resolved_at_ms) == (AlertState.INACTIVE, 3 * MINUTE)
    step(alert, 17.9, [])
    assert alert.active
    step(alert, 18.1, [])
    assert not alert.active


def test_labels_and_for_state() -> None:
    alert = rule(hold="0s")
    samples = alert.step(90_000, DOWN, lambda text, labels, value: text)
    assert samples == [
        (
            Labels.of(__name__="ALERTS", alertname="A", alertstate="firing", instance="a", severity="page"),
            1.0,
        ),
        (Labels.of(__name__="ALERTS_FOR_STATE", alertname="A", instance="a", severity="page"), 90.0),
    ]


def test_pending_that_vanishes_is_forgotten() -> None:
    alert = rule(hold="2m")
    step(alert, 0, DOWN)
    step(alert, 1, [])
    assert not alert.active


def test_keep_firing_for() -> None:
    alert = rule(keep_firing_for="2m")
    assert step(alert, 0, DOWN) == ["firing"]
    assert step(alert, 1, []) == ["firing"]
    assert step(alert, 2, []) == ["firing"]
    assert step(alert, 3, []) == []


def test_limit_clears_all_alerts() -> None:
    alert = rule()
    with pytest.raises(RuleError, match="exceeded limit of 1 with 2 alerts"):
        alert.step(0, [*DOWN, (Labels.of(instance="b"), 0.0)], lambda text, *_: text, limit=1)
    assert not alert.active


def test_resend_and_resolve_are_sent() -> None:
    alert = rule()
    step(alert, 0, DOWN)
    assert len(alert.to_send(1, MINUTE, MINUTE)) == 1
    assert not alert.to_send(MINUTE, MINUTE, MINUTE)
    assert len(alert.to_send(MINUTE + 2, MINUTE, MINUTE)) == 1
    step(alert, 2, [])
    (resolved,) = alert.to_send(2 * MINUTE, MINUTE, MINUTE)
    assert resolved.resolved_at_ms == 2 * MINUTE
    assert resolved.valid_until_ms == 6 * MINUTE


@pytest.mark.parametrize(
    ("down_minute", "up_minute", "fires_after"),
    [(5, 7, 32), (25, 60, 70), (40, 41, 41)],
    ids=["shifted by the downtime", "given the grace period", "fires at once"],
)
def test_restore_of_for(down_minute: int, up_minute: int, fires_after: int) -> None:
    alert = rule(hold="30m")
    alert.restored = False
    assert alert.step(up_minute * MINUTE, DOWN, lambda text, *_: text) == []
    (labels,) = alert.active
    alert.restore(up_minute * MINUTE, {labels: (down_minute * MINUTE, 0.0)}, 10 * MINUTE)
    states = {minute: step(alert, minute, DOWN) for minute in range(up_minute, 90)}
    assert min(minute for minute, state in states.items() if state == ["firing"]) == fires_after


def test_group_marks_vanished_series_stale() -> None:
    config = parse_rule_file("groups:\n- name: g\n  rules: [{record: r, expr: up, labels: {a: b}}]\n")
    group = Group.of(config.groups[0], "f", interval_ms=MINUTE)
    assert group.step(0, 0, lambda q, t: DOWN) == [(Labels.of(__name__="r", a="b", instance="a"), 0.0)]
    ((labels, value),) = group.step(0, MINUTE, lambda q, t: [])
    assert labels.name == "r"
    assert is_stale_nan(value)


def test_failing_rule_keeps_its_error() -> None:
    config = parse_rule_file("groups:\n- name: g\n  rules: [{record: r, expr: up}]\n")
    group = Group.of(config.groups[0], "f", interval_ms=MINUTE)

    def fail(query: str, t: int) -> list[Sample]:
        raise RuleError("no")

    assert group.step(0, 0, fail) == []
    assert (group.rules[0].health, group.rules[0].last_error) == ("err", "no")


@pytest.mark.parametrize("now", [0, 1, 59_999, 60_000, 123_456])
def test_next_evaluation_is_in_phase(now: int) -> None:
    group = Group.of(parse_rule_file("groups: [{name: g, rules: []}]").groups[0], "f", interval_ms=MINUTE)
    due = group.next_ms(now)
    assert now <= due < now + MINUTE
    assert due % MINUTE == group.phase_ms()


def test_reload_keeps_alerts_and_orphans_series() -> None:
    text = "groups:\n- name: g\n  rules: [{alert: A, expr: up, for: 1m}, {record: r, expr: up}]\n"
    old = Group.of(parse_rule_file(text).groups[0], "f", interval_ms=MINUTE)
    for index in range(2):
        old.step(index, 0, lambda q, t: DOWN)
    new = Group.of(parse_rule_file(text.replace("record: r", "record: s")).groups[0], "f", interval_ms=MINUTE)
    new.take_over(old)
    assert len(new.alert_rules[0].active) == 1
    assert {labels.name for labels in new.orphans} == {"r"}


def test_config_has_upstream_field_names() -> None:
    assert RuleConfig.__struct_encode_fields__[3] == "for"
