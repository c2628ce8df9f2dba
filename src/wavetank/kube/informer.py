"""A local copy of one resource, kept current by a watch, that wakes whoever waits for changes.

Mirrors client-go's shared informer as far as controllers need it: a cache by key, handlers, "has synced".
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from wavetank.clock import Clock, RealClock
from wavetank.kube.client import ApiError, Client, Object, Resource, WatchEvent, WatchType
from wavetank.limits import KUBE_RELIST_SECONDS_MAX

__all__ = ["Informer", "InformerHandler"]

Key = tuple[str, str]
"""(namespace, name); the namespace is "" for cluster-scoped objects."""

InformerHandler = Callable[[WatchType, Object | None, Object], None]
"""(type, object before or None, object now; for DELETED the last state)."""


class Informer:
    """``cache`` maps (namespace, name) to the object; treat objects as read-only.

    ``listed`` is set once all objects that existed at the start are in the cache. ``changed`` is set at each
    change after that and at the end of the first list; who waits for it clears it. ``version`` counts
    changes. Handlers run synchronously, in order of the changes; they must not raise.
    """

    def __init__(
        self,
        client: Client,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        clock: Clock | None = None,
    ) -> None:
        self._client = client
        self.resource = resource
        self._scope = (namespace, label_selector, field_selector)
        self._clock = clock or RealClock()
        self._handlers: list[InformerHandler] = []
        self._task: asyncio.Task[None] | None = None
        self.cache: dict[Key, Object] = {}
        self.listed = asyncio.Event()
        self.changed = asyncio.Event()
        self.version = 0
        self.error: ApiError | None = None
        """The last failure of the watch, None while it is well."""

    def add_handler(self, handler: InformerHandler) -> None:
        """Call ``handler`` for every change, and at once with ADDED for every object already known."""
        self._handlers.append(handler)
        for obj in self.cache.values():
            handler(WatchType.ADDED, None, obj)

    def get(self, name: str, namespace: str = "") -> Object | None:
        return self.cache.get((namespace, name))

    def objects(self) -> Iterable[Object]:
        return self.cache.values()

    async def start(self) -> None:
        """Begin watching and return when the first list is complete."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(
                self._run(), name=f"informer {self.resource.plural}"
            )
        await self.listed.wait()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        namespace, labels, fields = self._scope
        delay = 0.1
        while True:
            try:
                async for event in self._client.watch(
                    self.resource, namespace, label_selector=labels, field_selector=fields
                ):
                    self.error, delay = None, 0.1
                    self._take(event)
            except ApiError as error:
                self.error = error
            await self._clock.sleep(delay)
            delay = min(delay * 2, KUBE_RELIST_SECONDS_MAX)

    def _take(self, event: WatchEvent) -> None:
        if event.type is WatchType.BOOKMARK:
            return
        if event.type is WatchType.LISTED:
            self.listed.set()
            self.changed.set()
            return
        metadata = event.object["metadata"]
        key = (metadata.get("namespace") or "", metadata["name"])
        before = self.cache.get(key)
        if event.type is WatchType.DELETED:
            self.cache.pop(key, None)
            kind = WatchType.DELETED
        else:
            # A new watch after a failure gives ADDED again for what is known already.
            if before is not None and before["metadata"]["resourceVersion"] == metadata["resourceVersion"]:
                return
            self.cache[key] = event.object
            kind = WatchType.ADDED if before is None else WatchType.MODIFIED
        self.version += 1
        for handler in self._handlers:
            handler(kind, before, event.object)
        self.changed.set()
