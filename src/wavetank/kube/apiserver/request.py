"""What a request is about: its path taken apart, its body decoded, its answer encoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from wavetank.errors import InputError
from wavetank.kube.client import ApiError, Object, Resource
from wavetank.kube.registry import Registry
from wavetank.kube.schema.protobuf import decode_protobuf
from wavetank.kube.status import bad_request, status_of, unsupported_media_type
from wavetank.limits import KUBE_OBJECT_BYTES_MAX
from wavetank.yamlfile import parse_documents

__all__ = [
    "Target",
    "answer",
    "decode_body",
    "error_response",
    "flag",
    "media_type",
    "parse_target",
    "read_body",
]

JSON: Final = "application/json"
YAML: Final = "application/yaml"
PROTOBUF: Final = "application/vnd.kubernetes.protobuf"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Target:
    """The resource a path names; ``name`` "" is the collection."""

    resource: Resource
    namespace: str | None
    name: str = ""
    subresource: str = ""
    rest: str = ""


def parse_target(registry: Registry, path: str) -> Target | None:
    """None where no resource is served at the path. ``path`` is percent-encoded."""
    parts = [unquote(part) for part in path.split("/")[1:]]
    if parts[0] == "api" and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace: str | None = None
    # `namespaces/NAME/status` is a subresource, `namespaces/NAME/pods` a collection.
    if rest[0] == "namespaces" and len(rest) > 2 and not (not group and rest[2] in ("status", "finalize")):
        namespace, rest = rest[1], rest[2:]
    if rest and rest[-1] == "":
        rest = rest[:-1]
    resource = registry.find(group, version, rest[0]) if rest else None
    if resource is None or (namespace is not None and not resource.namespaced):
        return None
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    if subresource and subresource not in resource.subresources:
        return None
    return Target(resource, namespace, name, subresource, "/".join(rest[3:]))


def flag(query: Mapping[str, str], name: str) -> bool:
    return query.get(name, "").lower() in ("true", "1", "t")


def media_type(header: str | None) -> str:
    return (header or "").partition(";")[0].strip().lower()


async def read_body(request: Request) -> bytes:
    """The whole body. Raises ApiError 413 where it is larger than an object may be."""
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > KUBE_OBJECT_BYTES_MAX:
                message = f"Request entity too large: limit is {KUBE_OBJECT_BYTES_MAX}"
                raise ApiError(413, "RequestEntityTooLarge", message)
            chunks.append(chunk)
    except ClientDisconnect:
        raise bad_request("the client went away") from None
    return b"".join(chunks)


def decode_body(data: bytes, content_type: str) -> Any:
    """JSON (also where no type is given), YAML or protobuf. Raises ApiError 400 or 415."""
    if content_type == PROTOBUF:
        return decode_protobuf(data)
    if content_type in ("", JSON) or content_type.endswith("+json"):
        try:
            return _decode(data)
        except (msgspec.DecodeError, RecursionError) as error:
            raise bad_request(f"couldn't get version/kind; json parse error: {error}") from None
    if content_type == YAML or content_type.endswith("+yaml"):
        return _yaml(data)
    raise unsupported_media_type(content_type, (JSON, YAML, PROTOBUF))


def _yaml(data: bytes) -> Any:
    try:
        documents = parse_documents(data.decode("utf-8"), path="request body")
    except (InputError, UnicodeDecodeError) as error:
        raise bad_request(f"error decoding YAML: {error}") from None
    if len(documents) != 1:
        raise bad_request("the body must be exactly one YAML document")
    return documents[0].value


def answer(
    obj: Any, code: int = 200, headers: Mapping[str, str] | None = None, media: str = JSON
) -> Response:
    return Response(_encode(obj), code, headers, media)


def error_response(error: ApiError) -> Response:
    headers = {"Retry-After": "1"} if error.code == 429 else None
    status: Object = status_of(error)
    return answer(status, error.code, headers)
