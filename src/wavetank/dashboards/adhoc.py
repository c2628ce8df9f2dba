"""Ad hoc filters: matchers added to every selector of a query."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Final

from wavetank.errors import WavetankError
from wavetank.model.labels import Matcher, MatchType
from wavetank.promql import ast
from wavetank.promql.parser import parse_expr
from wavetank.promql.printer import print_expr

__all__ = ["filtered", "selectors"]

_TYPES: Final = {
    "=": MatchType.EQUAL,
    "!=": MatchType.NOT_EQUAL,
    "=~": MatchType.REGEXP,
    "!~": MatchType.NOT_REGEXP,
}


def filtered(expr: str, filters: Sequence[str]) -> str:
    """``filters`` are ``key|operator|value``; a query that does not parse is left as it is."""
    matchers = [made for made in map(_matcher, filters) if made is not None]
    if not matchers:
        return expr
    try:
        return print_expr(_added(parse_expr(expr), tuple(matchers)))
    except WavetankError:
        return expr


def _matcher(text: str) -> Matcher | None:
    parts = text.split("|", 2)
    if len(parts) != 3 or parts[1] not in _TYPES or not parts[0]:
        return None
    return Matcher(_TYPES[parts[1]], parts[0], parts[2])


def _added(node: Any, matchers: tuple[Matcher, ...]) -> Any:
    if isinstance(node, ast.VectorSelector):
        return dataclasses.replace(node, matchers=(*node.matchers, *matchers))
    if not dataclasses.is_dataclass(node) or isinstance(node, type):
        return node
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(node):
        value = getattr(node, field.name)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            changes[field.name] = _added(value, matchers)
        elif isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
            changes[field.name] = tuple(_added(item, matchers) for item in value)
    return dataclasses.replace(node, **changes) if changes else node


def selectors(node: Any) -> list[ast.VectorSelector]:
    """Every selector below the node."""
    if isinstance(node, ast.VectorSelector):
        return [node]
    if not dataclasses.is_dataclass(node) or isinstance(node, type):
        return []
    found = []
    for field in dataclasses.fields(node):
        value = getattr(node, field.name)
        for item in value if isinstance(value, tuple) else (value,):
            found += selectors(item)
    return found
