"""Fields of somebody else's: ``--ignore-unknown-fields`` takes them out before a file is read."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import msgspec

from wavetank.yamlfile import Document

__all__ = ["without_unknown_fields"]


def without_unknown_fields(document: Document, kind: Any) -> Document:
    """The document without the keys that ``kind`` and the structs in it do not have."""
    return replace(document, value=_pruned(document.value, _type_info(kind)))


@lru_cache(maxsize=8)
def _type_info(kind: Any) -> Any:
    return msgspec.inspect.type_info(kind)


def _pruned(value: Any, info: Any) -> Any:
    members = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
    for member in members:
        if isinstance(member, msgspec.inspect.StructType) and isinstance(value, dict):
            fields = {field.encode_name: field.type for field in member.fields}
            return {k: _pruned(v, fields[k]) for k, v in value.items() if k in fields}
        if isinstance(member, msgspec.inspect.ListType) and isinstance(value, list):
            return [_pruned(entry, member.item_type) for entry in value]
    return value
