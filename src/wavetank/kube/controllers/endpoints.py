"""Endpoints: the older form of EndpointSlices, for clients that still read it.

Mirrors ``pkg/controller/endpoint``. At most 1,000 addresses are listed, as upstream.
"""

from __future__ import annotations

from typing import Any, Final

from wavetank.kube.client import Object
from wavetank.kube.controllers.actions import Create, Decision, Delete, Key, Source, Update, View
from wavetank.kube.controllers.endpoint_ports import Port, backends, ports_of, services_of_pod
from wavetank.kube.controllers.sources import itself
from wavetank.kube.objects import is_deleting, is_ready, labels_of
from wavetank.kube.resources import ENDPOINTS, PODS, SERVICES

__all__ = ["EndpointsController"]

_ADDRESSES_MAX: Final = 1000
_GATHER_SECONDS: Final = 0.2  # traffic goes by EndpointSlices, which must not wait for this form


class EndpointsController:
    name = "endpoints-controller"
    sources = (itself(SERVICES), Source(PODS, services_of_pod, _GATHER_SECONDS))

    def step(self, now: float, key: Key, view: View) -> Decision:
        del now
        service, existing = view.get(SERVICES, *key), view.get(ENDPOINTS, *key)
        if service is None:
            return Decision([Delete(ENDPOINTS, existing)] if existing is not None else [])
        if not service["spec"].get("selector") or is_deleting(service):
            return Decision()
        subsets = _subsets(service, view)
        labels = dict(labels_of(service))
        if service["spec"].get("clusterIP") == "None":
            labels["service.kubernetes.io/headless"] = ""
        if existing is None:
            metadata: dict[str, Any] = {"name": key[1], "namespace": key[0]}
            if labels:
                metadata["labels"] = labels
            return Decision([Create(ENDPOINTS, {"metadata": metadata, "subsets": subsets})])
        if (existing.get("subsets") or []) == subsets and labels_of(existing) == labels:
            return Decision()
        metadata = {**existing["metadata"], "labels": labels}
        return Decision([Update(ENDPOINTS, {**existing, "metadata": metadata, "subsets": subsets})])


def _subsets(service: Object, view: View) -> list[Object]:
    groups: dict[tuple[Port, ...], dict[str, list[Object]]] = {}
    for pod in backends(view, service)[:_ADDRESSES_MAX]:
        publish = service["spec"].get("publishNotReadyAddresses")
        if is_deleting(pod) and not publish:
            continue
        ready = publish or is_ready(pod)
        group = groups.setdefault(ports_of(service, pod), {})
        group.setdefault("addresses" if ready else "notReadyAddresses", []).append(_address(pod))
    subsets = []
    for ports, addresses in groups.items():
        shown = []
        for name, number, protocol, app in ports:
            port: dict[str, Any] = {"port": number, "protocol": protocol}
            if name:
                port["name"] = name
            if app:
                port["appProtocol"] = app
            shown.append(port)
        subsets.append({**addresses, "ports": shown})
    return subsets


def _address(pod: Object) -> Object:
    metadata = pod["metadata"]
    target = {k: metadata[k] for k in ("name", "namespace", "uid")}
    address: Object = {"ip": pod["status"]["podIP"], "targetRef": {"kind": "Pod", **target}}
    if node := pod["spec"].get("nodeName"):
        address["nodeName"] = node
    return address
