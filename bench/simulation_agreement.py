"""Rehearsals beside their simulations: pods ready over time, p99 by stage, every stage of the lag.

Each rehearsal measures a model of its pods; the same load is simulated with that model in several seeds,
since phases of syncs, scrapes and housekeeping are as chance has them.

- Ready pods: the share of the load's seconds in which the rehearsed number is one that a simulation has
  within one sync period (15 s) of that second.
- p99 of a load stage: simulated over rehearsed, medians, where nothing waits for long.
- A stage of the first scale-up agrees where the mean of one lies within the spread of the other. (A tank
  starts its parts in the same order each time, so that the phases of rehearsals differ by less than chance.)

Run: ``python bench/simulation_agreement.py [--runs 5] [--seeds 5] [DIR...]`` (DIR: reports of earlier
rehearsals of examples/httpbin; without any, ``--runs`` are made, about four minutes each).
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from wavetank.rehearsal.comparison import Curve, curves, read_report
from wavetank.rehearsal.plan import make_plan
from wavetank.rehearsal.report.model import Report
from wavetank.rehearsal.simulated import Options, simulate_plan

EXAMPLE = Path(__file__).parents[1] / "examples" / "httpbin"
SYNC = 15.0
READY = "httpbin ready"


def rehearse(out: Path) -> None:
    """Exit code 1 is an SLO that did not hold: a result as any."""
    program = [sys.executable, "-c", "from wavetank.cli import main; main()"]
    done = subprocess.run([*program, "rehearse", str(EXAMPLE), "--out", str(out)], check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(f"the rehearsal ended with {done.returncode}")


def simulate(rehearsed: Path, seeds: int) -> list[Report]:
    """With the model that the rehearsal measured."""
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary) / "httpbin"
        shutil.copytree(
            EXAMPLE, directory, ignore=shutil.ignore_patterns("report", "simulation", "model.yaml")
        )
        shutil.copy(rehearsed / "model.yaml", directory)
        plan = make_plan(directory, simulated=True)
        found = []
        for seed in range(seeds):
            run = Path(temporary) / f"run{seed}"
            run.mkdir()
            found.append(simulate_plan(plan, Options(directory, run, seed=seed), run))
        return found


def value_at(curve: Curve, at: float) -> float:
    return next((v for t, v in reversed(curve) if t <= at), 0.0)


def agreeing(rehearsed: Report, simulated: Report) -> float:
    """Share of the load's seconds with a ready count that the simulation has within a sync period."""
    real, model = curves(rehearsed)[READY], curves(simulated)[READY]
    seconds = range(int(min(real[-1][0], model[-1][0])))
    near = [
        value_at(real, t) in {value_at(model, t + shift) for shift in range(-int(SYNC), int(SYNC) + 1)}
        for t in seconds
    ]
    return sum(near) / len(near)


def replicas(pairs: Sequence[tuple[Report, list[Report]]]) -> None:
    for i, (real, models) in enumerate(pairs):
        shares = [agreeing(real, model) for model in models]
        peaks = sorted({int(max(v for _, v in curves(m)[READY])) for m in models})
        peak = int(max(v for _, v in curves(real)[READY]))
        print(
            f"rehearsal {i + 1}: {peak} pods at most, simulated {peaks}; seconds within one sync period: "
            f"{statistics.fmean(shares):.0%} (seeds {min(shares):.0%} to {max(shares):.0%})"
        )


def latencies(pairs: Sequence[tuple[Report, list[Report]]]) -> None:
    for index, stage in enumerate(pairs[0][0].stages):
        real = [p for r, _ in pairs if (p := r.stages[index].p99_ms) is not None]
        model = [p for _, models in pairs for m in models if (p := m.stages[index].p99_ms) is not None]
        one, other = statistics.median(real), statistics.median(model)
        print(
            f"stage {index + 1}, {stage.rps or 0:g}/s: p99 rehearsed {one:.0f} ms ({min(real):.0f} to "
            f"{max(real):.0f}), simulated {other:.0f} ms ({other / one - 1:+.0%})"
        )


def first_up(report: Report) -> dict[str, float]:
    up = next((s for s in report.scalings if s.direction == "up"), None)
    if up is None:
        return {}
    return {"in all": up.total_seconds} | {stage.name: stage.seconds for stage in up.stages}


def lags(pairs: Sequence[tuple[Report, list[Report]]]) -> None:
    real = [first_up(r) for r, _ in pairs]
    model = [first_up(m) for _, models in pairs for m in models]
    columns = ("rehearsed", "least", "most", "simulated", "least", "most", "agree")
    print(f"{'first scale-up, s':22}" + "".join(f"{name:>10}" for name in columns))
    for name in dict.fromkeys(name for stages in real for name in stages):
        seen = [stages[name] for stages in real if name in stages]
        made = [stages[name] for stages in model if name in stages]
        line = f"{name:22}" + "".join(f"{v:10.2f}" for v in (statistics.fmean(seen), min(seen), max(seen)))
        if made:
            line += "".join(f"{v:10.2f}" for v in (statistics.fmean(made), min(made), max(made)))
            line += f"{'yes' if within(made, seen) or within(seen, made) else 'no':>10}"
        print(line)


def within(some: Sequence[float], others: Sequence[float]) -> bool:
    """Whether the mean of some is among the others; instants are read to a few hundredths of a second."""
    return min(others) - 0.05 <= statistics.fmean(some) <= max(others) + 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("directories", type=Path, nargs="*")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        found: list[Path] = arguments.directories or [Path(temporary) / str(i) for i in range(arguments.runs)]
        for directory in found:
            if not (directory / "report.json").exists():
                rehearse(directory)
        pairs = [(read_report(d), simulate(d, arguments.seeds)) for d in found]
    replicas(pairs)
    latencies(pairs)
    lags(pairs)


if __name__ == "__main__":
    main()
