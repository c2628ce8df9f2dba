"""Values of PromQL's literal tokens: strings and numbers, read as Go reads them.

Mirrors ``strutil.Unquote``, ``strconv.ParseInt(s, 0, 64)`` and ``strconv.ParseFloat``.
"""

from __future__ import annotations

import math
import re
from typing import Final

__all__ = ["parse_number", "unquote"]

_SIMPLE: Final = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}
_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\\'\"`])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3}))", re.DOTALL
)
_INT = re.compile(
    r"^(?:0[xX](?P<hex>[0-9a-fA-F_]+)|0[oO]?(?P<oct>[0-7_]+)|0[bB](?P<bin>[01_]+)|(?P<dec>[0-9_]+))$"
)
_FLOAT = re.compile(r"^(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9_]+)?$")


def unquote(text: str) -> str:
    """The value of a string token that the lexer has accepted.

    Bytes that are not UTF-8 are kept the way Python keeps them (surrogateescape).
    """
    body = text[1:-1]
    if text[0] == "`" or "\\" not in body:
        return body
    out = bytearray()
    known: dict[str, bytes] = {}  # a text may be nothing but escapes
    at = 0
    for found in _ESCAPE.finditer(body):
        start, end = found.span()
        if start > at:
            out += body[at:start].encode()
        written = found[0]
        piece = known.get(written)
        if piece is None:
            piece = known[written] = _escaped(found)
        out += piece
        at = end
    out += body[at:].encode()
    return out.decode("utf-8", errors="surrogateescape")


def _escaped(found: re.Match[str]) -> bytes:
    simple, byte, short, long, octal = found.groups()
    if simple is not None:
        return bytes([_SIMPLE[simple]]) if simple in _SIMPLE else simple.encode()
    if byte is not None:
        return bytes([int(byte, 16)])
    if octal is not None:
        return bytes([int(octal, 8)])
    return chr(int(short or long, 16)).encode()


def parse_number(text: str) -> float:
    """A NUMBER token; a leading 0 makes it octal, as in Go. Raises ValueError with upstream's text."""
    lower = text.lower()
    if lower == "inf":
        return math.inf
    if lower == "nan":
        return math.nan
    whole = _integer(text)
    if whole is not None:
        return whole
    digits = text.replace("_", "")
    if _FLOAT.match(text) is None:
        raise ValueError(f'strconv.ParseFloat: parsing "{text}": invalid syntax')
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f'strconv.ParseFloat: parsing "{text}": value out of range')
    return value


def _integer(text: str) -> float | None:
    """None if it is not an integer that fits 64 bits, which Go then reads as a float."""
    found = _INT.match(text)
    if found is None:
        return None
    for base, digits in ((16, found["hex"]), (8, found["oct"]), (2, found["bin"]), (10, found["dec"])):
        stripped = digits.replace("_", "") if digits is not None else ""
        if stripped and len(stripped) <= 64 and not (base == 10 and text[0] == "0" and len(text) > 1):
            value = int(stripped, base)
            return float(value) if value < 2**63 else None
    return None


_RE2_TEXTS: Final = {
    "missing ]": "missing closing ]",
    "missing )": "missing closing )",
    "unexpected )": "unexpected )",
    "invalid perl operator": "invalid or unsupported Perl syntax",
    "no argument for repetition operator": "missing argument to repetition operator",
    "bad repetition operator": "invalid nested repetition operator",
    "invalid repetition size": "invalid repeat count",
    "invalid character class range": "invalid character class range",
    "invalid escape sequence": "invalid escape sequence",
    "trailing \\ at end of regexp": "trailing backslash at end of expression",
}


def go_regex_error(text: str, pattern: str) -> str:
    """RE2's complaint in the words of Go's regexp package, which upstream's clients know."""
    kind, _, piece = text.partition(": ")
    if kind == "missing )":
        piece = f"^(?s:{pattern})$"
    words = _RE2_TEXTS.get(kind, kind)
    return f"error parsing regexp: {words}" + (f": `{piece}`" if piece else "")


_GO_FLOAT = re.compile(
    r"^[+-]?(?:(?:[0-9][0-9_]*\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|inf(?:inity)?|nan)$", re.IGNORECASE
)


def parse_float(text: str) -> float | None:
    """``strconv.ParseFloat`` of a label's value; None if it is not a number."""
    if _GO_FLOAT.match(text) is None:
        return None
    value = float(text.replace("_", ""))
    return None if math.isinf(value) and "i" not in text.lower() else value
