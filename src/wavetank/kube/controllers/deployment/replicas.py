"""Arithmetic of rollouts: surge and unavailability, counts over replica sets, proportional shares."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

from wavetank.errors import InputError
from wavetank.kube.client import Object

__all__ = [
    "DESIRED", "HASH_LABEL", "MAX", "REVISION", "available_total", "fenceposts", "is_rolling", "newest_first",
    "oldest_first", "resolve", "saturated", "shares", "spec_total", "status_total", "wanted",
]  # fmt: skip

HASH_LABEL: Final = "pod-template-hash"
REVISION: Final = "deployment.kubernetes.io/revision"
DESIRED: Final = "deployment.kubernetes.io/desired-replicas"
MAX: Final = "deployment.kubernetes.io/max-replicas"


def resolve(value: object, total: int, *, up: bool) -> int:
    """An IntOrString of ``total``: ``25%`` rounds up or down. Raises InputError with the value."""
    if isinstance(value, int):
        return value
    text = str(value)
    if not text.endswith("%") or not text[:-1].isdigit():
        raise InputError(f"{value!r} is neither a number nor a percentage")
    share = int(text[:-1]) * total / 100
    return math.ceil(share) if up else math.floor(share)


def wanted(obj: Object) -> int:
    return int(obj["spec"].get("replicas", 1))


def is_rolling(deployment: Object) -> bool:
    return bool((deployment["spec"].get("strategy") or {}).get("type", "RollingUpdate") == "RollingUpdate")


def fenceposts(deployment: Object) -> tuple[int, int]:
    """(max surge, max unavailable); both zero would never move, so then one may be unavailable."""
    if not is_rolling(deployment) or wanted(deployment) == 0:
        return 0, 0
    rolling = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    total = wanted(deployment)
    surge = resolve(rolling.get("maxSurge", "25%"), total, up=True)
    unavailable = resolve(rolling.get("maxUnavailable", "25%"), total, up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return surge, min(unavailable, total)


def spec_total(sets: Iterable[Object]) -> int:
    return sum(wanted(rs) for rs in sets)


def status_total(sets: Iterable[Object], field: str = "replicas") -> int:
    return sum((rs.get("status") or {}).get(field, 0) for rs in sets)


def available_total(sets: Iterable[Object]) -> int:
    return status_total(sets, "availableReplicas")


def oldest_first(sets: Iterable[Object]) -> list[Object]:
    return sorted(sets, key=lambda rs: (rs["metadata"]["creationTimestamp"], rs["metadata"]["name"]))


def newest_first(sets: Iterable[Object]) -> list[Object]:
    return oldest_first(sets)[::-1]


def saturated(deployment: Object, rs: Object | None) -> bool:
    """Whether a replica set alone is all the deployment wants."""
    if rs is None:
        return False
    desired = (rs["metadata"].get("annotations") or {}).get(DESIRED)
    total = wanted(deployment)
    return (
        wanted(rs) == total
        and desired == str(total)
        and (rs.get("status") or {}).get("availableReplicas", 0) == total
    )


def shares(deployment: Object, sets: Sequence[Object], allowed: int) -> dict[str, int]:
    """How a deployment that was scaled in the middle of a rollout divides its ``allowed`` replicas: in
    proportion to what each replica set has, leftovers to the largest. By name of replica set."""
    if allowed == 0:
        return {rs["metadata"]["name"]: 0 for rs in sets}
    to_add = allowed - spec_total(sets)
    largest = sorted(sets, key=lambda rs: -wanted(rs))
    ordered = sorted(
        newest_first(largest) if to_add > 0 else oldest_first(largest), key=lambda rs: -wanted(rs)
    )
    sizes: dict[str, int] = {}
    added = 0
    for rs in ordered:
        fraction = _proportion(deployment, rs, to_add, added, allowed) if to_add else 0
        sizes[rs["metadata"]["name"]] = wanted(rs) + fraction
        added += fraction
    if to_add and ordered:
        first = ordered[0]["metadata"]["name"]
        sizes[first] = max(0, sizes[first] + to_add - added)
    return sizes


def _proportion(deployment: Object, rs: Object, to_add: int, added: int, allowed: int) -> int:
    if wanted(rs) == 0 or to_add == added:
        return 0
    fraction = _fraction(deployment, rs, allowed)
    left = to_add - added
    return min(fraction, left) if to_add > 0 else max(fraction, left)


def _fraction(deployment: Object, rs: Object, allowed: int) -> int:
    surge, _ = fenceposts(deployment)
    total = wanted(deployment) + surge
    annotation = (rs["metadata"].get("annotations") or {}).get(MAX)
    before = int(annotation) if annotation and annotation.isdigit() and int(annotation) else None
    if before is None:
        before = int((deployment.get("status") or {}).get("replicas") or 0) or allowed
    size = wanted(rs) * total / before
    # Go's math.Round: halves away from zero.
    return math.floor(size + 0.5) - wanted(rs)
