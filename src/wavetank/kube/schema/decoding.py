"""From a request's JSON to an object of its kind: unknown fields, wrong types.

Mirrors the strict decoding of ``k8s.io/apimachinery`` (``fieldValidation``): Strict refuses unknown fields,
Warn drops them and says so in a Warning header, Ignore drops them. Values of a wrong type are refused always.
Null members are dropped, as Go's decoder leaves them at their zero.
"""

from __future__ import annotations

from typing import Any, Final

from wavetank.kube.client import Object, Resource
from wavetank.kube.schema.node import Node
from wavetank.kube.status import bad_request
from wavetank.limits import KUBE_JSON_DEPTH_MAX

__all__ = ["decode_object"]

_GO: Final = {
    "string": "string", "bool": "bool", "int32": "int32", "int64": "int64", "double": "float64",
    "bytes": "[]uint8", "time": "string", "microtime": "string",
}  # fmt: skip
_INT_MAX: Final = {"int32": 2**31 - 1, "int64": 2**63 - 1}
_WARNINGS_MAX: Final = 20


def decode_object(
    resource: Resource, node: Node | None, value: Any, validation: str
) -> tuple[Object, list[str]]:
    """(object without unknown fields, warnings). Raises ApiError 400."""
    if not isinstance(value, dict):
        raise bad_request(
            f"couldn't get version/kind; json parse error: {type(value).__name__} is not an object"
        )
    if node is None:
        return value, []
    unknown: list[str] = []
    walk = _Walk(resource, unknown)
    obj = walk.value(node, value, "", 0)
    if not unknown or validation == "Ignore":
        return obj, []
    texts = [f'unknown field "{path}"' for path in unknown[:_WARNINGS_MAX]]
    if validation == "Strict":
        raise bad_request(f"{_handled(resource)}: strict decoding error: {', '.join(texts)}")
    return obj, texts


def _handled(resource: Resource) -> str:
    return f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}'


class _Walk:
    def __init__(self, resource: Resource, unknown: list[str]) -> None:
        self._resource = resource
        self._unknown = unknown
        self._struct = resource.kind

    def value(self, node: Node, value: Any, path: str, depth: int) -> Any:
        if depth > KUBE_JSON_DEPTH_MAX:
            raise bad_request(f"the body is nested deeper than {KUBE_JSON_DEPTH_MAX} levels")
        match node.kind:
            case "any":
                return value
            case "object":
                return self._object(node, value, path, depth)
            case "map":
                self._expect(dict, value, path, "map")
                item = node.element
                return {k: self.value(item, v, f"{path}.{k}", depth + 1) for k, v in value.items()}
            case "list":
                self._expect(list, value, path, "list")
                item = node.element
                return [self.value(item, v, f"{path}[{i}]", depth + 1) for i, v in enumerate(value)]
            case _:
                return self._scalar(node.kind, value, path)

    def _object(self, node: Node, value: Any, path: str, depth: int) -> Any:
        self._expect(dict, value, path, "object")
        fields = node.fields
        result: dict[str, Any] = {}
        around, self._struct = self._struct, node.name.rpartition(".")[2] or self._struct
        for key, member in value.items():
            known = fields.get(key)
            if known is None:
                if node.keep_unknown or (node.embedded and key in ("apiVersion", "kind", "metadata")):
                    result[key] = member
                else:
                    self._unknown.append(f"{path}.{key}" if path else key)
            elif member is not None:
                result[key] = self.value(known, member, f"{path}.{key}" if path else key, depth + 1)
            elif known.nullable:
                result[key] = None
        self._struct = around
        return result

    def _scalar(self, kind: str, value: Any, path: str) -> Any:
        match kind:
            case "quantity" | "intstr":
                good = isinstance(value, str | int | float) and not isinstance(value, bool)
                if kind == "quantity" and good and not isinstance(value, str):
                    return str(value)
            case "int32" | "int64":
                good = isinstance(value, int | float) and not isinstance(value, bool)
                if good and isinstance(value, float):
                    good = value.is_integer()
                    value = int(value) if good else value
                good = good and abs(value) <= _INT_MAX[kind]
            case "double":
                good = isinstance(value, int | float) and not isinstance(value, bool)
            case "bool":
                good = isinstance(value, bool)
            case _:
                good = isinstance(value, str)
        if not good:
            self._refuse(value, path, _GO.get(kind, kind))
        return value

    def _expect(self, kind: type, value: Any, path: str, wanted: str) -> None:
        if not isinstance(value, kind):
            self._refuse(value, path, wanted)

    def _refuse(self, value: Any, path: str, wanted: str) -> None:
        given = {dict: "object", list: "array", str: "string", bool: "bool"}.get(type(value), "number")
        raise bad_request(
            f"{_handled(self._resource)}: json: cannot unmarshal {given} into Go struct field "
            f"{self._struct}.{path} of type {wanted}"
        )
