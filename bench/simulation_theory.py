"""The request-by-request kernels: how fast, beside simpy, and how near to queueing theory; and how far the
stepped resolution is from them.

Neighbouring latencies are alike, the more so the busier the server: at a load of 0.9 a mean over two million
requests is only known to 3 %. Each row therefore shows how far off theory it is beside the half-width of its
95 % interval, by the means of 40 batches of one run; samples are chosen so that this stays below a percent.
What remains of a percentile's error is its bin (1/64 of an octave), within which it is interpolated here.

Run: ``python bench/simulation_theory.py [--requests 4000000] [--share 1.0] [speeds] [theory]
[resolutions]`` (share: of the samples).
"""

from __future__ import annotations

import argparse
import math
import random
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wavetank.clock import VirtualClock
from wavetank.rehearsal.plan import make_plan
from wavetank.rehearsal.report.model import Report
from wavetank.rehearsal.simulated import Options as Simulate
from wavetank.rehearsal.simulated import simulate_plan
from wavetank.rehearsal.sweeping import Options as Sweep
from wavetank.rehearsal.sweeping import sweep_model
from wavetank.simulation import kernels as k
from wavetank.simulation.distributions import Distribution
from wavetank.simulation.model import PodModel, assumed_model
from wavetank.simulation.sweep_model import evaluate
from wavetank.simulation.traffic import Route, Traffic

EXAMPLES = Path(__file__).parents[1] / "examples"
SERVICE = 0.001
BATCHES = 40
#: Student's t at 97.5 % with 39 degrees of freedom.
STUDENT = 2.023


def pod(**changes: object) -> PodModel:
    model = replace(assumed_model(), service=Distribution.exponential(SERVICE))
    return replace(model, **changes)  # type: ignore[arg-type]


def run(
    model: PodModel, rps: float, requests: int, *, pods: int = 1, balancer: int = k.ROUND_ROBIN,
    poisson: bool = True,
) -> tuple[Traffic, float]:  # fmt: skip
    """(what came of it, requests a CPU second)."""
    traffic = Traffic(VirtualClock(0.0, seed=1), "web", model, Route(1e9, balancer, poisson), 0.0)
    names = [f"p{i}" for i in range(pods)]
    for name in names:
        traffic.start(name)
    traffic.set_ready(names)
    seconds = max(2, round(requests / rps))
    traffic.begin(np.full(seconds, rps))
    traffic.advance_to(1.0)
    begun = time.process_time()
    traffic.advance_to(float(seconds))
    return traffic, (seconds - 1) * rps / (time.process_time() - begun)


def simpy_speed(requests: int, load: float) -> float:
    """The same M/M/1 in simpy: requests a CPU second."""
    import simpy

    rng = random.Random(1)
    world = simpy.Environment()
    server = simpy.Resource(world, 1)

    def one():  # type: ignore[no-untyped-def]
        with server.request() as turn:
            yield turn
            yield world.timeout(rng.expovariate(1 / SERVICE))

    def arrivals():  # type: ignore[no-untyped-def]
        for _ in range(requests):
            yield world.timeout(rng.expovariate(load / SERVICE))
            world.process(one())

    world.process(arrivals())
    begun = time.process_time()
    world.run()
    return requests / (time.process_time() - begun)


def speeds(requests: int) -> None:
    rps, pods = 200_000.0, 260
    peer = simpy_speed(50_000, 0.77)
    sharing = pod(concurrency=1024)
    rows = (
        ("FIFO pods, round robin", pod(), k.ROUND_ROBIN),
        ("processor sharing, round robin", sharing, k.ROUND_ROBIN),
        ("processor sharing, least request of two", sharing, k.LEAST_REQUEST),
    )
    for name, model, balancer in rows:
        best = max(run(model, rps, requests, pods=pods, balancer=balancer)[1] for _ in range(3))
        print(
            f"{name:42} {best / 1e6:6.2f} M requests/CPU-s, {best / peer:5.0f} x simpy ({peer / 1e3:.0f} k)"
        )


def percentile(bins: npt.NDArray[np.int64], share: float) -> float:
    """Seconds, interpolated within the bin."""
    below = np.cumsum(bins)
    rank = share * below[-1]
    i = int(np.searchsorted(below, rank))
    low, high = k.bin_bounds(i)
    return low + (high - low) * float((rank - below[i] + bins[i]) / bins[i])


@dataclass(frozen=True, slots=True)
class Found:
    """Seconds, and the half-widths of their 95 % intervals."""

    mean: float
    mean_off: float
    p99: float
    p99_off: float
    requests: int


def measure(model: PodModel, rps: float, requests: int, *, poisson: bool = True) -> Found:
    """One run, its batches one after another; the first tenth of a batch before them is for warming up."""
    traffic = Traffic(VirtualClock(0.0, seed=1), "web", model, Route(1e9, k.ROUND_ROBIN, poisson), 0.0)
    traffic.start("p0")
    traffic.set_ready(["p0"])
    batch = max(1, round(requests / rps / BATCHES))
    lead = max(1, batch // 10)
    traffic.begin(np.full(lead + BATCHES * batch, rps))
    traffic.advance_to(float(lead))
    first = (traffic.latency_total, traffic.cumulative.copy())
    means, tails = np.zeros(BATCHES), np.zeros(BATCHES)
    before = first
    for i in range(BATCHES):
        traffic.advance_to(float(lead + (i + 1) * batch))
        after = (traffic.latency_total, traffic.cumulative.copy())
        bins = after[1] - before[1]
        means[i] = (after[0] - before[0]) / bins.sum()
        tails[i] = percentile(bins, 0.99)
        before = after
    bins = before[1] - first[1]
    off = STUDENT / math.sqrt(BATCHES)
    total = int(bins.sum())
    return Found(
        (before[0] - first[0]) / total, off * means.std(ddof=1), percentile(bins, 0.99),
        off * tails.std(ddof=1), total,
    )  # fmt: skip


def theory(share: float) -> None:
    """M/M/1, D/M/1, M/M/c, M/G/1-PS. Closed forms: Kleinrock, Queueing Systems I (1975) and II (1976)."""
    print(f"{'':12}{'load':>5}{'requests':>10}{'mean ms':>10}{'theory':>9}{'error':>8}{'+-':>7}", end="")
    print(f"{'p99 ms':>10}{'theory':>9}{'error':>8}{'+-':>7}")
    for load, millions in ((0.5, 10), (0.7, 30), (0.9, 200)):
        found = measure(pod(), load / SERVICE, int(share * millions * 1e6))
        _row("M/M/1", load, found, SERVICE / (1 - load), math.log(100))
    for load, millions in ((0.5, 10), (0.8, 40), (0.9, 120)):
        sigma = 0.5
        for _ in range(2000):
            sigma = math.exp(-(1 - sigma) / load)
        found = measure(pod(), load / SERVICE, int(share * millions * 1e6), poisson=False)
        _row("D/M/1", load, found, SERVICE / (1 - sigma), math.log(100))
    for servers, load, millions in ((2, 0.7, 10), (4, 0.8, 10), (8, 0.9, 20)):
        offered = servers * load
        last = offered**servers / math.factorial(servers) / (1 - load)
        waits = last / (sum(offered**n / math.factorial(n) for n in range(servers)) + last)
        expected = SERVICE + waits * SERVICE / (servers * (1 - load))
        model = pod(concurrency=servers, cores=float(servers))
        _row(f"M/M/{servers}", load, measure(model, offered / SERVICE, int(share * millions * 1e6)), expected)
    for name, service in (
        ("M/D/1-PS", Distribution.constant(SERVICE)),
        ("M/G/1-PS", Distribution.gamma(SERVICE, 2.0)),
    ):
        found = measure(pod(service=service, concurrency=1024), 0.7 / SERVICE, int(share * 2e7))
        _row(name, 0.7, found, SERVICE / 0.3)


def _row(name: str, load: float, found: Found, mean: float, tail: float = 0.0) -> None:
    """``tail``: p99 in means, where the law is exponential."""
    line = f"{name:12}{load:5.1f}{found.requests / 1e6:9.0f}M" + _error(found.mean, found.mean_off, mean)
    print(line + (_error(found.p99, found.p99_off, tail * mean) if tail else ""), flush=True)


def _error(found: float, off: float, expected: float) -> str:
    columns = f"{found * 1000:10.3f}{expected * 1000:9.3f}{found / expected - 1:8.2%}{off / expected:7.2%}"
    return columns


def resolutions() -> None:
    """Pods over the load: the whole simulation's, and the stepped resolution's. Days, with a flash crowd and
    without; and the examples' stages, which are bursts of minutes."""
    httpbin = EXAMPLES / "httpbin"
    with tempfile.TemporaryDirectory() as temporary:
        day = (httpbin / "day.yaml").read_text()
        calm = Path(temporary) / "calm.yaml"
        calm.write_text("\n".join(line for line in day.splitlines() if "flashCrowds" not in line))
        cases: list[tuple[str, Path, Path | None]] = [
            ("a day", httpbin, calm),
            ("a day with a flash crowd", httpbin, httpbin / "day.yaml"),
            *(
                (f"stages of {name}", EXAMPLES / name, None)
                for name in ("flash-crowd", "cold-pull", "httpbin")
            ),
        ]
        for name, directory, workload in cases:
            plan = make_plan(directory, simulated=True)
            with tempfile.TemporaryDirectory() as run:
                report = simulate_plan(plan, Simulate(directory, Path(run), workload=workload), Path(run))
            figures = evaluate(sweep_model(plan, Sweep(directory, directory, workload=workload)), {})
            full, stepped = pods_mean(report), figures.replicas_mean
            print(
                f"{name:26} pods: per request {full:.3f}, stepped {stepped:.3f} ({stepped / full - 1:+.1%})"
            )


def pods_mean(report: Report) -> float:
    """Pods over the load, from their creation to their end."""
    arrivals = [t for t, v in zip(report.timeline.at_seconds, report.timeline.arrival_rps, strict=True) if v]
    begin, end = arrivals[0] - report.timeline.step_seconds, arrivals[-1]
    whole = sum(
        max(0.0, min(end, p.ended_at_seconds or end) - max(begin, p.created_at_seconds or 0.0))
        for p in report.pods
    )
    return whole / (end - begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=4_000_000)
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("parts", nargs="*", help="speeds, theory, resolutions")
    arguments = parser.parse_args()
    parts = {
        "speeds": lambda: speeds(arguments.requests),
        "theory": lambda: theory(arguments.share),
        "resolutions": resolutions,
    }
    for name in arguments.parts or parts:
        parts[name]()


if __name__ == "__main__":
    main()
