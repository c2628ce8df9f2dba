"""Validation of custom objects by the OpenAPI v3 schema of their definition.

Mirrors the subset that structural schemas allow: type, enum, bounds, lengths, pattern, required, oneOf/anyOf/
not over required members. Left out: CEL (``x-kubernetes-validations``), ``format``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import re2

from wavetank.kube.client import Object
from wavetank.kube.status import FieldError

__all__ = ["schema_errors"]

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "array": (list,),
    "object": (dict,),
}
_ERRORS_MAX: Final = 50


def schema_errors(schema: Mapping[str, Any], obj: Object) -> Iterable[FieldError]:
    """What is wrong with an object, at most so many findings as a reader would look at."""
    found: list[FieldError] = []
    for name, member in (schema.get("properties") or {}).items():
        if name in obj and name not in ("metadata", "apiVersion", "kind"):
            _check(member, obj[name], name, found)
    found += [FieldError.required(name) for name in schema.get("required") or () if name not in obj]
    return found[:_ERRORS_MAX]


def _check(schema: Mapping[str, Any], value: Any, path: str, found: list[FieldError]) -> None:
    if len(found) >= _ERRORS_MAX:
        return
    if value is None and schema.get("nullable"):
        return
    if schema.get("x-kubernetes-int-or-string"):
        if not isinstance(value, int | str) or isinstance(value, bool):
            found.append(FieldError.bad(path, value, "must be an integer or a string"))
        return
    kind = str(schema.get("type", ""))
    if kind in _TYPES and (
        not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean")
    ):
        given = {dict: "object", list: "array", str: "string", bool: "boolean"}.get(type(value), "number")
        detail = f'{path} in body must be of type {kind}: "{given}"'
        found.append(FieldError.bad(path, value, detail))
        return
    if "enum" in schema and value not in schema["enum"]:
        found.append(FieldError.unsupported(path, value, [str(v) for v in schema["enum"]]))
    _alternatives(schema, value, path, found)
    if isinstance(value, dict):
        _object(schema, value, path, found)
    elif isinstance(value, list):
        _list(schema, value, path, found)
    elif isinstance(value, str):
        _string(schema, value, path, found)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        _number(schema, value, path, found)


def _object(schema: Mapping[str, Any], value: Mapping[str, Any], path: str, found: list[FieldError]) -> None:
    missing = [name for name in schema.get("required") or () if name not in value]
    found += [FieldError.required(f"{path}.{name}") for name in missing]
    properties = schema.get("properties") or {}
    additional = schema.get("additionalProperties")
    for name, member in value.items():
        if name in properties:
            _check(properties[name], member, f"{path}.{name}", found)
        elif isinstance(additional, dict):
            _check(additional, member, f"{path}.{name}", found)
    _size(schema, "Properties", len(value), value, path, found)


def _list(schema: Mapping[str, Any], value: list[Any], path: str, found: list[FieldError]) -> None:
    items = schema.get("items")
    if isinstance(items, dict):
        for index, item in enumerate(value):
            _check(items, item, f"{path}[{index}]", found)
    _size(schema, "Items", len(value), value, path, found)


def _string(schema: Mapping[str, Any], value: str, path: str, found: list[FieldError]) -> None:
    pattern = schema.get("pattern")
    if pattern:
        try:
            matched = re2.search(pattern, value) is not None
        except re2.error:
            matched = True  # a pattern RE2 cannot read was refused or accepted with its definition
        if not matched:
            found.append(FieldError.bad(path, value, f"{path} in body should match '{pattern}'"))
    _size(schema, "Length", len(value), value, path, found)


def _size(
    schema: Mapping[str, Any], what: str, size: int, value: Any, path: str, found: list[FieldError]
) -> None:
    low, high = schema.get(f"min{what}"), schema.get(f"max{what}")
    unit = {"Length": "chars long", "Items": "items", "Properties": "properties"}[what]
    if low is not None and size < low:
        found.append(FieldError.bad(path, value, f"{path} in body should have at least {low} {unit}"))
    if high is not None and size > high:
        found.append(
            FieldError(path, "FieldValueTooMany", f"Too many: {size}: must have at most {high} {unit}")
        )


def _number(schema: Mapping[str, Any], value: float, path: str, found: list[FieldError]) -> None:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and value < low:
        found.append(FieldError.bad(path, value, f"{path} in body should be greater than or equal to {low}"))
    if high is not None and value > high:
        found.append(FieldError.bad(path, value, f"{path} in body should be less than or equal to {high}"))


def _alternatives(schema: Mapping[str, Any], value: Any, path: str, found: list[FieldError]) -> None:
    for part in schema.get("allOf") or ():
        _check(part, value, path, found)
    if (options := schema.get("anyOf")) and not any(_matches(o, value) for o in options):
        found.append(FieldError.bad(path, value, f'"{path}" must validate at least one schema (anyOf)'))
    if (options := schema.get("oneOf")) and sum(_matches(o, value) for o in options) != 1:
        found.append(FieldError.bad(path, value, f'"{path}" must validate one and only one schema (oneOf)'))
    if "not" in schema and _matches(schema["not"], value):
        found.append(FieldError.bad(path, value, f'"{path}" must not validate the schema (not)'))


def _matches(schema: Mapping[str, Any], value: Any) -> bool:
    errors: list[FieldError] = []
    _check(schema, value, "", errors)
    return not errors
