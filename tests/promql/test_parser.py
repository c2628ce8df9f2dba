"""The parser against upstream's table, hostile inputs, and the expressions of real dashboards."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavetank.limits import PROMQL_QUERY_BYTES_MAX
from wavetank.promql.options import EXPERIMENTAL, ParserOptions
from wavetank.promql.parser import ParseError, parse_expr, parse_metric_selector
from wavetank.promql.printer import pretty
from wavetank.promql.series_description import parse_series_description

DATA = Path(__file__).parent / "data"
CASES = json.loads((DATA / "parse_test_inputs.json").read_text(encoding="utf-8"))
SERIES = json.loads((DATA / "series_desc_inputs.json").read_text(encoding="utf-8"))
EXPRESSIONS = (DATA / "dashboard_expressions.txt").read_text(encoding="utf-8").split("\n\n")


def _input(case: dict[str, object]) -> str | bytes:
    given_input = case["input"]
    if isinstance(given_input, dict):
        return bytes.fromhex(given_input["hex"])
    assert isinstance(given_input, str)
    return given_input


GOOD = [c for c in CASES if not c["fail"]]
BAD = [c for c in CASES if c["fail"]]


def test_the_table_is_whole() -> None:
    assert (len(CASES), len(BAD)) == (351, 145)


@pytest.mark.parametrize("case", GOOD, ids=lambda c: repr(c["input"])[:60])
def test_parses_and_prints_back(case: dict[str, object]) -> None:
    expr = parse_expr(_input(case), EXPERIMENTAL)
    if "node" in case:
        assert type(expr).__name__ == case["node"]
    assert str(parse_expr(str(expr), EXPERIMENTAL)) == str(expr)


@pytest.mark.parametrize("case", BAD, ids=lambda c: repr(c["input"])[:60])
def test_fails_with_upstreams_texts(case: dict[str, object]) -> None:
    with pytest.raises(ParseError) as caught:
        parse_expr(_input(case), EXPERIMENTAL)
    messages = [issue.message for issue in caught.value.issues]
    expected = case["errors"]
    assert isinstance(expected, list)
    # After a syntax error upstream goes on; we stop, so ours may be fewer, but the first is the same.
    assert messages == expected[: len(messages)]


@pytest.mark.parametrize("case", SERIES, ids=lambda c: str(c["input"])[:40])
def test_series_descriptions(case: dict[str, object]) -> None:
    text = str(case["input"])
    if case["fail"]:
        with pytest.raises(ParseError):
            parse_series_description(text)
    else:
        parse_series_description(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sum(a", "1:6: parse error: unclosed left parenthesis"),
        ("up{job=~\"[\"}", "1:4: parse error: error parsing regexp: missing closing ]: `[)$`"),
        ("up\n  + on(a) !", "2:11: parse error: unexpected character after '!': '\ufffd'"),
        ("\u00e9", "1:1: parse error: unexpected character: '\u00e9'"),
        ('"\u00e9" x', '1:6: parse error: unexpected identifier "x"'),
        ("foo offset 5m offset 1m", "1:1: parse error: offset may not be set multiple times"),
        ("limitk(1, up)", "1:1: parse error: limitk() is experimental and must be enabled with "
         "--enable-feature=promql-experimental-functions"),
        ("info(up)", '1:1: parse error: function "info" is not enabled'),
        ("up smoothed", "1:1: parse error: smoothed modifier is experimental and not enabled"),
        ("a + fill(0) b", "1:1: parse error: binop fill modifiers are experimental and not enabled"),
    ],
)  # fmt: skip
def test_error_says_where(text: str, message: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse_expr(text, ParserOptions())
    assert str(caught.value) == message


def test_dashboard_expressions_print_back() -> None:
    assert len(EXPRESSIONS) == 1020
    for text in EXPRESSIONS:
        printed = str(parse_expr(text))
        assert str(parse_expr(printed)) == printed, text


def test_dashboard_expressions_lay_out_and_mean_the_same() -> None:
    for text in EXPRESSIONS:
        expr = parse_expr(text)
        assert str(parse_expr(pretty(expr))) == str(expr), text


def test_pretty_breaks_what_does_not_fit() -> None:
    text = (
        'sum by (namespace, pod) (rate(container_cpu_usage_seconds_total{cluster="a",namespace="b"}[5m])) '
        '/ ignoring (pod) group_left () kube_pod_container_resource_limits{resource="cpu"}'
    )
    assert pretty(parse_expr(text)).splitlines() == [
        '  sum by (namespace, pod) (rate(container_cpu_usage_seconds_total{cluster="a",namespace="b"}[5m]))',
        "/ ignoring (pod) group_left ()",
        '  kube_pod_container_resource_limits{resource="cpu"}',
    ]


@pytest.mark.parametrize(
    "text",
    [
        "(" * 100_000,
        "(" * 5_000 + "1" + ")" * 5_000,
        "-" * 100_000 + "up",
        "abs(" * 3_000 + "up" + ")" * 3_000,
        "up" + "+up" * 20_000,
        "1" + "^1" * 20_000,
        "up[" + "(" * 5_000 + "5m",
        "up offset " + "-" * 5_000 + "5m",
        "{" * 10_000,
        "up" + "[5m:1m]" * 5_000,
        '"' + "\\" * 100_001,
        "sum by (" * 5_000,
    ],
    ids=lambda t: t[:20],
)
def test_deep_nesting_is_an_error_not_a_crash(text: str) -> None:
    with pytest.raises(ParseError):
        parse_expr(text, EXPERIMENTAL)


def test_many_signs_fold_into_the_number() -> None:
    assert str(parse_expr("-" * 101 + "1")) == "-1"


def test_ten_megabytes_are_refused_before_lexing() -> None:
    with pytest.raises(ParseError, match="10000000 bytes is longer"):
        parse_expr("a" * 10_000_000)
    assert PROMQL_QUERY_BYTES_MAX < 10_000_000


def test_catastrophic_regex_is_linear() -> None:
    [matcher, _] = parse_metric_selector('up{a=~"(a+)+b"}')
    assert not matcher.matches("a" * 50_000)


ALPHABET = "abw0159 (){}[]+-*/%^=!~<>,:@\"'`\\.#\n_offsetumbyingr\u00e9"


@given(st.text(ALPHABET, max_size=60))
def test_any_text_parses_or_raises_parse_error(text: str) -> None:
    try:
        expr = parse_expr(text, EXPERIMENTAL)
    except ParseError:
        return
    assert str(parse_expr(str(expr), EXPERIMENTAL)) == str(expr)


@given(st.binary(max_size=40))
def test_any_bytes_parse_or_raise_parse_error(data: bytes) -> None:
    try:
        parse_expr(data, EXPERIMENTAL)
    except ParseError:
        pass


@st.composite
def mutated(draw: st.DrawFn) -> str:
    text = draw(st.sampled_from([str(_input(c)) for c in GOOD if isinstance(c["input"], str)]))
    at = draw(st.integers(0, len(text)))
    cut = draw(st.integers(0, 3))
    return text[:at] + draw(st.text(ALPHABET, max_size=3)) + text[at + cut :]


@given(mutated())
def test_mutated_queries_parse_or_raise_parse_error(text: str) -> None:
    try:
        expr = parse_expr(text, EXPERIMENTAL)
    except ParseError:
        return
    assert str(parse_expr(str(expr), EXPERIMENTAL)) == str(expr)


@given(st.text("ab{}=\"_x+-0159 .stale:[]schemkuo'", max_size=50))
def test_any_series_description_parses_or_raises(text: str) -> None:
    try:
        parse_series_description("m " + text)
    except ParseError:
        pass
