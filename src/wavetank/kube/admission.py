"""What the server completes or refuses beyond a kind's own rules: addresses, priorities, service accounts.

Mirrors the admission plugins ServiceAccount, Priority, DefaultTolerationSeconds, LimitRanger and
ResourceQuota, and the allocators of the service registry.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

from wavetank.errors import InputError
from wavetank.kube.api import Admission, Api
from wavetank.kube.client import Object, Resource
from wavetank.kube.kinds.pod import qos_class
from wavetank.kube.limit_range import apply_defaults, violations
from wavetank.kube.quota import covers, exceeded, missing, relevant, resources_of, total, usage
from wavetank.kube.resources import (
    BUILT_IN,
    CUSTOMRESOURCEDEFINITIONS,
    EVENTS,
    LIMITRANGES,
    PODS,
    PRIORITYCLASSES,
    RESOURCEQUOTAS,
    SERVICES,
)  # fmt: skip
from wavetank.kube.status import FieldError, forbidden, invalid
from wavetank.kube.times import format_time
from wavetank.limits import KUBE_EVENTS_MAX

__all__ = ["ServiceAddresses", "standard_admissions"]

_TOLERATION_SECONDS: Final = 300


def standard_admissions(addresses: ServiceAddresses) -> Sequence[Admission]:
    return (
        _pod_defaults, _priority, _limit_ranges, _established, _forget_events, addresses.admit, _quotas,
    )  # fmt: skip


def _forget_events(api: Api, resource: Resource, new: Object, old: Object | None) -> None:
    """Where upstream lets events expire after an hour, the oldest tenth goes when there are too many."""
    del new
    bucket = api.bucket(EVENTS)
    if resource.plural != "events" or old is not None or bucket.count < KUBE_EVENTS_MAX:
        return
    oldest = sorted(bucket.objects(), key=lambda e: str(e.get("lastTimestamp") or e.get("eventTime") or ""))
    for event in oldest[: KUBE_EVENTS_MAX // 10]:
        api.storage.remove(bucket, event["metadata"]["namespace"], event["metadata"]["name"])


def _established(api: Api, resource: Resource, new: Object, old: Object | None) -> None:
    """Definitions are served as soon as they are stored; clients wait for the condition that says so."""
    if resource != CUSTOMRESOURCEDEFINITIONS or old is not None:
        return
    stamp = format_time(api.clock.now())
    spec = new.get("spec") or {}
    new["status"] = {
        "acceptedNames": spec.get("names") or {},
        "conditions": [
            {
                "type": kind,
                "status": "True",
                "reason": reason,
                "message": message,
                "lastTransitionTime": stamp,
            }
            for kind, reason, message in (
                ("NamesAccepted", "NoConflicts", "no conflicts found"),
                ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
            )
        ],
        "storedVersions": [
            v.get("name") for v in spec.get("versions") or () if isinstance(v, dict) and v.get("storage")
        ],
    }


def _pod_defaults(api: Api, resource: Resource, new: Object, old: Object | None) -> None:
    del api
    if resource != PODS or old is not None:
        return
    spec = new["spec"]
    spec.setdefault("serviceAccountName", "default")
    spec.setdefault("serviceAccount", spec["serviceAccountName"])
    tolerations = spec.setdefault("tolerations", [])
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(
            t.get("key") in (key, None, "") and t.get("effect", "NoExecute") == "NoExecute"
            for t in tolerations
        ):
            tolerations.append(
                {
                    "key": key,
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": _TOLERATION_SECONDS,
                }
            )


def _priority(api: Api, resource: Resource, new: Object, old: Object | None) -> None:
    if resource != PODS or old is not None:
        return
    spec = new["spec"]
    classes = api.bucket(PRIORITYCLASSES)
    name = spec.get("priorityClassName")
    if name:
        found = classes.get("", name)
        if found is None:
            raise forbidden(resource, new["metadata"]["name"], f"no PriorityClass with name {name} was found")
    else:
        found = next((c for c in classes.sorted() if c.get("globalDefault")), None)
        if found is not None:
            spec["priorityClassName"] = found["metadata"]["name"]
    spec["priority"] = found.get("value", 0) if found is not None else 0
    spec["preemptionPolicy"] = (found or {}).get("preemptionPolicy") or "PreemptLowerPriority"


def _limit_ranges(api: Api, resource: Resource, new: Object, old: Object | None) -> None:
    if resource != PODS:
        return
    ranges = api.bucket(LIMITRANGES).sorted(new["metadata"]["namespace"])
    if not ranges:
        return
    if old is None and apply_defaults(new, ranges):
        new["status"] = {**new["status"], "qosClass": qos_class(new["spec"])}
    if old is None or old["spec"] != new["spec"]:
        broken = violations(new, ranges)
        if broken:
            why = broken[0] if len(broken) == 1 else f"[{', '.join(broken)}]"
            raise forbidden(resource, new["metadata"]["name"], why)


def _quotas(api: Api, resource: Resource, new: Object, old: Object | None) -> None:
    """What an object asks for must fit into every quota of its namespace that counts it."""
    namespace = new["metadata"].get("namespace")
    quotas = api.bucket(RESOURCEQUOTAS).sorted(namespace) if namespace else ()
    if not quotas or resource == RESOURCEQUOTAS:
        return
    asked = usage(resource, new)
    before = usage(resource, old) if old is not None else {}
    more = {name: value - before.get(name, 0) for name, value in asked.items()}
    for quota in quotas:
        if not covers(quota, resource, new):
            continue
        name = new["metadata"]["name"]
        unsaid = missing(quota, new) if resource == PODS and old is None else ""
        if unsaid:
            why = f"failed quota: {quota['metadata']['name']}: must specify {unsaid}"
            raise forbidden(resource, name, why)
        if not relevant(quota, more):
            continue
        stored = (
            (r, obj)
            for r in resources_of(quota, BUILT_IN)
            for obj in api.bucket(r).objects()
            if obj["metadata"].get("namespace") == namespace
        )
        over = exceeded(quota, total(quota, stored), relevant(quota, more))
        if over:
            raise forbidden(resource, name, over)


class ServiceAddresses:
    """Cluster IPs from a range and node ports from another, none given twice."""

    def __init__(self, cidr: str, node_ports: tuple[int, int]) -> None:
        try:
            self._network = ipaddress.ip_network(cidr)
        except ValueError as error:
            raise InputError(f"service range {cidr!r}: {error}", fix="write e.g. 127.96.0.0/16") from None
        self._ports = node_ports

    def admit(self, api: Api, resource: Resource, new: Object, old: Object | None) -> None:
        if resource != SERVICES:
            return
        spec = new["spec"]
        if spec.get("type") == "ExternalName":
            for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
                spec.pop(name, None)
            return
        others = [s for s in api.bucket(SERVICES).objects() if s["metadata"]["uid"] != new["metadata"]["uid"]]
        self._address(new, old, others)
        if spec.get("type") in ("NodePort", "LoadBalancer"):
            self._node_ports(new, others)
        else:
            for port in spec.get("ports") or ():
                port.pop("nodePort", None)

    def _address(self, new: Object, old: Object | None, others: Sequence[Object]) -> None:
        spec = new["spec"]
        if not spec.get("clusterIP") and old is not None and old["spec"].get("clusterIP"):
            spec["clusterIP"] = old["spec"]["clusterIP"]
        taken = {s["spec"].get("clusterIP") for s in others}
        wanted = spec.get("clusterIP")
        if not wanted:
            hosts = (str(address) for address in self._network.hosts())
            wanted = next((a for a in hosts if a not in taken), None)
            if wanted is None:
                raise self._invalid(
                    new, FieldError.bad("spec.clusterIPs", [], f"no address left in {self._network}")
                )
            spec["clusterIP"] = wanted
        elif wanted != "None" and (old is None or old["spec"].get("clusterIP") != wanted):
            self._check_address(new, wanted, taken)
        spec["clusterIPs"] = [wanted]
        spec.setdefault("ipFamilies", ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")
        spec.setdefault("internalTrafficPolicy", "Cluster")

    def _check_address(self, new: Object, wanted: str, taken: set[str]) -> None:
        try:
            inside = ipaddress.ip_address(wanted) in self._network
        except ValueError:
            error = FieldError.bad("spec.clusterIPs[0]", wanted, "must be a valid IP address")
            raise self._invalid(new, error) from None
        if not inside:
            detail = (
                "failed to allocate IP "
                f"{wanted}: the provided IP ({wanted}) is not in the valid range. "
                f"The range of valid IPs is {self._network}"
            )
            raise self._invalid(new, FieldError.bad("spec.clusterIPs", [wanted], detail))
        if wanted in taken:
            detail = f"failed to allocate IP {wanted}: provided IP is already allocated"
            raise self._invalid(new, FieldError.bad("spec.clusterIPs", [wanted], detail))

    def _node_ports(self, new: Object, others: Sequence[Object]) -> None:
        low, high = self._ports
        taken = {
            (port["nodePort"], port.get("protocol", "TCP"))
            for service in others
            for port in service["spec"].get("ports") or ()
            if port.get("nodePort")
        }
        for index, port in enumerate(new["spec"].get("ports") or ()):
            protocol, wanted = port.get("protocol", "TCP"), port.get("nodePort")
            field = f"spec.ports[{index}].nodePort"
            if not wanted:
                free = (n for n in range(low, high + 1) if (n, protocol) not in taken)
                wanted = next(free, None)
                if wanted is None:
                    raise self._invalid(new, FieldError.bad(field, 0, "no node port left in the range"))
                port["nodePort"] = wanted
            elif not low <= wanted <= high:
                detail = f"provided port is not in the valid range. The range of valid ports is {low}-{high}"
                raise self._invalid(new, FieldError.bad(field, wanted, detail))
            elif (wanted, protocol) in taken:
                raise self._invalid(new, FieldError.bad(field, wanted, "provided port is already allocated"))
            taken.add((wanted, protocol))
        new["spec"].setdefault("externalTrafficPolicy", "Cluster")

    def _invalid(self, service: Object, error: FieldError) -> Exception:
        return invalid(SERVICES, service["metadata"]["name"], [error])
