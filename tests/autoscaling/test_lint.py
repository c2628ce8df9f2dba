"""Lints: each code has a manifest that raises it and one, next to it, that does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from wavetank.autoscaling.advice import advise
from wavetank.autoscaling.lint import lint
from wavetank.cli.autoscale import command
from wavetank.clock import VirtualClock
from wavetank.journal import MemoryJournal
from wavetank.kube.control_plane import ControlPlane
from wavetank.kube.resources import DEPLOYMENTS, HORIZONTALPODAUTOSCALERS

PROBE = {"readinessProbe": {"httpGet": {"port": 80}}}
CPU = {
    "type": "Resource",
    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}},
}
QUEUE = {
    "type": "External",
    "external": {"metric": {"name": "q"}, "target": {"type": "AverageValue", "averageValue": "5"}},
}


def deployment(resources: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    given = {"requests": {"cpu": "100m"}} if resources is None else resources
    container = {"name": "main", "image": "i", "resources": given, **spec.pop("container", PROBE)}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template, **spec},
    }  # fmt: skip


def hpa(name: str = "web", metrics: list[dict[str, Any]] | None = None, **spec: Any) -> dict[str, Any]:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    return {
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": name},
        "spec": {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 5, "metrics": metrics or [CPU], **spec},
    }  # fmt: skip


def vpa(mode: str, **policy: Any) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "targetRef": {"kind": "Deployment", "name": "web"},
        "updatePolicy": {"updateMode": mode},
    }
    if policy:
        spec["resourcePolicy"] = {"containerPolicies": [{"containerName": "*", **policy}]}
    return {"kind": "VerticalPodAutoscaler", "metadata": {"name": "v"}, "spec": spec}


def up(kind: str, **more: Any) -> dict[str, Any]:
    return {"scaleUp": {"policies": [{"type": kind, "value": 100, "periodSeconds": 15}], **more}}


def target(percent: int) -> list[dict[str, Any]]:
    value = {"type": "Utilization", "averageUtilization": percent}
    return [{"type": "Resource", "resource": {"name": "cpu", "target": value}}]


FIXED = {"requests": {"cpu": "100m"}, "limits": {"cpu": "100m"}}
VALUE = {"type": "External", "external": {"metric": {"name": "q"}, "target": {"type": "Value", "value": "5"}}}

CASES = {
    "clean": ([deployment(), hpa()], []),
    "a value per pod": ([deployment(), hpa(metrics=[QUEUE], minReplicas=0)], []),
    "crossed bounds": ([hpa(minReplicas=6)], ["error max-below-min"]),
    "equal bounds": ([hpa(minReplicas=5)], ["warning fixed-size"]),
    "no request": ([deployment(resources={}), hpa()], ["error missing-request"]),
    "a limit stands for the request": ([deployment(resources={"limits": {"cpu": "1"}}), hpa()], []),
    "no request needed": ([deployment(resources={}), hpa(metrics=[QUEUE])], []),
    "target beyond the limit": ([deployment(FIXED), hpa(metrics=target(95))], ["error target-beyond-limit"]),
    "target near the limit": ([deployment(FIXED), hpa(metrics=target(88))], ["warning target-near-limit"]),
    "percent from zero": (
        [hpa(metrics=[QUEUE], minReplicas=0, behavior=up("Percent"))], ["error percent-from-zero"],
    ),
    "pods from zero": ([hpa(metrics=[QUEUE], minReplicas=0, behavior=up("Pods"))], []),
    "percent from one": ([hpa(metrics=[QUEUE], behavior=up("Percent"))], []),
    "no stabilisation": (
        [hpa(behavior={"scaleDown": {"stabilizationWindowSeconds": 0}})], ["warning no-stabilization"],
    ),
    "no scale-down": (
        [hpa(behavior={"scaleDown": {"stabilizationWindowSeconds": 0, "selectPolicy": "Disabled"}})], [],
    ),
    "a value multiplies": ([hpa(metrics=[VALUE])], ["warning value-multiplies"]),
    "no probe": ([deployment(container={}), hpa()], ["warning startup-cpu"]),
    "replicas in the manifest": ([deployment(replicas=3), hpa()], ["warning replicas-fight"]),
    "two for one": ([hpa(), hpa("web2")], ["error shared-target"]),
    "hpa and vpa": ([hpa(), vpa("Auto")], ["error hpa-and-vpa"]),
    "vpa at creation": ([hpa(), vpa("Initial")], ["warning hpa-and-vpa"]),
    "vpa off": ([hpa(), vpa("Off")], []),
    "vpa of memory": ([hpa(), vpa("Auto", controlledResources=["memory"])], []),
    "v1": ([deployment(resources={}), {**hpa(), "spec": {**hpa()["spec"], "metrics": None, "targetCPUUtilizationPercentage": 50}}], ["error missing-request"]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_findings(name: str) -> None:
    objects, expected = CASES[name]
    assert [f"{f.level} {f.code}" for f in lint(objects)] == expected


def test_a_live_replica_count_is_nobodys_manifest() -> None:
    applied = '{"spec": {"replicas": 3}}'
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": applied}
    mine = deployment(replicas=3)
    assert lint([mine, hpa()], live=True) == []
    mine["metadata"]["annotations"] = annotations
    assert [f.code for f in lint([mine, hpa()], live=True)] == ["replicas-fight"]


def test_the_api_server_advises_whoever_applies() -> None:
    clock = VirtualClock(1e9)
    plane = ControlPlane(clock, MemoryJournal(clock))
    plane.boot()
    made = plane.api.create(DEPLOYMENTS, "default", deployment(resources={}))
    assert list(advise(plane.api, DEPLOYMENTS, made)) == []
    made = plane.api.create(HORIZONTALPODAUTOSCALERS, "default", hpa())
    (warning,) = advise(plane.api, HORIZONTALPODAUTOSCALERS, made)
    assert "container main of the target has no cpu request" in warning
    plane.api.advisors = (advise,)


def test_the_command_names_the_line_and_fails_on_errors(tmp_path: Path) -> None:
    import msgspec
    import yaml

    path = tmp_path / "all.yaml"
    path.write_text(yaml.safe_dump_all([deployment(resources={}), hpa(minReplicas=5)]))
    result = CliRunner().invoke(command, ["lint", str(path), "--output", "json"])
    rows = msgspec.json.decode(result.output)
    assert result.exit_code == 1
    assert [row["code"] for row in rows] == ["missing-request", "fixed-size"]
    assert all(row["file"] == str(path) and row["line"] > 10 for row in rows)
    path.write_text(yaml.safe_dump_all([deployment(), hpa()]))
    assert CliRunner().invoke(command, ["lint", str(path)]).exit_code == 0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["spec", "metrics", "type", "name"]), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(JSON, st.sampled_from(["HorizontalPodAutoscaler", "VerticalPodAutoscaler", "Deployment"]))
@settings(max_examples=60, deadline=None)
def test_anything_may_be_linted(spec: Any, kind: str) -> None:
    lint([{"kind": kind, "metadata": {"name": "web"}, "spec": spec}, hpa(), vpa("Auto"), deployment()])
