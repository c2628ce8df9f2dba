"""Which resources are served, in which versions, and what each kind adds to the common verbs.

A ``Kind`` is the behaviour of one stored resource as data and plain functions: its defaults, its
validation, what creation and update do to it. Further versions of a kind (autoscaling/v1, events.k8s.io)
are ``Conversion``s to the stored one. Custom kinds are registered at run time (``customresources``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from wavetank.kube.client import Object, Resource
from wavetank.kube.schema.node import Node
from wavetank.kube.status import FieldError

__all__ = ["Conversion", "Kind", "Registry", "bucket_name"]


def _nothing(obj: Object) -> None:
    del obj


def _no_errors(obj: Object) -> Iterable[FieldError]:
    del obj
    return ()


def _no_update_errors(new: Object, old: Object) -> Iterable[FieldError]:
    del new, old
    return ()


@dataclass(frozen=True, slots=True)
class Kind:
    """``default`` fills an object in place; the ``validate`` functions yield what is wrong with it;
    ``prepare_create`` resets what a client may not choose. ``prepare_update`` (new, old) does the same
    for updates. ``fields`` are field selector paths beyond metadata.name and metadata.namespace.
    ``type`` is the schema of a custom kind."""

    resource: Resource
    default: Callable[[Object], None] = _nothing
    validate: Callable[[Object], Iterable[FieldError]] = _no_errors
    validate_update: Callable[[Object, Object], Iterable[FieldError]] = _no_update_errors
    prepare_create: Callable[[Object], None] = _nothing
    prepare_update: Callable[[Object, Object], None] = lambda new, old: None
    fields: Sequence[str] = ()
    generation: bool = True
    graceful: bool = False
    scale_selector: Callable[[Object], str] | None = None
    custom: bool = False
    type: Node | None = None


@dataclass(frozen=True, slots=True)
class Conversion:
    """A served version of a kind that is stored as another."""

    resource: Resource
    stored: Resource
    to_stored: Callable[[Object], Object]
    from_stored: Callable[[Object], Object]


def bucket_name(resource: Resource) -> str:
    return f"{resource.group}/{resource.plural}"


class Registry:
    """The served resources; ``generation`` counts changes, for caches of discovery and OpenAPI."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str], Kind] = {}
        self._served: dict[tuple[str, str, str], Resource] = {}
        self._by_kind: dict[tuple[str, str, str], Resource] = {}
        self._conversions: dict[tuple[str, str, str], Conversion] = {}
        self.generation = 0

    def add(self, kind: Kind, *conversions: Conversion) -> None:
        resource = kind.resource
        self._kinds[(resource.group, resource.plural)] = kind
        self._serve(resource)
        for conversion in conversions:
            served = conversion.resource
            self._conversions[(served.group, served.version, served.plural)] = conversion
            self._serve(served)

    def remove(self, resource: Resource) -> None:
        """Stop serving a custom kind in all its versions."""
        self._kinds.pop((resource.group, resource.plural), None)
        for key in [k for k in self._served if k[0] == resource.group and k[2] == resource.plural]:
            served = self._served.pop(key)
            self._by_kind.pop((served.group, served.version, served.kind), None)
            self._conversions.pop(key, None)
        self.generation += 1

    def _serve(self, resource: Resource) -> None:
        self._served[(resource.group, resource.version, resource.plural)] = resource
        self._by_kind[(resource.group, resource.version, resource.kind)] = resource
        self.generation += 1

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        return self._served.get((group, version, plural))

    def by_kind(self, api_version: str, kind: str) -> Resource | None:
        group, _, version = api_version.rpartition("/")
        return self._by_kind.get((group, version, kind))

    def conversion(self, resource: Resource) -> Conversion | None:
        return self._conversions.get((resource.group, resource.version, resource.plural))

    def kind(self, resource: Resource) -> Kind | None:
        """The behaviour of the resource as it is stored, in whatever version it is asked for."""
        conversion = self._conversions.get((resource.group, resource.version, resource.plural))
        stored = conversion.stored if conversion else resource
        return self._kinds.get((stored.group, stored.plural))

    def resources(self) -> Sequence[Resource]:
        """All served resources in order of registration."""
        return tuple(self._served.values())

    def stored_kinds(self) -> Sequence[Kind]:
        return tuple(self._kinds.values())
