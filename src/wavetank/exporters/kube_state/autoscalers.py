"""Horizontal and vertical pod autoscalers, disruption budgets."""

from __future__ import annotations

from wavetank.exporters.families import Families
from wavetank.exporters.kube_state.common import (
    UNITS,
    Labels,
    Object,
    conditions,
    created,
    identity,
    label_metric,
    meta_of,
    number,
    spec_of,
    status_of,
    times,
)
from wavetank.exporters.quantity import quantity

__all__ = ["disruption_budget", "horizontal", "vertical"]


def horizontal(found: Families, hpa: Object) -> None:
    prefix = "kube_horizontalpodautoscaler"
    who, spec, status = identity(hpa, "horizontalpodautoscaler"), spec_of(hpa), status_of(hpa)
    target = spec.get("scaleTargetRef") or {}
    found.gauge(
        f"{prefix}_info",
        {
            **who,
            "scaletargetref_api_version": str(target.get("apiVersion") or ""),
            "scaletargetref_kind": str(target.get("kind") or ""),
            "scaletargetref_name": str(target.get("name") or ""),
        },
        1,
    )
    created(found, f"{prefix}_created", hpa, who)
    label_metric(found, f"{prefix}_labels", hpa, who)
    number(found, f"{prefix}_metadata_generation", who, meta_of(hpa).get("generation"))
    number(found, f"{prefix}_spec_min_replicas", who, spec.get("minReplicas", 1))
    number(found, f"{prefix}_spec_max_replicas", who, spec.get("maxReplicas"))
    for direction in ("scaleUp", "scaleDown"):
        tolerance = ((spec.get("behavior") or {}).get(direction) or {}).get("tolerance")
        if tolerance is not None:
            name = f"{prefix}_spec_behavior_scale_{direction.removeprefix('scale').lower()}_tolerance"
            found.gauge(name, who, quantity(tolerance))
    for metric in spec.get("metrics") or []:
        _target_metric(found, f"{prefix}_spec_target_metric", metric, "target", who)
    for metric in status.get("currentMetrics") or []:
        _target_metric(found, f"{prefix}_status_target_metric", metric, "current", who)
    number(found, f"{prefix}_status_current_replicas", who, status.get("currentReplicas", 0))
    number(found, f"{prefix}_status_desired_replicas", who, status.get("desiredReplicas", 0))
    conditions(found, f"{prefix}_status_condition", hpa, who)


def _target_metric(found: Families, name: str, metric: Object, side: str, who: Labels) -> None:
    """A metric's target or current values; each kind of value is a series."""
    kind = str(metric.get("type") or "")
    source = metric.get(kind[:1].lower() + kind[1:]) or {}
    metric_name = str(source.get("name") or (source.get("metric") or {}).get("name") or "")
    values = source.get(side) or {}
    for key, target_type in (
        ("value", "value"),
        ("averageValue", "average"),
        ("averageUtilization", "utilization"),
    ):
        if values.get(key) is not None:
            labels = {**who, "metric_name": metric_name, "metric_target_type": target_type}
            found.gauge(name, labels, quantity(values[key]))


def vertical(found: Families, item: Object) -> None:
    """Under the names that the custom resource configuration of kubernetes-autoscaling-mixin gives."""
    prefix = "kube_customresource_verticalpodautoscaler"
    labels, spec = identity(item, "verticalpodautoscaler"), spec_of(item)
    target = spec.get("targetRef") or {}
    who = {
        **labels,
        "target_api_version": str(target.get("apiVersion") or ""),
        "target_kind": str(target.get("kind") or ""),
        "target_name": str(target.get("name") or ""),
    }
    label_metric(found, f"{prefix}_labels", item, who)
    mode = (spec.get("updatePolicy") or {}).get("updateMode")
    if mode:
        found.gauge(f"{prefix}_spec_updatepolicy_updatemode", {**who, "update_mode": str(mode)}, 1)
    recommendation = status_of(item).get("recommendation") or {}
    for container in recommendation.get("containerRecommendations") or []:
        own = {**who, "container": str(container.get("containerName") or "")}
        for key, name in (
            ("lowerBound", "lowerbound"),
            ("target", "target"),
            ("uncappedTarget", "uncappedtarget"),
            ("upperBound", "upperbound"),
        ):
            for resource, amount in (container.get(key) or {}).items():
                named = {**own, "resource": resource, "unit": UNITS.get(resource, "integer")}
                family = f"{prefix}_status_recommendation_containerrecommendations_{name}"
                found.gauge(family, named, quantity(amount))


def disruption_budget(found: Families, item: Object) -> None:
    labels, status = identity(item, "poddisruptionbudget"), status_of(item)
    times(found, "kube_poddisruptionbudget", item, labels)
    label_metric(found, "kube_poddisruptionbudget_labels", item, labels)
    for name, key in (
        ("current_healthy", "currentHealthy"),
        ("desired_healthy", "desiredHealthy"),
        ("pod_disruptions_allowed", "disruptionsAllowed"),
        ("expected_pods", "expectedPods"),
        ("observed_generation", "observedGeneration"),
    ):
        found.gauge(f"kube_poddisruptionbudget_status_{name}", labels, float(status.get(key) or 0))
