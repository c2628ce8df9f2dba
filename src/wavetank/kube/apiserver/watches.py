"""Watches over HTTP: a stream of JSON lines, encoded once for all who see the same.

A stream waits a little between two chunks when events come thick, so that many watchers of a busy resource
cost a few chunks each, not one per event. A watcher that does not read is held up by TCP alone: it loses its
place when the history moves on, and gets 410.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import StreamingResponse

from wavetank.kube.api import Selection
from wavetank.kube.apiserver.negotiation import Accepted, negotiate
from wavetank.kube.apiserver.request import Target, flag
from wavetank.kube.apiserver.resources import Verbs
from wavetank.kube.client import ApiError, Object, WatchType
from wavetank.kube.status import FieldError, bad_request, invalid, status_of, too_many_requests
from wavetank.kube.storage import Change
from wavetank.kube.watching import visible
from wavetank.limits import KUBE_WATCHES_MAX

__all__ = ["Watches"]

_encode = msgspec.json.Encoder().encode
_TIMEOUT_SECONDS: Final = 1800.0
_BOOKMARK_SECONDS: Final = 60.0
_GATHER_SECONDS: Final = 0.02
_CHUNK_BYTES: Final = 256 * 1024


@dataclass(slots=True)
class _Watch:
    selection: Selection
    target: Target
    query: Mapping[str, str]
    accepted: Accepted

    @property
    def variant(self) -> str:
        """What an event's encoding depends on besides the event."""
        resource = self.target.resource
        include = self.query.get("includeObject", "")
        return f"{resource.version}/{self.accepted.shape}/{self.accepted.version}/{include}"


class Watches:
    """Opens streams; counts those that are open."""

    def __init__(self, verbs: Verbs) -> None:
        self._verbs = verbs
        self._api = verbs.api
        self.open = 0

    def response(self, request: Request, target: Target) -> StreamingResponse:
        """Raises ApiError before the stream begins."""
        if self.open >= KUBE_WATCHES_MAX:
            raise too_many_requests(f"{KUBE_WATCHES_MAX} watches are open, which is the limit")
        query = request.query_params
        accepted = negotiate(request.headers.get("accept", ""))
        watch = _Watch(
            self._verbs.stored_selection(self._verbs.selection(target, query)), target, query, accepted
        )
        start = _start(target, query)
        return StreamingResponse(self._stream(watch, start), media_type="application/json")

    async def _stream(self, watch: _Watch, start: int | None) -> AsyncIterator[bytes]:
        self.open += 1
        try:
            async for chunk in self._chunks(watch, start):
                yield chunk
        except ApiError as error:
            yield _encode({"type": "ERROR", "object": status_of(error)}) + b"\n"
        finally:
            self.open -= 1

    async def _chunks(self, watch: _Watch, start: int | None) -> AsyncIterator[bytes]:
        clock = self._api.clock
        try:
            seconds = float(watch.query.get("timeoutSeconds") or _TIMEOUT_SECONDS)
        except ValueError:
            seconds = _TIMEOUT_SECONDS
        end = clock.monotonic() + seconds
        bookmarks = flag(watch.query, "allowWatchBookmarks")
        if start is None:
            start = self._api.storage.revision
            for chunk in self._initial(watch):
                yield chunk
        cursor = self._api.cursor(watch.selection.resource, start)
        if flag(watch.query, "sendInitialEvents"):
            yield self._bookmark(watch, start, initial=True)
        while (left := end - clock.monotonic()) > 0:
            try:
                await asyncio.wait_for(cursor.wait(), min(left, _BOOKMARK_SECONDS))
            except TimeoutError:
                if bookmarks:
                    yield self._bookmark(watch, self._api.storage.revision)
                continue
            data = b"".join(self._line(watch, change) for change in cursor.take())
            if data:
                yield data
                await clock.sleep(_GATHER_SECONDS)

    def _initial(self, watch: _Watch) -> list[bytes]:
        """ADDED for all that exists, in chunks."""
        chunks: list[bytes] = []
        lines: list[bytes] = []
        size = 0
        for obj in self._api.list(watch.selection).items:
            lines.append(_encode({"type": "ADDED", "object": self._object(watch, obj)}) + b"\n")
            size += len(lines[-1])
            if size > _CHUNK_BYTES:
                chunks.append(b"".join(lines))
                lines, size = [], 0
        if lines:
            chunks.append(b"".join(lines))
        return chunks

    def _line(self, watch: _Watch, change: Change) -> bytes:
        event = visible(self._api, watch.selection, change)
        if event is None:
            return b""
        key = f"{event.type.value}/{watch.variant}"
        found = change.encoded.get(key)
        if found is None:
            obj = self._object(watch, event.object)
            found = _encode({"type": event.type.value, "object": obj}) + b"\n"
            change.encoded[key] = found
        return found

    def _object(self, watch: _Watch, stored: Object) -> Any:
        if watch.accepted.shape == "Table":
            metadata = {"resourceVersion": stored["metadata"]["resourceVersion"]}
            return self._verbs.table(watch.target.resource, [stored], watch.query, watch.accepted, metadata)
        obj = self._api.served(watch.target.resource, stored)
        if watch.accepted.shape.startswith("Partial"):
            return {
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": obj["metadata"],
            }
        return obj

    def _bookmark(self, watch: _Watch, revision: int, *, initial: bool = False) -> bytes:
        metadata: Object = {"resourceVersion": str(revision), "creationTimestamp": None}
        if initial:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        resource = watch.target.resource
        if watch.accepted.shape == "Table":
            obj: Object = self._verbs.table(resource, [], watch.query, watch.accepted, metadata)
        else:
            obj = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
        return _encode({"type": WatchType.BOOKMARK.value, "object": obj}) + b"\n"


def _start(target: Target, query: Mapping[str, str]) -> int | None:
    """The revision to go on from; None to begin with what exists."""
    text = query.get("resourceVersion", "")
    if "sendInitialEvents" in query:
        if query.get("resourceVersionMatch") != "NotOlderThan":
            detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            raise invalid(target.resource, "", [FieldError.forbidden("resourceVersionMatch", detail)])
        if flag(query, "sendInitialEvents"):
            return None
    if text in ("", "0"):
        return None
    if not text.isdigit() or len(text) > 19:
        raise bad_request(f"Invalid value: {text!r}: strconv.ParseUint: invalid syntax")
    return int(text)
