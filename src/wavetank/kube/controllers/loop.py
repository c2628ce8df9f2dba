"""The driver of controllers: queues keys on changes, runs steps, executes their actions, retries failures.

Mirrors client-go's work queue: a key is in the queue once; failures come back after 5 ms doubling to 1000 s.
``run_step`` does all that is due now and may be called directly (virtual time); ``run`` does so for ever.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterable, Sequence
from typing import Final

from wavetank.clock import Clock, next_turn
from wavetank.kube import deletion
from wavetank.kube.api import Api, Caller
from wavetank.kube.client import ApiError, Object, Resource, WatchType
from wavetank.kube.controllers.actions import (
    Action,
    Controller,
    Create,
    Delete,
    Emit,
    Key,
    Record,
    Source,
    Told,
    Update,
    View,
)  # fmt: skip
from wavetank.kube.events import EventLog
from wavetank.kube.objects import controller_of
from wavetank.kube.registry import bucket_name
from wavetank.kube.resources import EVENTS
from wavetank.kube.storage import Change
from wavetank.limits import KUBE_CONTROLLER_KEYS_PER_TURN

__all__ = ["Driver", "StoreView", "record_event"]

_BACKOFF_SECONDS: Final = 0.005
_BACKOFF_SECONDS_MAX: Final = 1000.0


class StoreView:
    """A ``View`` of storage itself."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        return self._api.bucket(resource).get(namespace, name)

    def list(self, resource: Resource, namespace: str | None = None) -> Iterable[Object]:
        return self._api.bucket(resource).objects(namespace)

    def owned(self, owner: Object, resource: Resource) -> Sequence[Object]:
        uid, wanted = owner["metadata"]["uid"], bucket_name(resource)
        found = [
            obj
            for bucket, obj in self._api.storage.owned_by(uid)
            if bucket == wanted and (controller_of(obj) or {}).get("uid") == uid
        ]
        found.sort(key=lambda obj: obj["metadata"]["name"])
        return found

    def dependents(self, uid: str) -> Sequence[tuple[Resource, Object]]:
        found = []
        for bucket, obj in self._api.storage.owned_by(uid):
            resource = self._resource(bucket, obj)
            if resource is not None:
                found.append((resource, obj))
        return found

    def by_uid(self, uid: str) -> tuple[Resource, Object] | None:
        found = self._api.storage.by_uid(uid)
        if found is None:
            return None
        resource = self._resource(*found)
        return None if resource is None else (resource, found[1])

    def everything_in(self, namespace: str) -> Iterable[tuple[Resource, Object]]:
        for bucket in self._api.storage.buckets():
            for obj in tuple(bucket.objects(namespace)):
                resource = self._resource(bucket.name, obj)
                if resource is not None:
                    yield resource, obj

    def _resource(self, bucket: str, obj: Object) -> Resource | None:
        found = self._api.registry.by_kind(obj["apiVersion"], obj["kind"])
        return found if found is not None and bucket_name(found) == bucket else None


class Driver:
    """Runs one controller. ``start`` subscribes it and queues everything that exists."""

    def __init__(self, controller: Controller, api: Api) -> None:
        self.controller = controller
        self._api = api
        self._clock: Clock = api.clock
        self._view: View = StoreView(api)
        self._caller = Caller(controller.name)
        self._events = EventLog(api.clock, controller.name)
        self._queue: dict[Key, None] = {}
        self._later: list[tuple[float, Key]] = []
        self._gathering: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._wake = asyncio.Event()
        self.steps = 0
        self.last_error: Exception | None = None
        """The last failure of a step or action; kept for status pages, cleared by nothing."""

    def start(self) -> None:
        for source in self.controller.sources:
            subscriber = _Subscriber(self, source)
            if source.resource is None:
                self._api.storage.subscribers.append(subscriber)
                buckets = tuple(self._api.storage.buckets())
            else:
                buckets = (self._api.bucket(source.resource),)
                buckets[0].subscribers.append(subscriber)
            for bucket in buckets:
                for obj in bucket.sorted():
                    self.take(source, Change(WatchType.ADDED, 0, obj, None))

    def _enqueue(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self._queue[key] = None
        if self._queue:
            self._wake.set()

    def take(self, source: Source, change: Change) -> None:
        """A change of a source: queue what it concerns."""
        try:
            keys = tuple(source.keys(self._view, change))
        except Exception as error:
            # We are inside somebody's write, which must not fail because of us.
            self.last_error = error
            return
        if not source.after_seconds:
            self._enqueue(keys)
            return
        due = self._clock.now() + source.after_seconds
        for key in keys:
            if key not in self._gathering:
                self._gathering.add(key)
                heapq.heappush(self._later, (due, key))
                self._wake.set()

    def run_step(self, limit: int | None = None) -> float | None:
        """Work on what is due, at most ``limit`` keys. Returns when to come back: now if keys are left,
        the next time a key asked for, or None."""
        now = self._clock.now()
        while self._later and self._later[0][0] <= now:
            key = heapq.heappop(self._later)[1]
            self._gathering.discard(key)
            self._queue[key] = None
        done = 0
        while self._queue and (limit is None or done < limit):
            key = next(iter(self._queue))
            del self._queue[key]
            self._one(key)
            done += 1
        if self._queue:
            return now
        self._wake.clear()
        return self._later[0][0] if self._later else None

    async def run(self) -> None:
        while True:
            due = self.run_step(KUBE_CONTROLLER_KEYS_PER_TURN)
            await self._pause(due)

    async def _pause(self, due: float | None) -> None:
        if due is None:
            await self._wake.wait()
            return
        left = due - self._clock.now()
        if left <= 0:
            await next_turn()
            return
        sleeping = asyncio.ensure_future(self._clock.sleep(left))
        waking = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait({sleeping, waking}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            waking.cancel()

    def _one(self, key: Key) -> None:
        self.steps += 1
        now = self._clock.now()
        try:
            decision = self.controller.step(now, key, self._view)
            for action in decision.actions:
                self._execute(action)
        except Exception as error:
            # One bad object must not stop the loop for all others; it is tried again, ever more rarely.
            self._retry(now, key, error)
            return
        self._failures.pop(key, None)
        if decision.again_at is not None:
            heapq.heappush(self._later, (decision.again_at, key))

    def _retry(self, now: float, key: Key, error: Exception) -> None:
        conflict = isinstance(error, ApiError) and error.code == 409
        if not conflict:
            self.last_error = error
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = min(_BACKOFF_SECONDS * 2 ** min(failures, 20), _BACKOFF_SECONDS_MAX)
        heapq.heappush(self._later, (now + delay, key))

    def _execute(self, action: Action) -> None:
        if isinstance(action, Emit):
            record_event(self._api, self._events, action.involved, action.kind, action.reason, action.message)
            return
        if isinstance(action, Record):
            self._api.journal.record(action.kind, **action.fields)
            return
        try:
            name = self._write(action)
        except ApiError as error:
            self._tell(action.told, action.obj["metadata"].get("name", ""), error)
            raise
        self._tell(action.told, name, None)

    def _write(self, action: Create | Update | Delete) -> str:
        metadata = action.obj["metadata"]
        namespace = metadata.get("namespace")
        if isinstance(action, Create):
            made = self._api.create(action.resource, namespace, action.obj, self._caller)
            return str(made["metadata"]["name"])
        name = str(metadata["name"])
        if isinstance(action, Update):
            self._api.update(action.resource, namespace, name, action.obj, self._caller, action.subresource)
        else:
            options = deletion.Options(action.grace_period_seconds, action.policy, metadata.get("uid", ""))
            try:
                self._api.delete(action.resource, namespace, name, options, self._caller)
            except ApiError as error:
                if error.code != 404:
                    raise
        return name

    def _tell(self, told: Told | None, name: str, error: ApiError | None) -> None:
        if told is None:
            return
        if error is None and told.reason:
            message = told.message.replace("{name}", name)
            record_event(self._api, self._events, told.involved, "Normal", told.reason, message)
        elif error is not None and told.failed_reason:
            message = told.failed_message.replace("{name}", name).replace("{error}", error.message)
            record_event(self._api, self._events, told.involved, "Warning", told.failed_reason, message)


class _Subscriber:
    """A bound pair, so that two sources of one resource can be told apart."""

    def __init__(self, driver: Driver, source: Source) -> None:
        self._driver = driver
        self._source = source

    def __call__(self, change: Change) -> None:
        self._driver.take(self._source, change)


def record_event(api: Api, events: EventLog, involved: Object, kind: str, reason: str, message: str) -> None:
    """Write an event; one that cannot be written is dropped, as client-go drops it."""
    event = events.event(involved, kind, reason, message)
    metadata = event["metadata"]
    try:
        if event["count"] > 1 and api.exists(EVENTS, metadata["namespace"], metadata["name"]):
            api.update(EVENTS, metadata["namespace"], metadata["name"], event)
        else:
            api.create(EVENTS, metadata["namespace"], event)
    except ApiError:
        pass
