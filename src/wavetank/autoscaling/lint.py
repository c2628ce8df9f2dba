"""Settings of autoscalers that are known to go wrong, told from the manifests alone.

Each rule is a function from the objects to findings. Level error is for what cannot work as it stands,
warning for what goes wrong under some load, info for the rest. The texts name the cause as upstream's issue
threads do, and the fix.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from wavetank.autoscaling.hpa.model import Hpa, MetricSpec, parse_hpa
from wavetank.autoscaling.vpa.recommend import policy_of
from wavetank.autoscaling.vpa.update import update_mode
from wavetank.errors import InputError
from wavetank.kube.client import Object
from wavetank.kube.quantity import milli

__all__ = ["Finding", "lint"]

Level = Literal["error", "warning", "info"]
_WORKLOADS = ("Deployment", "StatefulSet", "ReplicaSet", "ReplicationController", "DaemonSet")
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_TOLERANCE = 0.1
Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """``object`` is Kind/namespace/name; ``field`` the path of what is meant; ``concerns`` are all objects
    the finding is about, that one included."""

    level: Level
    code: str
    object: str
    field: Path
    message: str
    fix: str
    concerns: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.object}: {self.message}; {self.fix}"


@dataclass(frozen=True, slots=True)
class _Pair:
    """An HPA, and the workload it scales where that is among the objects."""

    obj: Object
    hpa: Hpa
    workload: Object | None

    def finding(
        self, level: Level, code: str, field: Path, message: str, fix: str, *others: Object
    ) -> Finding:
        concerned = [_reference(other) for other in (self.workload, *others) if other is not None]
        own = _reference(self.obj)
        return Finding(level, code, own, field, message, fix, (own, *concerned))

    @property
    def containers(self) -> Sequence[Mapping[str, Any]]:
        spec = ((self.workload or {}).get("spec") or {}).get("template") or {}
        pod: Mapping[str, Any] = spec.get("spec") or {}
        sidecars = [c for c in pod.get("initContainers") or () if c.get("restartPolicy") == "Always"]
        return [*(pod.get("containers") or ()), *sidecars]

    def resource_metrics(self) -> Iterator[tuple[int, MetricSpec]]:
        for index, metric in enumerate(self.hpa.metrics):
            if metric.kind in ("Resource", "ContainerResource"):
                yield index, metric


@dataclass(frozen=True, slots=True)
class _World:
    pairs: Sequence[_Pair]
    vpas: Sequence[Object]
    live: bool


Rule = Callable[[_World], Iterable[Finding]]


def lint(objects: Iterable[Object], *, live: bool = False) -> list[Finding]:
    """Findings about the HPAs and VPAs among the objects, worst first. ``live`` objects come from an API
    server: there a replica count is only the user's own if it was applied."""
    usable = [obj for obj in objects if isinstance(obj, dict) and isinstance(obj.get("metadata"), dict)]
    workloads = {
        (_namespace(obj), obj["kind"], obj["metadata"].get("name")): obj
        for obj in usable
        if obj.get("kind") in _WORKLOADS
    }
    pairs = []
    for obj in usable:
        if obj.get("kind") != "HorizontalPodAutoscaler":
            continue
        try:
            hpa = parse_hpa(_as_v2(obj))
        except (InputError, AttributeError, KeyError, TypeError, ValueError):
            continue  # the API server says what is wrong with it
        key = (_namespace(obj), str(hpa.target.get("kind")), hpa.target.get("name"))
        pairs.append(_Pair(obj, hpa, workloads.get(key)))
    vpas = [obj for obj in usable if obj.get("kind") == "VerticalPodAutoscaler"]
    world = _World(pairs, vpas, live)
    found: list[Finding] = []
    for rule in RULES:
        try:
            found += rule(world)
        except (AttributeError, KeyError, TypeError, ValueError, InputError):
            continue  # malformed parts are for the API server to name
    return sorted(found, key=lambda f: (("error", "warning", "info").index(f.level), f.object, f.code))


def _bounds(world: _World) -> Iterator[Finding]:
    for pair in world.pairs:
        low, high = pair.hpa.min_replicas, pair.hpa.max_replicas
        if high < low:
            text = f"maxReplicas {high} is below minReplicas {low}"
            yield pair.finding("error", "max-below-min", ("spec", "maxReplicas"), text, "swap them")
        elif high == low:
            text = f"minReplicas and maxReplicas are both {high}, so nothing is ever scaled"
            yield pair.finding("warning", "fixed-size", ("spec", "maxReplicas"), text, "raise maxReplicas")


def _missing_requests(world: _World) -> Iterator[Finding]:
    for pair in world.pairs:
        for index, metric in pair.resource_metrics():
            if metric.average_utilization is None:
                continue
            for container in pair.containers:
                if metric.container and container.get("name") != metric.container:
                    continue
                if _amount(container, metric.name) is None:
                    name = container.get("name", "")
                    yield pair.finding(
                        "error",
                        "missing-request",
                        ("spec", "metrics", index),
                        f"container {name} of the target has no {metric.name} request, so its utilization "
                        "cannot be computed and nothing is scaled",
                        f"set resources.requests.{metric.name} on every container of the pod",
                    )


def _saturation(world: _World) -> Iterator[Finding]:
    for pair in world.pairs:
        for index, metric in pair.resource_metrics():
            target = metric.average_utilization
            counted = [c for c in pair.containers if metric.container in ("", c.get("name"))]
            requests = [_amount(c, metric.name) for c in counted]
            limits = [_amount(c, metric.name, "limits") for c in counted]
            if target is None or not counted or None in requests or None in limits:
                continue
            asked, most = sum(filter(None, requests)), sum(filter(None, limits))
            if not asked:
                continue
            ceiling = 100 * most / asked
            here: Path = ("spec", "metrics", index)
            if target * (1 + _TOLERANCE) > ceiling:
                text = (
                    f"a target of {target} % is out of reach: limits cap {metric.name} at {ceiling:.0f} % of "
                    f"the requests, and nothing grows below {target * (1 + _TOLERANCE):.0f} %"
                )
                yield pair.finding("error", "target-beyond-limit", here, text, "lower the target")
            elif target > 0.85 * ceiling:
                text = (
                    f"a target of {target} % leaves little room: limits cap {metric.name} at {ceiling:.0f} % "
                    "of the requests, so pods saturate while new ones start"
                )
                yield pair.finding("warning", "target-near-limit", here, text, "lower the target")


def _zero(world: _World) -> Iterator[Finding]:
    for pair in world.pairs:
        behavior = pair.hpa.behavior
        if pair.hpa.min_replicas != 0 or behavior is None:
            continue
        kinds = {policy.kind for policy in behavior.up.policies}
        if kinds == {"Percent"} or (behavior.up.select == "Min" and "Percent" in kinds):
            yield pair.finding(
                "error",
                "percent-from-zero",
                ("spec", "behavior", "scaleUp", "policies"),
                "the scale-up policies are percentages, and no percentage of 0 replicas is one: once at zero "
                "it stays there",
                "add a policy of type Pods",
            )


def _flapping(world: _World) -> Iterator[Finding]:
    for pair in world.pairs:
        behavior = pair.hpa.behavior
        if behavior is not None and behavior.down.window == 0 and behavior.down.select != "Disabled":
            yield pair.finding(
                "warning",
                "no-stabilization",
                ("spec", "behavior", "scaleDown", "stabilizationWindowSeconds"),
                "scale-down follows every dip at once, so a load that swings makes the target flap",
                "set stabilizationWindowSeconds to at least a minute",
            )


def _values(world: _World) -> Iterator[Finding]:
    for pair in world.pairs:
        for index, metric in enumerate(pair.hpa.metrics):
            if metric.value is None or metric.target_type == "AverageValue":
                continue
            level: Level = "warning" if metric.kind == "External" else "info"
            yield pair.finding(
                level,
                "value-multiplies",
                ("spec", "metrics", index),
                f"a Value target multiplies the ready replicas by {metric.name}/target at every sync; a "
                "metric that more replicas do not lower at once, such as a backlog, doubles them each time",
                "use AverageValue, unless the metric is a ratio such as a latency",
            )


def _startup(world: _World) -> Iterator[Finding]:
    for pair in world.pairs:
        for index, metric in pair.resource_metrics():
            if metric.name != "cpu" or not pair.containers:
                continue
            if any(c.get("readinessProbe") or c.get("startupProbe") for c in pair.containers):
                continue
            yield pair.finding(
                "warning",
                "startup-cpu",
                ("spec", "metrics", index),
                "pods without a readiness probe are ready as soon as they run, so the CPU of their start "
                "counts after one metrics window, in spite of the CPU initialization period, and may scale",
                "add a readinessProbe or startupProbe that passes when the start is over",
            )


def _replicas(world: _World) -> Iterator[Finding]:
    for pair in world.pairs:
        workload = pair.workload
        if workload is None:
            continue
        applied = _applied(workload) if world.live else workload
        replicas = ((applied or {}).get("spec") or {}).get("replicas")
        if replicas is not None:
            yield pair.finding(
                "warning",
                "replicas-fight",
                ("spec", "scaleTargetRef"),
                f"the manifest of {workload['kind']} {workload['metadata'].get('name')} sets spec.replicas "
                f"{replicas}: every apply puts the size back to that, whatever the HPA decided",
                "remove spec.replicas from the manifest",
            )


def _shared_target(world: _World) -> Iterator[Finding]:
    seen: dict[tuple[str, Any, Any], _Pair] = {}
    for pair in world.pairs:
        key = (pair.hpa.namespace, pair.hpa.target.get("kind"), pair.hpa.target.get("name"))
        first = seen.setdefault(key, pair)
        if first is not pair:
            text = f"HPA {first.hpa.name} scales the same target: neither will (AmbiguousSelector)"
            fix = "put the metrics of both into one"
            yield pair.finding("error", "shared-target", ("spec", "scaleTargetRef"), text, fix, first.obj)


def _both(world: _World) -> Iterator[Finding]:
    for pair in world.pairs:
        for vpa in world.vpas:
            if _namespace(vpa) != pair.hpa.namespace or not _same_target(pair.hpa, vpa):
                continue
            mode = update_mode(vpa)
            if mode == "Off":
                continue
            for index, metric in pair.resource_metrics():
                controlled = policy_of(vpa, metric.container or "*").get("controlledResources")
                if metric.name not in (controlled or ("cpu", "memory")):
                    continue
                name = vpa["metadata"].get("name")
                yield pair.finding(
                    "error" if mode != "Initial" else "warning",
                    "hpa-and-vpa",
                    ("spec", "metrics", index),
                    f"VPA {name} changes the {metric.name} requests that this HPA measures against: each "
                    "undoes what the other does",
                    f"take {metric.name} out of the VPA's controlledResources, or scale on another metric",
                    vpa,
                )


RULES: Sequence[Rule] = (
    _bounds, _missing_requests, _saturation, _zero, _flapping, _values, _startup, _replicas,
    _shared_target, _both,
)  # fmt: skip


def _namespace(obj: Object) -> str:
    return str(obj["metadata"].get("namespace") or "default")


def _reference(obj: Object) -> str:
    return f"{obj.get('kind', '')}/{_namespace(obj)}/{obj['metadata'].get('name', '')}"


def _same_target(hpa: Hpa, vpa: Object) -> bool:
    reference = (vpa.get("spec") or {}).get("targetRef") or {}
    return (reference.get("kind"), reference.get("name")) == (hpa.target.get("kind"), hpa.target.get("name"))


def _amount(container: Mapping[str, Any], resource: str, section: str = "requests") -> int | None:
    """In milli-units; a limit stands for an absent request."""
    resources = container.get("resources") or {}
    found = (resources.get(section) or {}).get(resource)
    if found is None and section == "requests":
        found = (resources.get("limits") or {}).get(resource)
    return None if found is None else milli(found)


def _applied(obj: Object) -> Object | None:
    """What kubectl last applied; None where it did not."""
    text = (obj["metadata"].get("annotations") or {}).get(_LAST_APPLIED)
    try:
        found = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _as_v2(obj: Object) -> Object:
    """An autoscaling/v1 object with its one metric in v2's form."""
    spec = obj.get("spec") or {}
    percent = spec.get("targetCPUUtilizationPercentage")
    if percent is None:
        return obj
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}}
    return {**obj, "spec": {**spec, "metrics": [{"type": "Resource", "resource": cpu}]}}
