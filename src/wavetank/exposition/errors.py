"""What can be wrong with an exposition."""

from __future__ import annotations

from wavetank.errors import InputError

__all__ = ["ExpositionError", "UnsupportedContentType", "go_quote"]

_ESCAPES = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}


class ExpositionError(InputError):
    """The body does not follow its format. ``line`` counts from 1; ``text`` is that line, shortened."""

    def __init__(self, message: str, *, line: int, text: str) -> None:
        super().__init__(message)
        self.line = line
        self.text = text

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}"


class UnsupportedContentType(InputError):
    """No format is known for the response's Content-Type, and no fallback was given."""


def go_quote(raw: bytes) -> str:
    """The bytes as Go's ``%q`` prints them: upstream's error texts use it, and clients parse those."""
    out = ['"']
    for char in raw.decode("utf-8", "surrogateescape"):
        code = ord(char)
        if code in _ESCAPES:
            out.append(_ESCAPES[code])
        elif 0xDC80 <= code <= 0xDCFF:
            out.append(f"\\x{code - 0xDC00:02x}")
        elif code < 0x20 or code == 0x7F:
            out.append(f"\\x{code:02x}")
        elif char.isprintable():
            out.append(char)
        elif code <= 0xFFFF:
            out.append(f"\\u{code:04x}")
        else:
            out.append(f"\\U{code:08x}")
    out.append('"')
    return "".join(out)
