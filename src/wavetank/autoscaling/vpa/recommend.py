"""The recommendation of one VPA: estimates under its resource policy, as the status has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wavetank.autoscaling.vpa.estimator import Amounts, EstimatorOptions, bounds
from wavetank.autoscaling.vpa.usage import Usage
from wavetank.errors import InputError
from wavetank.kube.client import Object
from wavetank.kube.quantity import format_milli, milli, whole
from wavetank.kube.times import format_time

__all__ = ["policy_of", "read_amounts", "recommend", "vpa_status", "write_amounts"]


def policy_of(vpa: Object, container: str) -> Mapping[str, Any]:
    """The container's own policy, else that of "*", else an empty one."""
    policies = ((vpa.get("spec") or {}).get("resourcePolicy") or {}).get("containerPolicies") or ()
    named = {p.get("containerName"): p for p in policies}
    return named.get(container) or named.get("*") or {}


def read_amounts(quantities: Mapping[str, Any] | None) -> dict[str, int]:
    """Quantities as amounts: cpu in millicores, memory in bytes. What is no quantity is left out."""
    found: dict[str, int] = {}
    for resource, quantity in (quantities or {}).items():
        try:
            if resource == "cpu":
                found[resource] = milli(quantity)
            elif resource == "memory":
                found[resource] = whole(quantity)
        except InputError:
            continue
    return found


def write_amounts(amounts: Amounts) -> dict[str, str]:
    """Amounts as the recommender prints them: 25m, 262144000."""
    return {
        resource: format_milli(value) if resource == "cpu" else str(value)
        for resource, value in amounts.items()
    }


def recommend(
    vpa: Object,
    usages: Mapping[str, Usage],
    options: EstimatorOptions = EstimatorOptions(),  # noqa: B008
) -> list[dict[str, Any]]:
    """``containerRecommendations``, by container name. Containers whose policy is Off are left out."""
    wanted = {n: u for n, u in sorted(usages.items()) if policy_of(vpa, n).get("mode") != "Off"}
    result = []
    for name, usage in wanted.items():
        policy = policy_of(vpa, name)
        controlled = tuple(policy.get("controlledResources") or ("cpu", "memory"))
        found = bounds(usage, len(usages), options, controlled)
        low, high = read_amounts(policy.get("minAllowed")), read_amounts(policy.get("maxAllowed"))
        result.append(
            {
                "containerName": name,
                "target": write_amounts(_clamp(found.target, low, high)),
                "lowerBound": write_amounts(_clamp(found.lower, low, high)),
                "upperBound": write_amounts(_clamp(found.upper, low, high)),
                "uncappedTarget": write_amounts(found.target),
            }
        )
    return result


def _clamp(given: Amounts, low: Amounts, high: Amounts) -> dict[str, int]:
    return {r: max(low.get(r, 0), min(v, high.get(r, v))) for r, v in given.items()}


def vpa_status(
    now: float,
    vpa: Object,
    recommendations: Sequence[Mapping[str, Any]],
    *,
    pods_matched: bool,
    trusted: bool,
    problem: str = "",
) -> dict[str, Any]:
    """``status`` with its conditions. ``trusted`` is whether the history is long enough for confidence;
    ``problem`` why the target cannot be followed."""
    old = {c["type"]: c for c in (vpa.get("status") or {}).get("conditions") or ()}
    states: list[tuple[str, bool, str, str]] = []
    if not pods_matched:
        reason, text = "NoPodsMatched", "No pods match this VPA object"
        states.append(("NoPodsMatched", True, reason, text))
        states.append(("RecommendationProvided", bool(recommendations), reason, text))
    else:
        states.append(("RecommendationProvided", bool(recommendations), "", ""))
    if recommendations and not trusted:
        states.append(("LowConfidence", True, "", ""))
    if problem:
        states.append(("ConfigUnsupported", True, "", problem))
    conditions = []
    for kind, holds, reason, text in states:
        shown = "True" if holds else "False"
        before = old.get(kind)
        same = before is not None and before.get("status") == shown
        since = before["lastTransitionTime"] if same and before else format_time(now)
        told = {key: value for key, value in (("reason", reason), ("message", text)) if value}
        conditions.append({"type": kind, "status": shown, "lastTransitionTime": since, **told})
    status: dict[str, Any] = {"conditions": conditions}
    if recommendations:
        status["recommendation"] = {"containerRecommendations": list(recommendations)}
    return status
