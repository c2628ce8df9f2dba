"""Requests through several services, against closed formulas; and what each bound of the proxy does."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from wavetank.clock import VirtualClock
from wavetank.simulation import kernels as k
from wavetank.simulation.distributions import Distribution
from wavetank.simulation.graph import state as c
from wavetank.simulation.graph.plan import Cluster, Edge, Graph, Workload
from wavetank.simulation.graph.policies import (
    BAD,
    ERROR,
    OK,
    OVERFLOW,
    REFUSED,
    RESET,
    TIMEOUT,
    UNHEALTHY,
    ClusterPolicy,
    RoutePolicy,
)
from wavetank.simulation.graph.traffic import GraphTraffic, LoadFlow, WorkloadFlow
from wavetank.simulation.model import PodModel

Steps = tuple[tuple[tuple[int, float, bool], ...], ...]
ANY = 1 << ERROR | 1 << BAD | 1 << TIMEOUT | 1 << REFUSED | 1 << RESET


def many(mean: float, **fields: Any) -> PodModel:
    """No request waits for another."""
    return PodModel(Distribution.exponential(mean), concurrency=2048, cores=2048.0, **fields)


def graph(*services: tuple[str, PodModel, Steps, RoutePolicy | None, ClusterPolicy | None]) -> Graph:
    """Service ``i`` is workload, cluster and edge ``i``; the load comes in at the first."""
    workloads, clusters, edges = [], [], []
    for i, (name, model, steps, route, cluster) in enumerate(services):
        workloads.append(Workload("default", name, {}, model, 0.0, steps))
        clusters.append(Cluster(name, name, "default", (i,), cluster or ClusterPolicy()))
        edges.append(Edge(((i, 1.0),), route or RoutePolicy(((name, 1.0),))))
    return Graph(tuple(workloads), tuple(clusters), tuple(edges))


class World:
    """The graph with ``pods`` of each workload, under an even or random load."""

    def __init__(self, given: Graph, pods: list[int], *, seed: int = 1, flow: bool = False) -> None:
        self.clock = VirtualClock(0.0, seed)
        self.traffic = GraphTraffic(self.clock, given, poisson=True, flow=flow)
        self.load = LoadFlow(self.traffic, "load")
        self.flows = [WorkloadFlow(self.traffic, i) for i in range(len(given.workloads))]
        for i, count in enumerate(pods):
            names = [f"{i}-{n}" for n in range(count)]
            for name in names:
                self.flows[i].start(name)
            self.traffic.set_ready(given.clusters[i].key, names)

    def run(self, rates: Any, seconds: float | None = None) -> World:
        self.traffic.begin(np.asarray(rates, np.float64))
        return self.to(len(rates) + 30.0 if seconds is None else seconds)

    def to(self, seconds: float) -> World:
        self.clock.run_until(seconds)
        self.traffic.advance()
        return self

    def answers(self, flow: int = -1) -> list[int]:
        found: list[int] = self.traffic.state.totals[flow, : c.MISSED].tolist()
        return found

    def cluster(self, column: int, index: int = 0) -> int:
        return int(self.traffic.state.clusters[index, column])

    @property
    def mean_latency(self) -> float:
        rows = self.load.rows
        return float(rows[:, k.LATENCY_SUM].sum() / rows[:, k.COMPLETED].sum())


@pytest.mark.parametrize(("ratio", "retries"), [(0.3, 3), (0.5, 1), (0.9, 5)])
def test_retries_make_as_many_tries_as_the_geometric_series_says(ratio: float, retries: int) -> None:
    route = RoutePolicy((("a", 1.0),), retries=retries, retry_on=ANY)
    world = World(graph(("a", many(0.001, failure_ratio=ratio), (), route, None)), [2])
    world.run(np.full(60, 500.0))
    answers = world.answers()
    requests = sum(answers)
    amplification = world.cluster(c.TRIES) / requests
    assert amplification == pytest.approx((1 - ratio ** (retries + 1)) / (1 - ratio), rel=0.02)
    assert answers[ERROR] / requests == pytest.approx(ratio ** (retries + 1), rel=0.15, abs=0.002)


def test_back_off_is_between_nothing_and_twice_as_much_each_time_up_to_ten_times_the_base() -> None:
    route = RoutePolicy((("a", 1.0),), retries=6, retry_on=ANY)
    model = PodModel(Distribution.constant(1e-6), concurrency=2048, cores=2048.0, failure_ratio=1.0)
    world = World(graph(("a", model, (), route, None)), [1]).run(np.full(60, 200.0))
    means = [min(0.025 * 2**n, 0.25) / 2 for n in range(6)]
    assert world.mean_latency == pytest.approx(sum(means), rel=0.02)


def test_calls_in_a_row_add_up_and_calls_at_once_take_as_long_as_the_longest() -> None:
    front = PodModel(Distribution.constant(0.002), concurrency=2048, cores=2048.0)
    others = [("a", many(0.010), (), None, None), ("b", many(0.010), (), None, None)]
    serial: Steps = (((1, 1.0, False),), ((2, 1.0, False),))
    at_once: Steps = (((1, 1.0, False), (2, 1.0, False)),)
    found = [
        World(graph(("front", front, steps, None, None), *others), [1, 1, 1])
        .run(np.full(120, 200.0))
        .mean_latency
        for steps in (serial, at_once)
    ]
    assert found[0] == pytest.approx(0.002 + 0.010 + 0.010, rel=0.02)
    assert found[1] == pytest.approx(0.002 + 0.010 * 1.5, rel=0.02)  # of two exponentials


def test_probability_and_optional_calls() -> None:
    steps: Steps = (((1, 0.25, False),), ((2, 1.0, True),))
    broken = many(0.001, failure_ratio=1.0)
    front = ("front", many(0.001), steps, None, None)
    world = World(graph(front, ("a", many(0.001), (), None, None), ("b", broken, (), None, None)), [1, 1, 1])
    world.run(np.full(60, 200.0))
    requests = sum(world.answers())
    assert sum(world.answers(1)) / requests == pytest.approx(0.25, rel=0.05)
    assert sum(world.answers(2)) == requests == world.answers()[OK]


def test_a_failed_call_fails_the_request_and_its_retries_multiply_down_the_chain() -> None:
    """Two tries at each of two levels: four at the bottom for each request at the top."""
    route = RoutePolicy((("x", 1.0),), retries=1, retry_on=ANY)
    world = World(
        graph(
            ("top", many(0.001), (((1, 1.0, False),),), route, None),
            ("middle", many(0.001), (((2, 1.0, False),),), route, None),
            ("bottom", many(0.001, failure_ratio=1.0), (), None, None),
        ),
        [1, 1, 1],
    ).run(np.full(20, 50.0))
    requests = sum(world.answers())
    assert world.answers()[ERROR] == requests
    assert [world.cluster(c.TRIES, i) for i in range(3)] == [2 * requests, 4 * requests, 4 * requests]


def test_one_worker_behaves_as_the_queue_of_theory() -> None:
    world = World(graph(("a", PodModel(Distribution.exponential(0.010)), (), None, None)), [1])
    world.run(np.full(3000, 70.0))
    assert world.mean_latency == pytest.approx(0.010 / (1 - 0.7), rel=0.05)


def slow() -> PodModel:
    """A pod that takes ten seconds, as many at once as it is asked."""
    return PodModel(Distribution.constant(10.0), cpu_share=0.0, concurrency=4096)


BOUNDS: list[tuple[str, ClusterPolicy, RoutePolicy, Callable[[World], list[int]], list[int]]] = [
    (
        "http2MaxRequests",
        ClusterPolicy(http2=True, requests_max=30),
        RoutePolicy((("a", 1.0),)),
        lambda w: [w.cluster(c.REQUESTS), w.answers()[OVERFLOW]],
        [30, 70],
    ),
    (
        "maxConnections and http1MaxPendingRequests",
        ClusterPolicy(connections_max=20, pending_max=30),
        RoutePolicy((("a", 1.0),)),
        lambda w: [w.cluster(c.CONNECTIONS), w.cluster(c.PENDING), w.answers()[OVERFLOW]],
        [20, 30, 50],
    ),
    (
        "a route's timeout also ends what waits for a connection",
        ClusterPolicy(connections_max=20),
        RoutePolicy((("a", 1.0),), timeout=2.0),
        lambda w: [w.cluster(c.PENDING), w.answers()[TIMEOUT]],
        [0, 100],
    ),
    (
        "maxRetries bounds retries under way at once",
        ClusterPolicy(retries_max=10),
        RoutePolicy((("a", 1.0),), retries=5, retry_on=ANY, try_timeout=1.5),
        lambda w: [w.cluster(c.RETRIED), w.answers()[TIMEOUT]],
        [10 + 10, 90],
    ),
    (
        "a retry budget is a share of what is under way",
        ClusterPolicy(budget_percent=20.0, budget_least=3),
        RoutePolicy((("a", 1.0),), retries=5, retry_on=ANY, try_timeout=3.0),
        lambda w: [int(w.cluster(c.RETRIED) < 40), int(w.answers()[TIMEOUT] > 60)],
        [1, 1],
    ),
]


@pytest.mark.parametrize(
    ("policy", "route", "seen", "wanted"), [b[1:] for b in BOUNDS], ids=[b[0] for b in BOUNDS]
)
def test_circuit_breakers(
    policy: ClusterPolicy, route: RoutePolicy, seen: Callable[[World], list[int]], wanted: list[int]
) -> None:
    """A hundred requests within a second, answered after ten: looked at four seconds later."""
    given = graph(("a", slow(), (), route, policy))
    world = World(given, [1], seed=3)
    world.traffic.state.numbers[c.POISSON] = 0.0
    world.traffic.state.numbers[c.NEED] = 0.5
    world.run([100.0], 4.0)
    assert seen(world) == wanted


def outcomes_of_a_broken_host(policy: ClusterPolicy, seconds: int = 60) -> tuple[list[int], World]:
    """Four pods, one of which is gone, unknown to the proxy."""
    world = World(graph(("a", many(0.005), (), None, policy)), [4])
    world.traffic.stop("0-3")
    world.run(np.full(seconds, 100.0))
    return world.answers(), world


def test_a_host_is_ejected_after_errors_in_a_row_and_comes_back_after_its_time() -> None:
    outlier = ClusterPolicy(
        balancer=k.ROUND_ROBIN,
        errors=5,
        error_answers=ANY,
        interval=1.0,
        ejection=5.0,
        ejected_percent_max=50.0,
    )
    answers, world = outcomes_of_a_broken_host(outlier)
    # Out for 5, 10, 15, 20 s: the fifth time lasts beyond the end.
    assert world.cluster(c.EJECTIONS) == 5
    assert answers[REFUSED] == 5 * 5


def test_no_more_hosts_are_ejected_than_the_percentage_allows() -> None:
    """Istio leaves Envoy's 10 %: of four hosts none is ever ejected."""
    answers, world = outcomes_of_a_broken_host(
        ClusterPolicy(balancer=k.ROUND_ROBIN, errors=5, error_answers=ANY, ejected_percent_max=10.0)
    )
    assert world.cluster(c.EJECTIONS) == 0 < world.cluster(c.EJECTIONS_REFUSED)
    assert answers[REFUSED] == pytest.approx(sum(answers) / 4, rel=0.01)


@pytest.mark.parametrize(("panic", "answer"), [(0.0, UNHEALTHY), (50.0, ERROR)])
def test_with_all_hosts_out_requests_fail_at_once_unless_in_panic(panic: float, answer: int) -> None:
    policy = ClusterPolicy(errors=5, error_answers=ANY, ejected_percent_max=100.0, panic_percent=panic)
    world = World(graph(("a", many(0.005, failure_ratio=1.0), (), None, policy)), [2])
    world.run(np.full(10, 100.0))
    assert world.answers()[answer] > 0.9 * sum(world.answers())


def test_weights_share_requests_between_clusters() -> None:
    given = graph(("a", many(0.001), (), None, None), ("b", many(0.001), (), None, None))
    split = RoutePolicy((("a", 90.0), ("b", 10.0)))
    given = Graph(given.workloads, given.clusters, (Edge(((0, 90.0), (1, 10.0)), split), given.edges[1]))
    world = World(given, [1, 1]).run(np.full(60, 200.0))
    assert sum(world.answers(1)) / sum(world.answers()) == pytest.approx(0.1, rel=0.1)


def test_a_try_goes_to_another_host_than_the_one_before() -> None:
    route = RoutePolicy((("a", 1.0),), retries=2, retry_on=ANY, other_host=True)
    world = World(graph(("a", many(0.001), (), route, None)), [4])
    world.traffic.stop("0-0")
    world.run(np.full(60, 100.0))
    assert world.answers()[OK] == sum(world.answers())


def test_what_a_pod_worked_on_when_it_died_has_no_answer() -> None:
    world = World(graph(("a", slow(), (), RoutePolicy((("a", 1.0),)), None)), [1])
    world.run([50.0], 2.0)
    flying = world.traffic.in_flight("0-0")
    world.traffic.stop("0-0")
    assert flying > 0
    assert world.answers()[RESET] == flying
    assert world.traffic.state.totals[-1, c.FLYING] == 0


def test_one_seed_gives_the_same_requests_and_another_gives_others() -> None:
    route = RoutePolicy((("a", 1.0),), retries=2, retry_on=ANY, try_timeout=0.05)
    given = graph(("a", PodModel(Distribution.exponential(0.010)), (), route, None))
    one, same, other = (World(given, [2], seed=seed).run(np.full(60, 150.0)) for seed in (4, 4, 5))
    assert np.array_equal(one.load.rows, same.load.rows, equal_nan=True)
    assert not np.array_equal(one.load.rows, other.load.rows, equal_nan=True)


def test_how_often_somebody_looks_changes_nothing_but_rounding() -> None:
    route = RoutePolicy((("a", 1.0),), retries=2, retry_on=ANY, try_timeout=0.05)
    given = graph(("a", PodModel(Distribution.exponential(0.010)), (), route, None))
    seldom = World(given, [2]).run(np.full(30, 150.0))
    often = World(given, [2])
    often.traffic.begin(np.full(30, 150.0))
    for tick in range(1, 600):
        often.to(tick / 10)
        often.traffic.usage("0-0")
    assert often.answers() == seldom.answers()
    assert math.isclose(often.mean_latency, seldom.mean_latency, rel_tol=1e-9)


def shop_and_cart(cart: PodModel, try_timeout: float, **bounds: Any) -> Graph:
    """The cart is asked by the shop; both callers try three times, the cart's tries have a timeout."""
    again = RoutePolicy((("shop", 1.0),), retries=2, retry_on=ANY)
    tried = RoutePolicy((("cart", 1.0),), retries=2, retry_on=ANY, try_timeout=try_timeout)
    calls: Steps = (((1, 1.0, False),),)
    policy = ClusterPolicy(**bounds)
    return graph(("shop", many(0.004), calls, again, policy), ("cart", cart, (), tried, policy))


def figures(world: World) -> dict[str, float]:
    rows = world.load.rows
    cpu = sum(world.flows[1].usage(f"1-{i}").cpu_ns for i in range(4)) / 1e9
    requests = rows[:, k.COMPLETED].sum()
    failed = float(rows[:, k.FAILED].sum() / requests)
    return {"tries": world.cluster(c.TRIES, 1), "cpu": cpu, "failed": failed, "latency": world.mean_latency}


@pytest.mark.parametrize("rate", [100.0, 150.0, 250.0])
def test_at_moderate_load_the_flow_is_the_mean_of_the_requests(rate: float) -> None:
    """CPU and tries within 2 %, nothing fails in either; latency at most twice as high, since a flow waits as
    behind a balancer that picks at random."""
    given = shop_and_cart(PodModel(Distribution.exponential(0.010)), try_timeout=2.0)
    load = np.full(400, rate)
    one, flow = (figures(World(given, [1, 4], flow=stepped).run(load)) for stepped in (False, True))
    assert flow["tries"] == pytest.approx(one["tries"], rel=0.02)
    assert flow["cpu"] == pytest.approx(one["cpu"], rel=0.02)
    assert flow["failed"] == pytest.approx(one["failed"], abs=0.001)
    assert one["latency"] * 0.95 < flow["latency"] < one["latency"] * 2


STORMS: list[tuple[str, dict[str, Any]]] = [
    ("nothing", {}),
    ("retry budget", {"budget_percent": 10.0, "budget_least": 3}),
]


@pytest.mark.parametrize("bounds", [s[1] for s in STORMS], ids=[s[0] for s in STORMS])
def test_the_flow_has_the_storm_of_the_requests_and_its_end(bounds: dict[str, Any]) -> None:
    """A burst of 20 s: tries and CPU within 5 %, failures within three points of a hundred."""
    given = shop_and_cart(PodModel(Distribution.exponential(0.010), backlog=500), 0.5, **bounds)
    load = np.full(300, 270.0)
    load[60:80] = 600.0
    one, flow = (figures(World(given, [1, 4], flow=stepped).run(load)) for stepped in (False, True))
    assert flow["tries"] == pytest.approx(one["tries"], rel=0.05)
    assert flow["cpu"] == pytest.approx(one["cpu"], rel=0.05)
    assert flow["failed"] == pytest.approx(one["failed"], abs=0.03)
    assert (one["failed"] > 0.5) == (not bounds)
