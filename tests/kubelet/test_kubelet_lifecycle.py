"""The pure parts: what a plan says, phases, back-off, probe thresholds, the CFS account."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavetank.kube.kubelet.lifecycle import Backoff, ContainerRecord, Termination, ended, phase_of, plan
from wavetank.kube.kubelet.probes import Verdict, parse_probe
from wavetank.kube.kubelet.signals import Cfs

NOW = 1000.0


def pod(*mains: str, inits: tuple[str, ...] = (), policy: str = "Always") -> dict[str, Any]:
    """Container names; an init container whose name begins with "s" is a sidecar."""

    def init(name: str) -> dict[str, Any]:
        return {"name": name, **({"restartPolicy": "Always"} if name.startswith("s") else {})}

    return {
        "metadata": {"name": "p"},
        "spec": {
            "containers": [{"name": n} for n in mains],
            "initContainers": [init(n) for n in inits],
            "restartPolicy": policy,
        },
    }


def records(given: dict[str, Any], **states: str) -> dict[str, ContainerRecord]:
    """States: new, run, started (running, its startup probe passed), ok and bad (ended with 0 and 1)."""
    found = {}
    for init, key in ((True, "initContainers"), (False, "containers")):
        for container in given["spec"][key]:
            name = container["name"]
            record = ContainerRecord(name, init=init, sidecar=container.get("restartPolicy") == "Always")
            match states.get(name, "new"):
                case "run":
                    record = replace(record, state="running", started_at=NOW)
                case "started":
                    record = replace(record, state="running", started_at=NOW, started=True, ready=True)
                case "ok" | "bad" as how:
                    code = 0 if how == "ok" else 1
                    record = ended(record, Termination(code, "x", NOW - 5, NOW, "id"))
            found[name] = record
    return found


@pytest.mark.parametrize(
    ("given", "states", "start", "phase"),
    [
        (pod("a", "b"), {}, ("a", "b"), "Pending"),
        (pod("a", "b"), {"a": "started"}, ("b",), "Pending"),
        (pod("a"), {"a": "started"}, (), "Running"),
        (pod("a", inits=("i", "j")), {}, ("i",), "Pending"),
        (pod("a", inits=("i", "j")), {"i": "run"}, (), "Pending"),
        (pod("a", inits=("i", "j")), {"i": "ok"}, ("j",), "Pending"),
        (pod("a", inits=("i", "j")), {"i": "ok", "j": "ok"}, ("a",), "Pending"),
        (pod("a", inits=("s", "j")), {"s": "run"}, (), "Pending"),
        (pod("a", inits=("s", "j")), {"s": "started"}, ("j",), "Pending"),
        (pod("a", inits=("s",)), {"s": "started"}, ("a",), "Pending"),
        (pod("a", inits=("s",)), {"s": "bad", "a": "started"}, ("s",), "Running"),
        (pod("a"), {"a": "bad"}, ("a",), "Running"),
        (pod("a", policy="Never"), {"a": "bad"}, (), "Failed"),
        (pod("a", "b", policy="Never"), {"a": "bad", "b": "started"}, (), "Running"),
        (pod("a", policy="OnFailure"), {"a": "bad"}, ("a",), "Running"),
        (pod("a", policy="OnFailure"), {"a": "ok"}, (), "Succeeded"),
        (pod("a", policy="Never"), {"a": "ok"}, (), "Succeeded"),
        (pod("a", inits=("i",), policy="Never"), {"i": "bad"}, (), "Failed"),
    ],
)
def test_what_starts_and_the_phase(
    given: dict[str, Any], states: dict[str, str], start: tuple[str, ...], phase: str
) -> None:
    found = plan(NOW, given, records(given, **states))
    assert (found.start, found.phase) == (start, phase)


def test_sidecars_stop_last_when_the_work_is_done() -> None:
    given = pod("a", inits=("s1", "s2"), policy="Never")
    found = plan(NOW, given, records(given, s1="started", s2="started", a="ok"))
    assert (found.stop, found.finished) == (("s2", "s1"), False)
    assert plan(NOW, given, records(given, s1="ok", s2="ok", a="ok")).finished


def test_nothing_starts_while_stopping() -> None:
    given = pod("a", "b")
    found = plan(NOW, given, records(given, a="bad", b="started"), stopping=True)
    assert (found.start, found.finished) == ((), False)
    assert plan(NOW, given, records(given, a="bad", b="ok"), stopping=True).finished


def test_a_back_off_holds_the_restart_and_says_when() -> None:
    given = pod("a")
    held = records(given, a="bad")
    held["a"] = replace(held["a"], backoff=Backoff(20.0, NOW - 30))
    found = plan(NOW, given, held)
    assert (found.start, found.wake_at, found.waiting) == ((), NOW + 20, {"a": 20.0})
    assert plan(NOW + 20, given, held).start == ("a",)


def test_back_off_doubles_to_five_minutes_and_forgets_after_ten() -> None:
    backoff, now, delays = Backoff(), NOW, []
    for _ in range(8):
        due = backoff.ready_at(now)
        delays.append(due - now)
        backoff = backoff.next(due, now)
        now = due + 1
    assert delays == [0, 10, 20, 40, 80, 160, 300, 300]
    later = now + 601
    assert backoff.ready_at(later) == later
    assert backoff.next(later, later).delay == 10


@given(st.lists(st.sampled_from(["new", "run", "started", "ok", "bad"]), min_size=3, max_size=3),
       st.sampled_from(["Always", "OnFailure", "Never"]))  # fmt: skip
def test_a_plan_never_starts_what_runs_and_agrees_with_the_phase(states: list[str], policy: str) -> None:
    given = pod("a", "b", inits=("i",), policy=policy)
    found = dict(zip(("i", "a", "b"), states, strict=True))
    made = records(given, **found)
    result = plan(NOW, given, made)
    assert not any(made[name].alive for name in result.start)
    assert result.phase == phase_of(given, made)
    if result.finished:
        assert not any(record.alive for record in made.values())


def test_verdicts_change_at_thresholds_of_equal_results() -> None:
    spec = parse_probe({"exec": {}, "failureThreshold": 2, "successThreshold": 3})
    assert spec is not None
    verdict, decisions = Verdict(False), []
    for result in (True, True, False, True, True, True, False, False):
        verdict, decided = verdict.step(result, spec)
        decisions.append((decided, verdict.healthy))
    assert decisions == [(False, False)] * 5 + [(True, True), (False, True), (True, False)]


def test_probe_defaults_are_upstream_s() -> None:
    spec = parse_probe({"httpGet": {"port": 80}})
    assert spec is not None
    assert (spec.initial_delay, spec.period, spec.timeout) == (0, 10, 1)
    assert (spec.success_threshold, spec.failure_threshold) == (1, 3)
    assert parse_probe({}) is None


def test_cfs_stops_at_the_quota_and_carries_the_overdraft() -> None:
    account = Cfs(quota=0.02, left=0.02).spend(0.03, 0.05)
    assert account.stopped_at == 0.03
    account = account.refill(0.1)  # 30 ms too many: one period does not pay for them
    assert (account.stopped_at, account.periods, account.throttled_periods) == (0.1, 1, 1)
    account = account.refill(0.2)
    assert account.stopped_at is None
    assert account.throttled_seconds == pytest.approx(0.17)
    assert account.left == pytest.approx(0.01)


def test_cfs_counts_no_periods_while_idle() -> None:
    account = Cfs(quota=0.02, left=0.02).refill(0.1).refill(0.2)
    assert (account.periods, account.left) == (0, 0.02)


@given(st.lists(st.floats(0, 0.4), min_size=1, max_size=60))
def test_cfs_lets_through_no_more_than_the_quota_in_the_long_run(uses: list[float]) -> None:
    account, used = Cfs(quota=0.05, left=0.05), 0.0
    for period, use in enumerate(uses):
        if account.stopped_at is None:
            account = account.spend(period * 0.1, use)
            used += use
        account = account.refill((period + 1) * 0.1)
    assert used <= 0.05 * (len(uses) + 1) + max(uses)
