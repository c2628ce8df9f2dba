"""``rehearsal.yaml``: what to rehearse.

Everything but this small file is in the upstreams' own formats. Unknown fields are errors that name the line
and the nearest valid field.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from wavetank.autoscaling.hpa.options import NEWEST, HpaOptions, parse_release
from wavetank.errors import InputError
from wavetank.load.stages import Stage, parse_duration, parse_stage
from wavetank.model import duration
from wavetank.yamlfile import Document, decode, load_documents

__all__ = [
    "SLO",
    "Cluster",
    "Load",
    "Monitoring",
    "Node",
    "NodeAutoscaling",
    "Rehearsal",
    "Spec",
    "Vpa",
    "load_spec",
    "parse_bound",
    "stages_of",
]

SPEC_FILE = "rehearsal.yaml"
METRIC_RESOLUTION_SECONDS_MIN = 10
NODES_MAX = 16  # a tank's pod range has a block of addresses for each


class Metadata(Struct, forbid_unknown_fields=True):
    name: Annotated[str, Meta(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Node(Struct, forbid_unknown_fields=True):
    """A node is a budget for the scheduler, not a machine."""

    name: str
    cpu: str | int | float = "4"
    memory: str | int = "8Gi"
    pods: int = 110
    labels: dict[str, str] = {}


class ImagePull(Struct, forbid_unknown_fields=True, rename="camel"):
    """The model of image pulls; without it, pulling takes no time."""

    bandwidth: str | None = None  # e.g. 200Mbit
    rtt: str | None = None
    decompress: str | None = None  # e.g. 80MB/s
    image_sizes: dict[str, str] = {}  # image reference -> compressed size, e.g. 120MB


class Vpa(Struct, forbid_unknown_fields=True, rename="camel"):
    """The VPA's recommender and updater. With ``prometheus`` (a URL) the history comes from there."""

    interval: str = "60s"
    prometheus: str | None = None
    history_length: str = "8d"
    history_resolution: str = "1h"


class NodeTemplate(Struct, forbid_unknown_fields=True):
    """What a node is that the autoscaler adds."""

    cpu: str | int | float = "4"
    memory: str | int = "8Gi"
    pods: int = 110
    labels: dict[str, str] = {}


class NodeAutoscaling(Struct, forbid_unknown_fields=True, rename="camel"):
    """Between ``min`` and ``max`` nodes are added to ``nodes``, each ``bootDelay`` after its order."""

    min: Annotated[int, Meta(ge=0)] = 0
    max: Annotated[int, Meta(ge=1, le=NODES_MAX)] = 3
    boot_delay: str = "60s"
    scan_interval: str = "10s"
    unneeded_time: str = "10m"
    delay_after_add: str = "10m"
    utilization_threshold: Annotated[float, Meta(ge=0, le=1)] = 0.5
    template: NodeTemplate = field(default_factory=NodeTemplate)


class Cluster(Struct, forbid_unknown_fields=True, rename="camel"):
    nodes: list[Node] = field(default_factory=lambda: [Node("node-1")])
    image_pull: ImagePull | None = None
    vpa: Vpa = field(default_factory=Vpa)
    autoscaler: NodeAutoscaling | None = None
    emulate_kubernetes: str | None = None  # e.g. "1.36": whose rules the HPA follows
    feature_gates: dict[str, bool] = {}
    hpa_sync_period: str = "15s"
    metric_resolution: str = "15s"
    housekeeping_interval: str = "10s"

    @property
    def fixed_nodes(self) -> int:
        """How many kubelets are there for good; 0 where they come and go, and must be discovered."""
        return len(self.nodes) if self.autoscaler is None else 0


class Target(Struct, forbid_unknown_fields=True):
    """Where the load goes: a gateway and the host name the requests carry, or any URL."""

    gateway: str | None = None
    host: str | None = None
    url: str | None = None


class Load(Struct, forbid_unknown_fields=True, rename="camel"):
    target: Target
    locustfile: str = "locustfile.py"
    stages: list[dict[str, Any]] = []  # see wavetank.load.stages
    users_max: Annotated[int, Meta(ge=1)] | None = None
    processes: Annotated[int, Meta(ge=1, le=64)] = 1


class Ratio(Struct, forbid_unknown_fields=True):
    errors: str
    total: str


class SLO(Struct, forbid_unknown_fields=True):
    """``ratio`` with ``objective``: the share of good events. ``expr`` with ``max`` or ``min``: a value in
    bounds; ``objective`` is then the least share of the time (default: all of it)."""

    name: str
    ratio: Ratio | None = None
    expr: str | None = None
    max: str | int | float | None = None
    min: str | int | float | None = None
    objective: Annotated[float, Meta(gt=0, le=1)] | None = None


class Monitoring(Struct, forbid_unknown_fields=True):
    prometheus: str | None = None
    adapter: str | None = None  # prometheus-adapter's configuration file
    adapter_url: str | None = field(default=None, name="adapterUrl")  # default: the tank's own monitoring
    rules: list[str] = []
    dashboards: list[str] = []


class ReportSpec(Struct, forbid_unknown_fields=True):
    formats: list[Literal["html", "json", "junit", "markdown"]] = field(
        default_factory=lambda: ["html", "json", "junit", "markdown"]
    )


class Spec(Struct, forbid_unknown_fields=True):
    manifests: list[str]
    load: Load
    cluster: Cluster = field(default_factory=Cluster)
    slos: list[SLO] = []
    monitoring: Monitoring = field(default_factory=Monitoring)
    report: ReportSpec = field(default_factory=ReportSpec)


class Rehearsal(Struct, forbid_unknown_fields=True, rename="camel"):
    api_version: Literal["wavetank.dev/v1"]
    kind: Literal["Rehearsal"]
    metadata: Metadata
    spec: Spec


def load_spec(directory: Path) -> tuple[Rehearsal, Document]:
    """Read and check ``DIR/rehearsal.yaml``. Raises InputError with the place and the fix."""
    if not directory.is_dir():
        raise InputError(f"no such directory: {directory}", fix="give the directory of a rehearsal.yaml")
    path = directory / SPEC_FILE
    if not path.exists():
        fix = "give the directory that holds it; examples/httpbin shows one"
        raise InputError(f"there is no {SPEC_FILE} in {directory}", fix=fix)
    documents = load_documents(path)
    if len(documents) != 1:
        raise InputError(f"one document expected, {len(documents)} found", at=str(path))
    rehearsal = decode(documents[0], Rehearsal)
    _check(rehearsal.spec, documents[0])
    return rehearsal, documents[0]


def _check(spec: Spec, document: Document) -> None:
    _check_durations(spec, document)
    _check_release(spec.cluster, document)
    _check_autoscaler(spec.cluster, document)
    _check_vpa(spec.cluster.vpa, document)
    _check_load(spec.load, document)
    names: set[str] = set()
    for index, slo in enumerate(spec.slos):
        here = ("spec", "slos", index)
        if slo.name in names:
            raise document.error(f"two SLOs are named {slo.name!r}", *here, "name")
        names.add(slo.name)
        _check_slo(slo, document, here)


def _check_durations(spec: Spec, document: Document) -> None:
    named: list[tuple[str, tuple[str | int, ...]]] = [
        (spec.cluster.hpa_sync_period, ("spec", "cluster", "hpaSyncPeriod")),
        (spec.cluster.metric_resolution, ("spec", "cluster", "metricResolution")),
        (spec.cluster.housekeeping_interval, ("spec", "cluster", "housekeepingInterval")),
        (spec.cluster.vpa.interval, ("spec", "cluster", "vpa", "interval")),
    ]
    for text, path in named:
        seconds = parse_duration(text, document.at(*path))
        if path[-1] == "metricResolution" and seconds < METRIC_RESOLUTION_SECONDS_MIN:
            fix = f"a metrics server takes {METRIC_RESOLUTION_SECONDS_MIN}s at the least"
            raise document.error(f"metricResolution: {text} is too short", *path, fix=fix)


def _check_release(cluster: Cluster, document: Document) -> None:
    here = ("spec", "cluster")
    try:
        minor = parse_release(cluster.emulate_kubernetes or str(NEWEST))
    except InputError as error:
        raise document.error(error.message, *here, "emulateKubernetes", fix=error.fix) from None
    try:
        HpaOptions().emulate(minor, cluster.feature_gates)
    except InputError as error:
        raise document.error(error.message, *here, "featureGates", fix=error.fix) from None


def _check_autoscaler(cluster: Cluster, document: Document) -> None:
    given, here = cluster.autoscaler, ("spec", "cluster", "autoscaler")
    if given is None:
        return
    for name, text in (
        ("bootDelay", given.boot_delay),
        ("scanInterval", given.scan_interval),
        ("unneededTime", given.unneeded_time),
        ("delayAfterAdd", given.delay_after_add),
    ):
        parse_duration(text, document.at(*here, name))
    if given.min > given.max:
        raise document.error(f"min {given.min} is above max {given.max}", *here, "min")
    if len(cluster.nodes) + given.max > NODES_MAX:
        message = f"{len(cluster.nodes)} nodes and up to {given.max} more are over the {NODES_MAX} of a tank"
        raise document.error(message, *here, "max", fix="make the nodes larger instead")


def _check_vpa(vpa: Vpa, document: Document) -> None:
    here = ("spec", "cluster", "vpa")
    for name, text in (("historyLength", vpa.history_length), ("historyResolution", vpa.history_resolution)):
        try:
            duration.parse_duration(text)
        except ValueError as error:
            raise document.error(f"{name}: {error}", *here, name, fix="e.g. 8d or 1h") from None
    if vpa.prometheus is not None and not vpa.prometheus.startswith(("http://", "https://")):
        fix = "write it as http://127.0.0.1:9090"
        raise document.error(f"prometheus {vpa.prometheus!r} is not a URL", *here, "prometheus", fix=fix)


def _check_load(load: Load, document: Document) -> None:
    here = ("spec", "load")
    if (load.target.gateway is None) == (load.target.url is None):
        fix = "name the Istio Gateway the load enters by, or the URL of a service that is already there"
        raise document.error("target needs either gateway or url", *here, "target", fix=fix)
    if not load.stages:
        raise document.error("load has no stages", *here, fix="e.g. stages: [{duration: 60s, rps: 50}]")


def stages_of(load: Load, document: Document, directory: Path) -> list[Stage]:
    """The stages to run. Raises InputError with the line of the stage."""
    return [
        parse_stage(stage, document.at("spec", "load", "stages", index), directory=directory)
        for index, stage in enumerate(load.stages)
    ]


def _check_slo(slo: SLO, document: Document, here: tuple[str | int, ...]) -> None:
    if (slo.ratio is None) == (slo.expr is None):
        raise document.error(f"SLO {slo.name!r} needs either ratio or expr", *here)
    if slo.ratio is not None and slo.objective is None:
        fix = "e.g. objective: 0.999"
        raise document.error(f"SLO {slo.name!r} has a ratio but no objective", *here, fix=fix)
    if slo.expr is not None and slo.max is None and slo.min is None:
        fix = "e.g. max: 300ms"
        raise document.error(f"SLO {slo.name!r} has an expr but neither max nor min", *here, fix=fix)
    for key in ("max", "min"):
        bound = getattr(slo, key)
        if isinstance(bound, str):
            try:
                parse_bound(bound)
            except (ValueError, InputError):
                fix = "write a number, or a duration such as 300ms (it is compared in seconds)"
                raise document.error(f"{key}: {bound!r} is not a bound", *here, key, fix=fix) from None


def parse_bound(bound: str | int | float) -> float:
    """A bound as a number; durations become seconds, percentages fractions. Raises ValueError."""
    if not isinstance(bound, str):
        return float(bound)
    if bound.endswith("%"):
        return float(bound[:-1]) / 100
    try:
        return float(bound)
    except ValueError:
        return parse_duration(bound, "bound")


def to_plain(spec: Any) -> Any:
    """A spec as JSON-compatible values, for the report and for child processes."""
    return msgspec.to_builtins(spec)
