"""One point of a sweep: settings by path in, figures out. A pure function, picklable, for any engine.

``evaluate(model, settings, seed)`` applies the settings to copies of the objects, reads the result as the
controllers would, and runs the stepped resolution over the load. It opens no file and asks no clock, so that
processes here, and executors elsewhere, get the same figures in whatever order they run.
"""

from __future__ import annotations

import copy
import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from wavetank.autoscaling.hpa.model import Hpa, parse_hpa
from wavetank.autoscaling.hpa.options import HpaOptions
from wavetank.errors import InputError, did_you_mean
from wavetank.kube.kubelet.probes import parse_probe
from wavetank.kube.quantity import milli, whole
from wavetank.load.stages import parse_duration
from wavetank.simulation import EPOCH
from wavetank.simulation import hpa_kernel as h
from wavetank.simulation import stepped as s
from wavetank.simulation.model import PodModel

__all__ = ["Case", "Figures", "Prices", "Settings", "SweepModel", "compile_case", "evaluate", "read_path"]

Object = dict[str, Any]
Settings = Mapping[str, Any]
Floats = npt.NDArray[np.float64]

_ALIASES = {"hpa": "HorizontalPodAutoscaler", "deploy": "Deployment", "cluster": "Cluster"}
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Prices:
    """What a requested core and GiB cost an hour, in any currency."""

    core_hour: float = 0.04
    gib_hour: float = 0.005


@dataclass(frozen=True, slots=True)
class SweepModel:
    """Everything but the settings. ``objects`` by "kind/name" (lower-case kind) hold Deployment and HPA as
    written; ``cluster`` the flags as of rehearsal.yaml; ``node_millis`` each node's CPU."""

    objects: Mapping[str, Object]
    workload: str
    hpa: str | None
    pod: PodModel
    rates: Floats = field(compare=False)
    cluster: Object
    node_millis: tuple[int, ...]
    image_seconds: float
    timeout: float
    propagation: float
    latency_bound: float
    error_budget: float
    prices: Prices = field(default_factory=Prices)
    failure_budget: float = 1.0  # of requests that may fail, whatever is slow


@dataclass(frozen=True, slots=True)
class Figures:
    """What one setting leads to. ``bad_ratio``: requests that failed or, by the estimate, were slower than
    the bound; ``cost`` over the load; ``worst_minute`` the worst minute's bad ratio."""

    kept: bool
    cost: float
    bad_ratio: float
    failed_ratio: float
    worst_minute: float
    changes_per_hour: float
    replicas_mean: float
    replicas_peak: int


@dataclass(frozen=True, slots=True)
class Case:
    """What the kernels take."""

    case: Floats
    p: Floats
    ups: Any
    downs: Any
    hpa: Hpa | None
    request_millis: int
    request_bytes: int


def read_path(path: str) -> tuple[str, tuple[str | int, ...]]:
    """``hpa/web.spec.metrics[0].x`` as ("horizontalpodautoscaler/web", ("spec", "metrics", 0, "x")).

    ``cluster.hpaSyncPeriod`` names the cluster. Raises InputError.
    """
    head, _, rest = path.partition(".")
    kind, slash, name = head.partition("/")
    if not rest or (not slash and kind != "cluster"):
        fix = "write hpa/web.spec.maxReplicas, deployment/web.spec.replicas or cluster.hpaSyncPeriod"
        raise InputError(f"{path!r} is not the path of a field", fix=fix)
    kind = _ALIASES.get(kind.lower(), kind).lower()
    steps = tuple(int(number) if number else word for word, number in _STEP.findall(rest))
    return (f"{kind}/{name}" if slash else "cluster"), steps


def set_field(target: Any, steps: Sequence[str | int], value: Any, path: str) -> None:
    """Set a field of nested mappings and lists; a missing mapping on the way is made, a missing list element
    is an error."""
    for i, step in enumerate(steps):
        last = i == len(steps) - 1
        if isinstance(step, int):
            if not isinstance(target, list) or step >= len(target):
                raise InputError(f"{path}: there is no element [{step}]", fix=f"it has {len(target)}")
        elif not isinstance(target, dict):
            raise InputError(f"{path}: {step!r} is inside something that has no fields")
        if last:
            target[step] = value
        elif isinstance(step, str):
            target = target.setdefault(step, [] if isinstance(steps[i + 1], int) else {})
        else:
            target = target[step]


def changed_objects(model: SweepModel, settings: Settings) -> dict[str, Object]:
    """The objects (and "cluster") with the settings in them; only those that change are copied."""
    objects = {**model.objects, "cluster": model.cluster}
    copied: set[str] = set()
    for path, value in settings.items():
        key, steps = read_path(path)
        if key not in objects:
            fix = did_you_mean(key, objects) or f"there are {', '.join(sorted(objects))}"
            raise InputError(f"{path}: there is no {key}", fix=fix)
        if key not in copied:
            objects[key] = copy.deepcopy(objects[key])
            copied.add(key)
        set_field(objects[key], steps, value, path)
    return objects


def compile_case(model: SweepModel, settings: Settings, seed: int) -> Case:
    """Raises InputError for settings that are impossible or that the stepped resolution does not cover."""
    objects = changed_objects(model, settings)
    workload, cluster = objects[model.workload], objects["cluster"]
    container = workload["spec"]["template"]["spec"]["containers"][0]
    resources = container.get("resources") or {}
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    limit = milli(limits["cpu"]) / 1000 if "cpu" in limits else 0.0
    request = milli(requests.get("cpu", limits.get("cpu", 0)))
    hpa = parse_hpa(objects[model.hpa]) if model.hpa is not None else None
    p = np.zeros(h.HPA)
    if hpa is not None:
        _check_hpa(hpa, request)
        try:
            p = h.pack_hpa(hpa, HpaOptions(), request)
        except ValueError as error:
            fix = "try it with `wavetank simulate`, which covers every HPA"
            raise InputError(f"HPA {hpa.name}: {error}", fix=fix) from None
    replicas = workload["spec"].get("replicas")
    count = 1 if replicas is None else int(replicas)
    case = _case(model, cluster, container, limit, request, seed)
    case[s.REPLICAS] = max(count, hpa.min_replicas) if hpa is not None else count
    behavior = hpa.behavior if hpa is not None else None
    return Case(
        case, p,
        h.pack_policies(behavior.up if behavior else None),
        h.pack_policies(behavior.down if behavior else None),
        hpa, request, whole(requests.get("memory", limits.get("memory", 0))),
    )  # fmt: skip


def _check_hpa(hpa: Hpa, request: int) -> None:
    if hpa.max_replicas < max(1, hpa.min_replicas) or hpa.max_replicas > s.PODS_MAX:
        bounds = f"minReplicas {hpa.min_replicas}, maxReplicas {hpa.max_replicas}"
        raise InputError(
            f"HPA {hpa.name}: {bounds} are impossible", fix=f"1 to {s.PODS_MAX}, min at most max"
        )
    if request <= 0 and any(m.average_utilization for m in hpa.metrics):
        raise InputError(
            f"HPA {hpa.name} aims at a utilization of a request that is 0", fix="request some cpu"
        )


def _case(
    model: SweepModel, cluster: Object, container: Object, limit: float, request: int, seed: int
) -> Floats:
    pod = model.pod
    stretch = max(1.0, pod.startup_cpu / limit) if limit else 1.0
    startup = pod.startup * stretch
    rng = random.Random(f"{seed}/phases")
    case = np.zeros(s.CASE)
    sync, resolution = (_flag(cluster, key) for key in ("hpaSyncPeriod", "metricResolution"))
    case[s.CAPACITY] = pod.capacity(limit)
    case[s.CPU], case[s.SERVICE] = pod.cpu_per_request, pod.service.mean
    case[s.WARM_FACTOR], case[s.WARM_SECONDS] = pod.warm_factor, pod.warm_seconds
    case[s.TIMEOUT], case[s.LATENCY_BOUND] = model.timeout, model.latency_bound
    case[s.PULL], case[s.STARTUP] = model.image_seconds, startup
    case[s.BOOT] = _ready_after(container, startup)
    case[s.START_CPU] = min(pod.startup_cpu, limit) if limit else pod.startup_cpu
    case[s.IDLE], case[s.LIMIT] = pod.idle_cpu, limit or math.inf
    case[s.SYNC], case[s.SYNC_PHASE] = sync, sync * rng.random()
    case[s.RESOLUTION], case[s.RESOLUTION_PHASE] = resolution, resolution * (rng.random() - 1)
    # cAdvisor waits the interval plus up to half of it: the mean stands for the draws.
    case[s.HOUSEKEEPING] = 1.25 * _flag(cluster, "housekeepingInterval")
    case[s.SLOTS] = sum(node // request for node in model.node_millis) if request else s.PODS_MAX
    case[s.NODES], case[s.PROPAGATION] = len(model.node_millis), model.propagation
    return case


def _flag(cluster: Object, key: str) -> float:
    """A flag of the cluster in seconds; at least one, or nothing would happen between two."""
    seconds = parse_duration(cluster[key], key)
    if seconds < 1:
        raise InputError(f"cluster.{key}: {cluster[key]} is below a second", fix="15s")
    return seconds


def _ready_after(container: Object, startup: float) -> float:
    """From a container's start to its Ready condition: the first probe that finds it answering."""
    at = startup
    for key in ("startupProbe", "readinessProbe"):
        probe = parse_probe(container.get(key))
        if probe is not None:
            # Startup is asked from its delay on, every period; readiness again from when startup passed.
            first = max(probe.initial_delay, 0.0 if key == "startupProbe" or at == startup else at)
            periods = max(0.0, math.ceil((at - first) / probe.period - 1e-9))
            at = first + periods * probe.period
    return at


def evaluate(model: SweepModel, settings: Settings, seed: int = 0, load_scale: float = 1.0) -> Figures:
    """The figures of one setting. Pure."""
    compiled = compile_case(model, settings, seed)
    _, result = run_case(model, compiled, load_scale)
    return figures_of(model, compiled, result)


def run_case(
    model: SweepModel, compiled: Case, load_scale: float = 1.0, *, trace: bool = False
) -> tuple[Any, Any]:
    """(replicas by second where traced, result) of a compiled case."""
    rates = model.rates if load_scale == 1.0 else model.rates * load_scale
    pods, state, used, memory, result = s.new_world(compiled.case, len(rates))
    replicas = np.zeros(len(rates) if trace else 0, np.int64)
    s.run_day(
        rates, EPOCH, compiled.case, compiled.p, compiled.ups, compiled.downs, pods, state, used,
        memory, result, replicas,
    )  # fmt: skip
    return replicas, result


def figures_of(model: SweepModel, compiled: Case, result: Floats) -> Figures:
    requests = max(1.0, result[s.REQUESTS])
    hours = len(model.rates) / 3600
    failed = result[s.FAILED] / requests
    bad = failed + result[s.SLOW] / requests
    pod_hours = result[s.POD_SECONDS] / 3600
    prices = model.prices
    price = (
        compiled.request_millis / 1000 * prices.core_hour + compiled.request_bytes / 2**30 * prices.gib_hour
    )
    return Figures(
        kept=bool(bad <= model.error_budget and failed <= model.failure_budget),
        cost=float(pod_hours * price),
        bad_ratio=float(bad),
        failed_ratio=float(failed),
        worst_minute=float(result[s.WORST_MINUTE]),
        changes_per_hour=float(result[s.CHANGES] / hours),
        replicas_mean=float(result[s.POD_SECONDS] / len(model.rates)),
        replicas_peak=int(result[s.PEAK_PODS]),
    )
