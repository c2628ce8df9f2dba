"""A ``model.yaml`` measured in a rehearsal: what its pods' models should have been.

CPU per request is the slope of CPU used over requests answered, stage by stage (two loads or more give an
idle share too); the service time is the load generator's own histogram of the lightest stage, where requests
hardly wait for each other; start-up is from a container's start to its Ready. Each number says from how much
it was measured. What cannot be seen from outside (how many requests a pod works on at once, its memory per
request) keeps what the user's own model says, or is assumed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import yaml

from wavetank.analysis.query import Query
from wavetank.simulation.model import MODEL_FILE

__all__ = ["StageLoad", "calibrate", "model_yaml"]

Record = Mapping[str, Any]

#: Of each stage, left out: the pods and the metrics are still on their way to it.
_SETTLE_SECONDS = 10.0
#: cAdvisor looks at a pod every 10 to 15 s.
_SAMPLE_SECONDS_MAX = 16.0
_SERVICE = "sum by (le) (increase(locust_request_duration_seconds_bucket[{seconds}s]))"
#: A stage with fewer requests says nothing about their distribution.
_REQUESTS_MIN = 30


@dataclass(frozen=True, slots=True)
class StageLoad:
    """A stage as it happened: Unix seconds, and requests answered a second."""

    start: float
    end: float
    rps: float


@dataclass(frozen=True, slots=True)
class _Pod:
    """One pod of the workload: when it started and was ready, its last failed probe before that, and (time,
    CPU seconds) samples after it."""

    started: float
    ready: float
    failed: float | None
    samples: tuple[tuple[float, float], ...]

    @property
    def startup_seconds(self) -> float:
        """To when it answered: half-way between the last probe it failed and the first it passed."""
        answered = self.ready if self.failed is None else (self.failed + self.ready) / 2
        return answered - self.started


async def calibrate(
    workload: str,
    records: Sequence[Record],
    stages: Sequence[StageLoad],
    query: Query | None,
    cpu_limit: float | None = None,
) -> tuple[dict[str, Any], dict[str, str]]:
    """(fields of ``services.<workload>``, how each was measured); fields that could not be are left out.

    ``cpu_limit`` is what bounded a pod while it was measured, in cores.
    """
    pods = _pods(workload, records)
    fields: dict[str, Any] = {}
    how: dict[str, str] = {}
    quantiles, count, rps = await _service_time(stages, query)
    mean = _mean(quantiles)
    cpu = _cpu_per_request(pods, stages)
    if cpu is not None:
        per_request, idle, loads = cpu
        fields["cpuPerRequest"] = _duration(per_request)
        how["cpuPerRequest"] = f"CPU over requests at {loads} load(s)"
        if loads > 1:
            fields["idleCpu"] = round(idle, 5)
            how["idleCpu"] = "CPU at no load, from the same line"
        if quantiles and per_request > mean:
            # Requests seen from outside cannot take less than the CPU they use: the buckets are coarse.
            quantiles = [(share, seconds * per_request / mean * 1.001) for share, seconds in quantiles]
    if quantiles:
        fields["serviceTime"] = {
            "distribution": "empirical",
            "quantiles": {f"{share:.6g}": _duration(seconds) for share, seconds in quantiles},
        }
        how["serviceTime"] = f"{count} requests at {rps:.3g}/s"
    starts = [pod.startup_seconds for pod in pods]
    if starts:
        fields["startup"] = {
            "duration": _duration(float(np.median(starts))),
            "cpu": _startup_cpu(pods, cpu_limit),
        }
        how["startup"] = f"{len(starts)} pod(s), between the last failed probe and the first passed"
    return fields, how


def model_yaml(
    measured: Mapping[str, tuple[Mapping[str, Any], Mapping[str, str]]],
    before: Mapping[str, Any] | None,
    source: str,
) -> str:
    """The file: measured fields over those of ``before`` (an earlier model's value). Concurrency that nobody
    gave is taken as unbounded on one core, which is a program of threads or an event loop."""
    document: dict[str, Any] = {"apiVersion": "wavetank.dev/v1", "kind": "Model", **(before or {})}
    services = {name: dict(fields) for name, fields in (document.get("services") or {}).items()}
    notes: dict[str, str] = {}
    for workload, (fields, how) in measured.items():
        service = services.setdefault(workload, {"concurrency": {"async": True}, "cores": 1})
        service.update(fields)
        notes.update({f"{workload}.{name}": text for name, text in how.items()})
    document["services"] = services
    document["measured"] = notes
    head = f"# {MODEL_FILE}: measured by {source}. Change what you know better; see docs/simulation.md.\n"
    return head + yaml.safe_dump(document, sort_keys=False)


# --- from the journal


def _pods(workload: str, records: Sequence[Record]) -> list[_Pod]:
    started: dict[str, float] = {}
    ready: dict[str, float] = {}
    names: dict[str, str] = {}
    failed: dict[str, float] = {}
    samples: dict[str, list[tuple[float, float]]] = {}
    for record in records:
        pod, at = str(record.get("pod", "")), float(record["at"])
        match record["kind"]:
            case "container.started" if pod.partition("/")[2].startswith(f"{workload}-"):
                started.setdefault(str(record["uid"]), at)
                names[str(record["uid"])] = pod
            case "probe.failed" if record["uid"] in started and record["uid"] not in ready:
                failed[str(record["uid"])] = at
            case "pod.ready" if record["uid"] in started:
                ready.setdefault(str(record["uid"]), at)
            case "kubelet.sample":
                for name, cpu in record["pods"].items():
                    samples.setdefault(name, []).append((at, float(cpu)))
            case _:
                pass
    return [
        _Pod(
            at,
            ready[uid],
            failed.get(uid),
            tuple(s for s in samples.get(names[uid], ()) if s[0] >= ready[uid]),
        )
        for uid, at in started.items()
        if uid in ready
    ]


def _cpu_per_request(pods: Sequence[_Pod], stages: Sequence[StageLoad]) -> tuple[float, float, int] | None:
    """(seconds a request, idle cores of a pod, how many loads), by least squares over the stages."""
    points: list[tuple[float, float, float]] = []
    for stage in stages:
        begin = stage.start + min(_SETTLE_SECONDS, (stage.end - stage.start) / 3)
        used = covered = 0.0
        for pod in pods:
            inside = [s for s in pod.samples if begin <= s[0] <= stage.end + 1]
            if len(inside) < 2:
                continue
            # A pod counts for as long as it was there: while another one shares the load, it has less of it.
            until = stage.end if inside[-1][0] >= stage.end - _SAMPLE_SECONDS_MAX else inside[-1][0]
            share = (until - max(begin, pod.ready)) / (stage.end - begin)
            used += share * (inside[-1][1] - inside[0][1]) / (inside[-1][0] - inside[0][0])
            covered += share
        if covered > 0 and stage.rps > 0:
            points.append((stage.rps, used, covered))
    if not points:
        return None
    rates, cores, counts = (np.array(column) for column in zip(*points, strict=True))
    if len({round(float(r), 1) for r in rates}) < 2:
        return float((cores / rates).mean()), 0.0, 1
    design = np.stack([rates, counts], axis=1)
    (slope, idle), *_ = np.linalg.lstsq(design, cores, rcond=None)
    if slope <= 0 or idle < 0:
        return float((cores.sum()) / rates.sum()), 0.0, 1
    return float(slope), float(idle), len(points)


def _startup_cpu(pods: Sequence[_Pod], limit: float | None) -> float:
    """Cores used while starting: what the first sample after it counts, over the time to ready.

    That sample may come seconds later, and no pod uses more than its limit: the time it took to start is the
    time under that limit.
    """
    found = [
        pod.samples[0][1] / pod.startup_seconds for pod in pods if pod.samples and pod.startup_seconds > 0
    ]
    cores = round(float(np.median(found)), 3) if found else 0.5
    return min(cores, limit) if limit else cores


# --- from the monitoring


async def _service_time(
    stages: Sequence[StageLoad], query: Query | None
) -> tuple[list[tuple[float, float]], int, float]:
    """(quantiles as (share, seconds), requests, their rate) of the lightest stage with enough requests."""
    if query is None:
        return [], 0, 0.0
    for stage in sorted(stages, key=lambda s: s.rps):
        seconds = max(5, int(stage.end - stage.start - 2))
        rows = await query.instant(_SERVICE.format(seconds=seconds), stage.end)
        buckets = sorted(
            (math.inf if row.labels["le"] == "+Inf" else float(row.labels["le"]), float(row.values[-1]))
            for row in rows
            if "le" in row.labels
        )
        total = buckets[-1][1] if buckets else 0.0
        if total >= _REQUESTS_MIN:
            return _quantiles(buckets, total), round(total), stage.rps
    return [], 0, 0.0


def _quantiles(buckets: Sequence[tuple[float, float]], total: float) -> list[tuple[float, float]]:
    points: list[tuple[float, float]] = []
    below = 0.0
    for bound, count in buckets:
        share = min(1.0, count / total)
        if not points and share > 0:
            points.append((0.0, below))
        if math.isfinite(bound) and share > (points[-1][0] if points else 0.0):
            points.append((share, bound))
        below = bound
    if points and points[-1][0] < 1.0:
        points.append((1.0, 2 * points[-1][1]))  # what was slower than the last bound
    return points


def _mean(quantiles: Sequence[tuple[float, float]]) -> float:
    return sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(quantiles))


def _duration(seconds: float) -> str:
    number, unit = (seconds * 1000, "ms") if seconds < 1 else (seconds, "s")
    return f"{number:.4f}".rstrip("0").rstrip(".") + unit
