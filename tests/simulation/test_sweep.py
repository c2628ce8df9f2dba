"""Sweeps: settings by path, the same figures however the work is cut, what is refused, what is advised."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from wavetank.errors import InputError
from wavetank.simulation.advice import patch_yaml
from wavetank.simulation.model import assumed_model
from wavetank.simulation.sweep import (
    Knob,
    SweepFile,
    Tried,
    count_points,
    grid_points,
    pareto_front,
    parse_knob,
    random_points,
    recommend,
    refuse_too_many,
    robustness,
    run_bayesian,
    run_sweep,
    sensitivity,
)
from wavetank.simulation.sweep_model import SweepModel, evaluate, read_path

UTILIZATION = "hpa/web.spec.metrics[0].resource.target.averageUtilization"
HPA: dict[str, Any] = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {
        "scaleTargetRef": {"kind": "Deployment", "name": "web"},
        "minReplicas": 1,
        "maxReplicas": 10,
        "metrics": [
            {"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 60}}},
        ],
    },
}
DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {
        "template": {
            "spec": {"containers": [{"name": "web", "resources": {"requests": {"cpu": "500m"}}}]},
        }
    },
}


@pytest.fixture
def model() -> SweepModel:
    """An hour between 20 and 220 requests a second; a pod can do 100."""
    seconds = np.arange(3600)
    return SweepModel(
        objects={"deployment/web": DEPLOYMENT, "horizontalpodautoscaler/web": HPA},
        workload="deployment/web",
        hpa="horizontalpodautoscaler/web",
        pod=assumed_model(),
        rates=120 - 100 * np.cos(2 * np.pi * seconds / 3600),
        cluster={"hpaSyncPeriod": "15s", "metricResolution": "15s", "housekeepingInterval": "10s"},
        node_millis=(4000, 4000),
        image_seconds=0.0,
        timeout=15.0,
        propagation=0.05,
        latency_bound=0.5,
        error_budget=0.01,
    )


def some_points() -> list[dict[str, Any]]:
    return list(grid_points([Knob(UTILIZATION, (30, 60, 90)), Knob("hpa/web.spec.minReplicas", (1, 3))]))


def test_a_lower_target_costs_more_and_drops_less(model: SweepModel) -> None:
    low, high = (evaluate(model, {UTILIZATION: target}) for target in (30, 90))
    assert low.cost > high.cost
    assert low.bad_ratio <= high.bad_ratio
    assert low.replicas_peak <= 10


def test_figures_do_not_depend_on_how_the_work_is_cut(model: SweepModel, tmp_path: Path) -> None:
    points = some_points()
    alone = [evaluate(model, point, 7) for point in points]
    together, whole = run_sweep(model, points, 7, cores=1)
    assert whole
    assert [t.figures for t in together] == alone
    kept = SweepFile(tmp_path / "sweep.jsonl", model, points, 7)
    kept.read()
    kept.add(together[:4])
    resumed, _ = run_sweep(model, points, 7, cores=1, kept=kept)
    assert [t.figures for t in resumed] == alone


@pytest.mark.slow
def test_processes_give_the_same_figures(model: SweepModel) -> None:
    points = list(random_points([Knob(UTILIZATION, (), 20.0, 95.0)], 40, 1))
    assert run_sweep(model, points, 3, cores=2) == run_sweep(model, points, 3, cores=1)


def test_an_interrupt_keeps_what_is_done(model: SweepModel) -> None:
    points = list(random_points([Knob(UTILIZATION, (), 20.0, 95.0)], 40, 1))

    def stop(done: int) -> None:
        if done >= 16:
            raise KeyboardInterrupt

    tried, whole = run_sweep(model, points, 0, cores=1, progress=stop)
    assert not whole
    assert len(tried) == 16


def test_another_sweeps_file_is_begun_anew(model: SweepModel, tmp_path: Path) -> None:
    points = some_points()
    path = tmp_path / "sweep.jsonl"
    first = SweepFile(path, model, points, 0)
    assert first.read() == []
    first.add([Tried(0, points[0], evaluate(model, points[0]))])
    with path.open("ab") as file:
        file.write(b'{"torn')
    assert len(SweepFile(path, model, points, 0).read()) == 1
    assert SweepFile(path, model, points, 1).read() == []


def test_optuna_finds_a_setting_that_keeps_the_slo(model: SweepModel) -> None:
    tried, whole = run_bayesian(model, [Knob(UTILIZATION, (), 20.0, 95.0)], 12, 0)
    assert whole
    best = recommend(tried)[0]
    assert best.figures is not None
    assert best.figures.kept


def test_front_recommendation_and_sensitivity(model: SweepModel) -> None:
    knobs = [Knob(UTILIZATION, (30, 60, 90)), Knob("hpa/web.spec.minReplicas", (1, 3))]
    tried, _ = run_sweep(model, some_points(), 0, cores=1)
    front = pareto_front(tried)
    assert front == sorted(front, key=lambda t: t.figures.cost if t.figures else 0)
    best = recommend(tried)[0]
    assert best.figures is not None
    kept = [t.figures.cost for t in tried if t.figures is not None and t.figures.kept]
    assert best.figures.cost == min(kept)
    assert {path for path, _, _ in sensitivity(tried, knobs)} == {k.path for k in knobs}
    assert robustness(model, best.settings, [0, 1]).loads[0][0] == 0.5


def test_the_patch_names_only_what_changes(model: SweepModel) -> None:
    cpu = "deployment/web.spec.template.spec.containers[0].resources.limits.cpu"
    settings = {UTILIZATION: 45, cpu: "1", "cluster.hpaSyncPeriod": "10s"}
    patch = patch_yaml(model, settings, ["because"])
    hpa, deployment = yaml.safe_load_all(patch)
    assert hpa["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 45
    assert "maxReplicas" not in hpa["spec"]
    assert deployment["spec"]["template"]["spec"]["containers"] == [
        {"name": "web", "resources": {"limits": {"cpu": "1"}}}
    ]
    assert patch.startswith("# because")
    assert "# hpaSyncPeriod: 10s" in patch
    assert HPA["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 60


REFUSED: Sequence[tuple[dict[str, Any], str]] = (
    ({"hpa/wbe.spec.maxReplicas": 3}, "there is no horizontalpodautoscaler/wbe"),
    ({"maxReplicas": 3}, "not the path of a field"),
    ({"hpa/web.spec.metrics[3].resource.name": "cpu"}, "no element [3]"),
    ({"hpa/web.spec.minReplicas": 20}, "impossible"),
    ({"deployment/web.spec.template.spec.containers[0].resources.requests.cpu": "0"}, "request that is 0"),
    ({"cluster.hpaSyncPeriod": "0s"}, "hpaSyncPeriod"),
)


@pytest.mark.parametrize(("settings", "message"), REFUSED)
def test_impossible_settings_are_errors(model: SweepModel, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as raised:
        evaluate(model, settings)
    assert message in str(raised.value)


def test_a_thousand_million_settings_are_refused_with_the_estimate() -> None:
    knobs = [Knob(f"hpa/web.spec.{i}", tuple(range(1000))) for i in range(3)]
    with pytest.raises(InputError, match=r"1,000,000,000 settings .* hours on 2 cores"):
        refuse_too_many(count_points(knobs), 2)


def test_knobs_and_paths() -> None:
    assert parse_knob("a/b.c=1,2.5,x") == Knob("a/b.c", (1, 2.5, "x"))
    assert parse_knob("a/b.c=1..9").is_range
    assert read_path(UTILIZATION)[0] == "horizontalpodautoscaler/web"
    for bad in ("a/b.c", "a/b.c=9..1", "a/b.c=x..y"):
        with pytest.raises(InputError):
            parse_knob(bad)
    with pytest.raises(InputError, match="is a range"):
        count_points([Knob("a/b.c", (), 1.0, 2.0)])
