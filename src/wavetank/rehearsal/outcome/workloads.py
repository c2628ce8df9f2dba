"""Workloads over time: replicas from the journal, utilisation as the HPA saw it, the rest from the TSDB."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wavetank.analysis.query import Query, Series
from wavetank.analysis.slo import align
from wavetank.errors import WavetankError
from wavetank.rehearsal.outcome.record import WorkloadFacts
from wavetank.rehearsal.outcome.timeline import Axis, last_known
from wavetank.rehearsal.report.model import Workload

__all__ = ["workload_over_time"]

Record = Mapping[str, Any]
Values = tuple[float | None, ...]

_CPU = "max by (namespace, pod, container) (rate(container_cpu_usage_seconds_total{{{pods}}}[30s]))"
_THROTTLED = (
    "max by (namespace, pod, container) (rate(container_cpu_cfs_throttled_periods_total{{{pods}}}[30s]))"
    " / max by (namespace, pod, container) (rate(container_cpu_cfs_periods_total{{{pods}}}[30s]))"
)
_MEMORY = "max by (namespace, pod, container) (container_memory_working_set_bytes{{{pods}}})"


async def workload_over_time(
    facts: WorkloadFacts, records: Sequence[Record], axis: Axis, query: Query | None
) -> Workload:
    target = f"{facts.kind}/{facts.namespace}/{facts.name}"
    desired = [
        (float(r["at"]), float(r["to"])) for r in records if r["kind"] == "scale" and r["target"] == target
    ]
    selector = f'namespace="{facts.namespace}", pod=~"{facts.name}-.*", container!="", container!="POD"'
    cpu = await _ask(query, _CPU.format(pods=selector), axis)
    throttled = await _ask(query, _THROTTLED.format(pods=selector), axis)
    memory = await _ask(query, _MEMORY.format(pods=selector), axis)
    return Workload(
        namespace=facts.namespace,
        name=facts.name,
        kind=facts.kind,
        hpa=facts.hpa,
        min_replicas=facts.min_replicas,
        max_replicas=facts.max_replicas,
        cpu_request_cores=facts.cpu_request_cores,
        cpu_limit_cores=facts.cpu_limit_cores,
        memory_limit_bytes=facts.memory_limit_bytes,
        cpu_target_ratio=facts.cpu_target_ratio,
        desired=last_known(axis, desired, float(facts.replicas)),
        ready=_ready(records, facts, axis),
        cpu_utilization_ratio=_utilization(records, facts, axis),
        cpu_cores=tuple(align(cpu, axis.times)),
        throttled_ratio=_mean(throttled, axis),
        memory_bytes=_largest(memory, axis),
    )


async def _ask(query: Query | None, expr: str, axis: Axis) -> list[Series]:
    """The series of a chart; a run whose monitoring is gone has none, and still gets its report."""
    if query is None or axis.count == 0:
        return []
    try:
        return await query.range(expr, axis.times[0], axis.times[-1], axis.step)
    except WavetankError:
        return []


def _ready(records: Sequence[Record], facts: WorkloadFacts, axis: Axis) -> Values:
    """Pods of the workload that were ready, from its pods' own journal records."""
    mine: set[str] = set()
    ready: set[str] = set()
    points: list[tuple[float, float]] = []
    for record in records:
        uid = str(record.get("uid", ""))
        match record["kind"]:
            case "pod.created" if _belongs(record, facts):
                mine.add(uid)
            case "pod.ready" if uid in mine:
                ready.add(uid)
            case "pod.unready" | "pod.terminating" | "pod.gone" if uid in mine:
                ready.discard(uid)
            case _:
                continue
        points.append((float(record["at"]), float(len(ready))))
    return last_known(axis, points, 0.0)


def _belongs(created: Record, facts: WorkloadFacts) -> bool:
    if not str(created["pod"]).startswith(f"{facts.namespace}/"):
        return False
    kind, _, name = str(created.get("owner") or "").partition("/")
    if facts.kind == "Deployment" and kind == "ReplicaSet":
        return name.rpartition("-")[0] == facts.name
    return (kind, name) == (facts.kind, facts.name)


def _utilization(records: Sequence[Record], facts: WorkloadFacts, axis: Axis) -> Values:
    """CPU utilisation as the HPA computed it at each of its syncs."""
    points: list[tuple[float, float]] = []
    for record in records:
        if record["kind"] != "hpa.sync" or record["hpa"] != f"{facts.namespace}/{facts.hpa}":
            continue
        ratios = [
            m["ratio"] for m in record.get("metrics") or () if "cpu" in str(m.get("name")) and m.get("ratio")
        ]
        if ratios and facts.cpu_target_ratio:
            points.append((float(record["at"]), float(ratios[0]) * facts.cpu_target_ratio))
    return last_known(axis, points)


def _mean(series: Sequence[Series], axis: Axis) -> Values:
    columns = [align([one], axis.times) for one in series]
    return tuple(_average([c[i] for c in columns]) for i in range(axis.count))


def _average(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return sum(known) / len(known) if known else None


def _largest(series: Sequence[Series], axis: Axis) -> Values:
    columns = [align([one], axis.times) for one in series]
    return tuple(
        max((v for c in columns if (v := c[i]) is not None), default=None) for i in range(axis.count)
    )
