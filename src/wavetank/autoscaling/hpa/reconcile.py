"""The HPA's loop body: from what was read to a replica count, conditions and events.

Mirrors ``reconcileAutoscaler``. It is cut where upstream writes the scale: ``decide`` says what to write,
``conclude`` makes the status once it is known whether that succeeded. Neither does any input or output.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from wavetank.autoscaling.hpa.behavior import (
    Events,
    Log,
    Recommendation,
    clamp,
    limit_rate,
    stabilize,
    stabilize_with_behavior,
    store_event,
)
from wavetank.autoscaling.hpa.model import Hpa, Scale
from wavetank.autoscaling.hpa.options import HpaOptions
from wavetank.autoscaling.hpa.proposals import MetricResult, evaluate
from wavetank.autoscaling.hpa.replica_calculator import PodView
from wavetank.autoscaling.metrics import Reading
from wavetank.kube.times import format_time

__all__ = [
    "Conclusion",
    "Decision",
    "HpaEvent",
    "HpaState",
    "conclude",
    "decide",
    "fail_scale",
    "needs_metrics",
]


DEFAULTS = HpaOptions()


@dataclass(frozen=True, slots=True)
class HpaState:
    """What the controller remembers of one HPA between syncs; lost when the controller restarts.
    ``recommendations`` is None until the first sync has noted the size it found."""

    recommendations: Log | None = None
    ups: Events = ()
    downs: Events = ()

    def shifted(self, seconds: float) -> HpaState:
        """The same memory after the clock was set forward by ``seconds`` (back if negative)."""
        if self.recommendations is None:
            return self
        return HpaState(
            tuple(replace(entry, at=entry.at + seconds) for entry in self.recommendations),
            tuple(replace(event, at=event.at + seconds) for event in self.ups),
            tuple(replace(event, at=event.at + seconds) for event in self.downs),
        )


@dataclass(frozen=True, slots=True)
class HpaEvent:
    kind: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Decision:
    """``proposed`` is what the metrics want (None: not asked), ``desired`` what may be done about it now.
    ``why`` is the rescale reason; ``limited`` the condition reason that changed the proposal, or ""."""

    current: int
    desired: int
    rescale: bool
    conditions: tuple[Mapping[str, Any], ...]
    state: HpaState
    proposed: int | None = None
    stable: int | None = None
    """What stabilisation left of the proposal, before rate limits and bounds."""
    why: str = ""
    limited: str = ""
    results: tuple[MetricResult, ...] = ()
    metric_statuses: tuple[Mapping[str, Any], ...] = ()
    events: tuple[HpaEvent, ...] = ()
    error: str = ""
    error_label: str = "none"
    unusable: bool = False
    """No count could be computed: the old desired count stays in the status."""


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The end of one sync: the status to store, the events to send, the memory to keep, metric labels."""

    status: dict[str, Any]
    events: tuple[HpaEvent, ...]
    state: HpaState
    action: str
    error_label: str
    error: str = ""


@dataclass(slots=True)
class _Conditions:
    """The status' condition list while it is worked on; order is that of first mention, as upstream's."""

    now: float
    items: list[Mapping[str, Any]] = field(default_factory=list)
    generation: int | None = None
    """Of the HPA, where the emulated release writes it into each condition."""

    @classmethod
    def of(cls, now: float, hpa: Hpa, options: HpaOptions, items: Iterable[Mapping[str, Any]]) -> _Conditions:
        return cls(now, list(items), hpa.generation if options.observed_generation else None)

    def set(self, kind: str, status: bool, reason: str, message: str) -> None:
        text = "True" if status else "False"
        entry: dict[str, Any] = {
            "type": kind,
            "status": text,
            "lastTransitionTime": format_time(self.now),
            "reason": reason,
            "message": message,
        }
        if self.generation is not None:
            entry["observedGeneration"] = self.generation
        for index, old in enumerate(self.items):
            if old.get("type") == kind:
                if old.get("status") == text:
                    entry["lastTransitionTime"] = old.get("lastTransitionTime") or entry["lastTransitionTime"]
                self.items[index] = entry
                return
        self.items.append(entry)


def needs_metrics(hpa: Hpa, scale: Scale, options: HpaOptions) -> bool:
    """Whether this sync will look at metrics at all; where not, reading them would be wasted."""
    if _is_off(hpa, scale, options):
        return False
    if scale.spec_replicas == 0 and _scaled_to_zero(hpa, options):
        return True
    return hpa.min_replicas <= scale.spec_replicas <= hpa.max_replicas


def _scaled_to_zero(hpa: Hpa, options: HpaOptions) -> bool:
    conditions = hpa.status.get("conditions") or ()
    return options.scaled_to_zero_condition and any(
        c.get("type") == "ScaledToZero" and c.get("status") == "True" for c in conditions
    )


def _is_off(hpa: Hpa, scale: Scale, options: HpaOptions) -> bool:
    """A target at zero is left alone, unless the HPA is allowed zero itself.

    From 1.36 a target is only taken back up if it was the HPA that put it to zero, so that
    ``kubectl scale --replicas=0`` lasts.
    """
    if scale.spec_replicas != 0:
        return False
    if not options.scaled_to_zero_condition:
        return hpa.min_replicas != 0
    if not _scaled_to_zero(hpa, options):
        return True
    return hpa.min_replicas == 0 and not hpa.from_outside


def fail_scale(
    now: float, hpa: Hpa, state: HpaState, error: str, options: HpaOptions = DEFAULTS
) -> Conclusion:
    """The sync ended at reading the scale subresource."""
    conditions = _Conditions.of(now, hpa, options, hpa.status.get("conditions") or ())
    conditions.set(
        "AbleToScale",
        False,
        "FailedGetScale",
        f"the HPA controller was unable to get the target's current scale: {error}",
    )
    status = {**hpa.status, "conditions": conditions.items}
    event = HpaEvent("Warning", "FailedGetScale", error)
    text = f"failed to query scale subresource for {hpa.reference}: {error}"
    return Conclusion(status, (event,), state, "none", "internal", text)


def decide(
    now: float,
    hpa: Hpa,
    scale: Scale,
    pods: Sequence[PodView],
    readings: Sequence[Reading],
    state: HpaState,
    options: HpaOptions,
    *,
    selector_problem: tuple[str, str, str] | None = None,
) -> Decision:
    """What to do now. ``readings`` runs parallel to ``hpa.metrics`` and may be empty where
    ``needs_metrics`` says no. ``selector_problem`` is (condition reason, event reason, message) of a selector
    that is missing, malformed or shared with another HPA."""
    current = scale.spec_replicas
    conditions = _Conditions.of(now, hpa, options, hpa.status.get("conditions") or ())
    conditions.set(
        "AbleToScale",
        True,
        "SucceededGetScale",
        "the HPA controller was able to get the target's current scale",
    )
    if state.recommendations is None:
        state = replace(state, recommendations=(Recommendation(current, now),))

    if _is_off(hpa, scale, options):
        conditions.set(
            "ScalingActive",
            False,
            "ScalingDisabled",
            "scaling is disabled since the replica count of the target is zero",
        )
        return Decision(current, 0, False, tuple(conditions.items), state)
    if not needs_metrics(hpa, scale, options):
        above = current > hpa.max_replicas
        bound = hpa.max_replicas if above else hpa.min_replicas
        why = "Current number of replicas " + (
            "above Spec.MaxReplicas" if above else "below Spec.MinReplicas"
        )
        return Decision(current, bound, True, tuple(conditions.items), state, why=why)
    if selector_problem is not None:
        return _bad_selector(current, hpa, conditions, state, selector_problem)
    results = evaluate(now, hpa, scale, pods, readings, options)
    return _follow(now, hpa, scale, results, conditions, state, options)


def _bad_selector(
    current: int, hpa: Hpa, conditions: _Conditions, state: HpaState, problem: tuple[str, str, str]
) -> Decision:
    condition_reason, event_reason, message = problem
    shown = "the HPA target's scale is missing a selector" if event_reason == "SelectorRequired" else message
    conditions.set("ScalingActive", False, condition_reason, shown)
    return _unusable(current, conditions, state, (), (HpaEvent("Warning", event_reason, message),), message)


def _unusable(
    current: int,
    conditions: _Conditions,
    state: HpaState,
    results: tuple[MetricResult, ...],
    events: tuple[HpaEvent, ...],
    error: str,
) -> Decision:
    return Decision(
        current,
        current,
        False,
        tuple(conditions.items),
        state,
        results=results,
        metric_statuses=tuple(result.status for result in results),
        events=(*events, HpaEvent("Warning", "FailedComputeMetricsReplicas", error)),
        error=error,
        error_label="internal",
        unusable=True,
    )


def _follow(
    now: float,
    hpa: Hpa,
    scale: Scale,
    results: list[MetricResult],
    conditions: _Conditions,
    state: HpaState,
    options: HpaOptions,
) -> Decision:
    """Take the highest proposal; where some metrics failed, only if it does not scale down."""
    failed = [result for result in results if result.error]
    events = tuple(HpaEvent("Warning", result.reason, result.inner) for result in failed)
    error = ""
    if failed:
        error = (
            f"invalid metrics ({len(failed)} invalid out of {len(results)}), "
            f"first error is: {failed[0].error}"
        )
    proposed, label = 0, ""
    for result in results:
        if result.proposal is not None and (proposed == 0 or result.proposal.replicas > proposed):
            proposed, label = result.proposal.replicas, result.label
    if len(failed) >= len(results) or (failed and proposed < scale.spec_replicas):
        first = failed[0] if failed else None
        if first is not None:
            message = f"the HPA was unable to compute the replica count: {first.inner}"
            conditions.set("ScalingActive", False, first.reason, message)
        return _unusable(scale.spec_replicas, conditions, state, tuple(results), events, error)
    conditions.set(
        "ScalingActive",
        True,
        "ValidMetricFound",
        f"the HPA was able to successfully calculate a replica count from {label}",
    )
    current = scale.spec_replicas
    why = ""
    if proposed > current:
        why = f"{label} above target"
    elif proposed < current:
        why = "All metrics below target"
    desired, stable, limited, state = _normalize(now, hpa, current, proposed, conditions, state, options)
    return Decision(
        current,
        desired,
        desired != current,
        tuple(conditions.items),
        state,
        proposed=proposed,
        stable=stable,
        why=why,
        limited=limited,
        results=tuple(results),
        metric_statuses=tuple(result.status for result in results),
        events=events,
        error=error,
        error_label="internal" if error else "none",
    )


def _normalize(
    now: float,
    hpa: Hpa,
    current: int,
    proposed: int,
    conditions: _Conditions,
    state: HpaState,
    options: HpaOptions,
) -> tuple[int, int, str, HpaState]:
    """Stabilise and bound a proposal; (replicas, what they were when stabilised, the reason that changed the
    proposal or "", memory)."""
    log = state.recommendations or ()
    behavior = hpa.behavior
    held = ("ReadyForNewScale", "recommended size matches current size")
    if behavior is None:
        stable, log = stabilize(now, log, proposed, options.downscale_stabilization)
        if stable != proposed:
            held = (
                "ScaleDownStabilized",
                "recent recommendations were higher than current one, applying the highest recent "
                "recommendation",
            )
        bounded = clamp(
            current,
            stable,
            hpa.min_replicas,
            hpa.max_replicas,
            factor=options.scale_up_factor,
            minimum=options.scale_up_minimum,
        )
    else:
        down = behavior.down.window
        window = options.downscale_stabilization if down is None else down
        found, log = stabilize_with_behavior(now, log, current, proposed, behavior.up.window or 0, window)
        stable = found.replicas
        if stable != proposed:
            held = (found.reason, found.message)
        bounded = limit_rate(
            now, current, stable, hpa.min_replicas, hpa.max_replicas, behavior, state.ups, state.downs
        )
    conditions.set("AbleToScale", True, *held)
    conditions.set("ScalingLimited", bounded.replicas != stable, bounded.reason, bounded.message)
    limited = held[0] if stable != proposed else ""
    if bounded.replicas != stable:
        limited = bounded.reason
    return bounded.replicas, stable, limited, replace(state, recommendations=log)


def conclude(
    now: float, hpa: Hpa, decision: Decision, options: HpaOptions, update_error: str | None = None
) -> Conclusion:
    """The sync's outcome; ``update_error`` says why the scale could not be written, if it could not."""
    conditions = _Conditions.of(now, hpa, options, decision.conditions)
    if decision.unusable:
        text = (
            "failed to compute desired number of replicas based on listed metrics for "
            f"{hpa.reference}: {decision.error}"
        )
        status = _status(hpa, decision, conditions, desired=None)
        return Conclusion(status, decision.events, decision.state, "none", "internal", text)
    if not decision.rescale:
        status = _status(hpa, decision, conditions, desired=decision.current)
        return Conclusion(
            status, decision.events, decision.state, "none", decision.error_label, decision.error
        )
    size = f"New size: {decision.desired}; reason: {decision.why}"
    if update_error is not None:
        conditions.set(
            "AbleToScale",
            False,
            "FailedUpdateScale",
            f"the HPA controller was unable to update the target scale: {update_error}",
        )
        event = HpaEvent("Warning", "FailedRescale", f"{size}; error: {update_error}")
        text = f"failed to rescale {hpa.reference}: {update_error}"
        status = _status(hpa, decision, conditions, desired=None)
        return Conclusion(status, (*decision.events, event), decision.state, "none", "internal", text)
    conditions.set(
        "AbleToScale",
        True,
        "SucceededRescale",
        f"the HPA controller was able to update the target scale to {decision.desired}",
    )
    if options.scaled_to_zero_condition:
        _note_zero(hpa, decision, conditions)
    status = _status(hpa, decision, conditions, desired=decision.desired)
    status["lastScaleTime"] = format_time(now)
    action = "scale_up" if decision.desired > decision.current else "scale_down"
    return Conclusion(
        status,
        (*decision.events, HpaEvent("Normal", "SuccessfulRescale", size)),
        _remember(now, hpa, decision),
        action,
        decision.error_label,
        decision.error,
    )


def _note_zero(hpa: Hpa, decision: Decision, conditions: _Conditions) -> None:
    to_zero = decision.desired == 0 and decision.current > 0 and hpa.min_replicas == 0 and hpa.from_outside
    if to_zero:
        conditions.set("ScaledToZero", True, "ScaledToZero", "the HPA controller scaled the workload to zero")
    else:
        conditions.set(
            "ScaledToZero",
            False,
            "NotScaledToZero",
            "the HPA controller did not scale the workload to zero",
        )


def _remember(now: float, hpa: Hpa, decision: Decision) -> HpaState:
    """Events count towards rate policies, so they are kept only where there are any."""
    if hpa.behavior is None:
        return decision.state
    change = decision.desired - decision.current
    if change > 0:
        return replace(decision.state, ups=store_event(now, decision.state.ups, change, hpa.behavior.up))
    return replace(decision.state, downs=store_event(now, decision.state.downs, -change, hpa.behavior.down))


def _status(hpa: Hpa, decision: Decision, conditions: _Conditions, desired: int | None) -> dict[str, Any]:
    """``desired`` None keeps the old desired count. ``currentReplicas`` is the size this sync began with."""
    kept = int(hpa.status.get("desiredReplicas") or 0) if desired is None else desired
    status: dict[str, Any] = {
        "currentReplicas": decision.current,
        "desiredReplicas": kept,
        "currentMetrics": [*decision.metric_statuses] or None,
        "conditions": conditions.items,
    }
    if hpa.status.get("lastScaleTime"):
        status["lastScaleTime"] = hpa.status["lastScaleTime"]
    return status
