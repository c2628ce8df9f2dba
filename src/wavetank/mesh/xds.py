"""The xDS server: ADS, state of the world, for one Envoy, over a unix socket.

Follows Envoy's "xDS REST and gRPC protocol" and what it leaves to the server: every response has a nonce;
its ACK or NACK is tracked by resource name, because waiting for "an EDS ACK" is not enough to know that one
cluster's endpoints are in. CDS and LDS responses carry the full set, EDS and RDS ones only what changed.
A resource that Envoy refused is not sent again: the last good one stays in force until it changes.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from wavetank.clock import Clock
from wavetank.journal import Journal
from wavetank.limits import XDS_ACK_SECONDS
from wavetank.mesh.descriptors import TYPE_PREFIX, message_class, pack

__all__ = ["AdsServer", "Nack", "Type"]

_SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"


class Type(enum.Enum):
    """The four resource types; ``CDS`` and ``LDS`` are wildcard subscriptions with full-set responses."""

    CDS = "envoy.config.cluster.v3.Cluster"
    EDS = "envoy.config.endpoint.v3.ClusterLoadAssignment"
    LDS = "envoy.config.listener.v3.Listener"
    RDS = "envoy.config.route.v3.RouteConfiguration"

    @property
    def url(self) -> str:
        return TYPE_PREFIX + self.value

    @property
    def full_set(self) -> bool:
        return self in (Type.CDS, Type.LDS)


_BY_URL = {kind.url: kind for kind in Type}


@dataclass(frozen=True, slots=True)
class Nack:
    """Envoy's refusal: the resources it may concern and Envoy's own words."""

    type: Type
    names: tuple[str, ...]
    error: str


@dataclass(slots=True)
class _Resource:
    revision: int
    content: Mapping[str, Any]
    packed: Any


@dataclass(slots=True)
class _State:
    """One type: what should hold, what Envoy acknowledged, and what it refused."""

    resources: dict[str, _Resource] = field(default_factory=dict)
    acked: dict[str, int] = field(default_factory=dict)
    good: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    rejected: dict[str, Nack] = field(default_factory=dict)
    rejected_content: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    version: int = 0


@dataclass(slots=True)
class _Sent:
    revisions: dict[str, int]
    contents: dict[str, Mapping[str, Any]]
    changed: tuple[str, ...]
    version: int


@dataclass(slots=True)
class _Stream:
    """One connection of Envoy: its subscriptions and the responses it has not answered yet."""

    queue: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)
    names: dict[Type, set[str]] = field(default_factory=dict)
    seen: dict[Type, dict[str, int]] = field(default_factory=dict)
    waiting: dict[str, _Sent] = field(default_factory=dict)
    nonce: int = 0


AckListener = Callable[[Type, Mapping[str, Mapping[str, Any]]], None]


class AdsServer:
    """Serves one Envoy. ``update`` and ``retain`` say what should hold; ``acknowledged`` waits for it.

    ``on_ack`` is called with the contents of every acknowledged response.
    """

    def __init__(
        self, socket: Path, clock: Clock, journal: Journal | None = None, on_ack: AckListener | None = None
    ) -> None:
        self._socket = socket
        self._clock = clock
        self._journal = journal
        self._on_ack = on_ack
        self._states = {kind: _State() for kind in Type}
        self._stream: _Stream | None = None
        self._progress = asyncio.Event()
        self._revision = 0
        self._server: Any = None

    # What should hold

    def update(self, kind: Type, resources: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Add or replace resources and send them; returns the names that changed.

        Raises google.protobuf.json_format.ParseError if one does not fit the Envoy API; nothing is sent then.
        """
        state = self._states[kind]
        changed: dict[str, _Resource] = {}
        for name, wanted in resources.items():
            content = wanted
            if name in state.rejected_content:
                if state.rejected_content[name] == wanted:
                    if name not in state.good:
                        continue
                    content = state.good[name]
                else:
                    del state.rejected_content[name], state.rejected[name]
            old = state.resources.get(name)
            if old is None or old.content != content:
                self._revision += 1
                changed[name] = _Resource(self._revision, content, pack(dict(content)))
        state.resources.update(changed)
        if changed:
            self._send(kind, set(changed))
        return list(changed)

    def retain(self, kind: Type, names: Iterable[str]) -> list[str]:
        """Remove all resources but these; returns the names that were removed."""
        state = self._states[kind]
        kept = set(names)
        removed = [name for name in state.resources if name not in kept]
        for name in removed:
            del state.resources[name]
            state.acked.pop(name, None)
            state.good.pop(name, None)
            if self._stream is not None:
                self._stream.seen.get(kind, {}).pop(name, None)
        for name in [name for name in state.rejected if name not in kept]:
            del state.rejected[name], state.rejected_content[name]
        if removed and kind.full_set:
            self._send(kind, set())
        return removed

    def resources(self, kind: Type) -> dict[str, Mapping[str, Any]]:
        """What should hold, in JSON form."""
        return {name: resource.content for name, resource in self._states[kind].resources.items()}

    def rejected(self) -> list[Nack]:
        """The refusals that still stand, without repeats."""
        return list(dict.fromkeys(n for state in self._states.values() for n in state.rejected.values()))

    @property
    def connected(self) -> bool:
        return self._stream is not None

    def subscribed(self, kind: Type, name: str) -> bool:
        """Whether Envoy asks for this resource by name."""
        return self._stream is not None and name in self._stream.names.get(kind, ())

    async def acknowledged(self, kind: Type, names: Iterable[str]) -> bool:
        """Wait until Envoy has answered for the present state of these resources, with ACK or NACK.

        False if it does not answer within XDS_ACK_SECONDS, or is not connected.
        """
        wanted = set(names)
        deadline = self._clock.monotonic() + XDS_ACK_SECONDS
        while not self._settled(kind, wanted):
            left = deadline - self._clock.monotonic()
            if left <= 0 or self._stream is None:
                return False
            self._progress.clear()
            await _first(self._progress.wait(), self._clock.sleep(left))
        return True

    def _settled(self, kind: Type, names: set[str]) -> bool:
        state = self._states[kind]
        return all(
            state.acked.get(name, 0) >= state.resources[name].revision
            for name in names
            if name in state.resources and name not in state.rejected
        )

    # The wire

    async def start(self) -> None:
        self._socket.unlink(missing_ok=True)
        request = message_class("envoy.service.discovery.v3.DiscoveryRequest")
        handler = grpc.stream_stream_rpc_method_handler(
            self._serve,
            request_deserializer=request.FromString,
            response_serializer=lambda response: response.SerializeToString(),
        )
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(_SERVICE, {"StreamAggregatedResources": handler}),)
        )
        self._server.add_insecure_port(f"unix:{self._socket}")
        await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(None)
            self._server = None
        self._socket.unlink(missing_ok=True)

    async def _serve(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        stream = self._stream = _Stream()
        for state in self._states.values():
            state.acked.clear()
        reader = asyncio.create_task(self._read(stream, requests))
        try:
            while (response := await stream.queue.get()) is not None:
                yield response
        finally:
            reader.cancel()
            if self._stream is stream:
                self._stream = None
                self._progress.set()

    async def _read(self, stream: _Stream, requests: AsyncIterator[Any]) -> None:
        try:
            async for request in requests:
                kind = _BY_URL.get(request.type_url)
                if kind is not None:
                    self._receive(stream, kind, request)
        finally:
            stream.queue.put_nowait(None)

    def _receive(self, stream: _Stream, kind: Type, request: Any) -> None:
        sent = stream.waiting.pop(request.response_nonce, None) if request.response_nonce else None
        if sent is not None:
            if request.HasField("error_detail"):
                self._nack(stream, kind, sent, request.error_detail.message)
            else:
                self._ack(kind, sent)
        first = kind not in stream.names
        names = set(request.resource_names)
        dropped = stream.names.get(kind, set()) - names
        for name in dropped:
            stream.seen.get(kind, {}).pop(name, None)
        stream.names[kind] = names
        if first or not kind.full_set:
            self._send(kind, set(), first=first)

    def _send(self, kind: Type, changed: set[str], *, first: bool = False) -> None:
        """Send what this stream has not got yet; for full-set types everything, if anything changed."""
        stream, state = self._stream, self._states[kind]
        if stream is None or kind not in stream.names:
            return
        seen = stream.seen.setdefault(kind, {})
        if kind.full_set:
            names = list(state.resources)
            new = [n for n in names if seen.get(n) != state.resources[n].revision]
        else:
            names = [n for n in stream.names[kind] if n in state.resources]
            names = new = [n for n in names if seen.get(n) != state.resources[n].revision]
            if not new:
                return
        self._respond(stream, kind, names, tuple(new))
        if kind is Type.CDS:
            self._rewarm(stream, new)

    def _rewarm(self, stream: _Stream, clusters: Iterable[str]) -> None:
        """A cluster that is replaced warms again and waits for endpoints that Envoy already has: they are
        sent once more, behind the cluster."""
        seen = stream.seen.get(Type.EDS, {})
        again = [name for name in clusters if seen.pop(name, None) is not None]
        if again:
            self._send(Type.EDS, set(again))

    def _respond(self, stream: _Stream, kind: Type, names: list[str], changed: tuple[str, ...]) -> None:
        state = self._states[kind]
        state.version += 1
        stream.nonce += 1
        nonce = str(stream.nonce)
        revisions = {name: state.resources[name].revision for name in names}
        contents = {name: state.resources[name].content for name in changed}
        stream.seen[kind].update(revisions)
        stream.waiting[nonce] = _Sent(revisions, contents, changed, state.version)
        response = message_class("envoy.service.discovery.v3.DiscoveryResponse")(
            version_info=str(state.version), type_url=kind.url, nonce=nonce
        )
        response.resources.extend(state.resources[name].packed for name in names)
        stream.queue.put_nowait(response)
        self._note("xds.push", kind, state.version, changed)

    def _ack(self, kind: Type, sent: _Sent) -> None:
        state = self._states[kind]
        for name, revision in sent.revisions.items():
            if name in state.resources:
                state.acked[name] = max(revision, state.acked.get(name, 0))
        state.good.update({n: c for n, c in sent.contents.items() if n in state.resources})
        self._note("xds.ack", kind, sent.version, sent.changed)
        if self._on_ack is not None:
            self._on_ack(kind, sent.contents)
        self._progress.set()

    def _nack(self, stream: _Stream, kind: Type, sent: _Sent, error: str) -> None:
        """Keep the last good content of what was refused, and send the rest of the response once more.

        Envoy's text often names the resource. Where it does not, each is sent by itself to find out; types
        whose responses carry the full set do not allow that, and all that changed is held back.
        """
        state = self._states[kind]
        named = tuple(name for name in sent.changed if name in error)
        present = [name for name in sent.changed if name in state.resources]
        if not named and len(present) > 1 and not kind.full_set:
            for name in present:
                self._respond(stream, kind, [name], (name,))
            return
        named = named or sent.changed
        nack = Nack(kind, named, error)
        self._note("xds.nack", kind, sent.version, named, error=error)
        fallback: dict[str, Mapping[str, Any]] = {}
        for name in named:
            if name not in state.resources or state.resources[name].revision != sent.revisions.get(name):
                continue
            state.rejected[name] = nack
            state.rejected_content[name] = sent.contents[name]
            if name in state.good:
                fallback[name] = state.good[name]
            else:
                del state.resources[name]
        for name, content in fallback.items():
            self._revision += 1
            state.resources[name] = _Resource(self._revision, content, pack(dict(content)))
        for name in set(sent.changed) - set(named):
            stream.seen.get(kind, {}).pop(name, None)
        self._send(kind, set(fallback) or set(named))
        self._progress.set()

    def _note(self, event: str, kind: Type, version: int, names: Iterable[str], **fields: Any) -> None:
        if self._journal is not None:
            self._journal.record(event, type=kind.name, version=version, names=list(names), **fields)


async def _first(*awaitables: Any) -> None:
    """Return when the first of them is done; the others are cancelled."""
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
