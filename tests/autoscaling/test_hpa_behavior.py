"""Rate policies, stabilisation and event memory: the cases of data/hpa_behavior.json."""

from typing import Any

import pytest
from hpa_tables import events, load, named, rules

from wavetank.autoscaling.hpa.behavior import (
    Behavior,
    Policy,
    Recommendation,
    ScalingRules,
    changed_in_period,
    clamp,
    limit_rate,
    scale_down_limit,
    scale_up_limit,
    stabilize,
    stabilize_with_behavior,
    store_event,
)

TABLE = load("hpa_behavior")
NOW = 1_000_000.0
UP = ScalingRules(0, "Max", (Policy("Pods", 4, 15), Policy("Percent", 100, 15)))
DOWN = ScalingRules(None, "Max", (Policy("Percent", 100, 15),))


@pytest.mark.parametrize("case", named(TABLE["behaviorRate"]))
def test_rate(case: dict[str, Any]) -> None:
    behavior = Behavior(rules(case["scaleUp"], UP), rules(case["scaleDown"], DOWN))
    found = limit_rate(
        NOW, case["currentReplicas"], case["desiredReplicas"], case["minReplicas"], case["maxReplicas"],
        behavior, events(NOW, case["scaleUpEvents"]), events(NOW, case["scaleDownEvents"]),
    )  # fmt: skip
    assert (found.replicas, found.reason) == (case["expect"]["replicas"], case["expect"]["condition"])


@pytest.mark.parametrize("factor", [2.0, 8.0])
@pytest.mark.parametrize("case", named(TABLE["legacyLimits"]))
def test_limits_without_behavior(case: dict[str, Any], factor: float) -> None:
    found = clamp(
        case["currentReplicas"], case["desiredReplicas"], case["minReplicas"], case["maxReplicas"],
        factor=factor, minimum=4.0,
    )  # fmt: skip
    expect = case["expect"]["replicas"]
    if expect == "max(scaleUpLimitFactor*3, 4)":
        expect = max(factor * 3, 4)
    assert (found.replicas, found.reason) == (expect, case["expect"]["condition"])


@pytest.mark.parametrize("case", named(TABLE["policyLimits"]))
def test_policy_limit(case: dict[str, Any]) -> None:
    limit = scale_up_limit if case["direction"] == "up" else scale_down_limit
    assert limit(NOW, case["currentReplicas"], (), (), rules(case["rules"], UP)) == case["expectLimit"]


def recommendations(case: dict[str, Any]) -> tuple[Recommendation, ...]:
    return tuple(Recommendation(r["replicas"], NOW - r["ageSeconds"]) for r in case["recommendations"])


@pytest.mark.parametrize("case", named(TABLE["legacyStabilization"]))
def test_stabilisation_without_behavior(case: dict[str, Any]) -> None:
    window = case["downscaleStabilizationSeconds"]
    replicas, log = stabilize(NOW, recommendations(case), case["desiredReplicas"], window)
    assert (replicas, len(log)) == (case["expect"]["replicas"], case["expect"]["logLength"])


@pytest.mark.parametrize("case", named(TABLE["behaviorStabilization"]))
def test_stabilisation_with_behavior(case: dict[str, Any]) -> None:
    found, log = stabilize_with_behavior(
        NOW, recommendations(case), case["currentReplicas"], case["desiredReplicas"],
        case["scaleUpStabilizationWindowSeconds"], case["scaleDownStabilizationWindowSeconds"],
    )  # fmt: skip
    assert found.replicas == case["expect"]["replicas"]
    if case["expect"]["storedRecommendations"] is not None:
        assert [entry.replicas for entry in log] == case["expect"]["storedRecommendations"]


@pytest.mark.parametrize("case", named(TABLE["storeScaleEvents"]))
def test_event_memory(case: dict[str, Any]) -> None:
    before = events(NOW, case["previousEvents"])
    if case["rules"] is None:
        assert changed_in_period(NOW, 60, before) == case["expect"]["replicasChangeInLast60s"]
        return  # without behavior nothing is stored: test_reconcile.py
    assert changed_in_period(NOW, 60, before) == case["expect"]["replicasChangeInLast60s"]
    after = store_event(NOW, before, case["replicaChange"], rules(case["rules"], UP))
    assert [{"replicaChange": e.change, "outdated": e.outdated} for e in after] == case["expect"][
        "storedEvents"
    ]


def test_a_percentage_alone_never_leaves_zero() -> None:
    behavior = Behavior(ScalingRules(0, "Max", (Policy("Percent", 100, 15),)), DOWN)
    found = limit_rate(NOW, 0, 5, 0, 10, behavior, (), ())
    assert (found.replicas, found.reason) == (0, "ScaleUpLimit")
