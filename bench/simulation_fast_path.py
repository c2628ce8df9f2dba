"""The fast path against the real HPA: a thousand random hours, every decision the same; and how fast it is.

Each case is a random HPA, load, pod and phase. The stepped world runs twice: with the decision compiled in
(``run_day``), and second by second from Python with ``autoscaling.hpa.decide`` in its place. The replica
counts of every second must be equal.

Run: ``python bench/simulation_fast_path.py [--cases 1000]``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from dataclasses import replace

import numpy as np

from wavetank.simulation.sweep import Knob, grid_points, run_sweep
from wavetank.simulation.sweep_model import SweepModel, compile_case, evaluate, run_case
from wavetank.simulation.testing import random_case, reference


def equal(seed: int) -> tuple[bool, int]:
    """(whether all seconds are equal, how many scalings there were)."""
    model, settings = random_case(seed)
    compiled = compile_case(model, settings, seed)
    fast, _ = run_case(model, compiled, trace=True)
    slow = reference(model, compiled)
    return bool(np.array_equal(fast, slow)), int(np.count_nonzero(np.diff(slow)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--points", type=int, default=10_000)
    arguments = parser.parse_args()
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        results = pool.map(equal, range(arguments.cases), chunksize=10)
    same = sum(ok for ok, _ in results)
    print(
        f"{same} of {len(results)} random hours equal in every second; {sum(n for _, n in results)} scalings"
    )
    model = _day()
    settings = {"hpa/web.spec.maxReplicas": 20}
    evaluate(model, settings)
    times = []
    for _ in range(20):
        begun = time.process_time()
        evaluate(model, settings)
        times.append(time.process_time() - begun)
    print(f"one setting over 24 h: median {sorted(times)[10] * 1000:.1f} ms, best {min(times) * 1000:.1f} ms")
    for cores in (1, 2):
        count = arguments.points if cores == 2 else arguments.points // 10
        knobs = [
            Knob("hpa/web.spec.metrics[0].resource.target.averageUtilization", tuple(range(30, 80))),
            Knob("hpa/web.spec.minReplicas", tuple(range(1, 11))),
            Knob("hpa/web.spec.maxReplicas", tuple(range(10, 30))),
        ]
        points = list(grid_points(knobs))[:count]
        begun, used = time.perf_counter(), sum(os.times()[:4])
        run_sweep(model, points, 0, cores=cores)
        spent = time.perf_counter() - begun
        used = sum(os.times()[:4]) - used  # of the processes too, which have ended
        print(
            f"{count} settings x 24 h on {cores} core(s): {spent:.1f} s, {count / spent:.0f} a second; "
            f"{used:.1f} CPU-s, {used / count * 1000:.2f} ms a setting"
        )


def _day() -> SweepModel:
    model, _ = random_case(0)
    seconds = np.arange(86_400)
    rates = 200 - 180 * np.cos(2 * np.pi * seconds / 86_400)
    return replace(model, rates=rates, hpa="horizontalpodautoscaler/web")


if __name__ == "__main__":
    main()
