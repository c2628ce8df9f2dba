"""``wavetank simulate`` as a user runs it: same directory, same report, same bytes."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from wavetank.rehearsal.plan import make_plan
from wavetank.rehearsal.report.model import Report
from wavetank.rehearsal.simulated import Options, simulate_plan

EXAMPLES = Path(__file__).parents[2] / "examples"
HTTPBIN = EXAMPLES / "httpbin"
STORM = EXAMPLES / "retry-storm"


def simulated(
    directory: Path, *, seed: int = 0, until: str = "100s", example: Path = HTTPBIN, stepped: bool = False
) -> Report:
    plan = make_plan(example, simulated=True)
    options = Options(example, directory, seed=seed, until=until, stepped=stepped)
    return simulate_plan(plan, options, directory)


def blocks(directory: Path) -> dict[str, bytes]:
    """Every file of the run, by name."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


@pytest.mark.slow
def test_two_runs_with_one_seed_are_equal_to_the_byte_and_another_seed_differs(tmp_path: Path) -> None:
    runs = [tmp_path / name for name in "abc"]
    for run in runs:
        run.mkdir()
    first, second = (simulated(run, seed=3) for run in runs[:2])
    other = simulated(runs[2], seed=4)
    assert msgspec.json.encode(first) == msgspec.json.encode(second)
    files = blocks(runs[0])
    assert any(name.endswith("chunks/000001") for name in files)
    assert files == blocks(runs[1])
    assert msgspec.json.encode(first) != msgspec.json.encode(other)
    check_what_is_there(first)


def check_what_is_there(report: Report) -> None:
    """A report like a rehearsal's: SLOs with values, a scaling with its stages, what was assumed."""
    assert [slo.name for slo in report.slos] == ["availability", "latency-p95"]
    assert all(slo.value is not None for slo in report.slos)
    assert report.scalings, "100 requests/s on one pod must scale it up"
    stages = [stage.name for stage in report.scalings[0].stages]
    assert "HPA sync" in stages
    assert any(m.what == "resolution" for m in report.modelled)
    assert report.environment.machine.cpu_count == 0


@pytest.mark.slow
@pytest.mark.parametrize("stepped", [False, True])
def test_services_that_call_each_other_are_equal_to_the_byte_too(tmp_path: Path, *, stepped: bool) -> None:
    runs = [tmp_path / name for name in "abc"]
    for run in runs:
        run.mkdir()
    reports = [
        simulated(run, seed=seed, until="15s", example=STORM, stepped=stepped)
        for run, seed in zip(runs, (3, 3, 4), strict=True)
    ]
    assert blocks(runs[0]) == blocks(runs[1])
    assert blocks(runs[0]) != blocks(runs[2])
    first = reports[0]
    services = {service.name: service for service in first.services}
    assert set(services) == {"default/cart", "default/shop"}
    shop = services["default/shop"]
    assert shop.requests == pytest.approx(15 * 270, rel=0.05)
    assert services["default/cart"].requests == pytest.approx(shop.requests, rel=0.01)
    resolution = next(m.how for m in first.modelled if m.what == "resolution")
    assert resolution.startswith("stepped" if stepped else "each request")
