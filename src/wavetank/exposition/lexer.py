"""Tokens of the two text formats. Mirrors ``promlex.l`` and ``openmetricslex.l`` of ``model/textparse``.

Both are state machines over bytes; a state is a list of patterns, each with the token it yields and the
state it leads to. Where nothing matches, the lexer still consumes what a longer match could have begun
with, because error texts show it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["OPENMETRICS", "PROMETHEUS", "Dialect", "Lexer"]

_Rule = tuple[re.Pattern[bytes], str, str]

_NAME = rb"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = rb"[a-zA-Z_][a-zA-Z0-9_]*"
# NUL bytes may stand in label values only; everywhere else they end the token.
_QUOTED = rb'"(?:\\[^\x00]|[^\\"\x00])*"'
_QUOTED_VALUE = rb'"(?:\\.|[^\\"])*"'
_QUOTED_LINE = rb'"(?:\\[^\x00]|[^\\"\n\x00])*"'
_QUOTED_LINE_VALUE = rb'"(?:\\.|[^\\"\n])*"'


@dataclass(frozen=True, slots=True)
class Dialect:
    """``rules`` by state, and per state what an invalid token may have begun with."""

    name: str
    rules: dict[str, list[_Rule]]
    partial: dict[str, re.Pattern[bytes]]
    skips_blanks: bool


def _rules(table: dict[str, list[tuple[bytes, str, str]]]) -> dict[str, list[_Rule]]:
    return {
        state: [(re.compile(pattern, re.DOTALL), token, then) for pattern, token, then in rows]
        for state, rows in table.items()
    }


_PARTIAL_NAME = rb'"(?:\\[^\x00]|[^\\"\x00])*\\?'
_PARTIAL_NAME_LINE = rb'"(?:\\[^\x00]|[^\\"\n\x00])*\\?'
_PARTIAL_QUOTED = rb'"(?:\\.|[^\\"])*\\?'
_PARTIAL_QUOTED_LINE = rb'"(?:\\.|[^\\"\n])*\\?'


def _partials(table: dict[str, bytes]) -> dict[str, re.Pattern[bytes]]:
    return {state: re.compile(pattern, re.DOTALL) for state, pattern in table.items()}


PROMETHEUS = Dialect(
    "text",
    _rules(
        {
            "init": [
                (rb"\x00", "EOF", "init"),
                (rb"\n", "LINEBREAK", "init"),
                (rb"[ \t]+", "WHITESPACE", "init"),
                (rb"#[ \t]+HELP[ \t]+", "HELP", "meta1"),
                (rb"#[ \t]+TYPE[ \t]+", "TYPE", "meta1"),
                (rb"#[^\n\x00]*(?=\n)", "COMMENT", "init"),
                (rb"#[^\n\x00]*", "EOF", "init"),
                (_NAME, "MNAME", "value"),
                (rb"\{", "BOPEN", "labels"),
            ],
            "meta1": [
                (rb"[ \t]+", "WHITESPACE", "meta1"),
                (_QUOTED, "MNAME", "meta2"),
                (_NAME, "MNAME", "meta2"),
            ],
            "meta2": [(rb"[^\n]+", "TEXT", "init"), (rb"(?=\n)", "TEXT", "init")],
            "labels": [
                (rb"[ \t]+", "WHITESPACE", "labels"),
                (_LABEL, "LNAME", "labels"),
                (_QUOTED, "QSTRING", "labels"),
                (rb"\}", "BCLOSE", "value"),
                (rb"=", "EQUAL", "lvalue"),
                (rb",", "COMMA", "labels"),
            ],
            "lvalue": [(rb"[ \t]+", "WHITESPACE", "lvalue"), (_QUOTED_VALUE, "LVALUE", "labels")],
            "value": [
                (rb"[ \t]+", "WHITESPACE", "value"),
                (rb"\{", "BOPEN", "labels"),
                (rb"[^{ \t\n\x00]+", "VALUE", "timestamp"),
            ],
            "timestamp": [
                (rb"[ \t]+", "WHITESPACE", "timestamp"),
                (rb"[0-9]+", "TIMESTAMP", "timestamp"),
                (rb"\n", "LINEBREAK", "init"),
            ],
        }
    ),
    _partials({"meta1": _PARTIAL_NAME, "labels": _PARTIAL_NAME, "lvalue": _PARTIAL_QUOTED}),
    True,
)

_KEYWORD_PARTIAL = rb"#(?: (?:H(?:E(?:LP?)?)?|T(?:Y(?:PE?)?)?|U(?:N(?:IT?)?)?|E(?:O)?)?)?"

OPENMETRICS = Dialect(
    "OpenMetrics",
    _rules(
        {
            "init": [
                (rb"# HELP ", "HELP", "meta1"),
                (rb"# TYPE ", "TYPE", "meta1"),
                (rb"# UNIT ", "UNIT", "meta1"),
                (rb"# EOF\n?", "EOFWORD", "init"),
                (_NAME, "MNAME", "value"),
                (rb"\{", "BOPEN", "labels"),
            ],
            "meta1": [(_QUOTED, "MNAME", "meta2"), (_NAME, "MNAME", "meta2")],
            "meta2": [(rb" [^\n]*\n", "TEXT", "init")],
            "labels": [
                (_LABEL, "LNAME", "labels"),
                (_QUOTED, "QSTRING", "labels"),
                (rb"\}", "BCLOSE", "value"),
                (rb"=", "EQUAL", "lvalue"),
                (rb",", "COMMA", "labels"),
            ],
            "lvalue": [(_QUOTED_LINE_VALUE, "LVALUE", "labels")],
            "value": [(rb" [^ \n\x00]+", "VALUE", "timestamp"), (rb"\{", "BOPEN", "labels")],
            "timestamp": [
                (rb" # \{", "COMMENT", "exemplar"),
                (rb" [^ \n\x00]+", "TIMESTAMP", "timestamp"),
                (rb"\n", "LINEBREAK", "init"),
            ],
            "exemplar": [
                (_LABEL, "LNAME", "exemplar"),
                (_QUOTED_LINE, "QSTRING", "exemplar"),
                (rb"\}", "BCLOSE", "evalue"),
                (rb"=", "EQUAL", "evalue"),
                (rb",", "COMMA", "exemplar"),
            ],
            "evalue": [(_QUOTED_LINE, "LVALUE", "exemplar"), (rb" [^ \n\x00]+", "VALUE", "etimestamp")],
            "etimestamp": [(rb" [^ \n\x00]+", "TIMESTAMP", "etimestamp"), (rb"\n", "LINEBREAK", "init")],
        }
    ),
    _partials(
        {
            "init": _KEYWORD_PARTIAL,
            "meta1": _PARTIAL_NAME,
            "meta2": rb" [^\n]*",
            "labels": _PARTIAL_NAME,
            "lvalue": _PARTIAL_QUOTED_LINE,
            "value": rb" ",
            "timestamp": rb" ",
            "exemplar": _PARTIAL_NAME_LINE,
            "evalue": _PARTIAL_NAME_LINE + rb"| ",
            "etimestamp": rb" ",
        }
    ),
    False,
)


class Lexer:
    """Walks over ``data``; the last token is ``data[start:position]``."""

    __slots__ = ("_dialect", "data", "position", "start", "state")

    def __init__(self, data: bytes, dialect: Dialect) -> None:
        self.data = data
        self.position = 0
        self.start = 0
        self.state = "init"
        self._dialect = dialect

    def next(self) -> str:
        """The next token's name; blanks are skipped where the dialect does so."""
        while True:
            token = self._next()
            if token != "WHITESPACE":
                return token

    def _next(self) -> str:
        if self.position >= len(self.data):
            return "EOF"
        self.start = self.position
        for pattern, token, then in self._dialect.rules[self.state]:
            found = pattern.match(self.data, self.position)
            if found is not None:
                self.position = found.end()
                self.state = then
                return token
        partial = self._dialect.partial.get(self.state)
        begun = partial.match(self.data, self.position) if partial is not None else None
        if begun is not None:
            self.position = begun.end()
        return "INVALID"

    @property
    def text(self) -> bytes:
        return self.data[self.start : self.position]
