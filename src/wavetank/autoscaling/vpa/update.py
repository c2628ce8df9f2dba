"""Which pods to change so that they get what is recommended, and how.

Mirrors ``pkg/updater``: pods are ranked by how wrong their requests are, and as many are taken as the
workload can miss. Pure functions; ``controller`` evicts or resizes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wavetank.autoscaling.vpa.estimator import Amounts
from wavetank.autoscaling.vpa.recommend import policy_of, read_amounts
from wavetank.kube.client import Object
from wavetank.kube.times import parse_time

__all__ = [
    "ContainerWish",
    "Priority",
    "UpdateOptions",
    "evictable",
    "pod_priority",
    "priority",
    "resize_given_up",
    "resize_pending",
    "update_mode",
    "wants_update",
]


_RESIZE = ("PodResizePending", "PodResizeInProgress")


@dataclass(frozen=True, slots=True)
class UpdateOptions:
    """Flags of the updater; seconds and shares."""

    threshold: float = 0.1
    lifetime: float = 43_200.0
    evict_after_oom: float = 600.0
    eviction_tolerance: float = 0.5
    min_replicas: int = 2
    resize_deferred: float = 300.0
    resize_in_progress: float = 3600.0


@dataclass(frozen=True, slots=True)
class Priority:
    """``difference`` is the sum over resources of |requested - recommended| / requested of the whole pod."""

    outside: bool
    difference: float
    scale_up: bool

    @property
    def rank(self) -> tuple[bool, float]:
        """Higher comes first: growing pods, then the larger difference."""
        return self.scale_up, self.difference


@dataclass(frozen=True, slots=True)
class ContainerWish:
    """One container's requests beside its recommendation."""

    requests: Amounts
    target: Amounts
    lower: Amounts
    upper: Amounts


def priority(wishes: Iterable[ContainerWish]) -> Priority:
    outside = scale_up = False
    requested: dict[str, int] = {}
    recommended: dict[str, int] = {}
    for wish in wishes:
        for resource, target in wish.target.items():
            recommended[resource] = recommended.get(resource, 0) + target
            request = wish.requests.get(resource)
            if request is None:
                scale_up = outside = True
                continue
            requested[resource] = requested.get(resource, 0) + request
            scale_up = scale_up or target > request
            low, high = wish.lower.get(resource), wish.upper.get(resource)
            if (low is not None and request < low) or (high is not None and request > high):
                outside = True
    difference = sum(
        abs(requested.get(resource, 0) - total) / max(requested.get(resource, 0), 1)
        for resource, total in recommended.items()
    )
    return Priority(outside, difference, scale_up)


def update_mode(vpa: Object) -> str:
    """Off, Initial, Recreate (the default, also for Auto), InPlaceOrRecreate, InPlace."""
    mode = str((vpa["spec"].get("updatePolicy") or {}).get("updateMode") or "Recreate")
    return "Recreate" if mode == "Auto" else mode


def pod_priority(pod: Object, vpa: Object) -> Priority:
    status = vpa.get("status") or {}
    found = {
        r["containerName"]: r
        for r in (status.get("recommendation") or {}).get("containerRecommendations") or ()
    }
    wishes = []
    for container in pod["spec"]["containers"]:
        name = container["name"]
        recommendation = found.get(name)
        if recommendation is None or policy_of(vpa, name).get("mode") == "Off":
            continue
        wishes.append(
            ContainerWish(
                read_amounts((container.get("resources") or {}).get("requests")),
                read_amounts(recommendation.get("target")),
                read_amounts(recommendation.get("lowerBound")),
                read_amounts(recommendation.get("upperBound")),
            )
        )
    return priority(wishes)


def wants_update(now: float, pod: Object, vpa: Object, options: UpdateOptions) -> Priority | None:
    """The pod's priority if it is to be changed: outside the bounds, killed for want of memory soon after
    its start, or old enough and different enough."""
    found = pod_priority(pod, vpa)
    if found.outside:
        return found
    if found.difference == 0:
        return None
    if _quick_oom(pod, options):
        return found
    started = parse_time((pod.get("status") or {}).get("startTime"))
    if started is None or now - started < options.lifetime or found.difference < options.threshold:
        return None
    return found


def _quick_oom(pod: Object, options: UpdateOptions) -> bool:
    for status in (pod.get("status") or {}).get("containerStatuses") or ():
        ended: Mapping[str, Any] = (status.get("lastState") or {}).get("terminated") or {}
        if ended.get("reason") != "OOMKilled":
            continue
        begun, over = parse_time(ended.get("startedAt")), parse_time(ended.get("finishedAt"))
        if begun is not None and over is not None and over - begun < options.evict_after_oom:
            return True
    return False


def resize_pending(pod: Object) -> bool:
    """Whether the kubelet has a resize of the pod in hand."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c.get("type") in _RESIZE and c.get("status") == "True" for c in conditions)


def resize_given_up(now: float, pod: Object, options: UpdateOptions) -> bool:
    """Whether a resize in place has failed: infeasible, deferred or in progress for too long."""
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition.get("type") not in _RESIZE or condition.get("status") != "True":
            continue
        if condition.get("reason") == "Infeasible":
            return True
        since = parse_time(condition.get("lastTransitionTime"))
        pending = condition["type"] == "PodResizePending"
        limit = options.resize_deferred if pending else options.resize_in_progress
        if since is not None and now - since > limit:
            return True
    return False


def evictable(
    pods: Sequence[Object], configured: int, options: UpdateOptions, minimum: int | None = None
) -> int:
    """How many of a workload's pods may be taken now. ``configured`` is its replica count."""
    alive = [p for p in pods if p["metadata"].get("deletionTimestamp") is None]
    running = sum(1 for p in alive if (p.get("status") or {}).get("phase") == "Running")
    if len(alive) < (options.min_replicas if minimum is None else minimum):
        return 0
    tolerated = int(configured * options.eviction_tolerance)
    must_run = configured - tolerated
    if running > must_run:
        return running - must_run
    return 1 if running == configured and tolerated == 0 and running > 0 else 0
