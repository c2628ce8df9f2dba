"""Scalings, pods and event marks: the journal, told in the report's words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from wavetank.analysis.lag import UNEXPLAINED, PodLag, Stage, attribute_scalings
from wavetank.analysis.lag import Scaling as Attributed
from wavetank.rehearsal.report.model import Event, LagStage, Phase, Pod, ScaledPod, Scaling, Severity

__all__ = ["events", "pods", "scalings"]

Record = Mapping[str, Any]

_PHASES: Final[dict[str, Phase]] = {
    "usage sampled": "metrics",
    "first scrape": "metrics",
    "metric window": "metrics",
    "HPA sync": "autoscaler",
    "rate limit or stabilisation": "autoscaler",
    "scale written": "autoscaler",
    "pod created": "pod",
    "scheduled": "pod",
    "image pulled": "pod",
    "process started": "pod",
    "ready": "pod",
    "pod terminating": "pod",
    "pod gone": "pod",
    "endpoint programmed": "traffic",
    "endpoint removed": "traffic",
    "first request": "traffic",
}


def scalings(records: Sequence[Record], origin: float) -> tuple[Scaling, ...]:
    nodes = {r["pod"]: str(r["node"]) for r in records if r["kind"] == "pod.scheduled"}
    return tuple(_scaling(one, origin, nodes) for one in attribute_scalings(records))


def _scaling(one: Attributed, origin: float, nodes: Mapping[str, str]) -> Scaling:
    kind, namespace, name = one.target.split("/", 2)
    end = max((p.stages[-1].end for p in one.pods if p.stages), default=0.0)
    last = next((p.pod for p in one.pods if p.stages and p.stages[-1].end == end), "")
    return Scaling(
        workload=f"{kind}/{namespace}/{name}",
        direction=one.direction,
        from_replicas=one.replicas_from,
        to_replicas=one.replicas_to,
        decided_at_seconds=round(one.decided - origin, 3),
        start_seconds=round(one.began - origin, 3),
        total_seconds=round(one.total_seconds, 3),
        cause=one.cause if one.complete else f"{one.cause}; the run ended before it was complete",
        stages=tuple(_stage(s, origin) for s in one.stages if s.name != UNEXPLAINED),
        unexplained_seconds=round(one.unexplained_seconds, 3),
        through_pod=last,
        pods=tuple(_pod(p, origin, nodes) for p in one.pods),
    )


def _stage(stage: Stage, origin: float) -> LagStage:
    return LagStage(
        name=stage.name,
        start_seconds=round(stage.start - origin, 3),
        end_seconds=round(stage.end - origin, 3),
        seconds=round(stage.seconds, 3),
        phase=_PHASES.get(stage.name, "other"),
        modelled=stage.modelled,
        note=stage.note,
        source=stage.source,
    )


def _pod(lag: PodLag, origin: float, nodes: Mapping[str, str]) -> ScaledPod:
    return ScaledPod(
        pod=lag.pod, node=nodes.get(lag.pod, ""), stages=tuple(_stage(s, origin) for s in lag.stages)
    )


def pods(records: Sequence[Record], origin: float) -> tuple[Pod, ...]:
    """Every pod of the run, in order of creation."""
    lives: dict[str, dict[str, Any]] = {}
    for record in records:
        uid = record.get("uid")
        if record["kind"] == "pod.created":
            owner = str(record.get("owner") or "")
            lives[str(uid)] = {"name": record["pod"], "workload": owner, "created": record["at"]}
        elif uid in lives:
            _live(lives[str(uid)], record)
    return tuple(
        Pod(
            name=life["name"],
            workload=life["workload"],
            node=life.get("node", ""),
            created_at_seconds=_moment(life.get("created"), origin),
            started_at_seconds=_moment(life.get("started"), origin),
            ready_at_seconds=_moment(life.get("ready"), origin),
            ended_at_seconds=_moment(life.get("ended"), origin),
            restarts=life.get("restarts", 0),
            reason=life.get("reason", ""),
        )
        for life in lives.values()
    )


def _live(life: dict[str, Any], record: Record) -> None:
    match record["kind"]:
        case "pod.scheduled":
            life["node"] = str(record["node"])
        case "pod.unschedulable" if "node" not in life:
            life["reason"] = str(record["message"])
        case "container.started":
            life.setdefault("started", record["at"])
            life["restarts"] = max(life.get("restarts", 0), int(record.get("restart") or 0))
        case "container.exited" if record.get("reason") not in (None, "Completed"):
            life["reason"] = str(record["reason"])
        case "pod.ready":
            life.setdefault("ready", record["at"])
            life["reason"] = ""
        case "pod.gone":
            life["ended"] = record["at"]
        case _:
            pass


def _moment(at: float | None, origin: float) -> float | None:
    return None if at is None else round(float(at) - origin, 3)


def events(records: Sequence[Record], origin: float) -> tuple[Event, ...]:
    """Marks for the charts: what a person would point at."""
    ending = {r["uid"]: float(r["at"]) for r in records if r["kind"] == "pod.terminating"}
    found: list[Event] = []
    for record in records:
        told = _tell(record, ending)
        if told is not None:
            kind, subject, message, severity = told
            at = round(float(record["at"]) - origin, 3)
            found.append(Event(at_seconds=at, kind=kind, subject=subject, message=message, severity=severity))
    return tuple(sorted([*found, *_rollouts(records, origin)], key=lambda event: event.at_seconds))


def _rollouts(records: Sequence[Record], origin: float) -> Iterator[Event]:
    """A rollout begins with the first pod of a ReplicaSet that a Deployment has instead of another."""
    seen: dict[str, str] = {}
    for record in records:
        kind, _, owner = str(record.get("owner", "")).partition("/")
        if record["kind"] != "pod.created" or kind != "ReplicaSet":
            continue
        deployment = owner.rpartition("-")[0]
        key = f"{str(record['pod']).partition('/')[0]}/{deployment}"
        before = seen.setdefault(key, owner)
        if before != owner:
            seen[key] = owner
            at = round(float(record["at"]) - origin, 3)
            message = f"new ReplicaSet {owner}"
            yield Event(at_seconds=at, kind="rollout", subject=f"Deployment/{deployment}", message=message)


_Told = tuple[str, str, str, Severity]


def _tell(record: Record, ending: Mapping[str, float]) -> _Told | None:
    match record["kind"]:
        case "load.stage":
            level = f"{record['rps']:g} requests/s" if record.get("rps") is not None else None
            return "stage", "load", level or f"{record.get('users', 0):g} users", "info"
        case "load.stop":
            return "stage", "load", f"stopped: {record.get('reason', '')}".rstrip(": "), "info"
        case "hpa.sync" if record["rescaled"]:
            message = f"{record['current']} to {record['desired']} replicas: {record['reason']}"
            return "scale", str(record["target"]), message, "info"
        case "pod.unschedulable":
            return "pending", str(record["pod"]), str(record["message"]), "warning"
        case "pod.ready":
            return "ready", str(record["pod"]), "ready", "info"
        case "pod.unready" if record["uid"] not in ending:
            return "probe", str(record["pod"]), "no longer ready", "warning"
        case "container.exited":
            return _tell_exit(record, ending)
        case "probe.failed" if record.get("probe") == "liveness":
            return "probe", str(record["pod"]), f"liveness probe failed: {record['message']}", "warning"
        case "xds.nack":
            return "envoy", str(record["type"]), f"configuration refused: {record['error']}", "error"
        case "child.exited" if record.get("restarting"):
            return "restart", str(record["name"]), f"exited with {record['exit_code']}, restarted", "error"
        case _:
            return None


def _tell_exit(record: Record, ending: Mapping[str, float]) -> _Told | None:
    if record.get("reason") == "OOMKilled":
        return "oom", str(record["pod"]), "killed at its memory limit", "error"
    asked = ending.get(str(record["uid"]))
    if asked is not None and asked <= float(record["at"]):
        return None  # it was told to go
    how = f"signal {record['signal']}" if record.get("signal") else f"exit code {record.get('exit_code')}"
    return "restart", str(record["pod"]), f"container {record['container']} ended: {how}", "error"
