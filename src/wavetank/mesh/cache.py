"""The objects the mesh watches, by kind and key, and what a change of one of them calls for.

Most pod events (status, probes) mean nothing to Envoy: a pod matters by its labels, its owner and whether it
was told to go.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from wavetank.kube import resources as kube
from wavetank.kube.client import Object, Resource
from wavetank.mesh import resources
from wavetank.mesh.world import slice_host

__all__ = ["WATCHED", "Cache", "Effect"]

WATCHED: tuple[Resource, ...] = (
    kube.NAMESPACES, kube.SERVICES, kube.ENDPOINTSLICES, kube.PODS, kube.SECRETS,
    resources.GATEWAYS, resources.VIRTUAL_SERVICES, resources.DESTINATION_RULES, resources.SERVICE_ENTRIES,
    resources.WORKLOAD_ENTRIES, resources.KUBE_GATEWAYS, resources.HTTP_ROUTES,
)  # fmt: skip


class Effect(enum.Enum):
    NONE = 0
    ENDPOINTS = 1  # of the hosts named
    CONFIGURATION = 2


@dataclass(slots=True)
class Cache:
    """``kinds`` is what ``build_world_from`` reads."""

    objects: dict[tuple[str, str], dict[str, Object]] = field(default_factory=dict)
    slices: dict[str, dict[str, Object]] = field(default_factory=dict)  # by host, then key
    pods: dict[str, Object] = field(default_factory=dict)
    leaving: set[str] = field(default_factory=set)
    """The uids of pods that are about to be stopped, whatever their objects say."""

    def kinds(self) -> dict[tuple[str, str], Iterable[Object]]:
        return {kind: found.values() for kind, found in self.objects.items()}

    def put(self, resource: Resource, obj: Object) -> tuple[Effect, set[str]]:
        """Store an object; what that calls for, and for which hosts."""
        return self._change(resource, _key(obj), obj)

    def remove(self, resource: Resource, obj: Object) -> tuple[Effect, set[str]]:
        return self._change(resource, _key(obj), None)

    def _change(self, resource: Resource, key: str, obj: Object | None) -> tuple[Effect, set[str]]:
        kind = (resource.group, resource.kind)
        found = self.objects.setdefault(kind, {})
        old = found.pop(key, None)
        if obj is not None:
            found[key] = obj
        if resource is kube.PODS:
            return self._pod_changed(key, old, obj)
        if resource is kube.ENDPOINTSLICES:
            return Effect.ENDPOINTS, self._slice_changed(key, old, obj)
        if resource is kube.SECRETS and not any(o and _is_tls(o) for o in (old, obj)):
            return Effect.NONE, set()
        if _relevant(old) == _relevant(obj):
            return Effect.NONE, set()
        return Effect.CONFIGURATION, set()

    def _pod_changed(self, key: str, old: Object | None, new: Object | None) -> tuple[Effect, set[str]]:
        if new is None:
            gone = self.pods.pop(key, None)
            self.leaving.discard(str((gone or {}).get("metadata", {}).get("uid")))
        else:
            self.pods[key] = new
        if _identity(old) == _identity(new):
            return Effect.NONE, set()
        hosts = self.hosts_of(key)
        return (Effect.ENDPOINTS, hosts) if hosts else (Effect.NONE, set())

    def hosts_of(self, pod: str) -> set[str]:
        """The hosts whose slices name a pod (``namespace/name``)."""
        namespace, _, name = pod.partition("/")
        return {
            host
            for host, pieces in self.slices.items()
            for piece in pieces.values()
            if _namespace(piece) == namespace and _mentions(piece, name)
        }

    def _slice_changed(self, key: str, old: Object | None, new: Object | None) -> set[str]:
        hosts = set()
        for piece in (old, new):
            host = slice_host(piece) if piece is not None else None
            if host is not None:
                hosts.add(host)
                self.slices.setdefault(host, {}).pop(key, None)
        host = slice_host(new) if new is not None else None
        if new is not None and host is not None:
            self.slices[host][key] = new
        return hosts


def _namespace(obj: Object) -> str:
    return str(obj["metadata"].get("namespace") or "default")


def _key(obj: Object) -> str:
    return f"{_namespace(obj)}/{obj['metadata']['name']}"


def _is_tls(secret: Object) -> bool:
    data = secret.get("data") or {}
    return "tls.crt" in data or "cert" in data


def _relevant(obj: Object | None) -> Any:
    """A resource without what its controllers write back."""
    if obj is None:
        return None
    metadata = obj["metadata"]
    written = ("labels", "annotations", "uid")
    return obj.get("spec"), obj.get("data"), [metadata.get(field) for field in written]


def _identity(pod: Object | None) -> Any:
    if pod is None:
        return None
    metadata = pod["metadata"]
    going = metadata.get("deletionTimestamp") is not None
    return metadata.get("uid"), metadata.get("labels"), metadata.get("ownerReferences"), going


def _mentions(piece: Object, pod: str) -> bool:
    return any((e.get("targetRef") or {}).get("name") == pod for e in piece.get("endpoints") or ())
