"""Whether a model and an autoscaler's target can go together at all, before anything is simulated."""

from __future__ import annotations

from dataclasses import dataclass

from wavetank.errors import InputError, Location
from wavetank.simulation.model import PodModel

__all__ = ["Target", "check"]


@dataclass(frozen=True, slots=True)
class Target:
    """A workload's CPU target (share of the request), request and limit in cores (0: none), and its HPA's
    bounds. ``rate`` is the most that the load asks of it a second, None where that is not known."""

    workload: str
    ratio: float
    request: float
    limit: float
    maximum: int
    rate: float | None = None


def check(target: Target, model: PodModel, at: Location | None) -> tuple[str, ...]:
    """What will surprise, as notes. Raises InputError for a utilisation that can never be met: the pods are
    above it when they do nothing, so that every HPA ends at its maximum whatever the load."""
    wanted = target.ratio * target.request
    if model.idle_cpu >= wanted:
        raise InputError(
            f"{target.workload}: idleCpu of {model.idle_cpu:g} cores is not below the HPA's target of "
            f"{target.ratio:.0%} of {target.request:g} cores: it can never be met",
            at=at, fix=f"lower idleCpu below {wanted:g}, or raise the request or the target",
        )  # fmt: skip
    told = []
    cores = min(model.cores, target.limit) if target.limit > 0 else model.cores
    busy = min(cores, model.concurrency * model.cpu_share)
    if busy + model.idle_cpu < wanted:
        told.append(
            f"{target.workload}: its pods cannot use more than {busy + model.idle_cpu:g} cores each, "
            f"{(busy + model.idle_cpu) / target.request:.0%} of their request; the HPA's target of "
            f"{target.ratio:.0%} is never reached"
        )
    most = model.capacity(target.limit) * target.maximum
    if target.rate is not None and target.rate > most:
        told.append(
            f"{target.workload}: the load reaches {target.rate:.4g} requests a second, maxReplicas "
            f"{target.maximum} can do {most:.4g}"
        )
    return tuple(told)
