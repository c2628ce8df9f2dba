"""The fast path's HPA against the real one: the same replica counts on random HPAs and pods."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from wavetank.autoscaling.hpa.model import Hpa, Scale, parse_hpa
from wavetank.autoscaling.hpa.options import HpaOptions
from wavetank.autoscaling.hpa.reconcile import HpaState, conclude, decide
from wavetank.autoscaling.hpa.replica_calculator import ContainerRequests, PodView
from wavetank.autoscaling.metrics import PodSample, Reading
from wavetank.simulation import hpa_kernel as h
from wavetank.simulation.sweep_model import compile_case, run_case
from wavetank.simulation.testing import random_case, reference

OPTIONS = HpaOptions()
REQUEST = 250


def policies(rng: random.Random) -> list[dict[str, Any]]:
    return [
        {
            "type": rng.choice(["Pods", "Percent"]),
            "value": rng.choice([1, 2, 4, 10, 50, 100, 200]),
            "periodSeconds": rng.choice([15, 30, 60, 300]),
        }
        for _ in range(rng.randint(1, 3))
    ]


def rules(rng: random.Random) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if rng.random() < 0.7:
        found["stabilizationWindowSeconds"] = rng.choice([0, 15, 30, 60, 300])
    if rng.random() < 0.7:
        found["policies"] = policies(rng)
    if rng.random() < 0.6:
        found["selectPolicy"] = rng.choice(["Max", "Min", "Disabled"])
    return found


def random_hpa(rng: random.Random) -> Hpa:
    if rng.random() < 0.7:
        target = {"type": "Utilization", "averageUtilization": rng.choice([10, 33, 50, 70, 80, 120])}
    else:
        target = {"type": "AverageValue", "averageValue": f"{rng.choice([50, 133, 400])}m"}
    low = rng.randint(1, 4)
    spec: dict[str, Any] = {
        "minReplicas": low,
        "maxReplicas": low + rng.randint(0, 20),
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
    }
    if rng.random() < 0.7:
        spec["behavior"] = {key: rules(rng) for key in ("scaleUp", "scaleDown") if rng.random() < 0.8}
    return parse_hpa({"metadata": {"name": "web", "namespace": "default"}, "spec": spec})


def random_pod(rng: random.Random, now: float) -> list[float]:
    """A row as the kernel takes it."""
    start = float(int(now - rng.choice([2, 12, 40, 200, 400, 5000])))
    transition = start + rng.choice([0, 5, 30, 45])
    stamp = float(int(now - rng.randint(1, 25)))
    ready = rng.random() < 0.85
    value = float(rng.choice([0, 20, 90, 130, 200, 250, 300, 700]) + rng.randint(0, 30))
    return [
        float(rng.random() < 0.08), float(rng.random() < 0.9), value, stamp, rng.choice([10.0, 15.2, 30.0]),
        float(ready), start, transition,
    ]  # fmt: skip


def view(index: int, row: list[float]) -> PodView:
    requests = (ContainerRequests("c", {"cpu": REQUEST}),)
    phase = "Pending" if row[h.PENDING] else "Running"
    name = f"web-{index}"
    return PodView(name, phase, False, row[h.START], bool(row[h.READY]), row[h.TRANSITION], requests)


def samples(rows: list[list[float]]) -> dict[str, PodSample]:
    return {
        f"web-{i}": PodSample(int(row[h.VALUE]), row[h.STAMP], row[h.WINDOW])
        for i, row in enumerate(rows)
        if row[h.SAMPLED] and not row[h.PENDING]
    }


@pytest.mark.parametrize("seed", range(40))
def test_the_kernel_decides_as_the_controller_does(seed: int) -> None:
    rng = random.Random(seed)
    hpa = random_hpa(rng)
    p = h.pack_hpa(hpa, OPTIONS, REQUEST)
    ups = h.pack_policies(hpa.behavior.up if hpa.behavior else None)
    downs = h.pack_policies(hpa.behavior.down if hpa.behavior else None)
    memory = np.full((h.MEMORY, 3), -1.0)
    state = HpaState()
    current = rng.randint(1, 12)
    now = 1_000_000.0 + rng.random()
    for step in range(60):
        rows = [random_pod(rng, now) for _ in range(max(0, current + rng.choice([0, 0, 0, 1, -1])))]
        metrics = [Reading(pods=samples(rows))]
        if not metrics[0].pods:
            metrics = [Reading(error="no metrics returned from resource metrics API")]
        pods = [view(i, row) for i, row in enumerate(rows)]
        scale = Scale(current, current, "app=web")
        decision = decide(now, hpa, scale, pods, metrics, state, OPTIONS)
        state = conclude(now, hpa, decision, OPTIONS).state
        table = np.array(rows).reshape(len(rows), h.VIEW)
        fast = h.decide_replicas(now, current, table, len(rows), p, ups, downs, memory)
        assert fast == decision.desired, f"seed {seed}, sync {step}: {decision.proposed}, {decision.why}"
        current = decision.desired if rng.random() < 0.97 else rng.randint(1, 25)
        now += rng.choice([15.0, 15.1, 15.0, 30.0])


def test_what_the_kernel_does_not_cover_is_refused() -> None:
    metric = {
        "type": "External",
        "external": {"metric": {"name": "q"}, "target": {"type": "Value", "value": 1}},
    }
    hpa = parse_hpa({"metadata": {"name": "web"}, "spec": {"maxReplicas": 3, "metrics": [metric]}})
    with pytest.raises(ValueError, match="one Resource metric on cpu"):
        h.pack_hpa(hpa, OPTIONS, REQUEST)


@pytest.mark.parametrize("seed", range(1000, 1015))
def test_the_fast_path_has_the_controllers_replicas_in_every_second(seed: int) -> None:
    model, settings = random_case(seed, 1800)
    compiled = compile_case(model, settings, seed)
    replicas, _ = run_case(model, compiled, trace=True)
    assert np.array_equal(replicas, reference(model, compiled)), f"seed {seed}"
