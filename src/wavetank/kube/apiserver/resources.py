"""The verbs over HTTP: one function per verb, from a request to a response."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from wavetank.kube import deletion
from wavetank.kube.api import Api, Caller, Selection
from wavetank.kube.apiserver.negotiation import Accepted, negotiate
from wavetank.kube.apiserver.request import Target, answer, decode_body, flag, media_type, read_body
from wavetank.kube.client import Object, Resource
from wavetank.kube.patches.dispatch import APPLY_PATCH, apply_patch
from wavetank.kube.scale import SCALE
from wavetank.kube.schema.builtin import type_of
from wavetank.kube.schema.decoding import decode_object
from wavetank.kube.status import bad_request, expired, method_not_allowed, success, unsupported_media_type
from wavetank.kube.subresources import create_subresource, get_subresource, update_scale
from wavetank.kube.tables.table import Columns, RowCache, columns_for, table_of
from wavetank.limits import KUBE_LIST_PAGE_MAX

__all__ = ["Verbs"]

Query = Mapping[str, str]


@dataclass(slots=True)
class Verbs:
    """``custom_columns`` gives the declared columns of a custom kind, or None."""

    api: Api
    custom_columns: Callable[[Resource], Columns | None]
    rows: RowCache = field(default_factory=RowCache)

    # Reading

    async def get(self, request: Request, target: Target) -> Response:
        if target.subresource:
            obj = get_subresource(
                self.api, target.resource, target.namespace, target.name, target.subresource
            )
            return answer(obj)
        stored = self.api.stored(target.resource, target.namespace, target.name)
        accepted = negotiate(request.headers.get("accept", ""))
        if accepted.shape == "Table":
            metadata = {"resourceVersion": stored["metadata"]["resourceVersion"]}
            return answer(self.table(target.resource, [stored], request.query_params, accepted, metadata))
        obj = self.api.served(target.resource, stored)
        return answer(_partial(obj) if accepted.shape.startswith("Partial") else obj)

    async def listing(self, request: Request, target: Target) -> Response:
        query = request.query_params
        selection = self.selection(target, query)
        accepted = negotiate(request.headers.get("accept", ""))
        stored_selection = self.stored_selection(selection)
        items = self.api.list(stored_selection).items
        items, metadata = _page(items, query, self.api.storage.revision)
        resource = target.resource
        if accepted.shape == "Table":
            return answer(self.table(resource, items, query, accepted, metadata))
        served = [self.api.served(resource, obj) for obj in items]
        if accepted.shape.startswith("Partial"):
            listed = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"}
            return answer({**listed, "metadata": metadata, "items": [_partial(o) for o in served]})
        if not self.api.kind(resource).custom:
            # Items of typed lists do not say what they are.
            served = [{k: v for k, v in o.items() if k not in ("kind", "apiVersion")} for o in served]
        return answer(
            {
                "kind": f"{resource.kind}List",
                "apiVersion": resource.api_version,
                "metadata": metadata,
                "items": served,
            }
        )

    def selection(self, target: Target, query: Query) -> Selection:
        fields = query.get("fieldSelector", "")
        if target.name:  # `?watch` on one object
            fields = f"metadata.name={target.name}" + (f",{fields}" if fields else "")
        return self.api.select(target.resource, target.namespace, query.get("labelSelector", ""), fields)

    def stored_selection(self, selection: Selection) -> Selection:
        """The same objects in the version they are stored in, which the table's cells read."""
        kind = self.api.kind(selection.resource)
        return Selection(kind.resource, selection.namespace, selection.labels, selection.fields)

    def table(
        self,
        resource: Resource,
        stored: Any,
        query: Query,
        accepted: Accepted,
        metadata: Mapping[str, Any] | None = None,
    ) -> Object:
        include = query.get("includeObject", "Metadata")
        if include not in ("None", "Metadata", "Object"):
            raise bad_request(f"unrecognized includeObject value: {include!r}")
        columns = columns_for(self.api.kind(resource).resource, self.custom_columns(resource))
        return table_of(
            columns,
            stored,
            self.api.clock.now(),
            metadata=metadata,
            include=include,
            served=lambda obj: self.api.served(resource, obj),
            version=accepted.version,
            cache=self.rows,
        )

    # Writing

    async def create(self, request: Request, target: Target) -> Response:
        body = decode_body(await read_body(request), media_type(request.headers.get("content-type")))
        caller = _caller(request)
        if target.subresource:
            result = create_subresource(
                self.api,
                target.resource,
                target.namespace,
                target.name,
                target.subresource,
                body,
                caller,
            )
            return answer(result, 201)
        if target.name:
            raise method_not_allowed()
        obj, warnings = self._decoded(target.resource, body, request.query_params)
        made = self.api.create(target.resource, target.namespace, obj, caller)
        return self._changed(request, target.resource, made, 201, self._advised(target, made, warnings))

    async def update(self, request: Request, target: Target) -> Response:
        if not target.name:
            raise method_not_allowed()
        body = decode_body(await read_body(request), media_type(request.headers.get("content-type")))
        caller, query = _caller(request), request.query_params
        resource, name = target.resource, target.name
        if target.subresource == "scale":
            scale, warnings = decode_object(SCALE, type_of(SCALE), body, query.get("fieldValidation", "Warn"))
            scaled = update_scale(self.api, resource, target.namespace, name, scale, caller)
            return answer(scaled, 200, _warning_headers(warnings))
        if target.subresource not in ("", "status", "resize", "finalize"):
            raise method_not_allowed()
        obj, warnings = self._decoded(resource, body, query)
        subresource = "" if target.subresource == "resize" else target.subresource
        done = self.api.update(resource, target.namespace, name, obj, caller, subresource)
        return self._changed(request, resource, done, 200, self._advised(target, done, warnings))

    async def patch(self, request: Request, target: Target) -> Response:
        if not target.name:
            raise method_not_allowed()
        content_type = media_type(request.headers.get("content-type"))
        data = await read_body(request)
        if not content_type.endswith(("+json", "+yaml")):
            raise unsupported_media_type(content_type, ("application/json-patch+json",))
        patch = decode_body(data, content_type)
        caller, query = _caller(request), request.query_params
        existed = self.api.exists(target.resource, target.namespace, target.name)
        warnings: list[str] = []

        def decode(obj: Object) -> Object:
            decoded, found = self._decoded(target.resource, obj, query)
            warnings.extend(found)
            return decoded

        subresource = "" if target.subresource == "resize" else target.subresource
        done = apply_patch(
            self.api,
            target.resource,
            target.namespace,
            target.name,
            patch,
            content_type,
            caller,
            subresource,
            decode,
        )
        if subresource == "scale":
            return answer(done)
        code = 201 if content_type == APPLY_PATCH and not existed else 200
        return self._changed(request, target.resource, done, code, self._advised(target, done, warnings))

    async def delete(self, request: Request, target: Target) -> Response:
        options = await _delete_options(request)
        caller = _caller(request)
        if not target.name:
            return self._delete_collection(request, target, options, caller)
        obj, gone = self.api.delete(target.resource, target.namespace, target.name, options, caller)
        if not gone or target.resource.plural == "pods":
            return self._changed(request, target.resource, obj, 200, [])
        return answer(success(target.resource, target.name, obj["metadata"]["uid"]))

    def _delete_collection(
        self, request: Request, target: Target, options: deletion.Options, caller: Caller
    ) -> Response:
        listed = self.api.list(self.selection(target, request.query_params))
        for obj in listed.items:
            metadata = obj["metadata"]
            self.api.delete(target.resource, metadata.get("namespace"), metadata["name"], options, caller)
        return answer(
            {
                "kind": f"{target.resource.kind}List",
                "apiVersion": target.resource.api_version,
                "metadata": {"resourceVersion": str(self.api.storage.revision)},
                "items": listed.items,
            }
        )

    def _decoded(self, resource: Resource, body: Any, query: Query) -> tuple[Object, list[str]]:
        validation = query.get("fieldValidation") or "Warn"
        if validation not in ("Strict", "Warn", "Ignore"):
            raise bad_request(f"fieldValidation: Unsupported value: {validation!r}")
        return decode_object(resource, self.api.type_of(resource), body, validation)

    def _advised(self, target: Target, obj: Object, warnings: list[str]) -> list[str]:
        """The warnings, and what the advisors have to say about an object that a user wrote."""
        if target.subresource:
            return warnings
        return [
            *warnings,
            *(text for advise in self.api.advisors for text in advise(self.api, target.resource, obj)),
        ]

    def _changed(
        self, request: Request, resource: Resource, obj: Object, code: int, warnings: list[str]
    ) -> Response:
        accepted = negotiate(request.headers.get("accept", ""))
        headers = _warning_headers(warnings)
        if accepted.shape == "Table":
            conversion = self.api.registry.conversion(resource)
            stored = conversion.to_stored(obj) if conversion else obj
            return answer(self.table(resource, [stored], request.query_params, accepted), code, headers)
        return answer(_partial(obj) if accepted.shape.startswith("Partial") else obj, code, headers)


def _warning_headers(warnings: list[str]) -> Mapping[str, str] | None:
    if not warnings:
        return None
    shown = (w.replace("\\", "\\\\").replace('"', '\\"') for w in warnings)
    return {"Warning": ", ".join(f'299 - "{text}"' for text in shown)}


def _partial(obj: Object) -> Object:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def _caller(request: Request) -> Caller:
    query = request.query_params
    agent = request.headers.get("user-agent", "")
    dry_run = query.get("dryRun", "")
    if dry_run not in ("", "All"):
        raise bad_request(f'dryRun: Unsupported value: "{dry_run}": supported values: "All"')
    given = query.get("fieldManager", "")
    content_type = media_type(request.headers.get("content-type"))
    manager = given if given or content_type == APPLY_PATCH else agent.partition("/")[0] or "unknown"
    return Caller(agent, manager, dry_run == "All", flag(query, "force"))


async def _delete_options(request: Request) -> deletion.Options:
    data = await read_body(request)
    body = decode_body(data, media_type(request.headers.get("content-type"))) if data else {}
    if not isinstance(body, dict):
        raise bad_request("DeleteOptions must be an object")
    query = request.query_params
    grace = body.get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
    if grace is not None:
        try:
            grace = int(grace)
        except (TypeError, ValueError):
            raise bad_request("gracePeriodSeconds must be an integer") from None
    preconditions = body.get("preconditions") or {}
    policy = body.get("propagationPolicy") or query.get("propagationPolicy") or ""
    if not policy and body.get("orphanDependents"):
        policy = "Orphan"
    return deletion.Options(
        grace, policy, preconditions.get("uid") or "", preconditions.get("resourceVersion") or ""
    )


def _page(items: list[Object], query: Query, revision: int) -> tuple[list[Object], dict[str, Any]]:
    """One page of a list that is in the order of its keys, and the list's metadata."""
    metadata: dict[str, Any] = {"resourceVersion": str(revision)}
    token = query.get("continue", "")
    if token:
        try:
            first, start = msgspec.json.decode(
                base64.urlsafe_b64decode(token), type=tuple[int, tuple[str, str]]
            )
        except (ValueError, msgspec.DecodeError):
            raise bad_request("continue key is not valid") from None
        if first > revision:
            raise expired(first, revision)
        # A list goes on as of now; watching from its first page's revision sees what changed meanwhile.
        metadata["resourceVersion"] = str(first)
        items = [obj for obj in items if _key(obj) > start]
    try:
        limit = int(query.get("limit") or 0)
    except ValueError:
        raise bad_request("limit must be an integer") from None
    limit = min(limit, KUBE_LIST_PAGE_MAX) if limit > 0 else len(items)
    if len(items) <= limit:
        return items, metadata
    last = _key(items[limit - 1])
    state = msgspec.json.encode((int(metadata["resourceVersion"]), last))
    metadata["continue"] = base64.urlsafe_b64encode(state).decode("ascii")
    metadata["remainingItemCount"] = len(items) - limit
    return items[:limit], metadata


def _key(obj: Object) -> tuple[str, str]:
    metadata = obj["metadata"]
    return metadata.get("namespace") or "", metadata["name"]
