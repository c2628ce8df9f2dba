"""What a run says about its pods: CPU per request over two loads, start-up between probes, service time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from wavetank.analysis.query import Series
from wavetank.simulation.calibration import StageLoad, calibrate, model_yaml
from wavetank.simulation.model import load_models

STAGES = [StageLoad(100.0, 160.0, 10.0), StageLoad(160.0, 220.0, 50.0)]
#: 4 ms a request, a hundredth of a core at rest.
CORES = {10.0: 0.05, 50.0: 0.21}


def journal() -> list[dict[str, Any]]:
    pod = {"pod": "shop/web-1-a", "uid": "u1"}
    records: list[dict[str, Any]] = [
        {"at": 90.0, "kind": "container.started", **pod},
        {"at": 92.0, "kind": "probe.failed", **pod},
        {"at": 94.0, "kind": "pod.ready", **pod},
    ]
    used = 1.5
    for at in range(95, 222, 5):
        used += 5 * (CORES[50.0] if at > 160 else CORES[10.0] if at > 100 else 0.01)
        records.append({"at": float(at), "kind": "kubelet.sample", "node": "n", "pods": {pod["pod"]: used}})
    return records


class Monitoring:
    """The buckets of the lightest stage."""

    async def instant(self, expr: str, at: float) -> list[Series]:
        assert "locust_request_duration_seconds_bucket" in expr
        counts = {"0.005": 100.0, "0.01": 500.0, "0.02": 600.0, "+Inf": 600.0}
        return [Series({"le": le}, [at], [count]) for le, count in counts.items()]

    async def range(self, expr: str, start: float, end: float, step: float) -> list[Series]:
        return []


async def test_a_run_gives_a_model_that_simulations_take(tmp_path: Path) -> None:
    fields, how = await calibrate("web", journal(), STAGES, Monitoring())
    assert fields["cpuPerRequest"] == "4ms"
    assert fields["idleCpu"] == pytest.approx(0.01, abs=1e-4)
    assert fields["startup"]["duration"] == "3s"  # between the probe failed at 92 and the one passed at 94
    assert how["serviceTime"] == "600 requests at 10/s"
    (tmp_path / "model.yaml").write_text(model_yaml({"web": (fields, how)}, None, "a test"))
    models = load_models(tmp_path, ("web",))
    model = models.of("web")
    assert model.cpu_per_request == pytest.approx(0.004)
    assert model.service.mean == pytest.approx(0.0079, rel=0.05)
    assert dict(models.origins)["web: cpuPerRequest"].endswith("(measured: CPU over requests at 2 load(s))")


async def test_a_start_that_was_held_up_by_the_limit_is_not_held_up_twice() -> None:
    free, _ = await calibrate("web", journal(), STAGES, None)
    held, _ = await calibrate("web", journal(), STAGES, None, cpu_limit=0.2)
    assert free["startup"]["cpu"] > held["startup"]["cpu"] == 0.2
    assert free["startup"]["duration"] == held["startup"]["duration"]


async def test_what_the_user_knows_better_is_kept() -> None:
    fields, how = await calibrate("web", journal(), STAGES, None)
    before = {"services": {"web": {"concurrency": {"workers": 3}}, "other": {"idleCpu": 0.1}}}
    text = model_yaml({"web": (fields, how)}, before, "a test")
    assert "workers: 3" in text
    assert "other:" in text
    assert "serviceTime" not in text  # nobody could be asked


async def test_a_run_without_pods_says_nothing() -> None:
    assert await calibrate("web", [], STAGES, None) == ({}, {})


async def test_pods_that_join_in_a_stage_count_for_as_long_as_they_share_it() -> None:
    """One pod alone for 24 s of 60, then three: 100 requests a second at 2 ms throughout."""
    records: list[dict[str, Any]] = []
    for uid, ready in (("u1", 0.0), ("u2", 134.0), ("u3", 134.0)):
        pod = {"pod": f"shop/web-1-{uid}", "uid": uid}
        records += [
            {"at": ready - 2, "kind": "container.started", **pod},
            {"at": ready, "kind": "pod.ready", **pod},
        ]
        used = 0.0
        for at in range(int(ready) + 1, 162):
            used += 0.2 / (1 if at <= 134 else 3) if at > 100 else 0.0
            if at % 5 == 0:
                records.append({"at": at, "kind": "kubelet.sample", "node": "n", "pods": {pod["pod"]: used}})
    fields, _ = await calibrate("web", records, [StageLoad(100.0, 160.0, 100.0)], None)
    assert float(str(fields["cpuPerRequest"]).removesuffix("ms")) == pytest.approx(2.0, rel=0.03)
