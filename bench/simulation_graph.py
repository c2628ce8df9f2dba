"""Services that call each other: tries a second through the graph's kernel, its figures beside closed forms,
and the flow (``--stepped``) beside the requests at rising load.

Run: ``python bench/simulation_graph.py``.
"""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np

from wavetank.clock import VirtualClock, cpu_seconds
from wavetank.simulation import kernels as k
from wavetank.simulation.distributions import Distribution
from wavetank.simulation.graph import state as c
from wavetank.simulation.graph.plan import Cluster, Edge, Graph, Workload
from wavetank.simulation.graph.policies import BAD, ERROR, REFUSED, RESET, TIMEOUT, ClusterPolicy, RoutePolicy
from wavetank.simulation.graph.traffic import GraphTraffic, WorkloadFlow
from wavetank.simulation.model import PodModel

ANY = 1 << ERROR | 1 << BAD | 1 << TIMEOUT | 1 << REFUSED | 1 << RESET
SHOP = PodModel(Distribution.exponential(0.004), concurrency=2048, cores=2048.0)


def shop_and_cart(cart: PodModel, try_timeout: float, policy: ClusterPolicy) -> Graph:
    """The shop calls the cart once; both are tried up to three times."""
    workloads = (
        Workload("default", "shop", {}, SHOP, 0.0, (((1, 1.0, False),),)),
        Workload("default", "cart", {}, cart, 0.0),
    )
    clusters = tuple(
        Cluster(w.name, w.name, "default", (i,), policy if i else ClusterPolicy())
        for i, w in enumerate(workloads)
    )
    again = RoutePolicy((("shop", 1.0),), retries=2, retry_on=ANY)
    tried = RoutePolicy((("cart", 1.0),), retries=2, retry_on=ANY, try_timeout=try_timeout)
    return Graph(workloads, clusters, (Edge(((0, 1.0),), again), Edge(((1, 1.0),), tried)))


def run(graph: Graph, pods: tuple[int, ...], rates: Any, *, flow: bool = False) -> dict[str, float]:
    clock = VirtualClock(0.0, 1)
    traffic = GraphTraffic(clock, graph, poisson=True, flow=flow)
    for i, count in enumerate(pods):
        names = [f"{i}-{n}" for n in range(count)]
        for name in names:
            WorkloadFlow(traffic, i).start(name)
        traffic.set_ready(graph.clusters[i].key, names)
    traffic.begin(np.asarray(rates, np.float64))
    clock.run_until(len(rates) + 30.0)
    began = cpu_seconds()
    traffic.advance()
    took = cpu_seconds() - began
    rows = traffic.state.rows[-1]
    requests = rows[:, k.COMPLETED].sum()
    last = len(pods) - 1
    cpu = sum(traffic.usage(f"{last}-{n}").cpu_ns for n in range(pods[last])) / 1e9
    tries = int(traffic.state.clusters[:, c.TRIES].sum())
    return {
        "latency ms": 1000 * rows[:, k.LATENCY_SUM].sum() / requests,
        "failed %": 100 * rows[:, k.FAILED].sum() / requests,
        "tries/request": tries / requests,
        "CPU s": cpu,
        "tries/s of CPU": tries / took if took > 0 else float("inf"),
    }


def main() -> None:
    fifo = PodModel(Distribution.exponential(0.010), backlog=500)
    plain = shop_and_cart(fifo, 2.0, ClusterPolicy())
    run(plain, (1, 4), np.full(5, 100.0))  # compiles
    run(plain, (1, 4), np.full(5, 100.0), flow=True)
    speeds = [run(plain, (1, 4), np.full(600, 250.0))["tries/s of CPU"] for _ in range(3)]
    print(f"tries through two services: {statistics.median(speeds) / 1e6:.2f} M a second of CPU")
    for ratio, retries in ((0.3, 3), (0.9, 5)):
        failing = PodModel(
            Distribution.exponential(0.001), concurrency=2048, cores=2048.0, failure_ratio=ratio
        )
        policy = RoutePolicy((("a", 1.0),), retries=retries, retry_on=ANY)
        one = Graph(
            (Workload("default", "a", {}, failing, 0.0),),
            (Cluster("a", "a", "default", (0,), ClusterPolicy()),),
            (Edge(((0, 1.0),), policy),),
        )
        found = run(one, (2,), np.full(300, 500.0))["tries/request"]
        theory = (1 - ratio ** (retries + 1)) / (1 - ratio)
        print(f"{retries} retries of {ratio:.0%} failures: {found:.4f} tries, theory {theory:.4f}")
    print(f"{'':>22} {'latency ms':>16} {'failed %':>16} {'CPU s':>16} {'tries/request':>16}")
    for rate in (40, 100, 200, 260, 300):
        compare(f"{rate}/s of 400", plain, np.full(600, float(rate)))
    storm = np.full(560, 270.0)
    storm[180:200] = 600.0
    for name, policy in (
        ("storm", ClusterPolicy()),
        ("storm, budget 10 %", ClusterPolicy(budget_percent=10.0, budget_least=3)),
        ("storm, 100 at once", ClusterPolicy(http2=True, requests_max=100)),
    ):
        compare(name, shop_and_cart(fifo, 0.5, policy), storm)


def compare(name: str, graph: Graph, rates: Any) -> None:
    """One line: requests, then flow."""
    one, flow = (run(graph, (1, 4), rates, flow=stepped) for stepped in (False, True))
    columns = (
        f"{one[key]:>7.4g} {flow[key]:>8.4g}" for key in ("latency ms", "failed %", "CPU s", "tries/request")
    )
    print(f"{name:>22} {' '.join(columns)}")


if __name__ == "__main__":
    main()
