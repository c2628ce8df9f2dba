"""Reading the API's objects into what the algorithm works on: HPA, Scale and pods.

Malformed fields raise InputError where the whole HPA cannot be used; a metric that cannot be used keeps its
place in the list with ``problem`` set, since one bad metric does not stop the others upstream either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wavetank.autoscaling.hpa.behavior import Behavior, Policy, ScalingRules
from wavetank.autoscaling.hpa.replica_calculator import ContainerRequests, PodView
from wavetank.errors import InputError
from wavetank.kube.quantity import milli, parse_quantity
from wavetank.kube.selectors import from_object
from wavetank.kube.times import parse_time

__all__ = ["Hpa", "MetricSpec", "Scale", "parse_hpa", "parse_pod", "parse_scale"]

_SOURCES = {
    "Resource": "resource",
    "ContainerResource": "containerResource",
    "Pods": "pods",
    "Object": "object",
    "External": "external",
}


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One entry of ``spec.metrics``. ``average_utilization`` is percent, ``average_value`` and ``value``
    milli-units; ``identifier`` is the source's ``metric`` as it stands, ``described`` the object's
    reference, ``selector`` the metric selector as a query parameter."""

    kind: str
    name: str = ""
    container: str = ""
    identifier: Mapping[str, Any] = field(default_factory=dict)
    described: Mapping[str, Any] = field(default_factory=dict)
    selector: str = ""
    target_type: str = ""
    average_utilization: int | None = None
    average_value: int | None = None
    value: int | None = None
    problem: str = ""

    @property
    def resource(self) -> str:
        """The resource by whose readiness rules pods are grouped; "" for custom metrics."""
        return self.name if self.kind in ("Resource", "ContainerResource") else ""


@dataclass(frozen=True, slots=True)
class Hpa:
    namespace: str
    name: str
    target: Mapping[str, Any]
    min_replicas: int
    max_replicas: int
    metrics: tuple[MetricSpec, ...]
    behavior: Behavior | None
    status: Mapping[str, Any]
    generation: int = 0

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def reference(self) -> str:
        """Kind/namespace/name, as upstream's messages have it."""
        return f"{self.target.get('kind', '')}/{self.namespace}/{self.target.get('name', '')}"

    @property
    def from_outside(self) -> bool:
        """Whether a metric exists that can be read with no pod running."""
        return any(metric.kind in ("Object", "External") for metric in self.metrics)


@dataclass(frozen=True, slots=True)
class Scale:
    """The scale subresource: what is asked for, what exists, and the pods' selector as text."""

    spec_replicas: int
    status_replicas: int
    selector: str


def parse_scale(obj: Mapping[str, Any]) -> Scale:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    return Scale(
        int(spec.get("replicas") or 0), int(status.get("replicas") or 0), str(status.get("selector") or "")
    )


def parse_hpa(obj: Mapping[str, Any]) -> Hpa:
    """An autoscaling/v2 object. Without metrics the API's default stands: 80 % of the CPU request."""
    meta, spec = obj["metadata"], obj.get("spec") or {}
    entries = spec.get("metrics")
    if entries is None:
        entries = [
            {
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
            }
        ]
    low = spec.get("minReplicas")
    return Hpa(
        namespace=meta.get("namespace") or "default",
        name=meta["name"],
        target=spec.get("scaleTargetRef") or {},
        min_replicas=1 if low is None else int(low),
        max_replicas=int(spec.get("maxReplicas") or 0),
        metrics=tuple(_metric(entry) for entry in entries),
        behavior=_behavior(spec.get("behavior")),
        status=obj.get("status") or {},
        generation=int(meta.get("generation") or 0),
    )


def _metric(entry: Mapping[str, Any]) -> MetricSpec:
    kind = str(entry.get("type", ""))
    source = entry.get(_SOURCES.get(kind, ""))
    if kind not in _SOURCES or not isinstance(source, Mapping):
        return MetricSpec(kind, problem=f'unknown metric source type "{kind}"')
    identifier = source.get("metric") or {}
    target = source.get("target") or {}
    try:
        utilization = target.get("averageUtilization")
        selector = identifier.get("selector")
        return MetricSpec(
            kind,
            name=str(source.get("name") or identifier.get("name") or ""),
            container=str(source.get("container") or ""),
            identifier=identifier,
            described=source.get("describedObject") or {},
            selector=str(from_object(selector)) if selector else "",
            target_type=str(target.get("type", "")),
            average_utilization=None if utilization is None else _positive(int(utilization)),
            average_value=_milli(target.get("averageValue")),
            value=_milli(target.get("value")),
        )
    except (InputError, TypeError, ValueError) as error:
        return MetricSpec(kind, name=str(source.get("name") or ""), problem=str(error))


def _milli(value: Any) -> int | None:
    return None if value is None else _positive(milli(value))


def _positive(value: int) -> int:
    if value <= 0:
        raise ValueError("a metric target must be greater than zero")
    return value


def _behavior(given: Any) -> Behavior | None:
    """Upstream fills in a behavior's gaps when there is one at all, and leaves none where there is none."""
    if not isinstance(given, Mapping):
        return None
    return Behavior(
        up=_rules(
            given.get("scaleUp"), ScalingRules(0, "Max", (Policy("Pods", 4, 15), Policy("Percent", 100, 15)))
        ),
        down=_rules(given.get("scaleDown"), ScalingRules(None, "Max", (Policy("Percent", 100, 15),))),
    )


def _rules(given: Any, default: ScalingRules) -> ScalingRules:
    if not isinstance(given, Mapping):
        return default
    window = given.get("stabilizationWindowSeconds")
    policies = given.get("policies")
    tolerance = given.get("tolerance")
    return ScalingRules(
        window=default.window if window is None else int(window),
        select=str(given.get("selectPolicy") or default.select),
        policies=default.policies
        if policies is None
        else tuple(
            Policy(str(p.get("type", "")), int(p.get("value", 0)), int(p.get("periodSeconds", 0)))
            for p in policies
        ),
        tolerance=None if tolerance is None else float(parse_quantity(tolerance).value),
    )


def parse_pod(obj: Mapping[str, Any]) -> PodView:
    """What the calculator needs of a pod; requests that are not quantities count as not given."""
    meta, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    ready: bool | None = None
    transition = 0.0
    for condition in status.get("conditions") or ():
        if condition.get("type") == "Ready":
            ready = condition.get("status") == "True"
            transition = parse_time(condition.get("lastTransitionTime")) or 0.0
    containers = [_container(c, init=False) for c in spec.get("containers") or ()]
    containers += [_container(c, init=True) for c in spec.get("initContainers") or ()]
    return PodView(
        name=meta["name"],
        phase=str(status.get("phase", "Pending")),
        deleting=meta.get("deletionTimestamp") is not None,
        start_time=parse_time(status.get("startTime")),
        ready=ready,
        ready_transition=transition,
        containers=containers,
        pod_requests=_requests(spec.get("resources")),
    )


def _container(container: Mapping[str, Any], *, init: bool) -> ContainerRequests:
    return ContainerRequests(
        str(container.get("name", "")),
        _requests(container.get("resources")),
        init=init,
        sidecar=init and container.get("restartPolicy") == "Always",
    )


def _requests(resources: Any) -> dict[str, int]:
    """Requests in milli-units; a limit stands in for an absent request, as the API defaults it."""
    found: dict[str, int] = {}
    if not isinstance(resources, Mapping):
        return found
    given: Sequence[Mapping[str, Any]] = (resources.get("limits") or {}, resources.get("requests") or {})
    for entries in given:
        for name, quantity in entries.items():
            try:
                found[name] = milli(quantity)
            except InputError:
                continue
    return found
