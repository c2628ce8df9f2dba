"""Gateway servers, grouped by port as Istio merges them. Mirrors ``model/gateway.go`` mergeGateways.

On one port, HTTP servers share one route configuration; TLS servers are told apart by SNI. Where the
protocols of a port disagree, the older Gateway keeps it and the later server is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from wavetank.mesh import hosts
from wavetank.mesh.model import Config, World

__all__ = ["Server", "by_port", "gateway_servers"]

_HTTP = ("HTTP", "HTTP2", "GRPC", "GRPC-WEB")


@dataclass(frozen=True, slots=True)
class Server:
    """One ``servers[]`` entry. ``hosts`` are (namespace or ``*``, pattern) pairs."""

    gateway: Config
    index: int
    port: int
    port_name: str
    protocol: str
    hosts: tuple[tuple[str, str], ...]
    tls: Mapping[str, Any]
    name: str = ""

    @property
    def is_http(self) -> bool:
        return self.protocol in _HTTP

    @property
    def terminates_tls(self) -> bool:
        return self.protocol in ("HTTPS", "TLS") and self.tls.get("mode") not in (
            None, "PASSTHROUGH", "AUTO_PASSTHROUGH"
        )  # fmt: skip

    @property
    def https_redirect(self) -> bool:
        return self.is_http and bool(self.tls.get("httpsRedirect"))

    @property
    def sni(self) -> list[str]:
        return [host for _, host in self.hosts if host != "*"]


def gateway_servers(gateway: Config) -> list[Server]:
    return [_server(gateway, i, spec) for i, spec in enumerate(gateway.spec.get("servers") or ())]


def _server(gateway: Config, index: int, spec: Mapping[str, Any]) -> Server:
    port = spec["port"]
    return Server(
        gateway=gateway,
        index=index,
        port=int(port["number"]),
        port_name=str(port.get("name") or ""),
        protocol=str(port.get("protocol") or "HTTP").upper(),
        hosts=tuple(hosts.namespace_and_host(str(h), gateway.namespace) for h in spec.get("hosts") or ()),
        tls=spec.get("tls") or {},
        name=str(spec.get("name") or ""),
    )


def by_port(world: World) -> dict[int, list[Server]]:
    """The servers of each port that take effect, oldest Gateway first."""
    result: dict[int, list[Server]] = {}
    for gateway in world.gateways:
        for server in gateway_servers(gateway):
            taken = result.setdefault(server.port, [])
            if not taken or _compatible(server, taken):
                taken.append(server)
    return dict(sorted(result.items()))


def _compatible(server: Server, taken: Iterable[Server]) -> bool:
    for other in taken:
        if server.is_http or other.is_http or server.protocol == "TCP":
            if not (server.is_http and other.is_http):
                return False
        elif set(server.sni or ["*"]) & set(other.sni or ["*"]):
            return False  # the same SNI host twice: Envoy would refuse the whole listener
    return True
