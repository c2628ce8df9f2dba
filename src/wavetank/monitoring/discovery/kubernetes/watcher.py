"""Discovers the targets of one ``kubernetes_sd_configs`` section.

Mirrors discovery/kubernetes/kubernetes.go: reflectors for the role's resource and for what its labels need;
each change recomputes the groups it touches. Changes that come together are published together.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any, Final

from wavetank.clock import Clock
from wavetank.errors import InputError
from wavetank.monitoring.config.discovery import KubernetesSD
from wavetank.monitoring.discovery.group import Publish, TargetGroup
from wavetank.monitoring.discovery.kubernetes import meta
from wavetank.monitoring.discovery.kubernetes.access import Access, access_for
from wavetank.monitoring.discovery.kubernetes.meta import Surroundings
from wavetank.monitoring.discovery.kubernetes.reflector import Key, Reflector, Resource
from wavetank.monitoring.http_client import HTTPClient

__all__ = ["KubernetesDiscovery"]

_RESOURCES: Final = {
    "node": Resource("/api/v1", "nodes", namespaced=False),
    "pod": Resource("/api/v1", "pods"),
    "service": Resource("/api/v1", "services"),
    "endpoints": Resource("/api/v1", "endpoints"),
    "endpointslice": Resource("/apis/discovery.k8s.io/v1", "endpointslices"),
    "ingress": Resource("/apis/networking.k8s.io/v1", "ingresses"),
    "namespace": Resource("/api/v1", "namespaces", namespaced=False),
    "replicaset": Resource("/apis/apps/v1", "replicasets"),
    "job": Resource("/apis/batch/v1", "jobs"),
}
_NEEDS: Final = {"endpoints": ("service", "pod"), "endpointslice": ("service", "pod")}
_GATHER_SECONDS: Final = 0.05  # changes within this time are published together
_RETRY_SECONDS: Final = 5.0
_LOG = logging.getLogger(__name__)


class KubernetesDiscovery:
    """One section: a role in some namespaces."""

    def __init__(
        self,
        config: KubernetesSD,
        clock: Clock,
        count_failure: Callable[[], None],
        environment: Mapping[str, str] = os.environ,
        *,
        count_event: Callable[[str], None] = lambda event: None,
    ) -> None:
        self._count_event = count_event
        self._config = config
        self._clock = clock
        self._count_failure = count_failure
        self._environment = environment
        self._reflectors: dict[str, list[Reflector]] = {}
        self._dirty: set[Key] = set()
        self._wake = asyncio.Event()

    async def run(self, publish: Publish) -> None:
        access = await self._access()
        client = HTTPClient(access.http, self._clock)
        try:
            async with asyncio.TaskGroup() as tasks:
                for reflector in self._start(access, client):
                    tasks.create_task(reflector.run())
                await self._publish_changes(publish)
        finally:
            await client.close()

    async def _access(self) -> Access:
        """The way to the cluster; waits for one, since a kubeconfig may be written after we start."""
        while True:
            try:
                return access_for(self._config, self._environment)
            except InputError as error:
                self._count_failure()
                _LOG.error("kubernetes discovery: %s", error)
            await self._clock.sleep(_RETRY_SECONDS)

    def _start(self, access: Access, client: HTTPClient) -> list[Reflector]:
        config = self._config
        namespaces = list(config.namespaces.names)
        if config.namespaces.own_namespace:
            namespaces.append(access.namespace)
        for kind in self._kinds():
            resource = _RESOURCES[kind]
            label, field = self._selectors(kind)
            self._reflectors[kind] = [
                Reflector(
                    client,
                    access.server,
                    resource,
                    self._clock,
                    self._changed,
                    namespace=namespace,
                    label_selector=label,
                    field_selector=field,
                    count_failure=self._count_failure,
                    # upstream counts the role's own objects, not those that are looked at beside them
                    count_event=self._count_event if kind == config.role else lambda event: None,
                )
                for namespace in (namespaces if resource.namespaced and namespaces else [""])
            ]
        return [r for group in self._reflectors.values() for r in group]

    def _kinds(self) -> list[str]:
        role, attach = self._config.role, self._config.attach_metadata
        kinds = [role, *_NEEDS.get(role, ())]
        if role in ("pod", "endpoints", "endpointslice"):
            wanted = (
                ("node", attach.node),
                ("namespace", attach.namespace),
                ("replicaset", attach.deployment),
                ("job", attach.job or attach.cronjob),
            )
            kinds += [kind for kind, on in wanted if on]
        return kinds

    def _selectors(self, kind: str) -> tuple[str, str]:
        return next(((s.label, s.field) for s in self._config.selectors if s.role == kind), ("", ""))

    def _changed(self, resource: Resource, key: Key) -> None:
        """Note which of the role's objects a change touches."""
        role = self._config.role
        if resource is _RESOURCES[role] or (resource.plural == "services" and role == "endpoints"):
            self._dirty.add(key)
        elif resource.namespaced:
            self._dirty.update(k for k in self._keys() if k[0] == key[0])
        elif resource.plural == "namespaces":
            self._dirty.update(k for k in self._keys() if k[0] == key[1])
        else:
            self._dirty.update(self._keys())
        self._wake.set()

    def _keys(self) -> Iterable[Key]:
        return chain.from_iterable(r.objects for r in self._reflectors.get(self._config.role, ()))

    async def _publish_changes(self, publish: Publish) -> None:
        for reflector in chain.from_iterable(self._reflectors.values()):
            await reflector.synced.wait()
        while True:
            dirty, self._dirty = self._dirty, set()
            self._wake.clear()
            if dirty:
                publish(self.groups(dirty))
            await self._wake.wait()
            await self._clock.sleep(_GATHER_SECONDS)

    def groups(self, keys: Iterable[Key]) -> list[TargetGroup]:
        """The groups of these objects; empty ones for objects that are gone."""
        around = self._surroundings()
        objects = self._all(self._config.role)
        found = []
        for key in sorted(keys):
            item = objects.get(key)
            if item is None:
                found.append(TargetGroup(_source(self._config.role, key)))
            else:
                found.append(_group(self._config.role, item, around))
        return found

    def _all(self, kind: str) -> dict[Key, Any]:
        merged: dict[Key, Any] = {}
        for reflector in self._reflectors.get(kind, ()):
            merged |= reflector.objects
        return merged

    def _surroundings(self) -> Surroundings:
        attach = self._config.attach_metadata

        def by_name(kind: str) -> dict[str, Any]:
            return {name: item for (_, name), item in self._all(kind).items()}

        return Surroundings(
            pods=self._all("pod"),
            services=self._all("service"),
            nodes=by_name("node") if attach.node else None,
            namespaces=by_name("namespace") if attach.namespace else None,
            replicasets=self._all("replicaset") if attach.deployment else None,
            jobs=self._all("job") if attach.job or attach.cronjob else None,
        )


def _source(role: str, key: Key) -> str:
    if role == "node":
        return f"node/{key[1]}"
    return f"{'svc' if role == 'service' else role}/{key[0]}/{key[1]}"


def _group(role: str, item: Any, around: Surroundings) -> TargetGroup:
    match role:
        case "node":
            return meta.node_group(item)
        case "pod":
            return meta.pod_group(item, around)
        case "service":
            return meta.service_group(item)
        case "endpoints":
            return meta.endpoints_group(item, around)
        case "endpointslice":
            return meta.endpointslice_group(item, around)
        case _:
            return meta.ingress_group(item)
