"""Simulated pods live by stages: the built-in ones, or declared ones in kwok's shape."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_tank import Tank, workload

from wavetank.clock import VirtualClock
from wavetank.errors import InputError
from wavetank.journal import MemoryJournal
from wavetank.kube.client import Object
from wavetank.kube.controllers.stage import STAGES
from wavetank.kube.resources import DEPLOYMENTS, ENDPOINTSLICES, EVENTS, JOBS, PODS, SERVICES
from wavetank.kube.stages.query import values_at
from wavetank.kube.stages.stage import choose, delay_seconds
from wavetank.yamlfile import parse_documents


@pytest.fixture
def tank(clock: VirtualClock, journal: MemoryJournal) -> Tank:
    return Tank(clock, journal)


def simulated(obj: Object) -> Object:
    obj["spec"]["template"]["spec"]["runtimeClassName"] = "simulated"
    return obj


def declare(tank: Tank, text: str) -> None:
    for document in parse_documents(text):
        tank.api.create(STAGES, None, document.value)


def phases(tank: Tank) -> list[str]:
    return [p["status"]["phase"] for p in tank.list(PODS)]


def wait(tank: Tank, seconds: float) -> None:
    """Let the time pass as the controllers ask for it."""
    end = tank.clock.now() + seconds
    while (due := tank.settle()) is not None and due <= end:
        tank.clock.run_until(max(due, tank.clock.now() + 0.001))
    tank.clock.run_until(end)
    tank.settle()


def test_without_stages_pods_run_at_once_are_endpoints_and_go_when_told(tank: Tank) -> None:
    ports = [{"port": 80, "targetPort": 8080}]
    tank.create(SERVICES, {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": ports}})
    tank.create(DEPLOYMENTS, simulated(workload(3)))
    wait(tank, 1)
    assert phases(tank) == ["Running"] * 3
    assert tank.get(DEPLOYMENTS, "web")["status"]["availableReplicas"] == 3
    assert len({p["status"]["podIP"] for p in tank.list(PODS)}) == 3
    assert len(tank.list(ENDPOINTSLICES)[0]["endpoints"]) == 3
    tank.scale(DEPLOYMENTS, "web", 1)
    wait(tank, 1)
    assert len(tank.list(PODS)) == 1


def test_pods_of_a_job_complete(tank: Tank) -> None:
    spec = {
        "containers": [{"name": "c", "image": "i"}],
        "restartPolicy": "Never",
        "runtimeClassName": "simulated",
    }
    tank.create(JOBS, {"metadata": {"name": "j"}, "spec": {"completions": 2, "template": {"spec": spec}}})
    wait(tank, 5)
    assert tank.get(JOBS, "j")["status"]["succeeded"] == 2


_SLOW = """
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: start}
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector:
    matchExpressions:
    - {key: .status.podIP, operator: DoesNotExist}
  delay: {durationMilliseconds: 2000, jitterDurationMilliseconds: 5000}
  next:
    event: {type: Normal, reason: Booted, message: it runs}
    statusTemplate: |
      {{ $now := Now }}
      phase: Running
      podIP: {{ PodIPWith .spec.nodeName false "" | Quote }}
      conditions:
      - {type: Ready, status: "True", lastTransitionTime: {{ $now | Quote }}}
      {{ with .metadata.labels.app }}
      message: {{ printf "app %s" . | Quote }}
      {{ end }}
---
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: sicken}
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector:
    matchAnnotations: {sick: "yes"}
    matchExpressions:
    - {key: '.status.conditions.[] | select( .type == "Ready" ) | .status', operator: In, values: ["True"]}
  delay: {durationFrom: {expressionFrom: '.metadata.annotations["sick.after"]'}}
  next:
    statusTemplate: |
      conditions: [{type: Ready, status: "False"}]
"""


def test_declared_stages_wait_and_write_what_they_say(tank: Tank) -> None:
    declare(tank, _SLOW)
    tank.create(DEPLOYMENTS, simulated(workload(4)))
    wait(tank, 1.9)
    assert phases(tank) == ["Pending"] * 4
    wait(tank, 3.2)
    assert phases(tank) == ["Running"] * 4
    assert {p["status"]["message"] for p in tank.list(PODS)} == {"app web"}
    assert [e["message"] for e in tank.list(EVENTS) if e["reason"] == "Booted"] == ["it runs"] * 4


def test_a_stage_may_wait_as_long_as_the_object_says(tank: Tank) -> None:
    declare(tank, _SLOW)
    made = simulated(workload(1))
    made["spec"]["template"]["metadata"]["annotations"] = {"sick": "yes", "sick.after": "20s"}
    tank.create(DEPLOYMENTS, made)
    wait(tank, 15)
    ready = lambda: tank.list(PODS)[0]["status"]["conditions"]  # noqa: E731
    assert {"True"} == {c["status"] for c in ready() if c["type"] == "Ready"}
    wait(tank, 15)
    assert {"False"} == {c["status"] for c in ready() if c["type"] == "Ready"}


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ .a ", "stage bad"),
        ("{{ Nowhere }}", "stage bad"),
        ("- a list", "does not make a map"),
        ("a: [", "statusTemplate of stage bad"),
    ],
)
def test_a_stage_that_cannot_be_read_is_told_of(tank: Tank, template: str, message: str) -> None:
    spec = {"resourceRef": {"kind": "Pod"}, "next": {"statusTemplate": template}}
    tank.api.create(STAGES, None, {"metadata": {"name": "bad"}, "spec": spec})
    tank.create(DEPLOYMENTS, simulated(workload(1)))
    wait(tank, 1)
    told = [e["message"] for e in tank.list(EVENTS) if e["reason"] == "StageFailed"]
    assert told and message in told[0]


_OBJECT = {"a": {"b/c": 1, "list": [{"k": "x", "v": 1}, {"k": "y", "v": None}, {"k": "y", "v": 3}]}}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (".a.list.[].k", ["x", "y", "y"]),
        (".a.list[].v", [1, 3]),
        ('.a["b/c"]', [1]),
        ('.a.list.[] | select( .k == "y" ) | .v', [3]),
        (".a.list[0].k", ["x"]),
        (".none.at.all", []),
    ],
)
def test_queries(query: str, found: list[Any]) -> None:
    assert values_at(_OBJECT, query) == found


@settings(max_examples=80)
@given(st.text(max_size=30))
def test_any_query_is_answered_or_refused(query: str) -> None:
    try:
        values_at(_OBJECT, query)
    except InputError as error:
        assert "is not a path" in error.message


def stage(weight: int = 0, **delay: Any) -> Object:
    return {"metadata": {"name": str(weight)}, "spec": {"weight": weight, "delay": delay}}


@pytest.mark.parametrize(
    ("delay", "draw", "seconds"),
    [
        ({}, 0.5, 0.0),
        ({"durationMilliseconds": 1000}, 0.5, 1.0),
        ({"durationMilliseconds": 1000, "jitterDurationMilliseconds": 3000}, 0.5, 2.0),
        ({"durationMilliseconds": 3000, "jitterDurationMilliseconds": 1000}, 0.5, 1.0),
        ({"durationFrom": {"expressionFrom": ".a"}, "durationMilliseconds": 7}, 0.0, 90.0),
        ({"durationFrom": {"expressionFrom": ".nothing"}, "durationMilliseconds": 7}, 0.0, 0.007),
        ({"durationFrom": {"expressionFrom": ".until"}}, 0.0, 60.0),
    ],
)
def test_delays(delay: Object, draw: float, seconds: float) -> None:
    obj = {"a": "1.5m", "until": "1970-01-01T00:01:40Z"}
    assert delay_seconds(stage(**delay), obj, 40.0, draw) == pytest.approx(seconds)


def test_stages_are_chosen_by_weight() -> None:
    heavy, light = stage(3), stage(1)
    drawn = [choose([heavy, light], i / 100)["metadata"]["name"] for i in range(100)]
    assert drawn.count("3") == 75
    assert choose([stage(), stage()], 0.99)["spec"]["weight"] == 0
