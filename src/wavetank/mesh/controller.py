"""The mesh's control loop: watch the API, translate, push; keep Envoy running.

A change of endpoints goes to Envoy at once, without waiting for a change of configuration that is being
rolled out. Pods that are told to go leave Envoy's endpoints before the kubelet signals them: removal is
pushed on ``deletionTimestamp`` or on the slice's ``terminating``, whichever is seen first.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from wavetank.clock import Clock
from wavetank.errors import WavetankError
from wavetank.journal import Journal
from wavetank.kube.client import Client, Object, Resource, WatchType
from wavetank.kube.informer import Informer
from wavetank.limits import MESH_DEBOUNCE_SECONDS
from wavetank.mesh import collect
from wavetank.mesh.cache import WATCHED, Cache, Effect
from wavetank.mesh.envoy import Envoy, EnvoyFiles
from wavetank.mesh.ledger import EndpointLedger
from wavetank.mesh.model import World
from wavetank.mesh.push import Pusher
from wavetank.mesh.resources import GATEWAY_API_GROUP, ISTIO_GROUP
from wavetank.mesh.translate import EnvoyConfig, Placement, translate
from wavetank.mesh.translate.endpoints import service_endpoints
from wavetank.mesh.validation import validate_object
from wavetank.mesh.world import build_world_from
from wavetank.mesh.xds import AdsServer, Nack, Type

__all__ = ["MeshController", "MeshOptions"]

_RESTART_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class MeshOptions:
    """``directory``: where Envoy's files and sockets go (keep it short: socket paths are limited).
    ``env``: added to Envoy's environment, e.g. the tank's marker."""

    directory: Path
    placement: Placement = field(default_factory=Placement)
    concurrency: int = 1
    env: Mapping[str, str] = field(default_factory=dict)


class MeshController:
    """``start`` returns when Envoy serves what the API holds; ``stop`` ends Envoy and the watches."""

    def __init__(self, client: Client, clock: Clock, journal: Journal, options: MeshOptions) -> None:
        self._client = client
        self._clock = clock
        self._journal = journal
        self._options = options
        self._placement = options.placement
        self._files = EnvoyFiles(options.directory)
        self._cache = Cache()
        self._world = World()
        self._config = EnvoyConfig({}, {}, {}, {})
        self._ledger = EndpointLedger(clock, journal)
        self._server = AdsServer(self._files.ads_socket, clock, journal, self._acknowledged)
        self._pusher = Pusher(self._server, clock)
        self._envoy: Envoy | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._informers = [Informer(client, resource, clock=clock) for resource in WATCHED]
        self._dirty_hosts: set[str] = set()
        self._dirty_endpoints = asyncio.Event()
        self._dirty_configuration = asyncio.Event()
        self._configuring = False
        self._quiet = asyncio.Event()
        self._invalid: dict[str, str] = {}
        self._stopping = False

    # Life

    async def start(self) -> None:
        """Watch, wait for all lists, start Envoy, wait until it has its first configuration.

        Raises InternalError if Envoy does not start.
        """
        self._files.directory.mkdir(parents=True, exist_ok=True)
        await self._server.start()
        for informer in self._informers:
            informer.add_handler(functools.partial(self._changed, informer.resource))
        await asyncio.gather(*(informer.start() for informer in self._informers))
        self._mark(self._dirty_configuration)
        self._spawn(self._push_endpoints())
        self._spawn(self._push_configuration())
        await self.settled()
        self._envoy = Envoy(
            self._files,
            self._clock,
            self._journal,
            env=self._options.env,
            concurrency=self._options.concurrency,
        )
        await self._envoy.start()
        self._spawn(self._supervise(self._envoy))
        self._spawn(self._ledger.watch_first_requests(self._envoy.admin))
        while not await self._envoy.ready():
            await self._clock.sleep(0.01)

    async def stop(self) -> None:
        self._stopping = True
        await asyncio.gather(*(informer.stop() for informer in self._informers))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._envoy is not None:
            await self._envoy.stop()
        await self._server.stop()

    async def settled(self) -> None:
        """Wait until everything seen so far has been pushed, and configuration acknowledged."""
        await self._quiet.wait()

    def _mark(self, dirty: asyncio.Event) -> None:
        dirty.set()
        self._quiet.clear()

    def _done(self) -> None:
        waiting = self._dirty_endpoints.is_set() or self._dirty_configuration.is_set()
        if not waiting and not self._configuring:
            self._quiet.set()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.result()  # a fault of ours goes to the loop's exception handler, not into silence

    async def _supervise(self, envoy: Envoy) -> None:
        """Start Envoy again when it dies; it fetches everything anew."""
        while not self._stopping:
            await envoy.child.wait()
            await self._clock.sleep(_RESTART_SECONDS)
            with suppress(WavetankError):
                await envoy.start()

    # What others ask

    @property
    def envoy(self) -> Envoy:
        if self._envoy is None:
            raise RuntimeError("the mesh has not been started")
        return self._envoy

    @property
    def world(self) -> World:
        return self._world

    @property
    def config(self) -> EnvoyConfig:
        """The configuration last translated (endpoints: see ``world``)."""
        return self._config

    def refused(self) -> list[Nack]:
        """What Envoy refused and is therefore not in force."""
        return self._server.rejected()

    def invalid(self) -> dict[str, str]:
        """Resources that were left out because they do not pass validation: ``Kind/ns/name`` -> error."""
        return dict(self._invalid)

    def place(self, placement: Placement) -> None:
        """Listen elsewhere from now on."""
        self._placement = placement
        self._mark(self._dirty_configuration)

    async def left(self, pod: Object) -> None:
        """Take a pod out of Envoy's endpoints now, and wait until Envoy has acknowledged that.

        For the kubelet, before it signals the pod's processes; the pod stays out until its object is gone.
        """
        metadata = pod["metadata"]
        self._cache.leaving.add(str(metadata.get("uid")))
        hosts = self._cache.hosts_of(f"{metadata.get('namespace') or 'default'}/{metadata['name']}")
        clusters = self._refresh(hosts)
        asked_for = [name for name in clusters if self._server.subscribed(Type.EDS, name)]
        await self._server.acknowledged(Type.EDS, asked_for)

    # Seeing

    def _changed(self, resource: Resource, change: WatchType, before: Object | None, obj: Object) -> None:
        del before
        if change is WatchType.DELETED:
            self._invalid.pop(_label(obj), None)
            self._note(*self._cache.remove(resource, obj))
        else:
            self._seen(resource, obj)

    def _seen(self, resource: Resource, obj: Object) -> None:
        if resource.group in (ISTIO_GROUP, GATEWAY_API_GROUP):
            errors = [p for p in validate_object(obj) if p.is_error]
            if errors:
                self._invalid[_label(obj)] = errors[0].message
                return  # what was in force before stays
            self._invalid.pop(_label(obj), None)
        self._note(*self._cache.put(resource, obj))

    def _note(self, effect: Effect, hosts: set[str]) -> None:
        if effect is Effect.CONFIGURATION:
            self._mark(self._dirty_configuration)
        elif effect is Effect.ENDPOINTS:
            self._dirty_hosts |= hosts
            self._mark(self._dirty_endpoints)

    # Pushing

    async def _push_endpoints(self) -> None:
        while True:
            await self._dirty_endpoints.wait()
            await self._clock.sleep(MESH_DEBOUNCE_SECONDS)
            hosts, self._dirty_hosts = self._dirty_hosts, set()
            self._dirty_endpoints.clear()
            self._refresh(hosts)
            self._done()

    def _refresh(self, hosts: set[str]) -> list[str]:
        """Push the endpoints of these hosts; returns the names of their clusters."""
        endpoints = dict(self._world.endpoints)
        for host in hosts:
            slices = self._cache.slices.get(host, {}).values()
            endpoints[host] = collect.slice_endpoints(slices, self._cache.pods, self._cache.leaving)
        self._world = replace(self._world, endpoints=endpoints)
        assignments: dict[str, dict[str, Any]] = {}
        for host in hosts:
            service = self._world.services.get(host)
            if service is not None:
                assignments.update(service_endpoints(self._world, service, self._placement.namespace))
        known = {name: a for name, a in assignments.items() if name in self._config.clusters}
        self._pusher.endpoints(known)
        return list(known)

    async def _push_configuration(self) -> None:
        while True:
            await self._dirty_configuration.wait()
            await self._clock.sleep(MESH_DEBOUNCE_SECONDS)
            self._dirty_configuration.clear()
            self._configuring = True
            await self._reconfigure()
            self._configuring = False
            self._done()

    async def _reconfigure(self) -> None:
        before = set(self._config.clusters)
        self._world = build_world_from(self._cache.kinds(), self._cache.leaving)
        self._config = translate(self._world, self._placement)
        try:
            await self._pusher.apply(self._config)
        except json_format.ParseError as error:
            # Ours to fix: validation let something through that Envoy's API has no place for.
            self._journal.record("xds.nack", type="", version=0, names=[], error=str(error))
        self._ledger.removed(before - set(self._config.clusters), self._service_names())

    def _acknowledged(self, kind: Type, contents: Mapping[str, Mapping[str, Any]]) -> None:
        if kind is Type.EDS:
            self._ledger.acknowledged(contents, self._service_names())

    def _service_names(self) -> dict[str, str]:
        return {host: f"{s.namespace}/{s.name}" for host, s in self._world.services.items()}


def _label(obj: Object) -> str:
    metadata = obj["metadata"]
    return f"{obj.get('kind')}/{metadata.get('namespace') or 'default'}/{metadata['name']}"
