"""The HPA's decision about CPU as a kernel: what ``autoscaling.hpa.decide`` does, over flat arrays.

For sweeps, where one decision must cost well below a microsecond a pod. It covers one Resource metric on cpu
(Utilization or AverageValue), with or without ``behavior``; ``fast`` refuses the rest. It is no second
opinion: tests run it beside ``decide`` on random HPAs and pods and demand the same replica counts, and
``bench/simulation_fast_path.py`` does so on a thousand random days.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from wavetank.autoscaling.hpa.behavior import ScalingRules
from wavetank.autoscaling.hpa.model import Hpa
from wavetank.autoscaling.hpa.options import HpaOptions
from wavetank.jit import kernel

__all__ = ["HPA", "MEMORY", "decide", "decide_replicas", "pack_hpa", "pack_policies"]

# Columns of what is known of a pod at a sync.
PENDING, SAMPLED, VALUE, STAMP, WINDOW, READY, START, TRANSITION = range(8)
VIEW: Final = 8
# Parameters.
(
    LOW, HIGH, TARGET, AVERAGE, REQUEST, TOLERANCE, INIT_PERIOD, READY_DELAY, BEHAVIOR, UP_WINDOW,
    DOWN_WINDOW, UP_SELECT, DOWN_SELECT, STABILIZATION, FACTOR, MINIMUM,
) = range(16)  # fmt: skip
HPA: Final = 16
MAX, MIN, DISABLED = range(3)
_SELECT = {"Max": MAX, "Min": MIN, "Disabled": DISABLED}
# Memory: rows of (value, time, kind), kind 0 recommendation, 1 scale-up, 2 scale-down; -1 is free.
MEMORY: Final = 512
_RECOMMENDATION, _UP, _DOWN = 0.0, 1.0, 2.0
_FREE: Final = -1.0


def pack_hpa(hpa: Hpa, options: HpaOptions, request_millis: int) -> Any:
    """float64[HPA]. Raises ValueError where the HPA is not one this kernel covers."""
    if len(hpa.metrics) != 1 or hpa.metrics[0].kind != "Resource" or hpa.metrics[0].name != "cpu":
        raise ValueError("the fast path covers one Resource metric on cpu")
    metric = hpa.metrics[0]
    if metric.problem or (metric.average_utilization is None and metric.average_value is None):
        raise ValueError(metric.problem or "the cpu metric has neither averageUtilization nor averageValue")
    p = np.zeros(HPA)
    average = metric.average_utilization is None
    p[LOW], p[HIGH] = hpa.min_replicas, hpa.max_replicas
    p[TARGET] = float(metric.average_value if average else metric.average_utilization)  # type: ignore[arg-type]
    p[AVERAGE], p[REQUEST], p[TOLERANCE] = float(average), request_millis, options.tolerance
    p[INIT_PERIOD], p[READY_DELAY] = options.cpu_initialization_period, options.initial_readiness_delay
    p[STABILIZATION], p[FACTOR] = options.downscale_stabilization, options.scale_up_factor
    p[MINIMUM] = options.scale_up_minimum
    if hpa.behavior is not None:
        up, down = hpa.behavior.up, hpa.behavior.down
        p[BEHAVIOR], p[UP_WINDOW] = 1.0, up.window or 0
        p[DOWN_WINDOW] = options.downscale_stabilization if down.window is None else down.window
        p[UP_SELECT], p[DOWN_SELECT] = _SELECT[up.select], _SELECT[down.select]
    return p


def pack_policies(rules: ScalingRules | None) -> Any:
    """float64[n, 3]: percent (else pods), value, period."""
    policies = rules.policies if rules is not None else ()
    rows = [[float(p.kind != "Pods"), float(p.value), float(p.period)] for p in policies]
    return np.array(rows, np.float64).reshape(len(rows), 3)


@kernel(inline=True, always=True, allocates=False)
def _ratio(total: float, count: int, p: Any) -> float:
    """Usage over target of ``count`` pods that use ``total`` milli-cores together. Whole numbers this small
    have the floor of their quotient's float for their integer quotient; ``//`` would call fmod."""
    if p[AVERAGE] > 0:
        return math.floor(total / count) / p[TARGET]  # type: ignore[no-any-return]
    return math.floor(total * 100.0 / (count * p[REQUEST])) / p[TARGET]  # type: ignore[no-any-return]


@kernel(inline=True, always=True, allocates=False)
def _hold(ratio: float, p: Any) -> bool:
    return 1.0 - p[TOLERANCE] <= ratio <= 1.0 + p[TOLERANCE]  # type: ignore[no-any-return]


@kernel(inline=True, always=True, allocates=False)
def _propose(now: float, current: int, pods: Any, count: int, p: Any) -> int:
    """What the metric asks for; -1 where it cannot be computed."""
    ready = unready = missing = used = 0
    total = 0.0
    for i in range(count):
        if pods[i, PENDING] > 0:
            unready += 1
            continue
        if pods[i, SAMPLED] == 0:
            missing += 1
            continue
        is_ready = pods[i, READY] > 0
        if pods[i, START] + p[INIT_PERIOD] > now:
            distrusted = not is_ready or pods[i, STAMP] < pods[i, TRANSITION] + pods[i, WINDOW]
        else:
            distrusted = not is_ready and pods[i, START] + p[READY_DELAY] > pods[i, TRANSITION]
        if distrusted:
            unready += 1
            continue
        ready += 1
        used += 1
        total += pods[i, VALUE]
    if used == 0:
        return -1
    ratio = _ratio(total, used, p)
    unready_matter = unready > 0 and ratio > 1.0
    if not unready_matter and missing == 0:
        return current if _hold(ratio, p) else math.ceil(ratio * ready)
    whole = used
    if ratio < 1.0:
        fill = p[TARGET] if p[AVERAGE] > 0 else (p[REQUEST] * max(100.0, p[TARGET])) // 100.0
        total += missing * fill
        whole += missing
    elif ratio > 1.0:
        whole += missing
    if unready_matter:
        whole += unready
    changed = _ratio(total, whole, p)
    if _hold(changed, p) or ratio < 1.0 < changed or changed < 1.0 < ratio:
        return current
    wanted = math.ceil(changed * whole)
    if (changed < 1.0 and wanted > current) or (changed > 1.0 and wanted < current):
        return current
    return wanted


@kernel(inline=True, always=True, allocates=False)
def _store(memory: Any, value: float, now: float, kind: float, slot: int) -> None:
    """Into an expired slot of its kind, else into a free one."""
    if slot < 0:
        for i in range(len(memory)):
            if memory[i, 2] == _FREE:
                slot = i
                break
    if slot >= 0:
        memory[slot, 0], memory[slot, 1], memory[slot, 2] = value, now, kind


@kernel(inline=True, always=True, allocates=False)
def _changed(memory: Any, kind: float, cutoff: float) -> float:
    total = 0.0
    for i in range(len(memory)):
        if memory[i, 2] == _FREE:  # rows are taken in order and never freed
            break
        if memory[i, 2] == kind and memory[i, 1] > cutoff:
            total += memory[i, 0]
    return total


@kernel(inline=True, always=True, allocates=False)
def _limit(now: float, current: int, up: bool, select: float, policies: Any, memory: Any) -> float:
    """The most, or the fewest, replicas that the policies of one direction allow."""
    if select == DISABLED:
        return float(current)
    largest = (select == MIN) != up  # up: Max takes the largest; down: Max takes the smallest
    result = -2147483648.0 if largest else 2147483647.0
    for i in range(len(policies)):
        cutoff = now - policies[i, 2]
        start = current - _changed(memory, _UP, cutoff) + _changed(memory, _DOWN, cutoff)
        if policies[i, 0] == 0:
            allowed = start + policies[i, 1] if up else start - policies[i, 1]
        elif up:
            allowed = math.ceil(start * (1.0 + policies[i, 1] / 100.0))
        else:
            allowed = float(int(start * (1.0 - policies[i, 1] / 100.0)))
        result = max(result, allowed) if largest else min(result, allowed)
    return result


@kernel(inline=True, always=True, allocates=False)
def _bounded(now: float, current: int, stable: int, p: Any, ups: Any, downs: Any, memory: Any) -> int:
    low, high = int(p[LOW]), int(p[HIGH])
    if p[BEHAVIOR] == 0:
        rate = int(max(p[FACTOR] * current, p[MINIMUM]))
        top = min(high, rate)
        return low if stable < low else min(stable, top)
    if stable > current:
        limit = max(float(current), _limit(now, current, True, p[UP_SELECT], ups, memory))
        return int(min(float(stable), limit if high > limit else float(high)))
    if stable < current:
        limit = min(float(current), _limit(now, current, False, p[DOWN_SELECT], downs, memory))
        return int(max(float(stable), limit if low < limit else float(low)))
    return stable


@kernel(inline=True, always=True, allocates=False)
def _stabilized(now: float, current: int, proposed: int, p: Any, memory: Any) -> int:
    """The proposal held by what was recommended lately; remembers it."""
    behavior = p[BEHAVIOR] > 0
    up_cutoff = now - p[UP_WINDOW]
    down_cutoff = now - (p[DOWN_WINDOW] if behavior else p[STABILIZATION])
    lowest = highest = float(proposed)
    expired = -1
    for i in range(len(memory)):
        if memory[i, 2] == _FREE:
            break
        if memory[i, 2] != _RECOMMENDATION:
            continue
        at = memory[i, 1]
        if behavior:
            if at > up_cutoff:
                lowest = min(lowest, memory[i, 0])
            if at > down_cutoff:
                highest = max(highest, memory[i, 0])
            if at < up_cutoff and at < down_cutoff:
                expired = i
        elif at < down_cutoff:
            expired = i
        else:
            highest = max(highest, memory[i, 0])
    _store(memory, float(proposed), now, _RECOMMENDATION, expired)
    if not behavior:
        return int(highest)
    return int(min(max(float(current), lowest), highest))


@kernel(inline=True, always=True, allocates=False)
def _remember(now: float, change: int, p: Any, ups: Any, downs: Any, memory: Any) -> None:
    if p[BEHAVIOR] == 0 or change == 0:
        return
    policies = ups if change > 0 else downs
    kind = _UP if change > 0 else _DOWN
    longest = 0.0
    for i in range(len(policies)):
        longest = max(longest, policies[i, 2])
    expired = -1
    for i in range(len(memory)):
        if memory[i, 2] == _FREE:
            break
        if memory[i, 2] == kind and memory[i, 1] < now - longest:
            expired = i
    _store(memory, float(abs(change)), now, kind, expired)


@kernel(inline=True, always=True, allocates=False)
def decide(now: float, current: int, pods: Any, count: int, p: Any, ups: Any, downs: Any, memory: Any) -> int:
    """The replicas to set now. ``pods`` float64[>= count, VIEW]; ``memory`` float64[MEMORY, 3] is changed;
    its third column is -1 where free, and all of it before the first sync."""
    if memory[0, 2] == _FREE:
        _store(memory, float(current), now, _RECOMMENDATION, -1)
    if current == 0:
        return 0
    if current > p[HIGH] or current < p[LOW]:
        bound = int(p[HIGH]) if current > p[HIGH] else int(p[LOW])
        _remember(now, bound - current, p, ups, downs, memory)
        return bound
    proposed = _propose(now, current, pods, count, p)
    if proposed < 0:
        return current
    stable = _stabilized(now, current, proposed, p, memory)
    desired = _bounded(now, current, stable, p, ups, downs, memory)
    _remember(now, desired - current, p, ups, downs, memory)
    return desired


@kernel()
def decide_replicas(
    now: float, current: int, pods: Any, count: int, p: Any, ups: Any, downs: Any, memory: Any
) -> int:
    """See ``decide``: the same, to be called from Python."""
    return decide(now, current, pods, count, p, ups, downs, memory)
