"""Reading JSON that others wrote: a value of the wrong type counts as absent, never as a crash.

Grafana itself has written every field of a dashboard in several types over the years (numbers as strings,
null for an empty list), so readers ask for what they need and get a default.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["JSON", "flag", "integer", "items", "mapping", "mappings", "number", "text", "texts"]

JSON = Mapping[str, Any]
_NOTHING: JSON = {}


def mapping(source: Any, *path: str) -> JSON:
    """The object at the path; an empty one where there is none."""
    for key in path:
        source = source.get(key) if isinstance(source, Mapping) else None
    return source if isinstance(source, Mapping) else _NOTHING


def items(source: Any, key: str) -> Sequence[Any]:
    """The list under the key; an empty one where there is none."""
    found = source.get(key) if isinstance(source, Mapping) else None
    return found if isinstance(found, list | tuple) else ()


def mappings(source: Any, key: str) -> list[JSON]:
    """The objects of the list under the key."""
    return [item for item in items(source, key) if isinstance(item, Mapping)]


def text(source: JSON, key: str, default: str = "") -> str:
    """The text; numbers as JSON writes them."""
    found = source.get(key)
    if isinstance(found, str):
        return found
    if isinstance(found, bool):
        return "true" if found else "false"
    if isinstance(found, int | float):
        return str(int(found)) if found == found and abs(found) < 1e15 and found == int(found) else str(found)
    return default


def texts(found: Any) -> list[str]:
    """A text or a list of texts as a list."""
    if isinstance(found, list | tuple):
        return [text({"x": item}, "x") for item in found if isinstance(item, str | int | float)]
    return [] if found is None or isinstance(found, Mapping) else [text({"x": found}, "x")]


def number(source: JSON, key: str, default: float | None = None) -> float | None:
    """The finite number, also where it is written as text."""
    found = source.get(key)
    if isinstance(found, bool):
        return default
    if isinstance(found, str):
        try:
            found = float(found.strip())
        except ValueError:
            return default
    if not isinstance(found, int | float):
        return default
    try:
        value = float(found)
    except OverflowError:
        return default
    return value if math.isfinite(value) else default


def integer(source: JSON, key: str, default: int = 0) -> int:
    found = number(source, key)
    return default if found is None else int(found)


def flag(source: JSON, key: str, default: bool = False) -> bool:
    found = source.get(key)
    return default if found is None else bool(found)
