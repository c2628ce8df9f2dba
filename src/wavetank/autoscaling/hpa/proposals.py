"""Evaluating the list of metrics: one proposal each, the highest wins, and what failing ones do.

Mirrors ``computeReplicasForMetrics`` and the ``computeStatusFor...`` functions of ``horizontal.go``:
statuses, metric names in reasons, error texts and labels are upstream's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wavetank.autoscaling.hpa.model import Hpa, MetricSpec, Scale
from wavetank.autoscaling.hpa.options import HpaOptions
from wavetank.autoscaling.hpa.replica_calculator import (
    CalculationError,
    PodView,
    Proposal,
    Readiness,
    Tolerances,
    per_pod_value_replicas,
    resource_replicas,
    usage_replicas,
    value_replicas,
)
from wavetank.autoscaling.metrics import Reading
from wavetank.kube.quantity import format_milli

__all__ = ["MetricResult", "evaluate", "tolerances_of"]

_REASONS = {
    "Resource": "FailedGetResourceMetric",
    "ContainerResource": "FailedGetContainerResourceMetric",
    "Pods": "FailedGetPodsMetric",
    "Object": "FailedGetObjectMetric",
    "External": "FailedGetExternalMetric",
}


@dataclass(frozen=True, slots=True)
class MetricResult:
    """What one metric said. ``label`` is its name in rescale reasons; ``reason`` and ``inner`` are the
    condition's on failure and ``error`` the controller's text; ``value`` and ``target`` are in the metric's
    own units (percent for Utilization)."""

    kind: str
    status: Mapping[str, Any]
    label: str = ""
    proposal: Proposal | None = None
    reason: str = ""
    inner: str = ""
    error: str = ""
    value: float = 0.0
    target: float = 0.0
    timestamps: Mapping[str, float] | None = None

    @property
    def error_label(self) -> str:
        if not self.error:
            return "none"
        return "spec" if self.reason == "InvalidMetricSourceType" else "internal"


def tolerances_of(hpa: Hpa, options: HpaOptions) -> Tolerances:
    """The controller's tolerance, or the behavior's where the emulated release honours it."""
    up = down = options.tolerance
    if options.configurable_tolerance and hpa.behavior is not None:
        up = up if hpa.behavior.up.tolerance is None else hpa.behavior.up.tolerance
        down = down if hpa.behavior.down.tolerance is None else hpa.behavior.down.tolerance
    return Tolerances(up, down)


def evaluate(
    now: float,
    hpa: Hpa,
    scale: Scale,
    pods: Sequence[PodView],
    readings: Sequence[Reading],
    options: HpaOptions,
) -> list[MetricResult]:
    """One result a metric, in order. ``readings`` runs parallel to ``hpa.metrics``."""
    tolerances = tolerances_of(hpa, options)
    context = _Context(now, scale, pods, tolerances, options)
    return [
        _evaluate_one(metric, reading, context) for metric, reading in zip(hpa.metrics, readings, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class _Context:
    now: float
    scale: Scale
    pods: Sequence[PodView]
    tolerances: Tolerances
    options: HpaOptions

    @property
    def readiness(self) -> Readiness:
        return Readiness(self.options.cpu_initialization_period, self.options.initial_readiness_delay)


def _evaluate_one(metric: MetricSpec, reading: Reading, context: _Context) -> MetricResult:
    reason = _REASONS.get(metric.kind, "InvalidMetricSourceType")
    if metric.problem:
        outer = (
            f"{_outer(metric)}: {metric.problem}" if reason != "InvalidMetricSourceType" else metric.problem
        )
        return MetricResult(metric.kind, {"type": ""}, reason=reason, inner=metric.problem, error=outer)
    try:
        if reading.error is not None:
            raise CalculationError(_unreadable(metric, reading.error))
        return _measured(metric, reading, context)
    except CalculationError as error:
        inner = _inner(metric, error.message)
        return MetricResult(
            metric.kind, {"type": ""}, reason=reason, inner=inner, error=f"{_outer(metric)}: {inner}"
        )


def _measured(metric: MetricSpec, reading: Reading, context: _Context) -> MetricResult:
    match metric.kind:
        case "Resource" | "ContainerResource":
            return _resource(metric, reading, context)
        case "Pods":
            return _pods(metric, reading, context)
        case _:
            return _from_outside(metric, reading, context)


def _resource(metric: MetricSpec, reading: Reading, context: _Context) -> MetricResult:
    scale, contained = context.scale, metric.kind == "ContainerResource"
    common = {"tolerances": context.tolerances, "readiness": context.readiness}
    current: dict[str, Any]
    if metric.average_value is not None:
        found = usage_replicas(
            context.now,
            scale.spec_replicas,
            metric.average_value,
            reading.pods,
            context.pods,
            metric.name,
            **common,  # type: ignore[arg-type]
        )
        label = f"{metric.name} resource"
        current = {"averageValue": format_milli(found.usage)}
        value, target = found.usage / 1000, metric.average_value / 1000
    elif metric.average_utilization is not None:
        found = resource_replicas(
            context.now,
            scale.spec_replicas,
            metric.average_utilization,
            reading.pods,
            context.pods,
            metric.name,
            container=metric.container,
            pod_level=context.options.pod_level_resources,
            **common,  # type: ignore[arg-type]
        )
        container = "container " if contained else ""
        label = f"{metric.name} {container}resource utilization (percentage of request)"
        current = {"averageUtilization": found.utilization, "averageValue": format_milli(found.usage)}
        value, target = float(found.utilization or 0), float(metric.average_utilization)
    else:
        raise CalculationError(
            "invalid resource metric source: neither an average utilization target nor an average value "
            "(usage) target was set"
        )
    source: dict[str, Any] = {"name": metric.name, "current": current}
    if contained:
        source["container"] = metric.container
    key = "containerResource" if contained else "resource"
    status = {"type": metric.kind, key: source}
    return MetricResult(
        metric.kind, status, label, found, value=value, target=target, timestamps=_timestamps(reading)
    )


def _pods(metric: MetricSpec, reading: Reading, context: _Context) -> MetricResult:
    if metric.average_value is None:
        raise CalculationError("invalid pods metric source: no average value target was set")
    found = usage_replicas(
        context.now,
        context.scale.spec_replicas,
        metric.average_value,
        reading.pods,
        context.pods,
        tolerances=context.tolerances,
        readiness=context.readiness,
    )
    status = {
        "type": "Pods",
        "pods": {"metric": metric.identifier, "current": {"averageValue": format_milli(found.usage)}},
    }
    return MetricResult(
        metric.kind,
        status,
        f"pods metric {metric.name}",
        found,
        value=found.usage / 1000,
        target=metric.average_value / 1000,
        timestamps=_timestamps(reading),
    )


def _from_outside(metric: MetricSpec, reading: Reading, context: _Context) -> MetricResult:
    """Object and External metrics. Upstream looks at the target's type for the first, not the second."""
    is_object = metric.kind == "Object"
    average = metric.average_value is not None and (not is_object or metric.target_type == "AverageValue")
    plain = metric.value is not None and (not is_object or metric.target_type == "Value")
    current: dict[str, Any]
    if average and metric.average_value is not None:
        target = metric.average_value
        found = per_pod_value_replicas(
            context.scale.status_replicas, target, reading.values, tolerances=context.tolerances
        )
        current = {"averageValue": format_milli(found.usage)}
    elif plain and metric.value is not None:
        target = metric.value
        found = value_replicas(
            context.scale.spec_replicas, target, reading.values, context.pods, tolerances=context.tolerances
        )
        current = {"value": format_milli(found.usage)}
    else:
        raise CalculationError(
            f"invalid {metric.kind.lower()} metric source: neither a value target nor an average value "
            "target was set"
        )
    source: dict[str, Any] = {"metric": metric.identifier, "current": current}
    if is_object:
        source["describedObject"] = metric.described
    label = f"external metric {metric.name}({_shown_selector(metric)})"
    if is_object and not average:
        label = f"{metric.described.get('kind', '')} metric {metric.name}"
    return MetricResult(
        metric.kind,
        {"type": metric.kind, metric.kind.lower(): source},
        label,
        found,
        value=found.usage / 1000,
        target=target / 1000,
    )


def _timestamps(reading: Reading) -> dict[str, float]:
    return {name: sample.timestamp for name, sample in reading.pods.items()}


def _shown_selector(metric: MetricSpec) -> str:
    """A label selector as Go's ``%+v`` prints it."""
    selector = metric.identifier.get("selector")
    if selector is None:
        return "nil"
    labels = selector.get("matchLabels") or {}
    shown = "".join(f"{key}: {value}," for key, value in sorted(labels.items()))
    expressions = "".join(
        f"LabelSelectorRequirement{{Key:{e.get('key', '')},Operator:{e.get('operator', '')},"
        f"Values:[{' '.join(e.get('values') or ())}],}},"
        for e in selector.get("matchExpressions") or ()
    )
    return (
        f"&LabelSelector{{MatchLabels:map[string]string{{{shown}}},"
        f"MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )


def _unreadable(metric: MetricSpec, error: str) -> str:
    if metric.kind in ("Resource", "ContainerResource"):
        return f"unable to get metrics for resource {metric.name}: {error}"
    return f"unable to get metric {metric.name}: {error}" if metric.kind != "External" else error


def _inner(metric: MetricSpec, message: str) -> str:
    """The text of the metric's own event and condition."""
    if metric.kind in ("Resource", "ContainerResource") and not message.startswith("invalid resource"):
        what = "usage" if metric.average_value is not None else "utilization"
        return f"failed to get {metric.name} {what}: {message}"
    return message


def _outer(metric: MetricSpec) -> str:
    """How the reconciliation's error introduces a metric's."""
    match metric.kind:
        case "Resource":
            return f"failed to get {metric.name} resource metric value"
        case "ContainerResource":
            return f"failed to get {metric.container} container metric value"
        case "External":
            return f"failed to get {metric.name} external metric value"
        case kind:
            return f"failed to get {kind.lower()} metric value"
