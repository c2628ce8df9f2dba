"""How fast and how soon a proposal may be followed: stabilisation, rate policies, limits, and their memory.

Two paths, as upstream: an HPA without ``behavior`` is held down for the controller-wide window and may
at most double; one with ``behavior`` obeys its own windows and policies. All functions are pure; the memory
(recommendations given, scale events done) is a value that goes in and comes out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

__all__ = [
    "Behavior",
    "Bounded",
    "Policy",
    "Recommendation",
    "ScaleEvent",
    "ScalingRules",
    "changed_in_period",
    "clamp",
    "limit_rate",
    "scale_down_limit",
    "scale_up_limit",
    "stabilize",
    "stabilize_with_behavior",
    "store_event",
]

_MAX_INT32 = 2**31 - 1
_MIN_INT32 = -(2**31)


@dataclass(frozen=True, slots=True)
class Policy:
    """``kind`` is Pods or Percent; ``value`` of them per ``period`` seconds."""

    kind: str
    value: int
    period: int


@dataclass(frozen=True, slots=True)
class ScalingRules:
    """One direction of ``spec.behavior``. ``select`` is Max, Min or Disabled; ``window`` in seconds, None
    meaning the controller's flag; ``tolerance`` None meaning the controller's."""

    window: int | None = 0
    select: str = "Max"
    policies: tuple[Policy, ...] = ()
    tolerance: float | None = None


@dataclass(frozen=True, slots=True)
class Behavior:
    up: ScalingRules
    down: ScalingRules


@dataclass(frozen=True, slots=True)
class Recommendation:
    replicas: int
    at: float


@dataclass(frozen=True, slots=True)
class ScaleEvent:
    """A change that was made: ``change`` replicas, always positive. ``outdated`` slots are written over."""

    change: int
    at: float
    outdated: bool = False


@dataclass(frozen=True, slots=True)
class Bounded:
    """A replica count, and the condition reason and message that say what bound it."""

    replicas: int
    reason: str
    message: str


WITHIN = ("DesiredWithinRange", "the desired count is within the acceptable range")
TOO_FEW = ("TooFewReplicas", "the desired replica count is less than the minimum replica count")
TOO_MANY = ("TooManyReplicas", "the desired replica count is more than the maximum replica count")
UP_LIMIT = ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate")
DOWN_LIMIT = ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate")
UP_STABILIZED = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
)
DOWN_STABILIZED = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
)

Log = tuple[Recommendation, ...]
Events = tuple[ScaleEvent, ...]


def stabilize(now: float, log: Log, desired: int, window: float) -> tuple[int, Log]:
    """Without behavior: the highest recommendation of the window, and the log with the new one in it."""
    cutoff = now - window
    highest = desired
    expired: int | None = None
    for index, entry in enumerate(log):
        if entry.at < cutoff:
            expired = index
        elif entry.replicas > highest:
            highest = entry.replicas
    return highest, _remember(log, expired, Recommendation(desired, now))


def stabilize_with_behavior(
    now: float, log: Log, current: int, desired: int, up_window: float, down_window: float
) -> tuple[Bounded, Log]:
    """With behavior: ``current`` moved into [lowest of the up window, highest of the down window].

    The log keeps the recommendation as it was before stabilisation.
    """
    up_cutoff, down_cutoff = now - up_window, now - down_window
    lowest = highest = desired
    expired: int | None = None
    for index, entry in enumerate(log):
        if entry.at > up_cutoff:
            lowest = min(lowest, entry.replicas)
        if entry.at > down_cutoff:
            highest = max(highest, entry.replicas)
        if entry.at < up_cutoff and entry.at < down_cutoff:
            expired = index
    stable = min(max(current, lowest), highest)
    reason, message = UP_STABILIZED if desired >= current else DOWN_STABILIZED
    return Bounded(stable, reason, message), _remember(log, expired, Recommendation(desired, now))


def _remember(log: Log, slot: int | None, entry: Recommendation) -> Log:
    """Put the entry into an expired slot, or at the end."""
    return (*log, entry) if slot is None else (*log[:slot], entry, *log[slot + 1 :])


def clamp(current: int, desired: int, low: int, high: int, *, factor: float, minimum: float) -> Bounded:
    """Without behavior: into [low, min(high, max(factor x current, minimum))]."""
    rate = int(max(factor * float(current), minimum))
    top, above = (rate, UP_LIMIT) if high > rate else (high, TOO_MANY)
    if desired < low:
        return Bounded(low, *TOO_FEW)
    if desired > top:
        return Bounded(top, *above)
    return Bounded(desired, *WITHIN)


def limit_rate(
    now: float,
    current: int,
    desired: int,
    low: int,
    high: int,
    behavior: Behavior,
    ups: Events,
    downs: Events,
) -> Bounded:
    """With behavior: what the policies and the bounds of the HPA leave of a stabilised proposal."""
    if desired > current:
        limit = max(current, scale_up_limit(now, current, ups, downs, behavior.up))
        top, reason = (limit, UP_LIMIT) if high > limit else (high, TOO_MANY)
        if desired > top:
            return Bounded(top, *reason)
    elif desired < current:
        limit = min(current, scale_down_limit(now, current, ups, downs, behavior.down))
        bottom, reason = (limit, DOWN_LIMIT) if low < limit else (low, TOO_FEW)
        if desired < bottom:
            return Bounded(bottom, *reason)
    return Bounded(desired, *WITHIN)


def scale_up_limit(now: float, current: int, ups: Events, downs: Events, rules: ScalingRules) -> int:
    """The most replicas the scale-up policies allow now."""
    if rules.select == "Disabled":
        return current
    choose: Callable[[int, int], int] = min if rules.select == "Min" else max
    result = _MAX_INT32 if rules.select == "Min" else _MIN_INT32
    for policy in rules.policies:
        start = current - _changed(now, policy.period, ups) + _changed(now, policy.period, downs)
        if policy.kind == "Pods":
            allowed = start + policy.value
        else:
            # Rounded up, so that a small percentage can move a small target at all.
            allowed = math.ceil(float(start) * (1.0 + float(policy.value) / 100.0))
        result = choose(result, allowed)
    return result


def scale_down_limit(now: float, current: int, ups: Events, downs: Events, rules: ScalingRules) -> int:
    """The fewest replicas the scale-down policies allow now."""
    if rules.select == "Disabled":
        return current
    choose: Callable[[int, int], int] = max if rules.select == "Min" else min
    result = _MIN_INT32 if rules.select == "Min" else _MAX_INT32
    for policy in rules.policies:
        start = current - _changed(now, policy.period, ups) + _changed(now, policy.period, downs)
        if policy.kind == "Pods":
            allowed = start - policy.value
        else:
            allowed = int(float(start) * (1.0 - float(policy.value) / 100.0))
        result = choose(result, allowed)
    return result


def changed_in_period(now: float, period: float, events: Sequence[ScaleEvent]) -> int:
    """Replicas changed in the last ``period`` seconds."""
    cutoff = now - period
    return sum(event.change for event in events if event.at > cutoff)


_changed = changed_in_period


def store_event(now: float, events: Events, change: int, rules: ScalingRules) -> Events:
    """Note a change; entries older than the longest policy period give up their slot."""
    cutoff = now - max((policy.period for policy in rules.policies), default=0)
    marked = tuple(replace(event, outdated=True) if event.at < cutoff else event for event in events)
    slot = max((index for index, event in enumerate(marked) if event.outdated), default=None)
    entry = ScaleEvent(change, now)
    return (*marked, entry) if slot is None else (*marked[:slot], entry, *marked[slot + 1 :])
