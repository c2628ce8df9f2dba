"""From usage to amounts: percentile, margin, confidence, minimum, one upon the other.

Mirrors ``pkg/recommender/logic``. Amounts are whole numbers as upstream's: CPU in millicores, memory in
bytes, truncated, at most 1e14.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from wavetank.autoscaling.vpa.usage import Usage

__all__ = ["Amounts", "Bounds", "EstimatorOptions", "bounds", "confidence", "raise_to", "scale", "scale_all"]

AMOUNT_MAX = 10**14

Amounts = Mapping[str, int]
"""By resource: cpu in millicores, memory in bytes."""


@dataclass(frozen=True, slots=True)
class EstimatorOptions:
    """Flags of the recommender."""

    target_percentile: float = 0.9
    lower_percentile: float = 0.5
    upper_percentile: float = 0.95
    margin: float = 0.15
    confidence_interval: float = 86_400.0
    pod_min_cpu_millis: float = 25.0
    pod_min_memory_mib: float = 250.0


@dataclass(frozen=True, slots=True)
class Bounds:
    target: Amounts
    lower: Amounts
    upper: Amounts


def amount(value: float) -> int:
    """A float as an amount: truncated, between 0 and the largest."""
    if not value > 0:
        return 0
    return AMOUNT_MAX if value > AMOUNT_MAX else int(value)


def percentile(usage: Usage, share: float) -> dict[str, int]:
    return {
        "cpu": amount(usage.cpu.percentile(share) * 1000),
        "memory": amount(usage.memory.percentile(share)),
    }


def scale(given: int, factor: float) -> int:
    return amount(float(given) * factor)


def scale_all(given: Amounts, factor: float) -> dict[str, int]:
    return {resource: scale(value, factor) for resource, value in given.items()}


def with_margin(given: Amounts, fraction: float) -> dict[str, int]:
    return {resource: value + scale(value, fraction) for resource, value in given.items()}


def confidence(usage: Usage, interval: float = 86_400.0) -> float:
    """Intervals of history: by time between first and last sample, but not more than the samples make up at
    one a minute."""
    lifespan = (usage.last_sample - usage.first_sample) / interval
    return min(lifespan, usage.samples / (interval / 60))


def confidence_factor(trust: float, multiplier: float, exponent: float) -> float:
    if trust <= 0:
        return math.inf if exponent > 0 else 0.0
    return float((1.0 + multiplier / trust) ** exponent)


def with_confidence(given: Amounts, trust: float, multiplier: float, exponent: float) -> dict[str, int]:
    return scale_all(given, confidence_factor(trust, multiplier, exponent))


def raise_to(given: Amounts, minimum: Amounts) -> dict[str, int]:
    return {resource: max(value, minimum.get(resource, 0)) for resource, value in given.items()}


def pod_minimum(options: EstimatorOptions, containers: int) -> dict[str, int]:
    """The least a container is given: the pod's least, split evenly."""
    share = 1.0 / max(1, containers)
    return {
        "cpu": scale(amount(options.pod_min_cpu_millis), share),
        "memory": scale(amount(options.pod_min_memory_mib * 2**20), share),
    }


def bounds(
    usage: Usage, containers: int, options: EstimatorOptions, controlled: tuple[str, ...] = ("cpu", "memory")
) -> Bounds:
    """Target, lower and upper bound for one of a pod's ``containers``, before any policy."""
    minimum = pod_minimum(options, containers)
    trust = confidence(usage, options.confidence_interval)
    plain = [
        with_margin(percentile(usage, share), options.margin)
        for share in (options.target_percentile, options.lower_percentile, options.upper_percentile)
    ]
    estimates = (
        plain[0],
        with_confidence(plain[1], trust, 0.001, -2.0),
        with_confidence(plain[2], trust, 1.0, 1.0),
    )
    target, lower, upper = (
        {r: v for r, v in raise_to(found, minimum).items() if r in controlled} for found in estimates
    )
    return Bounds(target, lower, upper)
