"""HorizontalPodAutoscaler: defaults and validation of autoscaling/v2, conversion from and to v1.

Mirrors ``pkg/apis/autoscaling``. v1 keeps what it cannot express in annotations, as upstream.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from wavetank.errors import InputError
from wavetank.kube.client import Object
from wavetank.kube.objects import copy
from wavetank.kube.quantity import parse_quantity
from wavetank.kube.resources import HORIZONTALPODAUTOSCALERS, HORIZONTALPODAUTOSCALERS_V1
from wavetank.kube.status import FieldError

__all__ = ["default_hpa", "from_v2", "to_v2", "validate_hpa"]

_CPU_PERCENT: Final = 80
_SOURCES: Final = {
    "Resource": "resource",
    "ContainerResource": "containerResource",
    "Pods": "pods",
    "Object": "object",
    "External": "external",
}
_METRICS: Final = "autoscaling.alpha.kubernetes.io/metrics"
_BEHAVIOR: Final = "autoscaling.alpha.kubernetes.io/behavior"
_CONDITIONS: Final = "autoscaling.alpha.kubernetes.io/conditions"
_CURRENT: Final = "autoscaling.alpha.kubernetes.io/current-metrics"
_WINDOW_SECONDS_MAX: Final = 3600
_PERIOD_SECONDS_MAX: Final = 1800


def default_hpa(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("minReplicas", 1)
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": _CPU_PERCENT}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    behavior = spec.get("behavior")
    if behavior is not None:
        up = [{"type": "Pods", "value": 4, "periodSeconds": 15}, _doubling()]
        behavior["scaleUp"] = _rules(behavior.get("scaleUp"), up, 0)
        behavior["scaleDown"] = _rules(behavior.get("scaleDown"), [_doubling()], None)


def _doubling() -> Object:
    return {"type": "Percent", "value": 100, "periodSeconds": 15}


def _rules(given: Object | None, policies: list[Object], window: int | None) -> Object:
    rules = dict(given or {})
    if window is not None:
        rules.setdefault("stabilizationWindowSeconds", window)
    rules.setdefault("selectPolicy", "Max")
    if not rules.get("policies"):
        rules["policies"] = policies
    return rules


def validate_hpa(obj: Object) -> Iterable[FieldError]:
    spec = obj["spec"]
    target = spec.get("scaleTargetRef") or {}
    for field in ("kind", "name"):
        if not target.get(field):
            yield FieldError.required(f"spec.scaleTargetRef.{field}")
    low, high = spec.get("minReplicas", 1), spec.get("maxReplicas", 0)
    scales_to_zero = any(m.get("type") in ("Object", "External") for m in spec.get("metrics") or ())
    floor = 0 if scales_to_zero else 1
    if low < floor:
        yield FieldError.bad("spec.minReplicas", low, f"must be greater than or equal to {floor}")
    if high < 1:
        yield FieldError.bad("spec.maxReplicas", high, "must be greater than 0")
    if high < low:
        yield FieldError.bad("spec.maxReplicas", high, "must be greater than or equal to `minReplicas`")
    for index, metric in enumerate(spec.get("metrics") or ()):
        yield from _metric(metric, f"spec.metrics[{index}]")
    behavior = spec.get("behavior") or {}
    for name in ("scaleUp", "scaleDown"):
        if behavior.get(name):
            yield from _scaling_rules(behavior[name], f"spec.behavior.{name}")


def _metric(metric: Object, path: str) -> Iterable[FieldError]:
    kind = metric.get("type", "")
    if kind not in _SOURCES:
        yield FieldError.unsupported(f"{path}.type", kind, sorted(_SOURCES))
        return
    field = _SOURCES[kind]
    source = metric.get(field)
    if not isinstance(source, dict):
        yield FieldError.required(f"{path}.{field}", "must populate information for the given metric source")
        return
    for other in _SOURCES.values():
        if other != field and metric.get(other) is not None:
            detail = "must populate the given metric source only"
            yield FieldError.forbidden(f"{path}.{other}", detail)
    here = f"{path}.{field}"
    if kind in ("Resource", "ContainerResource"):
        if not source.get("name"):
            yield FieldError.required(f"{here}.name", "must specify a resource name")
        if kind == "ContainerResource" and not source.get("container"):
            yield FieldError.required(f"{here}.container", "must specify a container")
    elif not (source.get("metric") or {}).get("name"):
        yield FieldError.required(f"{here}.metric.name", "must specify a metric name")
    if kind == "Object" and not (source.get("describedObject") or {}).get("name"):
        yield FieldError.required(f"{here}.describedObject.name")
    yield from _target(source.get("target") or {}, kind, f"{here}.target")


_TARGETS: Final = {
    "Resource": ("averageUtilization", "averageValue"),
    "ContainerResource": ("averageUtilization", "averageValue"),
    "Pods": ("averageValue",),
    "Object": ("value", "averageValue"),
    "External": ("value", "averageValue"),
}


def _target(target: Object, kind: str, path: str) -> Iterable[FieldError]:
    if not target.get("type"):
        yield FieldError.required(f"{path}.type", "must specify a metric target type")
    elif target["type"] not in ("Utilization", "Value", "AverageValue"):
        detail = "must be either Utilization, Value, or AverageValue"
        yield FieldError.bad(f"{path}.type", target["type"], detail)
    fields = _TARGETS[kind]
    given = [f for f in fields if target.get(f) is not None]
    if not given:
        wanted = " or ".join(fields)
        yield FieldError.required(f"{path}.{fields[0]}", f"must set either a target {wanted}")
    if kind in ("Resource", "ContainerResource", "External") and len(given) > 1:
        detail = f"may not set both a target {fields[0]} and a target {fields[1]}"
        yield FieldError.forbidden(f"{path}.{fields[1]}", detail)
    for field in ("value", "averageValue"):
        amount = target.get(field)
        if amount is None:
            continue
        try:
            positive = parse_quantity(amount).value > 0
        except InputError:
            positive = False
        if not positive:
            yield FieldError.bad(f"{path}.{field}", amount, "must be positive")
    percent = target.get("averageUtilization")
    if percent is not None and percent < 1:
        yield FieldError.bad(f"{path}.averageUtilization", percent, "must be greater than 0")


def _scaling_rules(rules: Object, path: str) -> Iterable[FieldError]:
    window = rules.get("stabilizationWindowSeconds")
    if window is not None and window < 0:
        yield FieldError.bad(
            f"{path}.stabilizationWindowSeconds", window, "must be greater than or equal to zero"
        )
    if window is not None and window > _WINDOW_SECONDS_MAX:
        detail = f"must be less than or equal to {_WINDOW_SECONDS_MAX}"
        yield FieldError.bad(f"{path}.stabilizationWindowSeconds", window, detail)
    if rules.get("selectPolicy", "Max") not in ("Max", "Min", "Disabled"):
        yield FieldError.unsupported(
            f"{path}.selectPolicy", rules["selectPolicy"], ["Disabled", "Max", "Min"]
        )
    if not rules.get("policies"):
        yield FieldError.required(f"{path}.policies", "must specify at least one Policy")
    for index, policy in enumerate(rules.get("policies") or ()):
        here = f"{path}.policies[{index}]"
        if policy.get("type") not in ("Pods", "Percent"):
            yield FieldError.unsupported(f"{here}.type", policy.get("type"), ["Percent", "Pods"])
        if policy.get("value", 0) <= 0:
            yield FieldError.bad(f"{here}.value", policy.get("value", 0), "must be greater than zero")
        period = policy.get("periodSeconds", 0)
        if period <= 0:
            yield FieldError.bad(f"{here}.periodSeconds", period, "must be greater than zero")
        elif period > _PERIOD_SECONDS_MAX:
            detail = f"must be less than or equal to {_PERIOD_SECONDS_MAX}"
            yield FieldError.bad(f"{here}.periodSeconds", period, detail)
    tolerance = rules.get("tolerance")
    if tolerance is not None:
        try:
            negative = parse_quantity(tolerance).value < 0
        except InputError:
            negative = True
        if negative:
            yield FieldError.bad(f"{path}.tolerance", tolerance, "must be greater or equal to zero")


# Conversion


def _is_cpu(metric: Any) -> bool:
    resource = metric.get("resource") or {}
    target = resource.get("target") or {}
    return bool(
        metric.get("type") == "Resource"
        and resource.get("name") == "cpu"
        and target.get("averageUtilization") is not None
    )


def from_v2(obj: Object) -> Object:
    """The v1 form: cpu utilisation in its own field, all else in annotations."""
    spec = dict(obj.get("spec") or {})
    status = dict(obj.get("status") or {})
    annotations = dict(obj["metadata"].get("annotations") or {})
    metrics = spec.pop("metrics", None) or []
    cpu = next((m for m in metrics if _is_cpu(m)), None)
    if cpu is not None:
        spec["targetCPUUtilizationPercentage"] = cpu["resource"]["target"]["averageUtilization"]
    if others := [m for m in metrics if m is not cpu]:
        annotations[_METRICS] = msgspec.json.encode(others).decode()
    if (behavior := spec.pop("behavior", None)) is not None:
        annotations[_BEHAVIOR] = msgspec.json.encode(behavior).decode()
    current = status.pop("currentMetrics", None) or []
    for metric in current:
        percent = ((metric.get("resource") or {}).get("current") or {}).get("averageUtilization")
        if (metric.get("resource") or {}).get("name") == "cpu" and percent is not None:
            status["currentCPUUtilizationPercentage"] = percent
    if current:
        annotations[_CURRENT] = msgspec.json.encode(current).decode()
    if conditions := status.pop("conditions", None):
        annotations[_CONDITIONS] = msgspec.json.encode(conditions).decode()
    metadata = {**obj["metadata"]}
    if annotations:
        metadata["annotations"] = annotations
    api_version = HORIZONTALPODAUTOSCALERS_V1.api_version
    result = {**obj, "apiVersion": api_version, "metadata": metadata, "spec": spec}
    if "status" in obj:
        result["status"] = status
    return result


def to_v2(obj: Object) -> Object:
    """The v2 form of a v1 object."""
    result: Object = copy(obj)
    result["apiVersion"] = HORIZONTALPODAUTOSCALERS.api_version
    annotations = result["metadata"].get("annotations") or {}
    spec = result.setdefault("spec", {})
    metrics: list[Object] = []
    percent = spec.pop("targetCPUUtilizationPercentage", None)
    if percent is not None:
        target = {"type": "Utilization", "averageUtilization": percent}
        metrics.append({"type": "Resource", "resource": {"name": "cpu", "target": target}})
    metrics += _decoded(annotations.pop(_METRICS, None), list)
    if metrics:
        spec["metrics"] = metrics
    if behavior := _decoded(annotations.pop(_BEHAVIOR, None), dict):
        spec["behavior"] = behavior
    status = result.get("status") or {}
    status.pop("currentCPUUtilizationPercentage", None)
    if current := _decoded(annotations.pop(_CURRENT, None), list):
        status["currentMetrics"] = current
    if conditions := _decoded(annotations.pop(_CONDITIONS, None), list):
        status["conditions"] = conditions
    if status:
        result["status"] = status
    if not annotations:
        result["metadata"].pop("annotations", None)
    return result


def _decoded(text: str | None, kind: Any) -> Any:
    """An annotation's JSON; nothing where it is not what it should be."""
    if not text:
        return kind()
    try:
        return msgspec.json.decode(text.encode(), type=kind)
    except msgspec.DecodeError:
        return kind()
