"""Changing Envoy's configuration without a failed request: make before break, by acknowledgement.

Order of one change: new and changed clusters with their endpoints; when Envoy has acknowledged those by
name, routes and listeners; when it has acknowledged those, removal of what nothing points to any more.
Changes of endpoints alone do not wait in this line.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from wavetank.clock import Clock
from wavetank.limits import MESH_TAKEOVER_SECONDS
from wavetank.mesh.translate import EnvoyConfig
from wavetank.mesh.xds import AdsServer, Nack, Type

__all__ = ["Pusher"]


class Pusher:
    """Brings Envoy from one EnvoyConfig to the next. ``apply`` calls take turns."""

    def __init__(self, server: AdsServer, clock: Clock) -> None:
        self._server = server
        self._clock = clock
        self._turn = asyncio.Lock()

    def endpoints(self, assignments: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Send changed endpoints at once; returns the clusters whose endpoints changed."""
        return self._server.update(Type.EDS, assignments)

    async def apply(self, config: EnvoyConfig) -> list[Nack]:
        """Apply everything; returns the refusals that stand afterwards.

        While Envoy is not connected the state is only set: Envoy orders its own first fetch.
        """
        server = self._server
        self.endpoints(config.endpoints)
        async with self._turn:
            clusters = server.update(Type.CDS, config.clusters)
            if server.connected:
                await server.acknowledged(Type.CDS, clusters)
                await server.acknowledged(Type.EDS, self._eds_clusters(clusters))
            routes = server.update(Type.RDS, config.routes)
            listeners = server.update(Type.LDS, config.listeners)
            gone = server.retain(Type.LDS, config.listeners)
            if server.connected:
                await server.acknowledged(Type.LDS, listeners)
                await server.acknowledged(Type.RDS, [n for n in routes if self._asked_for(n)])
            if (listeners or gone) and set(server.resources(Type.CDS)) - set(config.clusters):
                # An acknowledged listener takes over a little later, on each worker by itself.
                await self._clock.sleep(MESH_TAKEOVER_SECONDS)
            server.retain(Type.RDS, config.routes)
            server.retain(Type.CDS, config.clusters)
            server.retain(Type.EDS, config.clusters)
        return server.rejected()

    def _eds_clusters(self, names: list[str]) -> list[str]:
        """Those of these clusters that Envoy accepted and that wait for endpoints from us."""
        accepted = self._server.resources(Type.CDS)
        return [name for name in names if accepted.get(name, {}).get("type") == "EDS"]

    def _asked_for(self, route: str) -> bool:
        """Envoy fetches a route configuration only for a listener it has accepted."""
        return self._server.subscribed(Type.RDS, route)
