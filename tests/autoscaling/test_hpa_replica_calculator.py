"""Every case of upstream's replica_calculator_test.go: data/hpa_replica_calculator.json, hpa_group_pods.json."""

from typing import Any

import pytest
from hpa_tables import calculator_pod, load, named
from hypothesis import given
from hypothesis import strategies as st

from wavetank.autoscaling.hpa.model import Hpa, MetricSpec, Scale
from wavetank.autoscaling.hpa.options import HpaOptions
from wavetank.autoscaling.hpa.proposals import evaluate
from wavetank.autoscaling.hpa.replica_calculator import (
    CalculationError,
    ContainerRequests,
    PodView,
    Proposal,
    Readiness,
    Tolerances,
    calculate_requests,
    group_pods,
    per_pod_value_replicas,
    resource_replicas,
    usage_replicas,
    value_replicas,
)
from wavetank.autoscaling.metrics import PodSample, Reading

CALCULATOR = load("hpa_replica_calculator")
GROUPS = load("hpa_group_pods")
READINESS = Readiness(cpu_initialization_period=120, initial_readiness_delay=10)


def samples(case: dict[str, Any]) -> dict[str, PodSample]:
    if case.get("metrics") is not None:
        return {
            m["pod"]: PodSample(
                sum(v for k, v in m["containersMilli"].items() if case.get("container") in (None, k)),
                m["timestamp"],
                m["windowSeconds"],
            )
            for m in case["metrics"]
        }
    return {
        f"test-pod-{i}": PodSample(v, case["metricTimestamp"], case["metricWindowSeconds"])
        for i, v in enumerate(case["metricLevelsMilli"])
    }


def calculate(case: dict[str, Any]) -> Proposal:
    now = CALCULATOR["now"]
    given = case.get("tolerance")
    tolerances = Tolerances(given["scaleUp"], given["scaleDown"]) if given else Tolerances()
    pods = [calculator_pod(pod) for pod in case["pods"]]
    current = case["currentReplicas"]
    match case["func"]:
        case "resource" if "targetUtilization" in case:
            return resource_replicas(
                now, current, case["targetUtilization"], samples(case), pods, case["resource"],
                container=case.get("container") or "", tolerances=tolerances, readiness=READINESS,
            )  # fmt: skip
        case "resource" | "pods":
            return usage_replicas(
                now, current, case["targetMilli"], samples(case), pods, case.get("resource", ""),
                tolerances=tolerances, readiness=READINESS,
            )  # fmt: skip
        case "object" | "external":
            levels = case["metricLevelsMilli"]
            return value_replicas(current, case["targetMilli"], levels, pods, tolerances=tolerances)
        case _:
            levels = case["metricLevelsMilli"]
            return per_pod_value_replicas(current, case["targetMilli"], levels, tolerances=tolerances)


@pytest.mark.parametrize("case", named(CALCULATOR["cases"]))
def test_replica_count(case: dict[str, Any]) -> None:
    expect = case["expect"]
    if "errorContains" in expect and not case["metrics"]:
        # The metrics API itself says so; the text around it is the evaluation's.
        metric = MetricSpec("Resource", "cpu", average_utilization=case["targetUtilization"])
        hpa = Hpa("ns", "hpa", {}, 1, 10, (metric,), None, {})
        reading = Reading(error="no metrics returned from resource metrics API")
        (result,) = evaluate(0.0, hpa, Scale(4, 4, "a=b"), [], [reading], HpaOptions())
        assert expect["errorContains"] in result.error
        return
    if "errorContains" in expect:
        with pytest.raises(CalculationError) as raised:
            calculate(case)
        assert expect["errorContains"] in raised.value.message
        return
    found = calculate(case)
    assert found.replicas == expect["replicas"]
    if "utilizationPercent" in expect:
        assert found.utilization == expect["utilizationPercent"]
        assert found.usage == expect["averageRawMilli"]
    else:
        assert found.usage == expect["usageMilli"]


@pytest.mark.parametrize("case", named(GROUPS["groupPods"]))
def test_group_pods(case: dict[str, Any]) -> None:
    pods = []
    for pod in case["pods"]:
        condition = pod.get("readyCondition")
        pods.append(
            PodView(
                pod["name"],
                pod["phase"],
                pod.get("deleting", False),
                pod.get("startTime"),
                condition["status"] == "True" if condition else None,
                condition["lastTransition"] if condition else 0,
            )
        )
    metrics = {
        m["pod"]: PodSample(m["valueMilli"], m["timestamp"], m["windowSeconds"]) for m in case["metrics"]
    }
    found = group_pods(GROUPS["now"], pods, metrics, case["resource"], READINESS)
    expect = case["expect"]
    assert found.ready_count == expect["readyPodCount"]
    assert sorted(found.unready) == sorted(expect["unready"])
    assert sorted(found.missing) == sorted(expect["missing"])
    assert sorted(found.ignored) == sorted(expect["ignored"])


@pytest.mark.parametrize("case", named(GROUPS["calculateRequests"]))
def test_calculate_requests(case: dict[str, Any]) -> None:
    def requests(given: dict[str, Any]) -> dict[str, int]:
        return {} if given["requestMilli"] is None else {case["resource"]: given["requestMilli"]}

    pod = case["pod"]
    containers = [ContainerRequests(c["name"], requests(c)) for c in pod["containers"]]
    containers += [
        ContainerRequests(c["name"], requests(c), init=True, sidecar=c.get("restartPolicy") == "Always")
        for c in pod["initContainers"]
    ]
    level = pod["podRequestMilli"]
    view = PodView(
        pod["name"], containers=containers, pod_requests={} if level is None else {case["resource"]: level}
    )
    expect = case["expect"]
    if "error" in expect:
        with pytest.raises(CalculationError) as raised:
            calculate_requests(
                [view], case["container"], case["resource"], pod_level=case["podLevelResourcesGate"]
            )
        assert raised.value.message == expect["error"]
    else:
        found = calculate_requests(
            [view], case["container"], case["resource"], pod_level=case["podLevelResourcesGate"]
        )
        assert found == {pod["name"]: expect["requestMilli"]}


def test_no_replica_exists_and_the_mean_is_the_division_by_zero_that_clusters_report() -> None:
    assert per_pod_value_replicas(0, 10_000, [25_000]).usage == -(2**63)
    assert per_pod_value_replicas(0, 10_000, [25_000]).replicas == 3


@given(
    current=st.integers(1, 20),
    target=st.integers(1, 200),
    usage=st.lists(st.integers(0, 10_000), min_size=1, max_size=20),
    ready=st.lists(st.booleans(), min_size=20, max_size=20),
)
def test_a_proposal_never_moves_against_its_ratio(
    current: int, target: int, usage: list[int], ready: list[bool]
) -> None:
    pods = [
        PodView(f"p{i}", "Running", False, 0.0, ready[i], 0.0, [ContainerRequests("c", {"cpu": 1000})])
        for i in range(current)
    ]
    metrics = {f"p{i}": PodSample(value, 1000.0, 15.0) for i, value in enumerate(usage[:current])}
    found = resource_replicas(1010.0, current, target, metrics, pods, "cpu", readiness=Readiness(0, 0))
    if found.ratio > 1:
        assert found.replicas >= current or len(metrics) < current
    assert found.replicas >= 0
