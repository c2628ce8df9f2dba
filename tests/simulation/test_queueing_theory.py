"""The request-by-request kernels against closed forms of queueing theory, each with its stated error."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from wavetank.clock import VirtualClock
from wavetank.simulation import kernels as k
from wavetank.simulation.distributions import Distribution
from wavetank.simulation.model import PodModel, assumed_model
from wavetank.simulation.telemetry import log_histogram
from wavetank.simulation.traffic import Route, Traffic

SERVICE = 0.020


def served(
    model: PodModel, rps: float, seconds: int, *, poisson: bool = True, pods: int = 1, limit: float = 0.0,
    balancer: int = k.ROUND_ROBIN, seed: int = 1,
) -> Traffic:  # fmt: skip
    clock = VirtualClock(0.0, seed=seed)
    route = Route(timeout=1e9, balancer=balancer, poisson=poisson)
    traffic = Traffic(clock, "web", model, route, limit)
    names = [f"pod-{i}" for i in range(pods)]
    for name in names:
        traffic.start(name)
    traffic.set_ready(names)
    traffic.begin(np.full(seconds, rps))
    traffic.advance_to(float(seconds))
    return traffic


def mean(traffic: Traffic) -> float:
    return traffic.latency_total / float(traffic.cumulative.sum())


def server(**changes: object) -> PodModel:
    return replace(assumed_model(), service=Distribution.exponential(SERVICE), **changes)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("load", [0.5, 0.7, 0.9])
def test_mm1_mean_and_p99_within_one_percent_at_two_million_requests(load: float) -> None:
    rps = load / SERVICE
    found = served(server(), rps, round(2_000_000 / rps))
    expected = SERVICE / (1 - load)
    error = 0.01 if load < 0.9 else 0.03  # at 0.9 two million requests hold the mean to 3 %
    assert mean(found) == pytest.approx(expected, rel=error)
    p99 = log_histogram(found.cumulative).percentile(99)
    assert p99 == pytest.approx(expected * math.log(100), rel=error + 0.008)  # half a bucket


@pytest.mark.slow
@pytest.mark.parametrize("load", [0.5, 0.8])
def test_dm1_mean_within_one_percent(load: float) -> None:
    """Arrivals at even spacing: the mean is s / (1 - sigma), sigma the root of sigma = exp(-(1-sigma)/rho)."""
    rps = load / SERVICE
    sigma = 0.5
    for _ in range(200):
        sigma = math.exp(-(1 - sigma) / load)
    found = served(server(), rps, round(1_500_000 / rps), poisson=False)
    assert mean(found) == pytest.approx(SERVICE / (1 - sigma), rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(("servers", "load"), [(2, 0.7), (4, 0.8), (8, 0.9)])
def test_mmc_mean_within_two_percent(servers: int, load: float) -> None:
    """One pod with as many cores as workers: Erlang C."""
    rps = servers * load / SERVICE
    offered = servers * load
    terms = [offered**n / math.factorial(n) for n in range(servers)]
    last = offered**servers / math.factorial(servers) / (1 - load)
    waits = last / (sum(terms) + last)
    expected = SERVICE + waits * SERVICE / (servers * (1 - load))
    found = served(server(concurrency=servers, cores=float(servers)), rps, round(2_000_000 / rps))
    assert mean(found) == pytest.approx(expected, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    "service",
    [Distribution.exponential(SERVICE), Distribution.constant(SERVICE), Distribution.gamma(SERVICE, 2.0)],
)
def test_processor_sharing_does_not_mind_the_distribution(service: Distribution) -> None:
    """M/G/1-PS: s / (1 - rho), whatever the distribution."""
    rps = 0.7 / SERVICE
    model = replace(assumed_model(), service=service, concurrency=1024)
    found = served(model, rps, round(1_500_000 / rps))
    assert mean(found) == pytest.approx(SERVICE / 0.3, rel=0.02)


def test_a_cpu_limit_is_a_quota_per_period() -> None:
    """Half a core: 20 ms of work fit a period's 50 ms untouched; 80 ms take the quota of two periods."""
    alone = replace(assumed_model(), service=Distribution.constant(0.020))
    assert mean(served(alone, 1.0, 50, poisson=False, limit=0.5)) == pytest.approx(0.020, rel=0.01)
    long = replace(assumed_model(), service=Distribution.constant(0.080))
    throttled = served(long, 1.0, 50, poisson=False, limit=0.5)
    # Arrivals at the half second fall on a period's begin: 50 ms, throttled to 100 ms, 30 ms more.
    assert mean(throttled) == pytest.approx(0.130, rel=0.01)
    usage = throttled.usage("pod-0")
    assert usage.throttled_periods > 0
    assert usage.cpu_ns / 1e9 == pytest.approx(50 * 0.080, rel=0.03)


def test_two_choices_beat_turns_and_turns_beat_chance() -> None:
    rps = 10 * 0.8 / SERVICE
    means = [
        mean(served(server(), rps, 1500, pods=10, balancer=balancer))
        for balancer in (k.LEAST_REQUEST, k.ROUND_ROBIN, k.RANDOM)
    ]
    assert means == sorted(means)
    assert means[2] == pytest.approx(SERVICE / 0.2, rel=0.05)  # ten M/M/1


def test_what_takes_longer_than_the_timeout_fails() -> None:
    clock = VirtualClock(0.0, seed=1)
    traffic = Traffic(clock, "web", server(), Route(timeout=0.1, poisson=True), 0.0)
    traffic.start("a")
    traffic.set_ready(["a"])
    traffic.begin(np.full(60, 60.0))  # more than the 50 it can do
    traffic.advance_to(60.0)
    assert traffic.totals[k.GATEWAY_TIMEOUT] > traffic.totals[k.OK] / 2
    assert traffic.totals[k.UNAVAILABLE] == 0


def test_without_a_ready_pod_requests_fail() -> None:
    clock = VirtualClock(0.0, seed=1)
    traffic = Traffic(clock, "web", server(), Route(), 0.0)
    traffic.begin(np.full(10, 5.0))
    traffic.advance_to(10.0)
    assert traffic.totals.tolist() == [0, 0, 50]


def test_looking_more_often_changes_nothing() -> None:
    often = VirtualClock(0.0, seed=1)
    traffic = Traffic(often, "web", server(), Route(poisson=True), 0.0)
    traffic.start("pod-0")
    traffic.set_ready(["pod-0"])
    traffic.begin(np.full(20, 40.0))
    for i in range(1, 401):
        traffic.advance_to(i * 0.05)
    once = served(server(), 40.0, 20, balancer=k.LEAST_REQUEST)
    assert traffic.totals.sum() == pytest.approx(once.totals.sum(), abs=1)
    assert traffic.latency_total == pytest.approx(once.latency_total, rel=1e-3)
