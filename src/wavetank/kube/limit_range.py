"""Limit ranges: defaults for what pods do not say, and bounds on what they do.

Mirrors ``plugin/pkg/admission/limitranger``. Left out: defaults for ``PersistentVolumeClaim`` (upstream has
none either).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from wavetank.kube.client import Object
from wavetank.kube.quantity import parse_quantity
from wavetank.kube.quota import pod_resources

__all__ = ["apply_defaults", "default_limit_range", "violations"]

_ANNOTATION = "kubernetes.io/limit-ranger"


def default_limit_range(obj: Object) -> None:
    """For containers, ``max`` is the limit by default, and the limit, else ``min``, the request."""
    for item in (obj.get("spec") or {}).get("limits") or ():
        if not isinstance(item, dict) or item.get("type") != "Container":
            continue
        limits, requests = item.setdefault("default", {}), item.setdefault("defaultRequest", {})
        for name, value in (item.get("max") or {}).items():
            limits.setdefault(name, value)
        for name, value in limits.items():
            requests.setdefault(name, value)
        for name, value in (item.get("min") or {}).items():
            requests.setdefault(name, value)
        for name in ("default", "defaultRequest"):
            if not item[name]:
                del item[name]


def apply_defaults(pod: Object, ranges: Sequence[Object]) -> bool:
    """Fill in requests and limits of a pod's containers, in place; whether anything was."""
    notes: list[str] = []
    for limit_range in ranges:
        for item in _items(limit_range, "Container"):
            for container in _containers(pod):
                notes += _fill(container, item)
    if notes:
        annotations = pod["metadata"].setdefault("annotations", {})
        annotations[_ANNOTATION] = "LimitRanger plugin set: " + "; ".join(notes)
    return bool(notes)


def _fill(container: Object, item: Mapping[str, Any]) -> Iterator[str]:
    resources = container.setdefault("resources", {})
    for which, source in (("requests", "defaultRequest"), ("limits", "default")):
        given = item.get(source) or {}
        added = sorted(name for name in given if name not in (resources.get(which) or {}))
        if added:
            resources[which] = {**(resources.get(which) or {}), **{name: given[name] for name in added}}
            yield f"{', '.join(added)} {which[:-1]} for container {container['name']}"


def violations(pod: Object, ranges: Sequence[Object]) -> list[str]:
    """What breaks a bound, in upstream's words."""
    found: list[str] = []
    for limit_range in ranges:
        for item in _items(limit_range, "Container"):
            for container in _containers(pod):
                resources = container.get("resources") or {}
                requests, limits = _numbers(resources.get("requests")), _numbers(resources.get("limits"))
                found += _check("Container", item, requests, limits, resources)
        for item in _items(limit_range, "Pod"):
            requests, limits = pod_resources(pod, "requests"), pod_resources(pod, "limits")
            found += _check("Pod", item, requests, limits, {})
    return found


def _check(
    kind: str,
    item: Mapping[str, Any],
    requests: Mapping[str, Fraction],
    limits: Mapping[str, Fraction],
    written: Mapping[str, Any],
) -> Iterator[str]:
    def text(which: str, name: str, value: Fraction) -> str:
        given = (written.get(which) or {}).get(name)
        return str(parse_quantity(given)) if given is not None else _number_text(value)

    for name, bound in (item.get("min") or {}).items():
        least = f"minimum {name} usage per {kind} is {parse_quantity(bound)}"
        if name not in requests:
            yield f"{least}.  No request is specified"
        elif requests[name] < parse_quantity(bound).value:
            yield f"{least}, but request is {text('requests', name, requests[name])}"
        elif name in limits and limits[name] < parse_quantity(bound).value:
            yield f"{least}, but limit is {text('limits', name, limits[name])}"
    for name, bound in (item.get("max") or {}).items():
        most = f"maximum {name} usage per {kind} is {parse_quantity(bound)}"
        if name not in limits:
            yield f"{most}.  No limit is specified"
        elif limits[name] > parse_quantity(bound).value:
            yield f"{most}, but limit is {text('limits', name, limits[name])}"
        elif requests.get(name, 0) > parse_quantity(bound).value:
            yield f"{most}, but request is {text('requests', name, requests[name])}"
    for name, bound in (item.get("maxLimitRequestRatio") or {}).items():
        ratio = f"{name} max limit to request ratio per {kind} is {parse_quantity(bound)}"
        if name not in requests or name not in limits:
            yield f"{ratio}, but no {'request' if name not in requests else 'limit'} is specified or is 0"
        elif requests[name] == 0 or limits[name] / requests[name] > parse_quantity(bound).value:
            shown = float(limits[name] / requests[name]) if requests[name] else float("inf")
            yield f"{ratio}, but provided ratio is {shown:.6f}"


def _number_text(value: Fraction) -> str:
    return str(parse_quantity(float(value) if value.denominator != 1 else int(value)))


def _numbers(given: Mapping[str, Any] | None) -> dict[str, Fraction]:
    return {name: parse_quantity(value).value for name, value in (given or {}).items()}


def _items(limit_range: Object, kind: str) -> Iterable[Mapping[str, Any]]:
    limits = (limit_range.get("spec") or {}).get("limits") or ()
    return [item for item in limits if item.get("type") == kind]


def _containers(pod: Object) -> list[Object]:
    return [*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or ())]
