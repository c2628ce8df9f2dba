"""How near the breakpoint search comes, and what it costs, against an M/M/4 queue whose breakpoint is known.

Beside it the usual way: a linear ramp to twice the capacity that stops when the p99 of the last ten seconds
passes the limit. Simulated time; no load is made.

    python bench/load_breakpoint.py [--runs 40]
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from statistics import median, quantiles

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "load"))

from test_breakpoint import P99, SERVERS, SERVICE_RATE, SETTINGS, Queue, found_by, truth

from wavetank.load.breakpoint import Window


def ramp(queue: Queue, seconds: float) -> float:
    """Rate at which a ramp in one-second steps first sees ten seconds over the limit."""
    last: list[tuple[int, int]] = []
    for second in range(int(seconds)):
        rate = 2 * SERVERS * SERVICE_RATE * (second + 1) / seconds
        seen = queue.run(Window(rate, 1.0, 0.0, "bracket"), P99)
        last = [*last[-9:], (seen.requests, seen.bad)]
        requests, bad = (sum(column) for column in zip(*last, strict=True))
        if requests and bad / requests > P99.allowed:
            return rate
    return math.inf


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=40)
    runs = parser.parse_args().runs
    right = truth(P99)
    limit = f"p99 below {P99.seconds * 1000:g} ms"
    print(f"M/M/{SERVERS}, capacity {SERVERS * SERVICE_RATE:g}/s, {limit}: {right:.1f}/s")
    print(f"{'way':<12}{'of truth: median':>18}{'5 %':>8}{'95 %':>8}{'seconds':>10}")
    searched, spent = [], []
    for seed in range(runs):
        queue = Queue(seed)
        searched.append((found_by(queue, P99, SETTINGS).rate or 0.0) / right)
        spent.append(queue.elapsed)
    rows = [("search", searched, median(spent))]
    rows += [
        (f"ramp {seconds:g} s", [ramp(Queue(seed), seconds) / right for seed in range(runs)], seconds)
        for seconds in (120.0, 600.0)
    ]
    for name, ratios, cost in rows:
        cuts = quantiles(ratios, n=20)
        print(f"{name:<12}{median(ratios):>18.3f}{cuts[0]:>8.2f}{cuts[-1]:>8.2f}{cost:>10.0f}")


if __name__ == "__main__":
    main()
