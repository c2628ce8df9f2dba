"""Query texts made to cost: each is refused, or read, without reading or building more than there are bounds
for. What they cost is measured by hand; here they must end, in a defined way."""

from __future__ import annotations

import pytest

from wavetank.limits import PROMQL_DEPTH_MAX, PROMQL_TOKENS_MAX
from wavetank.promql.options import EXPERIMENTAL
from wavetank.promql.parser import ParseError, parse_expr
from wavetank.promql.printer import print_expr

N = 900_000
DEEP = f"expression is nested deeper than the {PROMQL_DEPTH_MAX} levels allowed"
NESTED = "expression is nested deeper than the 120 levels allowed"
LONG = f"query has more than the {PROMQL_TOKENS_MAX} words and signs allowed"
REGEX = "the regular expressions are too large together"

REFUSED = {
    "a chain of sums": ("1" + "+1" * (N // 2), DEEP),
    "a chain of set operators": ("a" + " or a" * (N // 5), DEEP),
    "a chain of powers": ("1" + "^1" * (N // 2), LONG),
    "parentheses": ("(" * N, NESTED),
    "calls": ("sin(" * (N // 4), NESTED),
    "aggregations": ("sum(" * (N // 4), NESTED),
    "signs": ("-" * N + "1", LONG),
    "subqueries": ("a" + "[1m:]" * (N // 5), LONG),
    "offsets": ("a" + " offset 1m" * (N // 10), "offset may not be set multiple times"),
    "times": ("a" + " @ 1" * (N // 4), "@ <timestamp> may not be set multiple times"),
    "labels": ("a{" + 'b="c",' * (N // 6) + "}", LONG),
    "labels without an end": ("a{" + 'b="c",' * 1000, "unexpected end of input inside braces"),
    "groupings": ("sum by (" + "l," * (N // 2) + "l) (a)", LONG),
    "arguments": ("time(" + "1," * (N // 2) + "1)", LONG),
    "a sum of durations": ("a[" + "1+" * (N // 2) + "1]", DEEP),
    "nested durations": ("a[" + "(" * N + "1]", NESTED),
    "a long duration": ("a[" + "1" * N + "s]", "duration out of range"),
    "small regular expressions": (
        "a{" + ",".join(rf'b=~"(\\pL){{20}}{i}"' for i in range(2000)) + "}",
        REGEX,
    ),
    "a large regular expression": ('a{b=~"' + r"(\\pL|\\d){1000}" + '"}', "pattern too large"),
    "an open string": ('"' + "x" * N, "unterminated quoted string"),
    "braces": ("{" * N, "unexpected left brace"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    text, said = REFUSED[name]
    with pytest.raises(ParseError) as caught:
        parse_expr(text, EXPERIMENTAL)
    assert said in caught.value.message


READ = {
    "a long name": "a" * N,
    "a string of escapes": '"' + r"\x41\n\101" * (N // 10) + '"',
    "a long list in a regular expression": 'a{b=~"' + "|".join(map(str, range(N // 7))) + '"}',
    "as high as allowed": "1" + "+1" * (PROMQL_DEPTH_MAX - 1),
    "many labels": "a{" + ",".join(f'l{i}="x"' for i in range(5000)) + "}",
}


@pytest.mark.parametrize("name", READ)
def test_read(name: str) -> None:
    expr = parse_expr(READ[name], EXPERIMENTAL)
    assert print_expr(parse_expr(print_expr(expr), EXPERIMENTAL)) == print_expr(expr)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (r'"\x4"', "illegal character U+0022 '\"' in escape sequence"),
        (r'"\400"', "escape sequence is an invalid Unicode code point"),
        (r'"\477a"', "escape sequence is an invalid Unicode code point"),
        (r'"\q"', "unknown escape sequence U+0071 'q'"),
        ('"\\', "escape sequence not terminated"),
        ("'\\\"'", "unknown escape sequence"),
    ],
)
def test_wrong_escapes_are_still_told(text: str, said: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse_expr(text)
    assert said in caught.value.message
