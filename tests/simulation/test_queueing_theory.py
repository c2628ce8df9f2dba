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


def p99(traffic: Traffic) -> float:
    """Interpolated within its bin, which is 1 to 2 % wide."""
    below = np.cumsum(traffic.cumulative)
    rank = 0.99 * below[-1]
    i = int(np.searchsorted(below, rank))
    low, high = k.bin_bounds(i)
    return low + (high - low) * float((rank - below[i] + traffic.cumulative[i]) / traffic.cumulative[i])


def quick(load: float, requests: int, *, poisson: bool = True) -> Traffic:
    """A single server of 1 ms, so that few seconds have many requests."""
    model = replace(assumed_model(), service=Distribution.exponential(0.001))
    return served(model, load / 0.001, round(requests * 0.001 / load), poisson=poisson)


@pytest.mark.slow
@pytest.mark.parametrize(("load", "requests"), [(0.5, 4_000_000), (0.7, 12_000_000), (0.9, 80_000_000)])
def test_mm1_mean_and_p99_within_one_percent(load: float, requests: int) -> None:
    """The mean's standard deviation is 2 / (1 - load) / sqrt(requests) of it: a fifth of a percent."""
    found = quick(load, requests)
    assert mean(found) == pytest.approx(0.001 / (1 - load), rel=0.01)
    assert p99(found) == pytest.approx(0.001 / (1 - load) * math.log(100), rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(("load", "requests"), [(0.5, 4_000_000), (0.8, 20_000_000)])
def test_dm1_mean_and_p99_within_one_percent(load: float, requests: int) -> None:
    """Arrivals at even spacing: the mean is s / (1 - sigma), sigma the root of sigma = exp(-(1-sigma)/rho)."""
    sigma = 0.5
    for _ in range(200):
        sigma = math.exp(-(1 - sigma) / load)
    found = quick(load, requests, poisson=False)
    assert mean(found) == pytest.approx(0.001 / (1 - sigma), rel=0.01)
    assert p99(found) == pytest.approx(0.001 / (1 - sigma) * math.log(100), rel=0.01)


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


@pytest.mark.parametrize("concurrency", [1, 4])
def test_looking_more_often_changes_nothing(concurrency: int) -> None:
    often = VirtualClock(0.0, seed=1)
    model = server(concurrency=concurrency)
    traffic = Traffic(often, "web", model, Route(poisson=True), 0.0)
    traffic.start("pod-0")
    traffic.set_ready(["pod-0"])
    traffic.begin(np.full(20, 40.0))
    for i in range(1, 401):
        traffic.advance_to(i * 0.05)
    once = served(model, 40.0, 20, balancer=k.LEAST_REQUEST)
    assert traffic.totals.tolist() == once.totals.tolist()
    assert traffic.in_flight("pod-0") == once.in_flight("pod-0")
    assert traffic.usage("pod-0").cpu_ns == pytest.approx(once.usage("pod-0").cpu_ns, rel=1e-9)
    assert traffic.latency_total == pytest.approx(once.latency_total, rel=1e-9)


@pytest.mark.parametrize("balancer", [k.ROUND_ROBIN, k.LEAST_REQUEST, k.RANDOM])
def test_pods_that_serve_in_order_are_pods_of_one_worker(balancer: int) -> None:
    """Lindley's recursion, and the general kernel with a CPU limit that never binds: the same requests."""
    model = replace(server(), backlog=5, warm_factor=3.0, warm_seconds=20.0)
    by_recursion = served(model, 120.0, 60, pods=3, balancer=balancer)
    by_sharing = served(model, 120.0, 60, pods=3, balancer=balancer, limit=1e6)
    assert by_recursion.totals.tolist() == by_sharing.totals.tolist()
    assert by_recursion.totals[k.UNAVAILABLE] > 0
    assert np.array_equal(by_recursion.rows[:, k.IN_FLIGHT], by_sharing.rows[:, k.IN_FLIGHT])
    assert by_recursion.latency_total == pytest.approx(by_sharing.latency_total, rel=1e-9)
    for pod in ("pod-0", "pod-1", "pod-2"):
        assert by_recursion.outcomes(pod) == by_sharing.outcomes(pod)
        assert by_recursion.usage(pod).cpu_ns == pytest.approx(by_sharing.usage(pod).cpu_ns, rel=1e-6)
