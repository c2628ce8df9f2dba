"""``wavetank sweep``: the plan of a rehearsal as a sweep's model, the search, and what it says."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from wavetank.errors import InputError
from wavetank.load.stages import parse_duration
from wavetank.rehearsal.plan import Plan, make_plan
from wavetank.rehearsal.report import Report
from wavetank.rehearsal.simulated import Options as SimulateOptions
from wavetank.rehearsal.simulated import simulate_plan, simulation_of
from wavetank.simulation.advice import patch_yaml
from wavetank.simulation.input import find_services
from wavetank.simulation.sweep import (
    Knob,
    Robustness,
    SweepFile,
    Tried,
    count_points,
    grid_points,
    pareto_front,
    parse_knob,
    random_points,
    recommend,
    refuse_too_many,
    robustness,
    run_bayesian,
    run_sweep,
    sensitivity,
)
from wavetank.simulation.sweep_model import Prices, SweepModel, changed_objects, evaluate

__all__ = ["Options", "run", "sweep_model"]

#: How many of the best settings are tried with other phases; and with how many.
_CANDIDATES = 10
_SEEDS = 5
#: Up to this long a load the choice is simulated request by request without being asked.
_VERIFY_SECONDS = 2 * 3600
_DEFAULT_LATENCY_SECONDS = 1.0
_DEFAULT_OBJECTIVE = 0.99


@dataclass(frozen=True, slots=True)
class Options:
    """As the command's flags; ``knobs`` are its ``--set``."""

    directory: Path
    out: Path
    knobs: tuple[str, ...] = ()
    random_count: int | None = None
    bayes_count: int | None = None
    latency: str | None = None
    objective: float | None = None
    core_hour: float = 0.04
    gib_hour: float = 0.005
    seed: int = 0
    workload: Path | None = None
    until: str | None = None
    cores: int | None = None
    output: str = "text"
    top: int = 8
    verify: bool | None = None


def run(options: Options) -> int:
    """Exit code 0 if some setting keeps the SLO, 1 if none does, 130 if interrupted."""
    if not options.knobs:
        fix = "e.g. --set hpa/web.spec.metrics[0].resource.target.averageUtilization=40,60,80"
        raise InputError("a sweep needs at least one --set", fix=fix)
    plan = make_plan(options.directory, simulated=True)
    knobs = [parse_knob(text) for text in options.knobs]
    model = sweep_model(plan, options)
    changed_objects(model, {knob.path: knob.values[0] if knob.values else knob.low for knob in knobs})
    tried, whole = _search(model, knobs, options)
    order = recommend(tried)
    if not order:
        first = next((t.error for t in tried if t.error), "nothing was tried")
        raise InputError(f"no setting could be simulated: {first}")
    best, robust = _most_robust(model, order, options.seed)
    current = evaluate(model, {}, options.seed)
    patch = patch_yaml(model, best.settings, _reasons(model, best, robust, current, len(tried)))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "patch.yaml").write_text(patch)
    if options.output == "json":
        print(_json(model, knobs, tried, best, robust, current))
    else:
        _print(model, knobs, tried, best, robust, current, options)
        Console().print(f"\n[bold]patch[/bold] ({options.out / 'patch.yaml'})\n", highlight=False)
        print(patch)
        _print_next(plan, model, best, options)
    if not whole:
        Console(stderr=True).print(
            f"interrupted after {len(tried)} settings; the same command goes on from there", highlight=False
        )
        return 130
    seconds = len(model.rates)
    if options.verify or (options.verify is None and seconds <= _VERIFY_SECONDS and options.output == "text"):
        _verify(plan, model, best, options)
    assert best.figures is not None
    return 0 if best.figures.kept else 1


def _print_next(plan: Plan, model: SweepModel, best: Tried, options: Options) -> None:
    """How to try the patch, and what a rehearsal with it should come to: its own stages, simulated."""
    patch = options.out / "patch.yaml"
    workload = f" --workload {options.workload}" if options.workload is not None else ""
    console = Console(soft_wrap=True)
    console.print("[bold]to try it[/bold]\n", highlight=False)
    print(f"wavetank simulate {options.directory}{workload} --patch {patch}")
    print(f"wavetank rehearse {options.directory} --patch {patch}")
    if options.workload is not None and plan.load_seconds <= _VERIFY_SECONDS:
        stages = replace(options, workload=None, until=None)
        report = simulate_changed(plan, model, best.settings, stages)
        console.print(f"\nwhich should come to: {report.outcome}; {_outcome(report)}", highlight=False)


def _outcome(report: Report) -> str:
    slos = [f"{s.name} {_value(s)} {'held' if s.ok else 'failed'}" for s in report.slos]
    peaks = [f"{w.name} {max((r or 0 for r in w.ready), default=0):g} pods" for w in report.workloads]
    return f"{', '.join(slos)}; at most {', '.join(peaks)}"


# --- the model


def sweep_model(plan: Plan, options: Options) -> SweepModel:
    """Raises InputError where the load reaches no workload, or more than one."""
    simulate = _simulate_options(options)
    given, _ = simulation_of(plan, simulate)
    # A graph of one service, with bounds or retries: stepped, it is a flow into that service.
    destinations = given.destinations or find_services(given.objects, plan.target.host)
    workloads = [w.name for w in given.graph.workloads] if given.graph is not None else []
    if len(destinations) != 1 or len(workloads) > 1:
        names = ", ".join(workloads or [d.facts.workload for d in destinations]) or "none"
        raise InputError(f"a sweep is about one workload; the load reaches {names}")
    (destination,) = destinations
    facts = destination.facts
    named = [m for m in plan.manifests if (m.namespace, m.name) == (facts.namespace, facts.workload)]
    workload = next(m for m in named if m.kind in ("Deployment", "ReplicaSet", "StatefulSet"))
    hpa = next(
        (m for m in plan.manifests
         if m.kind == "HorizontalPodAutoscaler" and m.namespace == facts.namespace
         and (m.object["spec"].get("scaleTargetRef") or {}).get("name") == facts.workload), None,
    )  # fmt: skip
    objects = {f"{m.kind.lower()}/{m.name}": m.object for m in (workload, hpa) if m is not None}
    image = workload.object["spec"]["template"]["spec"]["containers"][0].get("image", "")
    cluster, spec = given.cluster, plan.spec.cluster
    size = cluster.image_sizes.get(image, 0)
    speeds = [x for x in (cluster.image_bandwidth, cluster.image_decompress) if x > 0]
    return SweepModel(
        objects=objects,
        workload=f"{workload.kind.lower()}/{workload.name}",
        hpa=f"horizontalpodautoscaler/{hpa.name}" if hpa is not None else None,
        pod=given.models.of(facts.workload),
        rates=given.rates,
        cluster={
            "hpaSyncPeriod": spec.hpa_sync_period,
            "metricResolution": spec.metric_resolution,
            "housekeepingInterval": spec.housekeeping_interval,
        },
        node_millis=tuple(_millis(node.cpu) for node in cluster.nodes),
        image_seconds=(cluster.image_rtt if size else 0.0) + sum(size / x for x in speeds),
        timeout=destination.route.timeout,
        propagation=given.models.propagation_seconds,
        latency_bound=_latency(plan, options),
        error_budget=1 - _objective(plan, options),
        prices=Prices(options.core_hour, options.gib_hour),
        failure_budget=1
        - max((s.objective for s in plan.slos if s.kind == "ratio" and s.objective is not None), default=0.0),
    )


def _simulate_options(options: Options) -> SimulateOptions:
    return SimulateOptions(
        options.directory, options.out, seed=options.seed, until=options.until, workload=options.workload
    )


def _millis(cpu: str) -> int:
    from wavetank.kube.quantity import milli

    return milli(cpu)


def _latency(plan: Plan, options: Options) -> float:
    if options.latency is not None:
        return parse_duration(options.latency, "--latency")
    bounds = [s.max for s in plan.slos if s.kind == "threshold" and s.unit == "seconds" and s.max is not None]
    return min(bounds, default=_DEFAULT_LATENCY_SECONDS)


def _objective(plan: Plan, options: Options) -> float:
    """The share of requests that must be good: what is asked for, else what the SLOs say, of which a latency
    quantile is one."""
    if options.objective is not None:
        if not 0 < options.objective <= 1:
            raise InputError(f"--objective {options.objective:g} is not a share", fix="0.99")
        return options.objective
    asked = [re.search(r"histogram_quantile\(\s*(0?\.\d+)", slo.expr) for slo in plan.slos]
    quantiles = [float(found.group(1)) for found in asked if found is not None]
    if quantiles:
        return min(quantiles)
    ratios = [s.objective for s in plan.slos if s.kind == "ratio" and s.objective is not None]
    return max(ratios, default=_DEFAULT_OBJECTIVE)


# --- the search


def _search(model: SweepModel, knobs: Sequence[Knob], options: Options) -> tuple[list[Tried], bool]:
    cores = options.cores or len(os.sched_getaffinity(0))
    if options.bayes_count is not None:
        with _bar(options.bayes_count) as tell:
            return run_bayesian(model, knobs, options.bayes_count, options.seed, tell)
    if options.random_count is not None:
        refuse_too_many(options.random_count, cores)
        points = list(random_points(knobs, options.random_count, options.seed))
    else:
        refuse_too_many(count_points(knobs), cores)
        points = list(grid_points(knobs))
    kept = SweepFile(options.out / "sweep.jsonl", model, points, options.seed)
    with _bar(len(points)) as tell:
        return run_sweep(model, points, options.seed, cores=cores, kept=kept, progress=tell)


class _bar:
    def __init__(self, total: int) -> None:
        console = Console(stderr=True)
        self._total = total
        self._bar = Progress(
            TextColumn("settings"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            console=console, disable=not console.is_terminal, transient=True,
        )  # fmt: skip

    def __enter__(self) -> Callable[[int], None]:
        self._bar.start()
        task = self._bar.add_task("settings", total=self._total)
        return lambda done: self._bar.update(task, completed=done)

    def __exit__(self, *failure: object) -> None:
        self._bar.stop()


def _most_robust(model: SweepModel, order: Sequence[Tried], seed: int) -> tuple[Tried, Robustness]:
    """The first candidate that keeps the SLO in every phase; else the one that does in most."""
    seeds = list(range(seed, seed + _SEEDS))
    judged = []
    for point in order[:_CANDIDATES]:
        robust = robustness(model, point.settings, seeds)
        if robust.seeds_kept == 1.0:
            return point, robust
        judged.append((point, robust))
    return max(judged, key=lambda pair: pair[1].seeds_kept)


# --- what it says


def _reasons(model: SweepModel, best: Tried, robust: Robustness, current: Any, count: int) -> list[str]:
    figures = best.figures
    assert figures is not None
    good = f"{1 - model.error_budget:.3%} good requests under {model.latency_bound * 1000:g} ms"
    verdict = "keeps" if figures.kept else "comes nearest to"
    loads = ", ".join(f"x{scale:g} {'kept' if kept else 'not kept'}" for scale, kept, _ in robust.loads)
    return [
        f"of {count} settings the cheapest that {verdict} {good}",
        f"bad requests {current.bad_ratio:.3%} -> {figures.bad_ratio:.3%}; "
        f"cost {current.cost:.4g} -> {figures.cost:.4g}; "
        f"changes an hour {current.changes_per_hour:.2g} -> {figures.changes_per_hour:.2g}",
        f"replicas: mean {figures.replicas_mean:.2f}, at most {figures.replicas_peak}; "
        f"worst minute {figures.worst_minute:.1%} bad",
        f"kept in {robust.seeds_kept:.0%} of {_SEEDS} phases; load {loads}",
        "latency is estimated from utilisation: rehearse, or simulate, before you rely on it",
    ]  # fmt: skip


def _print(
    model: SweepModel, knobs: Sequence[Knob], tried: Sequence[Tried], best: Tried, robust: Robustness,
    current: Any, options: Options,
) -> None:  # fmt: skip
    console = Console()
    front = pareto_front(tried)
    table = Table(
        title=f"Pareto front: {len(front)} of {len(tried)} settings", box=None, title_justify="left"
    )
    letters = {knob.path: chr(ord("A") + i) if i < 26 else f"A{i}" for i, knob in enumerate(knobs)}
    for path, letter in letters.items():
        console.print(f"{letter}  {path}", highlight=False, soft_wrap=True)
    console.print()
    for letter in letters.values():
        table.add_column(letter, justify="right")
    for column in ("kept", "cost", "bad", "worst minute", "changes/h", "pods/peak"):
        table.add_column(column, justify="right", no_wrap=True)
    for point in [best, *(p for p in front if p.index != best.index)][: options.top]:
        row = [str(_rounded(point.settings[knob.path])) for knob in knobs]
        table.add_row(*row, *_cells(point.figures), style="bold" if point is best else None)
    table.add_row(*(["as it is", *[""] * (len(knobs) - 1)]), *_cells(current), style="dim")
    console.print(table, highlight=False)
    console.print("\nwhat each knob does (range of the mean over its values)", highlight=False)
    for path, cost, bad in sensitivity(tried, knobs):
        console.print(f"  {letters[path]}: cost {cost:.4g}, bad requests {bad:.3%}", highlight=False)
    errors = [t for t in tried if t.error]
    if errors:
        console.print(f"{len(errors)} settings are impossible, e.g. {errors[0].error}", highlight=False)


def _rounded(value: Any) -> Any:
    return f"{value:.4g}" if isinstance(value, float) else value


def _cells(figures: Any) -> list[str]:
    return [
        "yes" if figures.kept else "no", f"{figures.cost:.4g}", f"{figures.bad_ratio:.3%}",
        f"{figures.worst_minute:.1%}", f"{figures.changes_per_hour:.2g}",
        f"{figures.replicas_mean:.2f}/{figures.replicas_peak}",
    ]  # fmt: skip


def _json(
    model: SweepModel, knobs: Sequence[Knob], tried: Sequence[Tried], best: Tried, robust: Robustness,
    current: Any,
) -> str:  # fmt: skip
    document = {
        "tried": len(tried),
        "latency_bound_seconds": model.latency_bound,
        "error_budget": model.error_budget,
        "current": current,
        "recommended": best,
        "robustness": robust,
        "pareto": pareto_front(tried),
        "sensitivity": [{"path": p, "cost": c, "bad_ratio": b} for p, c, b in sensitivity(tried, knobs)],
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()


def _verify(plan: Plan, model: SweepModel, best: Tried, options: Options) -> None:
    """Simulate as it is and as recommended, request by request, with the rehearsal's own SLOs."""
    console = Console()
    console.print("\nrequest by request, with the SLOs of the rehearsal", highlight=False)
    for name, settings in (("as it is", {}), ("recommended", best.settings)):
        report = simulate_changed(plan, model, settings, options)
        console.print(f"  {name}: {report.outcome}; {_outcome(report)}", highlight=False)


def simulate_changed(plan: Plan, model: SweepModel, settings: Any, options: Options) -> Report:
    """The full simulation with the settings in the manifests and the cluster's flags."""
    after = changed_objects(model, settings)
    manifests = tuple(
        _with_object(m, after.get(f"{m.kind.lower()}/{m.name}", m.object)) for m in plan.manifests
    )
    flags = after["cluster"]
    cluster = msgspec.structs.replace(
        plan.spec.cluster,
        hpa_sync_period=flags["hpaSyncPeriod"],
        metric_resolution=flags["metricResolution"],
        housekeeping_interval=flags["housekeepingInterval"],
    )  # fmt: skip
    spec = msgspec.structs.replace(plan.spec, cluster=cluster)
    rehearsal = msgspec.structs.replace(plan.rehearsal, spec=spec)
    changed = replace(plan, manifests=manifests, rehearsal=rehearsal)
    simulate = _simulate_options(options)
    with tempfile.TemporaryDirectory(prefix="wavetank-sweep-") as directory:
        return simulate_plan(changed, simulate, Path(directory))


def _with_object(manifest: Any, obj: Any) -> Any:
    """The manifest with another object."""
    return manifest if obj is manifest.object else replace(manifest, object=obj)


def _value(slo: Any) -> str:
    if slo.value is None:
        return "no data"
    return f"{slo.value:.3%}" if slo.unit == "ratio" else f"{slo.value:.4g}"
