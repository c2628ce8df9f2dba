"""``LocalClient``: the ``Client`` protocol in process, without serialisation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from wavetank.clock import next_turn
from wavetank.kube import deletion
from wavetank.kube.api import Api, Caller, Selection
from wavetank.kube.client import ApiError, Object, ObjectList, Resource, WatchEvent, WatchType
from wavetank.kube.patches.dispatch import apply_patch
from wavetank.kube.status import method_not_allowed
from wavetank.kube.subresources import create_subresource, get_subresource, update_scale
from wavetank.kube.watching import visible

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["LocalClient"]


class LocalClient:
    """Speaks to ``api`` directly. ``user_agent`` names the component in the journal and, as its first word,
    in managedFields. ``raw`` answers ``get_raw``; the composing layer gives it the API server's routes."""

    def __init__(
        self, api: Api, user_agent: str, raw: Callable[[str], Awaitable[bytes]] | None = None
    ) -> None:
        self._api = api
        self._raw = raw
        self._caller = Caller(user_agent, user_agent.partition("/")[0])

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> Object:
        return self._api.get(resource, namespace, name)

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> ObjectList:
        return self._api.list(self._api.select(resource, namespace, label_selector, field_selector))

    async def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncIterator[WatchEvent]:
        selection = self._api.select(resource, namespace, label_selector, field_selector)
        known: dict[tuple[str, str], Object] = {}
        while True:
            async for event in self._listed_and_streamed(selection, known):
                yield event
            await next_turn()  # the history moved past this watch: list again

    async def _listed_and_streamed(
        self, selection: Selection, known: dict[tuple[str, str], Object]
    ) -> AsyncIterator[WatchEvent]:
        """One list and its stream, until the history has moved on. ``known`` is what was given so far."""
        listed = self._api.list(selection)
        cursor = self._api.cursor(selection.resource, int(listed.resource_version))
        now = {_name(obj): obj for obj in listed.items}
        for name in [n for n in known if n not in now]:
            yield WatchEvent(WatchType.DELETED, known.pop(name))
        for name, obj in now.items():
            old = known.get(name)
            known[name] = obj
            if old is None or old["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]:
                yield WatchEvent(WatchType.ADDED if old is None else WatchType.MODIFIED, obj)
        yield WatchEvent(WatchType.LISTED, {"metadata": {"resourceVersion": listed.resource_version}})
        while True:
            try:
                changes = cursor.take()
            except ApiError:
                return
            for change in changes:
                event = visible(self._api, selection, change)
                if event is None:
                    continue
                if event.type is WatchType.DELETED:
                    known.pop(_name(event.object), None)
                else:
                    known[_name(event.object)] = event.object
                yield event
            await cursor.wait()

    async def create(self, resource: Resource, obj: Object, namespace: str | None = None) -> Object:
        return self._api.create(resource, namespace, obj, self._caller)

    async def update(self, resource: Resource, obj: Object, *, subresource: str = "") -> Object:
        metadata = obj["metadata"]
        namespace, name = metadata.get("namespace"), metadata["name"]
        if subresource == "scale":
            return update_scale(self._api, resource, namespace, name, obj, self._caller)
        if subresource not in ("", "status"):
            raise method_not_allowed()
        return self._api.update(resource, namespace, name, obj, self._caller, subresource)

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
        return apply_patch(
            self._api, resource, namespace, name, patch, content_type, self._caller, subresource
        )

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        grace_period_seconds: int | None = None,
        propagation_policy: str = "Background",
    ) -> None:
        options = deletion.Options(grace_period_seconds, propagation_policy)
        self._api.delete(resource, namespace, name, options, self._caller)

    async def get_subresource(
        self, resource: Resource, name: str, subresource: str, namespace: str | None = None
    ) -> Object:
        return get_subresource(self._api, resource, namespace, name, subresource)

    async def create_subresource(
        self, resource: Resource, name: str, subresource: str, body: Object, namespace: str | None = None
    ) -> Object:
        return create_subresource(self._api, resource, namespace, name, subresource, body, self._caller)

    async def get_raw(self, path: str) -> bytes:
        if self._raw is None:
            raise ApiError(404, "NotFound", f"nothing is served at {path}")
        return await self._raw(path)


def _name(obj: Object) -> tuple[str, str]:
    metadata = obj["metadata"]
    return metadata.get("namespace") or "", metadata["name"]
