"""The small part of jq in which stages name fields: paths, iteration, and ``select`` by equality.

``.metadata.annotations["a/b"]``, ``.status.conditions.[] | select( .type == "Ready" ) | .status``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

from wavetank.errors import InputError

__all__ = ["values_at"]

_STEP: Final = re.compile(r'\.?\[\s*\]|\.?\["((?:[^"\\]|\\.)*)"\]|\.?\[(\d+)\]|\.([A-Za-z_][\w-]*)|\.')
_SELECT: Final = re.compile(r'^select\(\s*(\..*?)\s*==\s*"([^"]*)"\s*\)$')
_EACH: Final = None  # a step that goes into every element

Step = str | int | None


def values_at(obj: Any, query: str) -> list[Any]:
    """All values that a query finds, without nulls. Raises InputError for what is more than the subset."""
    found = [obj]
    for stage in query.split("|"):
        text = stage.strip()
        select = _SELECT.match(text)
        if select is not None:
            path = _steps(select[1])
            found = [v for v in found if any(w == select[2] for w in _walk(v, path))]
        else:
            path = _steps(text)
            found = [w for v in found for w in _walk(v, path)]
    return found


@lru_cache(maxsize=512)
def _steps(text: str) -> tuple[Step, ...]:
    steps: list[Step] = []
    place = 0
    while place < len(text):
        match = _STEP.match(text, place)
        if match is None:
            raise InputError(f"{text!r} is not a path", fix="write it like .status.phase or .items.[].name")
        quoted, index, name = match.groups()
        if quoted is not None or name is not None:
            steps.append(quoted if quoted is not None else name)
        elif index is not None:
            steps.append(int(index))
        elif match[0] != ".":
            steps.append(_EACH)
        place = match.end()
    return tuple(steps)


def _walk(value: Any, steps: tuple[Step, ...]) -> Iterator[Any]:
    if not steps:
        if value is not None:
            yield value
        return
    step, rest = steps[0], steps[1:]
    if step is _EACH:
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            yield from _walk(item, rest)
    elif isinstance(step, int):
        if isinstance(value, list) and step < len(value):
            yield from _walk(value[step], rest)
    elif isinstance(value, dict) and step in value:
        yield from _walk(value[step], rest)
