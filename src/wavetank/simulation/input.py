"""What a simulation needs to know of a directory: cluster, manifests, models, rates. Pure values.

``find_services`` follows the load to the workloads it reaches: the VirtualService of the host, its
destinations, their Services, their selectors, the workloads whose pods those select.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from wavetank.errors import InputError
from wavetank.kube.client import Object, Resource
from wavetank.limits import SIMULATION_SECONDS_MAX
from wavetank.load.stages import RateStage, Stage, parse_duration, total_seconds
from wavetank.simulation.telemetry import ServiceFacts
from wavetank.simulation.traffic import BALANCERS, Route

__all__ = ["Applied", "Destination", "find_services", "rates_of"]

_WORKLOADS = ("Deployment", "ReplicaSet", "StatefulSet")
DEFAULT_TIMEOUT_SECONDS = 15.0  # Envoy's, where a route names none

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Applied:
    """One object to apply."""

    resource: Resource
    namespace: str
    object: Object

    @property
    def name(self) -> str:
        return str(self.object["metadata"]["name"])


@dataclass(frozen=True, slots=True)
class Destination:
    """A service the load reaches: its share of the requests, and how they are routed."""

    facts: ServiceFacts
    share: float
    route: Route
    limit_cores: float
    ready_label: Mapping[str, str]


def rates_of(stages: Sequence[Stage], think_seconds: float) -> Floats:
    """Arrivals per second, float64[seconds]: the mean over each second of the stages in a row.

    A stage of users is taken as open: ``users`` divided by the think time, which holds while answers are
    much faster than that.
    """
    length = total_seconds(stages)
    if length > SIMULATION_SECONDS_MAX:
        limit = f"{SIMULATION_SECONDS_MAX / 86_400:.0f} days"
        raise InputError(f"the load takes {length / 86_400:.1f} days, more than {limit}", fix="use --until")
    edges = np.arange(int(np.ceil(length)) + 1, dtype=np.float64)
    total = np.zeros(len(edges))
    begun, sent = 0.0, 0.0
    for stage in stages:
        points = stage.points if isinstance(stage, RateStage) else _users(stage, think_seconds)
        times, rates = (np.array(column) for column in zip(*points, strict=True))
        area = np.concatenate([[0.0], np.cumsum((rates[1:] + rates[:-1]) / 2 * np.diff(times))])
        inside = (edges >= begun) & (edges <= begun + times[-1])
        total[inside] = sent + _integral(times, rates, area, edges[inside] - begun)
        begun, sent = begun + float(times[-1]), sent + float(area[-1])
    total[edges >= begun] = sent
    return np.diff(total)


def _integral(times: Floats, rates: Floats, area: Floats, at: Floats) -> Floats:
    """Arrivals from the start to each of ``at``, with rates linear between their points."""
    i = np.clip(np.searchsorted(times, at, side="right") - 1, 0, len(times) - 2)
    span = at - times[i]
    slope = (rates[i + 1] - rates[i]) / (times[i + 1] - times[i])
    found: Floats = area[i] + rates[i] * span + slope * span * span / 2
    return found


def _users(stage: Any, think: float) -> tuple[tuple[float, float], ...]:
    end = stage.users if stage.to is None else stage.to
    return ((0.0, stage.users / think), (stage.duration_seconds, end / think))


def find_services(objects: Sequence[Applied], host: str | None) -> list[Destination]:
    """Where requests for ``host`` go. Raises InputError where that cannot be told."""
    routes = _destinations(objects, host)
    if not routes:
        services = [o for o in objects if o.resource.kind == "Service"]
        routes = [(o.namespace, o.name, None, 1.0, Route(DEFAULT_TIMEOUT_SECONDS)) for o in services[:1]]
    found = []
    whole = sum(weight for _, _, _, weight, _ in routes)
    for namespace, name, subset, weight, route in routes:
        if weight > 0:
            found.append(_destination(objects, namespace, name, subset, weight / whole, route))
    if not found:
        raise InputError(f"no Service is reached by the load for host {host!r}", fix="add a Service")
    return found


_Routed = tuple[str, str, str | None, float, Route]


def _destinations(objects: Sequence[Applied], host: str | None) -> list[_Routed]:
    """(namespace, service, subset, weight, route) of the VirtualService's route: the one without a match,
    else its last, as the paths that the load asks for are not known."""
    for item in objects:
        spec = item.object.get("spec") or {}
        if item.resource.kind != "VirtualService" or host not in (spec.get("hosts") or ()):
            continue
        http = spec.get("http") or []
        if not http:
            continue
        rule = next((r for r in http if not r.get("match")), http[-1])
        timeout = _patience(rule)
        found = []
        for route in rule.get("route") or ():
            destination = route.get("destination") or {}
            name, _, rest = str(destination.get("host", "")).partition(".")
            namespace = rest.partition(".")[0] or item.namespace
            weight = float(route.get("weight", 0) or (100 if len(rule["route"]) == 1 else 0))
            found.append((namespace, name, destination.get("subset"), weight, Route(timeout)))
        return found
    return []


def _patience(rule: Mapping[str, Any]) -> float:
    """The timeout of a try. Routes that retry more than connections that fail go through ``graph``."""
    text = (rule.get("retries") or {}).get("perTryTimeout") or rule.get("timeout")
    return parse_duration(text, "timeout") if text else DEFAULT_TIMEOUT_SECONDS


def _destination(
    objects: Sequence[Applied], namespace: str, name: str, subset: str | None, share: float, route: Route
) -> Destination:
    service = _find(objects, ("Service",), namespace, name)
    if service is None:
        raise InputError(f"the load is routed to service {namespace}/{name}, which does not exist")
    selector = dict((service.object.get("spec") or {}).get("selector") or {})
    rule = _destination_rule(objects, namespace, name)
    if subset:
        subsets = {s.get("name"): s.get("labels") or {} for s in rule.get("subsets") or ()}
        selector |= subsets.get(subset, {})
    for item in objects:
        if item.resource.kind not in _WORKLOADS or item.namespace != namespace:
            continue
        template = ((item.object.get("spec") or {}).get("template")) or {}
        labels = (template.get("metadata") or {}).get("labels") or {}
        if selector.items() <= labels.items():
            balancer = ((rule.get("trafficPolicy") or {}).get("loadBalancer") or {}).get("simple", "")
            chosen = BALANCERS.get(str(balancer), BALANCERS["LEAST_REQUEST"])
            facts = ServiceFacts(
                namespace, name, item.name,
                str(labels.get("app") or "unknown"), str(labels.get("version") or "unknown"),
            )  # fmt: skip
            return Destination(facts, share, replace(route, balancer=chosen), _limit(template), selector)
    shown = ", ".join(f"{k}={v}" for k, v in selector.items())
    raise InputError(f"no workload in {namespace!r} has pods that service {name} selects ({shown})")


def _find(objects: Sequence[Applied], kinds: Sequence[str], namespace: str, name: str) -> Applied | None:
    for item in objects:
        if item.resource.kind in kinds and (item.namespace, item.name) == (namespace, name):
            return item
    return None


def _destination_rule(objects: Sequence[Applied], namespace: str, name: str) -> dict[str, Any]:
    for item in objects:
        spec = item.object.get("spec") or {}
        host = str(spec.get("host", "")).partition(".")[0]
        if item.resource.kind == "DestinationRule" and (item.namespace, host) == (namespace, name):
            return dict(spec)
    return {}


def _limit(template: Mapping[str, Any]) -> float:
    """The CPU limit of the pod's first container, in cores; 0 where it has none."""
    from wavetank.kube.quantity import milli

    containers = (template.get("spec") or {}).get("containers") or [{}]
    limit = ((containers[0].get("resources") or {}).get("limits") or {}).get("cpu")
    return 0.0 if limit is None else milli(limit) / 1000
