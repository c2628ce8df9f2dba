"""``wavetank simulate``: the plan of a rehearsal, run by ``wavetank.simulation``, judged and reported as one.

The report is made by the same code from the same kinds of files. What differs is said in it: which numbers
of the pods' models are measured and which assumed. Nothing of the machine or the hour enters it, so that two
runs with the same input, seed and version write the same bytes.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from wavetank.autoscaling.adapter.rules import default_config, load_config
from wavetank.autoscaling.hpa.options import HpaOptions, parse_release
from wavetank.clock import VirtualClock
from wavetank.errors import InputError
from wavetank.load.stages import RateStage, parse_duration
from wavetank.monitoring.config.load import load_config as load_prometheus
from wavetank.monitoring.config.model import ScrapeConfig
from wavetank.monitoring.rules.group import Group
from wavetank.monitoring.rules.load import RuleOptions, load_groups
from wavetank.rehearsal.comparison import picture, print_comparison, print_spread, read_report
from wavetank.rehearsal.elastic_nodes import nodes_options
from wavetank.rehearsal.image_model import image_model
from wavetank.rehearsal.manifests import Manifest
from wavetank.rehearsal.outcome.build import build_report
from wavetank.rehearsal.outcome.environment import versions
from wavetank.rehearsal.outcome.load import load_summary
from wavetank.rehearsal.outcome.record import LOAD_FILE, LoadSecond, RunRecord, write_record
from wavetank.rehearsal.plan import Plan, make_plan
from wavetank.rehearsal.report import FORMATS, Report, print_summary, write_report
from wavetank.rehearsal.scrape import monitoring_config
from wavetank.rehearsal.spec import NodeAutoscaling
from wavetank.rehearsal.workload_file import read_workload

__all__ = ["Options", "run"]

#: (load up to, scrape interval): the interval of the built-in jobs, in seconds.
_SCRAPES = ((900.0, 2.0), (3600.0, 5.0), (6 * 3600.0, 15.0), (12 * 3600.0, 30.0))
_SCRAPE_LONG = 60.0
_PER_REQUEST = "each request by itself; percentiles are of modelled requests"
_STEPPED = "stepped: a flow, a second a step; no percentiles, no ejections, means of waiting by M/M/c"
#: As the control plane of a rehearsal, where only gates are given.
DEFAULT_RELEASE = "1.33"


@dataclass(frozen=True, slots=True)
class Options:
    """``files`` names single report files by format; the others go to ``out``."""

    directory: Path
    out: Path
    files: dict[str, Path] = field(default_factory=dict)
    seed: int = 0
    until: str | None = None
    keep: bool = False
    quiet: bool = False
    workload: Path | None = None
    since: str | None = None
    runs: int = 1
    compare: Path | None = None
    patches: tuple[Path, ...] = ()
    stepped: bool = False


def run(options: Options) -> int:
    """Simulate, report, and return the exit code. Raises WavetankError where nothing could be reported."""
    if options.runs < 1:
        raise InputError(f"--runs {options.runs}: at least one", fix="--runs 5")
    plan = make_plan(options.directory, simulated=True, patches=options.patches)
    rehearsed = read_report(options.compare) if options.compare is not None else None
    reports = [_run_once(plan, options, options.seed + i) for i in range(options.runs)]
    report = reports[0]
    _write(report, plan, options)
    print_summary(report, Console())
    if options.runs > 1:
        print_spread(reports, Console())
    if rehearsed is not None:
        print_comparison(rehearsed, reports, Console())
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "compare.svg").write_text(picture([("rehearsed", rehearsed), ("simulated", report)]))
    worst = min(reports, key=lambda r: ("incomplete", "failed", "held").index(r.outcome))
    return {"held": 0, "failed": 1, "incomplete": 3}[worst.outcome]


def _run_once(plan: Plan, options: Options, seed: int) -> Report:
    with tempfile.TemporaryDirectory(prefix="wavetank-simulation-") as temporary:
        directory = Path(temporary)
        with _progress(plan.name, quiet=options.quiet) as tell:
            report = simulate_plan(plan, replace(options, seed=seed), directory, tell)
        if options.keep and seed == options.seed:
            kept = options.out / "run"
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(directory, kept)
    return report


def simulate_plan(
    plan: Plan, options: Options, directory: Path, tell: Callable[[float], None] | None = None
) -> Report:
    """The report of a simulation of ``plan``; its journal and TSDB are left in ``directory``."""
    from wavetank.simulation.query import EngineQuery
    from wavetank.simulation.run import open_database, simulate
    from wavetank.simulation.virtual_loop import run_virtual

    given, modelled = simulation_of(plan, options)
    clock = VirtualClock(given.start, options.seed)
    done = run_virtual(clock, simulate(given, directory, clock, tell))
    record = _record(plan, options, done, modelled)
    _write_rows(directory / LOAD_FILE, done.clients)
    write_record(directory, record)
    db = open_database(directory, clock)
    try:
        report = asyncio.run(build_report(directory, EngineQuery(db), done.ended_at))
    finally:
        db.close()
    return _anonymous(report)


def simulation_of(plan: Plan, options: Options) -> tuple[Any, list[tuple[str, str]]]:
    """The plan as ``wavetank.simulation`` takes it, and what of it is modelled and how."""
    from wavetank.simulation.cluster import ClusterOptions, NodeBudget
    from wavetank.simulation.graph.plan import plan_graph
    from wavetank.simulation.input import Applied, find_services
    from wavetank.simulation.model import load_models
    from wavetank.simulation.run import Simulation

    cluster = plan.spec.cluster
    images = image_model(cluster.image_pull, plan.document)
    models = load_models(plan.directory, tuple(w.name for w in plan.workloads))
    objects = [Applied(m.resource, m.namespace, m.object) for m in plan.manifests]
    graph = plan_graph([_complete(m) for m in plan.manifests], plan.target.host, plan.target.port, models)
    whole = graph.needed or options.stepped
    rates, start, poisson, told = _load(plan, options, models.think_seconds)
    groups, scrape, job, jobs = _monitoring(plan, float(len(rates)))
    given = Simulation(
        cluster=ClusterOptions(
            nodes=[NodeBudget(n.name, str(n.cpu), str(n.memory), n.pods, n.labels) for n in cluster.nodes],
            hpa=_hpa_options(plan),
            adapter=load_config(plan.adapter) if plan.adapter is not None else default_config(),
            metric_resolution=parse_duration(cluster.metric_resolution),
            housekeeping=parse_duration(cluster.housekeeping_interval),
            image_sizes=images.sizes or {},
            image_bandwidth=images.bandwidth,
            image_decompress=images.decompress,
            image_rtt=images.rtt,
            autoscaler=nodes_options(cluster.autoscaler) if cluster.autoscaler is not None else None,
            template=_template(cluster.autoscaler),
        ),
        objects=objects,
        destinations=[] if whole else find_services(objects, plan.target.host),
        graph=graph if whole else None,
        stepped=options.stepped,
        models=models,
        rates=rates,
        poisson=poisson,
        scrape_seconds=scrape,
        cadvisor_job=job,
        jobs=jobs,
        marks=_marks(plan) if options.workload is None else [],
        groups=groups,
        start=start,
        seed=options.seed,
    )
    modelled = [
        ("resolution", _STEPPED if options.stepped else _PER_REQUEST),
        ("image pull", images.shown),
        *models.origins,
        *told,
        *_surprises(plan, models, graph, float(rates.max(initial=0.0))),
    ]
    return given, modelled


def _surprises(plan: Plan, models: Any, graph: Any, rate: float) -> Iterator[tuple[str, str]]:
    """What can be told of models and targets beforehand. Raises InputError where they cannot go together."""
    from wavetank.simulation.feasible import Target, check

    entry = graph.workloads[0].name if len(graph.workloads) == 1 else None
    for facts in plan.workloads:
        if not facts.cpu_target_ratio or not facts.cpu_request_cores:
            continue
        target = Target(
            facts.name, facts.cpu_target_ratio, facts.cpu_request_cores, facts.cpu_limit_cores or 0.0,
            facts.max_replicas or 1, rate if facts.name == entry else None,
        )  # fmt: skip
        for text in check(target, models.of(facts.name), models.places.get(facts.name)):
            yield "to expect", text


def _template(given: NodeAutoscaling | None) -> Any:
    """What a node is that the autoscaler adds."""
    from wavetank.simulation.cluster import NodeBudget

    if given is None:
        return NodeBudget("template")
    node = given.template
    return NodeBudget("template", str(node.cpu), str(node.memory), node.pods, node.labels)


def _complete(manifest: Manifest) -> dict[str, Any]:
    """The object with the namespace that the API server would give it."""
    obj = manifest.object
    return {**obj, "metadata": {**obj["metadata"], "namespace": manifest.namespace}}


def _hpa_options(plan: Plan) -> HpaOptions:
    """The flags, under the release that is emulated; as the control plane of a rehearsal has them."""
    cluster = plan.spec.cluster
    flags = HpaOptions(sync_period=parse_duration(cluster.hpa_sync_period))
    if cluster.emulate_kubernetes is None and not cluster.feature_gates:
        return flags
    release = cluster.emulate_kubernetes or DEFAULT_RELEASE
    return flags.emulate(parse_release(release), cluster.feature_gates)


def _load(plan: Plan, options: Options, think: float) -> tuple[Any, float, bool, list[tuple[str, str]]]:
    """(arrivals a second, where time begins, whether they are Poisson, what the report says of them)."""
    from wavetank.simulation import EPOCH
    from wavetank.simulation.input import rates_of

    told: list[tuple[str, str]] = []
    if options.workload is None:
        rates, start = rates_of(plan.stages, think), EPOCH
        poisson = any(isinstance(s, RateStage) and s.arrivals == "poisson" for s in plan.stages)
        if any(not isinstance(stage, RateStage) for stage in plan.stages):
            told.append(("stages of users", f"users as an open load, one request each {think:g} s"))
    else:
        found = read_workload(options.workload)
        rates, start, poisson = found.rates, found.start, found.poisson
        arrivals = "Poisson" if poisson else "even"
        told.append(
            ("load", f"{found.shown} ({options.workload.name}), {arrivals} arrivals, in place of stages")
        )
        told.extend(("load", text) for text in found.repairs)
    begin = int(parse_duration(options.since, "--from")) if options.since is not None else 0
    end = int(parse_duration(options.until, "--until")) if options.until is not None else len(rates)
    if not begin < min(end, len(rates)):
        shown = f"--from {options.since} --until {options.until}"
        raise InputError(f"{shown} leaves nothing of a load of {len(rates)} s")
    return rates[begin:end], start + begin, poisson, told


def _monitoring(plan: Plan, seconds: float) -> tuple[dict[str, Group], float, str, list[ScrapeConfig]]:
    """Rule groups, the scrape interval, the job under which cAdvisor's series are, and the other jobs."""
    interval = next((step for longest, step in _SCRAPES if seconds <= longest), _SCRAPE_LONG)
    monitoring = plan.spec.monitoring
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "prometheus.yml"
        path.write_text(monitoring_config(plan.directory, monitoring, {}, path.parent, f"{interval:g}s"))
        config = load_prometheus(path)
    nodes = [job.job_name for job in config.scrape_configs if job.metrics_path.endswith("/cadvisor")]
    others = [job for job in config.scrape_configs if not job.metrics_path.endswith("/cadvisor")]
    groups = load_groups(config, RuleOptions(), restored=True)
    return groups, interval, nodes[0] if nodes else "wavetank/cadvisor", others


def _marks(plan: Plan) -> list[tuple[float, dict[str, object]]]:
    """The journal records of the stages' begins."""
    marks: list[tuple[float, dict[str, object]]] = []
    at = 0.0
    for index, stage in enumerate(plan.stages):
        fields: dict[str, object] = {"index": index, "duration": stage.duration_seconds}
        if isinstance(stage, RateStage):
            fields |= {"rps": stage.points[0][1], "arrivals": stage.arrivals}
        else:
            fields |= {"users": stage.users, "arrivals": "closed"}
        marks.append((at, fields))
        at += stage.duration_seconds
    return marks


def _record(plan: Plan, options: Options, done: Any, modelled: list[tuple[str, str]]) -> RunRecord:
    from wavetank.simulation.telemetry import load_snapshot

    snapshot = load_snapshot(done.load_ended_at, done.clients)
    seconds = done.load_ended_at - done.load_started_at
    return RunRecord(
        name=plan.name,
        tank="simulation",
        started_at=done.started_at,
        state="ended",
        ended_at=done.ended_at,
        load_started_at=done.load_started_at,
        load_ended_at=done.load_ended_at,
        first_request_at=done.first_request_at,
        seed=options.seed,
        command=f"wavetank simulate {plan.name} --seed {options.seed}",
        enforcer="modelled",
        runtime="simulated",
        versions=versions(),
        modelled=modelled,
        notes=list(done.notes),
        workloads=list(plan.workloads),
        nodes=[node.name for node in plan.spec.cluster.nodes],
        slos=list(plan.slos),
        load=load_summary(snapshot, seconds),
        figures={"samples": float(done.samples), "series": float(done.series)},
    )


def _write_rows(path: Path, clients: Any) -> None:
    """The load's seconds, of all services together."""
    from wavetank.simulation.seconds import load_seconds

    rows = [LoadSecond(**second) for second in load_seconds(clients)]
    path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))


def _anonymous(report: Report) -> Report:
    """Without the machine: a simulation does not depend on it, and its report must not either."""
    replace = msgspec.structs.replace
    machine = replace(
        report.environment.machine,
        cpu_model="none: virtual time", cpu_count=0, memory_bytes=0, kernel="", architecture="",
    )  # fmt: skip
    return replace(report, environment=replace(report.environment, machine=machine))


def _write(report: Report, plan: Plan, options: Options) -> None:
    """Every format of the rehearsal file goes to ``out``, or to the file named for it."""
    formats = [kind for kind in plan.spec.report.formats if kind not in options.files]
    write_report(report, options.out, formats)
    for kind, path in options.files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(FORMATS[kind][1](report))


class _progress:
    """A progress bar on a terminal; nothing elsewhere."""

    def __init__(self, name: str, *, quiet: bool) -> None:
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("simulating {task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(), console=console, disable=quiet or not console.is_terminal, transient=True,
        )  # fmt: skip
        self._name = name

    def __enter__(self) -> Callable[[float], None]:
        self._bar.start()
        task = self._bar.add_task(self._name, total=1.0)
        return lambda share: self._bar.update(task, completed=share)

    def __exit__(self, *failure: object) -> None:
        self._bar.stop()
