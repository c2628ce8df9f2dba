"""How every part talks to the API server: the seam that a real cluster's API can take.

Objects are plain dicts in the API's own JSON form. ``Client`` is implemented twice: ``LocalClient``
(wavetank.kube.apiserver, in process, no serialisation) and ``HttpClient`` (any Kubernetes API over HTTPS).
Errors are ``ApiError`` with the code, reason and message of the Status the server answered.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from wavetank.errors import WavetankError

__all__ = ["ApiError", "Client", "Object", "ObjectList", "Resource", "WatchEvent", "WatchType"]

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind the API serves. ``group`` is "" for the core group."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True
    singular: str = ""
    short_names: Sequence[str] = ()
    categories: Sequence[str] = ()
    subresources: Sequence[str] = field(default=())

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


class ApiError(WavetankError):
    """A Status of kind Failure: HTTP code, machine-readable reason (NotFound, Conflict, ...), message."""

    def __init__(
        self, code: int, reason: str, message: str, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.details = dict(details or {})


@dataclass(frozen=True, slots=True)
class ObjectList:
    items: list[Object]
    resource_version: str


class WatchType(enum.Enum):
    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"
    LISTED = "LISTED"  # ours: all objects that existed at the start of the watch have been given


@dataclass(frozen=True, slots=True)
class WatchEvent:
    type: WatchType
    object: Object


class Client(Protocol):
    """The verbs of the API. Returned objects are the caller's own copies to keep but not to mutate in place
    (copy before changing: LocalClient hands out the stored objects). ``namespace`` is None for
    cluster-scoped resources and, in ``list`` and ``watch``, for all namespaces."""

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> Object: ...

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> ObjectList: ...

    def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncIterator[WatchEvent]:
        """List, then stream, for ever: ADDED for each existing object, one LISTED, then changes.
        Reconnects and re-lists by itself; after a re-list DELETED is synthesised for what has gone."""
        ...

    async def create(self, resource: Resource, obj: Object, namespace: str | None = None) -> Object: ...

    async def update(self, resource: Resource, obj: Object, *, subresource: str = "") -> Object:
        """PUT; ``subresource`` "status" changes only status, "scale" takes and returns a Scale object.
        A stale ``metadata.resourceVersion`` raises ApiError 409 Conflict."""
        ...

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: Any,
        namespace: str | None = None,
        *,
        subresource: str = "",
        content_type: str = "application/merge-patch+json",
    ) -> Object: ...

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        grace_period_seconds: int | None = None,
        propagation_policy: str = "Background",
    ) -> None: ...

    async def get_subresource(
        self, resource: Resource, name: str, subresource: str, namespace: str | None = None
    ) -> Object: ...

    async def create_subresource(
        self, resource: Resource, name: str, subresource: str, body: Object, namespace: str | None = None
    ) -> Object:
        """POST to a subresource: pods/binding, pods/eviction."""
        ...

    async def get_raw(self, path: str) -> bytes:
        """GET any path of the API server, e.g. an aggregated API or ``/metrics``."""
        ...
