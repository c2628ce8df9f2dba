"""What Go's fmt and text/template do with values: printing, ``printf``, truth, comparison.

Follows https://pkg.go.dev/fmt and the built-in functions of https://pkg.go.dev/text/template.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote_plus

from wavetank.model.quoting import format_float_g, quote

__all__ = ["BUILTINS", "sprint", "sprintf", "truth", "type_name"]

_VERB: Final = re.compile(r"%([-+# 0]*)(\d+)?(?:\.(\d*))?([a-zA-Z%])")
_WIDTH_MAX: Final = 1000


def sprint(value: Any) -> str:
    """As ``%v`` prints it; a value with a ``String`` method as that says."""
    if (shown := getattr(type(value), "go_methods", {}).get("String")) is not None:
        return str(shown(value))
    match value:
        case None:
            return "<no value>"
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case float():
            return format_float_g(value)
        case Mapping():
            return "map[" + " ".join(f"{key}:{sprint(value[key])}" for key in sorted(value)) + "]"
        case list() | tuple():
            return "[" + " ".join(sprint(entry) for entry in value) + "]"
        case _:
            return str(value)


def type_name(value: Any) -> str:
    """Go's name of a value's type."""
    names = {bool: "bool", int: "int", float: "float64", str: "string", type(None): "<nil>"}
    return names.get(type(value), "map" if isinstance(value, Mapping) else "slice")


def truth(value: Any) -> bool:
    """False for zero, the empty text, empty collections and nil; NaN is true."""
    return bool(value)


def sprintf(pattern: str, *values: Any) -> str:
    """``printf``: the verbs for numbers, text and booleans."""
    left = list(values)

    def verb(found: re.Match[str]) -> str:
        flags, width, precision, letter = found.groups()
        if letter == "%":
            return "%"
        if not left:
            return f"%!{letter}(MISSING)"
        text = _format(letter, flags, precision, left.pop(0))
        size = min(int(width or 0), _WIDTH_MAX)
        if "-" in flags:
            return text.ljust(size)
        return _zero_fill(text, size) if "0" in flags else text.rjust(size)

    text = _VERB.sub(verb, pattern)
    if left:
        text += "%!(EXTRA " + ", ".join(f"{type_name(v)}={sprint(v)}" for v in left) + ")"
    return text


def _zero_fill(text: str, size: int) -> str:
    sign = text[:1] if text[:1] in ("-", "+") else ""
    return sign + text[len(sign) :].rjust(size - len(sign), "0")


def _format(letter: str, flags: str, precision: str | None, value: Any) -> str:
    sign = "+" if "+" in flags else ""
    digits = None if precision is None else min(int(precision or 0), _WIDTH_MAX)
    if letter == "v":
        return sprint(value)
    if letter in "feEgG" and isinstance(value, float):
        if digits is None:
            return format_float_g(value) if letter == "g" else f"{value:{sign}.6{letter}}"
        return format_float(value, f"{sign}.{digits}{letter}")
    if letter in "dxXob" and isinstance(value, int) and not isinstance(value, bool):
        return f"{value:{sign}{letter}}"
    if letter in "sq" and isinstance(value, str):
        text = value if digits is None else value[:digits]
        return quote(text) if letter == "q" else text
    if letter == "t" and isinstance(value, bool):
        return sprint(value)
    if letter == "c" and isinstance(value, int):
        return chr(value)
    if letter == "s" and not isinstance(value, int | float | bool):
        return sprint(value)
    return f"%!{letter}({type_name(value)}={sprint(value)})"


def format_float(value: float, spec: str) -> str:
    """Python's format with Go's names for what is not finite."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    return f"{value:{spec}}"


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, Mapping):
            value = value.get(key, "")
        elif isinstance(key, int) and 0 <= key < len(value):
            value = value[key]
        else:
            raise ValueError(f"index out of range: {sprint(key)}")
    return value


def _slice(value: Any, *bounds: int) -> Any:
    start = bounds[0] if bounds else 0
    end = bounds[1] if len(bounds) > 1 else len(value)
    if not 0 <= start <= end <= len(value):
        raise ValueError("index out of range")
    return value[start:end]


def _same_kind(left: Any, right: Any) -> None:
    numbers = (int, float)
    both = isinstance(left, numbers) and isinstance(right, numbers)
    if not both and type(left) is not type(right):
        raise ValueError("incompatible types for comparison")
    if both and type(left) is not type(right):
        raise ValueError("incompatible types for comparison")


def _eq(left: Any, *others: Any) -> bool:
    for other in others:
        if left is not None and other is not None:
            _same_kind(left, other)
    return any(left == other for other in others)


def _lt(left: Any, right: Any) -> bool:
    _same_kind(left, right)
    return bool(left < right)


def _le(left: Any, right: Any) -> bool:
    _same_kind(left, right)
    return bool(left <= right)


def _print(*values: Any) -> str:
    """Go puts a space between two operands when neither is text."""
    parts: list[str] = []
    for i, value in enumerate(values):
        if i and not isinstance(value, str) and not isinstance(values[i - 1], str):
            parts.append(" ")
        parts.append(sprint(value))
    return "".join(parts)


BUILTINS: Final[dict[str, Callable[..., Any]]] = {
    "eq": _eq,
    "ge": lambda a, b: _le(b, a),
    "gt": lambda a, b: _lt(b, a),
    "html": lambda *v: html.escape(_print(*v)),
    "index": _index,
    "le": _le,
    "len": len,
    "lt": _lt,
    "ne": lambda a, b: not _eq(a, b),
    "not": lambda v: not truth(v),
    "print": _print,
    "printf": sprintf,
    "println": lambda *v: " ".join(map(sprint, v)) + "\n",
    "slice": _slice,
    "urlquery": lambda *v: quote_plus(_print(*v)),
}
