"""Failures as the API words them: constructors of ``ApiError`` and its ``Status`` body.

Mirrors ``k8s.io/apimachinery/pkg/api/errors`` and ``pkg/util/validation/field``. Clients parse these
reasons and messages, so they are upstream's own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wavetank.kube.client import ApiError, Object, Resource

__all__ = [
    "FieldError", "already_exists", "bad_request", "conflict", "expired", "forbidden", "invalid",
    "method_not_allowed", "not_found", "status_of", "success", "too_many_requests", "unsupported_media_type",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class FieldError:
    """One finding of validation; ``reason`` is a ``FieldValue...`` cause type."""

    field: str
    reason: str
    message: str

    @classmethod
    def required(cls, field: str, detail: str = "") -> FieldError:
        return cls(field, "FieldValueRequired", "Required value" + (f": {detail}" if detail else ""))

    @classmethod
    def bad(cls, field: str, value: Any, detail: str) -> FieldError:
        return cls(field, "FieldValueInvalid", f"Invalid value: {_shown(value)}: {detail}")

    @classmethod
    def duplicate(cls, field: str, value: Any) -> FieldError:
        return cls(field, "FieldValueDuplicate", f"Duplicate value: {_shown(value)}")

    @classmethod
    def forbidden(cls, field: str, detail: str) -> FieldError:
        return cls(field, "FieldValueForbidden", f"Forbidden: {detail}")

    @classmethod
    def unsupported(cls, field: str, value: Any, valid: Sequence[str]) -> FieldError:
        options = ", ".join(f'"{v}"' for v in sorted(valid))
        return cls(
            field,
            "FieldValueNotSupported",
            f"Unsupported value: {_shown(value)}: supported values: {options}",
        )

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def _shown(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), default=str)


def qualified(resource: Resource) -> str:
    """``deployments.apps``: the resource with its group, as messages name it."""
    return f"{resource.plural}.{resource.group}" if resource.group else resource.plural


def _details(resource: Resource, name: str, *, kind: bool = False, **more: Any) -> dict[str, Any]:
    details = {"name": name, "group": resource.group, "kind": resource.kind if kind else resource.plural}
    return {k: v for k, v in {**details, **more}.items() if v}


def not_found(resource: Resource, name: str) -> ApiError:
    return ApiError(404, "NotFound", f'{qualified(resource)} "{name}" not found', _details(resource, name))


def already_exists(resource: Resource, name: str) -> ApiError:
    return ApiError(
        409, "AlreadyExists", f'{qualified(resource)} "{name}" already exists', _details(resource, name)
    )


_MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def conflict(resource: Resource, name: str, why: str = _MODIFIED) -> ApiError:
    return ApiError(
        409,
        "Conflict",
        f'Operation cannot be fulfilled on {qualified(resource)} "{name}": {why}',
        _details(resource, name),
    )


def invalid(resource: Resource, name: str, errors: Sequence[FieldError]) -> ApiError:
    texts = [str(error) for error in errors]
    listed = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
    causes = [{"reason": e.reason, "message": e.message, "field": e.field} for e in errors]
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    return ApiError(
        422,
        "Invalid",
        f'{kind} "{name}" is invalid: {listed}',
        _details(resource, name, kind=True, causes=causes),
    )


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def forbidden(resource: Resource, name: str, why: str) -> ApiError:
    shown = f'{qualified(resource)} "{name}" is forbidden: {why}'
    return ApiError(403, "Forbidden", shown, _details(resource, name))


def method_not_allowed() -> ApiError:
    return ApiError(
        405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
    )


def unsupported_media_type(given: str, accepted: Sequence[str]) -> ApiError:
    options = ", ".join(accepted)
    return ApiError(
        415,
        "UnsupportedMediaType",
        f"the body of the request was in an unknown format - accepted media types include: {options}"
        + (f" (got {given!r})" if given else ""),
    )


def expired(revision: int, oldest: int) -> ApiError:
    return ApiError(410, "Expired", f"too old resource version: {revision} ({oldest})")


def too_many_requests(message: str, details: dict[str, Any] | None = None) -> ApiError:
    return ApiError(429, "TooManyRequests", message, details)


def status_of(error: ApiError) -> Object:
    """The ``Status`` object sent for an error."""
    body: Object = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": error.message,
        "reason": error.reason,
    }
    if error.details:
        body["details"] = error.details
    return {**body, "code": error.code}


def success(resource: Resource, name: str, uid: str) -> Object:
    """The ``Status`` that answers a completed deletion."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": _details(resource, name, uid=uid),
    }
