"""Quoted strings and numbers as Go prints them, because clients and test suites compare the texts.

Mirrors ``strconv.Quote``, ``strconv.Unquote`` and ``strconv.FormatFloat`` of the Go standard library as far
as PromQL and the exposition formats use them.
"""

from __future__ import annotations

import math
from typing import Final

__all__ = ["format_float", "format_float_f", "format_float_g", "go_duration", "quote"]

_SHORT: Final = {
    '"': '\\"',
    "\\": "\\\\",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
}


def quote(text: str) -> str:
    """A double-quoted Go string literal; printable characters stand for themselves."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(_quoted_char(c) for c in text) + '"'


def _quoted_char(char: str) -> str:
    if char in _SHORT:
        return _SHORT[char]
    if char.isprintable():
        return char
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was not UTF-8, kept by surrogateescape
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _special(value: float) -> str | None:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return None


def _digits(value: float) -> tuple[str, str, int]:
    """Sign, shortest significant digits, and the decimal exponent of the first of them."""
    mantissa, exponent = _shortest(value)
    sign = "-" if mantissa.startswith("-") else ""
    digits = mantissa.lstrip("-").replace(".", "")
    return sign, digits.rstrip("0") or "0", exponent


def _shortest(value: float) -> tuple[str, int]:
    text = repr(value)
    mantissa, _, exp = text.partition("e")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    shift = int(exp) if exp else 0
    digits = whole + fraction
    stripped = digits.lstrip("0")
    if not stripped:
        return sign + "0", 0
    exponent = len(whole) - 1 + shift - (len(digits) - len(stripped))
    return sign + stripped, exponent


def format_float_f(value: float) -> str:
    """``strconv.FormatFloat(value, 'f', -1, 64)``: shortest digits, never an exponent."""
    text = repr(value)
    if "e" not in text and "n" not in text:  # Python's own text, unless it has an exponent or no digits
        return text.removesuffix(".0")
    special = _special(value)
    if special is not None:
        return special
    sign, digits, exponent = _digits(value)
    if exponent < 0:
        return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
    if len(digits) <= exponent + 1:
        return sign + digits + "0" * (exponent + 1 - len(digits))
    return f"{sign}{digits[: exponent + 1]}.{digits[exponent + 1 :]}"


def _exponential(sign: str, digits: str, exponent: int) -> str:
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{fraction}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


def format_float_g(value: float) -> str:
    """``fmt.Sprintf("%g", value)``: an exponent below 1e-4 and from 1e6 on."""
    if value == 0.0 or 1e-4 <= abs(value) < 1e6:
        return format_float_f(value)
    special = _special(value)
    if special is not None:
        return special
    sign, digits, exponent = _digits(value)
    return _exponential(sign, digits, exponent)


def format_float(value: float) -> str:
    """A sample value as the HTTP API writes it: an exponent below 1e-6 and from 1e21 on."""
    special = _special(value)
    if special is not None:
        return special
    if value != 0 and not 1e-6 <= abs(value) < 1e21:
        return _exponential(*_digits(value)).replace("e-0", "e-")
    return format_float_f(value)


def go_duration(seconds: float) -> str:
    """A duration as Go prints it, to the millisecond: 15.2s, 1m0.5s, 250ms."""
    milliseconds = round(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms" if milliseconds else "0s"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    shown = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{shown}"
    return f"{minutes}m{shown}" if minutes else shown
