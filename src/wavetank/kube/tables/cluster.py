"""The cells of nodes, namespaces, services, endpoints, events and the small kinds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wavetank.kube.client import Object
from wavetank.kube.objects import condition, labels_of
from wavetank.kube.tables.cells import age, joined_map, since

__all__ = [
    "data_cells", "endpoint_slice_cells", "endpoints_cells", "event_cells", "lease_cells",
    "limit_range_cells", "namespace_cells", "node_cells", "pdb_cells", "priority_class_cells",
    "resource_quota_cells", "secret_cells", "service_account_cells", "service_cells",
]  # fmt: skip

_ROLE = "node-role.kubernetes.io/"
_SHOWN_MAX = 3


def node_cells(node: Object, now: float) -> list[Any]:
    status = node.get("status") or {}
    ready = condition(node, "Ready")
    text = "Unknown" if ready is None else "Ready" if ready.get("status") == "True" else "NotReady"
    if (node.get("spec") or {}).get("unschedulable"):
        text += ",SchedulingDisabled"
    roles = sorted(
        {key.removeprefix(_ROLE) for key in labels_of(node) if key.startswith(_ROLE)}
        | {value for key, value in labels_of(node).items() if key == "kubernetes.io/role" and value}
    )
    info = status.get("nodeInfo") or {}
    addresses = {a.get("type"): a.get("address") for a in status.get("addresses") or ()}
    return [
        node["metadata"]["name"],
        text,
        ",".join(roles) or "<none>",
        age(node, now),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP") or "<none>",
        addresses.get("ExternalIP") or "<none>",
        info.get("osImage") or "<unknown>",
        info.get("kernelVersion") or "<unknown>",
        info.get("containerRuntimeVersion") or "<unknown>",
    ]


def namespace_cells(obj: Object, now: float) -> list[Any]:
    return [obj["metadata"]["name"], (obj.get("status") or {}).get("phase", ""), age(obj, now)]


def service_cells(obj: Object, now: float) -> list[Any]:
    spec = obj.get("spec") or {}
    ports = []
    for port in spec.get("ports") or ():
        node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
        ports.append(f"{port.get('port')}{node_port}/{port.get('protocol', 'TCP')}")
    kind = spec.get("type", "ClusterIP")
    return [
        obj["metadata"]["name"],
        kind,
        spec.get("clusterIP") or "<none>",
        _external_address(obj, kind),
        ",".join(ports) or "<none>",
        age(obj, now),
        joined_map(spec.get("selector")),
    ]


def _external_address(service: Object, kind: str) -> str:
    spec = service.get("spec") or {}
    external = list(spec.get("externalIPs") or ())
    if kind == "ExternalName":
        return spec.get("externalName") or "<none>"
    if kind == "LoadBalancer":
        ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
        found = [i.get("ip") or i.get("hostname") or "" for i in ingress] + external
        return ",".join(found) or "<pending>"
    return ",".join(external) or "<none>"


def endpoints_cells(obj: Object, now: float) -> list[Any]:
    shown, total = [], 0
    for subset in obj.get("subsets") or ():
        for port in subset.get("ports") or [{}]:
            for address in subset.get("addresses") or ():
                total += 1
                suffix = f":{port['port']}" if port.get("port") else ""
                shown.append(f"{address.get('ip')}{suffix}")
    return [obj["metadata"]["name"], _few(shown, total), age(obj, now)]


def _few(shown: list[str], total: int) -> str:
    if not shown:
        return "<none>"
    text = ",".join(shown[:_SHOWN_MAX])
    return f"{text} + {total - _SHOWN_MAX} more..." if total > _SHOWN_MAX else text


def endpoint_slice_cells(obj: Object, now: float) -> list[Any]:
    ports = [str(p["port"]) if p.get("port") is not None else "*" for p in obj.get("ports") or ()]
    addresses = [a for e in obj.get("endpoints") or () for a in e.get("addresses") or ()]
    return [
        obj["metadata"]["name"],
        obj.get("addressType", ""),
        _few(ports, len(ports)).replace("<none>", "<unset>"),
        _few(addresses, len(addresses)).replace("<none>", "<unset>"),
        age(obj, now),
    ]


def event_cells(obj: Object, now: float) -> list[Any]:
    """Takes the core form; the last seen time is the series', then the last, then the first."""
    involved: Mapping[str, Any] = obj.get("involvedObject") or {}
    series = obj.get("series") or {}
    first = obj.get("firstTimestamp") or obj.get("eventTime")
    last = series.get("lastObservedTime") or obj.get("lastTimestamp") or first
    source = obj.get("source") or {}
    text = ", ".join(
        filter(None, (source.get("component") or obj.get("reportingComponent"), source.get("host")))
    )
    kind = str(involved.get("kind", "")).lower()
    return [
        since(last, now),
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{kind}/{involved.get('name', '')}" if kind else involved.get("name", ""),
        involved.get("fieldPath", ""),
        text,
        str(obj.get("message", "")).strip(),
        since(first, now),
        series.get("count") or obj.get("count") or 1,
        obj["metadata"]["name"],
    ]


def data_cells(obj: Object, now: float) -> list[Any]:
    count = len(obj.get("data") or ()) + len(obj.get("binaryData") or ())
    return [obj["metadata"]["name"], count, age(obj, now)]


def secret_cells(obj: Object, now: float) -> list[Any]:
    return [obj["metadata"]["name"], obj.get("type", "Opaque"), len(obj.get("data") or ()), age(obj, now)]


def service_account_cells(obj: Object, now: float) -> list[Any]:
    return [obj["metadata"]["name"], len(obj.get("secrets") or ()), age(obj, now)]


def pdb_cells(obj: Object, now: float) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    return [
        obj["metadata"]["name"],
        str(spec.get("minAvailable", "N/A")),
        str(spec.get("maxUnavailable", "N/A")),
        status.get("disruptionsAllowed", 0),
        age(obj, now),
    ]


def lease_cells(obj: Object, now: float) -> list[Any]:
    return [obj["metadata"]["name"], (obj.get("spec") or {}).get("holderIdentity") or "", age(obj, now)]


def priority_class_cells(obj: Object, now: float) -> list[Any]:
    policy = obj.get("preemptionPolicy", "PreemptLowerPriority")
    default = bool(obj.get("globalDefault"))
    return [obj["metadata"]["name"], obj.get("value", 0), default, age(obj, now), policy]


def resource_quota_cells(obj: Object, now: float) -> list[Any]:
    status = obj.get("status") or {}
    used = status.get("used") or {}
    shown = {
        name: f"{name}: {used.get(name, '0')}/{hard}" for name, hard in (status.get("hard") or {}).items()
    }
    limits = [shown[name] for name in sorted(shown) if name.startswith("limits.")]
    requests = [shown[name] for name in sorted(shown) if not name.startswith("limits.")]
    return [obj["metadata"]["name"], age(obj, now), ", ".join(requests), ", ".join(limits)]


def limit_range_cells(obj: Object, now: float) -> list[Any]:
    del now
    return [obj["metadata"]["name"], obj["metadata"].get("creationTimestamp", "")]
