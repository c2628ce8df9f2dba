"""Aggregation groups as a pure step: when what is told, and what is forgotten."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from wavetank.alerting.alert import Alert, fingerprint, merge
from wavetank.alerting.config import parse_config
from wavetank.alerting.dispatch import Dispatcher
from wavetank.alerting.inhibit import Inhibitor
from wavetank.alerting.labelsets import LabelSets
from wavetank.alerting.nflog import Entry, Standing, reason_to_notify
from wavetank.alerting.route import Route, build_route
from wavetank.alerting.store import AlertStore

NOW = 1_000_000.0


def tree(text: str) -> Route:
    config = parse_config(f"receivers: [{{name: r}}, {{name: s}}, {{name: t}}]\nroute:\n{text}")
    assert config.route is not None
    return build_route(config.route)


def alert(now: float = NOW, **labels: str) -> Alert:
    return Alert(labels, starts_at=now, ends_at=now + 300, updated_at=now)


SIMPLE = "  {receiver: r, group_by: [a], group_wait: 10s, group_interval: 60s}"


def test_a_group_waits_then_flushes_every_interval() -> None:
    dispatcher = Dispatcher(tree(SIMPLE))
    dispatcher.insert(alert(a="1", b="1"), NOW, 0.0)
    dispatcher.insert(alert(a="1", b="2"), NOW, 3.0)
    dispatcher.insert(alert(a="2"), NOW, 3.0)
    assert dispatcher.step(NOW + 9, 9.9) == []
    assert dispatcher.next_due() == 10.0
    (flush,) = dispatcher.step(NOW + 10, 10.0)
    assert flush.group.key == '{}:{a="1"}'
    assert [a.labels["b"] for a in flush.alerts] == ["1", "2"]
    assert {a.ends_at for a in flush.alerts} == {0.0}, "ends that are guesses are not told"
    dispatcher.done(flush, told=True)
    (other,) = dispatcher.step(NOW + 13, 13.0)
    assert other.group.labels == {"a": "2"}
    assert dispatcher.step(NOW + 69, 69.0) == []
    assert [f.group.labels for f in dispatcher.step(NOW + 70, 70.0)] == [{"a": "1"}]


def test_a_group_under_way_is_not_flushed_again_until_it_is_done() -> None:
    dispatcher = Dispatcher(tree(SIMPLE))
    dispatcher.insert(alert(a="1"), NOW, 0.0)
    (flush,) = dispatcher.step(NOW, 10.0)
    assert dispatcher.step(NOW, 500.0) == []
    dispatcher.done(flush, told=False)
    assert len(dispatcher.step(NOW, 500.0)) == 1


def test_what_is_resolved_goes_once_it_is_told() -> None:
    dispatcher = Dispatcher(tree(SIMPLE))
    dispatcher.insert(alert(a="1"), NOW, 0.0)
    (flush,) = dispatcher.step(NOW + 10, 10.0)
    dispatcher.done(flush, told=True)
    dispatcher.insert(replace(alert(a="1"), ends_at=NOW + 20, updated_at=NOW + 20), NOW + 20, 20.0)
    (flush,) = dispatcher.step(NOW + 70, 70.0)
    assert flush.alerts[0].ends_at == NOW + 20
    dispatcher.done(flush, told=False)
    assert flush.group.alerts, "not told: it stays"
    (flush,) = dispatcher.step(NOW + 130, 130.0)
    dispatcher.done(flush, told=True)
    assert not flush.group.alerts
    dispatcher.step(NOW + 200, 200.0)
    assert dispatcher.groups == {}


def test_an_alert_that_fires_anew_while_its_end_is_told_stays() -> None:
    dispatcher = Dispatcher(tree(SIMPLE))
    dispatcher.insert(replace(alert(a="1"), ends_at=NOW + 1), NOW, 0.0)
    (flush,) = dispatcher.step(NOW + 10, 10.0)
    dispatcher.insert(alert(NOW + 11, a="1"), NOW + 11, 11.0)
    dispatcher.done(flush, told=True)
    assert len(flush.group.alerts) == 1


def test_old_alerts_do_not_wait_again_after_a_restart() -> None:
    dispatcher = Dispatcher(tree(SIMPLE), starts_at=5.0)
    dispatcher.insert(alert(NOW - 100, a="1"), NOW, 0.0)
    assert dispatcher.step(NOW, 4.0) == []
    assert len(dispatcher.step(NOW, 5.0)) == 1


def test_a_group_that_was_swept_up_is_made_anew() -> None:
    dispatcher = Dispatcher(tree(SIMPLE))
    dispatcher.insert(alert(a="1"), NOW, 0.0)
    (flush,) = dispatcher.step(NOW + 400, 10.0)
    dispatcher.done(flush, told=True)
    assert dispatcher.step(NOW + 400, 100.0) == []
    assert dispatcher.groups == {}
    dispatcher.insert(alert(NOW + 400, a="1"), NOW + 400, 100.0)
    assert dispatcher.next_due() == 110.0
    (flush,) = dispatcher.step(NOW + 410, 110.0)
    assert [a.starts_at for a in flush.alerts] == [NOW + 400]


def test_an_alert_that_is_forgotten_is_placed_again_when_it_comes_again() -> None:
    dispatcher = Dispatcher(tree(ROUTES))
    dispatcher.insert(alert(x="1"), NOW, 0.0)
    assert dispatcher.receivers(alert(x="1")) == ["s", "t"]
    dispatcher.forget(alert(x="1"))
    assert dispatcher.receivers(alert(x="1")) == ["s", "t"]
    dispatcher.insert(alert(x="1"), NOW, 0.0)
    assert [len(group.alerts) for group in dispatcher.groups.values()] == [1, 1]


def test_jumps_of_the_wall_clock_neither_hurry_nor_delay() -> None:
    dispatcher = Dispatcher(tree(SIMPLE))
    dispatcher.insert(alert(a="1"), NOW, 0.0)
    assert dispatcher.step(NOW + 1e6, 9.0) == []
    assert len(dispatcher.step(NOW - 1e6, 10.0)) == 1


ROUTES = """
  receiver: r
  group_by: [a]
  routes:
  - {matchers: [x=1], receiver: s, continue: true, group_by: [...]}
  - matchers: [x=~"1|2"]
    receiver: t
    routes: [{match: {y: z}, group_interval: 7m}]
"""


def test_routes_match_depth_first_and_inherit() -> None:
    route = tree(ROUTES)
    assert [r.key for r in route.match({"x": "1"})] == ['{}/{x="1"}', '{}/{x=~"1|2"}']
    (deep,) = route.match({"x": "2", "y": "z"})
    assert deep.key == '{}/{x=~"1|2"}/{y="z"}'
    assert (deep.receiver, deep.group_interval, deep.group_wait, deep.repeat_interval) == (
        "t",
        420,
        30,
        14400,
    )
    assert [r.receiver for r in route.match({"q": "1"})] == ["r"]
    assert route.children[0].group_labels({"x": "1", "b": "2"}) == {"x": "1", "b": "2"}


def test_two_reports_become_one() -> None:
    old = Alert({"a": "1"}, starts_at=100, ends_at=400, updated_at=100, timeout=True)
    new = Alert({"a": "1"}, starts_at=200, ends_at=300, updated_at=200)
    store = AlertStore()
    store.put([old], 200)
    store.put([new], 200)
    (merged,) = store.all()
    assert (merged.starts_at, merged.ends_at) == (100, 300)
    late = merge(new, old, 200)
    assert late.starts_at == 100, "the order of arrival does not matter"


def test_a_limit_by_name_refuses_and_counts() -> None:
    store = AlertStore(per_name_max=2)
    assert store.put([alert(alertname="x", i=str(i)) for i in range(5)], NOW) == 3
    assert store.put([alert(alertname="y")], NOW) == 0
    assert store.limited == 3
    assert store.collect(NOW + 1000) == 3
    assert store.put([alert(alertname="x")], NOW) == 0


def test_a_label_set_is_read_once_whatever_the_order_and_bounded() -> None:
    sets = LabelSets()
    first = sets.read(b'{"a":"1","b":"2","c":""}')
    assert sets.read(b'{"a":"1","b":"2","c":""}') is first
    assert sets.read(b'{ "b": "2", "a": "1" }') == first
    assert first.labels == {"a": "1", "b": "2"}
    assert first.id == fingerprint({"a": "1", "b": "2"})
    assert sets.read(b'{"a":""}').fault == "at least one label pair required"
    assert sets.read(b'{"":"x"}').fault == 'invalid label set: invalid name ""'
    for i in range(2000):
        sets.read(b'{"a":"%d"}' % i)
    sets.keep(1)
    assert sets.read(b'{"a":"1","b":"2","c":""}') is not first


RULE = """
receivers: [{name: r}]
route: {receiver: r}
inhibit_rules:
- {source_matchers: [s="1"], target_matchers: [t="1"], equal: [e]}
"""


def test_inhibition_needs_equal_labels_and_a_firing_source() -> None:
    inhibitor = Inhibitor(parse_config(RULE).inhibit_rules)
    source = alert(s="1", e="x")
    inhibitor.seen([source])
    assert inhibitor.muted_by({"t": "1", "e": "x"}, NOW) == [source.id]
    assert inhibitor.muted_by({"t": "1", "e": "y"}, NOW) == []
    assert inhibitor.muted_by({"t": "2", "e": "x"}, NOW) == []
    assert inhibitor.muted_by({"t": "1", "e": "x"}, NOW + 301) == []
    inhibitor.forget(source)
    assert inhibitor.muted_by({"t": "1", "e": "x"}, NOW) == []


def test_an_alert_on_both_sides_of_a_rule_does_not_mute_itself() -> None:
    inhibitor = Inhibitor(parse_config(RULE).inhibit_rules)
    both = alert(s="1", t="1", e="x")
    inhibitor.seen([both])
    assert inhibitor.muted_by(both.labels, NOW) == []
    assert inhibitor.muted_by({"t": "1", "e": "x"}, NOW) == [both.id]


def test_reasons_to_notify() -> None:
    def reason(
        entry: Entry | None, firing: str, resolved: str, *, send_resolved: bool = True, at: float = 50
    ) -> str | None:
        now = Standing(frozenset(firing), frozenset(resolved))
        return reason_to_notify(entry, now, send_resolved=send_resolved, repeat_seconds=100, at=at)

    log = Entry("k", 0.0, frozenset("ab"), frozenset("c"), 1e9)
    assert reason(None, "a", "") == "first notification"
    assert reason(None, "", "a") is None
    assert reason(log, "ab", "c") is None
    assert reason(log, "abd", "") == "new alerts added"
    assert reason(log, "a", "bc") == "some alerts resolved"
    assert reason(log, "a", "b", send_resolved=False) is None
    assert reason(log, "", "ab") == "all alerts resolved"
    assert reason(log, "", "ab", send_resolved=False) == "all alerts resolved"
    assert reason(log, "ab", "", at=101) == "repeat interval elapsed"
    over = msgspec.structs.replace(log, firing=frozenset())
    assert reason(over, "", "c") is None
    assert reason(over, "a", "c") == "first notification"
