"""The status of a deployment: counts, conditions, and when a rollout is overdue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from wavetank.kube.client import Object
from wavetank.kube.controllers.deployment.replicas import (
    available_total,
    fenceposts,
    status_total,
    wanted,
)  # fmt: skip
from wavetank.kube.objects import condition
from wavetank.kube.times import format_time, parse_time

__all__ = ["complete", "deadline_at", "new_status"]

_NO_DEADLINE: Final = 2**31 - 1


def complete(deployment: Object, status: Object) -> bool:
    """All replicas updated and available, none of an old template left, and the spec as it is now seen."""
    total = wanted(deployment)
    return bool(
        status.get("updatedReplicas", 0) == total
        and status.get("replicas", 0) == total
        and status.get("availableReplicas", 0) == total
        and status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    )


def _progressing(old: Object, new: Object) -> bool:
    """Whether the counts moved towards the goal."""
    before_old = old.get("replicas", 0) - old.get("updatedReplicas", 0)
    after_old = new.get("replicas", 0) - new.get("updatedReplicas", 0)
    return bool(
        new.get("updatedReplicas", 0) > old.get("updatedReplicas", 0)
        or after_old < before_old
        or new.get("readyReplicas", 0) > old.get("readyReplicas", 0)
        or new.get("availableReplicas", 0) > old.get("availableReplicas", 0)
    )


def new_status(
    deployment: Object, current: Object | None, sets: Sequence[Object], now: float, created: str = ""
) -> Object:
    """``created`` names the replica set made in this very step."""
    old = deployment.get("status") or {}
    available = available_total(sets)
    total = status_total(sets)
    counts = {
        "observedGeneration": deployment["metadata"].get("generation", 0),
        "replicas": total,
        "updatedReplicas": status_total([current]) if current is not None else 0,
        "readyReplicas": status_total(sets, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, sum(_want(rs) for rs in sets) - available),
    }
    status: Object = {name: count for name, count in counts.items() if count}
    if old.get("collisionCount"):
        status["collisionCount"] = old["collisionCount"]
    conditions = _available(deployment, list(old.get("conditions") or ()), available, now)
    conditions = _progress(deployment, old, status, conditions, current, now, created)
    status["conditions"] = conditions
    return status


def _want(rs: Object) -> int:
    return int(rs["spec"].get("replicas", 1))


def _set(
    conditions: list[Object], kind: str, status: str, reason: str, message: str, now: float, *, touch: bool
) -> list[Object]:
    """Deployment conditions carry lastUpdateTime, which ``touch`` moves even if nothing else changed."""
    old = next((c for c in conditions if c["type"] == kind), None)
    if old is not None and old["status"] == status and old["reason"] == reason and not touch:
        return conditions
    stamp = format_time(now)
    flipped = old is None or old["status"] != status
    new = {
        "type": kind,
        "status": status,
        "lastUpdateTime": stamp,
        "lastTransitionTime": stamp if flipped or old is None else old.get("lastTransitionTime", stamp),
        "reason": reason,
        "message": message,
    }
    return [*(c for c in conditions if c["type"] != kind), new]


def _available(deployment: Object, conditions: list[Object], available: int, now: float) -> list[Object]:
    _, unavailable = fenceposts(deployment)
    if available >= wanted(deployment) - unavailable:
        reason, message = "MinimumReplicasAvailable", "Deployment has minimum availability."
        return _set(conditions, "Available", "True", reason, message, now, touch=False)
    reason, message = "MinimumReplicasUnavailable", "Deployment does not have minimum availability."
    return _set(conditions, "Available", "False", reason, message, now, touch=False)


def _progress(
    deployment: Object,
    old: Object,
    status: Object,
    conditions: list[Object],
    current: Object | None,
    now: float,
    created: str,
) -> list[Object]:
    paused = deployment["spec"].get("paused")
    found = next((c for c in conditions if c["type"] == "Progressing"), None)
    if paused:
        if found is not None and found["reason"] == "DeploymentPaused":
            return conditions
        reason, message = "DeploymentPaused", "Deployment is paused"
        return _set(conditions, "Progressing", "Unknown", reason, message, now, touch=False)
    if found is not None and found["reason"] == "DeploymentPaused":
        reason, message = "DeploymentResumed", "Deployment is resumed"
        return _set(conditions, "Progressing", "Unknown", reason, message, now, touch=False)
    if not has_deadline(deployment):
        return [c for c in conditions if c["type"] != "Progressing"]
    subject = f'ReplicaSet "{current["metadata"]["name"]}"' if current is not None else "Deployment"
    if created:
        message = f'Created new replica set "{created}"'
        return _set(conditions, "Progressing", "True", "NewReplicaSetCreated", message, now, touch=True)
    done = found is not None and found["reason"] == "NewReplicaSetAvailable"
    # A finished rollout that is merely scaled is not a rollout again.
    if done and status.get("replicas", 0) == status.get("updatedReplicas", 0):
        return conditions
    if complete(deployment, status):
        message = f"{subject} has successfully progressed."
        return _set(conditions, "Progressing", "True", "NewReplicaSetAvailable", message, now, touch=False)
    if _progressing(old, status):
        message = f"{subject} is progressing."
        return _set(conditions, "Progressing", "True", "ReplicaSetUpdated", message, now, touch=True)
    due = _overdue_at(deployment, found)
    if due is not None and now >= due:
        message = f"{subject} has timed out progressing."
        return _set(conditions, "Progressing", "False", "ProgressDeadlineExceeded", message, now, touch=False)
    return conditions


def has_deadline(deployment: Object) -> bool:
    seconds = deployment["spec"].get("progressDeadlineSeconds", 600)
    return seconds is not None and seconds != _NO_DEADLINE


def _overdue_at(deployment: Object, progressing: Object | None) -> float | None:
    if progressing is None or progressing["reason"] in ("ProgressDeadlineExceeded", "NewReplicaSetAvailable"):
        return None
    since = parse_time(progressing.get("lastUpdateTime"))
    return None if since is None else since + float(deployment["spec"].get("progressDeadlineSeconds", 600))


def deadline_at(deployment: Object, status: Object) -> float | None:
    """When to look again for a rollout that does not move; None while none is under way."""
    if deployment["spec"].get("paused") or not has_deadline(deployment) or complete(deployment, status):
        return None
    found = condition({"status": status}, "Progressing")
    return _overdue_at(deployment, found)
