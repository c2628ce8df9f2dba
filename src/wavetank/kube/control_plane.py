"""The control plane: storage, API server, controllers and scheduler, wired together in one process.

Kubelets, metrics server, autoscalers and the mesh are attached from outside, through clients, a
``KubeletProvider`` and ``ApiExtension``s. In virtual time nothing is started: ``boot`` and then ``run_step``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wavetank.clock import Clock
from wavetank.journal import Journal
from wavetank.kube.admission import ServiceAddresses, standard_admissions
from wavetank.kube.api import Api
from wavetank.kube.apiserver.app import ApiServer, ServerOptions
from wavetank.kube.apiserver.auth import Guard
from wavetank.kube.apiserver.serve import Listener
from wavetank.kube.client import Object, Resource, WatchType
from wavetank.kube.controllers.catalog import standard_controllers
from wavetank.kube.controllers.loop import Driver
from wavetank.kube.custom_kinds import WELL_KNOWN
from wavetank.kube.customresources import CustomKind, CustomResources, kinds_of
from wavetank.kube.kinds.catalog import register_built_in
from wavetank.kube.kinds.cluster import SYSTEM_PRIORITIES
from wavetank.kube.kubeconfig import Access, write_kubeconfig
from wavetank.kube.local_client import LocalClient
from wavetank.kube.persistence import SqliteLog
from wavetank.kube.pki import Credentials, make_credentials
from wavetank.kube.providers import ApiExtension, KubeletProvider
from wavetank.kube.registry import Registry
from wavetank.kube.resources import CUSTOMRESOURCEDEFINITIONS, NAMESPACES, PRIORITYCLASSES, SERVICES
from wavetank.kube.scheduler.scheduler import Scheduler
from wavetank.kube.storage import Change, Storage

__all__ = ["ControlPlane", "ControlPlaneOptions"]

_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


@dataclass(frozen=True, slots=True)
class ControlPlaneOptions:
    """``state`` is the directory of the database and the certificates; None keeps all in memory and
    serves only in process. ``plain_http`` serves without TLS and without tokens. Services get their
    cluster IPs from ``service_cidr``. The server certificate also holds ``certificate_addresses``, for those
    who share it (kubelets). ``kubeconfig`` is written when the server listens."""

    state: Path | None = None
    host: str = "127.0.0.1"
    port: int = 0
    plain_http: bool = False
    kubeconfig: Path | None = None
    service_cidr: str = "127.96.0.0/16"
    node_ports: tuple[int, int] = (30000, 32767)
    version: str = "v1.33.1"
    hosts: frozenset[str] = frozenset()
    certificate_addresses: tuple[str, ...] = ()
    manage_fields: bool = True


class ControlPlane:
    """``api`` for those in the same thread, ``client`` for parts, ``app`` for HTTP."""

    def __init__(
        self, clock: Clock, journal: Journal, options: ControlPlaneOptions = ControlPlaneOptions()
    ) -> None:
        self.clock = clock
        self.options = options
        self._log = SqliteLog(options.state / "state.db") if options.state is not None else None
        self.registry = Registry()
        register_built_in(self.registry)
        self.custom = CustomResources(self.registry)
        for kinds in WELL_KNOWN:
            self.custom.register(kinds)
        addresses = ServiceAddresses(options.service_cidr, options.node_ports)
        self.api = Api(Storage(self._log), self.registry, clock, journal, standard_admissions(addresses))
        self.api.manage_fields = options.manage_fields
        self.credentials: Credentials | None = None
        if options.state is not None and not options.plain_http:
            self.credentials = make_credentials(
                options.state / "pki", clock, (options.host, *options.certificate_addresses)
            )
        tokens = self.credentials.tokens if self.credentials is not None else None
        self.server = ApiServer(
            self.api,
            ServerOptions(
                Guard(tokens, options.hosts | {options.host}),
                version=options.version,
                custom_columns=self.custom.columns,
            ),
        )
        self.drivers: list[Driver | Scheduler] = [
            *(Driver(controller, self.api) for controller in standard_controllers()),
            Scheduler(self.api),
        ]
        self._listener: Listener | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._booted = False

    @property
    def app(self) -> Any:
        """The ASGI application."""
        return self.server.app

    @property
    def url(self) -> str:
        """Where the API server listens; "" before ``start``."""
        return self._listener.url if self._listener is not None else ""

    def access(self) -> Access:
        """How a client outside the process reaches the server."""
        if self.credentials is None:
            return Access(self.url)
        return Access(self.url, self.credentials.ca, self.credentials.tokens.admin)

    def client(self, user_agent: str) -> LocalClient:
        return LocalClient(self.api, user_agent, self.server.raw)

    def attach_kubelet(self, provider: KubeletProvider) -> None:
        self.server.options.kubelet = provider

    def add_extension(self, extension: ApiExtension) -> None:
        """Serve an aggregated API, such as metrics.k8s.io."""
        self.server.options.extensions.append(extension)
        self.registry.generation += 1

    def register_custom(self, kinds: Sequence[CustomKind]) -> None:
        """Serve a custom kind in these versions, in place of what was registered for it."""
        self.custom.register(kinds)

    # Life

    def boot(self) -> None:
        """Make what every cluster has, and let controllers see what exists. Once."""
        if self._booted:
            return
        self._booted = True
        bucket = self.api.bucket(CUSTOMRESOURCEDEFINITIONS)
        for crd in bucket.sorted():
            self._definition_changed(Change(WatchType.ADDED, 0, crd, None))
        bucket.subscribers.append(self._definition_changed)
        for name in _NAMESPACES:
            self._ensure(NAMESPACES, {"metadata": {"name": name}})
        for name, value in SYSTEM_PRIORITIES.items():
            self._ensure(PRIORITYCLASSES, {"metadata": {"name": name}, "value": value})
        self._ensure(
            SERVICES,
            {
                "metadata": {
                    "name": "kubernetes",
                    "namespace": "default",
                    "labels": {"component": "apiserver", "provider": "kubernetes"},
                },
                "spec": {"ports": [{"name": "https", "port": 443, "protocol": "TCP"}], "type": "ClusterIP"},
            },
        )
        for driver in self.drivers:
            driver.start()

    def _ensure(self, resource: Resource, obj: Object) -> None:
        metadata = obj["metadata"]
        if not self.api.exists(resource, metadata.get("namespace"), metadata["name"]):
            self.api.create(resource, metadata.get("namespace"), obj)

    def _definition_changed(self, change: Change) -> None:
        try:
            kinds = kinds_of(change.object)
        except (KeyError, TypeError, AttributeError):
            return  # not a definition anybody can serve; it stays stored to be corrected
        if not kinds:
            return
        if change.type is WatchType.DELETED:
            self.custom.remove(kinds[0].resource)
        else:
            self.custom.register(kinds)

    def run_step(self) -> float | None:
        """Let every controller do all it can do now. Returns when the next of them is due, or None."""
        self.boot()
        while True:
            due = [driver.run_step() for driver in self.drivers]
            now = self.clock.now()
            revision = self.api.storage.revision
            times = [t for t in due if t is not None]
            if not any(t <= now for t in times):
                again = [driver.run_step() for driver in self.drivers]
                if self.api.storage.revision == revision:
                    return min((t for t in again if t is not None), default=None)

    async def start(self) -> None:
        """Serve, and run the controllers, until ``stop``."""
        self.boot()
        options = self.options
        if options.state is not None or options.plain_http:
            self._listener = Listener(self.server.app, options.host, options.port, self.credentials)
            await self._listener.start()
            self.server.options.address = self.url.partition("://")[2]
            if options.kubeconfig is not None:
                write_kubeconfig(options.kubeconfig, self.access())
        loop = asyncio.get_running_loop()
        for driver in self.drivers:
            name = driver.name if isinstance(driver, Scheduler) else driver.controller.name
            self._tasks.append(loop.create_task(driver.run(), name=name))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result
        self._tasks.clear()
        if self._listener is not None:
            await self._listener.stop()
            self._listener = None
        if self._log is not None:
            self._log.close()
            self._log = None
