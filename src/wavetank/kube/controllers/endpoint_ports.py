"""Which pods stand behind a service, and on which ports: common to EndpointSlices and Endpoints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from wavetank.kube.client import Object, WatchType
from wavetank.kube.controllers.actions import Key, View
from wavetank.kube.objects import is_terminal, labels_of
from wavetank.kube.resources import PODS, SERVICES
from wavetank.kube.selectors import from_labels
from wavetank.kube.storage import Change, name_of

__all__ = ["backends", "ports_of", "services_of_pod"]

Port = tuple[str, int | None, str, str]
"""(name, number, protocol, appProtocol)."""


def backends(view: View, service: Object) -> Sequence[Object]:
    """Pods with an address that the service selects, by name; pods that have ended are out."""
    selector = from_labels(service["spec"].get("selector"))
    found = [
        pod
        for pod in view.list(PODS, service["metadata"]["namespace"])
        if (pod.get("status") or {}).get("podIP")
        and not is_terminal(pod)
        and selector.matches(labels_of(pod))
    ]
    found.sort(key=lambda pod: pod["metadata"]["name"])
    return found


def ports_of(service: Object, pod: Object) -> tuple[Port, ...]:
    """The service's ports on this pod; a named target port the pod does not have is left out."""
    found: list[Port] = []
    for port in service["spec"].get("ports") or ():
        protocol = port.get("protocol", "TCP")
        number = _target(port.get("targetPort", port.get("port")), protocol, pod)
        if number is not None:
            found.append((port.get("name", ""), number, protocol, port.get("appProtocol", "")))
    return tuple(found)


def _target(target: object, protocol: str, pod: Object) -> int | None:
    if isinstance(target, int):
        return target
    spec = pod["spec"]
    sidecars = (c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always")
    for container in (*(spec.get("containers") or ()), *sidecars):
        for port in container.get("ports") or ():
            if port.get("name") == target and port.get("protocol", "TCP") == protocol:
                return int(port["containerPort"])
    return None


def services_of_pod(view: View, change: Change) -> Iterable[Key]:
    """Services whose endpoints a pod's change may touch."""
    pod, before = change.object, change.previous
    if change.type is WatchType.MODIFIED and before is not None and not _matters(before, pod):
        return
    both = (labels_of(pod), labels_of(before) if before is not None else None)
    for service in view.list(SERVICES, pod["metadata"]["namespace"]):
        selector = from_labels((service.get("spec") or {}).get("selector"))
        if not selector.empty and any(labels is not None and selector.matches(labels) for labels in both):
            yield name_of(service)


def _matters(before: Object, after: Object) -> bool:
    old, new = before.get("status") or {}, after.get("status") or {}
    return (
        before["metadata"].get("deletionTimestamp") != after["metadata"].get("deletionTimestamp")
        or before["metadata"].get("labels") != after["metadata"].get("labels")
        or any(old.get(name) != new.get(name) for name in ("podIP", "phase", "conditions"))
        or before["spec"].get("nodeName") != after["spec"].get("nodeName")
    )
