"""How many replicas a metric asks for: upstream's ``replica_calculator.go`` as functions of values.

Everything is in milli-units and whole numbers where upstream's is, in IEEE doubles where upstream's is, so
that truncation and rounding agree. ``now`` is Unix seconds. Errors carry upstream's texts, which users
search for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from wavetank.autoscaling.metrics import PodSample
from wavetank.errors import WavetankError

__all__ = [
    "Basis",
    "CalculationError",
    "ContainerRequests",
    "PodGroups",
    "PodView",
    "Proposal",
    "Readiness",
    "Tolerances",
    "calculate_requests",
    "group_pods",
    "per_pod_value_replicas",
    "resource_replicas",
    "usage_replicas",
    "value_replicas",
]

MAX_INT32 = 2**31 - 1
MAX_INT64 = 2**63 - 1
MIN_INT64 = -(2**63)

Fill = Callable[[str], int]
RatioOf = Callable[[Mapping[str, int]], float]


class CalculationError(WavetankError):
    """No replica count can be computed; the message is upstream's."""


@dataclass(frozen=True, slots=True)
class ContainerRequests:
    """A container's requests in milli-units; ``sidecar`` marks a restartable init container."""

    name: str
    requests: Mapping[str, int]
    init: bool = False
    sidecar: bool = False


@dataclass(frozen=True, slots=True)
class PodView:
    """What the calculator needs to know of a pod. ``ready`` is None where there is no Ready condition."""

    name: str
    phase: str = "Running"
    deleting: bool = False
    start_time: float | None = None
    ready: bool | None = None
    ready_transition: float = 0.0
    containers: Sequence[ContainerRequests] = ()
    pod_requests: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tolerances:
    """The band around 1 in which a usage ratio changes nothing; both ends belong to it."""

    up: float = 0.1
    down: float = 0.1

    def hold(self, ratio: float) -> bool:
        return 1.0 - self.down <= ratio <= 1.0 + self.up


@dataclass(frozen=True, slots=True)
class Readiness:
    """How long a pod's CPU is distrusted after its start; seconds, two controller flags."""

    cpu_initialization_period: float = 300.0
    initial_readiness_delay: float = 30.0


@dataclass(frozen=True, slots=True)
class PodGroups:
    ready_count: int
    unready: frozenset[str]
    missing: frozenset[str]
    ignored: frozenset[str]


@dataclass(frozen=True, slots=True)
class Basis:
    """How a proposal came about, for explanations. ``rule`` is tolerance, ratio (times ``pods`` ready ones),
    value (the sum divided by the target), filled (absent pods were given a usage: then ``ratio`` is the new
    one and ``pods`` all that count), filled-tolerance, flipped (filling turned the direction), or surplus
    (more pods are measured than the target has)."""

    rule: str
    ratio: float
    pods: int


@dataclass(frozen=True, slots=True)
class Proposal:
    """``usage`` is the mean in milli-units as the status reports it, ``utilization`` in percent where asked
    for, ``ratio`` usage to target before any pod was filled in."""

    replicas: int
    usage: int
    ratio: float
    utilization: int | None = None
    basis: Basis | None = field(default=None, compare=False)


def group_pods(
    now: float, pods: Iterable[PodView], samples: Mapping[str, PodSample], resource: str, readiness: Readiness
) -> PodGroups:
    """Sort pods into ready, unready, missing (no sample) and ignored (going or failed)."""
    ready = 0
    unready: set[str] = set()
    missing: set[str] = set()
    ignored: set[str] = set()
    for pod in pods:
        if pod.deleting or pod.phase == "Failed":
            ignored.add(pod.name)
            continue
        if pod.phase == "Pending":
            unready.add(pod.name)
            continue
        sample = samples.get(pod.name)
        if sample is None:
            missing.add(pod.name)
            continue
        if resource == "cpu" and _cpu_unready(now, pod, sample, readiness):
            unready.add(pod.name)
            continue
        ready += 1
    return PodGroups(ready, frozenset(unready), frozenset(missing), frozenset(ignored))


def _cpu_unready(now: float, pod: PodView, sample: PodSample, readiness: Readiness) -> bool:
    """Whether a pod's CPU sample is to be distrusted: it was, or may have been, taken while starting."""
    if pod.ready is None or pod.start_time is None:
        return True
    if pod.start_time + readiness.cpu_initialization_period > now:
        # While initialising: ready, and the whole window of the sample after it became so.
        return not pod.ready or sample.timestamp < pod.ready_transition + sample.window
    # Later on: only a pod that has never been ready.
    return not pod.ready and pod.start_time + readiness.initial_readiness_delay > pod.ready_transition


def calculate_requests(
    pods: Iterable[PodView], container: str, resource: str, *, pod_level: bool = False
) -> dict[str, int]:
    """Each pod's request in milli-units: the pod's own, or the sum over containers and sidecars."""
    requests: dict[str, int] = {}
    for pod in pods:
        if pod_level and not container and resource in pod.pod_requests:
            requests[pod.name] = pod.pod_requests[resource]
            continue
        counted = [
            c for c in pod.containers if (not c.init or c.sidecar) and (not container or c.name == container)
        ]
        if container and not counted:
            raise CalculationError(f"container {container} not found in Pod {pod.name}")
        for each in counted:
            if resource not in each.requests:
                raise CalculationError(
                    f"missing request for {resource} in container {each.name} of Pod {pod.name}"
                )
        requests[pod.name] = sum(each.requests[resource] for each in counted)
    return requests


def resource_replicas(
    now: float,
    current: int,
    target_utilization: int,
    samples: Mapping[str, PodSample],
    pods: Sequence[PodView],
    resource: str,
    *,
    container: str = "",
    tolerances: Tolerances = Tolerances(),
    readiness: Readiness = Readiness(),
    pod_level: bool = False,
) -> Proposal:
    """Target Utilization of a Resource or ContainerResource metric; the target in percent of requests."""
    groups, used = _usable(now, pods, samples, resource, readiness)
    requests = calculate_requests(pods, container, resource, pod_level=pod_level)
    ratio, utilization, mean = _utilization_ratio(used, requests, target_utilization)

    def fill(name: str) -> int:
        # A pod that says nothing is taken to use all it asked for, or the target if that is above 100 %.
        return requests[name] * max(100, target_utilization) // 100

    def ratio_of(values: Mapping[str, int]) -> float:
        return _utilization_ratio(values, requests, target_utilization)[0]

    replicas, basis = _decide(current, ratio, used, groups, tolerances, fill, ratio_of)
    return Proposal(replicas, mean, ratio, utilization, basis)


def usage_replicas(
    now: float,
    current: int,
    target: int,
    samples: Mapping[str, PodSample],
    pods: Sequence[PodView],
    resource: str = "",
    *,
    tolerances: Tolerances = Tolerances(),
    readiness: Readiness = Readiness(),
) -> Proposal:
    """Target AverageValue (milli-units) of a Resource, ContainerResource or Pods metric."""
    groups, used = _usable(now, pods, samples, resource, readiness)

    def ratio_of(values: Mapping[str, int]) -> float:
        return float(_quotient(sum(values.values()), len(values))) / float(target)

    ratio = ratio_of(used)
    replicas, basis = _decide(current, ratio, used, groups, tolerances, lambda _name: target, ratio_of)
    return Proposal(replicas, _quotient(sum(used.values()), len(used)), ratio, basis=basis)


def value_replicas(
    current: int,
    target: int,
    values: Iterable[int],
    pods: Sequence[PodView],
    *,
    tolerances: Tolerances = Tolerances(),
) -> Proposal:
    """Target Value (milli-units) of an Object or External metric: scales the pods that are ready now."""
    usage = _capped_sum(values)
    ratio = float(usage) / float(target)
    if current == 0:
        return Proposal(_int32(math.ceil(ratio)), usage, ratio, basis=Basis("value", ratio, 0))
    if tolerances.hold(ratio):
        return Proposal(current, usage, ratio, basis=Basis("tolerance", ratio, current))
    if not pods:
        raise CalculationError(
            "unable to calculate ready pods: no pods returned by selector while calculating replica count"
        )
    ready = sum(1 for pod in pods if pod.phase == "Running" and pod.ready is True)
    return Proposal(_int32(math.ceil(ratio * ready)), usage, ratio, basis=Basis("ratio", ratio, ready))


def per_pod_value_replicas(
    status_replicas: int,
    target: int,
    values: Iterable[int],
    *,
    tolerances: Tolerances = Tolerances(),
) -> Proposal:
    """Target AverageValue (milli-units) of an Object or External metric, over the replicas that exist.

    With no replica the mean is a division by zero, which upstream reports as the smallest int64.
    """
    usage = _capped_sum(values)
    if status_replicas == 0:
        ratio = math.nan if usage == 0 else math.inf
        wanted = _int32(math.ceil(float(usage) / float(target)))
        return Proposal(wanted, MIN_INT64, ratio, basis=Basis("value", ratio, 0))
    ratio = float(usage) / (float(target) * float(status_replicas))
    mean = min(MAX_INT64, math.ceil(float(usage) / float(status_replicas)))
    if tolerances.hold(ratio):
        basis = Basis("tolerance", ratio, status_replicas)
        return Proposal(status_replicas, mean, ratio, basis=basis)
    wanted = _int32(math.ceil(float(usage) / float(target)))
    return Proposal(wanted, mean, ratio, basis=Basis("value", ratio, status_replicas))


def _usable(
    now: float,
    pods: Sequence[PodView],
    samples: Mapping[str, PodSample],
    resource: str,
    readiness: Readiness,
) -> tuple[PodGroups, dict[str, int]]:
    """The groups, and the values of pods that are neither ignored nor unready."""
    if not pods:
        raise CalculationError("no pods returned by selector while calculating replica count")
    groups = group_pods(now, pods, samples, resource, readiness)
    left_out = groups.ignored | groups.unready
    used = {name: sample.value for name, sample in samples.items() if name not in left_out}
    if not used:
        raise CalculationError("did not receive metrics for targeted pods (pods might be unready)")
    return groups, used


def _utilization_ratio(
    values: Mapping[str, int], requests: Mapping[str, int], target: int
) -> tuple[float, int, int]:
    """(ratio, utilization in whole percent, mean in milli-units) over pods present in both."""
    total = asked = count = 0
    for name, value in values.items():
        request = requests.get(name)
        if request is not None:
            total += value
            asked += request
            count += 1
    if asked == 0:
        raise CalculationError("no metrics returned matched known pods")
    utilization = _quotient(total * 100, asked)
    return float(utilization) / float(target), utilization, _quotient(total, count)


def _decide(
    current: int,
    ratio: float,
    used: Mapping[str, int],
    groups: PodGroups,
    tolerances: Tolerances,
    fill: Fill,
    ratio_of: RatioOf,
) -> tuple[int, Basis]:
    """The common skeleton: scale by the ratio, with absent pods counted against the move."""
    unready_matter = bool(groups.unready) and ratio > 1.0
    if not unready_matter and not groups.missing:
        if tolerances.hold(ratio):
            return current, Basis("tolerance", ratio, groups.ready_count)
        return _int32(math.ceil(ratio * groups.ready_count)), Basis("ratio", ratio, groups.ready_count)
    values = dict(used)
    if ratio < 1.0:
        values.update((name, fill(name)) for name in groups.missing)
    elif ratio > 1.0:
        values.update((name, 0) for name in groups.missing)
    if unready_matter:
        values.update((name, 0) for name in groups.unready)
    new_ratio = ratio_of(values)
    flipped = (ratio < 1.0 < new_ratio) or (new_ratio < 1.0 < ratio)
    if tolerances.hold(new_ratio) or flipped:
        rule = "filled-tolerance" if tolerances.hold(new_ratio) else "flipped"
        return current, Basis(rule, new_ratio, len(values))
    replicas = _int32(math.ceil(new_ratio * len(values)))
    if (new_ratio < 1.0 and replicas > current) or (new_ratio > 1.0 and replicas < current):
        # The sample covers more pods than the target has, as in a rolling update.
        return current, Basis("surplus", new_ratio, len(values))
    return replicas, Basis("filled", new_ratio, len(values))


def _quotient(dividend: int, divisor: int) -> int:
    """Integer division that truncates towards zero, as Go's does."""
    whole = abs(dividend) // divisor
    return whole if dividend >= 0 else -whole


def _capped_sum(values: Iterable[int]) -> int:
    return max(MIN_INT64, min(MAX_INT64, sum(values)))


def _int32(value: int) -> int:
    return min(value, MAX_INT32)
