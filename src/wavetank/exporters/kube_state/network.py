"""Endpoints, endpoint slices, ingresses, network policies."""

from __future__ import annotations

from typing import Any

from wavetank.exporters.families import Families
from wavetank.exporters.kube_state.common import (
    Labels,
    Object,
    created,
    identity,
    label_metric,
    spec_of,
)

__all__ = ["endpoint_slice", "endpoints", "ingress", "network_policy"]


def _flag(value: Any) -> str:
    return "" if value is None else str(bool(value)).lower()


def endpoints(found: Families, item: Object) -> None:
    labels = identity(item, "endpoint")
    found.gauge("kube_endpoint_info", labels, 1)
    created(found, "kube_endpoint_created", item, labels)
    label_metric(found, "kube_endpoint_labels", item, labels)
    for subset in item.get("subsets") or []:
        for port in subset.get("ports") or []:
            named = _port(port)
            found.gauge("kube_endpoint_ports", {**labels, **named}, 1)
            for key, ready in (("addresses", "true"), ("notReadyAddresses", "false")):
                for address in subset.get(key) or []:
                    own = {**labels, **named, "ip": str(address.get("ip") or ""), "ready": ready}
                    found.gauge("kube_endpoint_address", own, 1)


def _port(port: Object) -> Labels:
    return {
        "port_name": str(port.get("name") or ""),
        "port_protocol": str(port.get("protocol") or "TCP"),
        "port_number": str(port.get("port") or ""),
    }


def endpoint_slice(found: Families, item: Object) -> None:
    labels = identity(item, "endpointslice")
    kind = {"addresstype": str(item.get("addressType") or "")}
    found.gauge("kube_endpointslice_info", {**labels, **kind}, 1)
    created(found, "kube_endpointslice_created", item, labels)
    label_metric(found, "kube_endpointslice_labels", item, labels)
    for endpoint in item.get("endpoints") or []:
        state, target = endpoint.get("conditions") or {}, endpoint.get("targetRef") or {}
        own = {
            **labels,
            **{name: _flag(state.get(name)) for name in ("ready", "serving", "terminating")},
            "hostname": str(endpoint.get("hostname") or ""),
            "targetref_kind": str(target.get("kind") or ""),
            "targetref_name": str(target.get("name") or ""),
            "targetref_namespace": str(target.get("namespace") or ""),
            "endpoint_nodename": str(endpoint.get("nodeName") or ""),
            "endpoint_zone": str(endpoint.get("zone") or ""),
        }
        for address in endpoint.get("addresses") or []:
            found.gauge("kube_endpointslice_endpoints", {**own, "address": str(address)}, 1)
    for port in item.get("ports") or []:
        found.gauge("kube_endpointslice_ports", {**labels, **_port(port)}, 1)


def ingress(found: Families, item: Object) -> None:
    labels, spec = identity(item, "ingress"), spec_of(item)
    class_name = {"ingressclass": str(spec.get("ingressClassName") or "_default")}
    found.gauge("kube_ingress_info", {**labels, **class_name}, 1)
    created(found, "kube_ingress_created", item, labels)
    label_metric(found, "kube_ingress_labels", item, labels)
    for rule in spec.get("rules") or []:
        for path in (rule.get("http") or {}).get("paths") or []:
            service = (path.get("backend") or {}).get("service") or {}
            port = service.get("port") or {}
            own = {
                "host": str(rule.get("host") or ""),
                "path": str(path.get("path") or ""),
                "path_type": str(path.get("pathType") or ""),
                "service_name": str(service.get("name") or ""),
                "service_port": str(port.get("number") or port.get("name") or ""),
            }
            found.gauge("kube_ingress_path", {**labels, **own}, 1)
    for tls in spec.get("tls") or []:
        for host in tls.get("hosts") or []:
            own = {"tls_host": str(host), "secret": str(tls.get("secretName") or "")}
            found.gauge("kube_ingress_tls", {**labels, **own}, 1)


def network_policy(found: Families, item: Object) -> None:
    labels, spec = identity(item, "networkpolicy"), spec_of(item)
    created(found, "kube_networkpolicy_created", item, labels)
    label_metric(found, "kube_networkpolicy_labels", item, labels)
    found.gauge("kube_networkpolicy_spec_ingress_rules", labels, len(spec.get("ingress") or ()))
    found.gauge("kube_networkpolicy_spec_egress_rules", labels, len(spec.get("egress") or ()))
