"""Which pods Envoy has been told of and has acknowledged, and when each got its first request.

These are the last two stages of a scale-up's lag: ``endpoint.programmed`` and ``endpoint.first_request``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from wavetank.clock import Clock
from wavetank.journal import Journal
from wavetank.limits import FIRST_REQUEST_SECONDS
from wavetank.mesh.admin import Admin, AdminError, HostStats
from wavetank.mesh.translate.names import parse_cluster_name

__all__ = ["EndpointLedger", "Member", "members"]

_POLL_SECONDS = 0.02
_POLL_SECONDS_MAX = 0.25


@dataclass(frozen=True, slots=True)
class Member:
    """A pod in an acknowledged assignment; ``key`` is ``namespace/name``."""

    key: str
    uid: str
    address: str
    port: int


@dataclass(slots=True)
class _Awaited:
    member: Member
    service: str
    host: str
    until: float


def members(assignment: Mapping[str, Any]) -> frozenset[Member]:
    """The pods of a ClusterLoadAssignment in JSON form."""
    found = set()
    for locality in assignment.get("endpoints") or ():
        for entry in locality.get("lb_endpoints") or ():
            metadata = entry.get("metadata", {}).get("filter_metadata", {}).get("wavetank")
            address = entry["endpoint"]["address"].get("socket_address")
            if metadata and address:
                key = f"{metadata['namespace']}/{metadata['pod']}"
                found.add(
                    Member(key, metadata.get("uid", ""), address["address"], int(address["port_value"]))
                )
    return frozenset(found)


@dataclass(slots=True)
class EndpointLedger:
    clock: Clock
    journal: Journal
    _clusters: dict[str, frozenset[Member]] = field(default_factory=dict)
    _awaited: dict[tuple[str, str], _Awaited] = field(default_factory=dict)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def acknowledged(self, assignments: Mapping[str, Mapping[str, Any]], services: Mapping[str, str]) -> None:
        """Envoy acknowledged these assignments; ``services`` gives ``namespace/name`` by host."""
        for cluster, assignment in assignments.items():
            self._replace(cluster, members(assignment), services)

    def removed(self, clusters: Iterable[str], services: Mapping[str, str]) -> None:
        """These clusters are gone altogether."""
        for cluster in clusters:
            if cluster in self._clusters:
                self._replace(cluster, frozenset(), services)
                del self._clusters[cluster]

    def _replace(self, cluster: str, new: frozenset[Member], services: Mapping[str, str]) -> None:
        parsed = parse_cluster_name(cluster)
        if parsed is None or parsed[1]:
            return  # subsets repeat what the service's own cluster says
        host = parsed[2]
        before = self._pods(host)
        self._clusters[cluster] = new
        after = self._pods(host)
        service = services.get(host, host)
        for uid, member in after.items():
            if uid not in before:
                self._note("endpoint.programmed", member, service, action="added")
                self._await(member, service, host)
        for uid, member in before.items():
            if uid not in after:
                self._note("endpoint.programmed", member, service, action="removed")
                self._awaited.pop((host, uid), None)

    def _pods(self, host: str) -> dict[str, Member]:
        suffix = f"||{host}"
        return {
            m.uid or m.key: m
            for cluster, found in self._clusters.items()
            if cluster.endswith(suffix)
            for m in found
        }

    def _await(self, member: Member, service: str, host: str) -> None:
        until = self.clock.monotonic() + FIRST_REQUEST_SECONDS
        self._awaited[(host, member.uid or member.key)] = _Awaited(member, service, host, until)
        self._wake.set()

    def _note(self, kind: str, member: Member, service: str, **fields: Any) -> None:
        self.journal.record(kind, pod=member.key, uid=member.uid, service=service, **fields)

    async def watch_first_requests(self, admin: Admin) -> None:
        """Poll Envoy's own counters while endpoints wait for their first request; for ever."""
        pause = _POLL_SECONDS
        while True:
            if not self._awaited:
                self._wake.clear()
                await self._wake.wait()
                pause = _POLL_SECONDS
            try:
                self._observe(await admin.hosts())
            except AdminError:
                pass  # Envoy is restarting; its supervisor says so
            self._expire()
            if self._wake.is_set():
                self._wake.clear()
                pause = _POLL_SECONDS
            await self.clock.sleep(pause)
            pause = min(pause * 1.1, _POLL_SECONDS_MAX)

    def _observe(self, stats: Iterable[HostStats]) -> None:
        used = set()
        for entry in stats:
            parsed = parse_cluster_name(entry.cluster) if entry.rq_total else None
            if parsed is not None:
                used.add((parsed[2], entry.address, entry.port))
        for key, awaited in list(self._awaited.items()):
            member = awaited.member
            if (awaited.host, member.address, member.port) in used:
                del self._awaited[key]
                self._note("endpoint.first_request", member, awaited.service)

    def _expire(self) -> None:
        now = self.clock.monotonic()
        for key in [key for key, awaited in self._awaited.items() if awaited.until < now]:
            del self._awaited[key]
