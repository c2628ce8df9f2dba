"""The request-by-request kernels: how fast, beside simpy, and how near to queueing theory; and how far the
stepped resolution is from them.

Run: ``python bench/simulation_theory.py [--requests 4000000]``.
"""

from __future__ import annotations

import argparse
import math
import random
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from wavetank.clock import VirtualClock
from wavetank.rehearsal.plan import make_plan
from wavetank.rehearsal.simulated import Options as Simulate
from wavetank.rehearsal.simulated import simulate_plan
from wavetank.rehearsal.sweeping import Options as Sweep
from wavetank.rehearsal.sweeping import sweep_model
from wavetank.simulation import kernels as k
from wavetank.simulation.distributions import Distribution
from wavetank.simulation.model import PodModel, assumed_model
from wavetank.simulation.sweep_model import evaluate
from wavetank.simulation.telemetry import log_histogram
from wavetank.simulation.traffic import Route, Traffic

SERVICE = 0.020


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
    rps, pods = 10_000.0, 260
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


def mean(traffic: Traffic) -> float:
    return traffic.latency_total / float(traffic.cumulative.sum())


def theory(requests: int) -> None:
    print(f"{'':12}{'load':>6}{'mean ms':>10}{'theory':>10}{'error':>8}{'p99 ms':>10}{'theory':>10}")
    for load in (0.5, 0.7, 0.9):
        found, _ = run(pod(), load / SERVICE, requests)
        expected = SERVICE / (1 - load)
        p99 = log_histogram(found.cumulative).percentile(99)
        _row("M/M/1", load, mean(found), expected, p99, expected * math.log(100))
    for load in (0.5, 0.8):
        sigma = 0.5
        for _ in range(300):
            sigma = math.exp(-(1 - sigma) / load)
        found, _ = run(pod(), load / SERVICE, requests, poisson=False)
        p99 = log_histogram(found.cumulative).percentile(99)
        expected = SERVICE / (1 - sigma)
        _row("D/M/1", load, mean(found), expected, p99, expected * math.log(100))
    for servers, load in ((2, 0.7), (4, 0.8), (8, 0.9)):
        offered = servers * load
        last = offered**servers / math.factorial(servers) / (1 - load)
        waits = last / (sum(offered**n / math.factorial(n) for n in range(servers)) + last)
        expected = SERVICE + waits * SERVICE / (servers * (1 - load))
        found, _ = run(pod(concurrency=servers, cores=float(servers)), offered / SERVICE, requests)
        _row(f"M/M/{servers}", load, mean(found), expected)
    for name, service in (
        ("M/D/1-PS", Distribution.constant(SERVICE)),
        ("M/G/1-PS", Distribution.gamma(SERVICE, 2.0)),
    ):
        found, _ = run(pod(service=service, concurrency=1024), 0.7 / SERVICE, requests)
        _row(name, 0.7, mean(found), SERVICE / 0.3)


def _row(name: str, load: float, found: float, expected: float, *p99: float) -> None:
    tail = "".join(f"{value * 1000:10.1f}" for value in p99)
    print(f"{name:12}{load:6.1f}{found * 1000:10.2f}{expected * 1000:10.2f}{found / expected - 1:8.1%}{tail}")


def resolutions() -> None:
    """Pods over the load: the whole simulation's, and the stepped resolution's, on the examples."""
    for name in ("flash-crowd", "cold-pull", "httpbin"):
        directory = Path(__file__).parents[1] / "examples" / name
        plan = make_plan(directory, simulated=True)
        with tempfile.TemporaryDirectory() as temporary:
            report = simulate_plan(plan, Simulate(directory, Path(temporary)), Path(temporary))
        begin, end = report.stages[0].start_seconds, report.stages[-1].end_seconds
        full = sum(
            max(0.0, min(end, p.ended_at_seconds or end) - max(begin, p.created_at_seconds or 0.0))
            for p in report.pods
        )
        options = Sweep(directory, directory)
        stepped = evaluate(sweep_model(plan, options), {}).replicas_mean * (end - begin)
        difference = stepped / full - 1
        print(f"{name:12} pod-seconds: per request {full:.0f}, stepped {stepped:.0f} ({difference:+.1%})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=4_000_000)
    arguments = parser.parse_args()
    speeds(arguments.requests)
    theory(arguments.requests)
    resolutions()


if __name__ == "__main__":
    main()
