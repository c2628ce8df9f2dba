"""Makes data/: the run that the report's tests render, and the texts it is rendered to.

``python tests/report/make_example.py`` after a change that is meant; the diff then shows what it did.

Three minutes of a made-up shop: a step from 6 to 80 requests/s meets one pod, two scale-ups follow, a pod
runs out of memory on the way, and after the load falls one scale-down. The numbers are invented, but hang
together as a real run's do: stages add up, replicas follow scalings, failures sit where pods die.
"""

from __future__ import annotations

import io
import math
import random
from pathlib import Path

import msgspec
from rich.console import Console

from wavetank.rehearsal.report import model as m
from wavetank.rehearsal.report import print_summary, render_junit, render_markdown

START = 1_795_456_985.25
END = 187.0
DATA = Path(__file__).with_name("data")
WEB = "Deployment/shop/checkout"
READY = [(0, 1), (61.1, 2), (61.6, 3), (71.3, 2), (79.6, 3), (82.6, 4), (82.9, 5), (152.4, 3), (187, 3)]
DESIRED = [(0, 1), (51.2, 3), (66.2, 5), (151.7, 3)]
OFFERED = [(0, 6.0), (30, 80.0), (110, 20.0)]


def at(steps: list[tuple[float, float]], t: float) -> float:
    return [value for when, value in steps if when <= t][-1]


def example() -> m.Report:
    times = tuple(float(t) for t in range(1, 188))
    rng = random.Random(42)
    rows = [_step(t, rng) for t in times]
    column = {key: tuple(row[key] for row in rows) for key in rows[0]}
    budget = _cumulative_burn(column["completed"], column["failed"])
    return m.Report(
        name="checkout-black-friday",
        started_at=START,
        ended_at=START + END,
        duration_seconds=END,
        outcome="failed",
        environment=_environment(),
        modelled=(
            m.Modelled(
                what="Image pull", how="312 MiB in 6 layers at 200 Mbit/s, 20 ms round trip, 80 MB/s unpack"
            ),
            m.Modelled(
                what="Nodes",
                how="2 budgets of 4 CPU and 8 GiB on one machine; the scheduler keeps them apart",
            ),
        ),
        slos=(
            m.Slo(
                name="availability",
                kind="ratio",
                objective=0.995,
                value=round(1 - budget, 5),
                ok=True,
                expr='sum(rate(envoy_cluster_upstream_rq_xx{envoy_response_code_class="5"}[30s]))'
                " / sum(rate(envoy_cluster_upstream_rq_total[30s]))",
                budget_burn=round(budget / 0.005, 3),
                worst_value=min(column["success"]),
                worst_at_seconds=72.0,
                series=column["success"],
            ),
            m.Slo(
                name="latency-p99",
                kind="threshold",
                max=0.3,
                value=2.128,
                unit="seconds",
                ok=False,
                expr="histogram_quantile(0.99,"
                " sum by (le) (rate(envoy_cluster_upstream_rq_time_bucket[30s]))) / 1000",
                worst_value=2.128,
                worst_at_seconds=58.0,
                series=tuple(round(v / 1000, 4) for v in column["p99"]),
            ),
        ),
        stages=(
            m.LoadStage(
                index=0,
                start_seconds=0,
                end_seconds=30,
                kind="users",
                users=6,
                arrivals="closed",
                requests=_within(rows, 0, 30),
                failures=0,
                p99_ms=31.0,
            ),
            m.LoadStage(
                index=1,
                start_seconds=30,
                end_seconds=110,
                kind="rps",
                rps=80,
                arrivals="poisson",
                requests=_within(rows, 30, 110),
                failures=17,
                p99_ms=2094.0,
            ),
            m.LoadStage(
                index=2,
                start_seconds=110,
                end_seconds=187,
                kind="rps",
                rps=20,
                arrivals="poisson",
                requests=_within(rows, 110, 187),
                failures=0,
                p99_ms=29.0,
            ),
        ),
        timeline=m.Timeline(
            step_seconds=1.0,
            at_seconds=times,
            arrival_rps=column["arrival"],
            completed_rps=column["completed"],
            failed_rps=column["failed"],
            success_ratio=column["success"],
            p50_ms=column["p50"],
            p95_ms=column["p95"],
            p99_ms=column["p99"],
            users=column["users"],
            generator=m.Generator(
                cpu_ratio=column["gen_cpu"],
                machine_cpu_ratio=column["machine_cpu"],
                lateness_ms=column["lateness"],
                in_flight=column["in_flight"],
            ),
        ),
        workloads=(
            m.Workload(
                namespace="shop",
                name="checkout",
                kind="Deployment",
                hpa="checkout",
                min_replicas=1,
                max_replicas=5,
                cpu_request_cores=0.25,
                cpu_limit_cores=0.5,
                memory_limit_bytes=192 * 2**20,
                cpu_target_ratio=0.6,
                desired=column["desired"],
                ready=column["ready"],
                cpu_utilization_ratio=column["cpu"],
                cpu_cores=column["cores"],
                throttled_ratio=column["throttled"],
                memory_bytes=column["memory"],
            ),
        ),
        scalings=(_first_up(), _second_up(), _down()),
        events=_events(),
        bottleneck=m.Bottleneck(
            what="CPU of Deployment/shop/checkout",
            at_seconds=31.0,
            evidence=(
                "84 % of CFS periods were throttled from 0:31 to 1:02, with all of its 0.5 cores in use",
                "p99 left its limit of 300 ms at 0:31.8, before any other resource passed 70 %",
                "the machine was 36 % busy at that time and the load generator 22 %, so neither held it back",
            ),
        ),
        pods=_pods(),
        load=_load(_within(rows, 0, 187)),
        figures=m.Figures(
            time_to_first_request_seconds=3.84,
            endpoint_ack_p50_ms=8.7,
            endpoint_ack_p99_ms=14.2,
            control_plane_rss_bytes=141 * 2**20,
            control_plane_cpu_cores=0.034,
            monitoring_rss_bytes=92 * 2**20,
            samples=412_338,
            series=2_204,
        ),
        recommendations=(
            "Start with 2 replicas (minReplicas: 2): the first scale-up took 31.9 s, the load rose in 1 s.",
            "Raise the memory limit above 192 MiB: checkout-6f7d9-q8xwz reached it with 21 requests open.",
        ),
        notes=("The HPA saw utilisation first in the sample taken at 0:45; its sync period is 15 s.",),
        files={"journal": "journal/", "metrics": "tsdb/", "logs": "logs/", "json": "report.json"},
    )


def _step(t: float, rng: random.Random) -> dict[str, float]:
    offered = at(OFFERED, t)
    ready = at(READY, t)
    arrival = max(0.0, offered + rng.gauss(0, math.sqrt(offered) * 0.55))
    capacity = 27.0 * ready
    over = offered > capacity
    failed = {71: 4.0, 72: 7.0, 73: 5.0, 74: 1.0}.get(int(t), 0.0)
    completed = min(arrival, capacity + rng.gauss(0, 1.2)) if over else arrival
    if 84 <= t < 92:
        completed = arrival + 14 * math.exp(-(t - 84) / 3)
    queue = 1.0
    if 31 <= t < 110:
        queue = 1 + 55 * (1 - math.exp(-(t - 30) / 9)) * (1.0 if t < 62 else math.exp(-(t - 62) / 9.5))
    p50 = (11.5 + rng.gauss(0, 0.5)) * max(1.0, queue * 0.82)
    p95 = (19.0 + abs(rng.gauss(0, 1.4))) * max(1.0, queue * 1.25)
    p99 = (26.0 + abs(rng.gauss(0, 2.0))) * max(1.0, queue * 1.35)
    p99 = min(p99, 2137.0 - abs(58 - t) * 3) if queue > 1 else p99
    cores = min(0.5 * ready, completed * 0.0176 + 0.01)
    return {
        "arrival": round(arrival, 1),
        "completed": round(completed, 1),
        "failed": failed,
        "success": round(1 - failed / max(completed, 1), 4),
        "p50": round(p50, 1),
        "p95": round(min(p95, p99 * 0.93), 1),
        "p99": round(p99, 1),
        "users": 6.0 if t <= 30 else round(2 + offered * p50 / 1000),
        "in_flight": round(offered * p50 / 1000, 1),
        "lateness": round(0.4 + abs(rng.gauss(0, 0.3)) * (1 + arrival / 40), 2),
        "gen_cpu": round(0.03 + arrival * 0.0024 + abs(rng.gauss(0, 0.008)), 3),
        "machine_cpu": round(min(1, 0.14 + completed * 0.0052 + 0.05 * ready + abs(rng.gauss(0, 0.02))), 3),
        "desired": at(DESIRED, t),
        "ready": ready,
        "cpu": round(cores / (0.25 * ready), 3),
        "cores": round(cores, 3),
        "throttled": round(0.84 + rng.gauss(0, 0.03), 3)
        if over
        else round(max(0.0, rng.gauss(0.01, 0.01)), 3),
        "memory": round((96 + 96 * min(1, queue / 45) + rng.gauss(0, 1)) * 2**20)
        if t < 71
        else round((88 + rng.gauss(0, 2)) * 2**20),
    }


def _within(rows: list[dict[str, float]], start: int, end: int) -> int:
    return round(sum(row["completed"] for row in rows[start:end]))


def _cumulative_burn(completed: tuple[float, ...], failed: tuple[float, ...]) -> float:
    return sum(failed) / sum(completed)


def _environment() -> m.Environment:
    return m.Environment(
        machine=m.Machine(
            cpu_model="AMD EPYC 7R13",
            cpu_count=4,
            memory_bytes=16 * 2**30,
            kernel="6.1.0-28-amd64",
            architecture="x86_64",
        ),
        python="3.11.7",
        seed=42,
        enforcer="cgroup v2",
        runtime="process",
        versions={
            "wavetank": "0.1.0",
            "envoy": "1.40.2",
            "locust": "2.47.0",
            "kubernetes API": "1.36",
            "gunicorn": "23.0.0",
        },
        command="wavetank rehearse examples/checkout --seed 42",
    )


def _chain(start: float, *parts: tuple[str, float, m.Phase, str, str]) -> tuple[m.LagStage, ...]:
    """Stages one after another; a source of ``model`` marks a stage as modelled."""
    stages, now = [], start
    for name, seconds, phase, source, note in parts:
        stages.append(
            m.LagStage(
                name=name,
                start_seconds=round(now, 3),
                end_seconds=round(now + seconds, 3),
                seconds=seconds,
                phase=phase,
                modelled=source == "model",
                source=source,
                note=note,
            )
        )
        now += seconds
    return tuple(stages)


def _starting(
    scheduled: float, pull: float, process: float, ready: float, ack: float, first: float
) -> tuple[tuple[str, float, m.Phase, str, str], ...]:
    image = "cached on this node" if not pull else "312 MiB, 6 layers"
    return (
        ("scheduled", scheduled, "pod", "pod.scheduled", ""),
        ("image pulled", pull, "pod", "model", image),
        ("process started", process, "pod", "container.started", ""),
        ("ready", ready, "pod", "pod.ready", "readiness probe every 1 s"),
        ("endpoint in Envoy", ack, "traffic", "endpoint.programmed", ""),
        ("first request served", first, "traffic", "endpoint.first_request", ""),
    )


def _first_up() -> m.Scaling:
    stages = _chain(
        30.0,
        ("first sample shows it", 4.7, "metrics", "kubelet.sample", "housekeeping every 10 s"),
        ("metric window full", 9.9, "metrics", "metrics_server.scrape", "resolution 15 s"),
        ("HPA sync", 6.6, "autoscaler", "hpa.sync", "sync period 15 s"),
        ("pod created", 0.14, "pod", "pod.created", "ReplicaSet controller"),
        *_starting(0.03, 8.42, 0.21, 1.55, 0.012, 0.031),
    )
    others = _starting(0.02, 8.42, 0.15, 1.21, 0.009, 0.027)
    return m.Scaling(
        workload=WEB,
        direction="up",
        from_replicas=1,
        to_replicas=3,
        decided_at_seconds=51.2,
        start_seconds=30.0,
        total_seconds=31.943,
        unexplained_seconds=0.35,
        cause="CPU 199 % of request against 60 %: wants 4, limited to 3 by policy (2 pods in 15 s)",
        stages=(*stages[:-2], *(_later(s, 0.35) for s in stages[-2:])),
        through_pod="shop/checkout-6f7d9-q8xwz",
        pods=(
            m.ScaledPod(pod="shop/checkout-6f7d9-q8xwz", node="node-1", stages=stages[4:-2]),
            m.ScaledPod(pod="shop/checkout-6f7d9-m2k4t", node="node-2", stages=_chain(51.34, *others)),
        ),
    )


def _later(stage: m.LagStage, seconds: float) -> m.LagStage:
    return msgspec.structs.replace(
        stage,
        start_seconds=round(stage.start_seconds + seconds, 3),
        end_seconds=round(stage.end_seconds + seconds, 3),
    )


def _second_up() -> m.Scaling:
    stages = _chain(
        51.2,
        ("policy wait", 15.0, "autoscaler", "hpa.sync", "ScaleUpLimit: 2 pods in 15 s"),
        ("pod created", 0.11, "pod", "pod.created", "ReplicaSet controller"),
        *_starting(0.04, 14.71, 0.24, 1.62, 0.011, 0.024),
    )
    others = _starting(0.03, 14.71, 0.2, 1.3, 0.013, 0.04)
    return m.Scaling(
        workload=WEB,
        direction="up",
        from_replicas=3,
        to_replicas=5,
        decided_at_seconds=66.2,
        start_seconds=51.2,
        total_seconds=31.805,
        unexplained_seconds=0.05,
        cause="CPU 198 % of request against 60 %: wants 10, limited to 5 by maxReplicas",
        stages=(*stages[:-2], *(_later(s, 0.05) for s in stages[-2:])),
        through_pod="shop/checkout-6f7d9-8jvlp",
        pods=(
            m.ScaledPod(pod="shop/checkout-6f7d9-8jvlp", node="node-2", stages=stages[2:-2]),
            m.ScaledPod(pod="shop/checkout-6f7d9-zz4hd", node="node-1", stages=_chain(66.31, *others)),
        ),
    )


def _down() -> m.Scaling:
    return m.Scaling(
        workload=WEB,
        direction="down",
        from_replicas=5,
        to_replicas=3,
        decided_at_seconds=151.7,
        start_seconds=110.0,
        total_seconds=47.38,
        unexplained_seconds=0.0,
        cause="CPU 29 % of request against a target of 60 %, for a stabilisation window of 30 s: wants 3",
        stages=_chain(
            110.0,
            ("first sample shows it", 3.1, "metrics", "kubelet.sample", "housekeeping every 10 s"),
            ("metric window full", 8.6, "metrics", "metrics_server.scrape", "resolution 15 s"),
            ("stabilisation window", 30.0, "autoscaler", "hpa.sync", "ScaleDownStabilized"),
            ("pods chosen", 0.12, "pod", "pod.terminating", "ReplicaSet controller"),
            ("endpoint out of Envoy", 0.58, "traffic", "endpoint.programmed", ""),
            ("drained and ended", 4.98, "pod", "pod.gone", "termination grace 30 s"),
        ),
    )


def _events() -> tuple[m.Event, ...]:
    first, oomed = "shop/checkout-6f7d9-b5n7c", "shop/checkout-6f7d9-q8xwz"
    rows: list[tuple[float, str, str, str, m.Severity]] = [
        (0.0, "stage", "load", "stage 1: 6 users, closed", "info"),
        (0.9, "slo", "availability", "first value: 100 %", "info"),
        (30.0, "stage", "load", "stage 2: 80 requests/s, Poisson arrivals", "info"),
        (31.8, "slo", "latency-p99", "left its limit: 312 ms against 300 ms", "error"),
        (39.4, "probe", first, "readiness probe failed: timeout after 1 s (1 of 3)", "warning"),
        (51.2, "scale", WEB, "scaled up from 1 to 3: CPU 199 % against 60 %", "info"),
        (61.1, "ready", "shop/checkout-6f7d9-m2k4t", "ready on node-2, 9.8 s after it was created", "info"),
        (61.6, "ready", oomed, "ready on node-1, 10.2 s after it was created", "info"),
        (66.2, "scale", WEB, "scaled up from 3 to 5: CPU 198 % against 60 %", "info"),
        (71.1, "oom", oomed, "container web was killed: OOMKilled at 192 MiB, exit code 137", "error"),
        (71.2, "slo", "availability", "budget burns: 87 % of requests good", "warning"),
        (
            77.4,
            "restart",
            oomed,
            "container web started again (restart 1, after a back-off of 6.2 s)",
            "warning",
        ),
        (79.6, "ready", oomed, "ready again", "info"),
        (82.0, "slo", "latency-p99", "back within its limit: 292 ms", "info"),
        (82.6, "ready", "shop/checkout-6f7d9-zz4hd", "ready on node-1, 16.2 s after it was created", "info"),
        (82.9, "ready", "shop/checkout-6f7d9-8jvlp", "ready on node-2, 16.6 s after it was created", "info"),
        (110.0, "stage", "load", "stage 3: 20 requests/s, Poisson arrivals", "info"),
        (151.7, "scale", WEB, "scaled down from 5 to 3: CPU 29 % against 60 % for 30 s", "info"),
    ]
    return tuple(
        m.Event(at_seconds=when, kind=kind, subject=subject, message=text, severity=severity)
        for when, kind, subject, text, severity in rows
    )


def _pods() -> tuple[m.Pod, ...]:
    rows = [
        ("b5n7c", "node-1", -3.1, -2.6, -1.2, None, 0, "", 2600),
        ("q8xwz", "node-1", 51.34, 60.0, 61.55, None, 1, "OOMKilled", 1004),
        ("m2k4t", "node-2", 51.34, 59.93, 61.14, None, 0, "", 1246),
        ("8jvlp", "node-2", 66.31, 81.3, 82.92, 157.38, 0, "scaled down", 690),
        ("zz4hd", "node-1", 66.31, 81.25, 82.55, 157.1, 0, "scaled down", 665),
    ]
    return tuple(
        m.Pod(
            name=f"shop/checkout-6f7d9-{suffix}",
            workload=WEB,
            node=node,
            created_at_seconds=created,
            started_at_seconds=started,
            ready_at_seconds=ready,
            ended_at_seconds=ended,
            restarts=restarts,
            reason=reason,
            requests=requests,
        )
        for suffix, node, created, started, ready, ended, restarts, reason, requests in rows
    )


def _load(requests: int) -> m.Load:
    def row(method: str, name: str, requests: int, failures: int, *ms: float) -> m.LoadRow:
        return m.LoadRow(
            method=method,
            name=name,
            requests=requests,
            failures=failures,
            rps=round(requests / END, 2),
            p50_ms=ms[0],
            p95_ms=ms[1],
            p99_ms=ms[2],
            max_ms=ms[3],
        )

    return m.Load(
        requests=requests,
        failures=17,
        dropped=0,
        lateness_p99_ms=1.9,
        total=row("", "all", requests, 17, 14.0, 1206.0, 1871.0, 2904.0),
        rows=(
            row("GET", "/cart", requests - 2 * (requests // 5), 9, 13.0, 1188.0, 1790.0, 2611.0),
            row("POST", "/checkout", requests // 5, 6, 21.0, 1344.0, 2102.0, 2904.0),
            row("GET", "/product/[id]", requests // 5, 2, 12.0, 1131.0, 1702.0, 2380.0),
        ),
        errors=(
            m.LoadError(
                method="GET", name="/cart", error="503 upstream connect error or disconnect", count=9
            ),
            m.LoadError(
                method="POST", name="/checkout", error="503 upstream connect error or disconnect", count=6
            ),
            m.LoadError(method="GET", name="/product/[id]", error="Timeout after 10 s", count=2),
        ),
    )


def terminal_text(report: m.Report, width: int = 96) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=False)
    print_summary(report, console)
    text = console.file.getvalue()
    return "".join(line.rstrip() + "\n" for line in text.splitlines())


if __name__ == "__main__":
    report = example()
    (DATA / "example.json").write_bytes(m.encode(report) + b"\n")
    (DATA / "example.md").write_text(render_markdown(report))
    (DATA / "example.xml").write_text(render_junit(report))
    (DATA / "example.txt").write_text(terminal_text(report))
