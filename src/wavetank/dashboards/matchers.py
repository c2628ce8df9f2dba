"""Which fields an override or a transformation means.

Mirrors Grafana's field matchers: byName, byRegexp, byType, byFrameRefID, byNames, byValue, numeric, time,
first.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Final

import re2

from wavetank.dashboards.frame import Field, Frame
from wavetank.dashboards.reducers import reduce_values
from wavetank.dashboards.values import mapping, number, text, texts

__all__ = ["compiled", "matches"]

_COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
    "eq": operator.eq,
    "neq": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "=": operator.eq,
    "!=": operator.ne,
}


def compiled(pattern: str) -> Any:
    """``/re/flags`` or a bare expression; None for one that cannot be used."""
    flags = ""
    if pattern.startswith("/") and pattern.rfind("/") > 0:
        pattern, flags = pattern[1 : pattern.rfind("/")], pattern[pattern.rfind("/") + 1 :]
    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = "i" not in flags
    try:
        return re2.compile(pattern, options)
    except re2.error:
        return None


def matches(kind: str, options: Any, found: Field, frame: Frame, index: int) -> bool:
    """Whether the field at ``index`` of the frame is meant."""
    match kind:
        case "byName":
            return str(options) in (found.display, found.name)
        case "byRegexp":
            regex = compiled(str(options))
            return regex is not None and bool(regex.search(found.display) or regex.search(found.name))
        case "byType":
            return bool(found.type == options)
        case "byTypes":
            return found.type in texts(options)
        case "byFrameRefID":
            return bool(frame.ref == options)
        case "byNames":
            named = {found.display, found.name} & set(texts(mapping(options).get("names", options)))
            return bool(named) != (text(mapping(options), "mode") == "exclude")
        case "byValue":
            return _by_value(mapping(options), found)
        case "numeric":
            return found.type == "number"
        case "time":
            return found.type == "time"
        case "first":
            return index == 0
        case "firstTimeField":
            return found is frame.first("time")
        case _:
            return False


def _by_value(options: Any, found: Field) -> bool:
    if found.type != "number":
        return False
    value = reduce_values(found.values, text(options, "reducer", "lastNotNull"))
    bound = number(options, "value")
    compare = _COMPARE.get(text(options, "op"))
    if compare is None or bound is None or not isinstance(value, int | float):
        return False
    return compare(float(value), bound)
