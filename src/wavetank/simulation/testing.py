"""The fast path beside the real HPA: random cases, and the stepped world with ``decide`` in the loop.

For tests and ``bench/simulation_fast_path.py``, which compare the replicas of every second.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from wavetank.autoscaling.hpa.model import Scale
from wavetank.autoscaling.hpa.options import HpaOptions
from wavetank.autoscaling.hpa.reconcile import HpaState, conclude, decide
from wavetank.autoscaling.hpa.replica_calculator import ContainerRequests, PodView
from wavetank.autoscaling.metrics import PodSample, Reading
from wavetank.simulation import EPOCH
from wavetank.simulation import hpa_kernel as h
from wavetank.simulation import stepped as s
from wavetank.simulation.distributions import Distribution
from wavetank.simulation.model import PodModel
from wavetank.simulation.sweep_model import Case, Settings, SweepModel

__all__ = ["random_case", "reference"]

OPTIONS = HpaOptions()


def random_case(seed: int, seconds: int = 3600) -> tuple[SweepModel, Settings]:
    """A workload with a random HPA, pod model and load, and random settings of it."""
    rng = random.Random(f"case/{seed}")
    request = rng.choice([100, 250, 500, 1000])
    limit = rng.choice([0, request, 2 * request])
    low = rng.randint(1, 4)
    target = rng.choice([30, 50, 60, 70, 80, 95])
    spec: dict[str, Any] = {
        "minReplicas": low,
        "maxReplicas": low + rng.randint(1, 25),
        "metrics": [
            {"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": target}}},
        ],
    }
    if rng.random() < 0.6:
        spec["behavior"] = {key: _rules(rng) for key in ("scaleUp", "scaleDown") if rng.random() < 0.8}
    resources: dict[str, Any] = {"requests": {"cpu": f"{request}m"}}
    if limit:
        resources["limits"] = {"cpu": f"{limit}m"}
    container = {"name": "web", "resources": resources, "readinessProbe": _probe(rng)}
    objects: dict[str, dict[str, Any]] = {
        "deployment/web": {
            "metadata": {"name": "web"},
            "spec": {"replicas": rng.randint(1, 5), "template": {"spec": {"containers": [container]}}},
        },
        "horizontalpodautoscaler/web": {"metadata": {"name": "web"}, "spec": spec},
    }
    service = rng.choice([0.004, 0.010, 0.025])
    pod = PodModel(
        Distribution.exponential(service),
        cpu_share=rng.choice([0.3, 1.0]),
        concurrency=rng.choice([1, 4, 16]),
        startup=rng.choice([0.5, 3.0, 20.0, 45.0]),
        startup_cpu=rng.choice([0.1, 1.0]),
        warm_factor=rng.choice([1.0, 1.0, 4.0]),
        warm_seconds=rng.choice([10.0, 40.0]),
    )
    model = SweepModel(
        objects=objects,
        workload="deployment/web",
        hpa="horizontalpodautoscaler/web",
        pod=pod,
        rates=_rates(rng, seconds, pod.capacity(limit / 1000)),
        cluster={"hpaSyncPeriod": "15s", "metricResolution": "15s", "housekeepingInterval": "10s"},
        node_millis=(rng.choice([2000, 8000]),) * rng.randint(1, 4),
        image_seconds=rng.choice([0.0, 0.0, 30.0]),
        timeout=rng.choice([1.0, 15.0]),
        propagation=0.05,
        latency_bound=0.5,
        error_budget=0.01,
    )
    return model, {"cluster.hpaSyncPeriod": rng.choice(["10s", "15s", "30s"])}


def _probe(rng: random.Random) -> dict[str, Any]:
    return {
        "httpGet": {"path": "/"},
        "periodSeconds": rng.choice([1, 2, 10]),
        "initialDelaySeconds": rng.choice([0, 0, 5]),
    }


def _rules(rng: random.Random) -> dict[str, Any]:
    policies = [
        {
            "type": rng.choice(["Pods", "Percent"]),
            "value": rng.choice([1, 2, 4, 50, 100]),
            "periodSeconds": rng.choice([15, 60, 120]),
        }
        for _ in range(rng.randint(1, 2))
    ]
    return {
        "stabilizationWindowSeconds": rng.choice([0, 30, 60, 300]),
        "policies": policies,
        "selectPolicy": rng.choice(["Max", "Max", "Min", "Disabled"]),
    }


def _rates(rng: random.Random, seconds: int, capacity: float) -> Any:
    """A wave with steps in it, from almost nothing to more than the pods can do."""
    at = np.arange(seconds)
    top = capacity * rng.uniform(0.5, 12)
    rates = top * (0.5 - 0.45 * np.cos(2 * np.pi * at / rng.choice([600, 1800, 3600])))
    for _ in range(rng.randint(0, 3)):
        begin = rng.randrange(seconds)
        rates[begin : begin + rng.randint(30, 600)] *= rng.uniform(0.0, 4.0)
    return rates


def reference(model: SweepModel, compiled: Case) -> Any:
    """Replicas of every second with the controller's own decision."""
    case = compiled.case
    pods, state, used, _, result = s.new_world(case, len(model.rates))
    view = np.zeros((s.PODS_MAX, h.VIEW))
    replicas = np.zeros(len(model.rates), np.int64)
    memory = HpaState()
    assert compiled.hpa is not None
    for second, rate in enumerate(model.rates):
        s.serve(second, rate, case, pods, state, used, result)
        while state[s.NEXT_SYNC] < second + 1:
            now = float(state[s.NEXT_SYNC])
            count = s.observe(now, EPOCH, case, pods, state, used, view)
            desired, memory = _decide(compiled, EPOCH + now, count, view, memory)
            s.apply_scale(now, min(desired, s.PODS_MAX), case, pods, state, result)
            state[s.NEXT_SYNC] += case[s.SYNC]
        replicas[second] = int(state[s.COUNT])
    return replicas


def _decide(compiled: Case, now: float, count: int, view: Any, memory: HpaState) -> tuple[int, HpaState]:
    requests = (ContainerRequests("c", {"cpu": compiled.request_millis}),)
    pods = [
        PodView(
            f"p{i}", "Pending" if row[h.PENDING] else "Running", False, row[h.START], bool(row[h.READY]),
            row[h.TRANSITION], requests,
        )
        for i, row in enumerate(view[:count])
    ]  # fmt: skip
    samples = {
        f"p{i}": PodSample(int(row[h.VALUE]), row[h.STAMP], row[h.WINDOW])
        for i, row in enumerate(view[:count])
        if row[h.SAMPLED]
    }
    reading = Reading(pods=samples) if samples else Reading(error="no metrics returned")
    assert compiled.hpa is not None
    decision = decide(now, compiled.hpa, Scale(count, count, "a=b"), pods, [reading], memory, OPTIONS)
    return decision.desired, conclude(now, compiled.hpa, decision, OPTIONS).state
