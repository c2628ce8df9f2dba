"""EndpointSlices: where a service's pods are, and which of them take requests.

Mirrors ``staging/src/k8s.io/endpointslice``: ready = Ready and not deleting, serving = Ready, terminating =
deleting; at most 100 endpoints a slice; one slice for each set of ports. Left out: IPv6, topology hints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from wavetank.kube.client import Object
from wavetank.kube.controllers.actions import Action, Create, Decision, Delete, Key, Record, Update, View
from wavetank.kube.controllers.endpoint_ports import Port, backends, ports_of, services_of_pod
from wavetank.kube.controllers.sources import by_owner, itself, key_in
from wavetank.kube.objects import is_deleting, is_ready, key_of, labels_of, owner_reference
from wavetank.kube.resources import ENDPOINTSLICES, NODES, PODS, SERVICES
from wavetank.limits import KUBE_ENDPOINTS_REMEMBERED_MAX

__all__ = ["EndpointSliceController"]

_PER_SLICE_MAX: Final = 100
_MANAGED_BY: Final = "endpointslice-controller.k8s.io"
_SERVICE_LABEL: Final = "kubernetes.io/service-name"
_MANAGED_LABEL: Final = "endpointslice.kubernetes.io/managed-by"
_ZONE: Final = "topology.kubernetes.io/zone"


class EndpointSliceController:
    name = "endpointslice-controller"
    sources = (itself(SERVICES), key_in(PODS, services_of_pod), by_owner(ENDPOINTSLICES, SERVICES))

    def __init__(self) -> None:
        # One pod of many changes at a time: what was worked out for the others is kept. Only a cache: an
        # entry is good for one revision of the service and the pod.
        self._known: dict[tuple[str, str], tuple[str, str, str, Object, tuple[Port, ...]]] = {}

    def step(self, now: float, key: Key, view: View) -> Decision:
        del now
        service = view.get(SERVICES, *key)
        if service is None or not service["spec"].get("selector") or is_deleting(service):
            return Decision()
        groups: dict[tuple[Port, ...], dict[str, Object]] = {}
        pods = backends(view, service)
        for pod in pods:
            endpoint, ports = self._endpoint(service, pod, view)
            groups.setdefault(ports, {})[pod["metadata"]["uid"]] = endpoint
        existing = [
            s
            for s in view.owned(service, ENDPOINTSLICES)
            if labels_of(s).get(_MANAGED_LABEL) == _MANAGED_BY and not is_deleting(s)
        ]
        actions = _reconcile(service, groups, existing)
        if actions:
            actions.append(_record(service, groups))
        return Decision(actions)

    def _endpoint(self, service: Object, pod: Object, view: View) -> tuple[Object, tuple[Port, ...]]:
        of_service, of_pod = service["metadata"], pod["metadata"]
        zone = _zone(pod, view)
        key = (of_service["uid"], of_pod["uid"])
        good_for = (of_service["resourceVersion"], of_pod["resourceVersion"], zone)
        known = self._known.get(key)
        if known is not None and known[:3] == good_for:
            return known[3], known[4]
        endpoint, ports = _endpoint(service, pod, zone), ports_of(service, pod)
        if len(self._known) >= KUBE_ENDPOINTS_REMEMBERED_MAX:
            self._known.clear()
        self._known[key] = (*good_for, endpoint, ports)
        return endpoint, ports


def _zone(pod: Object, view: View) -> str:
    name = pod["spec"].get("nodeName")
    node = view.get(NODES, "", name) if name else None
    return labels_of(node).get(_ZONE, "") if node is not None else ""


def _endpoint(service: Object, pod: Object, zone: str) -> Object:
    ready, deleting = is_ready(pod), is_deleting(pod)
    publish = bool(service["spec"].get("publishNotReadyAddresses"))
    metadata = pod["metadata"]
    endpoint: Object = {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {
            "ready": publish or (ready and not deleting),
            "serving": publish or ready,
            "terminating": deleting,
        },
        "targetRef": {
            "kind": "Pod",
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
        },
    }
    if node_name := pod["spec"].get("nodeName"):
        endpoint["nodeName"] = node_name
    if zone:
        endpoint["zone"] = zone
    if (hostname := pod["spec"].get("hostname")) and pod["spec"].get("subdomain") == service["metadata"][
        "name"
    ]:
        endpoint["hostname"] = hostname
    return endpoint


def _reconcile(
    service: Object, groups: Mapping[tuple[Port, ...], Mapping[str, Object]], existing: Sequence[Object]
) -> list[Action]:
    """Change as few slices as can be: endpoints stay in the slice they are in."""
    if not groups:
        return _placeholder(service, existing)
    actions: list[Action] = []
    for ports, endpoints in groups.items():
        shown = _ports(ports)
        mine = [s for s in existing if (s.get("ports") or []) == shown]
        left = dict(endpoints)
        filled: list[tuple[Object, list[Object]]] = []
        for piece in mine:
            here = [e for e in piece.get("endpoints") or () if e["targetRef"]["uid"] in left]
            filled.append((piece, [left.pop(e["targetRef"]["uid"]) for e in here]))
        rest = list(left.values())
        for piece, members in filled:
            room = _PER_SLICE_MAX - len(members)
            members.extend(rest[:room])
            rest = rest[room:]
            if not members:
                actions.append(Delete(ENDPOINTSLICES, piece))
            elif _differs(service, piece, members):
                actions.append(Update(ENDPOINTSLICES, _slice(service, shown, members, piece)))
        while rest:
            actions.append(Create(ENDPOINTSLICES, _slice(service, shown, rest[:_PER_SLICE_MAX], None)))
            rest = rest[_PER_SLICE_MAX:]
    shapes = [_ports(ports) for ports in groups]
    actions += [Delete(ENDPOINTSLICES, s) for s in existing if (s.get("ports") or []) not in shapes]
    return actions


def _placeholder(service: Object, existing: Sequence[Object]) -> list[Action]:
    """A service without pods keeps one slice without endpoints."""
    if not existing:
        return [Create(ENDPOINTSLICES, _slice(service, [], [], None))]
    first, *others = existing
    actions: list[Action] = [Delete(ENDPOINTSLICES, piece) for piece in others]
    if _differs(service, first, []):
        actions.append(Update(ENDPOINTSLICES, _slice(service, first.get("ports") or [], [], first)))
    return actions


def _ports(ports: Sequence[Port]) -> list[Object]:
    shown = []
    for name, number, protocol, app in ports:
        port: dict[str, Any] = {"name": name, "port": number, "protocol": protocol}
        if app:
            port["appProtocol"] = app
        shown.append(port)
    return shown


def _labels(service: Object) -> dict[str, str]:
    labels = {**labels_of(service)}
    labels[_SERVICE_LABEL] = service["metadata"]["name"]
    labels[_MANAGED_LABEL] = _MANAGED_BY
    if service["spec"].get("clusterIP") == "None":
        labels["service.kubernetes.io/headless"] = ""
    return labels


def _differs(service: Object, piece: Object, members: Sequence[Object]) -> bool:
    return (piece.get("endpoints") or []) != list(members) or labels_of(piece) != _labels(service)


def _slice(service: Object, ports: list[Object], members: list[Object], old: Object | None) -> Object:
    metadata = service["metadata"]
    if old is not None:
        kept = {**old["metadata"], "labels": _labels(service)}
        return {**old, "metadata": kept, "endpoints": members, "ports": ports}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": f"{metadata['name']}-",
            "namespace": metadata["namespace"],
            "labels": _labels(service),
            "ownerReferences": [owner_reference(service, SERVICES)],
        },
        "addressType": "IPv4",
        "endpoints": members,
        "ports": ports,
    }


def _record(service: Object, groups: Mapping[tuple[Port, ...], Mapping[str, Object]]) -> Record:
    endpoints = [e for members in groups.values() for e in members.values()]
    names = {
        f"{e['targetRef']['namespace']}/{e['targetRef']['name']}": bool(e["conditions"]["ready"])
        for e in endpoints
    }
    ready = sorted(name for name, good in names.items() if good)
    return Record("endpoints", {"service": key_of(service), "ready": ready, "all": sorted(names)})
