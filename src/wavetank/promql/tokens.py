"""Tokens of PromQL: their kinds, keywords, and how error messages name them.

Mirrors the item types of ``promql/parser/lex.go``. A kind is the token's own text for punctuation and
keywords, and an upper-case word for everything else.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from wavetank.model.quoting import quote

__all__ = [
    "AGGREGATORS",
    "COMPARISONS",
    "KEYWORDS",
    "LABEL_KEYWORDS",
    "METRIC_KEYWORDS",
    "PARAMETRIC",
    "SET_OPERATORS",
    "Token",
    "describe",
]

AGGREGATORS: Final = frozenset(("avg", "count", "group", "max", "min", "stddev", "stdvar", "sum")).union(
    ("topk", "bottomk", "count_values", "quantile", "limitk", "limit_ratio")
)
PARAMETRIC: Final = frozenset(("topk", "bottomk", "count_values", "quantile", "limitk", "limit_ratio"))
COMPARISONS: Final = frozenset(("==", "!=", "<=", "<", ">=", ">"))
SET_OPERATORS: Final = frozenset(("and", "or", "unless"))
_WORD_OPERATORS: Final = frozenset(("and", "or", "unless", "atan2"))
_MODIFIERS: Final = frozenset(
    ("anchored", "bool", "by", "fill", "fill_left", "fill_right", "group_left", "group_right")
).union(("ignoring", "offset", "on", "smoothed", "without"))
PREPROCESSORS: Final = frozenset(("start", "end", "step", "range", "max_of", "min_of"))
KEYWORDS: Final = AGGREGATORS | _WORD_OPERATORS | _MODIFIERS | PREPROCESSORS
# Keywords that may also name a metric, or a label inside by (...), on (...) and so on.
METRIC_KEYWORDS: Final = KEYWORDS - frozenset(
    ("atan2", "on", "ignoring", "group_left", "group_right", "bool")
)
LABEL_KEYWORDS: Final = KEYWORDS - frozenset(("without",))
_SYMBOL_OPERATORS: Final = frozenset(
    ("+", "-", "*", "/", "%", "^", "==", "!=", "<=", "<", ">=", ">", "</", ">/", "=~", "!~", "@")
)


class Token(NamedTuple):
    """``start`` counts characters from the beginning of the query."""

    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


_NAMED: Final = {
    "IDENTIFIER": "identifier",
    "METRIC_IDENTIFIER": "metric identifier",
    "STRING": "string",
    "NUMBER": "number",
    "DURATION": "duration",
}


def describe(token: Token) -> str:
    """The token as upstream's "unexpected ..." messages name it."""
    kind, text = token.kind, token.text
    if kind == "EOF":
        return "end of input"
    if kind in ("IDENTIFIER", "METRIC_IDENTIFIER"):
        return f"{_NAMED[kind]} {quote(text)}"
    if kind in _NAMED:
        return f"{_NAMED[kind]} {_clipped(text)}"
    if kind in _MODIFIERS:
        return f"<{text}>"
    if kind in _SYMBOL_OPERATORS or kind in _WORD_OPERATORS:
        return f"<op:{text}>"
    if kind in AGGREGATORS:
        return f"<aggr:{text}>"
    return _clipped(text)


def _clipped(text: str) -> str:
    return quote(text[:10]) + "..." if len(text) > 10 else quote(text)
