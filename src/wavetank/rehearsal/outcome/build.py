"""One report from one run directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from wavetank.analysis.bottleneck import Sign, first_to_give_out
from wavetank.analysis.query import Query
from wavetank.analysis.slo import Objective, Verdict, evaluate
from wavetank.errors import WavetankError
from wavetank.journal import read_journals
from wavetank.rehearsal.outcome.alerts import alert_events
from wavetank.rehearsal.outcome.causes import with_causes
from wavetank.rehearsal.outcome.environment import describe, usable_cpus
from wavetank.rehearsal.outcome.gateway import gateway_load
from wavetank.rehearsal.outcome.nodes import node_seconds, nodes, nodes_over_time
from wavetank.rehearsal.outcome.record import (
    JOURNAL_GLOB,
    LoadSecond,
    RunRecord,
    SloFacts,
    read_load,
    read_record,
)
from wavetank.rehearsal.outcome.scalings import events, pods, scalings
from wavetank.rehearsal.outcome.services import services_over_time
from wavetank.rehearsal.outcome.timeline import Axis, load_stages, load_timeline
from wavetank.rehearsal.outcome.workloads import workload_over_time
from wavetank.rehearsal.report.model import (
    Bottleneck,
    Figures,
    Load,
    Modelled,
    Node,
    Outcome,
    Report,
    Scaling,
    Slo,
    Timeline,
    Workload,
)

__all__ = ["build_report", "objective_of"]

Record = Mapping[str, Any]

#: About this many points on a chart, whatever the length of the run.
POINTS = 240
THROTTLED_BOUND = 0.25
GENERATOR_BOUND = 0.85
LATENESS_BOUND_MS = 100.0


async def build_report(
    directory: Path, query: Query | None, now: float, *, since: float | None = None
) -> Report:
    """Read the run directory and ask ``query`` (None: the monitoring is gone; its charts stay empty).

    ``since`` leaves out what was before that moment: a standing tank has no end.
    """
    record = read_record(directory)
    records = read_journals(sorted(directory.glob(JOURNAL_GLOB)))
    if since is not None and since > record.started_at:
        record.started_at = since
    rows = read_load(directory)
    end = record.ended_at or now
    axis = _axis(record.started_at, end)
    if not rows and since is not None and query is not None:
        rows = await _seen_by_the_gateway(query, axis, record)
    timeline = load_timeline(axis, rows, usable_cpus())
    found_nodes = nodes(record.nodes, records, record.started_at)
    timeline = msgspec.structs.replace(timeline, nodes=nodes_over_time(found_nodes, axis))
    workloads = tuple([await workload_over_time(w, records, axis, query) for w in record.workloads])
    verdicts = await _verdicts(record, query, axis, end)
    slos = tuple(_slo(v, f, record.started_at) for v, f in verdicts)
    scaled = with_causes(scalings(records, record.started_at), records, timeline, record.started_at)
    outcome, reason = _outcome(record, slos)
    return Report(
        name=record.name,
        started_at=record.started_at,
        ended_at=end,
        duration_seconds=round(end - record.started_at, 3),
        outcome=outcome,
        reason=reason,
        environment=describe(
            seed=record.seed,
            enforcer=record.enforcer,
            runtime=record.runtime,
            versions=record.versions,
            command=record.command,
        ),
        modelled=tuple(Modelled(what=what, how=how) for what, how in record.modelled),
        slos=slos,
        stages=load_stages(records, record.started_at, record.load_ended_at or end, rows),
        timeline=timeline,
        workloads=workloads,
        services=await services_over_time(query, axis, end),
        scalings=scaled,
        events=(*events(records, record.started_at), *await alert_events(query, axis)),
        bottleneck=_bottleneck(record.started_at, axis, timeline, workloads, verdicts),
        pods=pods(records, record.started_at),
        nodes=found_nodes,
        load=_load(record),
        figures=_figures(record, records, found_nodes, end),
        recommendations=_recommendations(scaled, workloads),
        notes=tuple(record.notes),
        files=record.files,
    )


async def _seen_by_the_gateway(query: Query, axis: Axis, record: RunRecord) -> list[LoadSecond]:
    """The load of a tank that others drive; it began with its first request."""
    try:
        rows = await gateway_load(query, axis)
    except WavetankError as error:
        record.notes.append(f"load at the gateway: {error}")
        return []
    if rows and record.load_started_at is None:
        record.load_started_at = float(rows[0].second)
    return rows


def _axis(start: float, end: float) -> Axis:
    """Whole seconds a step, at least two, so that about POINTS entries span the run."""
    span = max(2.0, end - start)
    step = max(2, round(span / POINTS))
    return Axis(start, float(step), max(1, int(span // step)))


def objective_of(facts: SloFacts) -> Objective:
    return Objective(
        facts.name,
        facts.kind,
        facts.objective,
        errors=facts.errors,
        total=facts.total,
        expr=facts.expr,
        min=facts.min,
        max=facts.max,
    )


async def _verdicts(
    record: RunRecord, query: Query | None, axis: Axis, end: float
) -> list[tuple[Verdict, SloFacts]]:
    verdicts = []
    for facts in record.slos:
        objective = objective_of(facts)
        nothing = Verdict(objective, None, None, None, (), (), None, None)
        start = record.load_started_at
        if query is None or start is None:
            verdicts.append((nothing, facts))
            continue
        try:
            verdict = await evaluate(objective, query, start, record.load_ended_at or end, axis.step)
            verdicts.append((_onto(verdict, axis), facts))
        except WavetankError as error:
            record.notes.append(f"SLO {facts.name}: {error}")
            verdicts.append((nothing, facts))
    return verdicts


def _onto(verdict: Verdict, axis: Axis) -> Verdict:
    """The verdict's points moved to the entries of the report's axis."""
    values: list[float | None] = [None] * axis.count
    for at, value in zip(verdict.times, verdict.values, strict=True):
        i = axis.index(at)
        if i is not None:
            values[i] = value
    return Verdict(
        verdict.objective, verdict.value, verdict.ok, verdict.burn,
        axis.times, values, verdict.worst_value, verdict.worst_at,
    )  # fmt: skip


def _slo(verdict: Verdict, facts: SloFacts, origin: float) -> Slo:
    return Slo(
        name=facts.name,
        kind=facts.kind,
        expr=verdict.objective.shown,
        unit=facts.unit,
        objective=facts.objective,
        max=facts.max,
        min=facts.min,
        value=verdict.value,
        ok=verdict.ok,
        budget_burn=verdict.burn,
        worst_value=verdict.worst_value,
        worst_at_seconds=None if verdict.worst_at is None else round(verdict.worst_at - origin, 3),
        series=tuple(verdict.values),
    )


def _outcome(record: RunRecord, slos: Sequence[Slo]) -> tuple[Outcome, str]:
    if record.state != "ended":
        return "incomplete", record.reason or "the run did not end by itself"
    failed = [s.name for s in slos if s.ok is False]
    if failed:
        return "failed", f"{', '.join(failed)} not kept"
    unknown = [s.name for s in slos if s.ok is None]
    if unknown:
        return "incomplete", f"no data for {', '.join(unknown)}"
    return "held", record.reason


def _bottleneck(
    origin: float,
    axis: Axis,
    timeline: Timeline,
    workloads: Sequence[Workload],
    verdicts: Sequence[tuple[Verdict, SloFacts]],
) -> Bottleneck | None:
    """The first resource at its end; a run that kept its SLOs without strain has none."""
    signs = [
        Sign("the load generator's CPU", timeline.generator.cpu_ratio, GENERATOR_BOUND, "{:.0%} of a core"),
        Sign(
            "the load generator's schedule", timeline.generator.lateness_ms, LATENESS_BOUND_MS,
            "arrivals {:.0f} ms late",
        ),
    ]  # fmt: skip
    for workload in workloads:
        name = f"{workload.kind} {workload.name}"
        throttled = "{:.0%} of CFS periods throttled"
        signs.append(Sign(f"the CPU limit of {name}", workload.throttled_ratio, THROTTLED_BOUND, throttled))
        if workload.max_replicas is not None:
            full = _at_maximum(workload)
            signs.append(Sign(f"maxReplicas of {name}", full, 1.0, "{:.0%} of the CPU target at maxReplicas"))
    finding = first_to_give_out(axis.times, signs)
    if finding is None:
        return None
    evidence = list(finding.evidence)
    for verdict, facts in verdicts:
        if verdict.ok is False and verdict.worst_at is not None:
            evidence.append(f"SLO {facts.name} at its worst {verdict.worst_at - finding.at:+.0f} s from then")
    return Bottleneck(what=finding.what, at_seconds=round(finding.at - origin, 3), evidence=tuple(evidence))


def _at_maximum(workload: Workload) -> list[float | None]:
    """Utilisation over target while as many pods are ready as the HPA may ask for."""
    points: list[float | None] = []
    for ready, used in zip(workload.ready, workload.cpu_utilization_ratio, strict=True):
        at_most = ready is not None and workload.max_replicas is not None and ready >= workload.max_replicas
        points.append(
            used / workload.cpu_target_ratio if at_most and used and workload.cpu_target_ratio else None
        )
    return points


def _load(record: RunRecord) -> Load | None:
    return msgspec.convert(record.load, Load) if record.load else None


def _figures(record: RunRecord, records: Sequence[Record], found: Sequence[Node], end: float) -> Figures:
    known, origin = record.figures, record.started_at
    begin = (record.load_started_at or origin) - origin
    first = record.first_request_at
    delays = _endpoint_delays_ms(records)
    return Figures(
        time_to_first_request_seconds=None if first is None else round(first - record.started_at, 3),
        endpoint_ack_p50_ms=_quantile(delays, 0.5),
        endpoint_ack_p99_ms=_quantile(delays, 0.99),
        control_plane_rss_bytes=_whole(known.get("control_plane_rss_bytes")),
        control_plane_cpu_cores=known.get("control_plane_cpu_cores"),
        monitoring_rss_bytes=_whole(known.get("monitoring_rss_bytes")),
        samples=_whole(known.get("samples")),
        series=_whole(known.get("series")),
        node_seconds=node_seconds(found, begin, (record.load_ended_at or end) - origin) if found else None,
    )


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _endpoint_delays_ms(records: Sequence[Record]) -> list[float]:
    """From a pod's appearance among a Service's ready endpoints to Envoy's acknowledgement of it."""
    ready: dict[str, dict[str, float]] = {}
    delays = []
    for record in records:
        if record["kind"] == "endpoints":
            before = ready.get(record["service"], {})
            now = float(record["at"])
            ready[record["service"]] = {pod: before.get(pod, now) for pod in record["ready"]}
        elif record["kind"] == "endpoint.programmed" and record["action"] == "added":
            since = ready.get(record["service"], {}).get(record["pod"])
            if since is not None:
                delays.append((float(record["at"]) - since) * 1000)
    return delays


def _quantile(values: Sequence[float], q: float) -> float | None:
    if not values:
        return None
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(q * len(ordered)))], 3)


def _recommendations(scaled: Sequence[Scaling], workloads: Sequence[Workload]) -> tuple[str, ...]:
    """What the measured stages point at; each names the number it follows from."""
    advice = []
    for scaling in (s for s in scaled if s.direction == "up" and s.stages):
        longest = max(scaling.stages, key=lambda s: s.seconds)
        share = longest.seconds / scaling.total_seconds if scaling.total_seconds else 0.0
        if share >= 0.3:
            advice.append(
                f"{scaling.workload} {scaling.from_replicas} to {scaling.to_replicas}: "
                f"{longest.seconds:.1f} of {scaling.total_seconds:.1f} s went to {longest.name!r}"
            )
    for workload in workloads:
        throttled = [v for v in workload.throttled_ratio if v is not None]
        if throttled and max(throttled) > THROTTLED_BOUND:
            advice.append(
                f"{workload.kind} {workload.name} was throttled in up to {max(throttled):.0%} of its CFS "
                f"periods at a limit of {workload.cpu_limit_cores} cores: raise or remove the CPU limit"
            )
    return tuple(dict.fromkeys(advice))
