"""Events: what happened to an object, told to users; repeats of the same are counted, not repeated.

Mirrors client-go's event recorder and its correlator: equal events of one object within ten minutes raise
``count`` and ``lastTimestamp`` of the first. ``EventLog`` makes events, ``EventRecorder`` is the
asynchronous shell that sends them; telling about an object never holds up or fails the teller.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import Any, Final

from wavetank.clock import Clock
from wavetank.kube.client import ApiError, Client, Object
from wavetank.kube.resources import EVENTS
from wavetank.kube.times import format_time
from wavetank.limits import KUBE_EVENT_KEYS_MAX

__all__ = ["EventLog", "EventRecorder", "reference"]

_AGGREGATE_SECONDS: Final = 600.0


def reference(obj: Object, field_path: str = "") -> Object:
    """An ObjectReference to an object that is or was stored."""
    metadata = obj["metadata"]
    found = {
        "kind": obj["kind"],
        "namespace": metadata.get("namespace", ""),
        "name": metadata["name"],
        "uid": metadata.get("uid", ""),
        "apiVersion": obj["apiVersion"],
        "resourceVersion": metadata.get("resourceVersion", ""),
        "fieldPath": field_path,
    }
    return {key: value for key, value in found.items() if value}


class EventLog:
    """Makes the Event objects of one component, and remembers which it has made."""

    def __init__(self, clock: Clock, component: str, host: str = "") -> None:
        self._clock = clock
        self._source = {"component": component, **({"host": host} if host else {})}
        self._component = component
        self._seen: dict[tuple[str, ...], Object] = {}
        # In virtual time several components tell of one object at one instant: each counts from elsewhere.
        self._sequence = zlib.crc32(f"{component}/{host}".encode()) * 1000

    def event(
        self, involved: Object, kind: str, reason: str, message: str, *, field_path: str = ""
    ) -> Object:
        """A new Event to create, or, with ``metadata.resourceVersion`` unset and the same name, the earlier
        one with a higher ``count`` to update. ``kind`` is Normal or Warning."""
        now = self._clock.now()
        about = reference(involved, field_path)
        key = (about.get("uid", ""), about["name"], field_path, kind, reason, message)
        earlier = self._seen.get(key)
        stamp = format_time(now)
        if earlier is not None and now - earlier["_at"] < _AGGREGATE_SECONDS:
            earlier["_at"] = now
            event = earlier["event"] = {
                **earlier["event"],
                "count": earlier["event"]["count"] + 1,
                "lastTimestamp": stamp,
            }
            return event
        self._sequence += 1
        namespace = about.get("namespace") or "default"
        suffix = f"{int(now * 1e9) + self._sequence:x}"
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{about['name']}.{suffix}", "namespace": namespace},
            "involvedObject": about,
            "reason": reason,
            "message": message,
            "source": self._source,
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "count": 1,
            "type": kind,
            "eventTime": None,
            "reportingComponent": self._component,
            "reportingInstance": self._source.get("host", ""),
        }
        if len(self._seen) >= KUBE_EVENT_KEYS_MAX:
            self._seen.clear()
        self._seen[key] = {"_at": now, "event": event}
        return event


class EventRecorder:
    """``component`` and ``host`` are the events' source."""

    def __init__(self, client: Client, clock: Clock, component: str, host: str = "") -> None:
        self._client = client
        self._log = EventLog(clock, component, host)
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    def event(self, obj: Object, kind: str, reason: str, message: str, field_path: str = "") -> None:
        """Tell about ``obj`` (apiVersion, kind and metadata are looked at). ``kind`` is Normal or Warning;
        ``field_path`` is such as ``spec.containers{web}``."""
        self._queue.put_nowait(self._log.event(obj, kind, reason, message, field_path=field_path))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._send(), name="events")

    async def flush(self) -> None:
        """Wait until all that was told has been sent."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _send(self) -> None:
        while not self._queue.empty():
            event = self._queue.get_nowait()
            meta = event["metadata"]
            try:
                if event["count"] == 1:
                    await self._client.create(EVENTS, event, meta["namespace"])
                else:
                    patch = {"count": event["count"], "lastTimestamp": event["lastTimestamp"]}
                    await self._client.patch(EVENTS, meta["name"], patch, meta["namespace"])
            except ApiError:
                continue  # the namespace may be going; an event is not worth a retry
