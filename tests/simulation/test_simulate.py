"""``wavetank simulate`` as a user runs it: same directory, same report, same bytes."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from wavetank.rehearsal.plan import make_plan
from wavetank.rehearsal.report.model import Report
from wavetank.rehearsal.simulated import Options, simulate_plan

HTTPBIN = Path(__file__).parents[2] / "examples" / "httpbin"


def simulated(directory: Path, *, seed: int = 0, until: str = "100s") -> Report:
    plan = make_plan(HTTPBIN, simulated=True)
    return simulate_plan(plan, Options(HTTPBIN, directory, seed=seed, until=until), directory)


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
