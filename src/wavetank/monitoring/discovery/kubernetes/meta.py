"""The ``__meta_kubernetes_*`` labels: pure functions from API objects to target groups.

Mirrors discovery/kubernetes/{node,pod,service,endpoints,endpointslice,ingress}.go; names and presence rules
are those of the configuration page of Prometheus 3.14.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from wavetank.monitoring.discovery.group import TargetGroup

__all__ = [
    "Surroundings",
    "endpoints_group",
    "endpointslice_group",
    "ingress_group",
    "node_group",
    "pod_group",
    "service_group",
]

Object = Mapping[str, Any]
Labels = dict[str, str]

_META: Final = "__meta_kubernetes_"
_INVALID: Final = re.compile(r"[^a-zA-Z0-9_]")
_ADDRESS_ORDER: Final = (
    "InternalIP",
    "InternalDNS",
    "ExternalIP",
    "ExternalDNS",
    "LegacyHostIP",
    "Hostname",
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What else is known of a pod: looked up by name, None where it is unknown or was not asked for."""

    pods: Mapping[tuple[str, str], Object] = field(default_factory=dict)
    services: Mapping[tuple[str, str], Object] = field(default_factory=dict)
    nodes: Mapping[str, Object] | None = None
    namespaces: Mapping[str, Object] | None = None
    replicasets: Mapping[tuple[str, str], Object] | None = None
    jobs: Mapping[tuple[str, str], Object] | None = None


def _meta(item: Object) -> Mapping[str, Any]:
    found: Mapping[str, Any] = item.get("metadata") or {}
    return found


def _name(item: Object) -> str:
    return str(_meta(item).get("name") or "")


def _namespace(item: Object) -> str:
    return str(_meta(item).get("namespace") or "")


def _object_labels(item: Object, role: str) -> Labels:
    """Labels and annotations of an object, each with its ``present`` twin."""
    found: Labels = {}
    for kind, key in (("label", "labels"), ("annotation", "annotations")):
        for name, value in (_meta(item).get(key) or {}).items():
            clean = _INVALID.sub("_", name)
            found[f"{_META}{role}_{kind}_{clean}"] = str(value)
            found[f"{_META}{role}_{kind}present_{clean}"] = "true"
    return found


def _join(host: str, port: object) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _truth(value: object) -> str:
    return "true" if value else "false"


def node_group(node: Object) -> TargetGroup:
    """One target: the kubelet."""
    status = node.get("status") or {}
    addresses: dict[str, list[str]] = {}
    for entry in status.get("addresses") or []:
        addresses.setdefault(entry.get("type", ""), []).append(entry.get("address", ""))
    labels = {
        f"{_META}node_name": _name(node),
        f"{_META}node_provider_id": str((node.get("spec") or {}).get("providerID") or ""),
        **_object_labels(node, "node"),
    }
    source = f"node/{_name(node)}"
    address = next((addresses[kind][0] for kind in _ADDRESS_ORDER if addresses.get(kind)), None)
    if address is None:
        return TargetGroup(source, (), labels)
    port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port", 0)
    target = {"__address__": _join(address, port), "instance": _name(node)}
    for kind, found in addresses.items():
        target[f"{_META}node_address_{_INVALID.sub('_', kind)}"] = found[0]
    return TargetGroup(source, (target,), labels)


def pod_group(pod: Object, around: Surroundings) -> TargetGroup:
    """A target for each declared container port, or one without a port for a container that declares none."""
    source = f"pod/{_namespace(pod)}/{_name(pod)}"
    address = str((pod.get("status") or {}).get("podIP") or "")
    if not address:
        return TargetGroup(source)
    labels = {f"{_META}namespace": _namespace(pod), **_pod_labels(pod, around)}
    targets: list[Labels] = []
    for container, init in _containers(pod):
        described = _container_labels(pod, container, init)
        ports = container.get("ports") or []
        if not ports:
            targets.append({"__address__": f"[{address}]" if ":" in address else address, **described})
        targets += [
            {
                "__address__": _join(address, port.get("containerPort", 0)),
                **described,
                **_container_port_labels(port),
            }
            for port in ports
        ]
    return TargetGroup(source, targets, labels)


def _containers(pod: Object) -> Iterator[tuple[Object, bool]]:
    spec = pod.get("spec") or {}
    for container in spec.get("containers") or []:
        yield container, False
    for container in spec.get("initContainers") or []:
        yield container, True


def _container_labels(pod: Object, container: Object, init: bool) -> Labels:
    statuses = (pod.get("status") or {}).get("initContainerStatuses" if init else "containerStatuses") or []
    ids = [s.get("containerID") or "" for s in statuses if s.get("name") == container.get("name")]
    return {
        f"{_META}pod_container_name": str(container.get("name") or ""),
        f"{_META}pod_container_image": str(container.get("image") or ""),
        f"{_META}pod_container_id": ids[0] if ids else "",
        f"{_META}pod_container_init": _truth(init),
    }


def _container_port_labels(port: Object) -> Labels:
    return {
        f"{_META}pod_container_port_name": str(port.get("name") or ""),
        f"{_META}pod_container_port_number": str(port.get("containerPort", 0)),
        f"{_META}pod_container_port_protocol": str(port.get("protocol") or "TCP"),
    }


def _pod_labels(pod: Object, around: Surroundings) -> Labels:
    status, spec = pod.get("status") or {}, pod.get("spec") or {}
    ready = [c.get("status") for c in status.get("conditions") or [] if c.get("type") == "Ready"]
    labels = {
        f"{_META}pod_name": _name(pod),
        f"{_META}pod_ip": str(status.get("podIP") or ""),
        f"{_META}pod_ready": str(ready[0]).lower() if ready else "unknown",
        f"{_META}pod_phase": str(status.get("phase") or ""),
        f"{_META}pod_node_name": str(spec.get("nodeName") or ""),
        f"{_META}pod_host_ip": str(status.get("hostIP") or ""),
        f"{_META}pod_uid": str(_meta(pod).get("uid") or ""),
        **_object_labels(pod, "pod"),
        **_owner_labels(pod, around),
    }
    if around.nodes is not None and (node := around.nodes.get(str(spec.get("nodeName") or ""))):
        labels |= {f"{_META}node_name": _name(node), **_object_labels(node, "node")}
    if around.namespaces is not None and (namespace := around.namespaces.get(_namespace(pod))):
        labels |= _object_labels(namespace, "namespace")
    return labels


def _controller(item: Object) -> Object | None:
    owners: Sequence[Object] = _meta(item).get("ownerReferences") or []
    return next((owner for owner in owners if owner.get("controller")), None)


def _owner_labels(pod: Object, around: Surroundings) -> Labels:
    """The controller, and what controls the controller where that was asked for."""
    owner = _controller(pod)
    if owner is None:
        return {}
    kind, name = str(owner.get("kind") or ""), str(owner.get("name") or "")
    labels = {f"{_META}pod_controller_kind": kind, f"{_META}pod_controller_name": name}
    key = (_namespace(pod), name)
    if kind == "ReplicaSet" and around.replicasets is not None:
        above = _controller(around.replicasets.get(key, {}))
        if above is not None and above.get("kind") == "Deployment":
            labels[f"{_META}pod_deployment_name"] = str(above.get("name") or "")
    if kind == "Job" and around.jobs is not None:
        labels[f"{_META}pod_job_name"] = name
        above = _controller(around.jobs.get(key, {}))
        if above is not None and above.get("kind") == "CronJob":
            labels[f"{_META}pod_cronjob_name"] = str(above.get("name") or "")
    return labels


def service_group(service: Object) -> TargetGroup:
    """A target for each port, by the service's DNS name."""
    spec = service.get("spec") or {}
    host = f"{_name(service)}.{_namespace(service)}.svc"
    kind = str(spec.get("type") or "ClusterIP")
    targets = []
    for port in spec.get("ports") or []:
        target = {
            "__address__": f"{host}:{port.get('port', 0)}",
            f"{_META}service_port_name": str(port.get("name") or ""),
            f"{_META}service_port_number": str(port.get("port", 0)),
            f"{_META}service_port_protocol": str(port.get("protocol") or "TCP"),
            f"{_META}service_type": kind,
        }
        if kind == "ExternalName":
            target[f"{_META}service_external_name"] = str(spec.get("externalName") or "")
        else:
            target[f"{_META}service_cluster_ip"] = str(spec.get("clusterIP") or "")
        if kind == "LoadBalancer":
            target[f"{_META}service_loadbalancer_ip"] = str(spec.get("loadBalancerIP") or "")
        targets.append(target)
    labels = {f"{_META}namespace": _namespace(service), **_service_labels(service)}
    return TargetGroup(f"svc/{_namespace(service)}/{_name(service)}", targets, labels)


def _service_labels(service: Object) -> Labels:
    return {f"{_META}service_name": _name(service), **_object_labels(service, "service")}


class _PodTargets:
    """Joins endpoint targets with their pods, and adds the pods' other ports at the end."""

    def __init__(self, namespace: str, around: Surroundings) -> None:
        self.targets: list[Labels] = []
        self._namespace = namespace
        self._around = around
        self._seen: dict[tuple[str, str], set[object]] = {}

    def add(self, target: Labels, reference: Object | None, port_number: object, node_name: str) -> None:
        if node_name and self._around.nodes is not None and (node := self._around.nodes.get(node_name)):
            target |= {f"{_META}node_name": node_name, **_object_labels(node, "node")}
        self.targets.append(target)
        if not reference or reference.get("kind") != "Pod":
            return
        key = (str(reference.get("namespace") or self._namespace), str(reference.get("name") or ""))
        pod = self._around.pods.get(key)
        if pod is None:
            return
        target |= _pod_labels(pod, self._around)
        used = self._seen.setdefault(key, set())
        for container, init in _containers(pod):
            for port in container.get("ports") or []:
                if port.get("containerPort") == port_number:
                    target |= {**_container_labels(pod, container, init), **_container_port_labels(port)}
                    used.add(port_number)
                    return

    def with_other_ports(self) -> list[Labels]:
        """All targets, with those of container ports that no endpoint mentions."""
        for key, used in self._seen.items():
            pod = self._around.pods[key]
            address = str((pod.get("status") or {}).get("podIP") or "")
            if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed") or not address:
                continue
            for container, init in _containers(pod):
                for port in container.get("ports") or []:
                    if port.get("containerPort") in used:
                        continue
                    self.targets.append(
                        {
                            "__address__": _join(address, port.get("containerPort", 0)),
                            **_container_labels(pod, container, init),
                            **_container_port_labels(port),
                            **_pod_labels(pod, self._around),
                        }
                    )
        return self.targets


def endpoints_group(endpoints: Object, around: Surroundings) -> TargetGroup:
    """A target for each address and port, ready or not, and for the other ports of the pods behind them."""
    namespace, name = _namespace(endpoints), _name(endpoints)
    joined = _PodTargets(namespace, around)
    for subset in endpoints.get("subsets") or []:
        for port in subset.get("ports") or []:
            for key, ready in (("addresses", True), ("notReadyAddresses", False)):
                for address in subset.get(key) or []:
                    _add_endpoint(joined, address, port, ready)
    labels = {
        f"{_META}namespace": namespace,
        f"{_META}endpoints_name": name,
        **_object_labels(endpoints, "endpoints"),
    }
    if service := around.services.get((namespace, name)):
        labels |= _service_labels(service)
    return TargetGroup(f"endpoints/{namespace}/{name}", joined.with_other_ports(), labels)


def _add_endpoint(joined: _PodTargets, address: Object, port: Object, ready: bool) -> None:
    target = {
        "__address__": _join(str(address.get("ip") or ""), port.get("port", 0)),
        f"{_META}endpoint_port_name": str(port.get("name") or ""),
        f"{_META}endpoint_port_protocol": str(port.get("protocol") or "TCP"),
        f"{_META}endpoint_ready": _truth(ready),
    }
    reference = address.get("targetRef")
    if reference:
        target[f"{_META}endpoint_address_target_kind"] = str(reference.get("kind") or "")
        target[f"{_META}endpoint_address_target_name"] = str(reference.get("name") or "")
    node_name = str(address.get("nodeName") or "")
    if node_name:
        target[f"{_META}endpoint_node_name"] = node_name
    if address.get("hostname"):
        target[f"{_META}endpoint_hostname"] = str(address["hostname"])
    joined.add(target, reference, port.get("port"), node_name)


def endpointslice_group(endpoint_slice: Object, around: Surroundings) -> TargetGroup:
    """As ``endpoints_group``, from a slice."""
    namespace, name = _namespace(endpoint_slice), _name(endpoint_slice)
    joined = _PodTargets(namespace, around)
    for port in endpoint_slice.get("ports") or []:
        for endpoint in endpoint_slice.get("endpoints") or []:
            for address in endpoint.get("addresses") or []:
                _add_slice_endpoint(joined, str(address), endpoint, port)
    labels = {
        f"{_META}namespace": namespace,
        f"{_META}endpointslice_name": name,
        f"{_META}endpointslice_address_type": str(endpoint_slice.get("addressType") or ""),
        **_object_labels(endpoint_slice, "endpointslice"),
    }
    service_name = (_meta(endpoint_slice).get("labels") or {}).get("kubernetes.io/service-name", "")
    if service := around.services.get((namespace, service_name)):
        labels |= _service_labels(service)
    return TargetGroup(f"endpointslice/{namespace}/{name}", joined.with_other_ports(), labels)


def _add_slice_endpoint(joined: _PodTargets, address: str, endpoint: Object, port: Object) -> None:
    number = port.get("port")
    target = {"__address__": address if number is None else _join(address, number)}
    prefix = f"{_META}endpointslice_"
    if port.get("name") is not None:
        target[f"{prefix}port_name"] = str(port["name"])
    if port.get("protocol") is not None:
        target[f"{prefix}port_protocol"] = str(port["protocol"])
    if number is not None:
        target[f"{prefix}port"] = str(number)
    if port.get("appProtocol") is not None:
        target[f"{prefix}port_app_protocol"] = str(port["appProtocol"])
    for condition in ("ready", "serving", "terminating"):
        value = (endpoint.get("conditions") or {}).get(condition)
        if value is not None:
            target[f"{prefix}endpoint_conditions_{condition}"] = _truth(value)
    for key, label in (("hostname", "hostname"), ("nodeName", "node_name"), ("zone", "zone")):
        if endpoint.get(key) is not None:
            target[f"{prefix}endpoint_{label}"] = str(endpoint[key])
    for key, value in (endpoint.get("deprecatedTopology") or {}).items():
        clean = _INVALID.sub("_", key)
        target[f"{prefix}endpoint_topology_{clean}"] = str(value)
        target[f"{prefix}endpoint_topology_present_{clean}"] = "true"
    reference = endpoint.get("targetRef")
    if reference:
        target[f"{prefix}address_target_kind"] = str(reference.get("kind") or "")
        target[f"{prefix}address_target_name"] = str(reference.get("name") or "")
    joined.add(target, reference, number, str(endpoint.get("nodeName") or ""))


def ingress_group(ingress: Object) -> TargetGroup:
    """A target for each path of each rule."""
    spec = ingress.get("spec") or {}
    encrypted = [host for tls in spec.get("tls") or [] for host in tls.get("hosts") or []]
    targets: list[Labels] = []
    for rule in spec.get("rules") or []:
        host = str(rule.get("host") or "*")
        scheme = "https" if any(_covers(pattern, host) for pattern in encrypted) else "http"
        paths = [path.get("path") or "/" for path in (rule.get("http") or {}).get("paths") or []] or ["/"]
        targets += [
            {
                "__address__": host,
                f"{_META}ingress_scheme": scheme,
                f"{_META}ingress_host": host,
                f"{_META}ingress_path": path,
            }
            for path in paths
        ]
    labels = {
        f"{_META}namespace": _namespace(ingress),
        f"{_META}ingress_name": _name(ingress),
        **_object_labels(ingress, "ingress"),
    }
    if spec.get("ingressClassName"):
        labels[f"{_META}ingress_class_name"] = str(spec["ingressClassName"])
    return TargetGroup(f"ingress/{_namespace(ingress)}/{_name(ingress)}", targets, labels)


def _covers(pattern: str, host: str) -> bool:
    """Whether a certificate's host covers ``host``; ``*.`` stands for exactly one label."""
    if pattern.startswith("*."):
        return host.partition(".")[2] == pattern[2:]
    return pattern == host
