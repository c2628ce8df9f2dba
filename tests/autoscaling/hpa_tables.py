"""Reading the case tables under data/: facts re-stated from Kubernetes' own unit tests (Apache-2.0)."""

import json
from pathlib import Path
from typing import Any

from wavetank.autoscaling.hpa.behavior import Policy, ScaleEvent, ScalingRules
from wavetank.autoscaling.hpa.replica_calculator import ContainerRequests, PodView

DATA = Path(__file__).parent / "data"


def load(name: str) -> dict[str, Any]:
    return json.loads((DATA / f"{name}.json").read_text())


def named(cases: list[dict[str, Any]]) -> list[Any]:
    import pytest

    return [pytest.param(case, id=case.get("name", str(index))) for index, case in enumerate(cases)]


def rules(given: dict[str, Any] | None, default: ScalingRules) -> ScalingRules:
    if given is None:
        return default
    policies = tuple(Policy(p["type"], p["value"], p["periodSeconds"]) for p in given["policies"])
    return ScalingRules(given.get("stabilizationWindowSeconds"), given["selectPolicy"], policies)


def events(now: float, given: list[dict[str, Any]]) -> tuple[ScaleEvent, ...]:
    return tuple(ScaleEvent(e["replicaChange"], now - e["ageSeconds"]) for e in given)


def calculator_pod(pod: dict[str, Any]) -> PodView:
    ready = pod.get("ready")
    return PodView(
        name=pod["name"],
        phase=pod["phase"],
        deleting=pod.get("deleting", False),
        start_time=pod.get("startTime"),
        ready=None if ready is None else ready == "True",
        ready_transition=pod.get("readyLastTransition", 0),
        containers=[
            ContainerRequests(name, {} if request is None else {"cpu": request})
            for name, request in (pod.get("containerRequestsMilli") or {}).items()
        ],
    )
