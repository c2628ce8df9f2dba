"""One look at an HPA in any cluster, through its API alone: all that a decision needs.

The controller keeps informers; this is for those who look from outside (``explain``, ``shadow``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from wavetank.autoscaling.hpa.behavior import Recommendation
from wavetank.autoscaling.hpa.explain import DecisionInputs
from wavetank.autoscaling.hpa.model import Hpa, Scale, parse_hpa, parse_pod, parse_scale
from wavetank.autoscaling.hpa.options import HpaOptions
from wavetank.autoscaling.hpa.readings import discover_scale_resource, read_metric
from wavetank.autoscaling.hpa.reconcile import HpaState, decide, needs_metrics
from wavetank.autoscaling.hpa.replica_calculator import PodView
from wavetank.autoscaling.metrics import MetricsClient, Reading
from wavetank.errors import InputError
from wavetank.kube.client import ApiError, Client, Object
from wavetank.kube.resources import HORIZONTALPODAUTOSCALERS, PODS
from wavetank.kube.times import parse_time

__all__ = ["Observation", "decide_on", "get_hpa", "guess_state", "observe"]


@dataclass(frozen=True, slots=True)
class Observation:
    """``problem`` is why the selector cannot be used, as ``decide`` takes it."""

    hpa: Hpa
    scale: Scale
    pods: tuple[PodView, ...]
    readings: tuple[Reading, ...]
    problem: tuple[str, str, str] | None = None


async def get_hpa(client: Client, namespace: str, name: str) -> Object:
    """The HPA's object. Raises InputError where there is none or it cannot be read."""
    try:
        return await client.get(HORIZONTALPODAUTOSCALERS, name, namespace)
    except ApiError as error:
        fix = "see: kubectl get hpa -A" if error.code == 404 else None
        raise InputError(f"HPA {namespace}/{name}: {error.message}", fix=fix) from None


async def observe(
    client: Client,
    metrics: MetricsClient,
    obj: Object,
    options: HpaOptions,
    *,
    current: int | None = None,
    before: float | None = None,
) -> Observation:
    """Read scale, pods and metrics of an HPA. To look at a decision whose outcome is already under way,
    ``current`` stands in for the scale's replica count, and what happened to pods from ``before`` (Unix
    seconds) on is left out. Raises InputError where the target cannot be read."""
    try:
        hpa = parse_hpa(obj)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"the HPA cannot be read: {error}") from None
    target = dict(hpa.target)
    try:
        resource = await discover_scale_resource(client, target)
        found = await client.get_subresource(resource, str(target.get("name", "")), "scale", hpa.namespace)
    except (LookupError, ApiError) as error:
        text = error.message if isinstance(error, ApiError) else str(error.args[0])
        raise InputError(f"the scale of {hpa.reference} cannot be read: {text}") from None
    scale = parse_scale(found)
    if current is not None:
        scale = replace(scale, spec_replicas=current)
    if not needs_metrics(hpa, scale, options):
        return Observation(hpa, scale, (), ())
    if not scale.selector:
        return Observation(
            hpa, scale, (), (), ("InvalidSelector", "SelectorRequired", "selector is required")
        )
    listed = await client.list(PODS, hpa.namespace, label_selector=scale.selector)
    readings = [await read_metric(metrics, hpa, metric, scale) for metric in hpa.metrics]
    pods = listed.items if before is None else _without_new(listed.items, before, scale.spec_replicas)
    views = [_as_before(parse_pod(pod), pod, before) for pod in pods]
    return Observation(hpa, scale, tuple(views), tuple(readings))


def _without_new(pods: list[Object], before: float, replicas: int) -> list[Object]:
    """Without the pods that a scaling made: of those not older than it (times have whole seconds), as many as
    there are beyond ``replicas``, those that are not running first."""
    new = [pod for pod in pods if _created(pod) >= before]
    new.sort(key=lambda pod: ((pod.get("status") or {}).get("phase") == "Running", -_created(pod)))
    made = {pod["metadata"]["name"] for pod in new[: max(0, len(pods) - replicas)]}
    return [pod for pod in pods if pod["metadata"]["name"] not in made]


def _created(pod: Object) -> float:
    return parse_time(pod["metadata"].get("creationTimestamp")) or 0.0


def _as_before(view: PodView, pod: Object, before: float | None) -> PodView:
    """The pod as it was before its deletion began, where that was not earlier."""
    if before is None or not view.deleting:
        return view
    ends = parse_time(pod["metadata"].get("deletionTimestamp")) or 0.0
    begun = ends - float(pod["metadata"].get("deletionGracePeriodSeconds") or 0)
    return replace(view, deleting=False) if begun >= before else view


def guess_state(hpa: Hpa, scale: Scale, now: float) -> HpaState:
    """The controller's memory as far as the HPA's conditions give it away: where they say that a scale-down
    is held back, the present size is among the recent recommendations."""
    held: Any = next((c for c in hpa.status.get("conditions") or () if c.get("type") == "AbleToScale"), {})
    if held.get("reason") == "ScaleDownStabilized":
        return HpaState((Recommendation(scale.spec_replicas, now),))
    return HpaState(())


def decide_on(now: float, seen: Observation, state: HpaState, options: HpaOptions) -> DecisionInputs:
    """What the HPA would decide about what was seen."""
    decision = decide(
        now, seen.hpa, seen.scale, seen.pods, seen.readings, state, options, selector_problem=seen.problem
    )
    return DecisionInputs(now, seen.hpa, seen.scale, seen.pods, seen.readings, state, decision)
