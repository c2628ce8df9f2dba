"""The result of a rehearsal or simulation as plain values: what the JSON report holds.

Mirrors no single upstream; the words are Kubernetes', Prometheus' and Locust's own. Three rules hold all
over: a moment is ``*_at_seconds``, ``start_seconds`` or ``end_seconds``, counted from ``Report.started_at``
(which alone, with ``ended_at``, is Unix time); an array of a timeline has one value per entry of
``Timeline.at_seconds``, ``None`` where nothing was measured; a ratio is 0 to 1, never percent.

Left out on purpose: raw samples and logs. They stay in the files that ``Report.files`` names.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from wavetank.errors import InputError

__all__ = [
    "SCHEMA_VERSION",
    "Bottleneck",
    "Environment",
    "Event",
    "Figures",
    "Generator",
    "LagStage",
    "Load",
    "LoadError",
    "LoadRow",
    "LoadStage",
    "Machine",
    "Modelled",
    "Node",
    "Pod",
    "Report",
    "ScaledPod",
    "Scaling",
    "Service",
    "Slo",
    "Timeline",
    "Workload",
    "decode",
    "encode",
]

SCHEMA_VERSION = 1
"""Grows when a field changes its meaning or goes; added fields leave it as it is."""

Outcome = Literal["held", "failed", "incomplete"]
Phase = Literal["metrics", "autoscaler", "pod", "traffic", "other"]
Severity = Literal["info", "warning", "error"]
Series = tuple[float | None, ...]


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """The machine that ran it; ``memory_bytes`` is what the run could use."""

    cpu_model: str
    cpu_count: int
    memory_bytes: int
    kernel: str
    architecture: str = ""


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody else needs to get the same result.

    ``versions`` names every program that took part (wavetank, envoy, locust, ...). ``enforcer`` is what held
    pods to their CPU and memory limits (``cgroup v2``, ``cgroup v1``, ``duty cycle``, ``none``); ``runtime``
    is how pods ran (``process``, ``sandbox``, ``simulated``). ``command`` is the command line, if known.
    """

    machine: Machine
    python: str
    versions: dict[str, str]
    seed: int
    enforcer: str
    runtime: str
    command: str = ""


class Modelled(msgspec.Struct, frozen=True, kw_only=True):
    """A thing that was computed instead of done, and by which model."""

    what: str
    how: str


class Slo(msgspec.Struct, frozen=True, kw_only=True):
    """One objective and how it fared over the whole run.

    ``kind`` ratio: ``value`` is the share of good requests, to be at least ``objective``; ``budget_burn`` is
    the share of the error budget used, 1 being all of it. ``kind`` threshold: ``value`` is the expression's
    worst sustained value, to stay within ``min`` and ``max``, in ``unit`` (``seconds``, ``ratio``, or any).
    ``ok`` is None where there was no data. ``series`` follows ``Timeline.at_seconds``.
    """

    name: str
    kind: Literal["ratio", "threshold"]
    expr: str
    unit: str = "ratio"
    objective: float | None = None
    max: float | None = None
    min: float | None = None
    value: float | None = None
    ok: bool | None = None
    budget_burn: float | None = None
    worst_value: float | None = None
    worst_at_seconds: float | None = None
    series: Series = ()


class LoadStage(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of the load as asked for; results are None where they were not kept by stage."""

    index: int
    start_seconds: float
    end_seconds: float
    kind: Literal["users", "rps"]
    users: float | None = None
    rps: float | None = None
    arrivals: str = ""
    requests: int | None = None
    failures: int | None = None
    p99_ms: float | None = None


class Generator(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the load generator itself kept up: if it did not, its latencies are not the service's.

    ``cpu_ratio`` is the busy share of the generator's busiest process, ``machine_cpu_ratio`` that of all
    cores; ``lateness_ms`` is how far behind schedule arrivals were sent (p99 of the step).
    """

    cpu_ratio: Series = ()
    machine_cpu_ratio: Series = ()
    lateness_ms: Series = ()
    in_flight: Series = ()


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """What clients saw, step by step; rates are per second over the step that ends at the entry."""

    step_seconds: float
    at_seconds: tuple[float, ...]
    arrival_rps: Series = ()
    completed_rps: Series = ()
    failed_rps: Series = ()
    success_ratio: Series = ()
    p50_ms: Series = ()
    p95_ms: Series = ()
    p99_ms: Series = ()
    users: Series = ()
    nodes: Series = ()
    generator: Generator = Generator()


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """A Deployment (or the like) over time; ``cpu_utilization_ratio`` is usage over request, as the HPA sees
    it, ``throttled_ratio`` the share of CFS periods that were throttled, ``memory_bytes`` the largest pod's.
    """

    namespace: str
    name: str
    kind: str
    hpa: str | None = None
    min_replicas: int | None = None
    max_replicas: int | None = None
    cpu_request_cores: float | None = None
    cpu_limit_cores: float | None = None
    memory_limit_bytes: int | None = None
    cpu_target_ratio: float | None = None
    desired: Series = ()
    ready: Series = ()
    cpu_utilization_ratio: Series = ()
    cpu_cores: Series = ()
    throttled_ratio: Series = ()
    memory_bytes: Series = ()


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """Requests to one Service ("namespace/name") as the proxy counted them, over the whole run.

    ``tries`` are what its pods were asked: requests that were not refused, and ``retries``. Not made were
    ``retries_refused``, by the retry budget or ``maxRetries``, and ``overflows``, by the other bounds of the
    connection pool. ``ejections`` is how often a pod was taken out; ``ejected`` how many were at a time.
    """

    name: str
    requests: int
    failures: int = 0
    tries: int = 0
    retries: int = 0
    retries_refused: int = 0
    overflows: int = 0
    ejections: int = 0
    requests_rps: Series = ()
    failed_rps: Series = ()
    tries_rps: Series = ()
    ejected: Series = ()


class LagStage(msgspec.Struct, frozen=True, kw_only=True):
    """One stage of a scaling. ``phase`` groups stages; ``source`` names what the times were read from."""

    name: str
    start_seconds: float
    end_seconds: float
    seconds: float
    phase: Phase = "other"
    modelled: bool = False
    note: str = ""
    source: str = ""


class ScaledPod(msgspec.Struct, frozen=True, kw_only=True):
    """One pod of a scaling, with the stages it went through on its own."""

    pod: str
    node: str = ""
    stages: tuple[LagStage, ...] = ()


class Scaling(msgspec.Struct, frozen=True, kw_only=True):
    """One scale-up or scale-down, from the change of load to its last consequence.

    ``stages`` leads from the load's change to the first request that the last new pod, ``through_pod``,
    served, or to the end of the last pod that went. Stages do not overlap; what lies between them is
    ``unexplained_seconds``, so that stages plus unexplained make ``total_seconds``.
    """

    workload: str
    direction: Literal["up", "down"]
    from_replicas: int
    to_replicas: int
    decided_at_seconds: float
    start_seconds: float
    total_seconds: float
    cause: str = ""
    stages: tuple[LagStage, ...] = ()
    unexplained_seconds: float = 0.0
    through_pod: str = ""
    pods: tuple[ScaledPod, ...] = ()


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A thing that happened; ``kind`` is scale, stage, oom, restart, probe, slo, envoy, ...

    The first four are marked on the charts; the message of a ``scale`` says "N to M".
    """

    at_seconds: float
    kind: str
    subject: str
    message: str
    severity: Severity = "info"


class Bottleneck(msgspec.Struct, frozen=True, kw_only=True):
    """What gave out first, in words, and the measurements that say so."""

    what: str
    at_seconds: float | None = None
    evidence: tuple[str, ...] = ()


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A node's life; moments are None where they never came, and for standing nodes, which were there before
    and stay."""

    name: str
    autoscaled: bool = False
    ordered_at_seconds: float | None = None
    started_at_seconds: float | None = None
    ended_at_seconds: float | None = None


class Pod(msgspec.Struct, frozen=True, kw_only=True):
    """A pod's life; moments are None where they never came. ``reason`` is why it ended or last restarted."""

    name: str
    workload: str = ""
    node: str = ""
    created_at_seconds: float | None = None
    started_at_seconds: float | None = None
    ready_at_seconds: float | None = None
    ended_at_seconds: float | None = None
    restarts: int = 0
    reason: str = ""
    requests: int | None = None


class LoadRow(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of request, as Locust counts them; latencies cover the whole run."""

    name: str
    method: str = ""
    requests: int = 0
    failures: int = 0
    rps: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    max_ms: float | None = None


class LoadError(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of failure, and how often it came."""

    name: str
    error: str
    count: int
    method: str = ""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """The load's account. ``dropped`` arrivals were due but never sent; ``total`` covers all rows."""

    requests: int
    failures: int
    dropped: int = 0
    lateness_p99_ms: float | None = None
    total: LoadRow | None = None
    rows: tuple[LoadRow, ...] = ()
    errors: tuple[LoadError, ...] = ()


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Single numbers worth comparing from run to run. ``node_seconds``: of all nodes during the load, from
    their order on."""

    time_to_first_request_seconds: float | None = None
    endpoint_ack_p50_ms: float | None = None
    endpoint_ack_p99_ms: float | None = None
    control_plane_rss_bytes: int | None = None
    control_plane_cpu_cores: float | None = None
    monitoring_rss_bytes: int | None = None
    samples: int | None = None
    series: int | None = None
    node_seconds: float | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One run. ``reason`` says why it is incomplete, or what decided, in one sentence or nothing.

    ``dashboards`` are those the run's file names, filled with the run: ``{board, frames}`` as
    docs/dashboards.md has them.
    """

    name: str
    started_at: float
    ended_at: float
    duration_seconds: float
    outcome: Outcome
    environment: Environment
    timeline: Timeline
    schema_version: int = SCHEMA_VERSION
    kind: Literal["rehearsal", "simulation"] = "rehearsal"
    reason: str = ""
    modelled: tuple[Modelled, ...] = ()
    slos: tuple[Slo, ...] = ()
    stages: tuple[LoadStage, ...] = ()
    workloads: tuple[Workload, ...] = ()
    services: tuple[Service, ...] = ()
    scalings: tuple[Scaling, ...] = ()
    events: tuple[Event, ...] = ()
    bottleneck: Bottleneck | None = None
    pods: tuple[Pod, ...] = ()
    nodes: tuple[Node, ...] = ()
    load: Load | None = None
    figures: Figures = Figures()
    recommendations: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    files: dict[str, str] = {}
    dashboards: tuple[dict[str, Any], ...] = ()


def encode(report: Report) -> bytes:
    """The report as one line of JSON; NaN and infinities become null."""
    return msgspec.json.encode(report)


def decode(data: bytes | str) -> Report:
    """Read what ``encode`` wrote; fields this version does not know are passed over.

    Raises InputError for anything that is not a report of this schema version.
    """
    try:
        head = msgspec.json.decode(data, type=dict[str, Any])
        if (version := head.get("schema_version")) != SCHEMA_VERSION:
            raise InputError(
                f"report has schema_version {version!r}, this version reads {SCHEMA_VERSION}",
                fix="render it with the version of wavetank that wrote it",
            )
        return msgspec.convert(head, Report)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InputError(f"not a rehearsal report: {error}") from error
