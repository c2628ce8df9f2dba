"""Envoy's admin interface over its unix socket."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from wavetank.errors import WavetankError

__all__ = ["Admin", "AdminError", "HostStats"]


class AdminError(WavetankError):
    """Envoy's admin interface did not answer, or not with 200."""


@dataclass(frozen=True, slots=True)
class HostStats:
    """What Envoy has counted for one endpoint of one cluster."""

    cluster: str
    address: str
    port: int
    rq_total: int
    rq_active: int
    rq_error: int


class Admin:
    def __init__(self, socket: Path) -> None:
        self._socket = str(socket)
        self._session: aiohttp.ClientSession | None = None

    async def get(self, path: str) -> bytes:
        return await self._request("GET", path)

    async def post(self, path: str) -> bytes:
        return await self._request("POST", path)

    async def _request(self, method: str, path: str) -> bytes:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(self._socket), timeout=aiohttp.ClientTimeout(total=5)
            )
        try:
            async with self._session.request(method, f"http://envoy{path}") as response:
                body = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise AdminError(f"Envoy's admin interface does not answer: {error}", at=self._socket) from error
        if response.status != 200:
            raise AdminError(f"Envoy answered {response.status} to {path}: {body[:200]!r}", at=self._socket)
        return body

    async def json(self, path: str) -> Any:
        return msgspec.json.decode(await self.get(path))

    async def hosts(self) -> list[HostStats]:
        """All endpoints of all clusters with their request counters."""
        document = await self.json("/clusters?format=json")
        return [
            _host_stats(cluster["name"], host)
            for cluster in document.get("cluster_statuses") or ()
            for host in cluster.get("host_statuses") or ()
        ]

    async def listeners(self) -> dict[str, tuple[str, int]]:
        """The bound address of each listener by name."""
        document = await self.json("/listeners?format=json")
        result = {}
        for listener in document.get("listener_statuses") or ():
            address = listener["local_address"].get("socket_address")
            if address:
                result[listener["name"]] = (address["address"], int(address["port_value"]))
        return result

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


def _host_stats(cluster: str, host: dict[str, Any]) -> HostStats:
    address = host["address"].get("socket_address") or {}
    counters = {s["name"]: int(s.get("value") or 0) for s in host.get("stats") or ()}
    return HostStats(
        cluster=cluster,
        address=address.get("address") or host["address"].get("pipe", {}).get("path", ""),
        port=int(address.get("port_value") or 0),
        rq_total=counters.get("rq_total", 0),
        rq_active=counters.get("rq_active", 0),
        rq_error=counters.get("rq_error", 0),
    )
