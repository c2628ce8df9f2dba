"""The verbs of the API on stored objects: what happens to an object whoever sends it, and however.

Mirrors the generic registry store of ``k8s.io/apiserver``. Everything is synchronous and in one thread, so
a call is a transaction. ``LocalClient`` and the HTTP server are two thin shells around this class, and
simulations in virtual time call it directly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from wavetank.clock import Clock
from wavetank.errors import InputError
from wavetank.journal import Journal
from wavetank.kube import deletion, scale
from wavetank.kube.client import ApiError, Object, ObjectList, Resource
from wavetank.kube.objects import copy, is_subdomain, new_uid, random_suffix
from wavetank.kube.patches.managed import record_update
from wavetank.kube.registry import Kind, Registry, bucket_name
from wavetank.kube.resources import NAMESPACES
from wavetank.kube.schema.builtin import type_of
from wavetank.kube.schema.node import Node
from wavetank.kube.selectors import FieldSelector, LabelSelector, parse_fields, parse_labels
from wavetank.kube.status import (
    FieldError,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    invalid,
    method_not_allowed,
    not_found,
)  # fmt: skip
from wavetank.kube.storage import Bucket, Cursor, Storage
from wavetank.kube.times import format_time

__all__ = ["NOBODY", "Api", "Caller", "Selection"]

_NAME_TRIES = 8
_SERVER_FIELDS = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who writes, and how. ``field_manager`` "" leaves managedFields alone."""

    user_agent: str = ""
    field_manager: str = ""
    dry_run: bool = False
    force: bool = False


NOBODY: Final = Caller()


@dataclass(frozen=True, slots=True)
class Selection:
    """What a list or a watch covers: a resource, one namespace or all (None), and selectors."""

    resource: Resource
    namespace: str | None
    labels: LabelSelector
    fields: FieldSelector

    def matches(self, obj: Object) -> bool:
        metadata = obj["metadata"]
        if self.namespace is not None and metadata.get("namespace") != self.namespace:
            return False
        if self.labels.requirements and not self.labels.matches(metadata.get("labels")):
            return False
        return not self.fields.terms or self.fields.matches(obj)


Advisor = Callable[["Api", Resource, Object], Iterable[str]]
"""(api, resource, stored object): warnings for whoever sent it, as an admission webhook may give."""

Admission = Callable[["Api", Resource, Object, Object | None], None]
"""(api, resource, new object, old object or None): completes the new object in place, or raises ApiError."""


@dataclass(slots=True)
class Api:
    """The stored objects behind the API's rules. ``admissions`` run on creates and updates, in order."""

    storage: Storage
    registry: Registry
    clock: Clock
    journal: Journal
    admissions: Sequence[Admission] = ()
    manage_fields: bool = True
    """Whether writes are noted in metadata.managedFields; simulations go without."""
    advisors: Sequence[Advisor] = ()
    _buckets: dict[tuple[str, str], Bucket] = field(default_factory=dict)

    # Reading

    def bucket(self, resource: Resource) -> Bucket:
        found = self._buckets.get((resource.group, resource.plural))
        if found is None:
            conversion = self.registry.conversion(resource)
            found = self.storage.bucket(bucket_name(conversion.stored if conversion else resource))
            self._buckets[(resource.group, resource.plural)] = found
        return found

    def kind(self, resource: Resource) -> Kind:
        found = self.registry.kind(resource)
        if found is None:
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        return found

    def served(self, resource: Resource, stored: Object) -> Object:
        """A stored object in the version of ``resource``."""
        conversion = self.registry.conversion(resource)
        return conversion.from_stored(stored) if conversion else stored

    def get(self, resource: Resource, namespace: str | None, name: str) -> Object:
        return self.served(resource, self.stored(resource, namespace, name))

    def stored(self, resource: Resource, namespace: str | None, name: str) -> Object:
        found = self.bucket(resource).get((namespace or "") if resource.namespaced else "", name)
        if found is None:
            self.kind(resource)
            raise not_found(resource, name)
        return found

    def select(
        self, resource: Resource, namespace: str | None, label_selector: str = "", field_selector: str = ""
    ) -> Selection:
        kind = self.kind(resource)
        allowed = None if kind.custom else kind.fields.__contains__
        try:
            labels, fields = parse_labels(label_selector), _fields(field_selector, allowed)
        except InputError as error:
            raise bad_request(error.message) from None
        return Selection(resource, namespace or None if resource.namespaced else None, labels, fields)

    def list(self, selection: Selection) -> ObjectList:
        bucket = self.bucket(selection.resource)
        resource = selection.resource
        name = selection.fields.exact("metadata.name")
        if name is not None and (selection.namespace is not None or not resource.namespaced):
            found = bucket.get(selection.namespace or "", name)
            items = [found] if found is not None else []
        else:
            items = bucket.sorted(selection.namespace)
        if selection.labels.requirements or selection.fields.terms:
            items = [obj for obj in items if selection.matches(obj)]
        conversion = self.registry.conversion(resource)
        if conversion:
            items = [conversion.from_stored(obj) for obj in items]
        return ObjectList(items, str(self.storage.revision))

    def cursor(self, resource: Resource, revision: int) -> Cursor:
        """A place in the resource's history. Raises ApiError 410 where that is forgotten."""
        return Cursor(self.bucket(resource), revision)

    # Writing

    def create(
        self, resource: Resource, namespace: str | None, body: Object, caller: Caller = NOBODY
    ) -> Object:
        """Store a new object; returns it in the version of ``resource``."""
        kind = self.kind(resource)
        obj = self._incoming(resource, namespace, body)
        metadata = obj["metadata"]
        if metadata.get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        for name in (*_SERVER_FIELDS, "generation"):
            metadata.pop(name, None)
        if caller.field_manager:
            metadata.pop("managedFields", None)
        bucket = self.bucket(resource)
        self._name(resource, bucket, obj)
        self._require_namespace(resource, obj)
        if "status" in resource.subresources and resource.plural != "nodes":
            obj.pop("status", None)  # a kubelet registers its node with its status in one step
        kind.prepare_create(obj)
        kind.default(obj)
        metadata["uid"] = new_uid(self.clock.random("kube.uid"))
        metadata["creationTimestamp"] = format_time(self.clock.now())
        if kind.generation:
            metadata["generation"] = 1
        for admit in self.admissions:
            admit(self, resource, obj, None)
        self._validate(resource, kind, obj, None)
        self._manage(resource, None, obj, caller, "")
        if bucket.get(metadata.get("namespace", ""), metadata["name"]) is not None:
            raise already_exists(resource, metadata["name"])
        if caller.dry_run:
            return self.served(resource, obj)
        stored = self.storage.put(bucket, obj)
        scale.note_created(self, kind.resource, stored, caller)
        return self.served(resource, stored)

    def update(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        body: Object,
        caller: Caller = NOBODY,
        subresource: str = "",
        *,
        create: bool = False,
    ) -> Object:
        """Replace an object, or its status. ``create`` makes it where there is none (server-side apply)."""
        kind = self.kind(resource)
        obj = self._incoming(resource, namespace, body)
        if obj["metadata"].setdefault("name", name) != name:
            raise bad_request(
                f"the name of the object ({obj['metadata']['name']}) "
                f"does not match the name on the URL ({name})"
            )
        bucket = self.bucket(resource)
        old = bucket.get(obj["metadata"].get("namespace", ""), name)
        if old is None:
            if create:
                return self.create(resource, namespace, body, caller)
            raise not_found(resource, name)
        self._check_preconditions(resource, name, obj, old)
        return self._replace(resource, kind, bucket, old, obj, caller, subresource)

    def _replace(
        self,
        resource: Resource,
        kind: Kind,
        bucket: Bucket,
        old: Object,
        obj: Object,
        caller: Caller,
        subresource: str,
    ) -> Object:
        new = _merge_for_update(kind, old, obj, subresource)
        metadata = new["metadata"]
        if subresource != "status":
            kind.prepare_update(new, old)
            kind.default(new)
            for admit in self.admissions:
                admit(self, resource, new, old)
        if kind.generation and _spec_changed(old, new):
            metadata["generation"] = old["metadata"].get("generation", 0) + 1
        self._validate(resource, kind, new, old)
        metadata["resourceVersion"] = old["metadata"]["resourceVersion"]
        self._manage(resource, old, new, caller, subresource)
        if new == old or caller.dry_run:
            return self.served(resource, new)
        stored = self.storage.put(bucket, new)
        scale.note_scaled(self, kind.resource, old, stored, caller)
        if metadata.get("deletionTimestamp") and deletion.may_go(kind, stored):
            return self.served(resource, deletion.remove(self, kind, bucket, stored))
        return self.served(resource, stored)

    def modify(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        change: Callable[[Object], Object],
        caller: Caller = NOBODY,
        subresource: str = "",
    ) -> Object:
        """Read, change and replace in one step: ``change`` is given the object in the version of
        ``resource`` and returns a new one (patches). A resourceVersion it sets is a precondition."""
        kind = self.kind(resource)
        old = self.stored(resource, namespace, name)
        given = self.served(resource, old)
        changed = change(given)
        if not isinstance(changed, dict) or not isinstance(changed.get("metadata"), dict):
            raise bad_request("the patch does not leave an object")
        obj = self._incoming(resource, namespace, changed)
        if obj["metadata"].get("name") != name:
            raise bad_request("the name of an object cannot be changed")
        self._check_preconditions(resource, name, obj, old)
        return self._replace(resource, kind, self.bucket(resource), old, obj, caller, subresource)

    def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        options: deletion.Options = deletion.DEFAULT,
        caller: Caller = NOBODY,
    ) -> tuple[Object, bool]:
        """Begin or finish a deletion: (the object as it is now or was last, whether it is gone)."""
        kind = self.kind(resource)
        old = self.stored(resource, namespace, name)
        result, gone = deletion.delete(self, kind, self.bucket(resource), old, options, caller)
        return self.served(resource, result), gone

    def rewrite(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        change: Callable[[Object], Object],
        caller: Caller = NOBODY,
    ) -> Object:
        """Change a stored object past the rules of spec and status: the server's own subresources."""
        del caller
        old = self.stored(resource, namespace, name)
        new = change(old)
        return old if new == old else self.storage.put(self.bucket(resource), new)

    # Rules common to all kinds

    def _incoming(self, resource: Resource, namespace: str | None, body: Object) -> Object:
        """The caller's object as ours to keep: checked for its kind and namespace, in the stored version."""
        if body.get("kind", resource.kind) != resource.kind or (
            body.get("apiVersion", resource.api_version) != resource.api_version
        ):
            raise bad_request(
                f"{resource.kind} in version {resource.version!r} cannot be handled as the given object: "
                f"it is {body.get('kind')!r} of {body.get('apiVersion')!r}"
            )
        metadata = body.get("metadata")
        if metadata is not None and not isinstance(metadata, dict):
            raise bad_request("metadata must be an object")
        obj: Object = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {}}
        obj.update({k: v for k, v in copy(body).items() if v is not None})
        given = {k: v for k, v in obj["metadata"].items() if v is not None}
        obj["metadata"] = given
        if resource.namespaced:
            space = namespace or given.get("namespace") or "default"
            if given.setdefault("namespace", space) != space:
                raise bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request"
                )
        else:
            given.pop("namespace", None)
        conversion = self.registry.conversion(resource)
        return conversion.to_stored(obj) if conversion else obj

    def _name(self, resource: Resource, bucket: Bucket, obj: Object) -> None:
        metadata = obj["metadata"]
        name = metadata.get("name")
        if not name and metadata.get("generateName"):
            random = self.clock.random("kube.names")
            for _ in range(_NAME_TRIES):
                name = str(metadata["generateName"])[:58] + random_suffix(random)
                if bucket.get(metadata.get("namespace", ""), name) is None:
                    break
            metadata["name"] = name
        if not name:
            error = FieldError.required("metadata.name", "name or generateName is required")
            raise invalid(resource, "", [error])

    def _require_namespace(self, resource: Resource, obj: Object) -> None:
        if not resource.namespaced:
            return
        metadata = obj["metadata"]
        namespace = self.bucket(NAMESPACES).get("", metadata["namespace"])
        if namespace is None:
            raise not_found(NAMESPACES, metadata["namespace"])
        if namespace["metadata"].get("deletionTimestamp"):
            space = metadata["namespace"]
            why = f"unable to create new content in namespace {space} because it is being terminated"
            raise forbidden(resource, metadata["name"], why)

    def _check_preconditions(self, resource: Resource, name: str, obj: Object, old: Object) -> None:
        version = obj["metadata"].get("resourceVersion")
        if version and version != old["metadata"]["resourceVersion"]:
            raise conflict(resource, name)
        uid = obj["metadata"].get("uid")
        if uid and uid != old["metadata"]["uid"]:
            actual = old["metadata"]["uid"]
            why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {actual}"
            raise conflict(resource, name, why)

    def _validate(self, resource: Resource, kind: Kind, obj: Object, old: Object | None) -> None:
        errors = list(_metadata_errors(obj))
        errors.extend(kind.validate(obj))
        if old is not None:
            errors.extend(kind.validate_update(obj, old))
        if errors:
            raise invalid(resource, obj["metadata"]["name"], errors)

    def _manage(
        self, resource: Resource, old: Object | None, new: Object, caller: Caller, subresource: str
    ) -> None:
        if not self.manage_fields or not caller.field_manager or resource.plural in _UNMANAGED:
            return
        node = self.type_of(self.kind(resource).resource)
        if node is not None:
            now = self.clock.now()
            record_update(node, old, new, caller.field_manager, subresource, now)

    def type_of(self, resource: Resource) -> Node | None:
        """What fields the kind has; None where nothing is known of them."""
        kind = self.registry.kind(resource)
        if kind is not None and kind.type is not None:
            return kind.type
        return type_of(resource)

    def exists(self, resource: Resource, namespace: str | None, name: str) -> bool:
        space = (namespace or "") if resource.namespaced else ""
        return self.bucket(resource).get(space, name) is not None

    def scalable(self, resource: Resource) -> Kind:
        kind = self.kind(resource)
        if kind.scale_selector is None:
            raise method_not_allowed()
        return kind


def _fields(text: str, allowed: Callable[[str], bool] | None) -> FieldSelector:
    # Bound methods of one tuple are equal but custom kinds allow all: both make stable cache keys.
    return parse_fields(text, allowed) if text else FieldSelector()


def _metadata_errors(obj: Object) -> Sequence[FieldError]:
    metadata = obj["metadata"]
    errors: list[FieldError] = []
    name = metadata["name"]
    if not isinstance(name, str) or (not is_subdomain(name) and obj["kind"] not in _FREE_NAMES):
        detail = (
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
            "and must start and end with an alphanumeric character (e.g. 'example.com', regex used for "
            "validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
        )
        errors.append(FieldError.bad("metadata.name", name, detail))
    for field_name in ("labels", "annotations"):
        given = metadata.get(field_name)
        if given is None:
            continue
        if not isinstance(given, dict) or not all(isinstance(v, str) for v in given.values()):
            errors.append(FieldError.bad(f"metadata.{field_name}", given, "must be a map of strings"))
    return errors


# Written so often and so rarely applied that their ledgers would be all cost.
_UNMANAGED = frozenset({"events", "leases", "endpointslices", "endpoints"})
_FREE_NAMES = frozenset({"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"})


def _spec_changed(old: Object, new: Object) -> bool:
    names = (old.keys() | new.keys()) - {"metadata", "status"}
    return any(old.get(name) != new.get(name) for name in names)


def _merge_for_update(kind: Kind, old: Object, obj: Object, subresource: str) -> Object:
    """What an update may change: status only through its subresource, never the server's own metadata."""
    before = old["metadata"]
    metadata = {**obj["metadata"]}
    for name in (*_SERVER_FIELDS, "generation", "generateName"):
        metadata.pop(name, None)
        if name in before:
            metadata[name] = before[name]
    if "managedFields" not in metadata and "managedFields" in before:
        metadata["managedFields"] = before["managedFields"]
    if subresource == "status":
        new = {**old, "metadata": {**before}}
        for name in ("labels", "annotations") if kind.resource.plural == "nodes" else ():
            if name in metadata:
                new["metadata"][name] = metadata[name]
        if "status" in obj:
            new["status"] = obj["status"]
        if "managedFields" in metadata:
            new["metadata"]["managedFields"] = metadata["managedFields"]
        return new
    new = {**obj, "metadata": metadata}
    if "status" in kind.resource.subresources:
        new.pop("status", None)
        if "status" in old:
            new["status"] = old["status"]
    return new


def as_caller(caller: Caller, **changes: Any) -> Caller:
    return replace(caller, **changes)
