"""The whole loop body: upstream's horizontal_test.go cases, from data/hpa_reconcile.json."""

from typing import Any

import pytest
from hpa_tables import load, named

from wavetank.autoscaling.hpa.behavior import Recommendation
from wavetank.autoscaling.hpa.model import Hpa, Scale, parse_hpa
from wavetank.autoscaling.hpa.options import HpaOptions
from wavetank.autoscaling.hpa.reconcile import (
    Conclusion,
    Decision,
    HpaState,
    conclude,
    decide,
    fail_scale,
    needs_metrics,
)
from wavetank.autoscaling.hpa.replica_calculator import ContainerRequests, PodView
from wavetank.autoscaling.metrics import PodSample, Reading

TABLE = load("hpa_reconcile")
NOW = 1_000_000.0
STARTS = {"now": NOW, "3m-ago": NOW - 180, "ancient": 0.0}
# The tables were made with the harness' own step factor (8 where production has 2) and shorter delays.
OPTIONS = HpaOptions(scale_up_factor=8, cpu_initialization_period=120, initial_readiness_delay=10)


def metric_source(entry: dict[str, Any]) -> dict[str, Any]:
    """The table's targets are numbers of milli-units; the API's are quantities."""
    source = {k: v for k, v in entry.items() if not k.startswith("_")}
    for key, value in source.items():
        if key != "type":
            target = dict(value["target"])
            for name in ("averageValue", "value"):
                if f"{name}Milli" in target:
                    target[name] = f"{target.pop(f'{name}Milli')}m"
            source[key] = {**value, "target": target}
    return source


def behavior_of(given: dict[str, Any] | None) -> dict[str, Any] | None:
    if given is None:
        return None
    return {
        direction: {
            "stabilizationWindowSeconds": rule["stabilizationWindowSeconds"],
            "selectPolicy": rule["selectPolicy"],
            "policies": [
                {"type": "Percent", "value": rule["percent"], "periodSeconds": rule["percentPeriod"]}
            ],
        }
        for direction, rule in given.items()
    }


def hpa_of(case: dict[str, Any], status: dict[str, Any] | None = None) -> Hpa:
    return parse_hpa(
        {
            "metadata": {"namespace": "test", "name": "hpa"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "v1", "kind": case["scaleTargetKind"], "name": "rc"},
                "minReplicas": case["minReplicas"],
                "maxReplicas": case["maxReplicas"],
                "metrics": [metric_source(m) for m in case["metrics"]],
                "behavior": behavior_of(case.get("behavior")),
            },
            "status": status
            or {"currentReplicas": case["specReplicas"], "desiredReplicas": case["specReplicas"]},
        }
    )


def pods_of(case: dict[str, Any]) -> list[PodView]:
    return [
        PodView(
            pod["name"], pod["phase"], pod.get("deleting", False), STARTS[pod["start"]],
            pod["ready"] == "True", STARTS[pod["start"]],
            [ContainerRequests(f"container{n}", {"cpu": pod["cpuRequestMilli"] // 2}) for n in (1, 2)],
        )
        for pod in case["pods"]
    ]  # fmt: skip


def reading_of(case: dict[str, Any], metric: dict[str, Any]) -> Reading:
    levels = case["reportedLevels"]
    if "_simulateError" in metric:
        return Reading(error=metric["_simulateError"])
    match metric["type"]:
        case "Resource":
            if not levels:
                return Reading(error="no metrics returned from resource metrics API")
            return Reading({f"test-pod-{i}": PodSample(v // 2 * 2, NOW) for i, v in enumerate(levels)})
        case "ContainerResource":
            return Reading({f"test-pod-{i}": PodSample(v // 2, NOW) for i, v in enumerate(levels)})
        case "Pods":
            return Reading({f"test-pod-{i}": PodSample(v, NOW) for i, v in enumerate(levels)})
        case "Object":
            return Reading(values=(levels[0],))
        case _:
            return Reading(values=tuple(levels))


def run(case: dict[str, Any], **more: Any) -> tuple[Decision, Conclusion]:
    hpa = hpa_of(case)
    scale = Scale(case["specReplicas"], case["statusReplicas"], "name=test-pod")
    prior = case["priorRecommendations"]
    log = (
        None if prior is None else tuple(Recommendation(r["replicas"], NOW - r["ageSeconds"]) for r in prior)
    )
    readings = [reading_of(case, m) for m in case["metrics"]]
    update_error = more.pop("update_error", None)
    decision = decide(NOW, hpa, scale, pods_of(case), readings, HpaState(log), OPTIONS, **more)
    return decision, conclude(NOW, hpa, decision, OPTIONS, update_error)


def conditions(conclusion: Conclusion) -> list[list[str]]:
    return [[c["type"], c["status"], c["reason"]] for c in conclusion.status["conditions"]]


@pytest.mark.parametrize("case", named(TABLE["cases"]))
def test_upstream_case(case: dict[str, Any]) -> None:
    expect = case["expect"]
    decision, conclusion = run(case)
    assert conclusion.status["desiredReplicas"] == expect["desiredReplicas"]
    assert conditions(conclusion) == expect["conditions"]
    assert (conclusion.action, conclusion.error_label) == (expect["action"], expect["error"])
    if "currentCPUUtilization" in expect:
        resource = next(m["resource"] for m in conclusion.status["currentMetrics"] if m["type"] == "Resource")
        assert resource["current"]["averageUtilization"] == expect["currentCPUUtilization"]
    if "event" in expect:
        sent = [{"reason": e.reason, "message": e.message} for e in conclusion.events]
        assert expect["event"] in sent
    if case["name"] == "EventNotCreated":
        assert not conclusion.events
    if "metricActions" in expect:
        assert metric_actions(case, decision) == expect["metricActions"]


def metric_actions(case: dict[str, Any], decision: Decision) -> dict[str, str]:
    def action(replicas: int) -> str:
        current = case["specReplicas"]
        return "scale_up" if replicas > current else "scale_down" if replicas < current else "none"

    return {r.kind: action(r.proposal.replicas) if r.proposal else "none" for r in decision.results}


SITUATIONS = {case["name"]: case for case in TABLE["otherConditions"]}
PLAIN = next(case for case in TABLE["cases"] if case["name"] == "ScaleUp")


def cpu_utilization(percent: int) -> dict[str, Any]:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


def test_a_missing_selector_is_said_and_nothing_changes() -> None:
    expect = SITUATIONS["ConditionInvalidSelectorMissing"]["expect"]
    _, conclusion = run(
        PLAIN, selector_problem=("InvalidSelector", "SelectorRequired", "selector is required")
    )
    assert conditions(conclusion) == expect["conditions"]
    assert expect["event"] in [e.reason for e in conclusion.events]
    assert conclusion.status["desiredReplicas"] == PLAIN["specReplicas"]


def test_failing_to_get_the_scale() -> None:
    expect = SITUATIONS["ConditionFailedGetScale"]["expect"]
    conclusion = fail_scale(NOW, hpa_of(PLAIN), HpaState(), "something went wrong")
    assert conditions(conclusion) == expect["conditions"]
    assert [e.reason for e in conclusion.events] == ["FailedGetScale"]
    assert conclusion.status["desiredReplicas"] == PLAIN["specReplicas"]


def test_failing_to_write_the_scale() -> None:
    situation = SITUATIONS["ConditionFailedUpdateScale"]
    case = {
        **PLAIN,
        "minReplicas": 1,
        "maxReplicas": 5,
        "metrics": [cpu_utilization(100)],
        "reportedLevels": [150] * 3,
        "pods": [{**pod, "cpuRequestMilli": 100} for pod in PLAIN["pods"]],
    }  # fmt: skip
    decision, conclusion = run(case, update_error="forbidden")
    assert conditions(conclusion) == situation["expect"]["conditions"]
    assert metric_actions(case, decision) == situation["expect"]["metricActions"]
    assert conclusion.status["desiredReplicas"] == 3
    assert conclusion.state.ups == ()


def test_nothing_is_stored_without_behavior_and_changes_are_with_it() -> None:
    _, without = run(PLAIN)
    assert without.state.ups == ()
    up = {"percent": 100, "percentPeriod": 15, "stabilizationWindowSeconds": 0, "selectPolicy": "Max"}
    _, held = run({**PLAIN, "behavior": {"scaleUp": up}})
    assert [event.change for event in held.state.ups] == [2]


def test_transition_times_move_only_when_the_status_flips() -> None:
    old = {
        "type": "AbleToScale",
        "status": "True",
        "reason": "x",
        "lastTransitionTime": "2020-01-01T00:00:00Z",
    }
    status = {
        "currentReplicas": 3,
        "desiredReplicas": 3,
        "conditions": [old, {**old, "type": "ScalingActive", "status": "False"}],
    }
    hpa = hpa_of(PLAIN, status)
    readings = [reading_of(PLAIN, m) for m in PLAIN["metrics"]]
    decision = decide(NOW, hpa, Scale(3, 3, "a=b"), pods_of(PLAIN), readings, HpaState(), OPTIONS)
    able, active, _ = conclude(NOW, hpa, decision, OPTIONS).status["conditions"]
    assert able["lastTransitionTime"] == "2020-01-01T00:00:00Z"
    assert active["lastTransitionTime"] == "1970-01-12T13:46:40Z"


ZERO = {
    **PLAIN, "minReplicas": 0, "specReplicas": 0, "statusReplicas": 0, "pods": [], "reportedLevels": [20_000],
    "metrics": [
        {"type": "External", "external": {
            "metric": {"name": "queue"}, "target": {"type": "Value", "valueMilli": 10_000}}}
    ],
}  # fmt: skip


@pytest.mark.parametrize(("condition", "desired"), [("True", 2), ("False", 0), (None, 0)])
def test_from_136_only_what_the_hpa_put_to_zero_is_taken_up_again(
    condition: str | None, desired: int
) -> None:
    options = OPTIONS.emulate(36)
    stored = [] if condition is None else [{"type": "ScaledToZero", "status": condition, "reason": "x"}]
    hpa = hpa_of(ZERO, {"currentReplicas": 0, "desiredReplicas": 0, "conditions": stored})
    scale = Scale(0, 0, "a=b")
    assert needs_metrics(hpa, scale, options) is (desired > 0)
    readings = [reading_of(ZERO, m) for m in ZERO["metrics"]]
    decision = decide(NOW, hpa, scale, [], readings, HpaState(), options)
    assert decision.desired == desired


def test_putting_to_zero_is_noted_from_136() -> None:
    options = OPTIONS.emulate(36)
    case = {**ZERO, "specReplicas": 1, "statusReplicas": 1, "pods": PLAIN["pods"][:1], "reportedLevels": [0]}
    hpa = hpa_of(case)
    readings = [reading_of(case, m) for m in case["metrics"]]
    decision = decide(NOW, hpa, Scale(1, 1, "a=b"), pods_of(case), readings, HpaState(()), options)
    assert decision.desired == 0
    stored = conclude(NOW, hpa, decision, options).status["conditions"]
    assert {c["type"]: c["status"] for c in stored}["ScaledToZero"] == "True"


def test_an_unusable_target_fails_its_metric_alone() -> None:
    bad = {
        "type": "Pods",
        "pods": {"metric": {"name": "q"}, "target": {"type": "AverageValue", "averageValueMilli": 0}},
    }
    case = {**PLAIN, "metrics": [PLAIN["metrics"][0], bad]}
    _, conclusion = run(case)
    assert conclusion.status["desiredReplicas"] == 5
    assert "FailedGetPodsMetric" in [e.reason for e in conclusion.events]
