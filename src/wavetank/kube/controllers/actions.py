"""What a controller's step may decide, and what it may look at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from wavetank.kube.client import Object, Resource
from wavetank.kube.storage import Change

__all__ = [
    "Action", "Controller", "Create", "Decision", "Delete", "Emit", "Key", "Record", "Source", "Told",
    "Update", "View",
]  # fmt: skip

Key = tuple[str, str]
"""(namespace, name); the namespace is "" for cluster-scoped objects."""


@dataclass(frozen=True, slots=True)
class Told:
    """Events about ``involved`` when an action succeeds or fails; ``{name}`` is the object acted on, and
    ``{error}`` why it failed. An empty reason tells nothing."""

    involved: Object
    reason: str = ""
    message: str = ""
    failed_reason: str = ""
    failed_message: str = ""


@dataclass(frozen=True, slots=True)
class Create:
    resource: Resource
    obj: Object
    told: Told | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """Replace an object; its resourceVersion is a precondition. ``subresource`` may be status."""

    resource: Resource
    obj: Object
    subresource: str = ""
    told: Told | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    resource: Resource
    obj: Object
    told: Told | None = None
    policy: str = ""
    grace_period_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Emit:
    """An event; ``kind`` is Normal or Warning."""

    involved: Object
    kind: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Record:
    """A record in the journal."""

    kind: str
    fields: dict[str, object]


Action = Create | Update | Delete | Emit | Record


@dataclass(frozen=True, slots=True)
class Decision:
    """Actions in order: the first that fails ends them, and the key is tried again later.
    ``again_at`` is when to look again even if nothing changes."""

    actions: Sequence[Action] = ()
    again_at: float | None = None


class View(Protocol):
    """The objects as they are now."""

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None: ...

    def list(self, resource: Resource, namespace: str | None = None) -> Iterable[Object]: ...

    def owned(self, owner: Object, resource: Resource) -> Sequence[Object]:
        """Objects of a resource whose controller is ``owner``, by name."""
        ...

    def dependents(self, uid: str) -> Sequence[tuple[Resource, Object]]:
        """Everything that names ``uid`` among its owners."""
        ...

    def by_uid(self, uid: str) -> tuple[Resource, Object] | None: ...

    def everything_in(self, namespace: str) -> Iterable[tuple[Resource, Object]]: ...


@dataclass(frozen=True, slots=True)
class Source:
    """Changes of ``resource`` put the keys that ``keys`` finds into the queue; None is all resources.
    ``after_seconds`` gathers changes: a key waits that long, and once for all that happens meanwhile."""

    resource: Resource | None
    keys: Callable[[View, Change], Iterable[Key]]
    after_seconds: float = 0.0


class Controller(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def sources(self) -> Sequence[Source]: ...

    def step(self, now: float, key: Key, view: View) -> Decision: ...
