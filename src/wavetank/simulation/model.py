"""``model.yaml``: how a modelled pod behaves, beside the ``rehearsal.yaml`` it belongs to.

``services`` is keyed by workload name. Every number has a default, so the file may be missing altogether;
the report then says that the numbers are assumed. ``measured`` names the fields that came from a rehearsal.
Unknown fields are errors that name the line and the nearest valid field.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from wavetank.errors import InputError, Location, did_you_mean
from wavetank.kube.quantity import whole
from wavetank.limits import SIMULATION_CONCURRENCY_MAX
from wavetank.load.stages import parse_duration
from wavetank.simulation.distributions import Distribution
from wavetank.simulation.graph.calls import CallFile, FailuresFile, Step, steps_of
from wavetank.yamlfile import Document, decode, load_documents

__all__ = ["MODEL_FILE", "Memory", "Models", "PodModel", "assumed_model", "load_models", "model_paths"]

MODEL_FILE = "model.yaml"

Duration = str | int | float
_ZERO = re.compile(r"0+(\.0+)?(ms|s|m|h|d)?")


class ServiceTimeFile(Struct, forbid_unknown_fields=True, rename="camel"):
    distribution: Literal["constant", "exponential", "lognormal", "gamma", "empirical"] = "exponential"
    mean: Duration | None = None
    p99: Duration | None = None  # lognormal
    cv: float | None = None  # gamma: standard deviation over mean
    quantiles: dict[str, Duration] = {}  # empirical: share of requests -> duration


class ConcurrencyFile(Struct, forbid_unknown_fields=True, rename="camel"):
    """``workers`` processes of ``threads`` threads each; or ``async``: no bound."""

    workers: int | None = None
    threads: int = 1
    unlimited: bool = msgspec.field(default=False, name="async")


class StartupFile(Struct, forbid_unknown_fields=True, rename="camel"):
    """``duration`` until the program answers; ``cpu`` cores used meanwhile: a limit below stretches it."""

    duration: Duration = "1s"
    cpu: float = 0.5
    spread: float = 0.0  # share of the duration, uniform around it


class WarmupFile(Struct, forbid_unknown_fields=True, rename="camel"):
    """A JVM-like start: requests cost ``factor`` times as much at first, falling with time constant
    ``duration``."""

    factor: float = 1.0
    duration: Duration = "30s"


class MemoryFile(Struct, forbid_unknown_fields=True, rename="camel"):
    base: str | int = "64Mi"
    per_request: str | int = 0  # each request in flight
    growth_per_hour: str | int = 0  # a leak


class MetricFile(Struct, forbid_unknown_fields=True, rename="camel"):
    """A metric that the program exports itself, ``of`` what the model knows of a pod."""

    name: Annotated[str, Meta(pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$")]
    of: Literal["requests", "failures", "inFlight", "cpuSeconds", "memoryBytes"]
    labels: dict[str, str] = {}


class ServiceFile(Struct, forbid_unknown_fields=True, rename="camel"):
    service_time: ServiceTimeFile = msgspec.field(default_factory=ServiceTimeFile)
    cpu_per_request: Duration | None = None
    idle_cpu: float = 0.002
    concurrency: ConcurrencyFile = msgspec.field(default_factory=ConcurrencyFile)
    cores: float | None = None
    backlog: int = 2048
    startup: StartupFile = msgspec.field(default_factory=StartupFile)
    warmup: WarmupFile = msgspec.field(default_factory=WarmupFile)
    memory: MemoryFile = msgspec.field(default_factory=MemoryFile)
    crashes_per_hour: float = 0.0
    shutdown: Duration = "0.2s"
    calls: list[CallFile] = []
    metrics: list[MetricFile] = []
    failures: FailuresFile = msgspec.field(default_factory=FailuresFile)


class UsersFile(Struct, forbid_unknown_fields=True, rename="camel"):
    """For stages that ask for users: how long each waits between two requests."""

    think_time: Duration = "1s"


class ProxyFile(Struct, forbid_unknown_fields=True, rename="camel"):
    """How long after an endpoint changed the proxies know of it."""

    propagation: Duration = "50ms"


class ModelFile(Struct, forbid_unknown_fields=True, rename="camel"):
    api_version: Literal["wavetank.dev/v1"]
    kind: Literal["Model"]
    services: dict[str, dict[str, Any]] = {}
    users: UsersFile = msgspec.field(default_factory=UsersFile)
    proxy: ProxyFile = msgspec.field(default_factory=ProxyFile)
    measured: dict[str, str] = {}  # "httpbin.serviceTime" -> how


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes; ``growth`` is bytes a second."""

    base: int = 64 << 20
    per_request: int = 0
    growth: float = 0.0


@dataclass(frozen=True, slots=True)
class PodModel:
    """One workload's pods. Times in seconds, CPU in cores.

    ``cpu_share`` is CPU per second of service time: 1 for pure computing. ``concurrency`` 1 is a FIFO
    server. ``cores`` bounds what all requests in service use together, besides any CPU limit.
    """

    service: Distribution
    cpu_share: float = 1.0
    idle_cpu: float = 0.002
    concurrency: int = 1
    cores: float = 1.0
    backlog: int = 2048
    startup: float = 1.0
    startup_cpu: float = 0.5
    startup_spread: float = 0.0
    warm_factor: float = 1.0
    warm_seconds: float = 30.0
    memory: Memory = field(default_factory=Memory)
    crashes_per_second: float = 0.0
    shutdown: float = 0.2
    steps: tuple[Step, ...] = ()
    failure_ratio: float = 0.0
    failure_status: int = 500
    metrics: tuple[MetricFile, ...] = ()

    @property
    def cpu_per_request(self) -> float:
        return self.service.mean * self.cpu_share

    def capacity(self, limit_cores: float) -> float:
        """Requests a second that one pod can finish, warm, under a CPU limit (0: none)."""
        cores = min(self.cores, limit_cores) if limit_cores > 0 else self.cores
        slots = self.concurrency / self.service.mean
        return min(slots, cores / self.cpu_per_request) if self.cpu_per_request > 0 else slots


@dataclass(frozen=True, slots=True)
class Models:
    """``origins`` says of every model number where it is from, for the report; ``places`` where each
    workload's model stands."""

    services: Mapping[str, PodModel]
    think_seconds: float
    propagation_seconds: float
    origins: tuple[tuple[str, str], ...]
    places: Mapping[str, Location] = field(default_factory=dict)

    def of(self, workload: str) -> PodModel:
        return self.services.get(workload) or assumed_model()


#: What is assumed where nothing is said: one worker, 10 ms of pure computing, exponential.
ASSUMED_SERVICE_SECONDS = 0.010


def assumed_model() -> PodModel:
    return PodModel(Distribution.exponential(ASSUMED_SERVICE_SECONDS))


def model_paths(directory: Path) -> tuple[Path, Path]:
    """The user's own model, and the one that the last rehearsal measured."""
    return directory / MODEL_FILE, directory / "report" / MODEL_FILE


def load_models(directory: Path, workloads: tuple[str, ...]) -> Models:
    """``DIR/model.yaml``, else ``DIR/report/model.yaml``, for these workloads, or what is assumed without.

    Raises InputError with the line."""
    path = next((p for p in model_paths(directory) if p.exists()), None)
    if path is None:
        origins = tuple(
            (f"model of {name}", f"assumed ({assumed_model().service.shown}); no {MODEL_FILE}")
            for name in workloads
        )
        return Models({}, 1.0, 0.05, origins)
    documents = load_documents(path)
    if len(documents) != 1:
        raise InputError(f"one document expected, {len(documents)} found", at=str(path))
    (document,) = documents
    parsed = decode(document, ModelFile)
    for name in parsed.services:
        if name not in workloads:
            fix = did_you_mean(name, workloads) or f"the manifests have {', '.join(workloads)}"
            raise document.error(f"no workload is named {name!r}", "services", name, fix=fix)
    services = {
        name: _pod_model(document, name, decode(_part(document, "services", name), ServiceFile))
        for name in parsed.services
    }
    return Models(
        services,
        _seconds(document, parsed.users.think_time, ("users", "thinkTime"), least=0.001),
        _seconds(document, parsed.proxy.propagation, ("proxy", "propagation")),
        _origins(parsed, services, workloads, document),
        {name: document.at("services", name) for name in parsed.services},
    )


def _part(document: Document, *path: str) -> Document:
    """The document below a key path, as one of its own: a free key hides from ``decode`` where it is."""
    value, depth = document.value, len(path)
    for step in path:
        value = value[step]
    lines = {key[depth:]: line for key, line in document.lines.items() if key[:depth] == path}
    texts = {key[depth:]: text for key, text in document.texts.items() if key[:depth] == path}
    return Document(value, document.path, document.at(*path).line or document.line, lines, texts)


def _origins(
    parsed: ModelFile, services: Mapping[str, PodModel], workloads: tuple[str, ...], document: Document
) -> tuple[tuple[str, str], ...]:
    """Per number: measured (and how), given in the file, or assumed."""
    found: list[tuple[str, str]] = []
    for name in workloads:
        model = services.get(name) or assumed_model()
        written = ((document.value.get("services") or {}).get(name)) or {}
        for key, shown in _shown(model).items():
            how = parsed.measured.get(f"{name}.{key}")
            origin = f"measured: {how}" if how else f"given in {MODEL_FILE}" if key in written else "assumed"
            found.append((f"{name}: {key}", f"{shown} ({origin})"))
    return tuple(found)


def _shown(model: PodModel) -> dict[str, str]:
    bound = "no bound" if model.concurrency >= SIMULATION_CONCURRENCY_MAX else str(model.concurrency)
    return {
        "serviceTime": model.service.shown,
        "cpuPerRequest": f"{model.cpu_per_request * 1000:.4g} ms",
        "concurrency": f"{bound} at once, {model.cores:g} cores",
        "startup": f"{model.startup:.4g} s, {model.startup_cpu:g} cores",
        "warmup": f"{model.warm_factor:g} times as slow at first, {model.warm_seconds:g} s",
        "memory": f"{model.memory.base / 2**20:.4g} MiB",
        **_shown_calls(model),
    }


def _shown_calls(model: PodModel) -> dict[str, str]:
    """Only of models that call others or fail."""
    shown = {}
    if model.steps:
        shown["calls"] = ", then ".join(" and ".join(call.service for call in step) for step in model.steps)
    if model.failure_ratio:
        shown["failures"] = f"{model.failure_ratio:.2%} of requests, {model.failure_status}"
    return shown


# --- from the file's fields to numbers


def _seconds(document: Document, value: Duration, path: tuple[str, ...], least: float = 0.0) -> float:
    """A duration, which may not be below ``least``."""
    try:
        if isinstance(value, int | float):
            seconds = float(value)
        else:  # stages may not last 0 s, start-up may
            seconds = 0.0 if _ZERO.fullmatch(value) else parse_duration(value, "duration")
    except (InputError, ValueError):
        raise document.error(f"{path[-1]}: {value!r} is not a duration", *path, fix="write 12ms") from None
    if not (least <= seconds < math.inf):
        message = f"{path[-1]}: {value} is not possible"
        raise document.error(message, *path, fix=f"at least {least:g} s")
    return seconds


def _at_least(document: Document, value: float, least: float, path: tuple[str, ...]) -> float:
    if not (least <= value < math.inf):
        raise document.error(f"{path[-1]}: {value:g} is not possible", *path, fix=f"at least {least:g}")
    return value


def _share(document: Document, value: float, path: tuple[str, ...]) -> float:
    if not 0 <= value <= 1:
        raise document.error(f"{path[-1]}: {value:g} is not possible", *path, fix="between 0 and 1")
    return value


def _bytes(document: Document, value: str | int, path: tuple[str, ...]) -> int:
    try:
        size = whole(value)
    except InputError as error:
        raise document.error(f"{path[-1]}: {error.message}", *path, fix="write 64Mi") from None
    return int(_at_least(document, size, 0, path))


def _pod_model(document: Document, name: str, given: ServiceFile) -> PodModel:
    here = ("services", name)
    service = _service_time(document, given.service_time, (*here, "serviceTime"))
    cpu = service.mean
    if given.cpu_per_request is not None:
        cpu = _seconds(document, given.cpu_per_request, (*here, "cpuPerRequest"))
    concurrency, cores = _concurrency(document, given, here)
    if cpu > service.mean * max(1.0, cores) * 1.0001:
        message = f"cpuPerRequest: {cpu:g} s of CPU do not fit {service.mean:g} s on {cores:g} cores"
        raise document.error(message, *here, "cpuPerRequest", fix="raise serviceTime.mean")
    startup, warm, memory = given.startup, given.warmup, given.memory
    return PodModel(
        service=service,
        cpu_share=cpu / service.mean,
        idle_cpu=_at_least(document, given.idle_cpu, 0, (*here, "idleCpu")),
        concurrency=concurrency,
        cores=cores,
        backlog=int(_at_least(document, given.backlog, 1, (*here, "backlog"))),
        startup=_seconds(document, startup.duration, (*here, "startup", "duration")),
        startup_cpu=_at_least(document, startup.cpu, 0, (*here, "startup", "cpu")),
        startup_spread=_share(document, startup.spread, (*here, "startup", "spread")),
        warm_factor=_at_least(document, warm.factor, 1, (*here, "warmup", "factor")),
        warm_seconds=_seconds(document, warm.duration, (*here, "warmup", "duration"), least=0.001),
        memory=Memory(
            _bytes(document, memory.base, (*here, "memory", "base")),
            _bytes(document, memory.per_request, (*here, "memory", "perRequest")),
            _bytes(document, memory.growth_per_hour, (*here, "memory", "growthPerHour")) / 3600,
        ),
        crashes_per_second=_at_least(document, given.crashes_per_hour, 0, (*here, "crashesPerHour")) / 3600,
        shutdown=_seconds(document, given.shutdown, (*here, "shutdown")),
        steps=steps_of(document, given.calls, (*here, "calls")),
        metrics=tuple(given.metrics),
        failure_ratio=given.failures.ratio,
        failure_status=_status(document, given.failures.status, (*here, "failures", "status")),
    )


def _status(document: Document, status: int, path: tuple[str, ...]) -> int:
    if status not in (500, 503):
        raise document.error(f"status: {status} is not modelled", *path, fix="write 500 or 503")
    return status


def _concurrency(document: Document, given: ServiceFile, here: tuple[str, ...]) -> tuple[int, float]:
    """(requests at once, cores they may use). A process of threads uses one core, as Python's do; ``cores``
    says otherwise."""
    asked, path = given.concurrency, (*here, "concurrency")
    if asked.unlimited and asked.workers is not None:
        raise document.error("concurrency: give workers or async, not both", *path)
    workers = 1 if asked.workers is None else asked.workers
    for key, value in (("workers", workers), ("threads", asked.threads)):
        _at_least(document, value, 1, (*path, key))
    at_once = SIMULATION_CONCURRENCY_MAX if asked.unlimited else workers * asked.threads
    if at_once > SIMULATION_CONCURRENCY_MAX:
        fix = "write async: true"
        raise document.error(f"concurrency: {at_once} is above {SIMULATION_CONCURRENCY_MAX}", *path, fix=fix)
    cores = float(workers) if given.cores is None else given.cores
    return at_once, _at_least(document, cores, 0.001, (*here, "cores"))


def _service_time(document: Document, given: ServiceTimeFile, path: tuple[str, ...]) -> Distribution:
    if given.distribution == "empirical":
        return _empirical(document, given, path)
    needs: dict[str, Any] = {"mean": given.mean}
    if given.distribution == "lognormal":
        needs["p99"] = given.p99
    if given.distribution == "gamma":
        needs["cv"] = given.cv
    missing = [key for key, value in needs.items() if value is None and (key != "mean" or len(needs) > 1)]
    if missing:
        raise document.error(
            f"{given.distribution} needs {' and '.join(missing)}", *path, fix="e.g. p99: 80ms"
        )
    mean = ASSUMED_SERVICE_SECONDS
    if given.mean is not None:
        mean = _seconds(document, given.mean, (*path, "mean"), least=1e-6)
    match given.distribution:
        case "constant":
            return Distribution.constant(mean)
        case "exponential":
            return Distribution.exponential(mean)
        case "gamma":
            assert given.cv is not None
            return Distribution.gamma(mean, _at_least(document, given.cv, 0.01, (*path, "cv")))
    assert given.p99 is not None
    try:
        return Distribution.lognormal(mean, _seconds(document, given.p99, (*path, "p99"), least=1e-6))
    except ValueError as error:
        raise document.error(str(error), *path, "p99", fix="give a p99 of 1 to 14 times the mean") from None


def _empirical(document: Document, given: ServiceTimeFile, path: tuple[str, ...]) -> Distribution:
    points = []
    for share, duration in given.quantiles.items():
        here = (*path, "quantiles", share)
        try:
            number = float(share)
        except ValueError:
            raise document.error(f"{share!r} is not a share of requests", *here, fix='"0.99": 80ms') from None
        if not 0 <= number <= 1:
            raise document.error(f"{share} is not between 0 and 1", *here, fix='"0.99": 80ms')
        points.append((number, _seconds(document, duration, here)))
    points.sort()
    if len(points) < 2 or any(b[1] < a[1] for a, b in pairwise(points)):
        fix = 'quantiles: {"0": 1ms, "0.5": 4ms, "0.99": 30ms, "1": 90ms}'
        raise document.error("quantiles must be at least two, and rise", *path, "quantiles", fix=fix)
    return Distribution.empirical(tuple(points))
