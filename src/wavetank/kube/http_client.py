"""``HttpClient``: the ``Client`` protocol against any Kubernetes API over HTTP(S)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from wavetank.clock import Clock, RealClock
from wavetank.kube.client import ApiError, Object, ObjectList, Resource, WatchEvent, WatchType
from wavetank.kube.kubeconfig import Access, read_kubeconfig
from wavetank.limits import KUBE_RELIST_SECONDS_MAX, KUBE_WATCH_LINE_BYTES_MAX

__all__ = ["HttpClient"]

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_REQUEST_SECONDS = 60.0
_PAGE = 500


class HttpClient:
    """One connection pool to one cluster; ``close`` ends it. Use inside a running event loop."""

    def __init__(self, access: Access, user_agent: str = "wavetank", clock: Clock | None = None) -> None:
        self.access = access
        self._clock = clock or RealClock()
        self._ssl = access.ssl_context()
        self._headers = {"User-Agent": user_agent, "Accept": "application/json"}
        if access.token:
            self._headers["Authorization"] = f"Bearer {access.token}"
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def from_kubeconfig(
        cls, path: Path, *, context: str = "", user_agent: str = "wavetank", clock: Clock | None = None
    ) -> HttpClient:
        """Raises InputError where the file cannot be used."""
        return cls(read_kubeconfig(path, context), user_agent, clock)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0, ssl=self._ssl if self._ssl is not None else True)
            self._session = aiohttp.ClientSession(
                self.access.server,
                connector=connector,
                headers=self._headers,
                read_bufsize=KUBE_WATCH_LINE_BYTES_MAX,
            )
        return self._session

    async def _request(
        self,
        method: str,
        path: str,
        body: Any = None,
        params: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> bytes:
        headers = {"Content-Type": content_type} if body is not None else {}
        try:
            async with self._open().request(
                method,
                path,
                data=None if body is None else _encode(body),
                params={k: v for k, v in (params or {}).items() if v},
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=_REQUEST_SECONDS),
            ) as response:
                data = await response.read()
                if response.status >= 400:
                    raise _error(response.status, data)
                return data
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ApiError(
                503, "ServiceUnavailable", f"{method} {path}: {error or type(error).__name__}"
            ) from None

    async def _object(self, *args: Any, **kwargs: Any) -> Object:
        found = _decode(await self._request(*args, **kwargs))
        if not isinstance(found, dict):
            raise ApiError(502, "InternalError", "the server did not answer with an object")
        return found

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> Object:
        return await self._object("GET", _path(resource, namespace, name))

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> ObjectList:
        items: list[Object] = []
        params = {"labelSelector": label_selector, "fieldSelector": field_selector, "limit": str(_PAGE)}
        while True:
            page = await self._object("GET", _path(resource, namespace), params=params)
            # Items of lists do not say what they are; our objects always do.
            items.extend(
                {"apiVersion": resource.api_version, "kind": resource.kind, **item}
                for item in page.get("items") or []
            )
            metadata = page.get("metadata") or {}
            if not metadata.get("continue"):
                return ObjectList(items, metadata.get("resourceVersion", ""))
            params["continue"] = metadata["continue"]

    async def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncIterator[WatchEvent]:
        known: dict[tuple[str, str], Object] = {}
        scope = {"labelSelector": label_selector, "fieldSelector": field_selector}
        delay = 0.1
        while True:
            listed = await self.list(
                resource, namespace, label_selector=label_selector, field_selector=field_selector
            )
            for event in _relisted(listed, known):
                yield event
            version = listed.resource_version
            while version:
                try:
                    async for event in self._stream(
                        resource, namespace, {**scope, "resourceVersion": version}
                    ):
                        delay = 0.1
                        version = event.object["metadata"]["resourceVersion"]
                        if event.type is WatchType.BOOKMARK:
                            continue
                        _remember(event, known)
                        yield event
                except ApiError as error:
                    if error.code == 410:
                        version = ""
                        continue
                    if error.code in (401, 403, 404):
                        raise
                    await self._clock.sleep(delay)
                    delay = min(delay * 2, KUBE_RELIST_SECONDS_MAX)

    async def _stream(
        self, resource: Resource, namespace: str | None, params: Mapping[str, str]
    ) -> AsyncIterator[WatchEvent]:
        query = {"watch": "true", "allowWatchBookmarks": "true", **{k: v for k, v in params.items() if v}}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_REQUEST_SECONDS)
        try:
            async with self._open().get(
                _path(resource, namespace), params=query, timeout=timeout
            ) as response:
                if response.status >= 400:
                    raise _error(response.status, await response.read())
                async for line in response.content:
                    if not line.strip():
                        continue
                    event = _decode(line)
                    if event["type"] == "ERROR":
                        raise _error(event["object"].get("code", 500), _encode(event["object"]))
                    yield WatchEvent(WatchType(event["type"]), event["object"])
        except (aiohttp.ClientError, TimeoutError, ValueError, msgspec.DecodeError) as error:
            raise ApiError(503, "ServiceUnavailable", f"watch of {resource.plural}: {error}") from None

    async def create(self, resource: Resource, obj: Object, namespace: str | None = None) -> Object:
        space = namespace or obj["metadata"].get("namespace")
        return await self._object("POST", _path(resource, space), obj)

    async def update(self, resource: Resource, obj: Object, *, subresource: str = "") -> Object:
        metadata = obj["metadata"]
        path = _path(resource, metadata.get("namespace"), metadata["name"], subresource)
        return await self._object("PUT", path, obj)

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: Any,
        namespace: str | None = None,
        *,
        subresource: str = "",
        content_type: str = "application/merge-patch+json",
    ) -> Object:
        path = _path(resource, namespace, name, subresource)
        return await self._object("PATCH", path, patch, content_type=content_type)

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        grace_period_seconds: int | None = None,
        propagation_policy: str = "Background",
    ) -> None:
        options: Object = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": propagation_policy,
        }
        if grace_period_seconds is not None:
            options["gracePeriodSeconds"] = grace_period_seconds
        await self._request("DELETE", _path(resource, namespace, name), options)

    async def get_subresource(
        self, resource: Resource, name: str, subresource: str, namespace: str | None = None
    ) -> Object:
        return await self._object("GET", _path(resource, namespace, name, subresource))

    async def create_subresource(
        self, resource: Resource, name: str, subresource: str, body: Object, namespace: str | None = None
    ) -> Object:
        return await self._object("POST", _path(resource, namespace, name, subresource), body)

    async def get_raw(self, path: str) -> bytes:
        return await self._request("GET", path)


def _path(resource: Resource, namespace: str | None, name: str = "", subresource: str = "") -> str:
    root = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    if resource.namespaced and namespace:
        root += f"/namespaces/{namespace}"
    return "/".join(part for part in (root, resource.plural, name, subresource) if part)


def _error(code: int, data: bytes) -> ApiError:
    try:
        status = msgspec.json.decode(data, type=dict[str, Any])
    except msgspec.DecodeError:
        return ApiError(code, "Unknown", data[:200].decode("utf-8", "replace").strip())
    return ApiError(
        code, status.get("reason") or "Unknown", status.get("message") or "", status.get("details") or {}
    )


def _key(obj: Object) -> tuple[str, str]:
    metadata = obj["metadata"]
    return metadata.get("namespace") or "", metadata["name"]


def _relisted(listed: ObjectList, known: dict[tuple[str, str], Object]) -> list[WatchEvent]:
    """What a list says has happened since ``known``, which it replaces; ends with LISTED."""
    now = {_key(obj): obj for obj in listed.items}
    events = [WatchEvent(WatchType.DELETED, obj) for name, obj in known.items() if name not in now]
    for name, obj in now.items():
        old = known.get(name)
        if old is None:
            events.append(WatchEvent(WatchType.ADDED, obj))
        elif old["metadata"].get("resourceVersion") != obj["metadata"].get("resourceVersion"):
            events.append(WatchEvent(WatchType.MODIFIED, obj))
    known.clear()
    known.update(now)
    events.append(WatchEvent(WatchType.LISTED, {"metadata": {"resourceVersion": listed.resource_version}}))
    return events


def _remember(event: WatchEvent, known: dict[tuple[str, str], Object]) -> None:
    if event.type is WatchType.DELETED:
        known.pop(_key(event.object), None)
    else:
        known[_key(event.object)] = event.object
