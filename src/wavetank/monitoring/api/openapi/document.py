"""The document itself, for OpenAPI 3.1 and 3.2, and the endpoint that serves it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, Literal
from urllib.parse import urlsplit, urlunsplit

import yaml
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from wavetank.monitoring.api.openapi.catalogue import ENDPOINTS, TAGS, Endpoint, Parameter
from wavetank.monitoring.api.openapi.schemas import schema, schemas

__all__ = ["document", "routes"]

Version = Literal["3.1.0", "3.2.0"]
_FORM: Final = "application/x-www-form-urlencoded"
_TIME: Final = {
    "oneOf": [
        {"type": "string", "format": "date-time", "description": "RFC 3339"},
        {"type": "number", "format": "unixtime", "description": "seconds since 1970"},
    ]
}
_DURATION: Final = {
    "oneOf": [
        {"type": "string", "format": "duration", "description": "such as 90s or 1h30m"},
        {"type": "number", "format": "float", "description": "seconds"},
    ]
}


def document(version: Version, *, url: str, api_version: str, search_limit_max: int = 0) -> dict[str, Any]:
    """The whole of it. ``url`` is what the paths are below; ``search_limit_max`` 0 is none."""
    endpoints = [entry for entry in ENDPOINTS if version == "3.2.0" or not entry.newest_only]
    forms = {_form_name(e): _form_schema(e, search_limit_max) for e in endpoints if e.form}
    return {
        "openapi": version,
        "info": {
            "title": "Prometheus API",
            "description": "The HTTP API v1 of Prometheus, as Wavetank serves it.",
            "version": api_version,
        },
        "servers": [{"url": url}],
        "paths": {
            entry.path: {
                method.lower(): _operation(entry, method, search_limit_max) for method in entry.methods
            }
            for entry in endpoints
        },
        "components": {"schemas": {**schemas(), **forms}},
        "tags": [
            {
                "name": name,
                **({"summary": name.capitalize()} if version == "3.2.0" else {}),
                "description": text,
            }
            for name, text in TAGS.items()
        ],
    }


def _operation(endpoint: Endpoint, method: str, search_limit_max: int) -> dict[str, Any]:
    made: dict[str, Any] = {
        "tags": [endpoint.tag],
        "summary": endpoint.text,
        "operationId": _operation_id(endpoint, method),
    }
    as_form = endpoint.form and method == "POST"
    if as_form:
        form = {"schema": schema(_form_name(endpoint))}
        made["requestBody"] = {"required": True, "content": {_FORM: form}}
    elif endpoint.parameters:
        made["parameters"] = [_parameter(entry, search_limit_max) for entry in endpoint.parameters]
    error = {"content": {"application/json": {"schema": schema("Error")}}, "description": "What is wrong"}
    made["responses"] = {**_success(endpoint), "default": error}
    return made


def _operation_id(endpoint: Endpoint, method: str) -> str:
    if endpoint.form and method == "POST":
        return f"{endpoint.operation}-post"
    if len(endpoint.methods) > 1 and not endpoint.form:
        return endpoint.operation + method.capitalize()
    return endpoint.operation


def _success(endpoint: Endpoint) -> dict[str, Any]:
    if not endpoint.answer:
        return {"204": {"description": "Done"}}
    media, body = "application/json", {"schema": schema(endpoint.answer)}
    if endpoint.answer == "text/event-stream":
        event = {"type": "string", "contentMediaType": "application/json"}
        event |= {"contentSchema": schema("Notification")}  # type: ignore[dict-item]
        media = endpoint.answer
        body = {"itemSchema": {"type": "object", "properties": {"data": event}, "required": ["data"]}}
    elif "/" in endpoint.answer:
        media, body = endpoint.answer, {"schema": {"type": "string", "description": "a JSON object a line"}}
    return {"200": {"description": "The answer", "content": {media: body}}}


def _parameter(entry: Parameter, search_limit_max: int) -> dict[str, Any]:
    return {
        "name": entry.name,
        "in": "path" if entry.in_path else "query",
        "description": entry.text,
        "required": entry.required,
        **({} if entry.in_path else {"explode": entry.kind == "texts"}),
        "schema": _value(entry, search_limit_max),
    }


def _value(entry: Parameter, search_limit_max: int) -> dict[str, Any]:
    if entry.kind == "texts":
        return {"type": "array", "items": {"type": "string"}}
    if entry.kind == "time":
        return _TIME
    if entry.kind == "duration":
        return _DURATION
    if entry.kind == "integer":
        made: dict[str, Any] = {"type": "integer", "format": "int64"}
        if entry.least is not None:
            made["minimum"] = entry.least
        if entry.default is not None:
            capped = search_limit_max and entry.name == "limit"
            made["default"] = min(entry.default, search_limit_max) if capped else entry.default
        return made
    made = {"type": "boolean" if entry.kind == "boolean" else "string"}
    return made | ({"enum": list(entry.one_of)} if entry.one_of else {})


def _form_name(endpoint: Endpoint) -> str:
    return "".join(part.capitalize() for part in endpoint.operation.split("-")) + "PostInputBody"


def _form_schema(endpoint: Endpoint, search_limit_max: int) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            entry.name: _value(entry, search_limit_max) | {"description": entry.text}
            for entry in endpoint.parameters
        },
        "required": [entry.name for entry in endpoint.parameters if entry.required],
        "additionalProperties": False,
    }


class _Plain(yaml.SafeDumper):
    """Without anchors: what is used twice is written twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


@lru_cache(maxsize=8)
def _text(version: Version, url: str, api_version: str, search_limit_max: int) -> bytes:
    made = document(version, url=url, api_version=api_version, search_limit_max=search_limit_max)
    return yaml.dump(made, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=110).encode()


def routes(external_url: str, api_version: str, search_limit_max: int) -> list[Route]:
    """``/openapi.yaml``, below ``/api/v1``; ``openapi_version`` asks for 3.2."""
    parts = urlsplit(external_url)
    url = urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/") + "/api/v1", "", ""))

    async def served(request: Request) -> Response:
        newest = request.query_params.get("openapi_version", "") in ("3.2", "3.2.0")
        body = _text("3.2.0" if newest else "3.1.0", url, api_version, search_limit_max)
        headers = {"Cache-Control": "no-cache, no-store, must-revalidate"}
        return Response(body, headers=headers, media_type="application/yaml; charset=utf-8")

    return [Route("/openapi.yaml", served)]
