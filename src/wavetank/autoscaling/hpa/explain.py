"""Why an HPA decided what it did: the inputs, each pod's part, and the rule that had the last word.

``explain`` turns one decision and what it was made from into values and sentences. It decides nothing: every
number comes from the decision itself or from the functions that made it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec import Struct

from wavetank.autoscaling.hpa.behavior import Policy, ScalingRules, scale_down_limit, scale_up_limit
from wavetank.autoscaling.hpa.model import Hpa, MetricSpec, Scale
from wavetank.autoscaling.hpa.options import HpaOptions
from wavetank.autoscaling.hpa.proposals import MetricResult, tolerances_of
from wavetank.autoscaling.hpa.reconcile import Decision, HpaState
from wavetank.autoscaling.hpa.replica_calculator import (
    CalculationError,
    PodView,
    Readiness,
    calculate_requests,
    group_pods,
)
from wavetank.autoscaling.metrics import Reading
from wavetank.kube.quantity import format_milli

__all__ = ["DecisionInputs", "Explanation", "MetricExplanation", "PodExplanation", "explain"]

_BOUND = {
    "ScaleUpStabilized": "stabilization",
    "ScaleDownStabilized": "stabilization",
    "ScaleUpLimit": "rate limit",
    "ScaleDownLimit": "rate limit",
    "TooManyReplicas": "maxReplicas",
    "TooFewReplicas": "minReplicas",
}


@dataclass(frozen=True, slots=True)
class DecisionInputs:
    """All that one sync worked with; ``state`` as it was before the decision."""

    now: float
    hpa: Hpa
    scale: Scale
    pods: Sequence[PodView]
    readings: Sequence[Reading]
    state: HpaState
    decision: Decision


class PodExplanation(Struct, omit_defaults=True):
    """``group`` is ready, unready, missing, ignored, or foreign (measured, but not among the target's pods).
    ``value`` and ``request`` are quantities."""

    name: str
    group: str
    why: str = ""
    value: str | None = None
    request: str | None = None
    utilization: int | None = None
    sample_age_seconds: float | None = None


class MetricExplanation(Struct, omit_defaults=True):
    """``value`` and ``target`` are in percent for Utilization, else in the metric's unit; ``ratio`` is
    theirs, ``tolerance`` the ratios between which nothing changes; ``rule`` as in
    ``replica_calculator.Basis``."""

    kind: str
    name: str
    value: float | None = None
    target: float | None = None
    ratio: float | None = None
    tolerance: tuple[float, float] | None = None
    rule: str = ""
    counted_ratio: float | None = None
    counted_pods: int | None = None
    replicas: int | None = None
    decisive: bool = False
    error: str = ""
    pods: list[PodExplanation] = []


class Explanation(Struct, omit_defaults=True):
    """One decision. ``bound_by`` says which rule had the last word: metrics, tolerance, stabilization, rate
    limit, maxReplicas, minReplicas, disabled or unusable. ``recommendations`` are (age in seconds, replicas).
    ``recomputed`` marks one that was not made by the controller itself, but from what the API shows."""

    hpa: str
    target: str
    at: float
    current: int
    desired: int
    bound_by: str
    lines: list[str]
    proposed: int | None = None
    stable: int | None = None
    rescaled: bool = False
    reason: str = ""
    condition: str = ""
    min_replicas: int = 1
    max_replicas: int = 0
    metrics: list[MetricExplanation] = []
    recommendations: list[tuple[float, int]] = []
    up_limit: int | None = None
    down_limit: int | None = None
    recomputed: bool = False


def explain(inputs: DecisionInputs, options: HpaOptions, *, recomputed: bool = False) -> Explanation:
    """The decision as data, and in words (``lines``)."""
    hpa, decision, now = inputs.hpa, inputs.decision, inputs.now
    metrics = _metrics(inputs, options)
    found = Explanation(
        hpa=hpa.key,
        target=f"{hpa.target.get('kind', '')}/{hpa.target.get('name', '')}",
        at=now,
        current=decision.current,
        desired=decision.desired,
        bound_by=_bound_by(decision, metrics),
        lines=[],
        proposed=decision.proposed,
        stable=decision.stable,
        rescaled=decision.rescale,
        reason=decision.why or decision.error,
        condition=decision.limited,
        min_replicas=hpa.min_replicas,
        max_replicas=hpa.max_replicas,
        metrics=metrics,
        recommendations=[(now - r.at, r.replicas) for r in inputs.state.recommendations or ()],
        recomputed=recomputed,
    )
    found.up_limit, found.down_limit = _limits(inputs, options)
    found.lines = list(_told(found, inputs, options))
    return found


def _bound_by(decision: Decision, metrics: Sequence[MetricExplanation]) -> str:
    if decision.unusable:
        return "unusable"
    if decision.proposed is None:
        if not decision.rescale:
            return "disabled"
        return "maxReplicas" if decision.desired < decision.current else "minReplicas"
    if decision.limited:
        return _BOUND.get(decision.limited, decision.limited)
    held = all(m.rule in ("tolerance", "filled-tolerance") for m in metrics if m.replicas is not None)
    return "tolerance" if held and metrics else "metrics"


def _limits(inputs: DecisionInputs, options: HpaOptions) -> tuple[int | None, int | None]:
    """(most, fewest) replicas that rate limits allow from the current size."""
    current, behavior, state = inputs.decision.current, inputs.hpa.behavior, inputs.state
    if inputs.decision.proposed is None:
        return None, None
    if behavior is None:
        return int(max(options.scale_up_factor * current, options.scale_up_minimum)), None
    up = max(current, scale_up_limit(inputs.now, current, state.ups, state.downs, behavior.up))
    down = min(current, scale_down_limit(inputs.now, current, state.ups, state.downs, behavior.down))
    return up, max(0, down)


def _metrics(inputs: DecisionInputs, options: HpaOptions) -> list[MetricExplanation]:
    tolerances = tolerances_of(inputs.hpa, options)
    band = (round(1 - tolerances.down, 6), round(1 + tolerances.up, 6))
    best = inputs.decision.proposed
    found: list[MetricExplanation] = []
    for metric, reading, result in zip(
        inputs.hpa.metrics, inputs.readings, inputs.decision.results, strict=False
    ):
        one = _metric(metric, result, band)
        one.decisive = best is not None and one.replicas == best and not any(m.decisive for m in found)
        if metric.kind in ("Resource", "ContainerResource", "Pods"):
            one.pods = _pods(inputs, metric, reading, options)
        found.append(one)
    return found


def _metric(metric: MetricSpec, result: MetricResult, band: tuple[float, float]) -> MetricExplanation:
    name = result.label or f"{metric.name} ({metric.kind})"
    if result.proposal is None:
        return MetricExplanation(metric.kind, name, error=result.error or "not computed")
    basis = result.proposal.basis
    return MetricExplanation(
        metric.kind,
        name,
        value=result.value,
        target=result.target,
        ratio=_finite(result.proposal.ratio),
        tolerance=band,
        rule=basis.rule if basis else "",
        counted_ratio=_finite(basis.ratio) if basis else None,
        counted_pods=basis.pods if basis else None,
        replicas=result.proposal.replicas,
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _pods(
    inputs: DecisionInputs, metric: MetricSpec, reading: Reading, options: HpaOptions
) -> list[PodExplanation]:
    readiness = Readiness(options.cpu_initialization_period, options.initial_readiness_delay)
    groups = group_pods(inputs.now, inputs.pods, reading.pods, metric.resource, readiness)
    requests = _requests(inputs.pods, metric, options)
    known = {pod.name for pod in inputs.pods}
    found = []
    for pod in inputs.pods:
        sample = reading.pods.get(pod.name)
        group = "ready"
        for name, members in (
            ("ignored", groups.ignored), ("unready", groups.unready), ("missing", groups.missing),
        ):  # fmt: skip
            group = name if pod.name in members else group
        request = requests.get(pod.name)
        one = PodExplanation(pod.name, group, _why(inputs.now, pod, group, readiness))
        if sample is not None:
            one.value = format_milli(sample.value)
            one.sample_age_seconds = round(inputs.now - (sample.exact or sample.timestamp), 3)
        if request:
            one.request = format_milli(request)
            one.utilization = None if sample is None else sample.value * 100 // request
        found.append(one)
    for name, sample in reading.pods.items():
        if name not in known:
            why = "measured, but not among the pods that the target's selector picks"
            found.append(PodExplanation(name, "foreign", why, format_milli(sample.value)))
    return found


def _requests(pods: Sequence[PodView], metric: MetricSpec, options: HpaOptions) -> dict[str, int]:
    if metric.average_utilization is None:
        return {}
    try:
        return calculate_requests(pods, metric.container, metric.name, pod_level=options.pod_level_resources)
    except CalculationError:
        return {}


def _why(now: float, pod: PodView, group: str, readiness: Readiness) -> str:
    match group:
        case "ignored":
            return "is being deleted" if pod.deleting else "has failed"
        case "missing":
            return "has no sample"
        case "unready" if pod.phase == "Pending":
            return "is Pending"
        case "unready" if pod.ready is None or pod.start_time is None:
            return "has no start time or Ready condition yet"
        case "unready" if not pod.ready:
            return "is not ready, so its CPU does not count"
        case "unready":
            left = (pod.start_time or now) + readiness.cpu_initialization_period - now
            return (
                "was sampled before it had been ready for a whole window, within the CPU initialization "
                f"period (another {left:.0f} s)"
            )
    return ""


# --- in words


def _told(found: Explanation, inputs: DecisionInputs, options: HpaOptions) -> list[str]:
    decision = inputs.decision
    lines = []
    if decision.proposed is None and not decision.unusable:
        lines.append(_unmeasured(found, decision))
    for metric in found.metrics:
        lines += _told_metric(metric)
    if decision.unusable:
        lines.append(f"no replica count could be computed, so {found.current} stay: {decision.error}")
        return lines
    if decision.proposed is not None:
        lines += _told_bounds(found, inputs, options)
    verb = "stays at" if found.desired == found.current else f"goes from {found.current} to"
    lines.append(f"{found.target} {verb} {found.desired}; decided by: {found.bound_by}")
    return lines


def _unmeasured(found: Explanation, decision: Decision) -> str:
    if not decision.rescale:
        return "the target has 0 replicas, which the HPA takes for switched off; metrics are not read"
    return f"{decision.why} ({found.min_replicas} to {found.max_replicas}); metrics are not read"


def _told_metric(metric: MetricExplanation) -> list[str]:
    if metric.error:
        return [f"{metric.name}: {metric.error}"]
    shown = f"{metric.name}: {_number(metric.value)} against a target of {_number(metric.target)}"
    if metric.ratio is not None:
        shown += f", ratio {metric.ratio:.3f}"
    counts = {
        group: sum(1 for pod in metric.pods if pod.group == group)
        for group in ("ready", "unready", "missing", "ignored", "foreign")
    }
    lines = [f"{shown}; wants {metric.replicas}: {_rule(metric, counts)}"]
    odd = [pod for pod in metric.pods if pod.group != "ready"]
    lines += [f"  {pod.name} {pod.group}: {pod.why}" for pod in odd[:10]]
    if len(odd) > 10:
        lines.append(f"  and {len(odd) - 10} more pods")
    return lines


def _rule(metric: MetricExplanation, counts: dict[str, int]) -> str:
    band = metric.tolerance or (0.9, 1.1)
    ratio, pods = metric.counted_ratio, metric.counted_pods or 0
    ratio_shown = "infinite" if ratio is None else f"{ratio:.3f}"
    absent = ", ".join(f"{counts[g]} {g}" for g in ("unready", "missing") if counts[g])
    filled = f"with {absent} filled in the ratio is {ratio_shown} over {pods} pods"
    match metric.rule:
        case "tolerance":
            return f"within the tolerance of {band[0]:g} to {band[1]:g}"
        case "ratio":
            return f"ceil({ratio_shown} x {pods} ready pods)"
        case "value":
            return "the whole divided by the target, rounded up"
        case "filled":
            return f"{filled}, ceil({ratio_shown} x {pods})"
        case "filled-tolerance":
            return f"{filled}, within the tolerance of {band[0]:g} to {band[1]:g}"
        case "flipped":
            return f"{filled}, which would turn the direction, so nothing changes"
        case "surplus":
            return f"{filled}, more pods than the target has, so nothing changes"
    return metric.rule


def _told_bounds(found: Explanation, inputs: DecisionInputs, options: HpaOptions) -> list[str]:
    hpa, decision = inputs.hpa, inputs.decision
    lines: list[str] = []
    if decision.stable is not None and decision.stable != decision.proposed:
        down = hpa.behavior.down.window if hpa.behavior else None
        window = options.downscale_stabilization if down is None else float(down)
        if decision.limited == "ScaleUpStabilized" and hpa.behavior:
            window = float(hpa.behavior.up.window or 0)
        kept = [f"{replicas} ({age:.0f} s ago)" for age, replicas in found.recommendations if age <= window]
        recent = f": {', '.join(kept[-6:])}" if kept else ""
        lines.append(
            f"stabilisation over {window:.0f} s makes {decision.proposed} into {decision.stable}{recent}"
        )
    rules = _direction(found, inputs)
    if found.bound_by == "rate limit":
        limit = found.up_limit if found.desired >= found.current else found.down_limit
        lines.append(f"the rate limit allows {limit} now: {rules}")
    elif found.bound_by in ("maxReplicas", "minReplicas"):
        bound = found.max_replicas if found.bound_by == "maxReplicas" else found.min_replicas
        lines.append(f"{found.bound_by} is {bound}")
    return lines


def _direction(found: Explanation, inputs: DecisionInputs) -> str:
    behavior = inputs.hpa.behavior
    if behavior is None:
        return "without behavior at most twice the current size, or 4"
    up = (found.stable or 0) > found.current
    return _policies(behavior.up if up else behavior.down)


def _policies(rules: ScalingRules) -> str:
    if rules.select == "Disabled":
        return "selectPolicy is Disabled"
    shown = [_policy(policy) for policy in rules.policies]
    return f"{rules.select} of {', '.join(shown)}" if len(shown) > 1 else "".join(shown)


def _policy(policy: Policy) -> str:
    unit = "pods" if policy.kind == "Pods" else "%"
    return f"{policy.value} {unit} per {policy.period} s"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"
