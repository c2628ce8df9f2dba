"""JSON Patch (RFC 6902): add, remove, replace, move, copy, test; all or nothing."""

from __future__ import annotations

from typing import Any

from wavetank.kube.client import ApiError
from wavetank.kube.objects import copy
from wavetank.kube.status import bad_request
from wavetank.limits import KUBE_JSON_PATCH_OPERATIONS_MAX

__all__ = ["json_patch"]


def json_patch(target: Any, operations: Any) -> Any:
    """A new value. Raises ApiError 400 for a malformed patch, 422 where an operation does not apply."""
    if not isinstance(operations, list) or not all(isinstance(op, dict) for op in operations):
        raise bad_request("a JSON patch must be a list of operations")
    if len(operations) > KUBE_JSON_PATCH_OPERATIONS_MAX:
        raise ApiError(
            413,
            "RequestEntityTooLarge",
            f"The allowed maximum operations in a JSON patch is {KUBE_JSON_PATCH_OPERATIONS_MAX}, "
            f"got {len(operations)}",
        )
    result = copy(target)
    for operation in operations:
        result = _apply(result, operation)
    return result


def _apply(document: Any, operation: dict[str, Any]) -> Any:
    path = _pointer(operation.get("path"))
    match operation.get("op"):
        case "add":
            return _add(document, path, copy(_value(operation)))
        case "remove":
            return _remove(document, path)[0]
        case "replace":
            _find(document, path)
            return _put(document, path, copy(_value(operation)))
        case "test":
            if _find(document, path) != _value(operation):
                raise _inapplicable(f"testing value {operation.get('path')} failed")
            return document
        case "copy":
            return _add(document, path, copy(_find(document, _pointer(operation.get("from")))))
        case "move":
            source = _pointer(operation.get("from"))
            if path[: len(source)] == source and path != source:
                raise _inapplicable("a value cannot be moved into itself")
            document, moved = _remove(document, source)
            return _add(document, path, moved)
        case other:
            raise bad_request(f"unexpected kind of JSON patch operation: {other!r}")


def _value(operation: dict[str, Any]) -> Any:
    if "value" not in operation:
        raise bad_request(f"JSON patch operation {operation.get('op')!r} has no value")
    return operation["value"]


def _pointer(text: Any) -> list[str]:
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise bad_request(f"{text!r} is not a JSON pointer")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _inapplicable(why: str) -> ApiError:
    return ApiError(422, "Invalid", f"the server rejected our request due to an error in our request: {why}")


def _step(container: Any, part: str) -> Any:
    if isinstance(container, dict) and part in container:
        return container[part]
    if isinstance(container, list):
        return container[_index(container, part, len(container) - 1)]
    raise _inapplicable(f"path {part!r} does not exist")


def _index(container: list[Any], part: str, last: int) -> int:
    if not part.isascii() or not part.isdigit() or len(part) > 9 or int(part) > last:
        raise _inapplicable(f"index {part!r} is not in the list")
    return int(part)


def _find(document: Any, path: list[str]) -> Any:
    for part in path:
        document = _step(document, part)
    return document


def _add(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    container = _find(document, path[:-1])
    if isinstance(container, list):
        last = len(container)
        container.insert(last if path[-1] == "-" else _index(container, path[-1], last), value)
    elif isinstance(container, dict):
        container[path[-1]] = value
    else:
        raise _inapplicable(f"add operation does not apply: path {'/'.join(path)!r} is missing")
    return document


def _put(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    container = _find(document, path[:-1])
    if isinstance(container, list):
        container[_index(container, path[-1], len(container) - 1)] = value
    else:
        container[path[-1]] = value
    return document


def _remove(document: Any, path: list[str]) -> tuple[Any, Any]:
    if not path:
        return None, document
    container = _find(document, path[:-1])
    removed = _step(container, path[-1])
    if isinstance(container, list):
        del container[int(path[-1])]
    else:
        del container[path[-1]]
    return document, removed
