"""A local copy of one resource's objects, kept current by list and watch.

Mirrors client-go's Reflector: list, watch from the list's resource version, watch again from the last seen
version when the connection ends, list again after 410 Gone; back off with jitter between failures.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from wavetank.clock import Clock
from wavetank.limits import KUBE_LIST_BYTES_MAX, SD_WATCH_LINE_BYTES_MAX
from wavetank.monitoring.http_client import FETCH_ERRORS, HTTPClient

__all__ = ["Reflector", "Resource"]

Object = dict[str, Any]
Key = tuple[str, str]

_BACKOFF_SECONDS: Final = (0.2, 30.0)
_WATCH_SECONDS: Final = 300
_LOG = logging.getLogger(__name__)


class Resource(msgspec.Struct, frozen=True):
    """Where a resource lives: ``/api/v1`` or ``/apis/<group>/<version>``, and its plural."""

    prefix: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str) -> str:
        middle = f"/namespaces/{namespace}" if namespace and self.namespaced else ""
        return f"{self.prefix}{middle}/{self.plural}"


class _Gone(Exception):
    """The resource version is too old: list again."""


class Reflector:
    """``objects`` by (namespace, name). ``changed`` is called with each key that was set or removed, and
    ``synced`` once the first list is complete."""

    def __init__(
        self,
        client: HTTPClient,
        server: str,
        resource: Resource,
        clock: Clock,
        changed: Callable[[Resource, Key], None],
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        count_failure: Callable[[], None] = lambda: None,
        count_event: Callable[[str], None] = lambda event: None,
    ) -> None:
        self._count_event = count_event
        self.resource = resource
        self.objects: dict[Key, Object] = {}
        self.synced = asyncio.Event()
        self._client = client
        self._url = server + resource.path(namespace)
        self._clock = clock
        self._changed = changed
        self._selectors = {
            name: text
            for name, text in (("labelSelector", label_selector), ("fieldSelector", field_selector))
            if text
        }
        self._count_failure = count_failure
        self._version = ""

    async def run(self) -> None:
        """List and watch until cancelled."""
        wait, longest = _BACKOFF_SECONDS
        draw = self._clock.random("kubernetes-discovery")
        while True:
            try:
                if not self._version:
                    await self._list()
                    wait = _BACKOFF_SECONDS[0]
                await self._watch()
                continue
            except _Gone:
                self._version = ""
                continue
            except FETCH_ERRORS as error:
                self._count_failure()
                _LOG.error("kubernetes discovery: %s: %s", self._url, error)
            await self._clock.sleep(wait * draw.uniform(0.75, 1.25))
            wait = min(wait * 2, longest)

    async def _list(self) -> None:
        """Replace all objects by what the server has now."""
        query = urlencode({**self._selectors, "resourceVersion": "0"})
        async with self._client.request(
            "GET", f"{self._url}?{query}", headers=_HEADERS, timeout_seconds=60
        ) as response:
            body = bytearray()
            async for part in response.content.iter_any():
                body += part
                if len(body) > KUBE_LIST_BYTES_MAX:
                    raise ValueError(f"list is larger than {KUBE_LIST_BYTES_MAX} bytes")
            if response.status != 200:
                raise ValueError(f"list answered {response.status}: {_message(bytes(body))}")
        answer = msgspec.json.decode(body)
        found = {_key(item): item for item in answer.get("items") or []}
        gone = self.objects.keys() - found.keys()
        before, self.objects = self.objects, found
        self._version = str(answer.get("metadata", {}).get("resourceVersion") or "0")
        for key in gone:
            self._changed(self.resource, key)
        for key, item in found.items():
            if before.get(key) != item:
                self._changed(self.resource, key)
        self.synced.set()

    async def _watch(self) -> None:
        """Follow changes until the server ends the connection."""
        query = urlencode(
            {
                **self._selectors,
                "watch": "true",
                "allowWatchBookmarks": "true",
                "resourceVersion": self._version,
                "timeoutSeconds": _WATCH_SECONDS,
            }
        )
        async with self._client.request("GET", f"{self._url}?{query}", headers=_HEADERS) as response:
            if response.status == 410:
                raise _Gone
            if response.status != 200:
                body = await response.content.read(1 << 16)
                raise ValueError(f"watch answered {response.status}: {_message(body)}")
            pending = bytearray()
            async for part in response.content.iter_any():
                pending += part
                *lines, rest = pending.split(b"\n")
                pending = bytearray(rest)
                if len(pending) > SD_WATCH_LINE_BYTES_MAX:
                    raise ValueError(f"watch event is larger than {SD_WATCH_LINE_BYTES_MAX} bytes")
                for line in lines:
                    if line.strip():
                        self._apply(msgspec.json.decode(line))

    def _apply(self, event: Object) -> None:
        kind, item = event.get("type"), event.get("object") or {}
        if kind == "ERROR":
            if item.get("code") == 410:
                raise _Gone
            raise ValueError(f"watch failed: {item.get('message')}")
        self._version = str(item.get("metadata", {}).get("resourceVersion") or self._version)
        key = _key(item)
        if event_name := _EVENTS.get(kind or ""):
            self._count_event(event_name)
        if kind in ("ADDED", "MODIFIED"):
            self.objects[key] = item
        elif kind == "DELETED":
            self.objects.pop(key, None)
        else:
            return
        self._changed(self.resource, key)


_EVENTS: Final = {"ADDED": "add", "MODIFIED": "update", "DELETED": "delete"}
_HEADERS: Final = {"Accept": "application/json", "User-Agent": "Prometheus/3.14.0"}


def _key(item: Object) -> Key:
    meta = item.get("metadata") or {}
    return str(meta.get("namespace") or ""), str(meta.get("name") or "")


def _message(body: bytes) -> str:
    try:
        return str(msgspec.json.decode(body).get("message"))
    except (msgspec.DecodeError, AttributeError):
        return body[:200].decode("utf-8", "replace")
