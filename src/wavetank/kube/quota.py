"""Resource quotas: what objects use, which quotas cover them, and whether one more fits.

Mirrors ``k8s.io/apiserver/pkg/admission/plugin/resourcequota`` and ``pkg/quota/v1/evaluator/core``: pure
functions of objects. Usage is counted afresh from what is stored, so it never runs behind. Left out: storage
classes, devices' claims, scopes across namespaces, and updates that shrink below what is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Final

from wavetank.kube.client import Object, Resource
from wavetank.kube.objects import is_terminal
from wavetank.kube.quantity import Quantity, parse_quantity
from wavetank.kube.resources import CONFIGMAPS, PERSISTENTVOLUMECLAIMS, PODS, SECRETS, SERVICES

__all__ = [
    "covers", "exceeded", "missing", "pod_resources", "relevant", "resources_of", "shown", "total", "usage",
]  # fmt: skip

Usage = Mapping[str, Fraction]
_ONE: Final = Fraction(1)
_COMPUTE: Final = ("cpu", "memory", "ephemeral-storage")
_COUNTED: Final = {
    "pods": PODS, "services": SERVICES, "configmaps": CONFIGMAPS, "secrets": SECRETS,
    "persistentvolumeclaims": PERSISTENTVOLUMECLAIMS,
}  # fmt: skip


def usage(resource: Resource, obj: Object) -> Usage:
    """What an object uses, under every name a quota may give it."""
    used: dict[str, Fraction] = {}
    count = f"count/{resource.plural}.{resource.group}" if resource.group else f"count/{resource.plural}"
    used[count] = _ONE
    if resource == PODS:
        if not is_terminal(obj):
            used.update(_pod(obj))
    elif not resource.group and resource.plural in _COUNTED:
        used[resource.plural] = _ONE
    if resource == SERVICES:
        kind = obj["spec"].get("type", "ClusterIP")
        ports = len(obj["spec"].get("ports") or ())
        used["services.loadbalancers"] = Fraction(kind == "LoadBalancer")
        used["services.nodeports"] = Fraction(ports if kind in ("NodePort", "LoadBalancer") else 0)
    if resource == PERSISTENTVOLUMECLAIMS:
        requests = (obj["spec"].get("resources") or {}).get("requests") or {}
        used["requests.storage"] = _number(requests.get("storage", 0))
    return {name: value for name, value in used.items() if value}


def _pod(pod: Object) -> dict[str, Fraction]:
    requests, limits = pod_resources(pod, "requests"), pod_resources(pod, "limits")
    used = {"pods": _ONE}
    for name, value in requests.items():
        used[f"requests.{name}"] = value
        if name in _COMPUTE:
            used[name] = value
    used.update({f"limits.{name}": value for name, value in limits.items()})
    return used


def pod_resources(pod: Object, which: str) -> dict[str, Fraction]:
    """``requests`` or ``limits`` of a whole pod: its containers together, or its largest init container
    where that is more; sidecars count with the containers."""
    spec = pod["spec"]
    sidecars = [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
    total: dict[str, Fraction] = {}
    for container in (*spec["containers"], *sidecars):
        _add(total, _resources(container, which))
    for container in spec.get("initContainers") or ():
        if container not in sidecars:
            for name, value in _resources(container, which).items():
                total[name] = max(total.get(name, value), value)
    return total


def _add(total: dict[str, Fraction], more: Usage) -> None:
    for name, value in more.items():
        total[name] = total.get(name, Fraction()) + value


def _resources(container: Object, which: str) -> dict[str, Fraction]:
    given = (container.get("resources") or {}).get(which) or {}
    return {name: _number(value) for name, value in given.items()}


def _number(value: Any) -> Fraction:
    return parse_quantity(value).value


def covers(quota: Object, resource: Resource, obj: Object) -> bool:
    """Whether the quota's scopes take in the object. A quota with scopes counts pods alone."""
    spec = quota.get("spec") or {}
    terms = [{"scopeName": name, "operator": "Exists"} for name in spec.get("scopes") or ()]
    terms += (spec.get("scopeSelector") or {}).get("matchExpressions") or ()
    if not terms:
        return True
    return resource == PODS and all(_in_scope(term, obj) for term in terms)


def _in_scope(term: Mapping[str, Any], pod: Object) -> bool:
    spec = pod["spec"]
    match term.get("scopeName"):
        case "Terminating":
            return spec.get("activeDeadlineSeconds") is not None
        case "NotTerminating":
            return spec.get("activeDeadlineSeconds") is None
        case "BestEffort":
            return bool((pod.get("status") or {}).get("qosClass") == "BestEffort")
        case "NotBestEffort":
            return bool((pod.get("status") or {}).get("qosClass") != "BestEffort")
        case "PriorityClass":
            return _has_class(term, spec.get("priorityClassName") or "")
    return False


def _has_class(term: Mapping[str, Any], name: str) -> bool:
    match term.get("operator"):
        case "In":
            return name in (term.get("values") or ())
        case "NotIn":
            return name not in (term.get("values") or ())
        case "DoesNotExist":
            return not name
    return bool(name)


def relevant(quota: Object, used: Usage) -> dict[str, Fraction]:
    """The part of a usage that the quota limits."""
    hard = (quota.get("spec") or {}).get("hard") or {}
    return {name: value for name, value in used.items() if name in hard}


def missing(quota: Object, pod: Object) -> str:
    """``limits.cpu for: a,b; requests.cpu for: a``: what containers must say because the quota limits it."""
    hard = (quota.get("spec") or {}).get("hard") or {}
    found = []
    for name in sorted(hard):
        which, _, kind = name.rpartition(".")
        if kind not in _COMPUTE or which not in ("", "requests", "limits"):
            continue
        without = [
            c["name"]
            for c in (*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or ()))
            if kind not in _resources(c, which or "requests")
        ]
        if without:
            found.append(f"{name} for: {','.join(sorted(without))}")
    return "; ".join(found)


def exceeded(quota: Object, used: Usage, asked: Usage) -> str:
    """The words of a refusal where ``asked`` more than ``used`` is over the quota; "" where it fits."""
    hard = quota["spec"]["hard"]
    over = sorted(n for n, v in asked.items() if v > 0 and used.get(n, 0) + v > _number(hard[n]))
    if not over:
        return ""
    wanted = ",".join(f"{n}={shown(asked[n], hard[n])}" for n in over)
    have = ",".join(f"{n}={shown(used.get(n, Fraction()), hard[n])}" for n in over)
    limit = ",".join(f"{n}={parse_quantity(hard[n])}" for n in over)
    name = quota["metadata"]["name"]
    return f"exceeded quota: {name}, requested: {wanted}, used: {have}, limited: {limit}"


def shown(value: Fraction, like: Any) -> str:
    """A number as a quantity in the manner of ``like``."""
    return str(Quantity(value, parse_quantity(like).family))


def total(quota: Object, objects: Iterable[tuple[Resource, Object]]) -> dict[str, Fraction]:
    """What all of ``objects`` together use of what the quota limits."""
    used: dict[str, Fraction] = {}
    for resource, obj in objects:
        if covers(quota, resource, obj):
            _add(used, relevant(quota, usage(resource, obj)))
    return used


def resources_of(quota: Object, served: Sequence[Resource]) -> list[Resource]:
    """The resources whose objects the quota counts."""
    found: dict[Resource, None] = {}
    for name in (quota.get("spec") or {}).get("hard") or {}:
        if name.startswith("count/"):
            plural, _, group = name.removeprefix("count/").partition(".")
            found.update({r: None for r in served if (r.plural, r.group) == (plural, group)})
        elif name.startswith("services"):
            found[SERVICES] = None
        elif name in _COUNTED:
            found[_COUNTED[name]] = None
        elif name == "requests.storage":
            found[PERSISTENTVOLUMECLAIMS] = None
        else:
            found[PODS] = None
    return list(found)
