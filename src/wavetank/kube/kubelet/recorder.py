"""Events: what a component tells about an object, in the API, with repeats counted.

Mirrors client-go's ``tools/record``: one Event object for each distinct (object, type, reason, message); a
repeat raises its count. Sending never holds up or fails the sender.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from wavetank.clock import Clock
from wavetank.kube.client import ApiError, Client, Object
from wavetank.kube.resources import EVENTS
from wavetank.kube.times import format_time
from wavetank.limits import KUBELET_EVENTS_KEPT

__all__ = ["EventRecorder"]

Identity = tuple[str, ...]


class EventRecorder:
    """``component`` and ``host`` are the event's source."""

    def __init__(self, client: Client, clock: Clock, component: str, host: str = "") -> None:
        self._client = client
        self._clock = clock
        self._source = {"component": component, **({"host": host} if host else {})}
        self._component = component
        self._host = host
        self._known: OrderedDict[Identity, tuple[str, str, int]] = OrderedDict()
        self._queue: asyncio.Queue[tuple[Identity, dict[str, Any]]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._number = 0

    def event(self, obj: Mapping[str, Any], kind: str, reason: str, message: str, field: str = "") -> None:
        """Tell about ``obj`` (an API object with apiVersion, kind, metadata). ``kind`` is Normal or Warning;
        ``field`` a path such as ``spec.containers{web}``."""
        meta = obj["metadata"]
        reference = {
            "apiVersion": obj.get("apiVersion", "v1"),
            "kind": obj.get("kind", "Pod"),
            "name": meta["name"],
            **{k: meta[k] for k in ("namespace", "uid", "resourceVersion") if meta.get(k)},
            **({"fieldPath": field} if field else {}),
        }
        identity = (str(meta.get("uid") or meta["name"]), kind, reason, message, field)
        body = {"involvedObject": reference, "type": kind, "reason": reason, "message": message}
        self._queue.put_nowait((identity, body))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._send(), name="events")

    async def flush(self) -> None:
        """Wait until all that was told has been sent."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _send(self) -> None:
        while not self._queue.empty():
            identity, body = self._queue.get_nowait()
            try:
                await self._write(identity, body)
            except ApiError:
                continue  # the namespace may be going; an event is not worth a retry

    async def _write(self, identity: Identity, body: dict[str, Any]) -> None:
        now = format_time(self._clock.now())
        known = self._known.pop(identity, None)
        if known is not None:
            namespace, name, count = known
            try:
                patch = {"count": count + 1, "lastTimestamp": now}
                await self._client.patch(EVENTS, name, patch, namespace)
            except ApiError as error:
                if error.code != 404:
                    raise
            else:
                self._known[identity] = (namespace, name, count + 1)
                return
        created = await self._create(body, now)
        meta = created["metadata"]
        self._known[identity] = (meta["namespace"], meta["name"], 1)
        while len(self._known) > KUBELET_EVENTS_KEPT:
            self._known.popitem(last=False)

    async def _create(self, body: dict[str, Any], now: str) -> Object:
        self._number += 1
        involved = body["involvedObject"]
        namespace = involved.get("namespace") or "default"
        unique = int(self._clock.now() * 1e9) + self._number
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{involved['name']}.{unique:016x}", "namespace": namespace},
            **body,
            "source": self._source,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
            "reportingComponent": self._component,
            "reportingInstance": self._host,
        }
        return await self._client.create(EVENTS, event, namespace)
