"""What the translators see: services, their endpoints, and Istio configuration, as plain values.

Mirrors istio/istio ``pilot/pkg/model`` (Service, IstioEndpoint, PushContext). Specs stay JSON dicts: they
have been checked against the schema before they get here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wavetank.mesh import hosts

__all__ = ["Config", "Endpoint", "Service", "ServicePort", "World", "port_protocol"]

_PROTOCOLS = {
    "http": "HTTP", "http2": "HTTP2", "grpc": "GRPC", "grpc-web": "HTTP", "https": "HTTPS", "tls": "TLS",
    "tcp": "TCP", "mongo": "TCP", "redis": "TCP", "mysql": "TCP", "udp": "UDP",
}  # fmt: skip
_APP_PROTOCOLS = {"kubernetes.io/h2c": "HTTP2", "kubernetes.io/ws": "HTTP", "kubernetes.io/wss": "HTTPS"}


def port_protocol(name: str, app_protocol: str, transport: str = "TCP") -> str:
    """The protocol Istio takes a Service port for; ``AUTO`` where it would sniff.

    ``appProtocol`` wins over the name's prefix (``http``, ``http-web``); see Istio's "Protocol Selection".
    """
    if transport not in ("", "TCP"):
        return transport
    if app_protocol:
        lowered = app_protocol.lower()
        return _APP_PROTOCOLS.get(lowered) or _PROTOCOLS.get(lowered, "AUTO")
    name = name.lower()
    if name == "grpc-web" or name.startswith("grpc-web-"):
        return "HTTP"
    return _PROTOCOLS.get(name.split("-", 1)[0], "AUTO")


@dataclass(frozen=True, slots=True)
class ServicePort:
    name: str
    number: int
    protocol: str

    @property
    def is_http(self) -> bool:
        return self.protocol in ("HTTP", "HTTP2", "GRPC")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of a service. ``pod`` is ``namespace/name``, or "" for an address that is no pod."""

    address: str
    port_name: str
    port: int
    pod: str = ""
    uid: str = ""
    workload: str = ""
    node: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    weight: int = 0


@dataclass(frozen=True, slots=True)
class Service:
    """A Kubernetes Service or one host of a ServiceEntry.

    ``resolution``: ``EDS`` (endpoints pushed), ``DNS`` (each address a host), ``DNS_ROUND_ROBIN`` (one name,
    first address) or ``NONE`` (the connection's own destination). ``static`` holds a ServiceEntry's
    endpoints.
    """

    hostname: str
    name: str
    namespace: str
    ports: tuple[ServicePort, ...]
    addresses: tuple[str, ...] = ()
    resolution: str = "EDS"
    static: tuple[Endpoint, ...] = ()
    external: bool = False

    def port(self, number: int) -> ServicePort | None:
        return next((p for p in self.ports if p.number == number), None)


@dataclass(frozen=True, slots=True)
class Config:
    """One Istio resource: its identity, its spec, and what orders it among its like."""

    kind: str
    namespace: str
    name: str
    spec: Mapping[str, Any]
    created: str = ""
    gateway_semantics: bool = False
    """Made from a Gateway API route: prefixes match whole path elements, missing backends give 500."""

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def api_path(self) -> str:
        kind = "".join(f"-{c.lower()}" if c.isupper() else c for c in self.kind).lstrip("-")
        return f"/apis/networking.istio.io/v1/namespaces/{self.namespace}/{kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class World:
    """Everything one push is made from; a value, so that equal worlds translate to equal configuration."""

    services: Mapping[str, Service] = field(default_factory=dict)  # by host name
    endpoints: Mapping[str, tuple[Endpoint, ...]] = field(default_factory=dict)  # by host name
    gateways: tuple[Config, ...] = ()
    virtual_services: tuple[Config, ...] = ()
    destination_rules: tuple[Config, ...] = ()
    certificates: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # ns/secret: PEM chain, key

    def service(self, host: str, namespace: str) -> Service | None:
        """The service a destination names, from a resource in ``namespace``; wildcard hosts of
        ServiceEntries are found last."""
        wanted = hosts.resolve(host, namespace)
        found = self.services.get(wanted)
        if found is None:
            pattern = hosts.most_specific(wanted, (h for h in self.services if h.startswith("*")))
            found = self.services[pattern] if pattern else None
        return found
