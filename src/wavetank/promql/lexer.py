"""The PromQL lexer: text to tokens, one at a time.

Mirrors ``promql/parser/lex.go``: the same tokens, the same error texts at the same places. The parser pulls
tokens with one of look-ahead, because upstream reports whichever of a lexical and a syntactic error comes
first. Keywords are recognised in any case.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from wavetank.promql.tokens import KEYWORDS, Token

__all__ = ["LexError", "Lexer", "go_rune"]

_SPACE = re.compile(r"(?:[ \t\n\r]+|#[^\r\n]*)+")
_WORD = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_IDENTIFIER = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_LETTERS = re.compile(r"[a-zA-Z_]+")
# Escapes that cannot be wrong are passed over with the rest.
_STRING_BODY = {
    '"': re.compile(r'(?:[^"\\\n\ud800-\udfff]+|\\(?:[abfnrtv"\\]|x[0-9a-fA-F]{2}|[0-3][0-7]{2}))*'),
    "'": re.compile(r"(?:[^'\\\n\ud800-\udfff]+|\\(?:[abfnrtv'\\]|x[0-9a-fA-F]{2}|[0-3][0-7]{2}))*"),
    "`": re.compile(r"[^`\ud800-\udfff]*"),
}
_FILL_CALL = re.compile(r"[ \t\n\r]*\(")
_DURATION_WORDS: Final = frozenset(("step", "range", "max_of", "min_of"))
_DURATION_REST = re.compile(r"[smhdwy]s?(?:[0-9]+[smhdw]s?)*")
_DIGITS = re.compile(r"[0-9]+")
_TWO: Final = {"==": "==", "!=": "!=", "<=": "<=", ">=": ">=", "</": "</", ">/": ">/"}
_ONE: Final = frozenset(",*/%+-^=<>()[]@{")
_HEX_RUN: Final = {"u": 4, "U": 8, "x": 2}


class LexError(Exception):
    """A lexical error at ``start``; the parser turns it into a ParseError."""

    def __init__(self, message: str, start: int) -> None:
        super().__init__(message)
        self.message = message
        self.start = start


def go_rune(char: str) -> str:
    """A character as Go's ``%q`` prints a rune; the end of input is Go's replacement character."""
    if char == "":
        return "'\ufffd'"
    escapes = {"'": "\\'", "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    if char in escapes:
        return f"'{escapes[char]}'"
    if char.isprintable():
        return f"'{char}'"
    code = ord(char)
    return f"'\\x{code:02x}'" if code < 0x80 else f"'\\u{code:04x}'"


def _is_word(char: str) -> bool:
    return char == "_" or (char.isascii() and char.isalnum())


class Lexer:
    """Hands out tokens; ``series`` lexes the label part of a series description instead of a query."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self._parens = 0
        self._braces = False
        self._brackets = False
        self._colon = False  # a ':' was seen since '['
        self._duration = False  # a duration was seen since '['
        self._in_duration = False  # strictly inside a duration expression, up to its first number

    def next(self) -> Token:
        """The next token, ``EOF`` at the end. Raises LexError."""
        space = _SPACE.match(self.text, self.at)
        if space is not None:
            self.at = space.end()
        if self._braces:
            return self._inside_braces()
        if self._in_duration:
            return self._inside_duration()
        return self._statement()

    def _peek(self, ahead: int = 0) -> str:
        return self.text[self.at + ahead : self.at + ahead + 1]

    def _emit(self, kind: str, length: int) -> Token:
        token = Token(kind, self.text[self.at : self.at + length], self.at)
        self.at += length
        return token

    def _fail(self, message: str, start: int | None = None) -> LexError:
        return LexError(message, self.at if start is None else start)

    def _statement(self) -> Token:
        char = self._peek()
        if char == "":
            if self._parens:
                raise self._fail("unclosed left parenthesis")
            if self._brackets:
                raise self._fail("unclosed left bracket")
            return Token("EOF", "", self.at)
        if char in "0123456789" or (char == "." and self._peek(1) in tuple("0123456789")):
            return self._number_or_duration()
        if char in "\"'`":
            return self._string(char)
        if char == ":" or _is_word(char):
            return self._bracket_word(char) if self._brackets else self._keyword_or_identifier()
        return self._symbol(char)

    def _symbol(self, char: str) -> Token:
        pair = self.text[self.at : self.at + 2]
        if pair in _TWO:
            return self._emit(pair, 2)
        if char == "=" and pair == "=~":
            raise self._fail("unexpected character after '=': '~'")
        if char == "!":
            raise self._fail(f"unexpected character after '!': {go_rune(pair[1:])}")
        if char not in _ONE:
            raise self._fail(f"unexpected character: {go_rune(char)}")
        self._track(char)
        return self._emit(char, 1)

    def _track(self, char: str) -> None:
        """Keep count of what is open, and refuse what cannot close or open here."""
        if char == "(":
            self._parens += 1
        elif char == ")":
            self._parens -= 1
            if self._parens < 0:
                raise self._fail("unexpected right parenthesis ')'")
        elif char == "{":
            self._braces = True
        elif char == "[":
            if self._brackets:
                raise self._fail("unexpected left bracket '['")
            self._brackets = self._in_duration = True
            self._colon = self._duration = False
        elif char == "]":
            if not self._brackets:
                raise self._fail("unexpected right bracket ']'")
            self._brackets = self._in_duration = False

    def _bracket_word(self, char: str) -> Token:
        """Letters after the first number inside ``[...]``: a colon or one of the duration functions."""
        if char == ":":
            if self._colon:
                raise self._fail("unexpected colon ':'")
            self._colon = True
            return self._emit(":", 1)
        word = _LETTERS.match(self.text, self.at)
        if word is not None and word[0].lower() in _DURATION_WORDS:
            return self._emit(word[0].lower(), len(word[0]))
        raise self._fail(f"unexpected character: {go_rune(char)}, expected ':'")

    def _inside_duration(self) -> Token:
        char = self._peek()
        if char == "":
            raise self._fail("unexpected end of input in duration expression")
        if char in "0123456789" or (char == "." and self._peek(1) in tuple("0123456789")):
            self._duration, self._in_duration = True, False
            return self._number_or_duration()
        if char == ":":
            if not self._duration:
                raise self._fail("unexpected colon before duration in duration expression")
            if self._colon:
                raise self._fail("unexpected repeated colon in duration expression")
            self._colon = True
            return self._emit(":", 1)
        if char in "+-*/%^,()]":
            self._track(char)
            return self._emit(char, 1)
        word = _LETTERS.match(self.text, self.at)
        if word is not None and word[0].lower() in _DURATION_WORDS:
            return self._emit(word[0].lower(), len(word[0]))
        raise self._fail(f"unexpected character in duration expression: {go_rune(char)}")

    def _inside_braces(self) -> Token:
        char = self._peek()
        if char == "":
            raise self._fail("unexpected end of input inside braces")
        if char == "_" or (char.isascii() and char.isalpha()):
            word = _IDENTIFIER.match(self.text, self.at)
            assert word is not None
            return self._emit("IDENTIFIER", len(word[0]))
        if char == ",":
            return self._emit(",", 1)
        if char in "\"'`":
            return self._string(char)
        if char == "=":
            return self._emit("=~", 2) if self._peek(1) == "~" else self._emit("=", 1)
        if char == "!":
            after = self._peek(1)
            if after not in ("~", "="):
                raise self._fail(f"unexpected character after '!' inside braces: {go_rune(after)}")
            return self._emit("!" + after, 2)
        if char == "{":
            raise self._fail("unexpected left brace '{'")
        if char == "}":
            self._braces = False
            return self._emit("}", 1)
        raise self._fail(f"unexpected character inside braces: {go_rune(char)}")

    def _keyword_or_identifier(self) -> Token:
        found = _WORD.match(self.text, self.at)
        assert found is not None
        word, lower = found[0], found[0].lower()
        if lower in ("inf", "nan"):
            return self._emit("NUMBER", len(word))
        if lower in KEYWORDS:
            # The fill words are keywords only before '(', so that metrics of these names keep working.
            if lower.startswith("fill") and _FILL_CALL.match(self.text, found.end()) is None:
                return self._emit("IDENTIFIER", len(word))
            return self._emit(lower, len(word))
        return self._emit("METRIC_IDENTIFIER" if ":" in word else "IDENTIFIER", len(word))

    def _string(self, delimiter: str) -> Token:
        start, body = self.at, _STRING_BODY[delimiter]
        at = start + 1
        while True:
            found = body.match(self.text, at)
            assert found is not None
            at = found.end()
            char = self.text[at : at + 1]
            if char == delimiter:
                return self._emit("STRING", at + 1 - start)
            if char == "\\":
                at = self._escape(at + 1, delimiter, start)
            elif char != "" and char != "\n":
                raise self._fail("invalid UTF-8 rune", start)
            else:
                kind = "raw" if delimiter == "`" else "quoted"
                raise self._fail(f"unterminated {kind} string", start)

    def _escape(self, at: int, delimiter: str, start: int) -> int:
        """Check the escape whose first character after the backslash is at ``at``; return its end."""
        char = self.text[at : at + 1]
        if char == "":
            raise self._fail("escape sequence not terminated", start)
        if char in "abfnrtv\\" or char == delimiter:
            return at + 1
        if char in "01234567":
            length, base, first = 3, 8, at
        elif char in _HEX_RUN:
            length, base, first = _HEX_RUN[char], 16, at + 1
        else:
            raise self._fail(f"unknown escape sequence U+{ord(char):04X} {go_rune(char)}", start)
        for digit in range(first, first + length):
            found = self.text[digit : digit + 1]
            if found == "":
                raise self._fail("escape sequence not terminated", start)
            if found not in "0123456789abcdefABCDEF"[: 8 if base == 8 else 22]:
                raise self._fail(
                    f"illegal character U+{ord(found):04X} {go_rune(found)} in escape sequence", start
                )
        code = int(self.text[first : first + length], base)
        if code > (255 if base == 8 or char == "x" else 0x10FFFF) or 0xD800 <= code < 0xE000:
            raise self._fail("escape sequence is an invalid Unicode code point", start)
        return first + length

    def _number_or_duration(self) -> Token:
        start = self.at
        end, ok = _scan_number(self.text, start)
        if ok:
            return self._emit("NUMBER", end - start)
        rest = _DURATION_REST.match(self.text, end)
        if rest is not None:
            end = rest.end()
            following = self.text[end : end + 1]
            if following == "" or not _is_word(following):
                return self._emit("DURATION", end - start)
            digits = _DIGITS.match(self.text, end)
            end = digits.end() if digits is not None else end + 1
        raise self._fail(f'bad number or duration syntax: "{self.text[start:end]}"')


def _scan_number(text: str, at: int) -> tuple[int, bool]:
    """Where the number that starts at ``at`` ends, and whether it is one; as permissive as upstream."""
    peek: Callable[[int], str] = lambda i: text[i : i + 1]  # noqa: E731
    digits = "0123456789"
    if peek(at) == "0":
        at += 1
        if peek(at) in ("x", "X"):
            digits = "0123456789abcdefABCDEF"
            at += 2 if peek(at + 1) == "_" else 1
    dot = exponent = False
    if peek(at) == ".":  # a leading dot does not count as the only one, as upstream
        at += 1
    while (char := peek(at)) != "" and char in digits + "._eE":
        if char == ".":
            if dot:
                return at + 1, False
            dot, at = True, at + 1
            if peek(at) in ("_", "."):
                return at + 1, False
            if len(digits) > 10:
                return at, False
        elif char in "eE" and char not in digits:
            if exponent:
                return at + 1, False
            exponent, at = True, at + 1
            if peek(at) in ("+", "-"):
                at += 1
            if peek(at) in (".", "_", "e", "E"):
                return at + 1, False
            if peek(at) == "":
                return at, False
        elif char == "_":
            at += 1
            if peek(at) in (".", "_", "e", "E"):
                return at + 1, False
            if peek(at) == "":
                return at, False
        else:
            while peek(at) != "" and peek(at) in digits:
                at += 1
    return at, not _is_word(peek(at)) or peek(at) == ""
