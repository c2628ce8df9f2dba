"""The objects of the cluster: in memory, behind one global revision, with a history that watches read.

Mirrors what kube-apiserver keeps in etcd and its watch cache. Each resource has a bucket of objects and a
bounded log of its changes; a watch is a cursor in that log, so a reader that never reads costs nothing and
is cut (410 Expired) when the log has moved past it. Stored objects are never changed in place: a write puts
a new dict, and readers may keep what they were given. All methods are synchronous and must be called from
one thread; a write is in the database (``persistence``) before it returns.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from wavetank.kube.client import Object, WatchType
from wavetank.kube.status import expired
from wavetank.limits import KUBE_WATCH_HISTORY_EVENTS_MAX

__all__ = ["Bucket", "Change", "Cursor", "ObjectLog", "Storage"]

Name = tuple[str, str]
"""(namespace, name); the namespace is "" for cluster-scoped objects."""


@dataclass(slots=True)
class Change:
    """One write. ``previous`` is None for ADDED; ``object`` of a DELETED carries the deletion's revision.
    ``encoded`` caches wire forms, so that a change is encoded once for all its watchers."""

    type: WatchType
    revision: int
    object: Object
    previous: Object | None
    encoded: dict[str, bytes] = field(default_factory=dict)


class ObjectLog(Protocol):
    """Where objects outlive the process."""

    def load(self) -> tuple[int, Iterable[tuple[str, Object]]]:
        """The last revision, and every (bucket name, object)."""
        ...

    def put(self, bucket: str, name: Name, revision: int, obj: Object) -> None: ...

    def remove(self, bucket: str, name: Name, revision: int) -> None: ...


class Bucket:
    """All objects of one resource, whatever version they are read in."""

    def __init__(self, name: str, start: int) -> None:
        self.name = name
        self.namespaces: dict[str, dict[str, Object]] = {}
        self.count = 0
        self.history: deque[Change] = deque()
        self.oldest = start
        """Watches may begin at this revision or later."""
        self.subscribers: list[Callable[[Change], None]] = []
        self.waiting: list[asyncio.Future[None]] = []

    def get(self, namespace: str, name: str) -> Object | None:
        found = self.namespaces.get(namespace)
        return None if found is None else found.get(name)

    def objects(self, namespace: str | None = None) -> Iterator[Object]:
        """In no particular order; None is all namespaces."""
        if namespace is not None:
            yield from self.namespaces.get(namespace, {}).values()
            return
        for found in self.namespaces.values():
            yield from found.values()

    def sorted(self, namespace: str | None = None) -> list[Object]:
        """In the order of their keys, as lists are answered."""
        spaces = sorted(self.namespaces) if namespace is None else [namespace]
        return [
            objects[name]
            for objects in (self.namespaces.get(space, {}) for space in spaces)
            for name in sorted(objects)
        ]

    def record(self, change: Change) -> None:
        self.history.append(change)
        if len(self.history) > KUBE_WATCH_HISTORY_EVENTS_MAX:
            self.oldest = self.history.popleft().revision
        for subscriber in self.subscribers:
            subscriber(change)
        if self.waiting:
            for future in self.waiting:
                if not future.done():
                    future.set_result(None)
            self.waiting.clear()


class Cursor:
    """A place in a bucket's history. ``take`` gives what has happened since; it raises 410 when some of
    that is forgotten."""

    def __init__(self, bucket: Bucket, revision: int) -> None:
        if revision < bucket.oldest:
            raise expired(revision, bucket.oldest)
        self._bucket = bucket
        self.revision = revision

    def take(self) -> list[Change]:
        """Changes after this cursor, oldest first; moves the cursor. Raises ApiError 410."""
        history = self._bucket.history
        if not history or history[-1].revision <= self.revision:
            return []
        if self.revision < self._bucket.oldest:
            raise expired(self.revision, self._bucket.oldest)
        found: list[Change] = []
        for change in reversed(history):
            if change.revision <= self.revision:
                break
            found.append(change)
        found.reverse()
        self.revision = found[-1].revision
        return found

    async def wait(self) -> None:
        """Return when ``take`` would give something."""
        history = self._bucket.history
        while not history or history[-1].revision <= self.revision:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._bucket.waiting.append(future)
            try:
                await future
            except asyncio.CancelledError:
                if future in self._bucket.waiting:
                    self._bucket.waiting.remove(future)
                raise


class Storage:
    """Buckets under one revision counter, with an index of who owns whom."""

    def __init__(self, log: ObjectLog | None = None) -> None:
        self._log = log
        self._buckets: dict[str, Bucket] = {}
        self._owned: dict[str, dict[tuple[str, str, str], None]] = {}
        self._uids: dict[str, tuple[str, str, str]] = {}
        self.subscribers: list[Callable[[Change], None]] = []
        """Called after every write to any bucket."""
        self.revision = 1
        if log is not None:
            self._restore(log)

    def _restore(self, log: ObjectLog) -> None:
        revision, objects = log.load()
        self.revision = max(self.revision, revision)
        for bucket_name, obj in objects:
            bucket = self.bucket(bucket_name)
            namespace, name = name_of(obj)
            bucket.namespaces.setdefault(namespace, {})[name] = obj
            bucket.count += 1
            self._index(bucket_name, namespace, name, None, obj)
        for bucket in self._buckets.values():
            bucket.oldest = self.revision

    def bucket(self, name: str) -> Bucket:
        found = self._buckets.get(name)
        if found is None:
            found = self._buckets[name] = Bucket(name, self.revision)
        return found

    def buckets(self) -> Iterable[Bucket]:
        return tuple(self._buckets.values())

    def put(self, bucket: Bucket, obj: Object) -> Object:
        """Store a new or changed object under the next revision; returns it as stored. The caller has
        checked preconditions and hands over ``obj`` for good."""
        namespace, name = name_of(obj)
        self.revision += 1
        stored = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.revision)}}
        objects = bucket.namespaces.setdefault(namespace, {})
        previous = objects.get(name)
        if self._log is not None:
            self._log.put(bucket.name, (namespace, name), self.revision, stored)
        objects[name] = stored
        self._index(bucket.name, namespace, name, previous, stored)
        if previous is None:
            bucket.count += 1
        kind = WatchType.ADDED if previous is None else WatchType.MODIFIED
        self._tell(bucket, Change(kind, self.revision, stored, previous))
        return stored

    def remove(self, bucket: Bucket, namespace: str, name: str) -> Object:
        """Forget an object that exists; returns its last state under the deletion's revision."""
        objects = bucket.namespaces[namespace]
        previous = objects[name]
        self.revision += 1
        if self._log is not None:
            self._log.remove(bucket.name, (namespace, name), self.revision)
        del objects[name]
        if not objects:
            del bucket.namespaces[namespace]
        bucket.count -= 1
        self._index(bucket.name, namespace, name, previous, None)
        last = {**previous, "metadata": {**previous["metadata"], "resourceVersion": str(self.revision)}}
        self._tell(bucket, Change(WatchType.DELETED, self.revision, last, previous))
        return last

    def _tell(self, bucket: Bucket, change: Change) -> None:
        bucket.record(change)
        for subscriber in self.subscribers:
            subscriber(change)

    def by_uid(self, uid: str) -> tuple[str, Object] | None:
        """(bucket name, object), or None where no object with that uid exists."""
        found = self._uids.get(uid)
        if found is None:
            return None
        obj = self._buckets[found[0]].get(found[1], found[2])
        return None if obj is None else (found[0], obj)

    def owned_by(self, uid: str) -> list[tuple[str, Object]]:
        """(bucket name, object) of everything that names ``uid`` in its ownerReferences."""
        found = []
        for bucket_name, namespace, name in self._owned.get(uid, ()):
            obj = self._buckets[bucket_name].get(namespace, name)
            if obj is not None:
                found.append((bucket_name, obj))
        return found

    def _index(self, bucket: str, namespace: str, name: str, old: Object | None, new: Object | None) -> None:
        if new is None and old is not None:
            self._uids.pop(old["metadata"].get("uid", ""), None)
        elif new is not None and old is None:
            self._uids[new["metadata"].get("uid", "")] = (bucket, namespace, name)
        before, after = _owners(old), _owners(new)
        if before == after:
            return
        for uid in before:
            if uid not in after:
                entries = self._owned.get(uid)
                if entries is not None:
                    entries.pop((bucket, namespace, name), None)
                    if not entries:
                        del self._owned[uid]
        for uid in after:
            self._owned.setdefault(uid, {})[(bucket, namespace, name)] = None


def name_of(obj: Object) -> Name:
    metadata = obj["metadata"]
    return metadata.get("namespace") or "", metadata["name"]


def _owners(obj: Object | None) -> tuple[str, ...]:
    if obj is None:
        return ()
    references = obj["metadata"].get("ownerReferences")
    return tuple(r["uid"] for r in references) if references else ()
