"""From YAML values to the configuration's types, as Go's YAML does it.

Go reads a plain scalar into a string field as it is written, and a null as "not given"; a null in a list of
sections is an error with a text of its own. Everything else is strict.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, TypeVar

import msgspec

from wavetank.monitoring.config.values import decode_value
from wavetank.yamlfile import Document, decode

__all__ = ["decode_section"]

T = TypeVar("T")
_KeyPath = tuple[str | int, ...]

_EMPTY_ENTRY: Final = {
    "scrape_configs": "empty or null scrape config section",
    "remote_write": "empty or null remote write config section",
    "remote_read": "empty or null remote read config section",
    "static_configs": "empty or null section in static_configs",
    "relabel_configs": "empty or null target relabeling rule in scrape config",
    "metric_relabel_configs": "empty or null metric relabeling rule in scrape config",
    "alert_relabel_configs": "empty or null alert relabeling rule",
    "write_relabel_configs": "empty or null relabeling rule in remote write config",
}
_EMPTY_IN_ALERTMANAGERS: Final = {
    "relabel_configs": "empty or null Alertmanager target relabeling rule",
    "alert_relabel_configs": "empty or null Alertmanager alert relabeling rule",
}
# Written without a value these are the empty text, not the default.
_EMPTY_TEXT_FIELDS: Final = frozenset({"regex", "action"})


def decode_section(document: Document, kind: type[T]) -> T:
    """The document as ``kind``. Raises InputError with file, line and the nearest valid field."""
    value = _shape(document, document.value, _type_info(kind), ())  # type: ignore[arg-type]
    shaped = Document(value, document.path, document.line, document.lines, document.texts)
    return decode(shaped, kind, dec_hook=decode_value)


@lru_cache(maxsize=64)
def _type_info(kind: Any) -> Any:
    return msgspec.inspect.type_info(kind)


def _shape(document: Document, value: Any, info: Any, path: _KeyPath) -> Any:
    """``value`` with nulls left out and scalars as text wherever ``info`` wants text."""
    for member in _members(info):
        if isinstance(member, msgspec.inspect.StructType) and isinstance(value, dict):
            return _shape_struct(document, value, member, path)
        if isinstance(member, msgspec.inspect.ListType) and isinstance(value, list):
            return _shape_list(document, value, member, path)
        if isinstance(member, msgspec.inspect.DictType) and isinstance(value, dict):
            return {k: _shape(document, v, member.value_type, (*path, k)) for k, v in value.items()}
        if isinstance(member, msgspec.inspect.StrType | msgspec.inspect.CustomType):
            return "" if value is None else document.texts.get(path, value)
        if isinstance(member, msgspec.inspect.FloatType) and type(value) is int:
            return float(value)
    return value


def _members(info: Any) -> tuple[Any, ...]:
    return info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)


def _shape_struct(document: Document, value: dict[str, Any], info: Any, path: _KeyPath) -> dict[str, Any]:
    fields = {field.encode_name: field.type for field in info.fields}
    shaped: dict[str, Any] = {}
    for name, entry in value.items():
        if entry is None and name in fields:
            if name in _EMPTY_TEXT_FIELDS:
                shaped[name] = ""
            continue
        shaped[name] = _shape(document, entry, fields.get(name), (*path, name))
    return shaped


def _shape_list(document: Document, value: list[Any], info: Any, path: _KeyPath) -> list[Any]:
    if None in value:
        name = str(path[-1]) if path else ""
        known = {**_EMPTY_ENTRY, **(_EMPTY_IN_ALERTMANAGERS if "alertmanagers" in path else {})}
        if message := known.get(name):
            raise document.error(message, *path, value.index(None), fix="remove the lone '-'")
    return [_shape(document, entry, info.item_type, (*path, i)) for i, entry in enumerate(value)]
